//! Whoever waits for a dump's locks, and whomever a dump waits for.

use super::{Folder, servers};
use pgstow_parts::Database;
use std::time::{Duration, Instant};

/// Many tables with what only the server can write out.
fn many(database: &Database, count: u32) {
    database.execute(&format!(
        "DO $$ BEGIN FOR i IN 1..{count} LOOP
            EXECUTE format('CREATE TABLE t%s (id int, a text CHECK (length(a) < 100), b int CHECK (b > 0 OR a IS NULL))', i);
            EXECUTE format('CREATE INDEX ON t%s (lower(a), (b + 1)) WHERE b > 5', i);
            IF i % 100 = 0 THEN COMMIT; END IF;
        END LOOP; END $$"
    ));
}

#[test]
fn an_alter_table_that_arrives_while_the_catalogs_are_read_hangs_nobody() {
    for server in servers() {
        let source = Database::fresh(&server, "alter");
        many(&source, 400);
        let folder = Folder::new();
        for round in 0..4 {
            std::thread::scope(|scope| {
                let source = &source;
                // As soon as the leader has its locks, and then at other moments.
                let alter = scope.spawn(move || {
                    let start = Instant::now();
                    let locked = "SELECT count(*) > 0 FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
                        WHERE c.relname = 't399' AND l.granted AND l.pid <> pg_backend_pid()";
                    while source.value(locked) != "t" && start.elapsed() < Duration::from_secs(20) {}
                    std::thread::sleep(Duration::from_millis(40 * round));
                    source.execute("ALTER TABLE t200 ADD COLUMN IF NOT EXISTS late int");
                    source.execute("ALTER TABLE t200 DROP COLUMN late");
                });
                let start = Instant::now();
                folder.run(&["dump", "-d", &source.url()], &["-j", "4"]).fine();
                assert!(start.elapsed() < Duration::from_secs(45), "it took {:?}", start.elapsed());
                alter.join().unwrap();
            });
        }
    }
}

/// A large table that takes some seconds, and a small one.
fn large_and_small(database: &Database) {
    database.execute(
        "CREATE TABLE big AS SELECT n AS id, repeat(md5(n::text), 32) AS t FROM generate_series(1, 8000) n;
         CREATE TABLE small AS SELECT n, n * 1.5::float8 AS f FROM generate_series(1, 10000) n;
         CREATE TABLE wide AS SELECT n, NULL::numeric AS x FROM generate_series(1, 5000) n;
         UPDATE wide SET x = 'NaN' WHERE n = 4000",
    );
}

#[test]
fn a_migration_that_waits_for_the_dump_does_not_end_it() {
    for server in servers() {
        for (jobs, change) in [
            ("1", "ALTER TABLE small ADD COLUMN c int"),
            ("2", "ALTER TABLE small ADD COLUMN c int"),
            ("4", "TRUNCATE small"),
            ("2", "DROP TABLE wide"),
        ] {
            let source = Database::fresh(&server, "migration");
            large_and_small(&source);
            let folder = Folder::new();
            std::thread::scope(|scope| {
                let source = &source;
                scope.spawn(move || {
                    let reading = "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE '%COPY%big%'
                        AND application_name LIKE 'pgstow dump%' AND datname = current_database()";
                    while source.value(reading) != "t" {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    source.execute(change);
                });
                let ran = folder.run(&["dump", "-d", &source.url(), "--json"], &["-j", jobs, "--rate-limit", "4MiB"]);
                assert_eq!(ran.code, Some(0), "-j {jobs}, {change}: {ran:?}");
                assert_eq!(ran.json()["rows"], 23_000, "-j {jobs}, {change}: {ran:?}");
            });
            let target = Database::fresh(&server, "migrated");
            folder.run(&["restore", "latest", "-d", &target.url()], &["--verify"]).fine();
            let whole = "SELECT (SELECT sum(f) FROM small) = 75007500 AND (SELECT count(*) FROM wide) = 5000";
            assert_eq!(target.value(whole), "t", "-j {jobs}, {change}");
        }
    }
}

#[test]
fn a_dump_that_waits_for_a_lock_says_whose() {
    for server in servers() {
        let source = Database::fresh(&server, "held");
        source.execute("CREATE TABLE rows (id int); INSERT INTO rows VALUES (1)");
        let folder = Folder::new();
        std::thread::scope(|scope| {
            let source = &source;
            scope.spawn(move || source.execute("BEGIN; LOCK TABLE rows; SELECT pg_sleep(8); COMMIT"));
            while source.value("SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep'") != "t" {}
            let ran = folder.run(&["dump", "-d", &source.url()], &[]).fine();
            assert!(ran.stderr.contains("this dump waits for a lock of session"), "{ran:?}");
            assert!(ran.stderr.contains("LOCK TABLE rows"), "{ran:?}");
        });
    }
}

#[test]
fn a_dump_blocks_others_no_longer_than_it_may() {
    for server in servers() {
        let source = Database::fresh(&server, "blocking");
        large_and_small(&source);
        let folder = Folder::new();
        std::thread::scope(|scope| {
            let source = &source;
            let alter = scope.spawn(move || {
                let start = Instant::now();
                let reading = "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE '%COPY%big%'
                    AND application_name LIKE 'pgstow dump%' AND datname = current_database()";
                while source.value(reading) != "t" {
                    std::thread::sleep(Duration::from_millis(5));
                }
                let waiting = Instant::now();
                source.execute("ALTER TABLE small ADD COLUMN c int");
                (waiting.elapsed(), start)
            });
            let slowly = ["--rate-limit", "256KiB", "--max-blocking", "2s"];
            folder.run(&["dump", "-d", &source.url()], &slowly).failed(4, &["--max-blocking", "ALTER TABLE small"]);
            let (waited, _) = alter.join().unwrap();
            assert!(waited < Duration::from_secs(5), "it waited for {waited:?}");
        });
    }
}
