//! What a target lacks is said before anything is touched, each with what to do about it.

use std::fs;
use std::sync::Arc;

use pgstow::archive::manifest::StoredObject;
use pgstow::archive::{Manifest, Toc};
use pgstow::stream::Digest;
use pgstow_parts::{Database, Server, majors, say, server};
use serde_json::Value;

use crate::support::LocalBackup;

/// Lets a backup need, or have, something else.
fn change(backup: &LocalBackup, change: impl Fn(&mut Toc, &mut Manifest)) {
    let (toc_path, manifest_path) = (backup.folder().join("toc.dat"), backup.folder().join("manifest.json"));
    let mut toc = Toc::decode(&fs::read(&toc_path).unwrap()).unwrap();
    let mut manifest = Manifest::decode(&fs::read(&manifest_path).unwrap()).unwrap();
    change(&mut toc, &mut manifest);
    let text = toc.encode().unwrap();
    let mut digest = Digest::new();
    digest.update(&text);
    manifest.toc = StoredObject { bytes: text.len() as u64, sha256: digest.finish(), ..manifest.toc };
    fs::write(toc_path, text).unwrap();
    fs::write(manifest_path, manifest.encode()).unwrap();
}

/// Puts other words into a definition.
fn reword(backup: &LocalBackup, desc: &str, from: &str, to: &str) {
    change(backup, |toc, _| {
        let mut done = false;
        for entry in toc.entries.iter_mut().filter(|entry| entry.desc == desc) {
            let create = Arc::make_mut(entry).create.as_mut().unwrap();
            done |= create.contains(from);
            *create = create.replace(from, to);
        }
        assert!(done, "no {desc} says {from}");
    });
}

/// What a restore into this place would find, and that a real one stops there.
#[track_caller]
fn lacks(backup: &LocalBackup, url: &str, arguments: &[&str]) -> Vec<(String, String)> {
    let arguments = [&["-d", url][..], arguments].concat();
    let plan = backup.run("restore", &[&arguments[..], &["--dry-run", "--json"]].concat()).fine().json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let lacks: Vec<(String, String)> =
        plan["lacks"].as_array().unwrap().iter().map(|lack| (text(&lack["what"]), text(&lack["hint"]))).collect();
    if let Some((what, hint)) = lacks.first() {
        backup.run("restore", &arguments).failed(9, &["nothing was touched", what, hint]);
    }
    lacks
}

fn warnings(backup: &LocalBackup, url: &str, arguments: &[&str]) -> Vec<String> {
    let plan = backup.run("restore", &[&["-d", url, "--dry-run", "--json"][..], arguments].concat()).fine().json();
    plan["warnings"].as_array().unwrap().iter().map(|warning| warning.as_str().unwrap().to_owned()).collect()
}

/// A small database, and one to restore into.
fn pair(server: &Server, hint: &str, statements: &str) -> (Database, Database) {
    let source = Database::fresh(server, hint);
    source.execute(statements);
    (source, Database::fresh(server, hint))
}

#[test]
fn access_methods_languages_and_libraries_that_the_target_lacks_are_named_with_a_way_out() {
    let (source, target) = pair(
        &server(18),
        "lacks_methods",
        "CREATE TABLE t (id integer); CREATE TABLE u (id integer); CREATE INDEX i ON t (id); CREATE INDEX j ON u (id);
         CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    );
    let backup = LocalBackup::make(&source, &[]);
    reword(&backup, "INDEX", "USING btree", "USING \"no such method\"");
    reword(&backup, "FUNCTION", "LANGUAGE sql", "LANGUAGE plnothing");
    change(&backup, |toc, _| {
        for entry in toc.entries.iter_mut().filter(|entry| entry.desc == "TABLE" && entry.tag == "t") {
            Arc::make_mut(entry).access_method = Some("columns".to_owned());
        }
    });
    let own = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(what, hint)| ((*what).to_owned(), (*hint).to_owned())).collect()
    };
    assert_eq!(
        lacks(&backup, &target.url(), &[]),
        own(&[
            ("language plnothing (function public.f())", "make it with CREATE EXTENSION first"),
            (
                "table access method columns (table public.t)",
                "make it with CREATE EXTENSION or CREATE ACCESS METHOD first, or restore with --no-table-access-method"
            ),
            (
                "index access method \"no such method\" (index public.i and 1 more)",
                "make it with CREATE EXTENSION or CREATE ACCESS METHOD first"
            ),
        ])
    );
    assert_eq!(target.value("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"), "0");
    let rest = lacks(&backup, &target.url(), &["-t", "u", "--no-table-access-method"]);
    assert_eq!(rest.len(), 1, "{rest:?}");
}

#[test]
fn collations_whose_locale_the_target_lacks_are_named_wherever_they_are_used() {
    let (source, target) = pair(
        &server(18),
        "lacks_locales",
        "CREATE COLLATION own (provider = libc, locale = 'C'); CREATE COLLATION de (provider = icu, locale = 'de');
         CREATE TABLE t (a text COLLATE own, b text COLLATE \"de-x-icu\", c text COLLATE ucs_basic);
         CREATE INDEX i ON t (a COLLATE \"de-x-icu\")",
    );
    let backup = LocalBackup::make(&source, &[]);
    assert_eq!(lacks(&backup, &target.url(), &[]), []);
    reword(&backup, "COLLATION", "locale = 'C'", "locale = 'xx_XX.no'");
    reword(&backup, "COLLATION", "locale = 'de'", "locale = 'de', rules = '& <<<<< broken'");
    reword(&backup, "TABLE", "\"de-x-icu\"", "\"tlh-x-icu\"");
    reword(&backup, "TABLE", "ucs_basic", "\"xx_XX.utf8\"");
    let found = lacks(&backup, &target.url(), &[]);
    let whats: Vec<&str> = found.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(
        whats,
        [
            "the locale of collation public.de",
            "the locale of collation public.own",
            "collation pg_catalog.\"tlh-x-icu\" (table public.t)",
            "collation pg_catalog.\"xx_XX.utf8\" (table public.t)",
        ]
    );
    for (hint, said) in found.iter().zip(["install it", "xx_XX.no", "built with ICU", "pg_import_system_collations"]) {
        assert!(hint.1.contains(said), "{hint:?} does not say {said}");
    }
}

#[test]
fn a_collation_or_an_extension_of_another_version_is_a_warning_that_names_it() {
    let (source, target) = pair(
        &server(18),
        "versions",
        "CREATE COLLATION own (provider = icu, locale = 'de-u-co-phonebk'); CREATE COLLATION plain (locale = 'C');
         CREATE TABLE t (a text COLLATE own, b text COLLATE \"de-x-icu\")",
    );
    let backup = LocalBackup::make(&source, &[]);
    let version = |name| source.value(&format!("SELECT pg_collation_actual_version('{name}'::regcollation)"));
    let facts = || {
        let manifest = Manifest::decode(&fs::read(backup.folder().join("manifest.json")).unwrap()).unwrap();
        let of =
            |fact: &pgstow::archive::CollationFacts| (fact.schema.clone(), fact.name.clone(), fact.version.clone());
        manifest.database.collations.iter().map(of).collect::<Vec<_>>()
    };
    let expected = |schema: &str, name: &str, quoted| (schema.to_owned(), name.to_owned(), version(quoted));
    // What sorts by bytes has no version.
    assert_eq!(facts(), [expected("pg_catalog", "de-x-icu", "\"de-x-icu\""), expected("public", "own", "public.own")]);
    assert_eq!(warnings(&backup, &target.url(), &[]), Vec::<String>::new());
    change(&backup, |_, manifest| manifest.database.collations.iter_mut().for_each(|fact| fact.version = "0.7".into()));
    let found = warnings(&backup, &target.url(), &[]);
    assert_eq!(found.len(), 2, "{found:#?}");
    let start =
        |what: &str, name| format!("the collation {what} has version 0.7 in the source and {} in", version(name));
    assert!(found[0].starts_with(&start("public.own (in the backup)", "public.own")), "{found:#?}");
    assert!(found[1].starts_with(&start("pg_catalog.\"de-x-icu\" (table public.t)", "\"de-x-icu\"")), "{found:#?}");
    // A real restore says the same, and is done. Of a part, only what it has is said.
    let report = backup.run("restore", &["-d", &target.url(), "--json"]).fine().json();
    assert_eq!(report["warnings"].as_array().unwrap().len(), 2, "{report}");
    assert_eq!(warnings(&backup, &target.url(), &["-a"]), Vec::<String>::new());
    // The database's own.
    change(&backup, |_, manifest| {
        manifest.database.collations.clear();
        manifest.database.collation_version = Some("0.7".into());
    });
    let theirs = source.value("SELECT datcollversion FROM pg_database WHERE datname = current_database()");
    if !theirs.is_empty() {
        let found = warnings(&backup, &Database::fresh(&source.server, "versions_target").url(), &[]);
        assert!(found[0].starts_with("the default collation ") && found.len() == 1, "{found:#?}");
        let found = warnings(&backup, &source.server.url("postgres"), &["-C"]);
        assert!(found[0].starts_with("the default collation ") && found.len() == 1, "{found:#?}");
    }
}

#[test]
fn an_extension_that_is_older_in_the_target_is_a_warning() {
    let Some(server) = crate::databases::own(18) else { return };
    let (source, target) = pair(&server, "older", "CREATE EXTENSION kinds_config");
    let backup = LocalBackup::make(&source, &[]);
    assert_eq!(warnings(&backup, &target.url(), &[]), Vec::<String>::new());
    change(&backup, |_, manifest| {
        let fact = manifest.database.extensions.iter_mut().find(|fact| fact.name == "kinds_config").unwrap();
        fact.version = "77.10".into();
    });
    let found = warnings(&backup, &target.url(), &[]);
    let start = "extension kinds_config has version 77.10 in the source, and the target's is ";
    assert!(found.len() == 1 && found[0].starts_with(start), "{found:#?}");
}

#[test]
fn what_a_server_lacks_to_make_the_database_comes_out_before_it_is_asked_to() {
    let server = server(18);
    let name = format!("lacks_database_{}", std::process::id());
    let make = "TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'";
    server.execute("postgres", &format!("CREATE DATABASE {name} {make}")).unwrap();
    let source = Database { server: server.clone(), name };
    source.execute("CREATE TABLE t (id integer)");
    let maintenance = server.url("postgres");
    let cases = [
        ("ENCODING = 'UTF8'", "ENCODING = 'KLINGON'", "encoding KLINGON (database NAME)", "restore into it without -C"),
        ("LC_CTYPE = 'C'", "LC_CTYPE = 'xx_XX.no'", "the locale (database NAME)", "install it on the target's server"),
        (
            "LOCALE_PROVIDER = libc",
            "LOCALE_PROVIDER = icu ICU_LOCALE = 'de' ICU_RULES = '& <<<<< broken'",
            "the locale (database NAME)",
            "rules",
        ),
        (
            "LOCALE_PROVIDER = libc",
            "LOCALE_PROVIDER = builtin BUILTIN_LOCALE = 'tlh'",
            "the locale (database NAME)",
            "builtin",
        ),
        (";", " TABLESPACE = \"no such\";", "tablespace \"no such\" (database NAME)", "make it, bring it along"),
    ];
    for (from, to, expected, hint) in cases {
        let backup = LocalBackup::make(&source, &[]);
        reword(&backup, "DATABASE", from, to);
        let found = lacks(&backup, &maintenance, &["-C"]);
        let expected = expected.replace("NAME", &source.name);
        assert!(found.len() == 1 && found[0].0 == expected && found[0].1.contains(hint), "{to}: {found:#?}");
        // Into a database that is there, all of that is no matter.
        assert_eq!(lacks(&backup, &Database::fresh(&server, "has_all").url(), &[]), []);
    }
    let backup = LocalBackup::make(&source, &[]);
    assert_eq!(lacks(&backup, &maintenance, &["-C"]), []);
    // A database that is there is found before roles are touched.
    backup.run("restore", &["-d", &maintenance, "-C", "--globals"]).failed(9, &["already has database", "without -C"]);
    let role = format!("may_not_create_{}", std::process::id());
    server.execute("postgres", &format!("CREATE ROLE {role} LOGIN PASSWORD 'x'")).unwrap();
    let url =
        format!("postgres://{role}:x@{}/postgres", maintenance.rsplit('@').next().unwrap().split('/').next().unwrap());
    let found = lacks(&backup, &url, &["-C", "-O", "-x"]);
    server.execute("postgres", &format!("DROP ROLE {role}")).unwrap();
    assert!(found.len() == 1 && found[0].0.starts_with("the right to make databases (database "), "{found:#?}");
}

#[test]
fn an_older_server_that_lacks_the_words_for_a_database_says_so_and_takes_the_rest() {
    if majors().len() == 1 {
        say("restores into older servers are not tested: that takes servers of several versions");
        return;
    }
    let source = Database::fresh(&server(18), "newer");
    source.execute("CREATE TABLE t (id integer); INSERT INTO t VALUES (1)");
    let backup = LocalBackup::make(&source, &[]);
    let builtin = LocalBackup::make(&source, &[]);
    reword(&builtin, "DATABASE", "LOCALE_PROVIDER = libc", "LOCALE_PROVIDER = builtin BUILTIN_LOCALE = 'C'");
    for major in [12, 14, 16, 17].into_iter().filter(|major| majors().contains(major)) {
        let target = server(major);
        let words = |backup| -> Vec<String> {
            lacks(backup, &target.url("postgres"), &["-C"]).into_iter().map(|(what, _)| what).collect()
        };
        let of = |option: &str, since: u32| {
            vec![format!(
                "a server that makes databases with {option}, which is PostgreSQL {since} or newer (database {})",
                source.name
            )]
        };
        assert_eq!(words(&backup), if major < 15 { of("LOCALE_PROVIDER", 15) } else { vec![] }, "{major}");
        assert_eq!(words(&builtin), if major < 17 { of("BUILTIN_LOCALE", 17) } else { vec![] }, "{major}");
        let into = Database::fresh(&target, "older");
        let report = backup.run("restore", &["-d", &into.url(), "--json"]).fine().json();
        let warning = report["warnings"][0].as_str().unwrap();
        assert!(
            warning.starts_with(&format!("the backup comes from PostgreSQL 18, the target is {major}")),
            "{report}"
        );
        assert_eq!(into.value("SELECT id FROM t"), "1");
    }
}

#[test]
fn locales_are_not_judged_by_a_database_of_another_encoding() {
    let server = server(18);
    let source = Database::fresh(&server, "other_encoding");
    source.execute("CREATE COLLATION own (provider = libc, locale = 'C.UTF-8'); CREATE TABLE t (a text COLLATE own)");
    let backup = LocalBackup::make(&source, &[]);
    let name = format!("latin_maintenance_{}", std::process::id());
    let make = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'");
    server.execute("postgres", &make).unwrap();
    let latin = Database { server: server.clone(), name };
    // A collation of UTF-8 cannot be made in this one, and need not be.
    assert_eq!(lacks(&backup, &latin.url(), &["-C"]), []);
    let found = lacks(&backup, &latin.url(), &[]);
    assert!(found.len() == 1 && found[0].0 == "the locale of collation public.own", "{found:#?}");
    reword(&backup, "COLLATION", "C.UTF-8", "xx_XX.UTF-8");
    let found = lacks(&backup, &latin.url(), &["-C"]);
    assert!(found.len() == 1 && found[0].0 == "the locale of collation public.own", "{found:#?}");
}
