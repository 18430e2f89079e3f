//! A table of selections: what pgstow dumps with them and restores is what the stock tools make of the same arguments.

use pgstow_parts::{Database, Server, garage, majors, oracle, say, server};

use crate::support::{Backup, assert_same_data, assert_same_schema, pgstow};

/// Something of every sort that a selection can be about.
const EVERYTHING: &str = r#"
CREATE SCHEMA a; CREATE SCHEMA b; CREATE SCHEMA "C";
CREATE TYPE a.color AS ENUM ('red'); CREATE FUNCTION a.number(a.color) RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE CAST (a.color AS integer) WITH FUNCTION a.number(a.color);
CREATE TABLE a.one (id serial PRIMARY KEY, t text); INSERT INTO a.one (t) VALUES ('x'), ('y');
CREATE INDEX one_t ON a.one (t); COMMENT ON TABLE a.one IS 'one'; COMMENT ON INDEX a.one_t IS 'index';
ALTER TABLE a.one ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON a.one USING (true); COMMENT ON POLICY mine ON a.one IS 'p';
CREATE TABLE a.parted (id integer, x integer) PARTITION BY RANGE (id);
CREATE TABLE a.parted_1 PARTITION OF a.parted FOR VALUES FROM (0) TO (10);
CREATE TABLE b.parted_2 PARTITION OF a.parted FOR VALUES FROM (10) TO (20) PARTITION BY LIST (x);
CREATE TABLE "C".parted_3 PARTITION OF b.parted_2 DEFAULT;
CREATE INDEX parted_x ON a.parted (x); INSERT INTO a.parted SELECT n, n FROM generate_series(0, 19) n;
CREATE TABLE a.base (id integer, x integer); CREATE TABLE b.child (y integer) INHERITS (a.base);
INSERT INTO a.base VALUES (1, 1); INSERT INTO b.child VALUES (2, 2, 2);
CREATE STATISTICS a.correlated (dependencies) ON id, x FROM a.base;
CREATE VIEW b.view AS SELECT id FROM a.base; CREATE MATERIALIZED VIEW b.filled AS SELECT id FROM a.base;
CREATE UNLOGGED TABLE a.fast (t text); INSERT INTO a.fast VALUES ('gone');
CREATE TABLE a.numbered (id integer GENERATED ALWAYS AS IDENTITY, t text); INSERT INTO a.numbered (t) VALUES ('one');
CREATE SEQUENCE "C".counter; SELECT nextval('"C".counter');
CREATE EXTENSION hstore SCHEMA a; CREATE EXTENSION citext SCHEMA b;
REVOKE EXECUTE ON FUNCTION a.akeys(a.hstore) FROM PUBLIC;
CREATE ACCESS METHOD other TYPE TABLE HANDLER heap_tableam_handler; CREATE TABLE b.otherwise (id integer) USING other;
ALTER DEFAULT PRIVILEGES IN SCHEMA a GRANT SELECT ON TABLES TO PUBLIC;
GRANT SELECT ON a.one TO PUBLIC; REVOKE EXECUTE ON FUNCTION a.number(a.color) FROM PUBLIC;
CREATE PUBLICATION published FOR TABLE a.one; COMMENT ON PUBLICATION published IS 'p';
SELECT lo_from_bytea(4711, 'large'); COMMENT ON LARGE OBJECT 4711 IS 'lo'; GRANT SELECT ON LARGE OBJECT 4711 TO PUBLIC;
"#;

/// What only a restore can choose by.
const FOR_RESTORE: &str = "
CREATE FUNCTION a.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END'; COMMENT ON FUNCTION a.touch() IS 'f';
CREATE TRIGGER touched BEFORE UPDATE ON a.one FOR EACH ROW EXECUTE FUNCTION a.touch(); COMMENT ON TRIGGER touched ON a.one IS 't'
";

/// pg_dump 18 writes options of subscriptions that servers before 16 refuse.
const SINCE_16: &str = "
CREATE SUBSCRIPTION subscribed CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false, slot_name = NONE);
COMMENT ON SUBSCRIPTION subscribed IS 's'";

const SINCE_14: &str = "ALTER TABLE a.one ALTER t SET COMPRESSION pglz";

const SCHEMAS: &str = "CREATE SCHEMA a; CREATE SCHEMA b; CREATE SCHEMA \"C\"";

/// What a target has before.
pub(crate) enum Before {
    Nothing,
    Schemas,
    /// The definitions that rows need, by the stock tools.
    PreData,
    /// Those and the rows.
    Rows,
}

use Before::{Nothing, PreData, Rows, Schemas};

const SELECTIONS: [(Before, &[&str]); 30] = [
    (Nothing, &["-n", "a", "-n", "b", "-N", "\"C\"", "-T", "b.otherwise"]),
    (Schemas, &["-t", "a.one", "-t", "a.fast"]),
    (Schemas, &["-t", "a.parted"]),
    (Schemas, &["-t", "a.base", "-t", "b.filled", "-T", "b.child"]),
    (Schemas, &["--table-and-children", "a.parted", "-b"]),
    (Schemas, &["--table-and-children", "a.ba*", "-T", "b.child"]),
    (Nothing, &["--exclude-table-and-children", "a.parted", "-B"]),
    (Nothing, &["--exclude-table-and-children", "b.parted_2", "--exclude-table", "b.filled"]),
    (Nothing, &["--exclude-table-data", "a.one*"]),
    (Nothing, &["--exclude-table-data-and-children", "a.base", "--exclude-table-data-and-children", "b.parted*"]),
    (Nothing, &["-e", "hst*", "--no-table-access-method"]),
    (Nothing, &["-n", "a", "-e", "hstore", "-e", "citext", "--exclude-extension", "citext"]),
    (Nothing, &["--exclude-extension", "hstore"]),
    (Nothing, &["-n", "a", "-b"]),
    (Nothing, &["--no-comments", "--no-policies"]),
    (Nothing, &["-x", "-O", "--no-security-labels"]),
    (Nothing, &["--no-table-access-method", "--no-unlogged-table-data", "--no-publications", "--no-subscriptions"]),
    (Nothing, &["--no-toast-compression", "--no-tablespaces"]),
    (Nothing, &["--section", "pre-data"]),
    (Nothing, &["--section", "pre-data", "--section=data"]),
    (PreData, &["--section=data"]),
    (PreData, &["--section", "data", "--section", "post-data"]),
    (Rows, &["--section=post-data"]),
    (Nothing, &["--no-data"]),
    (PreData, &["-a"]),
    (PreData, &["--no-schema", "-n", "a"]),
    (Nothing, &["--no-publications"]),
    (Nothing, &["--no-subscriptions"]),
    (Nothing, &["--statistics", "-n", "a"]),
    (Nothing, &["--statistics", "--no-data"]),
];

fn source(server: &Server) -> Database {
    let database = Database::fresh(server, "select_from");
    database.execute(EVERYTHING);
    if server.major() >= 14 {
        database.execute(SINCE_14);
    }
    if server.major() >= 16 {
        database.execute(SINCE_16);
    }
    database
}

pub(crate) fn check(source: &Database, before: &Before, arguments: &[&str]) {
    // Scripts of pg_dump 18 set what servers before 17 do not know.
    let stock = |arguments: &[&str]| {
        oracle().pg_dump(&source.url(), arguments).unwrap().replace("SET transaction_timeout = 0;\n", "")
    };
    let (ours, theirs) = (Database::fresh(&source.server, "ours"), Database::fresh(&source.server, "theirs"));
    for target in [&ours, &theirs] {
        match before {
            Nothing => {}
            Schemas => target.execute(SCHEMAS),
            PreData => drop(oracle().psql(&target.url(), &stock(&["--section=pre-data"])).unwrap()),
            Rows => drop(oracle().psql(&target.url(), &stock(&["--section=pre-data", "--section=data"])).unwrap()),
        }
    }
    say(&format!("selection {arguments:?}"));
    oracle().psql(&theirs.url(), &stock(arguments)).unwrap();
    Backup::make(&garage(), source, arguments).restore(&ours, &[]).fine();
    assert_same_schema(&theirs, &ours);
    assert_same_data(&theirs, &ours);
}

fn check_all(major: u16, selections: &[(Before, &[&str])]) {
    if !majors().contains(&major) {
        say(&format!("selections are not tested on PostgreSQL {major}: only {:?} is there", majors()));
        return;
    }
    let source = source(&server(major));
    for (before, arguments) in selections {
        check(&source, before, arguments);
    }
}

#[test]
fn selections_by_name_mean_on_18_what_they_mean_to_pg_dump() {
    check_all(18, &SELECTIONS[..14]);
}

#[test]
fn selections_by_sort_and_section_mean_on_18_what_they_mean_to_pg_dump() {
    check_all(18, &SELECTIONS[14..]);
}

#[test]
fn some_selections_mean_on_13_what_they_mean_to_pg_dump() {
    let picked = [4, 11, 16, 21];
    let selections: Vec<_> = SELECTIONS.into_iter().enumerate().filter(|(place, _)| picked.contains(place)).collect();
    check_all(13, &selections.into_iter().map(|(_, selection)| selection).collect::<Vec<_>>());
}

#[test]
fn a_filter_file_means_what_it_means_to_pg_dump_and_strict_names_are_strict() {
    let source = source(&server(18));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("filter");
    std::fs::write(
        &file,
        "# what to take\ninclude schema a\nINCLUDE schema \"C\"\nexclude table a . one  # not this\n\
         exclude table_data_and_children a.base\ninclude extension hstore\nexclude table_and_children a.parted\n",
    )
    .unwrap();
    check(&source, &Nothing, &["--filter", file.to_str().unwrap(), "--strict-names"]);

    let store = garage().location(&garage().fresh_prefix("strict"));
    let dump = |arguments: &[&str]| {
        let fixed = ["dump", "-d", &source.url(), "--to", &store];
        pgstow(&garage(), &[&fixed[..], arguments].concat())
    };
    dump(&["-t", "a.one", "-t", "a.nothing"]).fine();
    for what in ["-t", "-n", "-e", "--table-and-children"] {
        dump(&["-n", "a", "-t", "a.one", "-e", "hstore", "--strict-names", what, "nothing"]).failed(2, &["nothing"]);
    }
    std::fs::write(&file, "include schema a\ninclude function a.f()\n").unwrap();
    dump(&["--filter", file.to_str().unwrap()]).failed(2, &["line 2", "include function"]);
    dump(&["--filter", "/no/such/file"]).failed(2, &["/no/such/file"]);
}

/// Arguments of a restore by which pgstow and `pg_restore` choose the same. They differ for tables, which pgstow restores
/// with what hangs on them, and for schemas, which it makes.
const CHOICES: [&[&str]; 17] = [
    &[],
    &["-s"],
    &["-a"],
    &["--no-data"],
    &["--no-schema"],
    &["--no-comments"],
    &["--no-policies"],
    &["--no-security-labels", "--no-publications", "--no-subscriptions"],
    &["-x"],
    &["--section", "post-data"],
    &["--section", "pre-data", "--section=data"],
    &["-I", "one_t"],
    &["-P", "number(a.color)"],
    &["-P", "touch()", "-T", "one touched", "-n", "a"],
    &["-T", "one touched", "--no-comments"],
    &["-I", "one_t", "-n", "a", "-x"],
    &["-I", "one_t", "-N", "b"],
];

#[test]
fn a_restore_chooses_what_pg_restore_chooses() {
    let source = source(&server(18));
    source.execute(FOR_RESTORE);
    let backup = Backup::make(&garage(), &source, &["-Z", "gzip:1"]);
    let folder = tempfile::tempdir().unwrap();
    garage().download(&backup.folder(), folder.path()).unwrap();
    let store = backup.store();
    let fixed = ["restore", &backup.id, "--from", &store];
    let numbers = |listing: &str| -> Vec<u32> {
        let lines = listing.lines().filter_map(|line| line.split_once(';'));
        lines.filter_map(|(number, _)| number.parse().ok()).collect()
    };
    let filter = folder.path().join("filter");
    std::fs::write(&filter, "include function touch ( )\ninclude index one_t # and\nexclude schema b\n").unwrap();
    let by_filter = ["--filter", filter.to_str().unwrap()];
    let mut differences = Vec::new();
    for arguments in CHOICES.iter().copied().chain([&by_filter[..]]) {
        let ours = pgstow(&garage(), &[&fixed[..], &["-l"], arguments].concat()).fine().stdout;
        let mut theirs = oracle().contents_with(folder.path(), arguments).unwrap();
        // pg_restore takes a refresh for a definition. Without rows pgstow refreshes as little as pg_dump does.
        if arguments.contains(&"-s") || arguments.contains(&"--no-data") {
            theirs = theirs.lines().filter(|line| !line.contains(" VIEW DATA ")).collect::<Vec<_>>().join("\n");
        }
        let (left, right) = (numbers(&ours), numbers(&theirs));
        if left != right || left.is_empty() {
            differences.push((arguments, left, right));
        }
    }
    assert!(differences.is_empty(), "{differences:?}\n{}", oracle().contents(folder.path()).unwrap());

    // Piece by piece, the last ones by a list in another order, all of it is there.
    let target = Database::fresh(&source.server, "pieces");
    let restore = |arguments: &[&str]| backup.restore(&target, arguments).fine();
    restore(&["--section", "pre-data"]);
    restore(&["--section", "data"]);
    restore(&["-I", "one_t"]);
    let rest = pgstow(&garage(), &[&fixed[..], &["-l", "--section", "post-data"]].concat()).fine().stdout;
    let lines: Vec<&str> =
        rest.lines().filter(|line| !line.contains(" one_t ") && !line.contains(" INDEX one_t ")).collect();
    let list = folder.path().join("list");
    std::fs::write(&list, lines.into_iter().rev().collect::<Vec<_>>().join("\n")).unwrap();
    restore(&["-L", list.to_str().unwrap()]);
    assert_same_schema(&source, &target);
    assert_same_data(&source, &target);
    std::fs::write(&list, "999999; 0 0 TABLE a one postgres\n").unwrap();
    backup.restore(&target, &["-L", list.to_str().unwrap()]).failed(2, &["999999"]);
    backup.restore(&target, &["-T", "nothing"]).failed(2, &["nothing", "no such trigger"]);
}

/// What the planner knows, as stock pg_dump 18 writes it.
fn statistics(database: &Database) -> String {
    let script = oracle().pg_dump(&database.url(), &["--statistics-only"]).unwrap();
    let lines = script.lines().filter(|line| !line.contains("restrict ") && !line.starts_with("-- Dumped"));
    lines.filter(|line| !line.contains("'version', ")).collect::<Vec<_>>().join("\n")
}

const KNOWN: &str = "
CREATE TABLE public.t (id integer PRIMARY KEY, \"B b's\" text, c integer[], d int4range, e point);
INSERT INTO public.t SELECT n, 'it''s \\ ' || n % 7, ARRAY[n, n % 5], int4range(n, n + n % 9), point(n, n)
FROM generate_series(1, 1000) n;
CREATE INDEX by_expression ON public.t ((id % 10), lower(\"B b's\"));
CREATE MATERIALIZED VIEW public.m AS SELECT id, c FROM public.t;
CREATE INDEX m_id ON public.m ((id + 1));
CREATE TABLE public.empty (a integer);
CREATE TABLE public.parent (a integer); CREATE TABLE public.child () INHERITS (public.parent);
INSERT INTO public.child SELECT n FROM generate_series(1, 50) n;
CREATE TABLE public.parted (a integer PRIMARY KEY) PARTITION BY HASH (a);
CREATE TABLE public.part PARTITION OF public.parted FOR VALUES WITH (MODULUS 1, REMAINDER 0);
INSERT INTO public.parted SELECT n FROM generate_series(1, 50) n;
";

#[test]
fn what_the_planner_knows_comes_along_when_asked_for() {
    let server = server(18);
    let source = Database::fresh(&server, "known");
    source.execute(KNOWN);
    source.execute("ANALYZE");
    let expected = statistics(&source);
    assert!(expected.contains("elem_count_histogram") && expected.contains("range_bounds_histogram"), "{expected}");
    let backup = Backup::make(&garage(), &source, &["--statistics"]);
    let whole = Database::fresh(&server, "known_too");
    backup.restore(&whole, &["-j", "3"]).fine();
    assert_eq!(statistics(&whole), expected);
    assert_same_schema(&source, &whole);

    // Nothing but that, into a database that has everything else.
    let part = Database::fresh(&server, "known_part");
    backup.restore(&part, &["--no-statistics"]).fine();
    assert_ne!(statistics(&part), expected);
    backup.restore(&part, &["--statistics-only"]).fine();
    assert_eq!(statistics(&part), expected);

    // The stock tool takes them back, and so does a backup that has nothing else.
    let stock = Database::fresh(&server, "known_stock");
    let plain = crate::support::LocalBackup::make(&source, &["--statistics", "-Z", "none"]);
    oracle().pg_restore18(&stock.url(), &plain.folder(), &["-e"]).unwrap();
    assert_eq!(statistics(&stock), expected);
    let only = Backup::make(&garage(), &source, &["--statistics-only"]);
    let last = Database::fresh(&server, "known_last");
    backup.restore(&last, &["--no-statistics"]).fine();
    only.restore(&last, &[]).fine();
    assert_eq!(statistics(&last), expected);
}

#[test]
fn what_an_older_server_knows_is_written_as_pg_dump_18_writes_it_and_refused_by_older_targets() {
    for major in [12, 15, 17].into_iter().filter(|major| majors().contains(major)) {
        let server = server(major);
        let source = Database::fresh(&server, "known_old");
        source.execute(KNOWN);
        source.execute("ANALYZE public.t; ANALYZE public.m; ANALYZE public.parent; ANALYZE public.parted");
        let backup = Backup::make(&garage(), &source, &["--statistics"]);
        let target = Database::fresh(&self::server(18), "known_new");
        backup.restore(&target, &[]).fine();
        let (expected, found) = (statistics(&source), statistics(&target));
        // 18 counts frozen pages, which the older server does not tell.
        let known = |text: &str| {
            let lines = text.lines().filter(|line| !line.contains("relallfrozen"));
            lines.map(|line| line.trim_end_matches(',').to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(known(&found), known(&expected), "from {major}");
        let same = Database::fresh(&server, "known_same");
        backup.restore(&same, &[]).failed(9, &["a server that takes statistics back", "--no-statistics"]);
        backup.restore(&same, &["--no-statistics"]).fine();
    }
}
