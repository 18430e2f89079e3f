//! The budget for memory holds for every verb that moves rows, whatever the rows, the tables and the connections.

use pgstow_parts::{Database, garage, server};

use crate::data_plane::measured;
use crate::support::{Backup, assert_same_data};

/// Rows wider than the whole budget, a thousand small tables, large objects, and what cannot be compressed.
fn source() -> Database {
    let database = Database::fresh(&server(18), "budget");
    database.execute(
        "CREATE TABLE wide (t text); INSERT INTO wide SELECT repeat('x', 140 << 20) FROM generate_series(1, 2);
         CREATE TABLE noise (b bytea); ALTER TABLE noise ALTER b SET STORAGE EXTERNAL;
         INSERT INTO noise SELECT decode(string_agg(md5((n * 1000 + m)::text), ''), 'hex')
             FROM generate_series(1, 500) n, generate_series(1, 2000) m GROUP BY n;
         DO $$ BEGIN FOR n IN 1..1000 LOOP
             EXECUTE format('CREATE TABLE small_%s (id integer PRIMARY KEY, t text)', n);
             EXECUTE format('INSERT INTO small_%s SELECT m, md5(m::text) FROM generate_series(1, 20) m', n);
         END LOOP; END $$;
         SELECT count(lo_from_bytea(0, convert_to(repeat('y', 900000), 'UTF8'))) FROM generate_series(1, 40);
         SELECT lo_from_bytea(0, convert_to(repeat('z', 24 << 20), 'UTF8'))",
    );
    database
}

/// What the program itself may hold of a budget, as the documentation says; a debug build's code takes more, which is measured.
const PROGRAM: u64 = 28;

#[test]
fn everything_that_moves_rows_keeps_within_its_budget_with_eight_connections() {
    let (s3, database) = (garage(), source());
    let made = Backup::make(&s3, &database, &[]);
    let room = tempfile::tempdir().unwrap();
    let path = |name: &str| room.path().join(name).display().to_string();
    let store = s3.location(&s3.fresh_prefix("budget"));
    let (url, target) = (database.url(), Database::fresh(&database.server, "budget_target"));
    let (into, copied) = (target.url(), format!("file://{}", path("copied")));
    let (folder, script) = (path("folder"), path("script.sql"));
    // The least that there is.
    let budget = ["--memory", "64MiB", "-j", "8"];
    let with = |arguments: &[&'static str]| arguments.to_vec();
    let runs: [Vec<&str>; 8] = [
        [&["dump", "-d", &url, "--to", &store][..], &budget].concat(),
        [&["dump", "-d", &url, "--to", &store, "-Z", "none", "--split-above", "1MiB"][..], &budget].concat(),
        [&["restore", "latest", "--from", &store, "-d", &into, "--verify"][..], &budget].concat(),
        [&["copy", "latest", "--from", &store, "--to", &copied][..], &budget].concat(),
        [&["verify", "latest", "--from", &store][..], &with(&["-j", "8"])].concat(),
        vec!["verify", "latest", "--from", &store, "--quick"],
        vec!["export", "latest", "--from", &store, "-F", "directory", "-f", &folder],
        vec!["export", "latest", "--from", &store, "-f", &script],
    ];
    let mut peaks = Vec::new();
    for arguments in &runs {
        let (ran, peak) = measured(&made, arguments);
        ran.fine();
        assert!(peak > 0);
        peaks.push((arguments.join(" "), peak >> 20));
    }
    let (idle, least) = measured(&made, &["list", "--from", &store]);
    idle.fine();
    let program = (least >> 20).max(PROGRAM);
    assert!(program < 40, "a command that moves nothing held {program} MiB");
    let allowed = 64 + program - PROGRAM;
    assert!(peaks.iter().all(|(_, mebibytes)| *mebibytes <= allowed), "{allowed}: {peaks:#?}");
    assert_same_data(&database, &target);
}
