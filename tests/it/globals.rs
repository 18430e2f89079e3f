//! What belongs to a server: roles, memberships, tablespaces, privileges on parameters, and all of its databases.

use pgstow_parts::fetch::embedded_server;
use pgstow_parts::{Database, Server, garage, majors, oracle, say};

use crate::support::{Backup, Ran, pgstow};

/// What every version understands. The settings for all roles are no part of stock's globals, hence the second look.
pub(crate) const ROLES: &str = r#"
CREATE ROLE "Ann's ""own"";
role" LOGIN PASSWORD 'secret of ann' CONNECTION LIMIT 3 VALID UNTIL '2031-05-06 07:08:09+02';
CREATE ROLE staff NOINHERIT CREATEDB CREATEROLE; COMMENT ON ROLE staff IS E'it''s \\ staff';
CREATE ROLE chief SUPERUSER REPLICATION BYPASSRLS; CREATE ROLE bob LOGIN; CREATE ROLE "select";
ALTER ROLE staff SET search_path = app, "$user", "a b"; ALTER ROLE staff SET work_mem = '7MB';
ALTER ROLE bob SET "my.text" = E'it''s \\ \n so'; ALTER ROLE ALL SET "my.other" = 'everybody''s';
GRANT staff TO bob WITH ADMIN OPTION; GRANT "select" TO staff; GRANT pg_monitor TO staff; GRANT chief TO "select";
"#;

const SINCE_15: &str = "
GRANT SET ON PARAMETER work_mem TO staff WITH GRANT OPTION; GRANT SET, ALTER SYSTEM ON PARAMETER log_statement TO bob;
SET SESSION AUTHORIZATION staff; GRANT SET ON PARAMETER work_mem TO PUBLIC; RESET SESSION AUTHORIZATION;
GRANT SET ON PARAMETER \"my.text\" TO bob";

const SINCE_16: &str = "
CREATE ROLE zoe; CREATE ROLE yan; CREATE ROLE xia; CREATE ROLE club;
GRANT club TO zoe WITH ADMIN TRUE, INHERIT FALSE, SET FALSE; GRANT club TO yan WITH ADMIN TRUE GRANTED BY zoe;
GRANT club TO xia WITH INHERIT TRUE, SET FALSE GRANTED BY yan; GRANT club TO xia WITH INHERIT FALSE GRANTED BY zoe";

/// A server of this test alone, for roles are everybody's. Tablespaces within the data directory let two servers of one
/// machine have the same ones.
pub(crate) fn alone(major: u16) -> Server {
    let server = Server::start(&embedded_server(major).unwrap(), None).unwrap();
    server.execute("postgres", "ALTER SYSTEM SET allow_in_place_tablespaces = on").unwrap();
    server.execute("postgres", "SELECT pg_reload_conf()").unwrap();
    server
}

fn run(server: &Server, statements: &str) {
    for statement in statements.split(";\n").filter(|statement| !statement.trim().is_empty()) {
        server.execute("postgres", statement).unwrap();
    }
}

/// A server with everything that its version knows.
fn source(major: u16) -> Server {
    let server = alone(major);
    // From 19 on no name of a role has a line break.
    let roles = if major >= 19 { ROLES.replace("\nrole\"", " role\"") } else { ROLES.to_owned() };
    server.execute("postgres", &roles).unwrap();
    if major >= 15 {
        server.execute("postgres", SINCE_15).unwrap();
    }
    if major >= 16 {
        server.execute("postgres", SINCE_16).unwrap();
    }
    run(
        &server,
        "CREATE TABLESPACE \"Fast 'n' big\" OWNER staff LOCATION '';
ALTER TABLESPACE \"Fast 'n' big\" SET (seq_page_cost = 0.5, random_page_cost = 1.5);
GRANT CREATE ON TABLESPACE \"Fast 'n' big\" TO bob WITH GRANT OPTION;
COMMENT ON TABLESPACE \"Fast 'n' big\" IS 'it''s fast';
CREATE TABLESPACE plain LOCATION '';
",
    );
    server
}

/// Both have the same, as far as stock tells, and the settings for everybody, which it does not.
#[track_caller]
pub(crate) fn assert_same_globals(left: &Server, right: &Server) {
    let of = |server: &Server| {
        let everybody = "SELECT setconfig::text FROM pg_db_role_setting WHERE setrole = 0 AND setdatabase = 0";
        let settings = server.value("postgres", everybody).unwrap();
        (oracle().globals(&server.url("postgres")).unwrap(), settings)
    };
    let (left, right) = (of(left), of(right));
    assert!(left == right, "the source has\n{}\n{}\nand the target\n{}\n{}", left.0, left.1, right.0, right.1);
}

/// Globals of a server come back on a second one that has some of the roles already, but otherwise.
fn check(major: u16) {
    if !majors().contains(&major) || majors().len() == 1 {
        say(&format!("globals are not tested on PostgreSQL {major}: that takes two servers of our own"));
        return;
    }
    let source = source(major);
    let database = Database::fresh(&source, "globals");
    let backup = Backup::make(&garage(), &database, &[]);
    assert_eq!(backup.report["globals"]["passwords"], "included");
    let target = alone(major);
    run(
        &target,
        "CREATE ROLE staff SUPERUSER LOGIN PASSWORD 'old' CONNECTION LIMIT 1;
CREATE ROLE bob;
GRANT staff TO bob;
CREATE TABLESPACE \"Fast 'n' big\" OWNER bob LOCATION '';
ALTER ROLE staff PASSWORD NULL;
",
    );
    let into = Database::fresh(&target, "globals_target");
    let report = backup.restore(&into, &["--globals", "--json"]).fine().json();
    assert_same_globals(&source, &target);
    let altered: Vec<_> = report["globals"]["altered"].as_array().unwrap().iter().filter_map(|v| v.as_str()).collect();
    assert_eq!(altered, ["role bob", "role postgres", "role staff", "tablespace \"Fast 'n' big\""]);
    assert!(report["globals"]["made"].as_array().unwrap().iter().any(|made| made == "role \"select\""), "{report}");
}

#[test]
fn globals_of_12_come_back_the_same() {
    check(12);
}

#[test]
fn globals_of_13_come_back_the_same() {
    check(13);
}

#[test]
fn globals_of_14_come_back_the_same() {
    check(14);
}

#[test]
fn globals_of_15_come_back_the_same() {
    check(15);
}

#[test]
fn globals_of_16_come_back_the_same() {
    check(16);
}

#[test]
fn globals_of_17_come_back_the_same() {
    check(17);
}

#[test]
fn globals_of_18_come_back_the_same() {
    check(18);
}

#[test]
fn globals_of_19_come_back_the_same() {
    check(19);
}

/// No part of a password's hash is in what was said.
#[track_caller]
fn assert_no_hash(ran: &Ran) {
    for word in ["SCRAM-SHA-256", "4096:"] {
        assert!(!ran.stdout.contains(word) && !ran.stderr.contains(word), "a hash is printed: {ran:?}");
    }
}

#[test]
fn psql_makes_the_same_of_the_script_and_no_hash_is_ever_printed() {
    if majors().len() == 1 {
        say("globals in psql are not tested: that takes servers of our own");
        return;
    }
    let source = source(18);
    let database = Database::fresh(&source, "globals");
    let backup = Backup::make(&garage(), &database, &[]);
    let script = String::from_utf8(garage().get(&format!("{}globals.sql", backup.folder())).unwrap()).unwrap();
    assert!(script.contains("SCRAM-SHA-256"));

    // Who has nothing but the bucket loads the script with psql; that role postgres is there already stops nobody.
    let by_psql = alone(18);
    oracle().psql(&by_psql.url("postgres"), &format!("\\set ON_ERROR_STOP off\n{script}")).unwrap();
    assert_same_globals(&source, &by_psql);

    let target = alone(18);
    let into = Database::fresh(&target, "globals_target");
    assert_no_hash(&backup.restore(&into, &["--globals", "--dry-run", "-vvv"]).fine());
    assert_no_hash(&backup.restore(&into, &["--globals", "--dry-run", "--json"]).fine());
    assert_eq!(target.value("postgres", "SELECT count(*) FROM pg_roles WHERE rolname = 'staff'").unwrap(), "0");
    // A role that may make roles but no superusers gets far, and what it may not do is said without hashes.
    run(&target, "CREATE ROLE deputy LOGIN CREATEROLE;\n");
    let as_deputy = target.url_as(&into.name, "deputy", "x");
    let arguments = ["restore", &backup.id, "--from", &backup.store(), "-d", &as_deputy, "-g", "-vvv"];
    let refused = pgstow(&garage(), &arguments);
    refused.failed(4, &["role chief"]);
    assert_no_hash(&refused);
    let went_on = pgstow(&garage(), &[&arguments[..], &["--keep-going"]].concat());
    assert_eq!(went_on.code, Some(8), "{went_on:?}");
    assert_no_hash(&went_on);
    run(&target, "DROP ROLE IF EXISTS staff;\n");
    assert_no_hash(&backup.restore(&into, &["-g", "-vvv"]).fine());
    let kept = target.value("postgres", "SELECT rolpassword FROM pg_authid WHERE rolname ~ 'Ann'").unwrap();
    assert!(script.contains(&kept), "the hash is not the source's");
}

#[test]
fn passwords_and_all_globals_can_be_left_out_and_an_unreadable_password_is_said() {
    if majors().len() == 1 {
        say("globals without passwords are not tested: that takes servers of our own");
        return;
    }
    let source = source(18);
    let database = Database::fresh(&source, "globals");
    database.execute("CREATE ROLE reader LOGIN");
    let script =
        |backup: &Backup| String::from_utf8(garage().get(&format!("{}globals.sql", backup.folder())).unwrap()).unwrap();

    let without = Backup::make(&garage(), &database, &["--no-role-passwords"]);
    assert_eq!(without.report["globals"]["passwords"], "left_out");
    assert!(!script(&without).contains("SCRAM") && script(&without).contains("CREATE ROLE staff"));

    let none = Backup::make(&garage(), &database, &["--no-globals"]);
    assert!(none.report["globals"].is_null());
    assert!(!garage().keys(&none.folder()).unwrap().iter().any(|key| key.ends_with("globals.sql")));
    none.restore(&Database::fresh(&source, "none"), &["--globals"]).failed(6, &["no roles and tablespaces"]);

    let store = garage().location(&garage().fresh_prefix("as_reader"));
    let url = source.url_as(&database.name, "reader", "x");
    let report = pgstow(&garage(), &["dump", "-d", &url, "--to", &store, "--json"]).fine().json();
    assert_eq!(report["globals"]["passwords"], "not_readable");
    assert!(report["warnings"][0].as_str().unwrap().contains("role reader may not read"), "{report}");
}

#[test]
fn every_database_of_a_server_is_dumped_and_one_that_fails_stops_no_other() {
    if majors().len() == 1 {
        say("a dump of all databases is not tested: that takes a server of our own");
        return;
    }
    let server = alone(18);
    let one = Database::fresh(&server, "all_one");
    one.execute("CREATE TABLE t AS SELECT generate_series(1, 7) AS id");
    let (two, bad) = (Database::fresh(&server, "all_Two"), Database::fresh(&server, "bad"));
    two.execute("CREATE TABLE t AS SELECT generate_series(1, 3) AS id");
    let (test, closed) = (Database::fresh(&server, "test_a"), Database::fresh(&server, "closed"));
    run(&server, &format!("ALTER DATABASE \"{}\" ALLOW_CONNECTIONS false", closed.name));
    // A role that may read everything but one table, which must be enough for all other databases.
    bad.execute("CREATE TABLE secret (id integer)");
    run(&server, "CREATE ROLE reader LOGIN");
    for database in [&one, &two] {
        database.execute("GRANT SELECT ON t TO reader");
    }
    let store = garage().location(&garage().fresh_prefix("all"));
    // No database bears the role's name; then the server is asked in one that every server has.
    let url = server.url_as("", "reader", "x");
    let arguments = ["dump", "--all", "--exclude-database", "test_*", "-d", &url, "--to", &store];
    let ran = pgstow(&garage(), &[&arguments[..], &["--json"]].concat());
    ran.failed(8, &["1 of 4", &bad.name]);
    let report = ran.json();
    let dumped: Vec<_> = report["databases"].as_array().unwrap().iter().map(|each| &each["database"]).collect();
    let mut expected = [&one.name, &two.name, &bad.name].map(String::as_str).to_vec();
    expected.push("postgres");
    expected.sort_unstable();
    assert_eq!(dumped, expected);
    assert_eq!((&report["excluded"][0], &report["common_point_in_time"]), (&test.name.as_str().into(), &false.into()));
    let entry = |name: &str| {
        report["databases"].as_array().unwrap().iter().find(|each| each["database"] == name).unwrap().clone()
    };
    assert_eq!((&entry(&one.name)["rows"], &entry(&two.name)["rows"]), (&7.into(), &3.into()));
    assert!(entry(&bad.name)["error"].as_str().unwrap().contains("secret"), "{report}");
    assert!(entry(&one.name)["globals"]["roles"].as_u64() >= Some(2), "{report}");

    bad.execute("GRANT SELECT ON secret TO reader");
    // A filter file can say so as well.
    let filter = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(filter.path(), "exclude database test_*\n").unwrap();
    let filtered = ["dump", "--all", "--filter", filter.path().to_str().unwrap(), "-d", &url, "--to", &store];
    let words = pgstow(&garage(), &filtered).fine().stdout;
    assert!(words.contains(&format!("excluded: database {}", test.name)), "{words}");
    assert!(words.contains("no common point in time"), "{words}");
    let listed = pgstow(&garage(), &["list", "--from", &store, "--json"]).fine().json();
    assert_eq!(listed["backups"].as_array().unwrap().len(), 7);
    assert_eq!(listed["unfinished"], serde_json::json!([]));
}
