//! What is dumped and restored is what was chosen, and what was chosen is what pg_dump would choose.

use std::collections::BTreeSet;

use pgstow_parts::{Database, garage, oracle, server};

use crate::support::{Backup, assert_same_data, assert_same_schema, shop};

/// A small database whose parts can be restored alone.
fn small() -> Database {
    let database = Database::fresh(&server(18), "select");
    database.execute(
        "CREATE SCHEMA a; CREATE SCHEMA b; CREATE SCHEMA \"C\";
         CREATE TABLE a.one (id serial PRIMARY KEY, t text); INSERT INTO a.one (t) VALUES ('x'), ('y');
         CREATE TABLE a.two (id integer PRIMARY KEY); INSERT INTO a.two VALUES (1);
         CREATE TABLE b.one (id integer REFERENCES a.two); INSERT INTO b.one VALUES (1);
         CREATE TABLE \"C\".\"One\" (id integer); INSERT INTO \"C\".\"One\" VALUES (7);
         CREATE VIEW a.v AS SELECT * FROM a.two; CREATE FUNCTION a.f() RETURNS integer LANGUAGE sql AS 'SELECT 1';
         CREATE INDEX one_t ON a.one (t); COMMENT ON TABLE a.one IS 'one'",
    );
    database
}

/// The tables, views and sequences that a database holds.
fn relations(database: &Database) -> BTreeSet<String> {
    let listed = database.value(
        "SELECT string_agg(oid::regclass::text, ' ' ORDER BY 1) FROM pg_class
         WHERE relkind IN ('r', 'v', 'S') AND relnamespace::regnamespace::text !~ '^(pg_|information_schema)'",
    );
    listed.split_whitespace().map(str::to_owned).collect()
}

/// With these arguments pgstow brings the relations that pg_dump with the same arguments brings.
#[track_caller]
fn check(prepare: &str, arguments: &[&str]) {
    let source = small();
    let backup = Backup::make(&garage(), &source, arguments);
    let (ours, theirs) = (Database::fresh(&source.server, "ours"), Database::fresh(&source.server, "theirs"));
    ours.execute(prepare);
    theirs.execute(prepare);
    backup.restore(&ours, &[]).fine();
    oracle().psql(&theirs.url(), &oracle().pg_dump(&source.url(), arguments).unwrap()).unwrap();
    assert_eq!(relations(&ours), relations(&theirs), "{arguments:?}");
    assert_same_schema(&theirs, &ours);
    assert_same_data(&theirs, &ours);
}

#[test]
fn one_schema_comes_alone() {
    check("SELECT", &["-n", "a"]);
}

#[test]
fn a_pattern_chooses_schemas() {
    check("SELECT", &["-n", "[a]*", "-n", "\"C\""]);
}

#[test]
fn all_but_one_schema_come() {
    check("SELECT", &["-N", "b"]);
}

#[test]
fn a_table_brings_its_sequence_and_indexes_but_not_its_schema() {
    check("CREATE SCHEMA a", &["-t", "a.one"]);
}

#[test]
fn a_pattern_chooses_tables_in_all_schemas() {
    check("CREATE SCHEMA a; CREATE SCHEMA \"C\"", &["-t", "*.one", "-t", "*.\"O\"*", "-T", "b.*"]);
}

#[test]
fn excluded_tables_stay_behind() {
    check("SELECT", &["-T", "a.two", "-T", "b.one", "-T", "a.v"]);
}

#[test]
fn excluded_rows_leave_an_empty_table() {
    check("SELECT", &["--exclude-table-data", "a.o*"]);
}

#[test]
fn definitions_come_without_rows() {
    check("SELECT", &["-s"]);
}

#[test]
fn rows_come_without_definitions() {
    let source = small();
    let target = Database::fresh(&source.server, "rows_only");
    oracle().psql(&target.url(), &oracle().pg_dump(&source.url(), &["-s"]).unwrap()).unwrap();
    // Foreign keys are there already, and only the order of loading could please them; so they go first.
    target.execute("ALTER TABLE b.one DROP CONSTRAINT one_id_fkey");
    Backup::make(&garage(), &source, &["-a"]).restore(&target, &[]).fine();
    assert_same_data(&source, &target);
}

#[test]
fn definitions_of_the_whole_shop_come_without_rows() {
    let source = shop(&server(18), "shop_schema");
    let backup = Backup::make(&garage(), &source, &["-s"]);
    assert_eq!(backup.report["rows"], 0);
    let target = Database::fresh(&source.server, "shop_schema_target");
    backup.restore(&target, &[]).fine();
    assert_same_schema(&source, &target);
}

#[test]
fn a_pattern_that_matches_nothing_is_an_error() {
    let source = small();
    let store = garage().location(&garage().fresh_prefix("nothing"));
    for (flag, pattern) in [("-t", "no_such_table"), ("-n", "no_such_schema")] {
        let ran = crate::support::pgstow(&garage(), &["dump", "-d", &source.url(), "--to", &store, flag, pattern]);
        assert!(ran.code.is_some_and(|code| code != 0), "{ran:?}");
        assert!(ran.stderr.contains("no matching") || ran.stderr.contains(pattern), "{ran:?}");
    }
}

#[test]
fn a_restore_takes_one_schema_or_one_table_out_of_a_whole_backup() {
    let source = small();
    let backup = Backup::make(&garage(), &source, &[]);
    let target = Database::fresh(&source.server, "part");
    backup.restore(&target, &["-n", "a"]).fine();
    assert_eq!(relations(&target), ["a.one", "a.one_id_seq", "a.two", "a.v"].map(str::to_owned).into());
    let target = Database::fresh(&source.server, "part");
    target.execute("CREATE SCHEMA \"C\"");
    backup.restore(&target, &["-t", "One"]).fine();
    assert_eq!(relations(&target), ["\"C\".\"One\""].map(str::to_owned).into());
    assert_eq!(target.value("SELECT id FROM \"C\".\"One\""), "7");
}
