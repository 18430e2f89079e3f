//! What needs a server of its own to be tested: databases with their settings, locales and tablespaces, extensions that keep
//! rows of their users, and security labels.
//!
//! The corpus is `fixtures/databases`, headed like `fixtures/kinds`. A database is dumped, put aside under another name,
//! restored with `-C`, and held against itself: stock's script with the database in it, all data, and a second dump.

use std::path::{Path, PathBuf};
use std::process::Command;

use pgstow_parts::cache::output;
use pgstow_parts::{Database, Server, compare, majors, oracle, say};

use crate::fidelity::{Fixture, check, fitting, fixtures_in};

/// A database's name that needs quotes everywhere.
const NAME: &str = "Kinds \"base\"; it's";

/// A server that this test may change.
pub(crate) fn own(major: u16) -> Option<Server> {
    if !majors().contains(&major) || std::env::var_os("PGSTOW_TEST_PG").is_some_and(|url| !url.is_empty()) {
        say(&format!("not tested on PostgreSQL {major}: the test needs a server of its own"));
        return None;
    }
    let server = Server::own(major).unwrap();
    for place in ["\"Kinds; space\"", "kinds_space2"] {
        let folder = server.socket().unwrap().0.join(if place == "kinds_space2" { "two" } else { "one" });
        let make = format!("COPY (SELECT 1) TO PROGRAM 'mkdir {} && cat > /dev/null'", folder.display());
        server.execute("postgres", &make).unwrap();
        let create = format!("CREATE TABLESPACE {place} LOCATION '{}'", folder.display());
        server.execute("postgres", &create).unwrap();
    }
    let extension = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/databases/extension");
    server.install_extension(&extension).unwrap();
    Some(server)
}

/// Makes the provider of labels known to every new session; false where there is no C compiler to make it with.
pub(crate) fn provide_labels(server: &Server) -> bool {
    let folder = server.socket().unwrap().0.to_owned();
    let (made, library) = (tempfile::tempdir().unwrap(), folder.join("label_provider.so"));
    let built: PathBuf = made.path().join("label_provider.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parts/src/label_provider.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", &format!("-DMAJOR={}", server.major()), "-o"]).arg(&built).arg(source);
    if let Err(sentence) = output(&mut compiler) {
        say(&format!("security labels are not tested: {sentence}"));
        return false;
    }
    std::fs::copy(&built, &library).unwrap();
    let set = format!("ALTER SYSTEM SET session_preload_libraries = '{}'", library.display());
    server.execute("postgres", &set).unwrap();
    server.execute("postgres", "SELECT pg_reload_conf()").unwrap();
    true
}

/// Loads a part of the corpus into a new database, which `how` says how to make.
pub(crate) fn source(server: &Server, how: &str, wanted: &[&str]) -> Database {
    let quoted = NAME.replace('"', "\"\"");
    server.execute("postgres", &format!("CREATE DATABASE \"{quoted}\" TEMPLATE template0 {how}")).unwrap();
    let database = Database { server: server.clone(), name: NAME.to_owned() };
    let roles = fixtures_in("fixtures/kinds").into_iter().filter(|fixture| fixture.name == "roles");
    let all: Vec<Fixture> = roles.chain(fixtures_in("fixtures/databases")).collect();
    for fixture in fitting(&all, server.major()).filter(|fixture| fixture.name == "roles" || named(fixture, wanted)) {
        if let Err(sentence) = server.execute(NAME, &fixture.sql) {
            panic!("{} does not load on {}: {sentence}", fixture.name, server.major());
        }
    }
    database
}

/// `labels_14` is a part of `labels`.
pub(crate) fn named(fixture: &Fixture, wanted: &[&str]) -> bool {
    wanted.iter().any(|name| fixture.name.split('_').next() == Some(*name))
}

/// Dumps the database, puts it aside, restores it with `-C` under its own name, and compares.
fn assert_comes_back(source: Database) {
    let server = source.server.clone();
    let pgstow = Path::new(env!("CARGO_BIN_EXE_pgstow"));
    let folder = tempfile::tempdir().unwrap();
    let first = check::Backup::make(pgstow, &server, NAME, &folder.path().join("first")).unwrap();
    let expected = oracle().schema_with_database(&server.url(NAME)).unwrap();
    let name = NAME.replace('"', "\"\"");
    server.execute("postgres", &format!("ALTER DATABASE \"{name}\" RENAME TO aside")).unwrap();
    let mut aside = source;
    "aside".clone_into(&mut aside.name);
    first.restore_with(pgstow, &server, "postgres", &["-C"]).unwrap();
    let copy = Database { server: server.clone(), name: NAME.to_owned() };
    let second = check::Backup::make(pgstow, &server, NAME, &folder.path().join("second")).unwrap();
    let found = oracle().schema_with_database(&copy.url()).unwrap();
    let mut differences = check::script_differences(&expected, &found);
    for database in [&aside, &copy] {
        // Whoever looks into it now must not be stopped by its settings.
        let name = database.name.replace('"', "\"\"");
        server.execute("postgres", &format!("ALTER DATABASE \"{name}\" RESET ALL")).unwrap();
    }
    let data = |database: &Database| compare::data(&server, &database.name).unwrap();
    differences.extend(compare::differences(&data(&aside), &data(&copy)));
    differences.extend(first.differences(&second, check::Scope::WithDatabase));
    assert!(differences.is_empty(), "on PostgreSQL {}:\n{}", server.major(), differences.join("\n"));
    // A template cannot be dropped.
    for database in [&aside, &copy] {
        let name = database.name.replace('"', "\"\"");
        server.execute("postgres", &format!("ALTER DATABASE \"{name}\" IS_TEMPLATE false")).unwrap();
    }
}

#[test]
fn a_database_comes_back_with_its_settings_and_tablespaces() {
    for major in 12..=19 {
        let Some(server) = own(major) else { continue };
        let how = "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TABLESPACE kinds_space2 IS_TEMPLATE true";
        assert_comes_back(source(&server, how, &["settings", "tablespaces", "zealous"]));
    }
}

#[test]
fn a_database_comes_back_with_its_encoding_and_locale_provider() {
    let hows: [(u16, &str); 6] = [
        (12, "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'POSIX'"),
        (14, "ENCODING 'EUC_JP' LC_COLLATE 'C' LC_CTYPE 'C'"),
        (15, "ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8' LOCALE_PROVIDER icu ICU_LOCALE 'de-u-co-phonebk'"),
        (
            16,
            "ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'en' ICU_RULES '& V << w <<< W'",
        ),
        (17, "ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"),
        (18, "ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' LOCALE_PROVIDER builtin BUILTIN_LOCALE 'PG_UNICODE_FAST'"),
    ];
    for (major, how) in hows {
        let Some(server) = own(major) else { continue };
        assert_comes_back(source(&server, how, &["settings"]));
    }
}

#[test]
fn the_rows_that_users_gave_to_an_extension_come_back_and_so_do_its_changed_privileges() {
    for major in 12..=19 {
        let Some(server) = own(major) else { continue };
        assert_comes_back(source(&server, "ENCODING 'UTF8'", &["configuration"]));
    }
}

#[test]
fn security_labels_come_back_on_everything_that_can_have_them() {
    for major in 12..=19 {
        let Some(server) = own(major) else { continue };
        if provide_labels(&server) {
            assert_comes_back(source(&server, "ENCODING 'UTF8'", &["labels"]));
        }
    }
}
