//! Selections that need more than a database: rows of another server, and a provider of security labels.

use pgstow_parts::{Database, Server, majors, oracle, say, server};

use crate::databases;
use crate::selection_table::{Before, check};
use crate::support::{LocalBackup, Ran, no_store, pgstow};

/// The blocks of rows of a script: each COPY statement with what follows it, in the order of names.
fn rows_of(script: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    let mut is_within = false;
    for line in script.lines() {
        if line.starts_with("COPY ") {
            is_within = true;
            blocks.push(String::new());
        }
        if let (true, Some(block)) = (is_within, blocks.last_mut()) {
            block.push_str(line);
            block.push('\n');
        }
        is_within &= line != "\\.";
    }
    blocks.sort();
    blocks
}

/// A database with foreign tables on two servers, which both are the one that it is on.
fn with_far_tables(server: &Server) -> Database {
    let database = Database::fresh(server, "far");
    let (folder, port) = server.socket().unwrap();
    let options = format!("OPTIONS (host '{}', port '{port}', dbname '{}')", folder.display(), database.name);
    database.execute(&format!(
        "CREATE EXTENSION postgres_fdw;
         CREATE TABLE near (id integer, \"B b\" text, twice integer GENERATED ALWAYS AS (id * 2) STORED);
         INSERT INTO near VALUES (1, 'one'), (2, E'it''s \\\\ \\t'), (NULL, NULL);
         CREATE SERVER one FOREIGN DATA WRAPPER postgres_fdw {options};
         CREATE SERVER \"O'ther; \"\"--\" FOREIGN DATA WRAPPER postgres_fdw {options};
         CREATE SERVER idle FOREIGN DATA WRAPPER postgres_fdw {options};
         CREATE USER MAPPING FOR CURRENT_USER SERVER one;
         CREATE USER MAPPING FOR CURRENT_USER SERVER \"O'ther; \"\"--\";
         CREATE FOREIGN TABLE far (id integer, \"B b\" text, twice integer GENERATED ALWAYS AS (id * 2) STORED)
             SERVER one OPTIONS (table_name 'near');
         CREATE FOREIGN TABLE \"Far; 'too\" (\"B b\" text, id integer) SERVER \"O'ther; \"\"--\" OPTIONS (table_name 'near');
         CREATE FOREIGN TABLE bare () SERVER one OPTIONS (table_name 'near')"
    ));
    database
}

#[test]
fn rows_of_foreign_tables_come_along_where_their_server_is_named() {
    for major in [13, 18] {
        if !majors().contains(&major) || server(major).socket().is_none() {
            say(&format!("rows of foreign tables are not tested on PostgreSQL {major}: it is not a server of ours"));
            continue;
        }
        let source = with_far_tables(&server(major));
        let choices: [&[&str]; 5] = [
            &["--include-foreign-data", "one"],
            &["--include-foreign-data", "\"O'\"*", "-a"],
            &["--include-foreign-data", "*", "--exclude-table-data", "public.far"],
            &["--include-foreign-data", "*", "-t", "*\"Far\"*"],
            &["--include-foreign-data", "idle"],
        ];
        let mut found = Vec::new();
        for arguments in choices {
            let backup = LocalBackup::make(&source, arguments);
            let ours = rows_of(&backup.run("export", &["-f", "-"]).fine().stdout);
            assert_eq!(ours, rows_of(&oracle().pg_dump(&source.url(), arguments).unwrap()), "{arguments:?}");
            found.push(ours.len());
        }
        assert_eq!(found, [3, 2, 3, 1, 1]);

        // They go back through the foreign table, into what is behind it.
        let target = Database::fresh(&source.server, "far_target");
        let backup = LocalBackup::make(&source, &["--include-foreign-data", "one", "-T", "bare"]);
        backup.run("restore", &["-d", &target.url()]).fine();
        assert_eq!(source.value("SELECT count(*) FROM near"), "6");
        assert_eq!(target.value("SELECT count(*) FROM near"), "3");
    }
}

#[test]
fn a_filter_names_servers_and_an_unknown_one_is_refused_as_pg_dump_refuses_it() {
    let server = server(18);
    let source = Database::fresh(&server, "far_filter");
    source.execute("CREATE EXTENSION postgres_fdw; CREATE SERVER one FOREIGN DATA WRAPPER postgres_fdw");
    let folder = tempfile::tempdir().unwrap();
    let store = format!("file://{}", folder.path().join("store").display());
    let dump = |arguments: &[&str]| -> Ran {
        let fixed = ["dump", "-d", &source.url(), "--to", &store];
        pgstow(&no_store(), &[&fixed[..], arguments].concat())
    };
    let filter = folder.path().join("filter");
    let filtered = |line: &str| {
        std::fs::write(&filter, line).unwrap();
        dump(&["--filter", filter.to_str().unwrap()])
    };
    filtered("include foreign_data one\n").fine();
    filtered("include foreign_data two\n").failed(2, &["no matching foreign servers", "two"]);
    filtered("exclude foreign_data one\n").failed(2, &["line 1", "exclude foreign_data"]);
    filtered("exclude database other\n").failed(2, &["leaves out databases"]);
    dump(&["--include-foreign-data", "one", "-s"]).failed(2, &["schema only and foreign data"]);
    let refused = oracle().pg_dump(&source.url(), &["--include-foreign-data", "two"]).unwrap_err();
    assert!(refused.contains("no matching foreign servers"), "{refused}");
}

#[test]
fn security_labels_are_left_out_as_pg_dump_leaves_them_out() {
    for major in [16, 18] {
        let Some(server) = databases::own(major) else { continue };
        if !databases::provide_labels(&server) {
            continue;
        }
        let source = databases::source(&server, "ENCODING 'UTF8'", &["labels"]);
        assert!(oracle().schema(&source.url()).unwrap().contains("SECURITY LABEL FOR "), "nothing is labelled");
        let choices: [&[&str]; 4] = [
            &["--no-security-labels"],
            &["--no-security-labels", "-n", "labels", "-T", "labels.far"],
            &["--no-security-labels", "--no-comments", "--no-publications", "--no-subscriptions"],
            &["-n", "labels", "-T", "labels.far"],
        ];
        for arguments in choices {
            check(&source, &Before::Nothing, arguments);
        }
    }
}
