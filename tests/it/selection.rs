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

/// A tree of partitions in two schemas, published together with a table that is in neither.
fn tied() -> Database {
    let database = Database::fresh(&server(18), "tied");
    database.execute(
        "CREATE SCHEMA a; CREATE SCHEMA b;
         CREATE TABLE a.tree (id integer PRIMARY KEY) PARTITION BY RANGE (id); CREATE INDEX twice ON a.tree ((id * 2));
         CREATE TABLE b.leaf PARTITION OF a.tree FOR VALUES FROM (0) TO (10); INSERT INTO a.tree VALUES (7);
         CREATE TABLE plain (id integer); CREATE PUBLICATION across FOR TABLE b.leaf, plain, TABLES IN SCHEMA a",
    );
    database
}

#[test]
fn what_ties_a_chosen_thing_to_another_is_done_where_the_target_has_that_and_said_where_not() {
    let source = tied();
    let attached = "SELECT count(*) FROM pg_inherits";
    let published = "SELECT count(*) FROM pg_publication_rel";
    let sorts = [(["-t", "b.leaf"], "CREATE SCHEMA b", "SELECT"), (["-n", "b"], "SELECT", "DROP SCHEMA b")];
    for (arguments, made, dropped) in sorts {
        let backup = Backup::make(&garage(), &source, &arguments);
        let alone = Database::fresh(&source.server, "alone");
        alone.execute(made);
        let said = backup.restore(&alone, &["--json"]).fine().json();
        let words = "left out, for neither what was restored nor the target has what it would be joined to: \
                     table attach b.leaf, index attach b.leaf_pkey, index attach b.leaf_expr_idx";
        let said: BTreeSet<&str> = said["warnings"][0].as_str().unwrap().split([':', ',']).map(str::trim).collect();
        assert_eq!(said, words.split([':', ',']).map(str::trim).collect());
        assert_eq!(alone.value("SELECT id FROM b.leaf"), "7");
        assert_eq!(alone.value(attached), "0");

        // Into the tree, which lost this leaf.
        let tree = Database::fresh(&source.server, "tree");
        Backup::make(&garage(), &source, &["-T", "b.leaf"]).restore(&tree, &[]).fine();
        tree.execute(dropped);
        let said = backup.restore(&tree, &["--json"]).fine().json();
        assert_eq!(said["warnings"].as_array().map(Vec::len), Some(0), "{said}");
        assert_eq!(tree.value(attached), source.value(attached));
        assert_eq!(tree.value("SELECT id FROM a.tree"), "7");
    }

    // A publication says all that it publishes, as stock's does.
    let backup = Backup::make(&garage(), &source, &["-N", "a", "-T", "plain"]);
    let target = Database::fresh(&source.server, "published");
    let said = backup.restore(&target, &[]).fine().stdout;
    for tie in
        ["publication table public.across plain", "publication tables in schema a.across a", "table attach b.leaf"]
    {
        assert!(said.contains(tie), "{tie} is not said: {said}");
    }
    assert_eq!(target.value(published), "1");
    let target = Database::fresh(&source.server, "published");
    target.execute("CREATE TABLE plain (id integer); CREATE SCHEMA a");
    backup.restore(&target, &[]).fine();
    assert_eq!(target.value(published), "2");
    assert_eq!(target.value("SELECT count(*) FROM pg_publication_namespace"), "1");

    // The same of a part of a whole backup.
    let whole = Backup::make(&garage(), &source, &[]);
    let target = Database::fresh(&source.server, "part_of_tied");
    let said = whole.restore(&target, &["-N", "a"]).fine().stdout;
    assert!(said.contains("table attach b.leaf"), "{said}");
    // Anything else about such a tie is an error as ever.
    let target = Database::fresh(&source.server, "unfit");
    target.execute("CREATE SCHEMA a; CREATE TABLE a.tree (id integer, other text) PARTITION BY RANGE (id)");
    whole.restore(&target, &["-n", "b"]).failed(4, &["table attach b.leaf"]);
}

#[test]
fn schema_public_is_made_where_it_was_chosen_and_is_missing() {
    let source = small();
    source.execute("CREATE TABLE public.plain (id integer)");
    let backup = Backup::make(&garage(), &source, &["-n", "public"]);
    let (usual, without) = (Database::fresh(&source.server, "usual"), Database::fresh(&source.server, "without"));
    without.execute("DROP SCHEMA public");
    for target in [&usual, &without] {
        backup.restore(target, &[]).fine();
        assert_eq!(target.value("SELECT count(*) FROM public.plain"), "0");
    }
    // The rest of such a backup's words are stock's, so its pg_restore makes it, too.
    let plain = crate::support::LocalBackup::make(&source, &["-n", "public", "-Z", "none"]);
    let stock = Database::fresh(&source.server, "by_stock");
    oracle().pg_restore18(&stock.url(), &plain.folder(), &["-e"]).unwrap();
    assert_eq!(stock.value("SELECT count(*) FROM public.plain"), "0");
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
