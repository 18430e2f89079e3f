//! PostgreSQL's own tests of `pg_dump`, run against pgstow by the stand-in in `tests/tap`.
//!
//! They come with PostgreSQL's source package and are not part of this repository: `PGSTOW_PG_DUMP_TESTS` names the folder
//! `src/bin/pg_dump/t` of an unpacked source of 18. Without it the test only says so.

use std::path::Path;
use std::process::Command;

use pgstow_parts::{Server, oracle, say};

#[test]
fn no_further_check_of_postgresqls_own_tests_fails() {
    let Some(tests) = std::env::var_os("PGSTOW_PG_DUMP_TESTS") else {
        say("PostgreSQL's own tests were not run: PGSTOW_PG_DUMP_TESTS names no folder of them");
        return;
    };
    let server = Server::own(18).unwrap();
    let (_, port) = server.socket().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tap");
    let done = Command::new("perl")
        .arg(here.join("stand_in.pl"))
        .arg(Path::new(&tests).join("002_pg_dump.pl"))
        .arg(here.join("002_pg_dump.txt"))
        .env("PGSTOW", env!("CARGO_BIN_EXE_pgstow"))
        .env("PSQL", oracle().psql_program())
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", port.to_string())
        .env("PGUSER", "postgres")
        .env("STAND_IN_TMP", folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    say(said.lines().last().unwrap_or_default());
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
}
