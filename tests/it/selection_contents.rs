//! What a selection takes, entry by entry: the table of contents that pgstow writes names what stock's names, whatever is
//! chosen. Whether it restores to the same is held in `selection_table.rs`.

use std::collections::BTreeSet;
use std::path::Path;

use pgstow::archive::toc::Toc;
use pgstow_parts::{Database, majors, oracle, say, server};

use crate::selection_table::source;
use crate::support::{LocalBackup, no_store, pgstow};

/// What the selections of the other tables do not have.
const MORE: &str = r#"
CREATE EXTENSION postgres_fdw SCHEMA b; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw;
CREATE FOREIGN TABLE b.far (id integer) SERVER far; CREATE USER MAPPING FOR CURRENT_USER SERVER far;
CREATE TABLE one (id integer PRIMARY KEY); INSERT INTO one VALUES (1); CREATE TABLE "One two" (id integer);
CREATE TABLE "C".refers (id integer REFERENCES public.one); COMMENT ON CONSTRAINT refers_id_fkey ON "C".refers IS 'fk';
CREATE VIEW b.over_view AS SELECT * FROM b.view; CREATE MATERIALIZED VIEW b.over_filled AS SELECT * FROM b.filled;
CREATE INDEX filled_id ON b.filled (id); COMMENT ON MATERIALIZED VIEW b.filled IS 'm';
CREATE SEQUENCE a.owned OWNED BY a.base.x; CREATE TYPE b.pair AS (a integer, b a.color); CREATE TABLE b.typed OF b.pair;
CREATE FUNCTION b.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER t BEFORE INSERT ON a.parted FOR EACH STATEMENT EXECUTE FUNCTION b.f();
CREATE RULE r AS ON INSERT TO b.view DO INSTEAD NOTHING; COMMENT ON RULE r ON b.view IS 'r';
CREATE DOMAIN a.positive AS integer CHECK (VALUE > 0);
CREATE FUNCTION a.event() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION a.event();
ALTER TABLE a.parted_1 ADD CONSTRAINT more CHECK (id < 10); ALTER TABLE a.parted_1 ADD PRIMARY KEY (id);
GRANT SELECT (t) ON a.one TO PUBLIC; GRANT USAGE ON SCHEMA a TO PUBLIC; COMMENT ON SCHEMA a IS 's'; COMMENT ON COLUMN a.one.t IS 'c';
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC; CREATE COLLATION a.c (LOCALE = 'C'); CREATE OPERATOR a.=== (RIGHTARG = a.color, PROCEDURE = a.number);
CREATE TEXT SEARCH CONFIGURATION a.words (COPY = simple); CREATE CONVERSION a.conversion FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE AGGREGATE a.total(integer) (SFUNC = int4pl, STYPE = integer); CREATE LANGUAGE other HANDLER plpgsql_call_handler;
CREATE TRANSFORM FOR a.hstore LANGUAGE plpgsql (FROM SQL WITH FUNCTION prsd_lextype(internal)); CREATE PUBLICATION of_all FOR ALL TABLES
"#;

/// What is chosen. Most choices could not be restored alone, which is why only their contents are compared.
const SELECTIONS: [&[&str]; 60] = [
    &[],
    &["-t", "one"],
    &["-t", "\"One two\""],
    &["-t", "One*"],
    &["-t", "*.one"],
    &["-t", "a.on?"],
    &["-t", "a.(one|fast)"],
    &["-t", "a.[of]*", "-T", "a.o*"],
    &["-t", "b.parted_2"],
    &["-t", "a.parted_1"],
    &["-t", "b.child"],
    &["-t", "b.view"],
    &["-t", "b.over_view", "-t", "b.over_filled"],
    &["-t", "b.filled", "-a"],
    &["-t", "a.one_id_seq"],
    &["-t", "a.owned"],
    &["-t", "b.far"],
    &["-t", "b.typed"],
    &["-t", "a.base", "-n", "b"],
    &["-t", "a.one", "-N", "a"],
    &["-t", "a.one", "-T", "a.one_id_seq"],
    &["-t", "a.one", "-s", "-x"],
    &["-t", "a.numbered", "-t", "a.fast", "--no-unlogged-table-data"],
    &["-t", "pg_catalog.pg_class", "-s"],
    &["-T", "a.one_id_seq"],
    &["-T", "a.one"],
    &["-T", "a.parted"],
    &["-T", "b.parted_2"],
    &["-T", "b.view"],
    &["-T", "b.filled"],
    &["-T", "*.*"],
    &["-T", "nothing"],
    &["-n", "a"],
    &["-n", "b", "-n", "public"],
    &["-n", "*"],
    &["-n", "a", "-N", "a"],
    &["-n", "a", "-e", "plpgsql"],
    &["-n", "b", "--statistics"],
    &["-N", "a"],
    &["-N", "*"],
    &["-N", "public", "-B"],
    &["-e", "*"],
    &["-e", "citext"],
    &["-e", "postgres_fdw", "-n", "b"],
    &["--exclude-extension", "*"],
    &["--exclude-extension", "citext", "--exclude-extension", "postgres_fdw"],
    &["--table-and-children", "b.parted_2"],
    &["--table-and-children", "a.*", "--exclude-table-and-children", "a.parted"],
    &["--exclude-table-and-children", "a.base"],
    &["--exclude-table-data", "*"],
    &["--exclude-table-data", "b.filled", "--exclude-table-data", "a.parted"],
    &["--exclude-table-data-and-children", "a.parted"],
    &["--section", "post-data", "-t", "a.one"],
    &["--section", "data", "-n", "a", "--large-objects"],
    &["--no-large-objects", "--no-comments", "--no-policies", "--no-publications", "--no-subscriptions"],
    &["--no-security-labels", "--no-toast-compression", "--no-table-access-method", "--no-tablespaces"],
    &["-a", "-T", "a.one", "--no-unlogged-table-data"],
    &["-s", "--large-objects"],
    &["--statistics-only"],
    &["--statistics", "-s", "-T", "a.parted"],
];

/// What an archive names, without what pgstow cuts otherwise on purpose.
fn contents(folder: &Path) -> BTreeSet<String> {
    let contents = Toc::decode(&std::fs::read(folder.join("toc.dat")).unwrap()).unwrap();
    let entries = contents.entries.into_iter();
    // Archives of 1.16 group large objects; an opened function comes in two parts.
    let entries = entries.filter(|entry| !["BLOB METADATA", "BLOB"].contains(&entry.desc.as_str()));
    entries
        .map(|entry| {
            format!(
                "{} {}: {:?}, owner {:?}, tablespace {:?}, method {:?}, {:?}",
                entry.desc, entry.tag, entry.section, entry.owner, entry.tablespace, entry.access_method, entry.schema
            )
        })
        .collect()
}

fn check(source: &Database, arguments: &[&str]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let stock = folder.path().join("stock");
    let fixed = ["-Fd", "-Z", "none", "-f", stock.to_str().unwrap()];
    let store = format!("file://{}", folder.path().join("ours").display());
    let url = source.url();
    let ours = ["dump", "-d", &url, "--to", &store, "-Z", "none"];
    if let Err(refused) = oracle().pg_dump(&url, &[&fixed, arguments].concat()) {
        let ran = pgstow(&no_store(), &[&ours, arguments].concat());
        let complaint = format!("{arguments:?}: stock refuses ({refused}), and pgstow says: {}", ran.stderr);
        return if ran.code == Some(0) { vec![complaint] } else { Vec::new() };
    }
    let ours = LocalBackup::make(source, &[&["-Z", "none"], arguments].concat());
    let (theirs, ours) = (contents(&stock), contents(&ours.folder()));
    let mut lines: Vec<String> =
        theirs.difference(&ours).map(|entry| format!("{arguments:?}: missing: {entry}")).collect();
    lines.extend(ours.difference(&theirs).map(|entry| format!("{arguments:?}: surplus: {entry}")));
    lines
}

fn check_all(major: u16) {
    if !majors().contains(&major) {
        say(&format!("contents of selections are not tested on PostgreSQL {major}: only {:?} is there", majors()));
        return;
    }
    let source = source(&server(major));
    source.execute(MORE);
    let lines: Vec<String> = SELECTIONS.iter().flat_map(|arguments| check(&source, arguments)).collect();
    assert!(lines.is_empty(), "on PostgreSQL {major}:\n{}", lines.join("\n"));
}

#[test]
fn a_selection_on_18_takes_the_entries_that_pg_dump_takes() {
    check_all(18);
}

#[test]
fn a_selection_on_15_takes_the_entries_that_pg_dump_takes() {
    check_all(15);
}

#[test]
fn a_selection_on_12_takes_the_entries_that_pg_dump_takes() {
    check_all(12);
}
