//! Any name and any text that a server takes comes back the same: by our restore, by stock `pg_restore`, and by psql from
//! an exported script.

use std::cell::Cell;

use pgstow_parts::{Database, oracle, server};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::{LocalBackup, assert_same_data, assert_same_schema};

/// So many names each database needs.
const NAMES: usize = 96;
/// So many databases are made, unless `PROPTEST_CASES` says otherwise; every one holds a name at every place where a name
/// can stand.
const CASES: u32 = 2;

/// What ends quotes, comments, lines, statements and rows too early when it is not taken for text; what is a word of the
/// grammar, of psql or of COPY; and what has several bytes.
const PIECES: &[&str] = &[
    "\"",
    "'",
    "\n",
    "\r",
    "\r\n",
    "\\",
    "\\.",
    "\n\\.\n",
    "$$",
    "$a$",
    "$function$",
    "--",
    "/*",
    "*/",
    "%",
    "%s",
    "%1$s",
    ";",
    " ",
    "\t",
    ".",
    ",",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ":x",
    ":'x'",
    "::",
    "@",
    "\\restrict",
    "\n\\! false\n",
    "\\connect",
    "\u{1}",
    "\u{7f}",
    "\u{85}",
    "\u{2028}",
    "é",
    "数",
    "🐘",
    "select",
    "user",
    "char",
    "interval",
    "timestamp",
    "order",
    "SELECT",
    "Table",
    "a",
    "b",
    "Z",
    "_",
    "0",
    "&",
    "|",
    "<",
    ">",
    "\\N",
    "\\x",
    "E'",
    "U&\"",
    "pg_catalog",
    "PUBLIC",
    "DROP ",
    "IF EXISTS ",
    " TO ",
    "LARGE OBJECT 1",
];

/// Names that are words of the grammar, types, or as long as a name can be.
const WHOLE: &[&str] = &[
    "select",
    "table",
    "user",
    "char",
    "bit",
    "interval",
    "timestamp",
    "timestamp with time zone",
    "integer[]",
    "public",
    "PUBLIC",
    "default",
    "none",
    "all",
    "数数数数数数数数数数数数数数数数数数数数数",
    "éééééééééééééééééééééééééééééééa",
    " ",
    "\\.",
    "--",
    "\n",
];

fn name() -> impl Strategy<Value = String> {
    let composed = proptest::collection::vec(proptest::sample::select(PIECES), 1..9).prop_map(|pieces| pieces.concat());
    prop_oneof![4 => composed, 1 => proptest::sample::select(WHOLE).prop_map(str::to_owned)]
}

/// A quoted name of at most 63 bytes.
fn q(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A literal.
fn l(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Gives out names, no two the same, for some places share a namespace.
struct Names(std::vec::IntoIter<String>, usize);

impl Names {
    fn raw(&mut self) -> String {
        self.1 += 1;
        let name = self.0.next().unwrap();
        let number = self.1.to_string();
        let mut cut = name.len().min(63 - number.len());
        while !name.is_char_boundary(cut) {
            cut -= 1;
        }
        // A plain word stays one: it is hostile as it is.
        if name.len() + number.len() <= 63 && WHOLE.contains(&name.as_str()) && self.1.is_multiple_of(2) {
            return format!("{name}{number}");
        }
        format!("{number}{}", &name[..cut])
    }

    fn next(&mut self) -> String {
        q(&self.raw())
    }

    fn text(&mut self) -> String {
        l(&self.raw())
    }
}

/// A database with a hostile name or text at every place; returns the statements, and the two roles that they need.
fn statements(names: Vec<String>, run: &str) -> (String, [String; 2]) {
    let mut n = Names(names.into_iter(), 0);
    let mut role = || q(&format!("{run}{}", n.raw().chars().take(12).collect::<String>()));
    let (r1, r2) = (role(), role());
    let s = n.next();
    let mut named = || format!("{s}.{}", n.next());
    let (kind, domain, collation, composite, sequence) = (named(), named(), named(), named(), named());
    let (function, trigger_function, table, child, view) = (named(), named(), named(), named(), named());
    let (kept, statistics, configuration, dictionary, conversion, foreign) =
        (named(), named(), named(), named(), named(), named());
    let (label1, label2, text1, text2, text3) = (n.text(), n.text(), n.text(), n.text(), n.text());
    let (c1, c2, c3, c4, argument) = (n.next(), n.next(), n.next(), n.next(), n.next());
    let (trigger, rule, policy, index, wrapper, fserver, language) =
        (n.next(), n.next(), n.next(), n.next(), n.next(), n.next(), n.next());
    let (key, check, reference, domain_check, option) =
        (n.next(), n.next(), n.next(), n.next(), n.raw().replace('=', "-"));
    let option = q(&option);
    let body = l(&format!("SELECT {text1} || {text2}"));
    let trigger_body = l(&format!("BEGIN PERFORM {text3}; RETURN NEW; END"));
    let quoted_sequence = l(&sequence);
    let comment = n.text();
    let sql = format!(
        "CREATE ROLE {r1}; CREATE ROLE {r2}; CREATE SCHEMA {s} AUTHORIZATION {r1}; COMMENT ON SCHEMA {s} IS {comment};
CREATE COLLATION {collation} (provider = libc, locale = 'C');
CREATE TYPE {kind} AS ENUM ({label1}, {label2}, 'plain'); CREATE TYPE {composite} AS ({c1} integer, {c2} {kind});
CREATE DOMAIN {domain} AS text COLLATE {collation} DEFAULT {text1} CONSTRAINT {domain_check} CHECK (VALUE <> {text2});
CREATE SEQUENCE {sequence};
CREATE FUNCTION {function}({argument} integer, {c1} {kind} DEFAULT {label1}) RETURNS text LANGUAGE sql AS {body};
CREATE FUNCTION {trigger_function}() RETURNS trigger LANGUAGE plpgsql AS {trigger_body};
CREATE TABLE {table} ({c1} integer DEFAULT nextval({quoted_sequence}) CONSTRAINT {key} PRIMARY KEY, {c2} {kind} DEFAULT {label2},
  {c3} {domain} DEFAULT {text3}, {c4} {composite}, CONSTRAINT {check} CHECK ({c3} <> {text1} || 'x'));
ALTER SEQUENCE {sequence} OWNED BY {table}.{c1};
CREATE TABLE {child} ({c1} integer CONSTRAINT {reference} REFERENCES {table}, {c2} text);
CREATE INDEX {index} ON {table} ({c2}, ({c3} || {text2}));
CREATE VIEW {view} AS SELECT {c1}, {c3} AS {argument}, {text1}::text AS {c4} FROM {table};
CREATE MATERIALIZED VIEW {kept} AS SELECT {c1} AS {key}, {c3} FROM {table};
CREATE STATISTICS {statistics} ON {c1}, {c2} FROM {table};
CREATE TEXT SEARCH DICTIONARY {dictionary} (TEMPLATE = pg_catalog.simple, accept = false);
CREATE TEXT SEARCH CONFIGURATION {configuration} (COPY = pg_catalog.simple);
ALTER TEXT SEARCH CONFIGURATION {configuration} ALTER MAPPING FOR word WITH {dictionary};
CREATE CONVERSION {conversion} FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE LANGUAGE {language} HANDLER plpgsql_call_handler INLINE plpgsql_inline_handler VALIDATOR plpgsql_validator;
CREATE FOREIGN DATA WRAPPER {wrapper} OPTIONS ({option} {text1});
CREATE SERVER {fserver} TYPE {text2} VERSION {text3} FOREIGN DATA WRAPPER {wrapper} OPTIONS ({option} {text3});
CREATE USER MAPPING FOR {r1} SERVER {fserver} OPTIONS ({option} {text2});
CREATE FOREIGN TABLE {foreign} ({c1} integer OPTIONS ({option} {text3})) SERVER {fserver} OPTIONS ({option} {text1});
INSERT INTO {table} VALUES (1, {label1}, {text3}, ROW(1, {label2})), (2, {label2}, {comment}, ROW(NULL, {label1}));
INSERT INTO {child} VALUES (1, {text1}), (2, {text2}), (NULL, NULL);
CREATE TRIGGER {trigger} BEFORE INSERT ON {table} FOR EACH ROW WHEN (NEW.{c3} <> {text2}) EXECUTE FUNCTION {trigger_function}({text1}, {text3});
CREATE RULE {rule} AS ON INSERT TO {view} DO INSTEAD INSERT INTO {child} VALUES (1, {text3});
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
CREATE POLICY {policy} ON {table} TO {r1}, {r2} USING ({c3} <> {text2});
ALTER TABLE {table} OWNER TO {r1}; ALTER FUNCTION {function} OWNER TO {r2}; ALTER TYPE {kind} OWNER TO {r1};
GRANT SELECT ({c1}), INSERT ON {table} TO {r2} WITH GRANT OPTION; GRANT EXECUTE ON FUNCTION {function} TO {r1};
ALTER DEFAULT PRIVILEGES FOR ROLE {r1} IN SCHEMA {s} GRANT SELECT ON TABLES TO {r2};
COMMENT ON TABLE {table} IS {comment}; COMMENT ON COLUMN {table}.{c2} IS {text1}; COMMENT ON FUNCTION {function} IS {text2};
COMMENT ON CONSTRAINT {check} ON {table} IS {text3}; COMMENT ON TRIGGER {trigger} ON {table} IS {text1};
COMMENT ON RULE {rule} ON {view} IS {text2}; COMMENT ON POLICY {policy} ON {table} IS {text3};
COMMENT ON CONSTRAINT {domain_check} ON DOMAIN {domain} IS {text1}; COMMENT ON LANGUAGE {language} IS {text3};
SELECT lo_from_bytea(4711, '\\x00ff'); COMMENT ON LARGE OBJECT 4711 IS {text2};
REFRESH MATERIALIZED VIEW {kept};
{}",
        kinds_of_programs(&mut n, &s, &table, &child, &kind, &collation)
    );
    (sql, [r1, r2])
}

/// What beside tables and what hangs on them has a name or a text.
fn kinds_of_programs(n: &mut Names, s: &str, table: &str, child: &str, kind: &str, collation: &str) -> String {
    let (publication, of_schema, publisher, subscription, event_trigger) =
        (n.next(), n.next(), n.next(), n.next(), n.next());
    let (method, family, class) = (n.next(), n.next(), n.next());
    let mut named = || format!("{s}.{}", n.next());
    let (aggregate, procedure, range, multirange, parser, template) =
        (named(), named(), named(), named(), named(), named());
    let (on_event, compares, parted, part) = (named(), named(), named(), named());
    let (argument, column, identity) = (n.next(), n.next(), n.next());
    let (text1, text2, text3) = (n.text(), n.text(), n.text());
    let application = n.raw().replace('\\', "\\\\").replace('\'', "\\'");
    let connection = l(&format!("host=nowhere application_name='{application}'"));
    format!(
        "CREATE FUNCTION {on_event}() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER {event_trigger} ON ddl_command_end WHEN TAG IN ('DROP CAST') EXECUTE FUNCTION {on_event}();
COMMENT ON EVENT TRIGGER {event_trigger} IS {text1};
CREATE TABLE {parted} ({column} text, {identity} integer GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME {s}.{argument}))
  PARTITION BY LIST ({column});
CREATE TABLE {part} PARTITION OF {parted} FOR VALUES IN ({text1}, {text2}, NULL);
INSERT INTO {parted} VALUES ({text1}), ({text2}), (NULL);
CREATE PUBLICATION {publication} FOR TABLE {parted} ({column}) WHERE ({column} <> {text3}), {child}
  WITH (publish_via_partition_root = true);
CREATE PUBLICATION {of_schema} FOR TABLES IN SCHEMA {s};
COMMENT ON PUBLICATION {publication} IS {text2};
CREATE SUBSCRIPTION {subscription} CONNECTION {connection} PUBLICATION {publisher}, {of_schema}
  WITH (connect = false, slot_name = NONE);
COMMENT ON SUBSCRIPTION {subscription} IS {text3};
CREATE FUNCTION {compares}({kind}, {kind}) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE OPERATOR {s}.<# (LEFTARG = {kind}, RIGHTARG = {kind}, FUNCTION = {compares}, COMMUTATOR = OPERATOR({s}.#>));
CREATE OPERATOR {s}.#> (LEFTARG = {kind}, RIGHTARG = {kind}, FUNCTION = {compares}, COMMUTATOR = OPERATOR({s}.<#));
COMMENT ON OPERATOR {s}.<# ({kind}, {kind}) IS {text1};
CREATE OPERATOR FAMILY {s}.{family} USING btree;
CREATE OPERATOR CLASS {s}.{class} FOR TYPE integer USING btree FAMILY {s}.{family}
  AS OPERATOR 1 <, OPERATOR 3 =, FUNCTION 1 btint4cmp(integer, integer);
COMMENT ON OPERATOR CLASS {s}.{class} USING btree IS {text2}; COMMENT ON OPERATOR FAMILY {s}.{family} USING btree IS {text3};
CREATE ACCESS METHOD {method} TYPE INDEX HANDLER bthandler; COMMENT ON ACCESS METHOD {method} IS {text1};
CREATE AGGREGATE {aggregate}({argument} integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '0');
COMMENT ON AGGREGATE {aggregate}(integer) IS {text2};
CREATE PROCEDURE {procedure}({argument} integer, {column} text DEFAULT {text3}) LANGUAGE sql AS 'SELECT 1';
COMMENT ON PROCEDURE {procedure}(integer, text) IS {text3};
CREATE TYPE {range} AS RANGE (SUBTYPE = text, COLLATION = {collation}, MULTIRANGE_TYPE_NAME = {multirange});
COMMENT ON TYPE {range} IS {text1};
CREATE CAST ({kind} AS integer) WITH INOUT; COMMENT ON CAST ({kind} AS integer) IS {text2};
CREATE TEXT SEARCH PARSER {parser} (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype);
CREATE TEXT SEARCH TEMPLATE {template} (INIT = dsimple_init, LEXIZE = dsimple_lexize);
COMMENT ON TEXT SEARCH PARSER {parser} IS {text3}; COMMENT ON TEXT SEARCH TEMPLATE {template} IS {text1};
CREATE INDEX ON {table} USING btree ((1 + 1) {s}.{class})"
    )
}

/// The roles of a case, dropped when it is over; the databases must be gone by then.
struct Roles(pgstow_parts::Server, [String; 2]);

impl Drop for Roles {
    fn drop(&mut self) {
        let [one, other] = &self.1;
        let _ = self.0.execute("postgres", &format!("DROP ROLE IF EXISTS {one}; DROP ROLE IF EXISTS {other}"));
    }
}

#[test]
fn a_database_of_hostile_names_and_texts_comes_back_the_same_by_every_way() {
    let server = server(18);
    let case = Cell::new(0);
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES);
    let mut runner =
        TestRunner::new(Config { cases, max_shrink_iters: 0, failure_persistence: None, ..Config::default() });
    let names = proptest::collection::vec(name(), NAMES);
    let outcome = runner.run(&names, |names| {
        case.set(case.get() + 1);
        let (sql, roles) = statements(names, &format!("h{}_{}_", std::process::id(), case.get()));
        let _roles = Roles(server.clone(), roles);
        let source = Database::fresh(&server, "hostile");
        server.execute(&source.name, &sql).map_err(|error| TestCaseError::fail(format!("{error}\n{sql}")))?;
        let backup = LocalBackup::make(&source, &["-Z", "none"]);
        let ours = Database::fresh(&server, "hostile_ours");
        backup.run("restore", &["-d", &ours.url()]).fine();
        let stocks = Database::fresh(&server, "hostile_stock");
        oracle().pg_restore18(&stocks.url(), &backup.folder(), &["--exit-on-error"]).map_err(TestCaseError::fail)?;
        let loaded = Database::fresh(&server, "hostile_script");
        let script = backup.run("export", &["-f", "-"]).fine().stdout;
        oracle().psql(&loaded.url(), &script).map_err(TestCaseError::fail)?;
        for copy in [&ours, &stocks, &loaded] {
            assert_same_data(&source, copy);
            assert_same_schema(&source, copy);
        }
        // A clean export replaces everything by name once more.
        let script = backup.run("export", &["-f", "-", "-c", "--if-exists"]).fine().stdout;
        oracle().psql(&loaded.url(), &script).map_err(TestCaseError::fail)?;
        assert_same_schema(&source, &loaded);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
