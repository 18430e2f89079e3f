//! A dump that loses connections to the server: a reader's is made anew and no row is lost or doubled; the leader's is the end.

use std::process::Stdio;
use std::time::{Duration, Instant};

use pgstow_parts::{Database, Harm, Proxy, Trigger, garage, server};

use crate::faults::address;
use crate::support::{Backup, Ran, assert_same_data, command, pgstow};

/// A table of many pages, one whose rows are wider than a frame, and a small one.
fn source(major: u16) -> Database {
    let database = Database::fresh(&server(major), "reconnecting");
    database.execute(
        "CREATE TABLE many AS SELECT n AS id, md5(n::text) AS a, repeat(md5((n + 1)::text), 5) AS b
             FROM generate_series(1, 40000) n;
         CREATE TABLE wide AS SELECT n AS id, repeat(md5(n::text), 120000) AS text FROM generate_series(1, 3) n;
         CREATE TABLE small AS SELECT n FROM generate_series(1, 10) n",
    );
    database
}

/// The needle of a reader's first COPY from a table.
fn reading(table: &str) -> Vec<u8> {
    format!("LOCK TABLE public.{table} IN ACCESS SHARE MODE NOWAIT; COPY").into_bytes()
}

#[test]
fn a_reader_that_loses_its_connection_goes_on_and_no_row_is_lost_or_doubled() {
    let s3 = garage();
    for major in [12, 14, 18] {
        let database = source(major);
        let proxy = Proxy::before(&address(&database.url())).unwrap();
        let url = database.url().replace(&address(&database.url()), &proxy.address.to_string());
        let cases = [
            // Before the first row, within a frame, behind some frames, near the end; split and whole.
            (&["1MiB"][..], "many", 0, Harm::Reset),
            (&["1MiB"], "many", 30_000, Harm::Truncate),
            (&["1MiB"], "many", 900_000, Harm::Reset),
            (&["1GiB"], "many", 700_001, Harm::Reset),
            (&["1GiB"], "many", 6_000_000, Harm::Truncate),
            (&["1GiB"], "many", 7_900_000, Harm::Reset),
            // Within a row of which some frames are on their way.
            (&["1GiB"], "wide", 3_000_000, Harm::Reset),
            (&["1MiB"], "wide", 5_500_000, Harm::Truncate),
            (&["1GiB"], "small", 0, Harm::Reset),
        ];
        for (number, (split, table, after, harm)) in cases.into_iter().enumerate() {
            let case = format!("server {major}: {harm:?} after {after} bytes of {table}, split above {split:?}");
            proxy.harm(Trigger { needle: reading(table), connection: 0, after, harm });
            // Once more on the connection that takes over, in two of the cases.
            if number % 5 == 2 {
                proxy.harm(Trigger {
                    needle: reading(table),
                    connection: proxy.connections() + 2,
                    after: 500_000,
                    harm,
                });
            }
            let prefix = s3.fresh_prefix("reconnecting");
            let store = s3.location(&prefix);
            let fixed = ["dump", "-d", &url, "--to", &store, "-j", "2", "--memory", "64MiB", "--json", "--split-above"];
            let ran = pgstow(&s3, &[&fixed[..], split].concat());
            proxy.heal();
            assert_eq!(ran.code, Some(0), "{case}: {ran:?}");
            assert!(ran.stderr.contains("reading on over a new connection"), "{case}: {ran:?}");
            let report = ran.json();
            assert_eq!(report["rows"], 40_013, "{case}: {report}");
            pgstow(&s3, &["verify", "latest", "--from", &store]).fine();
            let target = Database::fresh(&database.server, "reconnected");
            pgstow(&s3, &["restore", "latest", "--from", &store, "-d", &target.url(), "--verify"]).fine();
            assert_same_data(&database, &target);
        }
    }
}

/// Small large objects, an empty one, one of exactly one piece, one of three, and one that ends within its sixth.
fn with_large_objects() -> (Database, String) {
    let database = Database::fresh(&server(18), "reconnecting_blobs");
    database.execute(
        "CREATE FUNCTION noise(seed int, bytes int) RETURNS bytea LANGUAGE sql AS $$
             SELECT substr(decode(string_agg(md5(seed || '/' || n), ''), 'hex'), 1, bytes)
             FROM generate_series(0, bytes / 16) n $$;
         SELECT count(lo_from_bytea(0, noise(n, n * 700))) FROM generate_series(1, 60) n;
         SELECT lo_create(0), lo_from_bytea(0, noise(98, 1 << 20)), lo_from_bytea(0, noise(99, 3 << 20))",
    );
    let long = database.value("SELECT lo_from_bytea(0, noise(100, (5 << 20) + 4711))");
    (database, long)
}

#[test]
fn a_connection_lost_while_large_objects_are_read_costs_nothing_but_what_had_not_come() {
    let s3 = garage();
    let (database, long) = with_large_objects();
    let proxy = Proxy::before(&address(&database.url())).unwrap();
    let url = database.url().replace(&address(&database.url()), &proxy.address.to_string());
    let long = format!("lo_get({long}::");
    for (needle, after, harm) in [
        ("lo_lseek64", 0, Harm::Reset),
        ("lo_get(o.oid)", 0, Harm::Truncate),
        ("lo_get(o.oid)", 1_000, Harm::Reset),
        ("lo_get(o.oid)", 700_000, Harm::Truncate),
        // Behind the last row.
        ("lo_get(o.oid)", 2_334_000, Harm::Reset),
        (&long, 0, Harm::Reset),
        (&long, 1 << 20, Harm::Reset),
        (&long, 5_200_000, Harm::Truncate),
        (&long, 5_247_600, Harm::Reset),
    ] {
        let case = format!("{harm:?} after {after} bytes of {needle}");
        proxy.harm(Trigger { needle: needle.as_bytes().to_vec(), connection: 0, after, harm });
        let prefix = s3.fresh_prefix("reconnecting_blobs");
        let store = s3.location(&prefix);
        // With one worker all of them are one batch, and come over one connection.
        let ran = pgstow(&s3, &["dump", "-d", &url, "--to", &store, "--json", "-j", "1"]);
        assert_eq!(proxy.heal(), 0, "{case}: nothing of the sort was sent");
        assert_eq!(ran.code, Some(0), "{case}: {ran:?}");
        assert!(ran.stderr.contains("large objects: "), "{case}: {ran:?}");
        pgstow(&s3, &["verify", "latest", "--from", &store]).fine();
        let target = Database::fresh(&database.server, "reconnected_blobs");
        pgstow(&s3, &["restore", "latest", "--from", &store, "-d", &target.url()]).fine();
        assert_same_data(&database, &target);
    }
}

/// Runs a slow dump and ends one of its sessions in the server.
fn dump_without(name: &str) -> (Backup, Ran, Database) {
    let (s3, database) = (garage(), source(18));
    let prefix = s3.fresh_prefix("terminated");
    let (url, store) = (database.url(), s3.location(&prefix));
    let arguments = ["dump", "-d", &url, "--to", &store, "-j", "2", "--rate-limit", "4MiB", "--json"];
    let child = command(&s3).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    let end = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity
         WHERE application_name = '{name}' AND datname = current_database() LIMIT 1) s"
    );
    std::thread::sleep(Duration::from_millis(700));
    while database.value(&end) == "0" {
        assert!(start.elapsed().as_secs() < 60, "there is no such session");
        std::thread::sleep(Duration::from_millis(20));
    }
    let ran = Ran::of(&child.wait_with_output().unwrap());
    let id = String::new();
    let backup = Backup { s3, prefix, id, database: database.name.clone(), report: serde_json::Value::Null };
    (backup, ran, database)
}

#[test]
fn a_readers_session_that_somebody_ends_is_replaced() {
    let (backup, ran, _) = dump_without("pgstow dump: reading rows");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.json()["rows"], 40_013);
    pgstow(&backup.s3, &["verify", "latest", "--from", &backup.store()]).fine();
}

#[test]
fn without_the_session_that_holds_the_snapshot_a_dump_fails_and_leaves_nothing() {
    let (backup, ran, _) = dump_without("pgstow dump: holding the snapshot");
    ran.failed(3, &["the session that holds the snapshot and the locks was lost"]);
    assert_eq!(backup.s3.keys(&backup.prefix).unwrap(), Vec::<String>::new());
    assert_eq!(backup.s3.open_uploads(&backup.prefix).unwrap(), Vec::<String>::new());
}

#[test]
fn a_connection_that_opens_after_the_leader_was_lost_is_not_blamed_for_it() {
    let (s3, (database, _)) = (garage(), with_large_objects());
    database.execute("CREATE TABLE long AS SELECT repeat('x', 1000) FROM generate_series(1, 40000)");
    let proxy = Proxy::before(&address(&database.url())).unwrap();
    let url = database.url().replace(&address(&database.url()), &proxy.address.to_string());
    let store = s3.location(&s3.fresh_prefix("blame"));
    // The connection for large objects asks for the snapshot only after the leader has gone, and before the watch looks.
    let harm = Harm::Delay(Duration::from_millis(300));
    proxy.harm(Trigger { needle: Vec::new(), connection: 1, after: 0, harm });
    let arguments = ["dump", "-d", &url, "--to", &store, "-j", "1", "--rate-limit", "1MiB"];
    let child = command(&s3).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while proxy.connections() < 2 {
        assert!(start.elapsed().as_secs() < 60, "there is no second connection");
        std::thread::sleep(Duration::from_millis(1));
    }
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE application_name = 'pgstow dump: holding the snapshot' AND datname = current_database()";
    while database.value(end) == "0" {
        assert!(start.elapsed().as_secs() < 60, "there is no leader");
    }
    let ran = Ran::of(&child.wait_with_output().unwrap());
    ran.failed(3, &["the session that holds the snapshot and the locks was lost"]);
}
