//! Stores that are there and say no for a while: whole dumps and restores wait for them, and read nothing twice.

use std::time::{Duration, Instant};

use pgstow_parts::{Database, Harm, Proxy, S3, Trigger, garage, server};

use crate::faults::{address, behind};
use crate::support::{Backup, Ran, assert_same_data, pgstow};

const SLOW_DOWN: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
/// As AWS sends it while it assembles the parts, white space first.
const INTERNAL_ERROR: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n   \n<Error><Code>InternalError</Code><Message>We encountered an internal error. Please try again.</Message></Error>";
/// More than the SDK asks by itself.
const BURST: usize = 8;

/// A table of more than two parts, which does not compress, and a small one.
fn source(hint: &str) -> Database {
    let database = Database::fresh(&server(18), hint);
    database.execute(
        "CREATE TABLE big AS SELECT n AS id, decode(string_agg(md5(n || '/' || m), ''), 'hex') AS bytes
             FROM generate_series(1, 1200) n, generate_series(1, 1024) m GROUP BY n;
         CREATE TABLE small AS SELECT n AS id FROM generate_series(1, 10) n",
    );
    database
}

/// How often the server has read the large table from its beginning, as far as sessions that have ended told it.
fn scans(database: &Database) -> u64 {
    database.value("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'big'").parse().unwrap()
}

/// Dumps through a store that answers so to the requests that hold the needle; the table is read once, and the backup is whole.
fn dump_through(hint: &str, harms: &[(&str, usize, Harm)]) -> (S3, Proxy, Database, String) {
    let (s3, database) = (garage(), source(hint));
    let proxy = Proxy::before(&address(&s3.endpoint)).unwrap();
    for (needle, times, harm) in harms {
        for _ in 0..*times {
            proxy.harm(Trigger { needle: needle.as_bytes().to_vec(), connection: 0, after: 0, harm: *harm });
        }
    }
    let prefix = s3.fresh_prefix(hint);
    let (url, store, before) = (database.url(), s3.location(&prefix), scans(&database));
    let dump =
        ["dump", "-d", &url, "--to", &store, "-Z", "none", "-j", "2", "--split-above", "1GiB", "--retry-for", "60"];
    pgstow(&behind(&s3, &proxy), &dump).fine();
    assert_eq!(proxy.heal(), 0, "there were too few such requests");
    assert_eq!(proxy.harmed(), harms.iter().map(|(_, times, _)| times).sum::<usize>());
    // What a session did is counted when it has ended, which nobody waits for.
    let start = Instant::now();
    while scans(&database) == before {
        assert!(start.elapsed() < Duration::from_secs(30), "no scan was counted");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(scans(&database), before + 1, "the table was read again");
    pgstow(&s3, &["verify", "latest", "--from", &store]).fine();
    assert_eq!(s3.open_uploads(&prefix).unwrap(), Vec::<String>::new());
    (s3, proxy, database, store)
}

#[test]
fn a_burst_of_slow_down_is_waited_out_by_a_dump_and_by_a_restore() {
    let slow = Harm::Answer("503 Slow Down", SLOW_DOWN);
    let requests = [("partNumber=", BURST), ("?uploads", 2), (".dat?uploadId=", 2), ("if-none-match", 2)];
    let (s3, proxy, database, store) =
        dump_through("slow_down", &requests.map(|(needle, times)| (needle, times, slow)));
    let target = Database::fresh(&database.server, "slow_down_target");
    for needle in ["manifest.json", "toc.dat", "/data_", "/data_", "/data_", "/data_"] {
        proxy.harm(Trigger { needle: needle.as_bytes().to_vec(), connection: 0, after: 0, harm: slow });
    }
    let restore = ["restore", "latest", "--from", &store, "-d", &target.url(), "--verify", "--retry-for", "60"];
    pgstow(&behind(&s3, &proxy), &restore).fine();
    assert_eq!(proxy.heal(), 0, "there were too few requests of a restore");
    assert_same_data(&database, &target);
}

#[test]
fn an_error_within_a_200_to_a_completion_is_asked_again_until_the_object_is_there() {
    // With `-Z none` only completions have this: parts name their number first, and nothing is aborted.
    dump_through("error_200", &[(".dat?uploadId=", BURST, Harm::Answer("200 OK", INTERNAL_ERROR))]);
}

#[test]
fn an_error_within_a_200_that_will_not_pass_fails_the_dump_and_leaves_nothing() {
    const INVALID: &str =
        "<Error><Code>InvalidPart</Code><Message>One or more of the parts is missing</Message></Error>";
    let (s3, database) = (garage(), source("error_200_for_good"));
    let proxy = Proxy::before(&address(&s3.endpoint)).unwrap();
    let harm = Harm::Answer("200 OK", INVALID);
    proxy.harm(Trigger { needle: b".dat?uploadId=".to_vec(), connection: 0, after: 0, harm });
    let prefix = s3.fresh_prefix("error_200_for_good");
    let dump = ["dump", "-d", &database.url(), "--to", &s3.location(&prefix), "-Z", "none"];
    let ran: Ran = pgstow(&behind(&s3, &proxy), &dump);
    ran.failed(5, &["cannot complete the upload", "InvalidPart", "/data_"]);
    assert_eq!((proxy.heal(), proxy.harmed()), (0, 1));
    assert_eq!(s3.keys(&prefix).unwrap(), Vec::<String>::new());
    assert_eq!(s3.open_uploads(&prefix).unwrap(), Vec::<String>::new());
}

#[test]
fn a_restore_reads_on_where_a_busy_store_broke_off() {
    let (s3, database) = (garage(), source("busy_restore"));
    let backup = Backup::make(&s3, &database, &["-Z", "none"]);
    let proxy = Proxy::before(&address(&s3.endpoint)).unwrap();
    // The body breaks off, and the next requests for its rest are refused.
    let needle = || b"/data_".to_vec();
    proxy.harm(Trigger { needle: needle(), connection: 0, after: 1 << 20, harm: Harm::Truncate });
    for _ in 0..3 {
        let harm = Harm::Answer("503 Slow Down", SLOW_DOWN);
        proxy.harm(Trigger { needle: b"range: bytes=".to_vec(), connection: 0, after: 0, harm });
    }
    let target = Database::fresh(&database.server, "busy_target");
    let restore = ["restore", "latest", "--from", &backup.store(), "-d", &target.url(), "-j", "1", "--verify"];
    pgstow(&behind(&s3, &proxy), &restore).fine();
    assert_eq!(proxy.heal(), 0, "there were too few requests");
    assert_same_data(&database, &target);
}
