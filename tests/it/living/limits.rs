//! Fewer connections than asked for.

use super::{Folder, servers};
use pgstow_parts::Database;

#[test]
fn a_dump_makes_do_with_the_connections_that_it_gets() {
    for server in servers() {
        let source = Database::fresh(&server, "limited");
        source.execute(
            "CREATE TABLE t AS SELECT n, md5(n::text) AS m FROM generate_series(1, 5000) n;
             CREATE TABLE u AS SELECT n FROM generate_series(1, 100) n;
             SELECT lo_from_bytea(0, 'abc'), lo_from_bytea(0, 'def')",
        );
        let role = format!("limited_{}", source.name);
        for (limit, jobs) in [(1, "1"), (1, "4"), (2, "4"), (3, "1")] {
            source.execute(&format!(
                "DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN SUPERUSER CONNECTION LIMIT {limit};
                 ALTER ROLE {role} NOSUPERUSER; GRANT SELECT ON t, u TO {role}; ALTER DATABASE {} OWNER TO {role};
                 SELECT lo_unlink(oid) FROM pg_largeobject_metadata WHERE lomowner <> (SELECT oid FROM pg_roles WHERE rolname = '{role}')",
                source.name
            ));
            let url = server.url_as(&source.name, &role, "");
            let folder = Folder::new();
            let ran = folder.run(&["dump", "-d", &url, "--json", "--no-globals"], &["-j", jobs]);
            assert_eq!(ran.code, Some(0), "limit {limit}, -j {jobs}: {ran:?}");
            assert_eq!(ran.json()["rows"], 5_100);
            folder.run(&["verify", "latest"], &[]).fine();
            source.execute(&format!(
                "ALTER DATABASE {} OWNER TO postgres; DROP OWNED BY {role}; DROP ROLE {role}",
                source.name
            ));
        }
    }
}
