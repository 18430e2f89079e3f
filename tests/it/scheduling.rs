//! `pgstow schedule` with the machine's own clock: what several instances and signals do to one job; and the units that are
//! shipped for those who let systemd keep the time.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use pgstow_parts::{Database, server};
use tempfile::TempDir;

use crate::jobs::{aged, command_in};
use crate::support::{Ran, bare_command, no_store};

/// A folder with a file of one job, whose run takes some three seconds and was missed for years.
struct Missed {
    folder: TempDir,
    /// Its source, which goes when this value does.
    _database: Database,
    /// Where its backups lie.
    place: PathBuf,
}

impl Missed {
    fn new(hint: &str) -> Self {
        let (folder, database) = (TempDir::new().unwrap(), Database::fresh(&server(18), hint));
        database.execute("CREATE TABLE t AS SELECT n, repeat(md5(n::text), 100) AS t FROM generate_series(1, 1000) n");
        let store = format!("file://{}/store", folder.path().display());
        let text = format!(
            "[job.shop]\nsource = \"{}\"\nstore = \"{store}\"\nschedule = \"0 0 1 1 *\"\ntimezone = \"UTC\"\n\
             rate_limit = \"1MiB\"\n",
            database.url()
        );
        std::fs::write(folder.path().join("pgstow.toml"), text).unwrap();
        let dumped = bare_command().args(["dump", "-d", &database.url(), "--to", &store, "--json"]).output().unwrap();
        let id = Ran::of(&dumped).fine().json()["backup"].as_str().unwrap().to_owned();
        let old = format!("20200101T000000Z{}", &id[16..]);
        let place = folder.path().join("store").join(&database.name);
        std::fs::rename(place.join(&id), place.join(&old)).unwrap();
        let manifest = place.join(&old).join("manifest.json");
        std::fs::write(&manifest, aged(&std::fs::read(&manifest).unwrap(), &old)).unwrap();
        Missed { folder, _database: database, place }
    }

    fn backups(&self) -> usize {
        std::fs::read_dir(&self.place).unwrap().count()
    }

    fn start(&self) -> Service {
        let mut command = command_in(&self.folder, &no_store());
        let mut child = command.arg("schedule").stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || output.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        Service { child, lines }
    }
}

/// A service that runs; gone with this value.
struct Service {
    child: Child,
    lines: Receiver<String>,
}

impl Service {
    /// Waits until it says this.
    #[track_caller]
    fn says(&self, words: &str) {
        let mut said = Vec::new();
        loop {
            match self.lines.recv_timeout(Duration::from_secs(60)) {
                Ok(line) if line.contains(words) => return,
                Ok(line) => said.push(line),
                Err(ended) => panic!("{words:?} is not said ({ended}): {said:?}"),
            }
        }
    }

    /// Tells it to stop, and waits for its end.
    fn stop(mut self) -> Option<i32> {
        assert!(Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It is gone already where all went well.
        let _gone = self.child.kill();
    }
}

#[test]
fn two_instances_make_up_for_a_missed_run_once_between_them() {
    let missed = Missed::new("instances");
    let services = [missed.start(), missed.start()];
    for service in &services {
        service.says("-01-01 00:00 UTC");
    }
    assert_eq!(missed.backups(), 2, "the old one and one new one");
    assert_eq!(services.map(Service::stop), [Some(0), Some(0)]);
}

#[test]
fn a_service_that_is_stopped_ends_its_run_cleanly_and_makes_up_for_it_when_it_is_back() {
    let missed = Missed::new("stopped_service");
    let service = missed.start();
    service.says("dumping");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(service.stop(), Some(0));
    assert_eq!(missed.backups(), 1, "nothing is left of the run");
    let service = missed.start();
    service.says("made backup");
    service.says("-01-01 00:00 UTC");
    assert_eq!(service.stop(), Some(0));
    assert_eq!(missed.backups(), 2);
}

#[test]
fn the_units_are_valid_and_hardened() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return pgstow_parts::say("the units are not tested: there is no systemd-analyze");
    }
    let (shipped, folder) = (Path::new("contrib/systemd"), TempDir::new().unwrap());
    let mut units = Vec::new();
    for entry in std::fs::read_dir(shipped).unwrap() {
        let entry = entry.unwrap();
        let text = std::fs::read_to_string(entry.path()).unwrap();
        let text = text.replace("/usr/local/bin/pgstow", env!("CARGO_BIN_EXE_pgstow"));
        // A template is examined as the unit of one job.
        let unit = folder.path().join(entry.file_name().to_str().unwrap().replace('@', "@shop"));
        std::fs::write(&unit, text).unwrap();
        units.push(unit);
    }
    assert_eq!(units.len(), 3);
    let verified = Command::new("systemd-analyze").arg("verify").args(&units).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && said.is_empty(), "{said}");
    for unit in units.iter().filter(|unit| unit.extension().is_some_and(|extension| extension == "service")) {
        let exposure = ["security", "--offline=true", "--threshold=15"];
        let judged = Command::new("systemd-analyze").args(exposure).arg(unit).output().unwrap();
        assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
    }
}
