//! `pgstow export`: a script that psql loads, and a folder that both tools restore.

use std::fs;

use pgstow_parts::{Database, oracle, server};
use serde_json::Value;

use crate::support::{LocalBackup, assert_same_data, assert_same_schema, files_of_rows, no_store, pgstow, shop};

#[test]
fn a_script_loads_into_the_same_database() {
    let source = shop(&server(18), "script");
    let backup = LocalBackup::make(&source, &[]);
    let script = backup.run("export", &["-f", "-"]).fine().stdout;
    let target = Database::fresh(&source.server, "script_target");
    oracle().psql(&target.url(), &script).unwrap();
    assert_same_data(&source, &target);
    assert_same_schema(&source, &target);
    // A second time it replaces what is there.
    let file = tempfile::tempdir().unwrap();
    let path = file.path().join("shop.sql");
    let arguments = ["-f", path.to_str().unwrap(), "-c", "--if-exists", "--json"];
    let report = backup.run("export", &arguments).fine().json();
    assert_eq!(report["bytes"], Value::from(fs::metadata(&path).unwrap().len()));
    oracle().psql(&target.url(), &fs::read_to_string(&path).unwrap()).unwrap();
    assert_same_data(&source, &target);
    assert_same_schema(&source, &target);
}

#[test]
fn a_script_makes_the_database_under_the_name_it_had_and_connects_to_it() {
    let server = server(18);
    let name = format!("to be \"made\" {}", std::process::id());
    server
        .execute("postgres", &format!("CREATE DATABASE \"{}\" TEMPLATE template0", name.replace('"', "\"\"")))
        .unwrap();
    let source = Database { server: server.clone(), name };
    source.execute("CREATE TABLE t AS SELECT 7 AS a");
    source.execute(&format!("COMMENT ON DATABASE \"{}\" IS 'made'", source.name.replace('"', "\"\"")));
    let backup = LocalBackup::make(&source, &[]);
    let script = backup.run("export", &["-f", "-", "-C", "-c", "--if-exists"]).fine().stdout;
    source.execute("DELETE FROM t; CREATE TABLE gone ()");
    oracle().psql(&server.url("postgres"), &script).unwrap();
    assert_eq!(source.value("SELECT a FROM t"), "7");
    assert_eq!(source.value("SELECT to_regclass('gone') IS NULL"), "t");
}

#[test]
fn a_script_of_a_part_holds_that_part() {
    let source = Database::fresh(&server(18), "script_part");
    source.execute(
        "CREATE TABLE one AS SELECT 1 AS a; CREATE TABLE two AS SELECT 2 AS a; ALTER TABLE one ADD PRIMARY KEY (a)",
    );
    let backup = LocalBackup::make(&source, &[]);
    let script = |arguments: &[&str]| backup.run("export", &[&["-f", "-"], arguments].concat()).fine().stdout;
    let kept = |script: &str| {
        let starts = ["CREATE ", "ALTER ", "COPY ", "DROP "];
        let lines = script.lines().filter(|line| starts.iter().any(|start| line.starts_with(start)));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(kept(&script(&["-a"])), ["COPY public.one (a) FROM stdin;", "COPY public.two (a) FROM stdin;"]);
    assert_eq!(kept(&script(&["-s", "-O", "-t", "two"])), ["CREATE TABLE public.two ("]);
    assert_eq!(
        kept(&script(&["-s", "-O", "-t", "public.one", "-c"])),
        [
            "ALTER TABLE ONLY public.one DROP CONSTRAINT one_pkey;",
            "DROP TABLE public.one;",
            "CREATE TABLE public.one (",
            "ALTER TABLE ONLY public.one"
        ]
    );
}

#[test]
fn a_folder_is_a_verified_copy_that_both_tools_restore() {
    let source = shop(&server(18), "to_directory");
    let backup = LocalBackup::make(&source, &["-Z", "gzip:1"]);
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("copy");
    let path = folder.to_str().unwrap();
    backup.run("export", &["-F", "d", "-f", path]).fine();
    let by_stock = Database::fresh(&source.server, "directory_stock");
    oracle().pg_restore18(&by_stock.url(), &folder, &["--exit-on-error"]).unwrap();
    assert_same_data(&source, &by_stock);
    let by_us = Database::fresh(&source.server, "directory_ours");
    let report = pgstow(&no_store(), &["restore", "--archive", path, "-d", &by_us.url(), "--json"]).fine().json();
    assert_eq!((&report["backup"], &report["warnings"]), (&Value::from(backup.id.clone()), &Value::Array(vec![])));
    assert_same_data(&source, &by_us);
    backup.run("export", &["-F", "d", "-f", path]).failed(9, &["not empty"]);
    backup.run("export", &["-F", "d", "-f", "elsewhere", "-s"]).failed(2, &["whole archive"]);
}

#[test]
fn a_damaged_backup_is_not_exported() {
    let source = Database::fresh(&server(18), "export_damaged");
    source.execute("CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) n");
    let backup = LocalBackup::make(&source, &["-Z", "none"]);
    let [data] = files_of_rows(&backup.folder()).try_into().unwrap();
    let text = fs::read_to_string(&data).unwrap();
    fs::write(&data, text.replacen("500\n", "501\n", 1)).unwrap();
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("copy");
    backup.run("export", &["-F", "d", "-f", folder.to_str().unwrap()]).failed(6, &["digest"]);
    assert!(!folder.join("toc.dat").exists() && !folder.join("manifest.json").exists());
    let ran = backup.run("export", &["-f", "-"]);
    ran.failed(6, &["digest"]);
    // Even a psql that goes on after errors must not take the rows so far for all.
    let target = Database::fresh(&source.server, "export_damaged_target");
    let wrong = oracle().psql(&target.url(), &ran.stdout).expect_err("half a script");
    assert!(wrong.contains("extra data"), "{wrong}");
    assert_eq!(target.value("SELECT count(*) FROM t"), "0");
}

#[test]
fn scripts_of_the_sections_and_of_a_schema_load_one_after_another() {
    let source = shop(&server(18), "script_sections");
    let backup = LocalBackup::make(&source, &[]);
    let script = |arguments: &[&str]| backup.run("export", &[&["-f", "-"], arguments].concat()).fine().stdout;
    let target = Database::fresh(&source.server, "script_sections_target");
    for section in ["pre-data", "data", "post-data"] {
        oracle().psql(&target.url(), &script(&["--section", section])).unwrap();
    }
    assert_same_data(&source, &target);
    assert_same_schema(&source, &target);

    let parts = Database::fresh(&source.server, "script_schemas");
    parts.execute(
        "CREATE SCHEMA a; CREATE SCHEMA \"B; --\"; CREATE TABLE a.t (id serial PRIMARY KEY); INSERT INTO a.t VALUES (7);
         CREATE TABLE \"B; --\".t (id serial PRIMARY KEY); INSERT INTO \"B; --\".t VALUES (8)",
    );
    let backup = LocalBackup::make(&parts, &[]);
    let script = |arguments: &[&str]| backup.run("export", &[&["-f", "-"], arguments].concat()).fine().stdout;
    let target = Database::fresh(&parts.server, "script_schemas_target");
    oracle().psql(&target.url(), &script(&["-n", "a"])).unwrap();
    target.execute("CREATE SCHEMA \"B; --\"");
    oracle().psql(&target.url(), &script(&["-n", "B; --", "-t", "t"])).unwrap();
    assert_same_data(&parts, &target);
    assert_same_schema(&parts, &target);
}
