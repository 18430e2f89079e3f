//! Every kind of object and every property of it, on every server: the corpus in `fixtures/kinds`, held against its copy.
//!
//! A fixture's first line says which servers it loads on (`-- servers: 14-`, `-- servers: 12-17`), its second the kinds
//! that it is about, in pg_dump's words. All fixtures of a server share one database; each keeps to a schema of its own
//! name. Any other database is checked by `cargo run --example fidelity -- URL`.

use std::collections::BTreeMap;
use std::path::Path;

use pgstow_parts::{Database, Server, majors, oracle, say, server};

pub(crate) mod check;

/// One file of the corpus.
pub(crate) struct Fixture {
    pub(crate) name: String,
    first: u16,
    pub(crate) last: u16,
    kinds: Vec<String>,
    pub(crate) sql: String,
}

/// The corpus in the order of names; `roles.sql`, which others rely on, first.
pub(crate) fn fixtures() -> Vec<Fixture> {
    fixtures_in("fixtures/kinds")
}

/// The files of one folder of the repository.
pub(crate) fn fixtures_in(folder: &str) -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut fixtures: Vec<Fixture> =
        files.filter(|path| path.extension().is_some_and(|e| e == "sql")).map(|path| read(&path)).collect();
    fixtures.sort_by_key(|fixture| (fixture.name != "roles", fixture.name.clone()));
    fixtures
}

fn read(path: &Path) -> Fixture {
    let sql = std::fs::read_to_string(path).unwrap();
    let name = path.file_stem().unwrap().to_string_lossy().into_owned();
    let mut lines = sql.lines();
    let mut header = |word: &str| {
        let line = lines.next().and_then(|line| line.strip_prefix("-- ")?.strip_prefix(word)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("{name}: the header line `-- {word}:` is missing")).trim().to_owned()
    };
    let servers = header("servers");
    let (first, last) = servers.split_once('-').unwrap_or_else(|| panic!("{name}: servers are written 12- or 12-17"));
    let last = if last.is_empty() { u16::MAX } else { last.parse().unwrap() };
    let kinds = header("kinds");
    let kinds = kinds.split(',').map(|kind| kind.trim().to_owned()).filter(|kind| !kind.is_empty()).collect();
    Fixture { first: first.parse().unwrap(), last, kinds, sql, name }
}

/// Which of the fixtures a server can load.
pub(crate) fn fitting(fixtures: &[Fixture], major: u16) -> impl Iterator<Item = &Fixture> {
    fixtures.iter().filter(move |fixture| (fixture.first..=fixture.last).contains(&major))
}

/// A database with all of the corpus that its server can load.
pub(crate) fn corpus(server: &Server, fixtures: &[Fixture]) -> Database {
    let major = server.major();
    let database = Database::fresh(server, &format!("kinds_{major}"));
    for fixture in fitting(fixtures, major) {
        if let Err(sentence) = server.execute(&database.name, &fixture.sql) {
            panic!("{} does not load on {major}: {sentence}", fixture.name);
        }
    }
    database
}

fn check(major: u16) {
    if !majors().contains(&major) {
        say(&format!("not tested on PostgreSQL {major}: only {:?} is there", majors()));
        return;
    }
    let server = server(major);
    let fixtures = fixtures();
    let source = corpus(&server, &fixtures);
    let verdict = check::check(Path::new(env!("CARGO_BIN_EXE_pgstow")), &server, &source.name).unwrap();
    assert!(verdict.differences.is_empty(), "on PostgreSQL {major}:\n{}", verdict.differences.join("\n"));
    let kinds = fitting(&fixtures, major).flat_map(|fixture| &fixture.kinds);
    let missing: Vec<&String> = kinds.filter(|kind| !verdict.kinds.contains_key(*kind)).collect();
    assert!(missing.is_empty(), "fixtures name kinds that no entry has on {major}: {missing:?}");
}

#[test]
fn every_kind_of_12_comes_back_the_same() {
    check(12);
}

#[test]
fn every_kind_of_13_comes_back_the_same() {
    check(13);
}

#[test]
fn every_kind_of_14_comes_back_the_same() {
    check(14);
}

#[test]
fn every_kind_of_15_comes_back_the_same() {
    check(15);
}

#[test]
fn every_kind_of_16_comes_back_the_same() {
    check(16);
}

#[test]
fn every_kind_of_17_comes_back_the_same() {
    check(17);
}

#[test]
fn every_kind_of_18_comes_back_the_same() {
    check(18);
}

#[test]
fn every_kind_of_19_comes_back_the_same() {
    check(19);
}

#[test]
fn a_server_without_libxml_comes_back_the_same_and_so_do_vectors() {
    let server = Server::start(&oracle().server_without_libxml(), None).unwrap();
    let source = Database::fresh(&server, "vectors");
    let xml = source.server.value(&source.name, "SELECT pg_catalog.query_to_xml('SELECT 1 AS n', false, false, '')");
    assert!(xml.is_err_and(|sentence| sentence.contains("libxml")), "this server was built with libxml");
    source.execute(
        "CREATE SCHEMA ext; CREATE EXTENSION vector SCHEMA ext;
         CREATE TABLE items (id bigserial PRIMARY KEY, v ext.vector(3) NOT NULL, h ext.halfvec(3), s ext.sparsevec(9),
             g ext.vector(3) GENERATED ALWAYS AS (ext.l2_normalize('[1,2,3]'::ext.vector)) STORED);
         INSERT INTO items (v, h, s) SELECT ARRAY[n, 2, 3]::ext.vector, ARRAY[n, 1, 1]::ext.vector::ext.halfvec, '{1:1.5}/9'
             FROM generate_series(1, 500) n;
         CREATE INDEX ON items USING hnsw (v ext.vector_l2_ops) WITH (m = 8, ef_construction = 32);
         CREATE INDEX ON items USING ivfflat (v ext.vector_cosine_ops) WITH (lists = 10);
         CREATE INDEX ON items USING hnsw ((ext.binary_quantize(v)::bit(3)) ext.bit_hamming_ops) WHERE h IS NOT NULL;
         CREATE DOMAIN short AS ext.vector(3) CHECK (ext.vector_norm(VALUE) < 2);
         CREATE TABLE shorts (a short DEFAULT '[1,0,0]'); INSERT INTO shorts DEFAULT VALUES;
         CREATE SEQUENCE fresh; CREATE SEQUENCE down INCREMENT -5 MINVALUE -100; SELECT setval('down', -17);
         CREATE SEQUENCE waiting; SELECT setval('waiting', 50, false)",
    );
    let verdict = check::check(Path::new(env!("CARGO_BIN_EXE_pgstow")), &server, &source.name).unwrap();
    assert!(verdict.differences.is_empty(), "{}", verdict.differences.join("\n"));
    assert_eq!(verdict.kinds.get("SEQUENCE SET"), Some(&4), "{:?}", verdict.kinds);
}

#[test]
fn the_report_says_how_many_fixtures_each_kind_has_on_each_server() {
    let mut fixtures = fixtures();
    fixtures.extend(fixtures_in("fixtures/databases"));
    let mut rows: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, major) in (12..=19).enumerate() {
        for kind in fitting(&fixtures, major).flat_map(|fixture| &fixture.kinds) {
            rows.entry(kind).or_insert_with(|| vec![0; 8])[place] += 1;
        }
    }
    let cells = |counts: &Vec<usize>| counts.iter().map(|count| format!("{count:4}")).collect::<String>();
    let lines = rows.iter().map(|(kind, counts)| format!("{kind:30}{}\n", cells(counts)));
    say(&format!(
        "fixtures of each kind, by server:\n{:30}  12  13  14  15  16  17  18  19\n{}",
        "",
        lines.collect::<String>()
    ));
    assert!(rows.values().all(|counts| counts[7] > 0), "a kind has no fixture on the newest server");
}
