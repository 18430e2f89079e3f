//! Objects that come and go while the catalogs are read.

use super::Loop;

/// Something that is there at every moment, beside what comes and goes.
const SETUP: &str = "CREATE TABLE t (id int PRIMARY KEY, a int, b int);
    INSERT INTO t SELECT g, g, g FROM generate_series(1, 20) g;
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';";

fn comes_and_goes(name: &str, setup: &str, round: &str) {
    Loop {
        name,
        setup: &format!("{SETUP}{setup}"),
        round,
        pause: 15,
        sessions: 1,
        rows: Some(20),
        holds: "SELECT count(*) = 20 FROM t",
    }
    .run(&[]);
}

#[test]
fn temporary_tables_of_others_do_not_matter() {
    Loop {
        name: "temporary",
        setup: "CREATE TABLE x (id int PRIMARY KEY, a int CHECK (a > 0), b int GENERATED ALWAYS AS (a + 1) STORED,
                c int DEFAULT 7, CHECK (b > a)); INSERT INTO x SELECT g, g FROM generate_series(1, 20) g;",
        round: "CREATE TEMP TABLE tmp (LIKE x INCLUDING ALL); CREATE TEMP VIEW tv AS SELECT * FROM tmp;
            CREATE TEMP TABLE child () INHERITS (tmp); DROP TABLE tmp CASCADE;",
        pause: 1,
        sessions: 2,
        rows: Some(20),
        holds: "SELECT count(*) = 20 FROM x",
    }
    .run(&[]);
}

#[test]
fn statistics_that_come_and_go_do_not_end_a_dump() {
    comes_and_goes(
        "statistics",
        "CREATE STATISTICS s ON a, b FROM t;",
        "DROP STATISTICS s; CREATE STATISTICS s ON a, b FROM t;",
    );
}

#[test]
fn triggers_policies_and_rules_that_come_and_go_do_not_end_a_dump() {
    comes_and_goes(
        "triggers",
        "CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION touch();",
        "DROP TRIGGER tr ON t; CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION touch();",
    );
    comes_and_goes(
        "policies",
        "CREATE POLICY p ON t USING (id > 0);",
        "DROP POLICY p ON t; CREATE POLICY p ON t USING (id > 0);",
    );
    comes_and_goes(
        "rules",
        "CREATE RULE r AS ON DELETE TO t DO INSTEAD NOTHING;",
        "DROP RULE r ON t; CREATE RULE r AS ON DELETE TO t DO INSTEAD NOTHING;",
    );
}

#[test]
fn functions_aggregates_types_and_collations_that_come_and_go_do_not_end_a_dump() {
    comes_and_goes(
        "functions",
        "",
        "CREATE TYPE ft AS (a int, b text); CREATE FUNCTION f(x ft, y int DEFAULT 3) RETURNS ft LANGUAGE sql AS 'SELECT x';
         CREATE FUNCTION g(x int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT x + 1; END;
         COMMIT; PERFORM pg_sleep(0.01); DROP FUNCTION f(ft, int); DROP FUNCTION g(int); DROP TYPE ft;",
    );
    comes_and_goes(
        "aggregates",
        "",
        "CREATE FUNCTION add2(a int, b int) RETURNS int LANGUAGE sql AS 'SELECT a + b';
         CREATE AGGREGATE total(int) (SFUNC = add2, STYPE = int); CREATE COLLATION c (locale = 'C');
         CREATE DOMAIN d AS int CHECK (VALUE > 0);
         COMMIT; PERFORM pg_sleep(0.01); DROP AGGREGATE total(int); DROP FUNCTION add2(int, int); DROP COLLATION c;
         DROP DOMAIN d;",
    );
}

#[test]
fn views_and_sequences_that_come_and_go_do_not_end_a_dump() {
    comes_and_goes(
        "views",
        "CREATE VIEW v AS SELECT * FROM t; CREATE VIEW w AS SELECT * FROM v; CREATE SEQUENCE q;",
        "DROP VIEW v CASCADE; CREATE VIEW v AS SELECT * FROM t; CREATE VIEW w AS SELECT * FROM v;
         DROP SEQUENCE q; CREATE SEQUENCE q;",
    );
}
