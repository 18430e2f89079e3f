//! What a dump does to a server that others use.

use std::process::Stdio;
use std::time::{Duration, Instant};

use pgstow_parts::{Database, Harm, Proxy, Server, Trigger, garage, server};

use crate::connections::pair;
use crate::faults::{address, behind, source};
use crate::support::{Ran, command, pgstow};

fn with_rows(hint: &str) -> Database {
    let database = Database::fresh(&server(18), hint);
    database
        .execute("CREATE TABLE rows AS SELECT n AS id, repeat(md5(n::text), 32) AS t FROM generate_series(1, 8000) n");
    database
}

/// Runs something while another session holds the table for itself for some seconds.
fn while_locked<T>(database: &Database, seconds: u32, work: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        // It may be ended before its time.
        let hold = format!("BEGIN; LOCK TABLE rows; SELECT pg_sleep({seconds}); COMMIT");
        scope.spawn(move || database.server.execute(&database.name, &hold));
        wait_for(
            database,
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()",
        );
        work()
    })
}

fn wait_for(database: &Database, condition: &str) {
    let start = Instant::now();
    while database.value(condition) != "t" {
        assert!(start.elapsed() < Duration::from_secs(30), "it never came about that {condition}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_dump_waits_for_a_lock_no_longer_than_it_was_told() {
    let (s3, database) = (garage(), with_rows("lock_timeout"));
    let prefix = s3.fresh_prefix("kind");
    let (url, store) = (database.url(), s3.location(&prefix));
    let ran = while_locked(&database, 6, || pgstow(&s3, &["dump", "-d", &url, "--to", &store, "--lock-timeout", "1s"]));
    ran.failed(4, &["55P03", "lock timeout"]);
    assert_eq!(s3.keys(&prefix).unwrap(), Vec::<String>::new());
}

#[test]
fn a_server_without_room_for_all_locks_is_told_so_before_any_is_taken() {
    let s3 = garage();
    let server = Server::own_with(18, "max_locks_per_transaction = 10\n").unwrap();
    let database = Database::fresh(&server, "locks");
    database.execute("CREATE TABLE rows (id integer)");
    for thousand in 0..4 {
        // Each in its own transaction, for that many tables do not fit one either.
        let make = "EXECUTE format('CREATE TABLE many_%s_%s (id integer)', {thousand}, n); COMMIT;";
        let make = make.replace("{thousand}", &thousand.to_string());
        database.execute(&format!("DO $$ BEGIN FOR n IN 1..1000 LOOP {make} END LOOP; END $$"));
    }
    let prefix = s3.fresh_prefix("locks");
    let (url, store) = (database.url(), s3.location(&prefix));
    // Who takes the first lock has to wait for this one.
    let ran = while_locked(&database, 60, || {
        let start = Instant::now();
        let ran = pgstow(&s3, &["dump", "-d", &url, "--to", &store]);
        assert!(start.elapsed() < Duration::from_secs(40), "it waited: {ran:?}");
        database.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
        ran
    });
    ran.failed(4, &["4001 relations have to be locked", "raise max_locks_per_transaction (now 10)"]);
    assert_eq!(s3.keys(&prefix).unwrap(), Vec::<String>::new());
}

#[test]
fn a_dump_that_is_stopped_while_it_waits_for_a_lock_leaves_the_queue() {
    let (s3, database) = (garage(), with_rows("queue"));
    let (url, store) = (database.url(), s3.location(&s3.fresh_prefix("kind")));
    while_locked(&database, 8, || {
        let dump = ["dump", "-d", &url, "--to", &store];
        let child = command(&s3).args(dump).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let waiting = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = 'rows'::regclass";
        wait_for(&database, waiting);
        let sent = std::process::Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap();
        assert!(sent.success());
        let start = Instant::now();
        Ran::of(&child.wait_with_output().unwrap()).failed(130, &["error:"]);
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
        assert_eq!(database.value(waiting), "f", "nobody is left to be given the lock");
    });
}

#[test]
fn a_dump_keeps_to_its_rate_and_says_who_has_to_wait_for_it() {
    let (s3, database) = (garage(), with_rows("rate"));
    let prefix = s3.fresh_prefix("kind");
    let (url, store) = (database.url(), s3.location(&prefix));
    let start = Instant::now();
    let ran = std::thread::scope(|scope| {
        scope.spawn(|| {
            let holding = "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE '%COPY%rows%' \
                           AND application_name = 'pgstow dump: reading rows' AND datname = current_database()";
            wait_for(&database, holding);
            database.execute("ALTER TABLE rows ADD COLUMN late integer");
        });
        pgstow(&s3, &["dump", "-d", &url, "--to", &store, "--rate-limit", "1MiB", "--json"])
    });
    let ran = ran.fine();
    // 8.3 MB of text in all, of which the last frame may be on its way at the end.
    assert!(start.elapsed() > Duration::from_secs(6), "{:?}", start.elapsed());
    assert!(ran.stderr.contains("has to wait for this dump's locks"), "{}", ran.stderr);
    let manifest = pgstow(&s3, &["show", "latest", "--from", &store, "--json"]).fine().json();
    assert_eq!(manifest["warnings"], serde_json::json!(["one session had to wait for the locks of this dump"]));
}

#[test]
fn a_snapshot_that_gets_too_old_ends_the_dump_and_leaves_nothing() {
    let (s3, database) = (garage(), with_rows("age"));
    let prefix = s3.fresh_prefix("kind");
    let (url, store) = (database.url(), s3.location(&prefix));
    let slowly = ["dump", "-d", &url, "--to", &store, "--rate-limit", "256KiB", "--max-snapshot-age", "2s"];
    let start = Instant::now();
    pgstow(&s3, &slowly).failed(4, &["snapshot", "--max-snapshot-age"]);
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    assert_eq!(s3.keys(&prefix).unwrap(), Vec::<String>::new());
    assert_eq!(s3.open_uploads(&prefix).unwrap(), Vec::<String>::new());
}

#[test]
fn a_dump_that_a_standby_cancels_says_which_settings_to_change() {
    for major in [14, 18] {
        let (primary, standby) = pair(major);
        let on_standby = |sql: &str| standby.execute("postgres", sql).unwrap();
        on_standby("ALTER SYSTEM SET max_standby_streaming_delay = '100ms'");
        // What the newest pg_basebackup writes there, older servers do not understand.
        on_standby(&format!("ALTER SYSTEM SET primary_conninfo = '{}'", primary.url("postgres")));
        on_standby("SELECT pg_reload_conf()");
        let rows =
            "CREATE TABLE rows AS SELECT n AS id, repeat(md5(n::text), 32) AS t FROM generate_series(1, 20000) n";
        primary.execute("postgres", rows).unwrap();
        let there = "SELECT to_regclass('public.rows') IS NOT NULL";
        let start = Instant::now();
        while standby.value("postgres", there).unwrap() != "t" {
            assert!(start.elapsed() < Duration::from_secs(30), "the standby of server {major} does not follow");
            std::thread::sleep(Duration::from_millis(50));
        }
        let (s3, url) = (garage(), standby.url("postgres"));
        let prefix = s3.fresh_prefix("standby");
        let store = s3.location(&prefix);
        let arguments = ["dump", "-d", &url, "--to", &store, "-j", "2", "--rate-limit", "1MiB"];
        let child = command(&s3).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_secs(2));
        primary.execute("postgres", "DELETE FROM rows").unwrap();
        primary.execute("postgres", "VACUUM rows").unwrap();
        let ran = Ran::of(&child.wait_with_output().unwrap());
        assert!(matches!(ran.code, Some(3 | 4)), "{ran:?}");
        for word in ["max_standby_streaming_delay", "hot_standby_feedback"] {
            assert!(ran.stderr.contains(word), "{word} is not said: {ran:?}");
        }
        assert_eq!(s3.keys(&prefix).unwrap(), Vec::<String>::new());
    }
}

#[test]
fn a_dump_keeps_to_its_rate_with_large_objects_too() {
    let (s3, database) = (garage(), Database::fresh(&server(18), "rate_blobs"));
    database.execute(
        "SELECT lo_from_bytea(0, convert_to(repeat('x', 6 << 20), 'UTF8'));
         SELECT count(lo_from_bytea(0, convert_to(repeat('y', 100000), 'UTF8'))) FROM generate_series(1, 30)",
    );
    let (url, store) = (database.url(), s3.location(&s3.fresh_prefix("kind")));
    let start = Instant::now();
    pgstow(&s3, &["dump", "-d", &url, "--to", &store, "--rate-limit", "2MiB"]).fine();
    // 9.3 MB, of which the last piece may be on its way at the end.
    assert!(start.elapsed() > Duration::from_millis(3_500), "{:?}", start.elapsed());
}

#[test]
fn a_store_that_fails_for_a_while_costs_no_second_reading_of_a_table() {
    let s3 = garage();
    let database = source("read_once");
    let proxy = Proxy::before(&address(&s3.endpoint)).unwrap();
    let shaky = behind(&s3, &proxy);
    let read = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'big'";
    wait_for(&database, "SELECT seq_scan > 0 FROM pg_stat_user_tables WHERE relname = 'small'");
    let before: u64 = database.value(read).parse().unwrap();
    for (needle, harm) in [
        ("partNumber=1", Harm::Lost),
        ("partNumber=2", Harm::Reset),
        ("partNumber=2", Harm::Truncate),
        ("partNumber=3", Harm::Lost),
        ("<CompleteMultipartUpload", Harm::Reset),
    ] {
        proxy.harm(Trigger { needle: needle.as_bytes().to_vec(), connection: 0, after: 0, harm });
    }
    let (url, store) = (database.url(), s3.location(&s3.fresh_prefix("kind")));
    let dump = ["dump", "-d", &url, "--to", &store, "-j", "1", "-Z", "none", "--part-size", "5MiB"];
    pgstow(&shaky, &dump).fine();
    assert_eq!(proxy.heal(), 0);
    wait_for(&database, &format!("SELECT ({read}) > {before}"));
    assert_eq!(database.value(read), (before + 1).to_string());
    pgstow(&s3, &["verify", "latest", "--from", &store]).fine();
}
