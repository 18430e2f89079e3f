//! Large tables: read in ranges, cut into segments, within the memory that was allowed.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use pgstow_parts::{Database, Proxy, S3, garage, oracle, server};

use crate::faults::address;
use crate::support::{Backup, Ran, assert_same_data, assert_same_schema, command, files_of_rows, pgstow};

/// Two tables that refer to one another, the larger one of about 20 MiB, with what breaks frames: wide rows, empty rows,
/// backslashes, line ends.
fn large(major: u16, hint: &str) -> Database {
    let database = Database::fresh(&server(major), hint);
    database.execute(
        "CREATE TABLE large (id integer PRIMARY KEY, t text);
         INSERT INTO large SELECT n, CASE n % 5 WHEN 0 THEN '' WHEN 1 THEN NULL WHEN 2 THEN E'\\\\.\\n' ELSE
             (SELECT string_agg(md5((n * m)::text), '') FROM generate_series(1, 12) m) END FROM generate_series(1, 80000) n;
         INSERT INTO large SELECT -n, repeat(md5(n::text), 50000) FROM generate_series(1, 3) n;
         CREATE INDEX ON large (length(t));
         CREATE TABLE small (id integer REFERENCES large);
         INSERT INTO small SELECT generate_series(1, 1000)",
    );
    database
}

/// Runs pgstow and gives the most memory that it ever held, in bytes, beside how it ended.
pub(crate) fn measured(backup: &Backup, arguments: &[&str]) -> (Ran, u64) {
    let mut command = command(&backup.s3);
    let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        // The line is gone when the process is; the mark never falls.
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let mark = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = mark.and_then(|mark| mark.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = kibibytes.map_or(peak, |kibibytes| kibibytes * 1024);
        std::thread::sleep(Duration::from_millis(3));
    }
    (Ran::of(&child.wait_with_output().unwrap()), peak)
}

#[test]
fn a_table_read_in_ranges_comes_back_whole() {
    for major in [13, 18] {
        let source = large(major, "ranges");
        let backup = Backup::make(&garage(), &source, &["-j", "4", "--split-above", "256KiB"]);
        let target = Database::fresh(&source.server, "ranges_target");
        backup.restore(&target, &["-j", "3"]).fine();
        assert_same_data(&source, &target);
    }
}

#[test]
fn a_table_loaded_over_several_connections_comes_back_whole_and_damage_in_any_slice_is_found() {
    let source = Database::fresh(&server(18), "slices");
    // About 100 MiB of text that needs little room.
    source.execute(
        "CREATE TABLE long (id integer PRIMARY KEY, t text); CREATE TABLE other (id integer REFERENCES long);
         INSERT INTO long SELECT n, repeat(md5(n::text), 40) FROM generate_series(1, 80000) n;
         INSERT INTO other SELECT generate_series(1, 1000);
         CREATE INDEX ON long (md5(t)); CREATE INDEX ON long (length(t))",
    );
    let backup = Backup::make(&garage(), &source, &["-j", "2", "-Z", "lz4"]);
    let target = Database::fresh(&source.server, "slices_target");
    let report = backup.restore(&target, &["-j", "6", "--json"]).fine().json();
    assert_eq!((&report["tables"], &report["rows"]), (&2.into(), &81_000.into()));
    assert_same_data(&source, &target);
    assert_same_schema(&source, &target);
    let manifest = backup.s3.get(&format!("{}manifest.json", backup.folder())).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let table = manifest["tables"].as_array().unwrap().iter().find(|table| table["name"] == "long").unwrap();
    let key = format!("{}{}", backup.folder(), table["object"]["key"].as_str().unwrap());
    let whole = backup.s3.get(&key).unwrap();
    for place in [whole.len() / 9, whole.len() / 2, whole.len() - 3] {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        backup.s3.put(&key, damaged).unwrap();
        let target = Database::fresh(&source.server, "slices_damaged");
        backup.restore(&target, &["-j", "5"]).failed(6, &["dat.lz4"]);
    }
}

#[test]
fn what_does_not_fit_in_one_object_goes_into_segments_that_stock_restores_too() {
    let source = large(18, "segments");
    let cut = ["-Z", "none", "-j", "3", "--split-above", "1MiB", "--part-size", "5MiB", "--max-parts", "1"];
    let backup = Backup::make(&garage(), &source, &cut);
    let shown = pgstow(&backup.s3, &["show", &backup.id, "--from", &backup.store(), "--json"]).fine().json();
    assert_eq!(shown["totals"]["tables"], 2, "segments are no tables");
    let folder = tempfile::tempdir().unwrap();
    backup.s3.download(&backup.folder(), folder.path()).unwrap();
    let files = files_of_rows(folder.path());
    let is_further = |file: &&PathBuf| file.file_name().unwrap().to_string_lossy().contains('-');
    // 17 MiB in objects of 5 MiB, but an object never ends within a row, and some rows have 1.5 MiB.
    assert!(files.iter().filter(is_further).count() >= 2, "{files:?}");
    for jobs in ["1", "4"] {
        let target = Database::fresh(&source.server, "segments_stock");
        oracle().pg_restore18(&target.url(), folder.path(), &["--exit-on-error", "-j", jobs]).unwrap();
        assert_same_data(&source, &target);
        assert_same_schema(&source, &target);
    }
    let target = Database::fresh(&source.server, "segments_own");
    let report = backup.restore(&target, &["-j", "4", "--verify", "--json"]).fine().json();
    assert_eq!([&report["tables"], &report["verified"]["tables"]], [2, 2], "{report}");
    assert_same_data(&source, &target);
    assert_same_schema(&source, &target);
}

#[test]
fn memory_stays_within_the_budget_whatever_the_rows_and_the_connections() {
    let source = Database::fresh(&server(18), "memory");
    // Four rows of 24 MiB, which the server stores in little room, and 13 MiB that cannot be compressed.
    source.execute(
        "CREATE TABLE wide (t text); INSERT INTO wide SELECT repeat('x', 24 << 20) FROM generate_series(1, 4);
         CREATE TABLE noise (b bytea); ALTER TABLE noise ALTER b SET STORAGE EXTERNAL;
         INSERT INTO noise SELECT decode(string_agg(md5((n * 1000 + m)::text), ''), 'hex')
             FROM generate_series(1, 400) n, generate_series(1, 2000) m GROUP BY n",
    );
    let s3 = garage();
    let backup = Backup::make(&s3, &source, &[]);
    let budget = 96 << 20;
    let store = s3.location(&s3.fresh_prefix("memory_measured"));
    for jobs in ["1", "16"] {
        let fixed = ["dump", "-d", &source.url(), "--to", &store, "--memory", "96MiB", "-j", jobs];
        let (ran, peak) = measured(&backup, &[fixed.as_slice(), &["--split-above", "1MiB", "-Z", "zstd:1"]].concat());
        ran.fine();
        assert!(peak > 0 && peak <= budget, "a dump with -j {jobs} held {} MiB", peak >> 20);
    }
    let target = Database::fresh(&source.server, "memory_target");
    let url = target.url();
    let latest = ["restore", "latest", "--from", &store, "-d", &url, "--memory", "96MiB", "-j", "16"];
    let (ran, peak) = measured(&backup, &latest);
    ran.fine();
    assert!(peak > 0 && peak <= budget, "a restore held {} MiB", peak >> 20);
    assert_same_data(&source, &target);
}

#[test]
fn no_object_passes_the_limit_of_its_store_however_wide_its_rows_are() {
    let database = Database::fresh(&server(18), "limits");
    database.execute(
        "CREATE TABLE wide AS SELECT n AS id, repeat(md5(n::text), 180000) AS text FROM generate_series(1, 9) n;
         CREATE TABLE narrow AS SELECT n AS id, md5(n::text) AS text FROM generate_series(1, 600000) n",
    );
    let limits = ["-Z", "none", "-j", "2", "--part-size", "5MiB", "--max-parts", "3", "--split-above", "1MiB"];
    let backup = Backup::make(&garage(), &database, &limits);
    let objects = backup.s3.keys(&backup.prefix).unwrap();
    assert!(objects.len() > 6, "{objects:?}");
    let shown = pgstow(&backup.s3, &["show", &backup.id, "--from", &backup.store(), "--json"]).fine().json();
    let sizes: Vec<u64> =
        shown["tables"].as_array().unwrap().iter().map(|table| table["object"]["bytes"].as_u64().unwrap()).collect();
    assert!(sizes.iter().all(|&bytes| bytes <= 15 << 20), "{sizes:?}");
    let target = Database::fresh(&database.server, "limits_target");
    backup.restore(&target, &["--verify"]).fine();
    assert_same_data(&database, &target);
}

#[test]
fn rows_wider_than_half_an_object_share_none_that_could_not_hold_them() {
    let database = Database::fresh(&server(18), "half");
    // What is on the wire, in MiB: 9, 0.5, 8, 0.5, 14.9, 0.5, 7.6, 7.6; an object holds 15.
    database.execute(
        "CREATE TABLE wide (id serial, text text);
         INSERT INTO wide (text) SELECT repeat(md5(k::text), k * 1024) FROM unnest(ARRAY[288, 16, 256, 16, 476, 16, 243, 243]) k",
    );
    let limits = ["-Z", "none", "--part-size", "5MiB", "--max-parts", "3"];
    for jobs in ["1", "3"] {
        let backup =
            Backup::make(&garage(), &database, &[&limits[..], &["-j", jobs, "--split-above", "64KiB"]].concat());
        let shown = pgstow(&backup.s3, &["show", &backup.id, "--from", &backup.store(), "--json"]).fine().json();
        let tables = shown["tables"].as_array().unwrap();
        let sizes: Vec<u64> = tables.iter().map(|table| table["object"]["bytes"].as_u64().unwrap()).collect();
        assert!(sizes.len() >= 4 && sizes.iter().all(|&bytes| bytes <= 15 << 20), "{sizes:?}");
        if jobs == "1" {
            let rows: Vec<u64> = tables.iter().map(|table| table["rows"].as_u64().unwrap()).collect();
            assert_eq!(rows, [2, 2, 1, 2, 1], "{sizes:?}");
        }
        pgstow(&backup.s3, &["verify", &backup.id, "--from", &backup.store()]).fine();
        let target = Database::fresh(&database.server, "half_target");
        backup.restore(&target, &["--verify"]).fine();
        assert_same_data(&database, &target);
    }
}

#[test]
fn what_no_object_of_the_store_can_hold_is_refused_in_words_before_the_store_does_it() {
    let (s3, database) = (garage(), Database::fresh(&server(18), "too_wide"));
    database.execute("CREATE TABLE wide AS SELECT repeat(md5('x'), 512 * 1024) AS text");
    let prefix = s3.fresh_prefix("too_wide");
    let (url, store) = (database.url(), s3.location(&prefix));
    let limits = ["dump", "-d", &url, "--to", &store, "--part-size", "5MiB", "--max-parts", "3", "-Z"];
    let words = ["public.wide", "a row is wider than one object may be here", "--part-size"];
    pgstow(&s3, &[&limits[..], &["none"]].concat()).failed(2, &words);
    assert_eq!(s3.keys(&prefix).unwrap(), Vec::<String>::new());
    assert_eq!(s3.open_uploads(&prefix).unwrap(), Vec::<String>::new());
    // Compressed, it fits.
    pgstow(&s3, &[&limits[..], &["zstd:1"]].concat()).fine();
    pgstow(&s3, &["verify", "latest", "--from", &store]).fine();
    database.execute("DROP TABLE wide; SELECT lo_from_bytea(4711, convert_to(repeat(md5('x'), 512 * 1024), 'UTF8'))");
    let prefix = s3.fresh_prefix("too_large");
    let store = s3.location(&prefix);
    let limits = ["dump", "-d", &url, "--to", &store, "--part-size", "5MiB", "--max-parts", "3", "-Z", "none"];
    pgstow(&s3, &limits).failed(2, &["large object 4711", "is larger than the 3 parts", "--part-size"]);
    assert_eq!(s3.keys(&prefix).unwrap(), Vec::<String>::new());
    assert_eq!(s3.open_uploads(&prefix).unwrap(), Vec::<String>::new());
}

#[test]
fn a_dump_asks_its_store_no_more_often_than_parts_of_8_mib_would() {
    let s3 = garage();
    let database = Database::fresh(&server(18), "requests");
    database.execute(
        "CREATE TABLE big AS SELECT n AS id, decode(string_agg(md5(n || '/' || m), ''), 'hex') AS bytes
             FROM generate_series(1, 1500) n, generate_series(1, 1024) m GROUP BY n;
         CREATE TABLE small AS SELECT 1 AS id",
    );
    let proxy = Proxy::before(&address(&s3.endpoint)).unwrap();
    let through = S3 { endpoint: format!("http://{}", proxy.address), ..s3.clone() };
    let backup = Backup::make(&through, &database, &["-Z", "none"]);
    let stored = backup.report["stored_bytes"].as_u64().unwrap();
    // A part each, a beginning and an end; the small table, globals and contents one each; the manifest, which is looked for before; a look for
    // backups of another server.
    let most = usize::try_from(stored.div_ceil(8 << 20)).unwrap() + 2 + 3 + 3 + 1;
    assert!(
        stored > 40 << 20 && proxy.requests() <= most,
        "{} requests for {stored} bytes, {most} expected",
        proxy.requests()
    );
}
