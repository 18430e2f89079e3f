//! A restore that died goes on where it was, and loads no row twice.

use std::process::Stdio;
use std::time::Instant;

use pgstow_parts::{Database, garage, majors, say, server};

use crate::faults::{moments, run_and_kill, source};
use crate::globals::{ROLES, alone, assert_same_globals};
use crate::support::{Backup, assert_same_data, assert_same_schema, command, pgstow};

const NOTES: &str = "SELECT count(*) FROM pg_namespace WHERE nspname = 'pgstow_restore'";

#[test]
fn a_restore_killed_at_any_moment_goes_on_and_loads_no_row_twice() {
    let (s3, database) = (garage(), source("killed_restore"));
    let backup = Backup::make(&s3, &database, &[]);
    let store = backup.store();
    let whole = Database::fresh(&database.server, "not_killed");
    let start = Instant::now();
    backup.restore(&whole, &[]).fine();
    let length = start.elapsed();
    let mut resumed = 0;
    for (number, moment) in moments(length).enumerate() {
        let target = Database::fresh(&database.server, "killed_target");
        let url = target.url();
        let arguments = ["restore", &backup.id, "--from", &store, "-d", &url, "--resume", "-j"];
        let with = |jobs| [&arguments[..], &[jobs]].concat();
        // Every other time what went on is killed too. Tables stay cut as they were, however many connections go on.
        let over = run_and_kill(&s3, &with("3"), moment) || (number % 2 == 0 && run_and_kill(&s3, &with("1"), moment));
        if !over {
            let ran = pgstow(&s3, &[&with("4")[..], &["--verify", "--json"]].concat());
            if ran.code == Some(0) {
                resumed += u32::from(ran.json()["resumed_after"].as_u64().is_some_and(|steps| steps > 0));
            } else {
                // It was killed after its last step and before its end.
                ran.failed(9, &["no unfinished restore"]);
            }
        }
        assert_same_data(&database, &target);
        assert_same_schema(&database, &target);
        assert_eq!(target.value(NOTES), "0", "the notes are left");
    }
    assert!(resumed > 0, "every run was killed before its first step or after its last");
}

#[test]
fn a_restore_that_makes_its_database_goes_on_whenever_it_was_killed() {
    let (s3, database) = (garage(), source("killed_create"));
    let backup = Backup::make(&s3, &database, &[]);
    let store = backup.store();
    // The source makes room for its copy of the same name.
    let kept = Database::fresh(&database.server, "killed_kept");
    backup.restore(&kept, &[]).fine();
    let maintenance = database.server.url("postgres");
    let arguments = ["restore", &backup.id, "--from", &store, "-d", &maintenance, "-C", "--resume", "-j", "2"];
    let start = Instant::now();
    let drop = || {
        let sql = format!("DROP DATABASE IF EXISTS \"{}\" WITH (FORCE)", database.name);
        database.server.execute("postgres", &sql).unwrap();
    };
    drop();
    pgstow(&s3, &arguments).fine();
    let length = start.elapsed();
    for moment in moments(length) {
        drop();
        if !run_and_kill(&s3, &arguments, moment) {
            let ran = pgstow(&s3, &arguments);
            if ran.code != Some(0) {
                ran.failed(9, &["already"]);
            }
        }
        assert_same_data(&kept, &database);
        assert_same_schema(&kept, &database);
    }
}

#[test]
fn a_restore_that_brings_roles_and_tablespaces_goes_on_whenever_it_was_killed() {
    if majors().len() == 1 {
        say("resuming with --globals is not tested: that takes two servers of our own");
        return;
    }
    let (s3, source, there) = (garage(), alone(18), alone(18));
    source.execute("postgres", ROLES).unwrap();
    source.execute("postgres", "CREATE TABLESPACE plain OWNER staff LOCATION ''").unwrap();
    let database = Database::fresh(&source, "killed_globals");
    database.execute(
        "CREATE TABLE t TABLESPACE plain AS SELECT n AS id, md5(n::text) AS text FROM generate_series(1, 20000) n;
         ALTER TABLE t OWNER TO staff; ALTER TABLE t ADD PRIMARY KEY (id); GRANT SELECT ON t TO bob;
         CREATE POLICY p ON t TO chief USING (id > 1)",
    );
    let backup = Backup::make(&s3, &database, &[]);
    let store = backup.store();
    let target = Database { server: there.clone(), name: database.name.clone() };
    let empty = || {
        let drop = format!("DROP DATABASE IF EXISTS \"{}\" WITH (FORCE)", target.name);
        there.execute("postgres", &drop).unwrap();
        let gone = "DO $$ BEGIN EXECUTE (SELECT 'DROP ROLE ' || string_agg(quote_ident(rolname), ', ') FROM pg_roles
                    WHERE rolname !~ '^pg_' AND rolname <> 'postgres'); EXCEPTION WHEN null_value_not_allowed THEN NULL; END $$";
        there.execute("postgres", "DROP TABLESPACE IF EXISTS plain").unwrap();
        there.execute("postgres", gone).unwrap();
        there.execute("postgres", "ALTER ROLE ALL RESET ALL").unwrap();
    };
    let maintenance = there.url("postgres");
    let into = target.url();
    let fixed = ["restore", &backup.id, "--from", &store, "--globals", "--resume", "-j", "2", "-d"];
    let made = [&fixed[..], &[&maintenance, "-C"]].concat();
    let plain = [&fixed[..], &[&into]].concat();
    empty();
    let start = Instant::now();
    pgstow(&s3, &made).fine();
    let length = start.elapsed();
    for (number, moment) in moments(length).enumerate() {
        empty();
        let arguments = if number % 2 == 0 { &made } else { &plain };
        if number % 2 == 1 {
            there.execute("postgres", &format!("CREATE DATABASE \"{}\"", target.name)).unwrap();
        }
        if !run_and_kill(&s3, arguments, moment) {
            let ran = pgstow(&s3, arguments);
            if ran.code != Some(0) {
                // It was killed after its last step and before its end.
                ran.failed(9, &["already"]);
            }
        }
        assert_same_globals(&source, &there);
        assert_same_data(&database, &target);
        assert_same_schema(&database, &target);
        assert_eq!(target.value(NOTES), "0", "the notes are left");
    }
}

#[test]
fn a_restore_over_what_was_there_goes_on_whenever_it_was_killed() {
    let (s3, database) = (garage(), source("killed_clean"));
    database.execute("CREATE SEQUENCE counter START 5; SELECT nextval('counter') FROM generate_series(1, 37)");
    let backup = Backup::make(&s3, &database, &[]);
    // What was there: the same objects with other rows, one that only the target has, and another value of the sequence.
    let there = "TRUNCATE small, big; INSERT INTO small VALUES (NULL, 'old'); SELECT setval('counter', 1000);
                 UPDATE pg_largeobject SET data = 'old'";
    let begin = || {
        let target = Database::fresh(&database.server, "killed_clean_target");
        backup.restore(&target, &[]).fine();
        target.execute(there);
        target
    };
    let arguments = ["-c", "--if-exists", "--resume", "-j"];
    let with = |jobs| [&arguments[..], &[jobs]].concat();
    let measured = begin();
    let start = Instant::now();
    backup.restore(&measured, &with("3")).fine();
    let length = start.elapsed();
    assert_same_data(&database, &measured);
    let (id, store) = (&backup.id, backup.store());
    for moment in moments(length) {
        let target = begin();
        let url = target.url();
        let fixed = ["restore", id, "--from", &store, "-d", &url];
        if !run_and_kill(&s3, &[&fixed[..], &with("3")].concat(), moment) {
            // Whether it had begun or not: at the end, the target is the backup.
            let ran = backup.restore(&target, &[&with("2")[..], &["--verify"]].concat());
            if ran.code != Some(0) {
                ran.failed(9, &["no unfinished restore"]);
            }
        }
        assert_same_data(&database, &target);
        assert_same_schema(&database, &target);
        assert_eq!(target.value(NOTES), "0", "the notes are left");
    }
}

#[test]
fn a_restore_that_failed_goes_on_when_its_obstacle_is_gone() {
    let source = Database::fresh(&server(18), "obstacle");
    source.execute(
        "CREATE TABLE first (id integer PRIMARY KEY); INSERT INTO first SELECT generate_series(1, 100);
         CREATE TABLE second (id integer REFERENCES first); INSERT INTO second VALUES (1)",
    );
    let backup = Backup::make(&garage(), &source, &[]);
    let target = Database::fresh(&source.server, "obstacle_target");
    // An index of this name is in the way of the primary key's, and nothing looks for it before.
    target.execute("CREATE SCHEMA other; CREATE TABLE public.first_pkey_ (id integer)");
    target.execute("ALTER TABLE public.first_pkey_ RENAME TO first_pkey");
    backup.restore(&target, &["-j", "1"]).failed(4, &["first_pkey", "--resume"]);
    assert_eq!(target.value("SELECT count(*) FROM first"), "100");
    // Neither another restore, nor another choice, nor another backup may go on with it, and no dump takes the notes along.
    backup.restore(&target, &[]).failed(9, &["unfinished restore of backup", "--resume"]);
    backup.restore(&target, &["--resume", "-O"]).failed(9, &["chose something else"]);
    Backup::make(&backup.s3, &source, &[]).restore(&target, &["--resume"]).failed(9, &["is of backup", &backup.id]);
    let dumped = Backup::make(&backup.s3, &target, &[]);
    let shown = pgstow(&backup.s3, &["show", &dumped.id, "--from", &dumped.store(), "--json"]).fine();
    assert!(!shown.stdout.contains("pgstow_restore.") && shown.stdout.contains("unfinished restore"), "{shown:?}");
    let copy = Database::fresh(&source.server, "obstacle_dumped");
    dumped.restore(&copy, &[]).fine();
    assert_eq!(copy.value(NOTES), "0");
    target.execute("DROP TABLE public.first_pkey");
    let report = backup.restore(&target, &["--resume", "--verify", "--json"]).fine().json();
    assert!(report["resumed_after"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(target.value(NOTES), "0");
    target.execute("DROP SCHEMA other");
    assert_same_data(&source, &target);
    assert_same_schema(&source, &target);
}

#[test]
fn whoever_goes_on_waits_for_the_sessions_of_the_restore_that_died() {
    let source = Database::fresh(&server(18), "waits");
    source.execute("CREATE TABLE t (id integer); INSERT INTO t SELECT generate_series(1, 1000)");
    let backup = Backup::make(&garage(), &source, &[]);
    let target = Database::fresh(&source.server, "waits_target");
    // The target stops the rows on their way in, so that the server is busy with them when the client dies.
    let (url, store) = (target.url(), backup.store());
    backup.restore(&target, &["-s"]).fine();
    target.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(3); RETURN NEW; END';
         CREATE TRIGGER slow BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.id = 500) EXECUTE FUNCTION slow()",
    );
    let arguments = ["restore", &backup.id, "--from", &store, "-d", &url, "-a", "--resume"];
    let mut child = command(&backup.s3).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let busy = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%COPY%' AND wait_event = 'PgSleep'
                AND datname = current_database()";
    let start = Instant::now();
    while target.value(busy) == "0" {
        assert!(start.elapsed().as_secs() < 60, "the rows never arrive");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    pgstow(&backup.s3, &arguments).fine();
    assert_eq!(target.value("SELECT count(*) FROM t"), "1000");
}

#[test]
fn event_triggers_come_last_and_do_not_keep_the_notes_from_going() {
    let source = Database::fresh(&server(18), "last_triggers");
    source.execute(
        "CREATE TABLE t (id integer); INSERT INTO t VALUES (1);
         CREATE FUNCTION no_drops() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''nothing is dropped here''; END';
         CREATE EVENT TRIGGER no_drops ON sql_drop EXECUTE FUNCTION no_drops();
         COMMENT ON EVENT TRIGGER no_drops IS 'none'",
    );
    let backup = Backup::make(&garage(), &source, &[]);
    let target = Database::fresh(&source.server, "last_triggers_target");
    backup.restore(&target, &[]).fine();
    assert_eq!(target.value(NOTES), "0");
    assert_same_schema(&source, &target);
}

#[test]
fn a_role_that_may_make_no_schema_restores_and_is_told_that_it_could_not_go_on() {
    let source = Database::fresh(&server(18), "no_notes");
    source.execute("CREATE TABLE t (id integer); INSERT INTO t VALUES (1)");
    let backup = Backup::make(&garage(), &source, &[]);
    let target = Database::fresh(&source.server, "no_notes_target");
    target.execute(
        "CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no schemas''; END';
         CREATE EVENT TRIGGER e ON ddl_command_start WHEN TAG IN ('CREATE SCHEMA') EXECUTE FUNCTION f()",
    );
    let report = backup.restore(&target, &["--json"]).fine().json();
    let warning = report["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("this restore could not be resumed"), "{warning}");
    assert_eq!(target.value("SELECT count(*) FROM t"), "1");
}
