//! What a restore does when: nobody waits for its own locks, indexes come as soon as their table has its rows, and foreign
//! keys last.

use std::sync::atomic::{AtomicBool, Ordering};

use pgstow_parts::{Database, garage, server};

use crate::support::{Backup, assert_same_data, assert_same_schema};

/// Tables that all refer to one another, each with indexes, constraints and triggers.
fn entangled() -> Database {
    let database = Database::fresh(&server(18), "entangled");
    database.execute(
        "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
         CREATE TABLE hub (id integer PRIMARY KEY); INSERT INTO hub SELECT generate_series(1, 20000);
         DO $$ BEGIN FOR n IN 1..12 LOOP
             EXECUTE format('CREATE TABLE t%1$s (id integer PRIMARY KEY, a integer UNIQUE, b text, hub integer REFERENCES hub,
                             CONSTRAINT c%1$s CHECK (id > 0))', n);
             EXECUTE format('INSERT INTO t%s SELECT m, m, md5(m::text), m FROM generate_series(1, 20000) m', n);
             EXECUTE format('CREATE INDEX ON t%s (b); CREATE INDEX ON t%1$s (a, b)', n);
             EXECUTE format('CREATE TRIGGER nothing BEFORE INSERT ON t%s FOR EACH ROW EXECUTE FUNCTION nothing()', n);
         END LOOP;
         FOR n IN 1..12 LOOP
             EXECUTE format('ALTER TABLE t%s ADD FOREIGN KEY (a) REFERENCES t%s (a)', n, n % 12 + 1);
         END LOOP; END $$",
    );
    database
}

#[test]
fn no_connection_of_a_restore_ever_waits_for_another_ones_table() {
    let (s3, database) = (garage(), entangled());
    let backup = Backup::make(&s3, &database, &[]);
    let target = Database::fresh(&database.server, "entangled_target");
    let (is_over, is_watching) = (AtomicBool::new(false), AtomicBool::new(false));
    // Many looks in one question; what waits for a table, and not for room in a file, is counted.
    let looks = "DO $$ DECLARE waiting bigint := 0; BEGIN FOR n IN 1..200 LOOP
             SELECT waiting + count(*) INTO waiting FROM pg_locks
                 WHERE NOT granted AND locktype = 'relation'
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database());
             PERFORM pg_sleep(0.001);
         END LOOP;
         IF waiting > 0 THEN RAISE 'somebody had to wait for a table in % of 200 looks', waiting; END IF; END $$";
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut rounds = 0;
            while !is_over.load(Ordering::Relaxed) {
                target.server.execute(&target.name, looks)?;
                rounds += 1;
                is_watching.store(true, Ordering::Relaxed);
            }
            Ok::<_, String>(rounds)
        });
        while !is_watching.load(Ordering::Relaxed) && !watch.is_finished() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let ran = backup.restore(&target, &["-j", "8"]);
        is_over.store(true, Ordering::Relaxed);
        ran.fine();
        assert!(watch.join().unwrap().unwrap() > 1, "the restore was over before it was looked at");
    });
    assert_same_data(&database, &target);
    assert_same_schema(&database, &target);
}

#[test]
fn an_index_begins_when_its_own_table_has_its_rows_and_foreign_keys_come_last() {
    let s3 = garage();
    let database = Database::fresh(&server(18), "order");
    // Some rows of one table take their time, but only in a restore.
    database.execute(
        "CREATE FUNCTION slowly(n integer) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
             IF n % 1000 = 0 AND current_setting('application_name') = 'pgstow restore: loading rows' THEN PERFORM pg_sleep(0.1); END IF;
             RETURN true; END $$;
         CREATE TABLE slow (id integer CONSTRAINT slow_pkey PRIMARY KEY, CHECK (public.slowly(id)), t text);
         INSERT INTO slow SELECT n, repeat('x', 100) FROM generate_series(1, 20000) n;
         CREATE TABLE quick (id integer CONSTRAINT quick_pkey PRIMARY KEY, other integer);
         INSERT INTO quick SELECT n, n FROM generate_series(1, 1000) n;
         CREATE INDEX quick_other ON quick (other);
         CREATE TABLE parted (id integer, at integer) PARTITION BY RANGE (at);
         CREATE TABLE leaf_1 PARTITION OF parted FOR VALUES FROM (0) TO (500);
         CREATE TABLE leaf_2 PARTITION OF parted FOR VALUES FROM (500) TO (1001);
         INSERT INTO parted SELECT n, n FROM generate_series(1, 1000) n;
         CREATE INDEX leaf_index ON leaf_1 (at);
         ALTER TABLE quick ADD CONSTRAINT quick_fkey FOREIGN KEY (other) REFERENCES quick;",
    );
    let backup = Backup::make(&s3, &database, &[]);
    let target = Database::fresh(&database.server, "order_target");
    target.execute(
        "CREATE SCHEMA watch; CREATE TABLE watch.seen (what text, at timestamptz, by text);
         CREATE FUNCTION watch.note() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO watch.seen SELECT (regexp_match(current_query(),
                 'slow_pkey|quick_pkey|quick_other|leaf_index|quick_fkey'))[1], clock_timestamp(), current_setting('application_name');
             END $$;
         CREATE EVENT TRIGGER note ON ddl_command_start WHEN TAG IN ('CREATE INDEX', 'ALTER TABLE') EXECUTE FUNCTION watch.note()",
    );
    backup.restore(&target, &["-j", "3"]).fine();
    // The rows of the slow table take two seconds.
    let early = "SELECT string_agg(what, ', ' ORDER BY what) FROM watch.seen
                 WHERE at < (SELECT min(at) FROM watch.seen WHERE what = 'slow_pkey') - interval '1 s'";
    assert_eq!(target.value(early), "leaf_index, quick_other, quick_pkey");
    assert_eq!(
        target.value("SELECT what FROM watch.seen WHERE what IS NOT NULL ORDER BY at DESC LIMIT 1"),
        "quick_fkey"
    );
    // The server's own list of sessions tells the phase.
    let names = "SELECT string_agg(DISTINCT by, ', ') FROM watch.seen WHERE what IS NOT NULL AND what <> 'quick_fkey'";
    assert_eq!(target.value(names), "pgstow restore: making indexes and constraints");
    let name = "SELECT by FROM watch.seen WHERE what = 'quick_fkey'";
    assert_eq!(target.value(name), "pgstow restore: adding foreign keys");
    target.execute("DROP EVENT TRIGGER note; DROP SCHEMA watch CASCADE");
    assert_same_data(&database, &target);
    // Rows of partitions are read and loaded leaf by leaf.
    let shown = crate::support::pgstow(&s3, &["show", &backup.id, "--from", &backup.store(), "--json"]).fine().json();
    let names: Vec<&str> =
        shown["tables"].as_array().unwrap().iter().map(|table| table["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["leaf_1", "leaf_2", "quick", "slow"]);
}
