//! What a person or a script sees: words, one JSON document, exit codes, the environment.

use pgstow_parts::{Database, garage, server};

use crate::support::{Backup, Ran, command, pgstow};

fn small(hint: &str) -> Database {
    let database = Database::fresh(&server(18), hint);
    database.execute("CREATE TABLE t AS SELECT n AS id FROM generate_series(1, 10) n");
    database
}

#[test]
fn help_and_version_are_no_errors() {
    for arguments in [&["--help"][..], &["--version"], &["dump", "--help"], &["restore", "--help"], &["list", "--help"]]
    {
        let ran = pgstow(&garage(), arguments).fine();
        assert!(!ran.stdout.is_empty() && ran.stderr.is_empty(), "{ran:?}");
    }
}

#[test]
fn arguments_that_cannot_be_used_exit_with_two() {
    let database = small("arguments");
    let url = database.url();
    let store = garage().location("arguments");
    for arguments in [
        &[][..],
        &["no-such-verb"],
        &["dump", "-d", &url],
        &["dump", "-d", &url, "--to", "ftp://somewhere"],
        &["dump", "-d", &url, "--to", &store, "-Z", "rar"],
        &["dump", "-d", &url, "--to", &store, "-Z", "zstd:99"],
        &["dump", "-d", &url, "--to", &store, "-j", "0"],
        &["dump", "-d", &url, "--to", &store, "-s", "-a"],
        &["dump", "-d", "postgresql://[", "--to", &store],
        &["dump", "-d", "host=x no_such_key=y", "--to", &store],
        &["restore", "--from", &store],
        &["restore", "latest", "--from", &store, "-d", &url, "--if-exists"],
    ] {
        let ran = pgstow(&garage(), arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {ran:?}");
        assert!(!ran.stderr.is_empty(), "{arguments:?} says nothing");
    }
}

#[test]
fn json_is_one_document_with_the_promised_keys() {
    let backup = Backup::make(&garage(), &small("json"), &[]);
    let report = &backup.report;
    assert_eq!((&report["tables"], &report["rows"]), (&1.into(), &10.into()));
    assert_eq!(report["database"], backup.database.as_str());
    for number in ["raw_bytes", "stored_bytes"] {
        assert!(report[number].as_u64().is_some_and(|bytes| bytes > 0), "{number}: {report}");
    }
    assert!(report["seconds"].is_number() && report["warnings"].is_array() && report["skipped"].is_array());
    let listed = pgstow(&garage(), &["list", "--from", &backup.store(), "--json"]).fine().json();
    let entry = &listed["backups"][0];
    assert_eq!((&entry["backup"], &entry["rows"]), (&report["backup"], &10.into()));
    for key in ["database", "created_at", "tables", "stored_bytes"] {
        assert!(!entry[key].is_null(), "{key}: {listed}");
    }
    let shown = pgstow(&garage(), &["show", "latest", "--from", &backup.store(), "--json"]).fine().json();
    assert_eq!(shown["id"], report["backup"]);
}

#[test]
fn people_get_words_and_a_pipe_gets_no_control_characters() {
    let database = small("words");
    let store = garage().location(&garage().fresh_prefix("words"));
    let target = Database::fresh(&database.server, "words_target");
    for (arguments, word) in [
        (&["dump", "-d", &database.url(), "--to", &store][..], "10 rows"),
        (&["list", "--from", &store], database.name.as_str()),
        (&["show", "latest", "--from", &store], database.name.as_str()),
        (&["restore", "latest", "--from", &store, "-d", &target.url()], "10 rows"),
    ] {
        let ran = pgstow(&garage(), arguments).fine();
        assert!(ran.stdout.contains(word), "{word:?} is missing: {ran:?}");
        let control = |text: &str| text.chars().any(|c| c.is_control() && c != '\n');
        assert!(!control(&ran.stdout) && !control(&ran.stderr), "{ran:?}");
    }
    let quiet = pgstow(&garage(), &["-q", "dump", "-d", &database.url(), "--to", &store]).fine();
    assert_eq!(quiet.stderr, "");
}

#[test]
fn an_empty_store_has_no_backups_and_that_is_no_error() {
    let store = garage().location(&garage().fresh_prefix("nothing-here"));
    let listed = pgstow(&garage(), &["list", "--from", &store, "--json"]).fine().json();
    assert_eq!(listed["backups"], serde_json::json!([]));
    pgstow(&garage(), &["show", "latest", "--from", &store]).failed(6, &[]);
}

#[test]
fn the_environment_fills_in_what_the_arguments_leave_out() {
    let database = small("environment");
    let Some((folder, port)) = database.server.socket() else {
        pgstow_parts::say("the PG* variables are not tested: the user's own server may not be reached by them");
        return;
    };
    let store = garage().location(&garage().fresh_prefix("environment"));
    let run = |arguments: &[&str], host: &str| {
        let mut command = command(&garage());
        command.env("PGSTOW_STORE", &store).env("PGHOST", host).env("PGPORT", port.to_string());
        command.env("PGUSER", "postgres").env("PGDATABASE", &database.name);
        Ran::of(&command.args(arguments).output().unwrap())
    };
    let socket = folder.to_str().unwrap();
    for (arguments, host) in [
        (&["dump", "--json"][..], "127.0.0.1"),
        (&["dump", "--json"], socket),
        (&["dump", "--json", "-d", &database.name], "localhost"),
        (&["dump", "--json", "-d", &format!("dbname={} host='{socket}'", database.name)], "no-such-host"),
    ] {
        assert_eq!(run(arguments, host).fine().json()["rows"], 10);
    }
    assert_eq!(run(&["list", "--json"], "").fine().json()["backups"].as_array().unwrap().len(), 4);
}

#[test]
fn logs_are_json_lines_when_asked_for() {
    let database = small("logs");
    let store = garage().location(&garage().fresh_prefix("logs"));
    let ran =
        pgstow(&garage(), &["-v", "--log-format", "json", "dump", "-d", &database.url(), "--to", &store, "--json"]);
    let ran = ran.fine();
    assert!(!ran.stderr.is_empty());
    for line in ran.stderr.lines() {
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(line);
        assert!(parsed.is_ok(), "no JSON: {line}");
    }
}
