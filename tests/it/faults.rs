//! The fault suite: whatever breaks between pgstow and the store, or pgstow and the server, a run ends in a backup that
//! verifies, or in a clean failure without manifest and without leftovers; and so does a run that is killed.

use std::process::Stdio;
use std::time::{Duration, Instant};

use pgstow_parts::{Database, Harm, Proxy, S3, Trigger, garage, server};

use crate::support::{Backup, Ran, assert_same_data, command, pgstow};

/// Every sort of object a backup has, and one that is uploaded in several parts: it does not compress.
pub(crate) fn source(hint: &str) -> Database {
    let database = Database::fresh(&server(18), hint);
    database.execute(
        "CREATE TABLE big AS SELECT n AS id, decode(string_agg(md5(n || '/' || m), ''), 'hex') AS bytes
             FROM generate_series(1, 600) n, generate_series(1, 1024) m GROUP BY n;
         ALTER TABLE big ADD PRIMARY KEY (id);
         CREATE TABLE small (id integer REFERENCES big, t text); INSERT INTO small SELECT n, repeat('x', n) FROM generate_series(1, 50) n;
         CREATE INDEX ON small (t); CREATE TABLE empty (id integer);
         SELECT lo_from_bytea(0, 'some bytes')",
    );
    database
}

/// The address of the URL's server, such as `127.0.0.1:5432`.
pub(crate) fn address(url: &str) -> String {
    let authority = url.split("://").nth(1).unwrap().split('/').next().unwrap();
    authority.rsplit('@').next().unwrap().to_owned()
}

/// The store behind a proxy.
pub(crate) fn behind(s3: &S3, proxy: &Proxy) -> S3 {
    S3 { endpoint: format!("http://{}", proxy.address), ..s3.clone() }
}

/// Little patience, so that the suite does not wait long for what never comes.
pub(crate) const HASTE: [&str; 4] = ["--retry-for", "8", "--stall-timeout", "2"];

/// A dump is over: either a backup is there and verifies, or nothing is.
#[track_caller]
pub(crate) fn assert_whole_or_nothing(case: &str, s3: &S3, prefix: &str, ran: &Ran) {
    assert_eq!(s3.open_uploads(prefix).unwrap(), Vec::<String>::new(), "{case}: {ran:?}");
    if ran.code == Some(0) {
        let verified = pgstow(s3, &["verify", "latest", "--from", &s3.location(prefix)]);
        assert_eq!(verified.code, Some(0), "{case}: {ran:?}: {verified:?}");
    } else {
        assert!(matches!(ran.code, Some(3..=5)), "{case}: {ran:?}");
        assert!(ran.stderr.contains("error: "), "{case}: {ran:?}");
        assert_eq!(s3.keys(prefix).unwrap(), Vec::<String>::new(), "{case}: {ran:?}");
    }
}

/// Requests of a dump, by what their heads hold.
const REQUESTS_OF_A_DUMP: [&str; 6] =
    ["PUT /pgstow-tests/", "?uploads", "partNumber=2", "POST /pgstow-tests/", "HEAD /", "if-none-match"];

/// Requests of a dump that fails and cleans up.
const REQUESTS_OF_CLEANING: [&str; 4] = ["list-type=2", "/?uploads", "uploadId=", "?delete"];

#[test]
fn a_dump_that_fails_leaves_nothing_even_where_cleaning_up_is_disturbed() {
    let (s3, database) = (garage(), source("faults_cleaning"));
    let proxy = Proxy::before(&address(&s3.endpoint)).unwrap();
    let shaky = behind(&s3, &proxy);
    let url = database.url();
    for request in REQUESTS_OF_CLEANING {
        for harm in [Harm::Reset, Harm::Lost, Harm::Truncate, Harm::Delay(Duration::from_millis(500))] {
            let case = format!("{harm:?} at {request} while cleaning up");
            let prefix = s3.fresh_prefix("cleaning");
            proxy.harm(Trigger { needle: request.as_bytes().to_vec(), connection: 0, after: 0, harm });
            let store = s3.location(&prefix);
            // In the middle of the uploads.
            let fails = ["--part-size", "5MiB", "--rate-limit", "5MiB", "--max-snapshot-age", "3s"];
            let arguments = ["dump", "-d", &url, "--to", &store, "-j", "2", "-Z", "none"];
            let ran = pgstow(&shaky, &[&arguments[..], &fails, &HASTE].concat());
            assert_eq!(proxy.heal(), 0, "{case}: there was no such request");
            assert_ne!(ran.code, Some(0), "{case}: {ran:?}");
            assert_whole_or_nothing(&case, &s3, &prefix, &ran);
        }
    }
}

#[test]
fn a_dump_is_whole_or_nothing_whatever_breaks_before_the_store() {
    let (s3, database) = (garage(), source("faults_store"));
    let proxy = Proxy::before(&address(&s3.endpoint)).unwrap();
    let shaky = behind(&s3, &proxy);
    let bucket = format!("/{}/", s3.bucket);
    let harms = [Harm::Reset, Harm::Truncate, Harm::CorruptAnswer, Harm::CorruptRequest];
    let mut cases: Vec<(String, usize, Harm)> = Vec::new();
    for request in REQUESTS_OF_A_DUMP {
        let needle = request.replace("/pgstow-tests/", &bucket);
        cases.extend(harms.map(|harm| (needle.clone(), if harm == Harm::CorruptAnswer { 12 } else { 0 }, harm)));
        cases.push((needle, 30, Harm::Truncate));
    }
    cases.push(("?uploads".to_owned(), 0, Harm::Silence));
    cases.push(("partNumber=2".to_owned(), 0, Harm::Delay(Duration::from_secs(1))));
    cases.push(("partNumber=2".to_owned(), 100_000, Harm::CorruptRequest));
    let mut finished = 0;
    for (needle, after, harm) in cases {
        let case = format!("{harm:?} after {after} bytes of {needle}");
        let prefix = s3.fresh_prefix("faults");
        proxy.harm(Trigger { needle: needle.into_bytes(), connection: 0, after, harm });
        let (url, store) = (database.url(), s3.location(&prefix));
        let ran =
            pgstow(&shaky, &[&["dump", "-d", &url, "--to", &store, "-j", "2", "-Z", "none"], &HASTE[..]].concat());
        assert_eq!(proxy.heal(), 0, "{case}: there was no such request");
        assert_whole_or_nothing(&case, &s3, &prefix, &ran);
        finished += u32::from(ran.code == Some(0));
    }
    // One fault is what patience is for: only what was changed on its way, and refused for it, may end a dump.
    assert!(finished >= 18, "only {finished} dumps outlived a single fault");
}

#[test]
fn a_store_that_goes_away_for_good_ends_a_dump_in_bounded_time() {
    let (s3, database) = (garage(), source("faults_gone"));
    let proxy = Proxy::before(&address(&s3.endpoint)).unwrap();
    let shaky = behind(&s3, &proxy);
    let prefix = s3.fresh_prefix("gone");
    for _ in 0..1000 {
        proxy.harm(Trigger { needle: b"partNumber=".to_vec(), connection: 0, after: 0, harm: Harm::Reset });
    }
    let (url, store) = (database.url(), s3.location(&prefix));
    let start = Instant::now();
    let ran = pgstow(&shaky, &[&["dump", "-d", &url, "--to", &store, "-Z", "none"], &HASTE[..]].concat());
    ran.failed(5, &["part"]);
    assert!(start.elapsed() < Duration::from_secs(90), "{:?}", start.elapsed());
    assert_whole_or_nothing("no part passes", &s3, &prefix, &ran);
}

#[test]
fn a_restore_is_whole_or_says_so_whatever_breaks_before_the_store() {
    let (s3, database) = (garage(), source("faults_restore"));
    let backup = Backup::make(&s3, &database, &["-Z", "none"]);
    let proxy = Proxy::before(&address(&s3.endpoint)).unwrap();
    let shaky = behind(&s3, &proxy);
    let manifest = backup.report["folder"].as_str().unwrap().to_owned();
    let requests = [format!("{manifest}manifest.json"), format!("{manifest}toc.dat"), format!("{manifest}data_")];
    let harms = [
        (0, Harm::Reset),
        (900, Harm::Reset),
        (900, Harm::Truncate),
        (900, Harm::Silence),
        (12, Harm::CorruptAnswer),
        (900, Harm::CorruptAnswer),
    ];
    for request in requests {
        for (after, harm) in harms {
            let case = format!("{harm:?} after {after} bytes of {request}");
            let target = Database::fresh(&database.server, "faults_target");
            proxy.harm(Trigger { needle: request.clone().into_bytes(), connection: 0, after, harm });
            let (url, store) = (target.url(), backup.store());
            let ran = pgstow(
                &shaky,
                &[&["restore", "latest", "--from", &store, "-d", &url, "-j", "2", "--verify"], &HASTE[..]].concat(),
            );
            assert_eq!(proxy.heal(), 0, "{case}: there was no such request");
            match ran.code {
                Some(0) => assert_same_data(&database, &target),
                Some(5 | 6) => assert!(ran.stderr.contains("error: "), "{case}: {ran:?}"),
                _ => panic!("{case}: {ran:?}"),
            }
            assert!(ran.code == Some(0) || harm == Harm::CorruptAnswer, "{case}: {ran:?}");
        }
    }
}

#[test]
fn a_dump_is_whole_or_nothing_whatever_breaks_before_the_server() {
    let (s3, database) = (garage(), source("faults_server"));
    let proxy = Proxy::before(&address(&database.server.url(""))).unwrap();
    let url = database.url().replace(&address(&database.url()), &proxy.address.to_string());
    for connection in 0..3 {
        for (after, harm) in [
            (0, Harm::Reset),
            (400, Harm::Truncate),
            (3_000, Harm::Reset),
            (300_000, Harm::Truncate),
            (300_000, Harm::Reset),
            (3_000, Harm::Delay(Duration::from_millis(300))),
        ] {
            let case = format!("{harm:?} after {after} bytes of connection {connection}");
            let prefix = s3.fresh_prefix("faults");
            proxy.harm(Trigger { needle: Vec::new(), connection: proxy.connections() + connection, after, harm });
            let store = s3.location(&prefix);
            let ran = pgstow(&s3, &["dump", "-d", &url, "--to", &store, "-j", "2", "-Z", "none"]);
            proxy.heal();
            assert_whole_or_nothing(&case, &s3, &prefix, &ran);
        }
    }
}

#[test]
fn a_store_that_falls_silent_within_a_part_is_noticed_when_the_transfer_has_stood_still() {
    let (s3, database) = (garage(), source("faults_silent"));
    let proxy = Proxy::before(&address(&s3.endpoint)).unwrap();
    let shaky = behind(&s3, &proxy);
    let prefix = s3.fresh_prefix("silent");
    proxy.harm(Trigger { needle: b"partNumber=2".to_vec(), connection: 0, after: 0, harm: Harm::Silence });
    let (url, store) = (database.url(), s3.location(&prefix));
    let start = Instant::now();
    let patience = ["--stall-timeout", "2", "--retry-for", "100"];
    let ran = pgstow(&shaky, &[&["dump", "-d", &url, "--to", &store, "-Z", "none"], &patience[..]].concat()).fine();
    assert_eq!(proxy.heal(), 0, "there was no second part");
    // The time that the transfer may stand still, and what the system may have taken of it.
    assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
    assert_whole_or_nothing("silence", &s3, &prefix, &ran);
}

#[test]
fn a_restore_is_whole_or_can_go_on_whatever_breaks_before_the_server() {
    let (s3, database) = (garage(), source("faults_target"));
    let backup = Backup::make(&s3, &database, &[]);
    let proxy = Proxy::before(&address(&database.url())).unwrap();
    let store = backup.store();
    let mut failed = 0;
    for (needle, connection) in
        [("", 0), ("", 1), ("COPY public.big", 0), ("PRIMARY KEY", 0), ("REFERENCES", 0), ("lo_put", 0)]
    {
        for (after, harm) in
            [(0, Harm::Reset), (0, Harm::Truncate), (9, Harm::Reset), (0, Harm::Delay(Duration::from_millis(300)))]
        {
            let case = format!("{harm:?} after {after} bytes of connection {connection} with {needle:?}");
            let target = Database::fresh(&database.server, "faults_restored");
            let connection = proxy.connections() + connection;
            proxy.harm(Trigger { needle: needle.as_bytes().to_vec(), connection, after, harm });
            let through = target.url().replace(&address(&target.url()), &proxy.address.to_string());
            let arguments = |url| ["restore", "latest", "--from", &store, "-j", "2", "--resume", "--verify", "-d", url];
            let ran = pgstow(&s3, &arguments(&through));
            assert_eq!(proxy.heal(), 0, "{case}: nothing of the sort was sent");
            if ran.code != Some(0) {
                failed += 1;
                assert!(matches!(ran.code, Some(3 | 4)) && ran.stderr.contains("error: "), "{case}: {ran:?}");
                let again = pgstow(&s3, &arguments(&target.url()));
                assert_eq!(again.code, Some(0), "{case}: {again:?} after {ran:?}");
            }
            assert_same_data(&database, &target);
        }
    }
    assert!(failed >= 10, "only {failed} restores were hit");
}

/// How often a run is killed: a few times in CI, `PGSTOW_KILLS=100` for a hundred.
fn kills() -> u32 {
    std::env::var("PGSTOW_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(8)
}

/// Runs a command and kills it after a while; whether it was over before.
pub(crate) fn run_and_kill(s3: &S3, arguments: &[&str], after: Duration) -> bool {
    let mut child = command(s3).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(after);
    let over = child.try_wait().unwrap().is_some();
    child.kill().unwrap();
    child.wait().unwrap();
    over
}

/// Moments spread over a run of this length, in an order that does not follow time.
pub(crate) fn moments(length: Duration) -> impl Iterator<Item = Duration> {
    let count = kills();
    (0..count).map(move |number| length * ((number * 7 + 3) % count) / count)
}

#[test]
fn a_dump_killed_at_any_moment_leaves_a_whole_backup_or_none_and_a_sweep_takes_the_rest() {
    let (s3, database) = (garage(), source("killed_dump"));
    let prefix = s3.fresh_prefix("killed");
    let (url, store) = (database.url(), s3.location(&prefix));
    let arguments = ["dump", "-d", &url, "--to", &store, "-j", "2", "-Z", "none"];
    let start = Instant::now();
    pgstow(&s3, &arguments).fine();
    let length = start.elapsed();
    for moment in moments(length) {
        run_and_kill(&s3, &arguments, moment);
    }
    // What was begun within this second is not older than a second.
    std::thread::sleep(Duration::from_millis(2_100));
    let left = || (s3.keys(&prefix).unwrap().len(), s3.open_uploads(&prefix).unwrap().len());
    let before = left();
    pgstow(&s3, &["sweep", "--to", &store]).fine();
    pgstow(&s3, &["sweep", "--to", &store, "--older-than", "1s", "--dry-run"]).fine();
    assert_eq!(left(), before, "what may be running, or only looked at, was removed");
    pgstow(&s3, &["sweep", "--to", &store, "--older-than", "1s"]).fine();
    assert_eq!(left().1, 0, "an upload was left open");
    let listed = pgstow(&s3, &["list", "--from", &store, "--json"]).fine().json();
    assert_eq!(listed["unfinished"], serde_json::json!([]));
    let backups = listed["backups"].as_array().unwrap();
    assert!(!backups.is_empty());
    let mut objects = 0;
    for backup in backups {
        let id = backup["backup"].as_str().unwrap();
        let verified = pgstow(&s3, &["verify", id, "--from", &store, "--json"]).fine().json();
        objects += verified["objects"].as_u64().unwrap();
    }
    assert_eq!(s3.keys(&prefix).unwrap().len() as u64, objects, "something lies there that belongs to no backup");
}
