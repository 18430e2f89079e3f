//! The fault suite for what happens to backups after they exist: whatever breaks before the store, a verb does all of its work,
//! or says that it could not, and then nothing is half there that the next run does not take.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use pgstow::store::open;
use pgstow_parts::{Database, Harm, Proxy, S3, Server, Trigger, garage, server};

use crate::faults::{HASTE, address, assert_whole_or_nothing, behind, source};
use crate::store::options_of;
use crate::support::{Backup, Ran, assert_same_data, command, pgstow};

/// What is done to each sort of request, and after how many bytes of the answer (or of the request).
const HARMS: [(usize, Harm); 7] = [
    (0, Harm::Reset),
    (30, Harm::Truncate),
    (0, Harm::Lost),
    (0, Harm::Silence),
    (0, Harm::Delay(Duration::from_millis(300))),
    (12, Harm::CorruptAnswer),
    (0, Harm::CorruptRequest),
];

/// The store, and the way to it that fails.
struct Way {
    s3: S3,
    proxy: Proxy,
    shaky: S3,
}

impl Way {
    fn new() -> Self {
        let s3 = garage();
        let proxy = Proxy::before(&address(&s3.endpoint)).unwrap();
        Way { shaky: behind(&s3, &proxy), s3, proxy }
    }

    /// Runs pgstow on the way that does this harm to the first such request.
    #[track_caller]
    fn run(&self, request: &str, (after, harm): (usize, Harm), arguments: &[&str]) -> Ran {
        let needle = request.replace("/BUCKET", &format!("/{}", self.s3.bucket)).into_bytes();
        self.proxy.harm(Trigger { needle, connection: 0, after, harm });
        let ran = pgstow(&self.shaky, &[arguments, &HASTE].concat());
        assert_eq!(self.proxy.heal(), 0, "there was no {request} for {arguments:?}: {ran:?}");
        ran
    }
}

/// A single fault is what patience is for; only what was changed on its way may end a run, and then in words.
#[track_caller]
fn assert_done_or_said(case: &str, harm: Harm, ran: &Ran) -> bool {
    if ran.code == Some(0) {
        return true;
    }
    assert!(matches!(harm, Harm::CorruptAnswer | Harm::CorruptRequest), "{case}: {ran:?}");
    assert!(matches!(ran.code, Some(5 | 6)) && ran.stderr.contains("error: "), "{case}: {ran:?}");
    false
}

fn small(server: &Server, hint: &str) -> Database {
    let database = Database::fresh(server, hint);
    database.execute("CREATE TABLE t AS SELECT n AS id FROM generate_series(1, 100) n; CREATE TABLE e (id int)");
    database
}

#[test]
fn a_restore_outlives_faults_of_finding_its_backup() {
    let way = Way::new();
    let database = small(&server(18), "faults_finding");
    let backup = Backup::make(&way.s3, &database, &[]);
    let store = backup.store();
    for request in ["list-type=2", "HEAD /BUCKET/", "x-id=GetObject"] {
        for (after, harm) in HARMS {
            let case = format!("{harm:?} at {request}");
            let target = Database::fresh(&database.server, "faults_found");
            let url = target.url();
            let ran = way.run(request, (after, harm), &["restore", "latest", "--from", &store, "-d", &url]);
            if assert_done_or_said(&case, harm, &ran) {
                assert_same_data(&database, &target);
            } else {
                assert_eq!(target.value("SELECT to_regclass('t') IS NULL"), "t", "{case}");
            }
        }
    }
}

#[test]
fn a_verification_never_takes_a_fault_of_the_way_for_a_sound_backup_or_the_other_way_round() {
    let way = Way::new();
    let backup = Backup::make(&way.s3, &source("faults_verify"), &["-Z", "none"]);
    let store = backup.store();
    let full: &[&str] = &["verify", "latest", "--from", &store];
    let quick: &[&str] = &["verify", "latest", "--from", &store, "--quick"];
    let cases = [
        (full, "list-type=2"),
        (full, "HEAD /BUCKET/"),
        (full, "manifest.json"),
        (full, "toc.dat"),
        (full, "/data_"),
        (full, "/blob"),
        (quick, "/data_"),
        (quick, "toc.dat"),
    ];
    for (arguments, request) in cases {
        for (after, harm) in HARMS {
            assert_done_or_said(&format!("{harm:?} at {request}"), harm, &way.run(request, (after, harm), arguments));
        }
    }
    // Far within an object, which therefore has to be a large one.
    let objects = way.s3.keys(&format!("{}data_", backup.folder())).unwrap();
    let large = objects.iter().find(|key| way.s3.get(key).unwrap().len() > 1_000_000).expect("a large object");
    for (after, harm) in [(900_000, Harm::Reset), (900_000, Harm::Truncate), (900_000, Harm::Silence)] {
        way.run(large, (after, harm), full).fine();
    }
    way.run(large, (900_000, Harm::CorruptAnswer), full).failed(6, &[]);
    pgstow(&way.s3, full).fine();
}

/// Leaves what a killed dump leaves: objects without a manifest, and an upload with a part.
fn leave(s3: &S3, prefix: &str, database: &str) {
    let folder = format!("{prefix}/{database}/20261101T020000Z-0000ff/");
    for number in 1..=3 {
        s3.put(&format!("{folder}data_{number}.dat"), b"half".to_vec()).unwrap();
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = open(&s3.location(prefix).parse().unwrap(), &options_of(s3)).await.unwrap();
        let key = format!("{database}/20261101T020000Z-0000ff/data_4.dat");
        let upload = store.start_upload(&key, None).await.unwrap();
        upload.part(1, vec![7; 5 << 20].into()).await.unwrap();
        // Dropped, it might be aborted before the runtime ends.
        std::mem::forget(upload);
    });
}

/// Every key below the prefix belongs to a backup that verifies; how many backups there are.
#[track_caller]
fn assert_only_backups(case: &str, s3: &S3, prefix: &str) -> usize {
    let store = s3.location(prefix);
    let listed = pgstow(s3, &["list", "--from", &store, "--json"]).fine().json();
    assert_eq!(listed["unfinished"], serde_json::json!([]), "{case}");
    let backups = listed["backups"].as_array().unwrap();
    let objects = backups.iter().map(|backup| {
        let name = format!("{}/{}", backup["database"].as_str().unwrap(), backup["backup"].as_str().unwrap());
        pgstow(s3, &["verify", &name, "--from", &store, "--json"]).fine().json()["objects"].as_u64().unwrap()
    });
    assert_eq!(objects.sum::<u64>(), s3.keys(prefix).unwrap().len() as u64, "{case}: something belongs to no backup");
    assert_eq!(s3.open_uploads(prefix).unwrap(), Vec::<String>::new(), "{case}");
    backups.len()
}

#[test]
fn a_sweep_takes_everything_or_says_so_and_the_next_one_takes_the_rest() {
    let way = Way::new();
    let database = small(&server(18), "faults_sweep");
    let backup = Backup::make(&way.s3, &database, &[]);
    let store = backup.store();
    let arguments = ["sweep", "--to", &store, "--older-than", "1s"];
    for request in ["/?uploads", "list-type=2", "HEAD /BUCKET/", "uploadId=", "?delete"] {
        for (after, harm) in HARMS {
            let case = format!("{harm:?} at {request}");
            leave(&way.s3, &backup.prefix, &backup.database);
            std::thread::sleep(Duration::from_millis(2_100));
            let ran = way.run(request, (after, harm), &arguments);
            if !assert_done_or_said(&case, harm, &ran) {
                pgstow(&way.s3, &arguments).fine();
            }
            assert_eq!(assert_only_backups(&case, &way.s3, &backup.prefix), 1, "{case}");
        }
    }
}

/// Another backup of the same database beside the first.
fn second(backup: &Backup, database: &Database) {
    let (url, store) = (database.url(), backup.store());
    pgstow(&backup.s3, &["dump", "-d", &url, "--to", &store]).fine();
}

#[test]
fn a_prune_is_done_or_says_so_and_leaves_only_backups_and_what_a_sweep_takes() {
    let way = Way::new();
    let database = small(&server(18), "faults_prune");
    let backup = Backup::make(&way.s3, &database, &[]);
    let store = backup.store();
    let prune = ["prune", "--from", &store, "--keep-last", "1"];
    for request in ["list-type=2", "HEAD /BUCKET/", "x-id=GetObject", "DELETE /BUCKET/", "?delete"] {
        for (after, harm) in HARMS {
            let case = format!("{harm:?} at {request}");
            second(&backup, &database);
            let ran = way.run(request, (after, harm), &prune);
            if !assert_done_or_said(&case, harm, &ran) {
                std::thread::sleep(Duration::from_millis(2_100));
                pgstow(&way.s3, &["sweep", "--to", &store, "--older-than", "1s"]).fine();
                assert!(assert_only_backups(&case, &way.s3, &backup.prefix) >= 1, "{case}");
                pgstow(&way.s3, &prune).fine();
            }
            assert_eq!(assert_only_backups(&case, &way.s3, &backup.prefix), 1, "{case}");
        }
    }
}

#[test]
fn a_prune_that_dies_between_a_manifest_and_its_objects_leaves_only_what_a_sweep_takes() {
    let way = Way::new();
    let database = small(&server(18), "faults_prune_dies");
    let backup = Backup::make(&way.s3, &database, &[]);
    let store = backup.store();
    let prune = ["prune", "--from", &store, "--keep-last", "1"];
    for is_killed in [false, true] {
        second(&backup, &database);
        let keys = way.s3.keys(&backup.prefix).unwrap();
        let oldest = keys.into_iter().filter(|key| key.ends_with("manifest.json")).min().unwrap();
        for _ in 0..1000 {
            // Only the second deletion names the table of contents.
            let needle = b"toc.dat</Key>".to_vec();
            way.proxy.harm(Trigger { needle, connection: 0, after: 0, harm: Harm::Lost });
        }
        if is_killed {
            let mut child =
                command(&way.shaky).args(prune).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let start = Instant::now();
            while way.s3.keys(&oldest).unwrap() == [oldest.clone()] {
                assert!(start.elapsed() < Duration::from_secs(60), "the manifest stays");
                std::thread::sleep(Duration::from_millis(5));
            }
            child.kill().unwrap();
            child.wait().unwrap();
        } else {
            pgstow(&way.shaky, &[&prune[..], &["--retry-for", "3"]].concat()).failed(5, &["delete"]);
        }
        way.proxy.heal();
        let folder = oldest.strip_suffix("manifest.json").unwrap();
        let listed = pgstow(&way.s3, &["list", "--from", &store, "--json"]).fine().json();
        assert_eq!(listed["backups"].as_array().unwrap().len(), 1, "{listed}");
        assert!(!way.s3.keys(folder).unwrap().is_empty(), "the objects were to stay");
        pgstow(&way.s3, &["verify", "latest", "--from", &store]).fine();
        std::thread::sleep(Duration::from_millis(2_100));
        pgstow(&way.s3, &["sweep", "--to", &store, "--older-than", "1s"]).fine();
        assert_eq!(assert_only_backups("after the sweep", &way.s3, &backup.prefix), 1);
    }
}

#[test]
fn a_copy_is_whole_or_nothing_whatever_breaks_before_either_store() {
    let way = Way::new();
    let backup = Backup::make(&way.s3, &source("faults_copy"), &["-Z", "none"]);
    let from = backup.store();
    let (straight, shaky) = (way.s3.endpoint.clone(), way.shaky.endpoint.clone());
    // Which of the stores lies behind the proxy; both, and the server copies by itself.
    let reading = ["list-type=2", "HEAD /BUCKET/", "manifest.json", "toc.dat", "/data_"];
    let writing =
        ["PUT /BUCKET/", "?uploads", "partNumber=2", "<CompleteMultipartUpload", "HEAD /BUCKET/", "if-none-match"];
    let by_itself = ["x-amz-copy-source", "HEAD /BUCKET/"];
    let sides: [(&[&str], &str, &str); 3] =
        [(&reading, &shaky, &straight), (&writing, &straight, &shaky), (&by_itself, &shaky, &shaky)];
    for (requests, from_endpoint, to_endpoint) in sides {
        for request in requests {
            // A store that is slow or silent waits for all verbs alike.
            for (after, harm) in HARMS.into_iter().filter(|(_, harm)| !matches!(harm, Harm::Silence | Harm::Delay(_))) {
                let case = format!("{harm:?} at {request} from {from_endpoint} to {to_endpoint}");
                let prefix = way.s3.fresh_prefix("faults_copied");
                let to = way.s3.location(&prefix);
                let ends = ["--from", &from, "--endpoint", from_endpoint, "--to", &to, "--to-endpoint", to_endpoint];
                let ran = way.run(request, (after, harm), &[&["copy", "latest"][..], &ends].concat());
                assert_done_or_said(&case, harm, &ran);
                if ran.code == Some(6) {
                    // What was changed on its way here was found by its digest.
                    assert_eq!(way.s3.keys(&prefix).unwrap(), Vec::<String>::new(), "{case}: {ran:?}");
                    assert_eq!(way.s3.open_uploads(&prefix).unwrap(), Vec::<String>::new(), "{case}: {ran:?}");
                } else {
                    assert_whole_or_nothing(&case, &way.s3, &prefix, &ran);
                }
            }
        }
    }
    pgstow(&way.s3, &["verify", "latest", "--from", &from]).fine();
}

/// Every file below a folder with its bytes; nothing where there is no folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn gather(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                gather(root, &path, found);
            } else {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    gather(folder, folder, &mut found);
    found
}

#[test]
fn what_is_exported_is_whole_or_not_there() {
    let way = Way::new();
    let backup = Backup::make(&way.s3, &source("faults_export"), &["-Z", "none"]);
    let (store, room) = (backup.store(), tempfile::tempdir().unwrap());
    let whole = room.path().join("whole");
    way.s3.download(&backup.folder(), &whole).unwrap();
    let whole = files(&whole);
    let script = room.path().join("script.sql").display().to_string();
    let text = {
        pgstow(&way.s3, &["export", "latest", "--from", &store, "-f", &script]).fine();
        std::fs::read(&script).unwrap()
    };
    let mut number = 0;
    for request in ["list-type=2", "HEAD /BUCKET/", "manifest.json", "toc.dat", "/data_", "/blob_"] {
        for (after, harm) in HARMS.into_iter().chain([(5_000, Harm::Truncate), (5_000, Harm::CorruptAnswer)]) {
            if after > 1000 && request != "/data_" {
                continue;
            }
            let case = format!("{harm:?} after {after} bytes of {request}");
            number += 1;
            let folder = room.path().join(format!("folder {number}"));
            let path = folder.display().to_string();
            let ran = way.run(
                request,
                (after, harm),
                &["export", "latest", "--from", &store, "-F", "directory", "-f", &path],
            );
            if assert_done_or_said(&case, harm, &ran) {
                assert!(files(&folder) == whole, "{case}: the folder is not the backup");
            } else {
                assert!(!folder.exists(), "{case}: half a folder is left");
            }
            std::fs::write(&script, "the last one").unwrap();
            let ran = way.run(request, (after, harm), &["export", "latest", "--from", &store, "-f", &script]);
            let there = std::fs::read(&script).unwrap();
            if assert_done_or_said(&case, harm, &ran) {
                assert!(without_key(&there) == without_key(&text), "{case}: another script");
            } else {
                assert_eq!(there, b"the last one", "{case}: half a script");
            }
            assert!(!room.path().join("script.sql.unfinished").exists(), "{case}");
        }
    }
}

/// A script without the key that psql's \restrict gets, which is another one each time.
fn without_key(script: &[u8]) -> String {
    let text = String::from_utf8_lossy(script);
    let lines = text.lines().filter(|line| !line.starts_with("\\restrict ") && !line.starts_with("\\unrestrict "));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn of_all_databases_each_backup_is_whole_or_not_there() {
    let way = Way::new();
    let server = Server::own(18).unwrap();
    let databases = [small(&server, "faults_all_one"), small(&server, "faults_all_two")];
    let url = server.url("postgres");
    let permanent = 1000;
    for (request, times) in [("?list-type", 1), ("PUT /BUCKET/", 1), ("if-none-match", 1), ("if-none-match", permanent)]
    {
        for harm in [Harm::Reset, Harm::Lost, Harm::CorruptRequest] {
            let case = format!("{harm:?} {times} times at {request}");
            let prefix = way.s3.fresh_prefix("faults_all");
            let store = way.s3.location(&prefix);
            for _ in 1..times {
                let needle = request.replace("/BUCKET", &format!("/{}", way.s3.bucket)).into_bytes();
                way.proxy.harm(Trigger { needle, connection: 0, after: 0, harm });
            }
            let arguments = ["dump", "--all", "-d", &url, "--to", &store, "--json"];
            let needle = request.replace("/BUCKET", &format!("/{}", way.s3.bucket)).into_bytes();
            way.proxy.harm(Trigger { needle, connection: 0, after: 0, harm });
            let ran = pgstow(&way.shaky, &[&arguments[..], &HASTE].concat());
            way.proxy.heal();
            let whole = assert_only_backups(&case, &way.s3, &prefix);
            match (times, harm, ran.code) {
                // Where only answers were lost, the manifests are found to be ours.
                (1, _, Some(0)) | (1000, Harm::Reset, Some(0)) => {
                    assert_eq!(whole, databases.len() + 1, "{case}: {ran:?}");
                }
                // The database that it hit has no backup, and the others do.
                (1, Harm::CorruptRequest, Some(8)) => assert_eq!(whole, databases.len(), "{case}: {ran:?}"),
                (1000, _, Some(8)) => assert_eq!(whole, 0, "{case}: {ran:?}"),
                _ => panic!("{case}: {ran:?}"),
            }
        }
    }
}
