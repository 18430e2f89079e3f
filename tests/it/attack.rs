//! Who owns a database must not become superuser because a superuser works with it.
//!
//! Mallory owns a database. Its search path leads to his schema first, where operators, functions, types and casts wait that
//! make him superuser when a superuser runs them. He stays what he is, whatever verb is run on his database.

use crate::living::Folder;
use crate::support::{Ran, bare_command};
use pgstow_parts::{Database, Server, server};
use std::sync::Mutex;

/// The attack changes a role of the server, so one at a time on each.
static ONE: Mutex<()> = Mutex::new(());

const MAJORS: [u16; 3] = [12, 15, 18];

/// Functions that do what the system's do under the same name, and one thing more.
const OPERATORS: [(&str, &str, &str, &str); 14] = [
    ("=", "text", "text", "texteq"),
    ("=", "name", "name", "nameeq"),
    ("=", "name", "text", "nameeqtext"),
    ("=", "oid", "oid", "oideq"),
    ("=", "\"char\"", "\"char\"", "chareq"),
    ("=", "int", "int", "int4eq"),
    ("<>", "name", "name", "namene"),
    ("<>", "name", "text", "namenetext"),
    ("<>", "text", "text", "textne"),
    ("<>", "oid", "oid", "oidne"),
    ("!~", "name", "text", "nameregexne"),
    ("~", "name", "text", "nameregexeq"),
    (">", "int", "int", "int4gt"),
    ("*", "bigint", "bigint", "int8mul"),
];

/// Makes a database of Mallory's with all of it.
fn trap(server: &Server, hint: &str) -> (Database, String) {
    let database = Database::fresh(server, hint);
    let mallory = format!("mallory_{}", database.name);
    let grab = format!(
        "BEGIN IF (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) current_user) \
         THEN EXECUTE 'ALTER ROLE {mallory} SUPERUSER'; END IF; RETURN"
    );
    database.execute(&format!("CREATE ROLE {mallory} LOGIN; ALTER DATABASE {} OWNER TO {mallory}", database.name));
    let mut sql = format!("SET ROLE {mallory}; CREATE SCHEMA evil; SET search_path = pg_catalog;");
    for (number, (operator, left, right, same)) in OPERATORS.iter().enumerate() {
        let result = if *operator == "*" { "bigint" } else { "boolean" };
        sql += &format!(
            "CREATE FUNCTION evil.op{number}(a {left}, b {right}) RETURNS {result} LANGUAGE plpgsql \
                 AS $f$ {grab} pg_catalog.{same}(a, b); END $f$;
             CREATE OPERATOR evil.{operator} (PROCEDURE = evil.op{number}, LEFTARG = {left}, RIGHTARG = {right});"
        );
    }
    // Functions without a schema, as questions could call them.
    for (signature, result, same) in [
        ("current_setting(a text)", "text", "pg_catalog.current_setting(a)"),
        ("pg_backend_pid()", "int", "pg_catalog.pg_backend_pid()"),
        ("format(a text, b text)", "text", "pg_catalog.format(a, b)"),
        ("quote_ident(a text)", "text", "pg_catalog.quote_ident(a)"),
        ("pg_get_userbyid(a oid)", "name", "pg_catalog.pg_get_userbyid(a)"),
        ("pg_get_functiondef(a oid)", "text", "pg_catalog.pg_get_functiondef(a)"),
        ("format_type(a oid, b int)", "text", "pg_catalog.format_type(a, b)"),
        ("to_regclass(a text)", "regclass", "pg_catalog.to_regclass(a)"),
        ("coalesce_not(a text)", "text", "a"),
        ("left(a text, b int)", "text", "pg_catalog.left(a, b)"),
        ("json_build_object(a text, b text)", "json", "pg_catalog.json_build_object(a, b)"),
        ("extract(a text, b timestamptz)", "float8", "1"),
    ] {
        sql += &format!(
            "CREATE FUNCTION evil.{signature} RETURNS {result} LANGUAGE plpgsql AS $f$ {grab} {same}; END $f$;"
        );
    }
    // A type under a system's name, with a cast that is taken without asking, and a function behind it.
    sql += &format!(
        "CREATE DOMAIN evil.oid AS pg_catalog.oid; CREATE DOMAIN evil.regclass AS pg_catalog.regclass;
         CREATE TYPE evil.lure AS (a text);
         CREATE FUNCTION evil.cast_lure(a evil.lure) RETURNS text LANGUAGE plpgsql AS $f$ {grab} 'x'; END $f$;
         CREATE CAST (evil.lure AS text) WITH FUNCTION evil.cast_lure(evil.lure) AS IMPLICIT;
         CREATE FUNCTION evil.checks(a text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $f$ {grab} true; END $f$;
         CREATE TABLE public.t AS SELECT 1 AS a, 'x' AS b;
         RESET ROLE; RESET search_path;
         ALTER DATABASE {} SET search_path = evil, pg_catalog, public;",
        database.name
    );
    // Schema public is not everybody's since 15.
    database.execute(&format!("GRANT ALL ON SCHEMA public TO {mallory}"));
    database.execute(&sql);
    (database, mallory)
}

#[track_caller]
fn still_powerless(database: &Database, mallory: &str, after: &str) {
    let super_now =
        format!("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) '{mallory}'");
    let major = database.server.major();
    assert_eq!(database.server.value("postgres", &super_now).unwrap(), "f", "{after} on {major} made him superuser");
}

fn forget(database: &Database, mallory: &str) {
    database.execute(&format!(
        "ALTER DATABASE {} OWNER TO postgres; REASSIGN OWNED BY {mallory} TO postgres; DROP OWNED BY {mallory};
         DROP ROLE {mallory}",
        database.name
    ));
}

#[test]
fn the_trap_of_these_tests_works() {
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for major in MAJORS {
        let (database, mallory) = trap(&server(major), "trap");
        database.execute("SELECT count(*) FROM pg_catalog.pg_class WHERE relname = 't'::name");
        let super_now =
            format!("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) '{mallory}'");
        assert_eq!(database.server.value("postgres", &super_now).unwrap(), "t", "a careless question on {major}");
        forget(&database, &mallory);
    }
}

#[test]
fn no_verb_runs_what_the_owner_of_the_source_put_into_its_search_path() {
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for major in MAJORS {
        let server = server(major);
        let (database, mallory) = trap(&server, "attack");
        let (folder, url) = (Folder::new(), database.url());
        // Long enough for the session that watches.
        for arguments in [&["-j", "1"][..], &["-j", "4"], &["--rate-limit", "1KiB", "--max-blocking", "1s"]] {
            folder.run(&["dump", "-d", &url], arguments).fine();
            still_powerless(&database, &mallory, &format!("dump {arguments:?}"));
        }
        let all = ["--all", "--exclude-database", "[!a]*", "--exclude-database", "?[!t]*"];
        let _some_may_not_be_dumped = folder.run(&["dump", "-d", &url], &all);
        still_powerless(&database, &mallory, "dump --all");
        let doctor = ["doctor", "-d", &url, "--to", &folder.store()];
        let _whatever_it_finds = Ran::of(&bare_command().args(doctor).output().unwrap());
        still_powerless(&database, &mallory, "doctor");
        let jobs = tempfile::tempdir().unwrap();
        let config = jobs.path().join("pgstow.toml");
        std::fs::write(&config, format!("[job.shop]\nsource = \"{url}\"\nstore = \"{}\"\n", folder.store())).unwrap();
        let run = ["run", "shop", "--config", config.to_str().unwrap()];
        Ran::of(&bare_command().args(run).output().unwrap()).fine();
        still_powerless(&database, &mallory, "run");
        forget(&database, &mallory);
    }
}

#[test]
fn no_restore_runs_what_the_owner_of_the_target_put_into_its_search_path() {
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for major in MAJORS {
        let server = server(major);
        let source = Database::fresh(&server, "innocent");
        source.execute(
            "CREATE SCHEMA s; CREATE TABLE s.u (id serial PRIMARY KEY, a text CHECK (a <> ''), m name DEFAULT 'x');
             INSERT INTO s.u (a) SELECT g::text FROM generate_series(1, 1000) g; CREATE INDEX ON s.u (lower(a));
             CREATE VIEW s.v AS SELECT * FROM s.u WHERE a = '1'; CREATE MATERIALIZED VIEW s.w AS SELECT * FROM s.v",
        );
        let folder = Folder::new();
        folder.run(&["dump", "-d", &source.url()], &[]).fine();
        let (target, mallory) = trap(&server, "prey");
        let url = target.url();
        for arguments in [
            &["--dry-run"][..],
            &["--verify"],
            &["-c", "--if-exists", "-j", "4", "--verify"],
            &["-c", "--if-exists", "--globals"],
            &["--globals-only"],
        ] {
            folder.run(&["restore", "latest", "-d", &url], arguments).fine();
            still_powerless(&target, &mallory, &format!("restore {arguments:?}"));
        }
        forget(&target, &mallory);
    }
}

#[test]
fn what_stands_in_for_the_notes_of_a_restore_is_refused() {
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for major in MAJORS {
        let server = server(major);
        let source = Database::fresh(&server, "innocent");
        source.execute("CREATE TABLE u (id int); INSERT INTO u VALUES (1)");
        let folder = Folder::new();
        folder.run(&["dump", "-d", &source.url()], &[]).fine();
        let (target, mallory) = trap(&server, "notes");
        target.execute(&format!(
            "SET ROLE {mallory};
             CREATE FUNCTION evil.grab() RETURNS text LANGUAGE plpgsql AS $f$ BEGIN
                 EXECUTE 'ALTER ROLE {mallory} SUPERUSER'; RETURN 'x'; EXCEPTION WHEN OTHERS THEN RETURN 'y'; END $f$;
             CREATE SCHEMA pgstow_restore;
             CREATE VIEW pgstow_restore.run AS SELECT evil.grab() AS archive, 'x'::text AS contents, 'x'::text AS choice, 1 AS jobs;
             CREATE VIEW pgstow_restore.done AS SELECT 1 AS entry, pg_catalog.length(evil.grab()) AS slice"
        ));
        let url = target.url();
        for arguments in [&[][..], &["--resume"], &["-c", "--if-exists"]] {
            folder.run(&["restore", "latest", "-d", &url], arguments).failed(9, &["pgstow_restore", "has made"]);
            still_powerless(&target, &mallory, &format!("restore {arguments:?}"));
        }
        forget(&target, &mallory);
    }
}
