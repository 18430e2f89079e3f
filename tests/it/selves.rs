//! What names itself: views that read themselves, functions that call themselves, catalogs whose columns have privileges of their own.

use pgstow_parts::{Database, oracle, server};

use crate::support::{LocalBackup, assert_same_schema};

#[test]
fn a_view_that_reads_itself_and_a_function_that_calls_itself_come_back() {
    for major in [12, 15, 18] {
        let database = Database::fresh(&server(major), "selves");
        database.execute(
            "CREATE SCHEMA \"S\"; CREATE VIEW \"S\".\"a b\" AS SELECT 1 AS x; CREATE OR REPLACE VIEW \"S\".\"a b\" AS SELECT x FROM \"S\".\"a b\";
             CREATE VIEW no_column AS SELECT 1 AS x; CREATE OR REPLACE VIEW no_column AS SELECT 2 AS x FROM no_column;
             CREATE VIEW reader AS SELECT x FROM \"S\".\"a b\"; COMMENT ON VIEW no_column IS 'it reads itself';
             CREATE VIEW says_so AS SELECT 'public.says_so'::text AS x",
        );
        if major >= 14 {
            database.execute(
                "CREATE FUNCTION down(i integer) RETURNS integer LANGUAGE sql RETURN i;
                 CREATE OR REPLACE FUNCTION down(i integer) RETURNS integer LANGUAGE sql RETURN CASE WHEN i > 0 THEN down(i - 1) ELSE 0 END",
            );
        }
        let backup = LocalBackup::make(&database, &["-Z", "gzip:1"]);
        let target = Database::fresh(&database.server, "selves_target");
        backup.run("restore", &["-d", &target.url()]).fine();
        assert_same_schema(&database, &target);
        backup.run("restore", &["-d", &target.url(), "-c"]).fine();
        assert_same_schema(&database, &target);
        if major == 18 {
            let stock = Database::fresh(&database.server, "selves_stock");
            oracle().pg_restore18(&stock.url(), &backup.folder(), &[]).unwrap();
            assert_same_schema(&database, &stock);
        }
    }
}

#[test]
fn privileges_on_columns_of_catalogs_outlive_the_revoke_on_the_catalog() {
    for major in [12, 18] {
        let database = Database::fresh(&server(major), "catalog_columns");
        database.execute(
            "REVOKE SELECT ON pg_catalog.pg_proc FROM public; GRANT SELECT (proname, oid) ON pg_catalog.pg_proc TO public;
             CREATE TABLE t (a integer, b integer); REVOKE ALL ON t FROM postgres; GRANT SELECT (a) ON t TO postgres",
        );
        let backup = LocalBackup::make(&database, &[]);
        let target = Database::fresh(&database.server, "catalog_columns_target");
        backup.run("restore", &["-d", &target.url()]).fine();
        let may = "SELECT string_agg(attname, ', ' ORDER BY attname) FROM pg_attribute
                   WHERE attrelid IN ('pg_proc'::regclass, 't'::regclass) AND attacl IS NOT NULL";
        assert_eq!(target.value(may), "a, oid, proname");
        assert_same_schema(&database, &target);
    }
}
