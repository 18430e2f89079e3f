//! Rows go in binary where their types allow it, out of the server and into it: what is dumped is to the byte what the server
//! would have written, what is restored are the rows that were dumped, and what is unusual goes as text.

use pgstow_parts::{Database, majors, oracle, server};

use crate::support::{LocalBackup, Ran, assert_same_data, assert_same_schema, bare_command, files_of_rows};

/// Restores with the log of what goes in binary.
fn restore(backup: &LocalBackup, target: &Database, arguments: &[&str]) -> Ran {
    let mut command = bare_command();
    command.env("PGSTOW_LOG", "pgstow=debug").args([
        "restore",
        "latest",
        "--from",
        &backup.store(),
        "-d",
        &target.url(),
    ]);
    Ran::of(&command.args(arguments).output().unwrap()).fine()
}

/// How many loads went in binary, how many as text, and how many changed on their way.
fn loads(ran: &Ran) -> [usize; 3] {
    let count = |word: &str| ran.stderr.lines().filter(|line| line.contains(word)).count();
    [count("in_binary=true"), count("in_binary=false"), count("a value is unusual")]
}

/// A column of every type that goes in binary, each with values at its limits; domains, enumerations, arrays of them.
const EVERY_TYPE: &str = r#"
    CREATE TYPE mood AS ENUM ('sad', 'so so', E'back\\slash', 'tab	"quoted"', 'NULL');
    CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
    CREATE DOMAIN few AS positive[] CHECK (cardinality(VALUE) < 9);
    CREATE EXTENSION citext;
    CREATE TABLE every (
        id bigint, b boolean, i2 smallint, i4 integer, o oid, f4 real, f8 double precision, n numeric, n2 numeric(9, 3),
        t text, v varchar(40), c char(7), j json, jb jsonb, ba bytea, u uuid, d date, ti time, ti3 time(3), ts timestamp,
        tz timestamptz(2), iv interval, m mood, p positive, ci citext, fw few,
        ai integer[], at text[], an numeric[], am mood[], ats timestamptz[], ab bytea[], aj jsonb[], ap positive[]);
    INSERT INTO every (id) VALUES (0);
    INSERT INTO every (id, b, i2, i4, o, f4, f8) VALUES
        (-9223372036854775808, true, -32768, -2147483648, 0, '-Infinity', 'NaN'),
        (9223372036854775807, false, 32767, 2147483647, 4294967295, '3.4028235e38', '1.7976931348623157e308'),
        (999999999999999999, NULL, 0, 0, 1, '1e-45', '5e-324'), (1, NULL, 1, 1, 1, '-0', '-0'),
        (2, NULL, 1, 1, 1, '0.1', '0.1'), (3, NULL, 1, 1, 1, '123456.7', '1e15'), (4, NULL, 1, 1, 1, 'NaN', '1e16');
    INSERT INTO every (id, n, n2) SELECT 10 + row_number() OVER (), x::numeric, (x::numeric % 999999)::numeric(9, 3) FROM unnest(ARRAY[
        '0', '-0.0', '0.000000', '1', '-1', '10000', '9999', '10001.0001', '0.0001', '0.00001', '-0.000000012345',
        '100000000', '123456789012345678901234567890.123456789', '1e100', '-1e-100', '99999999.99999999', '5000.5']) x;
    INSERT INTO every (id, n) VALUES (40, 'NaN'), (41, repeat('9', 20000)::numeric), (42, 1);
    INSERT INTO every (id, t, v, c, j, jb, ci)
        SELECT 50 + row_number() OVER (), x, left(x, 40), left(x, 7), to_json(x), to_jsonb(x), x FROM unnest(ARRAY[
        '', ' ', E'\\N', E'\\.', E'a\\nb\nc\r\td\b\f\v', 'ä€𝄞', E'\\x41', repeat('long', 4000), '{}', E'\x7f', 'NULL']) x;
    INSERT INTO every (id, j, jb) VALUES (70, '{"a" :  [1, null]}', '{"b": {"c": 1e400}, "a": "\\u00e4\n"}'), (71, 'null', 'null');
    INSERT INTO every (id, ba) SELECT 80 + n, decode(repeat(lpad(to_hex(n * 37 % 256), 2, '0'), n * n * 400), 'hex')
        FROM generate_series(0, 9) n;
    INSERT INTO every (id, u) SELECT 100 + n, md5(n::text)::uuid FROM generate_series(1, 9) n;
    INSERT INTO every (id, d) SELECT 110 + row_number() OVER (), x::date FROM unnest(ARRAY['infinity', '-infinity', '4713-11-24 BC',
        '0001-12-31 BC', '0001-01-01', '1582-10-15', '1900-02-28', '2000-02-29', '9999-12-31', '10000-01-01', '5874897-12-31']) x;
    INSERT INTO every (id, ti, ti3) SELECT 130 + row_number() OVER (), x::time, x::time(3) FROM unnest(ARRAY['00:00', '24:00',
        '23:59:59.999999', '01:02:03.4', '12:00:00.000001']) x;
    INSERT INTO every (id, ts, tz) SELECT 140 + row_number() OVER (), x::timestamp, x::timestamptz FROM unnest(ARRAY['infinity',
        '-infinity', '4714-12-01 00:00:00 BC', '0044-03-15 12:00:00.5 BC', '0099-01-01', '1883-11-18 12:03:57', '1999-12-31 23:59:59.999999',
        '2000-02-29 00:00:00.1', '294276-12-31 00:00:00']) x;
    INSERT INTO every (id, iv) SELECT 160 + row_number() OVER (), x::interval FROM unnest(ARRAY['0', '1 day', '-1 mon 1 day',
        '178000000 years', '-178000000 years', '1 year 2 mons -3 days 04:05:06.7', '-0.000001 seconds', '1000000 hours', '2147483647 days',
        '-2147483648 days', '-1 day +00:00:01', '11 mons', '-11 mons']) x;
    INSERT INTO every (id, m, p) SELECT 180 + row_number() OVER (), x, row_number() OVER () FROM unnest(enum_range(NULL::mood)) x;
    INSERT INTO every (id, fw, ai, at, an, am, ats, ab, aj, ap) VALUES
        (200, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'),
        (201, '{1,2,3}', '{{1,2},{3,NULL}}', ARRAY['', ' ', 'NULL', 'null', NULL, '{', 'a"b', E'\\', E'\n\t', ',', 'ä', 'x y'], '{1.50,NaN,-0.001}',
            enum_range(NULL::mood), ARRAY['infinity', '2020-02-02 02:02:02.02+00', NULL]::timestamptz[],
            ARRAY['\x', '\x5c22', NULL]::bytea[], ARRAY['{"a": "b\"c"}', '[]', 'null', NULL]::jsonb[], '{7}'),
        (202, NULL, '{{{{{{1}}}}}}', '{{a,b},{"c d",e}}', NULL, NULL, NULL, NULL, NULL, NULL);
"#;

/// Zones with offsets of minutes and, long ago, of seconds; what the roles and databases say about formats must not matter.
const SETTINGS: &str = "ALTER DATABASE {} SET timezone = 'Asia/Kolkata'; ALTER DATABASE {} SET datestyle = 'German';
    ALTER DATABASE {} SET intervalstyle = 'iso_8601'; ALTER DATABASE {} SET bytea_output = 'escape'; ALTER DATABASE {} SET extra_float_digits = 0";

#[test]
fn values_of_every_type_come_back_through_binary_on_every_server() {
    for major in majors() {
        let source = Database::fresh(&server(major), "typed");
        source.execute(&SETTINGS.replace("{}", &source.name));
        source.execute(EVERY_TYPE);
        if major >= 14 {
            source.execute("INSERT INTO every (id, n) VALUES (43, 'Infinity'), (44, '-Infinity')");
        }
        if major >= 17 {
            source.execute("INSERT INTO every (id, iv) VALUES (45, NULL)");
        }
        let backup = LocalBackup::make(&source, &[]);
        let target = Database::fresh(&source.server, "typed_target");
        let ran = restore(&backup, &target, &["--verify"]);
        // Of 20,000 digits the server may judge.
        assert_eq!(loads(&ran), [1, 0, 1], "{major}: {}", ran.stderr);
        assert_same_data(&source, &target);
        assert_same_schema(&source, &target);

        source.execute("DELETE FROM every WHERE id = 41");
        let backup = LocalBackup::make(&source, &[]);
        let target = Database::fresh(&source.server, "typed_again");
        let ran = restore(&backup, &target, &["--verify"]);
        assert_eq!(loads(&ran), [1, 0, 0], "{major}: {}", ran.stderr);
        assert_same_data(&source, &target);
    }
}

#[test]
fn random_values_are_the_same_after_a_restore_in_binary() {
    let source = Database::fresh(&server(18), "random");
    source.execute(
        "CREATE TABLE random (f8 float8, f4 real, n numeric, ts timestamptz, d date, iv interval, ba bytea, t text, ai bigint[]);
         INSERT INTO random SELECT
            (random() - 0.5) * power(10::float8, (random() * 600 - 300)::int), ((random() - 0.5) * power(10::float8, (random() * 70 - 35)::int))::real,
            ((random() - 0.5) * power(10::numeric, (random() * 40)::int))::numeric / power(7::numeric, (random() * 9)::int),
            timestamptz '-infinity' + interval '0', date '2000-01-01' + ((random() - 0.3) * 4000000)::int,
            make_interval(((random() - 0.5) * 9000)::int, ((random() - 0.5) * 99)::int, 0, ((random() - 0.5) * 99999)::int, 0, 0, (random() - 0.5) * 1e9),
            decode(md5(random()::text), 'hex'), chr((1 + random() * 50000)::int) || chr((57344 + random() * 8000)::int),
            ARRAY[(random() * 1e18)::bigint, (random() * -1e5)::bigint]
         FROM generate_series(1, 30000);
         UPDATE random SET ts = timestamptz '2000-01-01' + random() * interval '200000 years' - random() * interval '4000 years'",
    );
    let backup = LocalBackup::make(&source, &[]);
    let target = Database::fresh(&source.server, "random_target");
    let ran = restore(&backup, &target, &["--verify"]);
    assert_eq!(loads(&ran), [1, 0, 0], "{}", ran.stderr);
    assert_same_data(&source, &target);
}

#[test]
fn rows_after_an_unusual_value_or_a_wide_one_go_as_text_in_the_same_transaction() {
    let source = Database::fresh(&server(16), "unusual");
    source.execute(
        "CREATE TABLE bounds (id integer, a integer[]);
         INSERT INTO bounds SELECT n, CASE n WHEN 30000 THEN '[0:1]={1,2}'::integer[] ELSE ARRAY[n] END FROM generate_series(1, 60000) n;
         CREATE TABLE wide (id integer, t text);
         INSERT INTO wide SELECT n, repeat(md5(n::text), CASE n WHEN 500 THEN 200000 ELSE 9 END) FROM generate_series(1, 1000) n;
         CREATE TABLE searched (id integer, v tsvector); INSERT INTO searched SELECT n, to_tsvector('simple', n::text) FROM generate_series(1, 9) n;
         CREATE TABLE empty (id integer)",
    );
    let backup = LocalBackup::make(&source, &[]);
    for jobs in ["1", "3"] {
        let target = Database::fresh(&source.server, "unusual_target");
        let ran = restore(&backup, &target, &["-j", jobs, "--verify"]);
        // The table without rows is not loaded.
        assert_eq!(loads(&ran), [2, 1, 2], "{}", ran.stderr);
        assert_same_data(&source, &target);
    }
}

#[test]
fn what_the_target_says_of_its_columns_decides_how_they_are_sent() {
    let source = Database::fresh(&server(15), "retyped");
    source.execute(
        "CREATE TABLE t (a integer, b text, c timestamp); CREATE TABLE v (a integer);
         INSERT INTO t SELECT n, n::text, timestamp '2020-01-01' + n * interval '1 second' FROM generate_series(1, 1000) n;
         INSERT INTO v VALUES (1), (2)",
    );
    let backup = LocalBackup::make(&source, &[]);
    let target = Database::fresh(&source.server, "retyped_target");
    // The columns in another order and of other types, and a view in place of a table.
    target.execute(
        "CREATE TABLE t (c text, b numeric, more integer DEFAULT 7, a bigint); CREATE TABLE under (a integer);
         CREATE VIEW v AS SELECT * FROM under;
         CREATE FUNCTION put() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.under VALUES (NEW.a); RETURN NEW; END';
         CREATE TRIGGER put INSTEAD OF INSERT ON v FOR EACH ROW EXECUTE FUNCTION put()",
    );
    let ran = restore(&backup, &target, &["-a"]);
    assert_eq!(loads(&ran), [1, 1, 0], "{}", ran.stderr);
    assert_eq!(
        target.value("SELECT format('%s %s %s %s', sum(a), sum(b), sum(more), max(c)) FROM t"),
        "500500 500500 7000 2020-01-01 00:16:40"
    );
    assert_eq!(target.value("SELECT sum(a) FROM under"), "3");
}

#[test]
fn a_row_that_the_target_refuses_in_binary_is_named_and_nothing_of_its_table_stays() {
    let source = Database::fresh(&server(18), "refused");
    source
        .execute("CREATE TABLE t (a integer, b text); INSERT INTO t SELECT n, n::text FROM generate_series(1, 5000) n");
    let backup = LocalBackup::make(&source, &[]);
    let target = Database::fresh(&source.server, "refused_target");
    target.execute("CREATE DOMAIN small AS integer CHECK (VALUE < 4000); CREATE TABLE t (a small, b text)");
    let mut restore = bare_command();
    restore.args(["restore", "latest", "--from", &backup.store(), "-d", &target.url(), "-a"]);
    let ran = Ran::of(&restore.output().unwrap());
    assert_ne!(ran.code, Some(0));
    assert!(ran.stderr.contains("small_check") && ran.stderr.contains("line 4000, column a"), "{}", ran.stderr);
    assert_eq!(target.value("SELECT count(*) FROM t"), "0");
}

/// Dumps a database of one table by one connection: its text as the backup has it, and how often rows came in binary and
/// how often they went on as text.
fn dumped(source: &Database) -> (Vec<u8>, [usize; 2]) {
    let store = tempfile::tempdir().unwrap();
    let place = format!("file://{}", store.path().display());
    let mut command = bare_command();
    command.env("PGSTOW_LOG", "pgstow=debug");
    command.args(["dump", "-d", &source.url(), "--to", &place, "-Z", "none", "-j", "1"]);
    let ran = Ran::of(&command.output().unwrap()).fine();
    let count = |word: &str| ran.stderr.lines().filter(|line| line.contains(word)).count();
    let of_database = store.path().join(&source.name);
    let backup = of_database.read_dir().unwrap().next().unwrap().unwrap().path();
    let [object] = files_of_rows(&backup).try_into().expect("a table");
    let text = std::fs::read(object).unwrap();
    (text, [count("in_binary=true"), count("rows are read as text from here on")])
}

/// What stock pg_dump has between COPY and the end of the rows, both included for ours.
fn of_stock(source: &Database) -> Vec<u8> {
    let script = oracle().pg_dump(&source.url(), &["-a"]).unwrap();
    let start = script.find(" FROM stdin;\n").expect("rows") + " FROM stdin;\n".len();
    let end = script[start..].find("\n\\.\n").expect("an end");
    [&script.as_bytes()[start..=start + end], b"\\.\n\n\n"].concat()
}

#[track_caller]
fn assert_same_text(source: &Database, expected: [usize; 2]) {
    let (text, ways) = dumped(source);
    let stock = of_stock(source);
    let (ours, theirs) = (String::from_utf8_lossy(&text), String::from_utf8_lossy(&stock));
    for (ours, theirs) in ours.lines().zip(theirs.lines()) {
        assert_eq!(ours, theirs);
    }
    assert!(text == stock, "{} bytes in place of {}", text.len(), stock.len());
    assert_eq!(ways, expected);
}

/// Everything that is left to the server.
const UNUSUAL: &str = "UPDATE every SET n = NULL WHERE id = 41; UPDATE every SET f4 = 0.25, f8 = -1e-30 WHERE id IN (999999999999999999, 4)";
/// Other formats than those of dumps; stock leaves the zone and the form of bytea as they are.
const OTHER_FORMATS: &str = "ALTER DATABASE {} SET timezone = 'UTC'; ALTER DATABASE {} SET datestyle = 'German';
    ALTER DATABASE {} SET intervalstyle = 'iso_8601'; ALTER DATABASE {} SET extra_float_digits = 0";

#[test]
fn what_is_read_in_binary_is_to_the_byte_the_text_of_stock_on_every_server() {
    for major in majors() {
        let source = Database::fresh(&server(major), "read");
        source.execute(&OTHER_FORMATS.replace("{}", &source.name));
        source.execute(EVERY_TYPE);
        if major >= 14 {
            source.execute("INSERT INTO every (id, n) VALUES (43, 'Infinity'), (44, '-Infinity')");
        }
        source.execute(
            "INSERT INTO every (id, ai, at) VALUES (300, '[0:1]={1,2}', '[2:2][-1:0]={{\"[\",\"=\"}}');
             INSERT INTO every (id, iv) VALUES (301, '-0.5 seconds'), (302, '-1 years +1 mons');
             INSERT INTO every (id, f8) SELECT 400 + n, x FROM unnest(ARRAY[1125899906842623.75, 9007199254740991, 4503599627370497,
                 123456789012345, 1234567890123456, 2.5e-308, 3e40, 0.00012345, 0.000099, 1e-5, 1e14, 1e15, -7.1e200]) WITH ORDINALITY AS v (x, n);
             INSERT INTO every (id, f4) SELECT 450 + n, x FROM unnest(ARRAY[2097151.75, 16777215, 123456, 1234567, 0.0001, 0.00001, 1.2e-38, 9e19, 3.4e38]::real[])
                 WITH ORDINALITY AS v (x, n);
             ALTER TABLE every ALTER ba SET STORAGE EXTERNAL; INSERT INTO every (id, ba) VALUES (500, decode(repeat('00ff', 40000), 'hex'))",
        );
        assert_same_text(&source, [1, 1]);
        source.execute(UNUSUAL);
        assert_same_text(&source, [1, 0]);
    }
}

#[test]
fn random_values_have_the_text_of_stock() {
    for major in [12, 15, 18] {
        let source = Database::fresh(&server(major), "read_random");
        source.execute(&format!("ALTER DATABASE {} SET timezone = 'UTC'", source.name));
        // Floats of every size but the middle ones.
        source.execute(
            "CREATE TABLE random (f8 float8, f4 real, n numeric, ts timestamptz, d date, iv interval, ba bytea, t text, ai bigint[], af float8[]);
             INSERT INTO random SELECT
                (random() - 0.5) * power(10::float8, e * 2 + CASE WHEN e > 7 THEN 40 ELSE 0 END), ((0.1 + random()) * power(-1, e) * power(10::float8, CASE WHEN e > 5 THEN 21 + e % 15 ELSE e / 5 END))::real,
                (random() - 0.5)::numeric * power(10::numeric, (random() * 40)::int) / power(7::numeric, (random() * 9)::int),
                timestamptz '2000-01-01' + random() * interval '200000 years' - random() * interval '6000 years', date '2000-01-01' + ((random() - 0.3) * 2400000)::int,
                make_interval(((random() - 0.5) * 9000)::int, ((random() - 0.5) * 99)::int, 0, ((random() - 0.5) * 99999)::int, 0, 0, (random() - 0.5) * 1e9),
                decode(md5(random()::text), 'hex'), chr((1 + random() * 50000)::int) || chr((57344 + random() * 8000)::int),
                ARRAY[(random() * 1e18)::bigint, (random() * -1e5)::bigint], ARRAY[random(), -random() * 1e14, random() / 1e200]
             FROM (SELECT (random() * 280 - 150)::int AS e FROM generate_series(1, 40000)) x",
        );
        assert_same_text(&source, [1, 0]);
    }
}

#[test]
fn rows_that_come_in_pieces_have_the_same_text_and_what_cannot_be_held_comes_as_text() {
    let source = Database::fresh(&server(17), "read_wide");
    source.execute(
        r#"CREATE TABLE wide (id integer, t text, b bytea, j jsonb, a integer[], z text);
         INSERT INTO wide SELECT n, repeat(E'tab\tline\n\\ä€', n * 3000), decode(repeat('005c0aff', n * 20000), 'hex'), jsonb_build_object('k', repeat(E'\\"', n * 30000)),
             array_agg(m), 'end' FROM generate_series(0, 9) n, generate_series(1, 12000) m GROUP BY n;
         INSERT INTO wide VALUES (10, NULL, NULL, NULL, NULL, NULL), (11, '', '', 'null', '{}', repeat('x', 9000000))"#,
    );
    assert_same_text(&source, [1, 0]);
    source.execute("INSERT INTO wide SELECT 12, 'too long', NULL, NULL, array_agg(m), 'an array' FROM generate_series(1, 90000) m; INSERT INTO wide SELECT n FROM generate_series(20, 99) n");
    assert_same_text(&source, [1, 1]);
}

#[test]
fn a_table_in_ranges_goes_on_as_text_in_each_of_them_and_loses_no_row() {
    let source = Database::fresh(&server(16), "read_ranges");
    source.execute(
        "CREATE TABLE ranges (id integer, f float8, t text); ALTER TABLE ranges ALTER t SET STORAGE PLAIN;
         INSERT INTO ranges SELECT n, CASE WHEN n % 40000 = 39999 THEN 1e22 ELSE n / 7.0 END, repeat(md5(n::text), 8) FROM generate_series(1, 120000) n",
    );
    let backup = LocalBackup::make(&source, &["-j", "3", "--split-above", "1MiB"]);
    let target = Database::fresh(&source.server, "read_ranges_target");
    restore(&backup, &target, &["--verify"]);
    assert_same_data(&source, &target);
}
