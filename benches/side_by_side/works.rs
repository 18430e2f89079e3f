//! The works: each done by pgstow and by its rival.

mod definitions;

use super::null_store::NullStore;
use super::rivals::{self, Stock};
use super::{JOBS, Options, data};
use pgstow::commands::dump::{DumpOptions, dump};
use pgstow::commands::memory::DEFAULT_MEMORY;
use pgstow::commands::{Progress, Stop};
use pgstow::postgres::ConnectionSettings;
use pgstow_parts::{Database, S3, Server, garage};
use std::cell::RefCell;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Our codec, which is the rival's where it can be.
const OURS: &str = "zstd:1";

/// One work: a run of either side gives its seconds.
pub(crate) struct Work<'a> {
    pub(crate) name: &'static str,
    pub(crate) rival: String,
    pub(crate) goal: f64,
    pub(crate) ours: Box<dyn Fn() -> f64 + 'a>,
    pub(crate) theirs: Box<dyn Fn() -> f64 + 'a>,
}

/// Everything that the works need, made once.
pub(crate) struct Bench {
    stock: Stock,
    server: Server,
    s3: S3,
    mixed: Database,
    lopsided: Database,
    thousand: Database,
    many_tables: Database,
    scratch: tempfile::TempDir,
    /// The highest peaks that were seen, in bytes: of dumps and of restores.
    peaks: RefCell<(u64, u64)>,
}

impl Bench {
    /// Starts the parts, makes the data, and makes what restores read.
    pub(crate) fn prepare(options: &Options) -> Self {
        let server = Server::own(options.stock.major).unwrap();
        let bench = Bench {
            stock: options.stock,
            mixed: data::mixed(&server, options.gigabytes),
            lopsided: data::lopsided(&server, options.gigabytes),
            thousand: data::thousand(&server, options.gigabytes),
            many_tables: definitions::many_tables(&server),
            s3: garage(),
            scratch: tempfile::tempdir().unwrap(),
            peaks: RefCell::default(),
            server,
        };
        for (database, name) in [(&bench.mixed, "mixed"), (&bench.lopsided, "lopsided")] {
            let folder = format!("file://{}", bench.place(&format!("kept_{name}")));
            bench.pgstow(&["dump", "-d", &database.url(), "--to", &folder, "-j", JOBS, "-Z", OURS]);
            bench.shell(&bench.stock_dump(database, &format!("stock_{name}")));
        }
        bench.keep_definitions();
        let store = bench.s3.location("kept");
        bench.pgstow(&["dump", "-d", &bench.mixed.url(), "--to", &store, "-j", JOBS, "-Z", OURS]);
        let line = format!("$AWS s3 cp --quiet --recursive {} {}", bench.place("stock_mixed"), bench.s3_url("stock"));
        bench.shell(&line);
        bench
    }

    fn place(&self, name: &str) -> String {
        self.scratch.path().join(name).display().to_string()
    }

    /// A place where nothing is; what was there is removed now, by which neither side loses time.
    fn free_place(&self, name: &str) -> String {
        let place = self.place(name);
        let _fresh = std::fs::remove_dir_all(&place);
        place
    }

    /// Has everything written that earlier runs left in memory, so that no run waits for the disk on account of another.
    pub(crate) fn settle(&self) {
        self.mixed.execute("CHECKPOINT");
        self.shell("sync");
    }

    fn s3_url(&self, name: &str) -> String {
        self.s3.location(name)
    }

    fn shell(&self, line: &str) -> f64 {
        rivals::shell(self.stock, &self.s3, line)
    }

    /// `pg_dump -Fd` with two jobs and the fastest compression that it has. Its place is made free at once.
    fn stock_dump(&self, database: &Database, name: &str) -> String {
        let place = self.free_place(name);
        let (codec, url) = (self.stock.codec, database.url());
        format!("$BIN/pg_dump -Fd -j {JOBS} -Z {codec} -f {place} -d '{url}'")
    }

    fn stock_restore(&self, target: &Database, name: &str) -> String {
        format!("$BIN/pg_restore -j {JOBS} --no-owner -d '{}' {}", target.url(), self.place(name))
    }

    fn target(&self) -> Database {
        Database::fresh(&self.server, "bench_target")
    }

    /// Runs the program to its end; its seconds. Notes the most memory that it held.
    fn pgstow(&self, arguments: &[&str]) -> f64 {
        let begun = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgstow"));
        command.args(arguments).arg("--quiet").envs(self.s3.environment()).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        let mut peak = 0;
        let ended = loop {
            if let Some(ended) = child.try_wait().unwrap() {
                break ended;
            }
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let mark = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kibibytes = mark.and_then(|mark| mark.trim().trim_end_matches(" kB").parse::<u64>().ok());
            peak = kibibytes.map_or(peak, |kibibytes| kibibytes * 1024);
            std::thread::sleep(Duration::from_millis(5));
        };
        assert!(ended.success(), "failed: pgstow {arguments:?}");
        let mut peaks = self.peaks.borrow_mut();
        let of_this_verb = if arguments.first() == Some(&"dump") { &mut peaks.0 } else { &mut peaks.1 };
        *of_this_verb = peak.max(*of_this_verb);
        begun.elapsed().as_secs_f64()
    }

    fn dump_to_folder(&self, database: &Database, name: &str) -> f64 {
        let place = self.free_place(name);
        self.pgstow(&["dump", "-d", &database.url(), "--to", &format!("file://{place}"), "-j", JOBS, "-Z", OURS])
    }

    /// A dump into nothing, inside this process, for the program has no such store.
    fn dump_to_nothing(&self, codec: &str, store: NullStore) -> f64 {
        let begun = Instant::now();
        let connection = ConnectionSettings::resolve(Some(&self.mixed.url()), &|_| None).unwrap();
        let options = DumpOptions {
            jobs: JOBS.parse().unwrap(),
            codec: codec.parse().unwrap(),
            globals: None,
            allow_incomplete: true,
            ..DumpOptions::new(connection, Arc::new(store))
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(dump(options, Arc::new(Progress::default()), Stop::default())).unwrap();
        begun.elapsed().as_secs_f64()
    }

    /// As many `COPY ... TO STDOUT` at once as there are workers: the server's own speed.
    fn copy_only(&self) -> f64 {
        let line = format!(
            "printf '%s\\n' narrow mixed documents pictures | xargs -P {JOBS} -I NAME \
             $BIN/psql -X -q -d '{}' -c 'COPY NAME TO STDOUT' > /dev/null",
            self.mixed.url()
        );
        self.shell(&line)
    }

    fn restore(&self, store: &str) -> f64 {
        let target = self.target();
        self.pgstow(&["restore", "latest", "--from", store, "-d", &target.url(), "-j", JOBS, "--no-owner"])
    }

    /// All works, in the order of the table.
    pub(crate) fn works(&self) -> Vec<Work<'_>> {
        let mut works = self.dumps();
        works.push(self.definitions());
        works.extend(self.restores());
        works.push(self.restored_definitions());
        works
    }

    fn dumps(&self) -> Vec<Work<'_>> {
        let url = self.mixed.url();
        let stock_dump = format!("`pg_dump -Fd -j {JOBS} -Z {}`", self.stock.codec);
        let to_store = move || {
            let store = self.s3.location(&self.s3.fresh_prefix("bench"));
            self.pgstow(&["dump", "-d", &self.mixed.url(), "--to", &store, "-j", JOBS, "-Z", OURS])
        };
        let work = |name, rival: &str, goal, ours, theirs| Work { name, rival: rival.to_owned(), goal, ours, theirs };
        vec![
            work(
                "dump, zstd:1, to the store",
                "`pg_dump`, `gzip`, `aws s3 cp` in a pipe",
                0.15,
                Box::new(to_store),
                Box::new(move || {
                    let line =
                        format!("$BIN/pg_dump -d '{url}' | gzip | $AWS s3 cp --quiet - {}/pipe", self.s3_url("r"));
                    self.shell(&line)
                }),
            ),
            work(
                "dump, zstd:1, to the store",
                &format!("{stock_dump}, then `aws s3 cp --recursive`"),
                0.55,
                Box::new(to_store),
                Box::new(|| {
                    let copy = format!("$AWS s3 cp --quiet --recursive {} {}", self.place("d"), self.s3_url("d"));
                    self.shell(&format!("{}; {copy}", self.stock_dump(&self.mixed, "d")))
                }),
            ),
            work(
                "dump, zstd:1, to a folder",
                &stock_dump,
                0.9,
                Box::new(|| self.dump_to_folder(&self.mixed, "ours")),
                Box::new(|| self.shell(&self.stock_dump(&self.mixed, "d"))),
            ),
            work(
                "dump, zstd:1, one table is 90 %, to a folder",
                &stock_dump,
                0.75,
                Box::new(|| self.dump_to_folder(&self.lopsided, "ours")),
                Box::new(|| self.shell(&self.stock_dump(&self.lopsided, "d"))),
            ),
            work(
                "dump, zstd:1, a thousand small tables, to a folder",
                &stock_dump,
                0.9,
                Box::new(|| self.dump_to_folder(&self.thousand, "ours")),
                Box::new(|| self.shell(&self.stock_dump(&self.thousand, "d"))),
            ),
            work(
                "dump to nothing, -Z none",
                "2 `psql -c 'COPY ... TO STDOUT'` at once",
                1.1,
                Box::new(|| self.dump_to_nothing("none", NullStore::default())),
                Box::new(|| self.copy_only()),
            ),
            work(
                "dump to nothing, -Z zstd:1",
                "2 `psql -c 'COPY ... TO STDOUT'` at once",
                1.4,
                Box::new(|| self.dump_to_nothing(OURS, NullStore::default())),
                Box::new(|| self.copy_only()),
            ),
        ]
    }

    fn restores(&self) -> Vec<Work<'_>> {
        let folder = |name: &str| format!("file://{}", self.place(name));
        let (mixed, lopsided) = (folder("kept_mixed"), folder("kept_lopsided"));
        let stock = move |name: &str| {
            let target = self.target();
            self.shell(&self.stock_restore(&target, name))
        };
        vec![
            Work {
                name: "restore from the store",
                rival: "`aws s3 cp --recursive`, then `pg_restore -j 2`".to_owned(),
                goal: 0.6,
                ours: Box::new(|| self.restore(&self.s3.location("kept"))),
                theirs: Box::new(|| {
                    let (place, target) = (self.free_place("fetched"), self.target());
                    let copy = format!("$AWS s3 cp --quiet --recursive {} {place}", self.s3_url("stock"));
                    self.shell(&format!("{copy}; {}", self.stock_restore(&target, "fetched")))
                }),
            },
            Work {
                name: "restore from a folder",
                rival: "`pg_restore -j 2`".to_owned(),
                goal: 0.75,
                ours: Box::new(move || self.restore(&mixed)),
                theirs: Box::new(move || stock("stock_mixed")),
            },
            Work {
                name: "restore, one large table with three indexes, from a folder",
                rival: "`pg_restore -j 2`".to_owned(),
                goal: 0.65,
                ours: Box::new(move || self.restore(&lopsided)),
                theirs: Box::new(move || stock("stock_lopsided")),
            },
        ]
    }

    /// What is counted and not timed: memory and requests.
    pub(crate) fn counted(&self) -> String {
        let (dump, restore) = *self.peaks.borrow();
        let share = |peak: u64| {
            let (mebibytes, budget) = (peak >> 20, DEFAULT_MEMORY >> 20);
            format!("{mebibytes} MiB of {budget} MiB, {} %", mebibytes * 100 / budget)
        };
        let store = NullStore::default();
        self.dump_to_nothing(OURS, store.clone());
        let (requests, bytes) = store.counted();
        let at_most = bytes.div_ceil(8 << 20);
        format!(
            "Peak resident memory: dumps {}; restores {}. Store requests of a dump of {} MB stored: {requests}; parts of \
             8 MiB alone would be {at_most}.",
            share(dump),
            share(restore),
            bytes / 1_000_000,
        )
    }
}
