//! A database that lives: what a dump holds, and that it ends, while others change what is being dumped.
//!
//! Each loop disturbs the source again and again while dumps are made of it. Every dump has to end well, hold the rows of some
//! moment, and come back. Short here; `PGSTOW_LIVING_SECONDS` makes each loop longer, `PGSTOW_LIVING_MAJORS=12,15,18` asks for
//! other servers, and `PGSTOW_LIVING_STOCK=1` has stock pg_dump run in the same loops and prints how it fared.

mod catalogs;
mod limits;
mod locks;
mod tables;

use crate::support::{Ran, bare_command};
use pgstow_parts::{Database, Server, oracle, server};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The servers of the loops.
pub(crate) fn servers() -> Vec<Server> {
    let wanted = std::env::var("PGSTOW_LIVING_MAJORS").unwrap_or_else(|_| "15".to_owned());
    wanted.split(',').map(|major| server(major.trim().parse().unwrap())).collect()
}

fn seconds() -> u64 {
    std::env::var("PGSTOW_LIVING_SECONDS").map_or(3, |text| text.parse().unwrap())
}

/// A folder that backups go to.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    pub(crate) fn store(&self) -> String {
        format!("file://{}", self.0.path().display())
    }

    /// How many files lie in it.
    pub(crate) fn files(&self) -> usize {
        fn count(folder: &std::path::Path) -> usize {
            let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            entries.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
        }
        count(self.0.path())
    }

    /// Runs pgstow on this store.
    #[track_caller]
    pub(crate) fn run(&self, verb: &[&str], end: &[&str]) -> Ran {
        let place = if verb[0] == "dump" { "--to" } else { "--from" };
        let store = self.store();
        let arguments = [verb, &[place, &store], end].concat();
        Ran::of(&bare_command().args(arguments).output().unwrap())
    }
}

/// How a database is disturbed, and what must be true of every backup all the same.
pub(crate) struct Loop<'a> {
    pub(crate) name: &'a str,
    /// Makes what is disturbed.
    pub(crate) setup: &'a str,
    /// One round in PL/pgSQL, committed as a whole; `n` counts the rounds.
    pub(crate) round: &'a str,
    /// Milliseconds between rounds.
    pub(crate) pause: u32,
    /// How many sessions do the same.
    pub(crate) sessions: u32,
    /// The rows of every backup.
    pub(crate) rows: Option<u64>,
    /// True in every database that was restored.
    pub(crate) holds: &'a str,
}

impl Loop<'_> {
    /// Runs the loop on every server, and dumps.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) {
        for server in servers() {
            self.run_on(&server, arguments);
        }
    }

    #[track_caller]
    fn run_on(&self, server: &Server, arguments: &[&str]) {
        let (seconds, major) = (seconds(), server.major());
        let source = Database::fresh(server, self.name);
        source.execute(self.setup);
        let statement = format!(
            "DO $loop$ DECLARE n int := 0; stop timestamptz := clock_timestamp() + interval '{seconds} s'; BEGIN
                 WHILE clock_timestamp() < stop LOOP
                     n := n + 1;
                     {}
                     COMMIT;
                     PERFORM pg_sleep({} / 1000.0);
                 END LOOP;
             END $loop$",
            self.round, self.pause
        );
        let mut stock = (0, 0);
        let folder = Folder::new();
        std::thread::scope(|scope| {
            let disturbing: Vec<_> =
                (0..self.sessions).map(|_| scope.spawn(|| source.server.execute(&source.name, &statement))).collect();
            std::thread::sleep(Duration::from_millis(100));
            let (start, mut dumps) = (Instant::now(), 0);
            while start.elapsed() < Duration::from_secs(seconds).saturating_sub(Duration::from_millis(200)) {
                let begun = Instant::now();
                let ran = folder.run(&["dump", "-d", &source.url(), "--json"], arguments);
                assert_eq!(ran.code, Some(0), "{} on {major}, dump {dumps}: {ran:?}", self.name);
                assert!(begun.elapsed() < Duration::from_secs(60), "{}: it took {:?}", self.name, begun.elapsed());
                if let Some(rows) = self.rows {
                    assert_eq!(ran.json()["rows"], rows, "{} on {major}, dump {dumps}: {ran:?}", self.name);
                }
                dumps += 1;
                if std::env::var_os("PGSTOW_LIVING_STOCK").is_some() {
                    stock.1 += 1;
                    stock.0 += u32::from(self.stock_holds(&source));
                }
            }
            for disturbing in disturbing {
                disturbing.join().unwrap().unwrap_or_else(|sentence| panic!("{} on {major}: {sentence}", self.name));
            }
            assert!(dumps > 0, "{}: not one dump", self.name);
            if stock.1 > 0 {
                pgstow_parts::say(&format!(
                    "{} on {major}: all of {dumps} dumps; stock {} of {}",
                    self.name, stock.0, stock.1
                ));
            }
        });
        folder.run(&["verify", "latest"], &[]).fine();
        let listed = folder.run(&["list", "--json"], &[]).fine().json();
        let ids: Vec<&str> =
            listed["backups"].as_array().unwrap().iter().map(|backup| backup["backup"].as_str().unwrap()).collect();
        // Some of the backups, among them the first and the last.
        for id in ids.iter().step_by((ids.len() / 3).max(1)).chain(ids.last()) {
            let target = Database::fresh(server, "lived");
            folder.run(&["restore", id, "-d", &target.url()], &[]).fine();
            assert_eq!(target.value(self.holds), "t", "{} on {major}: backup {id}", self.name);
        }
    }

    /// Whether stock's dump ends well and has as many rows.
    fn stock_holds(&self, source: &Database) -> bool {
        let Ok(text) = oracle().pg_dump(&source.url(), &["-a"]) else { return false };
        // Between the COPY and its end.
        let mut within = false;
        let rows = text.lines().filter(|line| {
            let was = within;
            within = (was && *line != "\\.") || line.starts_with("COPY ");
            was && within
        });
        let rows = rows.count() as u64;
        self.rows.is_none_or(|wanted| wanted == rows)
    }
}
