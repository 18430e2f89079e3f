//! Restores into a target that others use, or that holds what the backup does not know.

use std::thread;
use std::time::Duration;

use pgstow_parts::{Database, server};

use crate::support::{LocalBackup, assert_same_data, assert_same_schema};

#[test]
fn what_cannot_be_dropped_keeps_everything_where_it_was() {
    for major in [12, 18] {
        let database = Database::fresh(&server(major), "clean_half");
        database.execute(
            "CREATE TABLE org (id integer PRIMARY KEY); CREATE TABLE meta (id integer PRIMARY KEY, o integer REFERENCES org);
             CREATE VIEW vo AS SELECT * FROM org; CREATE TYPE e AS ENUM ('a'); CREATE TABLE ue (e e);
             INSERT INTO org VALUES (1); INSERT INTO meta VALUES (1, 1); INSERT INTO ue VALUES ('a')",
        );
        let backup = LocalBackup::make(&database, &[]);
        database.execute("CREATE TABLE later (o integer REFERENCES org)");
        let before = Database::fresh(&database.server, "clean_half_before");
        LocalBackup::make(&database, &[]).run("restore", &["-d", &before.url()]).fine();
        let ran = backup.run("restore", &["-d", &database.url(), "-c", "--if-exists"]);
        ran.failed(4, &["later_o_fkey", "nothing was dropped"]);
        assert_same_schema(&before, &database);
        assert_same_data(&before, &database);
        database.execute("DROP TABLE later");
        backup.run("restore", &["-d", &database.url(), "-c", "--if-exists"]).fine();
    }
}

#[test]
fn materialized_views_that_functions_look_into_come_in_rounds() {
    for major in [12, 18] {
        let database = Database::fresh(&server(major), "hidden_order");
        database.execute(
            "CREATE TABLE t (a integer); INSERT INTO t VALUES (1);
             CREATE MATERIALIZED VIEW z_first AS SELECT a FROM t;
             CREATE FUNCTION peek() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM public.z_first';
             CREATE MATERIALIZED VIEW m_second AS SELECT public.peek() AS n;
             CREATE FUNCTION peek_again() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT n FROM public.m_second';
             CREATE MATERIALIZED VIEW a_third AS SELECT public.peek_again() AS n;
             CREATE MATERIALIZED VIEW b_fourth AS SELECT n FROM a_third",
        );
        let backup = LocalBackup::make(&database, if major == 18 { &["--statistics"] } else { &[] });
        let target = Database::fresh(&database.server, "hidden_order_target");
        backup.run("restore", &["-d", &target.url()]).fine();
        assert_eq!(target.value("SELECT n FROM b_fourth"), "1");
        // What never gets its turn is an error as before.
        let part = Database::fresh(&database.server, "hidden_order_part");
        part.execute("CREATE MATERIALIZED VIEW z_first AS SELECT 1 AS a WITH NO DATA");
        let without_first = ["-d", &part.url(), "-t", "m_second", "-P", "peek()"];
        backup.run("restore", &without_first).failed(4, &["z_first"]);
    }
}

#[test]
fn a_function_without_a_search_path_is_named_and_the_restore_goes_on_when_it_has_one() {
    // From 17 on the server makes no such index at all, for it gives the function a path of its own.
    for major in [12, 16] {
        let database = Database::fresh(&server(major), "no_path");
        database.execute(
            "CREATE FUNCTION helper(v text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower(v)';
             CREATE FUNCTION strip(v text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN helper(v); END';
             CREATE FUNCTION strip_too(v text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT helper(v)';
             CREATE TABLE pages (id integer PRIMARY KEY, title text, slug text GENERATED ALWAYS AS (strip(title)) STORED);
             INSERT INTO pages (id, title) VALUES (1, 'One'); CREATE INDEX ON pages (strip_too(title))",
        );
        let backup = LocalBackup::make(&database, &[]);
        let target = Database::fresh(&database.server, "no_path_target");
        let ran = backup.run("restore", &["-d", &target.url()]);
        ran.failed(4, &["ALTER FUNCTION public.strip(text) SET search_path = public, pg_temp", "--resume"]);
        target.execute("ALTER FUNCTION public.strip(text) SET search_path = public, pg_temp");
        let ran = backup.run("restore", &["-d", &target.url(), "--resume"]);
        ran.failed(4, &["ALTER FUNCTION public.strip_too(text) SET search_path = public, pg_temp", "--resume"]);
        target.execute("ALTER FUNCTION public.strip_too(text) SET search_path = public, pg_temp");
        backup.run("restore", &["-d", &target.url(), "--resume"]).fine();
        assert_eq!(target.value("SELECT id || title || slug FROM pages"), "1Oneone");
    }
}

#[test]
fn who_holds_a_lock_is_named_and_a_timeout_ends_the_wait() {
    let database = Database::fresh(&server(15), "held");
    database.execute("CREATE TABLE parent (id integer PRIMARY KEY); INSERT INTO parent VALUES (1)");
    let backup = LocalBackup::make(&database, &[]);
    let target = Database::fresh(&database.server, "held_target");
    backup.run("restore", &["-d", &target.url()]).fine();
    let (server, name) = (target.server.clone(), target.name.clone());
    let holder = thread::spawn(move || {
        server.execute(
            &name,
            "SET application_name = 'a holder'; BEGIN; SELECT * FROM parent; SELECT pg_sleep(16); COMMIT",
        )
    });
    thread::sleep(Duration::from_secs(1));
    let ran = backup.run("restore", &["-d", &target.url(), "-c", "--lock-timeout", "100ms"]);
    ran.failed(4, &["--lock-timeout"]);
    let ran = backup.run("restore", &["-d", &target.url(), "-c"]).fine();
    for word in ["waits for a lock on public.parent of session", "role postgres, application a holder", "pg_sleep"] {
        assert!(ran.stderr.contains(word), "{word:?} is not said: {}", ran.stderr);
    }
    holder.join().unwrap().unwrap();
    assert_same_data(&database, &target);
}

#[test]
fn a_deadlock_with_somebody_elses_transaction_is_tried_again() {
    let database = Database::fresh(&server(18), "deadlock");
    database.execute(
        "CREATE TABLE a (id integer PRIMARY KEY); CREATE TABLE b (id integer PRIMARY KEY);
         CREATE TABLE c (id integer PRIMARY KEY); INSERT INTO a VALUES (1)",
    );
    let backup = LocalBackup::make(&database, &[]);
    let target = Database::fresh(&database.server, "deadlock_target");
    backup.run("restore", &["-d", &target.url()]).fine();
    // The drops begin with c, and wait for b. Meanwhile somebody who has a begins to wait for c. When b is free, the restore waits
    // for a, and is the one that looks for a deadlock.
    let hold = |work: &'static str| {
        let (server, name) = (target.server.clone(), target.name.clone());
        thread::spawn(move || server.execute(&name, &format!("SET deadlock_timeout = '1min'; BEGIN; {work}; COMMIT")))
    };
    let other = hold("SELECT * FROM a; SELECT pg_sleep(3); SELECT * FROM c");
    let third = hold("SELECT * FROM b; SELECT pg_sleep(5)");
    thread::sleep(Duration::from_secs(1));
    let ran = backup.run("restore", &["-d", &target.url(), "-c", "--if-exists"]).fine();
    assert!(ran.stderr.is_empty() || !ran.stderr.contains("error"), "{}", ran.stderr);
    other.join().unwrap().unwrap();
    third.join().unwrap().unwrap();
    assert_same_data(&database, &target);
}
