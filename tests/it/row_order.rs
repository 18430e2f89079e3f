//! Whose rows come when: what calls functions comes after what those may read, as with stock tools, and what foreign keys point to
//! comes before what has them.

use pgstow_parts::{Database, oracle, server};

use crate::support::{LocalBackup, assert_same_data};

/// Tables that others are judged by, each larger than what it judges is small, so that neither size nor luck puts them first; and
/// whatever can call a function when a row comes.
const LOOKUPS: &str = "
    CREATE TABLE codes (c integer PRIMARY KEY, label text);
    INSERT INTO codes SELECT g, 'label ' || g FROM generate_series(1, 300) g;
    CREATE FUNCTION label_of(i integer) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT label FROM public.codes WHERE c = i';
    CREATE FUNCTION is_code(i integer) RETURNS boolean LANGUAGE plpgsql IMMUTABLE
        AS 'BEGIN RETURN i IS NULL OR EXISTS (SELECT FROM public.codes WHERE c = i); END';
    CREATE TABLE l_generated (id integer PRIMARY KEY, c integer, label text GENERATED ALWAYS AS (label_of(c)) STORED);
    INSERT INTO l_generated (id, c) SELECT g, 1 + g % 300 FROM generate_series(1, 400) g;
    CREATE TABLE l_check (c integer, filler text, CHECK (is_code(c)));
    INSERT INTO l_check SELECT g, repeat('x', 900) FROM generate_series(1, 300) g;
    CREATE DOMAIN code AS integer CHECK (is_code(VALUE));
    CREATE DOMAIN code_too AS code;
    CREATE TYPE pair AS (a integer, b code_too);
    CREATE TYPE span AS RANGE (subtype = code);
    CREATE TABLE l_domain (c code_too, filler text);
    CREATE TABLE l_nested (p pair[], filler text);
    CREATE TABLE l_range (s span, filler text);
    CREATE TABLE l_row (r l_domain, filler text);
    INSERT INTO l_domain SELECT g, repeat('x', 900) FROM generate_series(1, 300) g;
    INSERT INTO l_nested SELECT ARRAY[(g, g)::pair], repeat('x', 900) FROM generate_series(1, 300) g;
    INSERT INTO l_range SELECT span(g, g, '[]'), repeat('x', 900) FROM generate_series(1, 300) g;
    INSERT INTO l_row SELECT (g, 'x')::l_domain, repeat('x', 900) FROM generate_series(1, 300) g;
    CREATE FUNCTION same_code(integer, integer) RETURNS boolean LANGUAGE sql IMMUTABLE
        AS 'SELECT $1 = $2 AND EXISTS (SELECT FROM public.codes WHERE c = $1)';
    CREATE OPERATOR === (LEFTARG = integer, RIGHTARG = integer, FUNCTION = same_code);
    CREATE TABLE l_operator (c integer, filler text, CHECK (c === c));
    INSERT INTO l_operator SELECT g, repeat('x', 900) FROM generate_series(1, 300) g;
    CREATE TABLE l_parted (c integer, filler text) PARTITION BY LIST (label_of(c));
    CREATE TABLE l_parted_1 PARTITION OF l_parted FOR VALUES IN ('label 1', 'label 2');
    CREATE TABLE l_parted_2 PARTITION OF l_parted FOR VALUES IN ('label 3');
    INSERT INTO l_parted SELECT 1 + g % 3, repeat('x', 900) FROM generate_series(1, 300) g;
    CREATE TABLE i_index (c integer);
    INSERT INTO i_index SELECT 1 + g % 3 FROM generate_series(1, 20) g;
    CREATE INDEX ON i_index (label_of(c)) WHERE is_code(c);";

fn lookups(major: u16, hint: &str) -> Database {
    let database = Database::fresh(&server(major), hint);
    database.execute(LOOKUPS);
    database
}

/// How large the index is, which holds the rows of which a function said so when it was made.
const BY_INDEX: &str = "SELECT pg_relation_size(indexrelid) FROM pg_index WHERE indrelid = 'i_index'::regclass";

fn assert_whole(database: &Database, target: &Database) {
    assert_same_data(database, target);
    let labels = "SELECT count(*) FROM l_generated g JOIN codes USING (c) WHERE g.label = codes.label";
    assert_eq!(target.value(labels), "400");
}

#[test]
fn rows_that_are_judged_by_other_tables_come_after_those() {
    for major in [12, 15, 18] {
        let database = lookups(major, "lookups");
        let backup = LocalBackup::make(&database, &["-Z", "gzip:1"]);
        let target = Database::fresh(&database.server, "lookups_target");
        let ran = backup.run("restore", &["-d", &target.url(), "-j", "4", "--verify"]).fine();
        assert!(ran.stdout.contains(" 0 differ"), "{}", ran.stdout);
        assert_whole(&database, &target);
        assert_eq!(target.value(BY_INDEX), database.value(BY_INDEX), "{major}");
        // The archive's own order lets stock do it, too.
        if major == 18 {
            let stock = Database::fresh(&database.server, "lookups_stock");
            oracle().pg_restore18(&stock.url(), &backup.folder(), &[]).unwrap();
            assert_whole(&database, &stock);
        }
    }
}

#[test]
fn rows_of_stock_archives_that_are_judged_by_other_tables_come_after_those() {
    let database = lookups(18, "lookups_of_stock");
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("archive");
    oracle().pg_dump(&database.url(), &["-Fd", "-f", archive.to_str().unwrap()]).unwrap();
    let target = Database::fresh(&database.server, "lookups_of_stock_target");
    let arguments = ["restore", "--archive", archive.to_str().unwrap(), "-d", &target.url(), "-j", "4"];
    crate::support::pgstow(&crate::support::no_store(), &arguments).fine();
    assert_whole(&database, &target);
}

#[test]
fn verify_finds_generated_columns_that_are_not_what_their_expressions_say() {
    for major in [12, 18] {
        let database = Database::fresh(&server(major), "stale");
        // The function finds something else in a restore, as one would that looks into a table too early.
        database.execute(
            "CREATE FUNCTION moody(i integer) RETURNS numeric LANGUAGE sql IMMUTABLE
                 AS $$ SELECT CASE WHEN current_setting('application_name') = 'pgstow restore: loading rows' AND i > 3 THEN 0 ELSE i / 7.0 END $$;
             CREATE TABLE \"Stale\" (id integer, \"the \"\" half\" numeric(8, 2) GENERATED ALWAYS AS (moody(id)) STORED,
                 p point GENERATED ALWAYS AS (point(id, id)) STORED, n text GENERATED ALWAYS AS (NULL) STORED);
             INSERT INTO \"Stale\" (id) SELECT generate_series(1, 10);
             CREATE TABLE fine (id integer, v varchar(3) GENERATED ALWAYS AS (id) STORED); INSERT INTO fine (id) VALUES (1)",
        );
        let backup = LocalBackup::make(&database, &[]);
        let target = Database::fresh(&database.server, "stale_target");
        let ran = backup.run("restore", &["-d", &target.url(), "--verify"]);
        ran.failed(6, &["1 of 2 tables differ"]);
        let line = "differs: table data public.Stale: 7 rows where the generated column \"the \"\" half\" is not what its expression gives";
        assert!(ran.stdout.contains(line), "{}", ran.stdout);
    }
}

#[test]
fn rows_alone_follow_the_foreign_keys_that_are_there() {
    for major in [12, 15, 18] {
        let database = Database::fresh(&server(major), "rows_alone");
        database.execute(
            "CREATE TABLE z_parent (id integer PRIMARY KEY, up integer REFERENCES z_parent);
             CREATE TABLE a_child (id integer PRIMARY KEY, p integer REFERENCES z_parent);
             CREATE TABLE y_parted (id integer PRIMARY KEY) PARTITION BY RANGE (id);
             CREATE TABLE y_parted_1 PARTITION OF y_parted FOR VALUES FROM (0) TO (100);
             CREATE TABLE a_of_parted (id integer REFERENCES y_parted, c integer REFERENCES a_child);
             INSERT INTO z_parent VALUES (1, 2), (2, NULL); INSERT INTO a_child VALUES (1, 1);
             INSERT INTO y_parted VALUES (7); INSERT INTO a_of_parted VALUES (7, 1)",
        );
        let definitions = LocalBackup::make(&database, &["-s"]);
        for rows in
            [LocalBackup::make(&database, &["-a", "-Z", "gzip:1"]), LocalBackup::make(&database, &["-Z", "gzip:1"])]
        {
            let target = Database::fresh(&database.server, "rows_alone_target");
            definitions.run("restore", &["-d", &target.url()]).fine();
            let ran = rows.run("restore", &["-d", &target.url(), "-a"]).fine();
            assert!(!ran.stdout.contains("circle"), "{}", ran.stdout);
            assert_same_data(&database, &target);
        }
        if major == 18 {
            let rows = LocalBackup::make(&database, &["-a", "-Z", "gzip:1"]);
            let stock = Database::fresh(&database.server, "rows_alone_stock");
            definitions.run("restore", &["-d", &stock.url()]).fine();
            oracle().pg_restore18(&stock.url(), &rows.folder(), &["-a"]).unwrap();
            assert_same_data(&database, &stock);
        }
    }
}

#[test]
fn foreign_keys_in_a_circle_are_told_and_rows_come_without_their_triggers() {
    for major in [12, 18] {
        let database = Database::fresh(&server(major), "circle");
        database.execute(
            "CREATE TABLE a (id integer PRIMARY KEY, b integer); CREATE TABLE b (id integer PRIMARY KEY, a integer REFERENCES a);
             ALTER TABLE a ADD CONSTRAINT to_b FOREIGN KEY (b) REFERENCES b;
             CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'it fires'; END $$;
             INSERT INTO a VALUES (1, NULL); INSERT INTO b VALUES (1, 1); UPDATE a SET b = 1;
             CREATE TRIGGER \"is off\" BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION refuse();
             CREATE TRIGGER is_on BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION refuse();
             ALTER TABLE a DISABLE TRIGGER \"is off\"",
        );
        let backup = LocalBackup::make(&database, &[]);
        let target = Database::fresh(&database.server, "circle_target");
        backup.run("restore", &["-d", &target.url(), "-s"]).fine();
        backup.run("restore", &["-d", &target.url(), "-a"]).failed(4, &[]);
        let ran = backup.run("restore", &["-d", &target.url(), "-a", "--disable-triggers", "--resume"]);
        ran.failed(9, &["chose something else"]);
        target.execute("DROP SCHEMA pgstow_restore CASCADE; DROP TRIGGER is_on ON a");
        let ran = backup.run("restore", &["-d", &target.url(), "-a", "--keep-going"]);
        ran.failed(8, &[]);
        assert!(ran.stdout.contains("lead in a circle"), "{}", ran.stdout);
        target.execute("TRUNCATE a, b; CREATE TRIGGER is_on BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION refuse()");
        backup.run("restore", &["-d", &target.url(), "-a", "--disable-triggers", "--verify"]).fine();
        assert_same_data(&database, &target);
        let states = "SELECT string_agg(tgname::text || tgenabled::text, ' ' ORDER BY tgname) FROM pg_trigger WHERE NOT tgisinternal";
        assert_eq!(target.value(states), "is offD is_onO");
        let script = backup.run("export", &["-f", "-", "-a", "--disable-triggers"]).fine().stdout;
        let count = |word: &str| script.matches(word).count();
        assert_eq!((count(" DISABLE TRIGGER ALL;"), count(" ENABLE TRIGGER ALL;")), (2, 2), "{script}");
    }
}
