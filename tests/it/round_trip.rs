//! Dump and restore give the same database: every version, codec and number of workers, and from old to new.

use pgstow_parts::{Database, compare, fixtures, garage, majors, oracle, say, server};
use serde_json::Value;

use crate::support::{Backup, assert_same_data, assert_same_schema, assert_same_script, pgstow, shop};

/// Dumps the shop of one version to the store and restores it into a second database of the same server.
fn check(major: u16, codec: &str) {
    if !majors().contains(&major) {
        say(&format!("not tested on PostgreSQL {major}: only {:?} is there", majors()));
        return;
    }
    let server = server(major);
    let source = shop(&server, &format!("round_{major}"));
    let backup = Backup::make(&garage(), &source, &["-Z", codec, "-j", "3"]);
    assert_eq!(backup.report["warnings"], Value::Array(vec![]));
    assert_eq!(backup.report["skipped"], Value::Array(vec![]));

    let target = Database::fresh(&server, "round_target");
    let report = backup.restore(&target, &["-j", "3", "--json"]).fine().json();
    assert_eq!(report["rows"], backup.report["rows"]);
    assert_same_data(&source, &target);
    assert_same_schema(&source, &target);
    let schema = |database: &Database| compare::schema(&server, &database.name).unwrap();
    let lines = compare::differences(&schema(&source), &schema(&target));
    assert!(lines.is_empty(), "differences in the catalogs:\n{}", lines.join("\n"));
}

#[test]
fn a_shop_of_12_comes_back_the_same() {
    check(12, "gzip:6");
}

#[test]
fn a_shop_of_13_comes_back_the_same() {
    check(13, "none");
}

#[test]
fn a_shop_of_14_comes_back_the_same() {
    check(14, "lz4");
}

#[test]
fn a_shop_of_15_comes_back_the_same() {
    check(15, "zstd:1");
}

#[test]
fn a_shop_of_16_comes_back_the_same() {
    check(16, "gzip:1");
}

#[test]
fn a_shop_of_17_comes_back_the_same() {
    check(17, "zstd:9");
}

#[test]
fn a_shop_of_18_comes_back_the_same() {
    check(18, "zstd:3");
}

#[test]
fn a_shop_of_19_comes_back_the_same() {
    check(19, "zstd:2");
}

/// Dumps the shop of an older server, restores it into a newer one, and holds it against what the stock tools make there.
fn check_move(from: u16, to: u16) {
    if !(majors().contains(&from) && majors().contains(&to)) {
        say(&format!("not tested from {from} to {to}: only one server is there"));
        return;
    }
    let (old, new) = (server(from), server(to));
    let source = shop(&old, "old_shop");
    let backup = Backup::make(&garage(), &source, &[]);
    let target = Database::fresh(&new, "new_shop");
    ensure_roles(&new);
    backup.restore(&target, &[]).fine();
    assert_same_data(&source, &target);

    // pg_get_viewdef and its kin word things otherwise in newer servers, so the yardstick is a restore by the stock tools.
    let yardstick = Database::fresh(&new, "stock_shop");
    let script = oracle().pg_dump(&source.url(), &[]).unwrap();
    // pg_dump 18 always sets what servers before 17 do not know.
    let mut script = script.replace("SET transaction_timeout = 0;\n", "");
    if to < 15 {
        script = script.replace("    LOGGED\n", "");
    }
    oracle().psql(&yardstick.url(), &script).unwrap();
    // Before 15 no sequence was unlogged, and stock makes that of an unlogged table's identity a logged one; pgstow lets the
    // table decide.
    let schema = |database: &Database| {
        let script = oracle().schema(&database.url()).unwrap();
        script.lines().filter(|line| from >= 15 || *line != "    LOGGED").collect::<Vec<_>>().join("\n")
    };
    assert_same_script(&schema(&yardstick), &schema(&target));
    assert_same_data(&yardstick, &target);
}

#[test]
fn a_shop_of_12_in_an_18_is_what_stock_tools_make_of_it() {
    check_move(12, 18);
}

#[test]
fn a_shop_of_13_in_a_16_is_what_stock_tools_make_of_it() {
    check_move(13, 16);
}

#[test]
fn a_shop_of_14_in_a_17_is_what_stock_tools_make_of_it() {
    check_move(14, 17);
}

#[test]
fn a_shop_of_12_in_a_13_is_what_stock_tools_make_of_it() {
    check_move(12, 13);
}

#[test]
fn a_shop_of_15_in_an_18_is_what_stock_tools_make_of_it() {
    check_move(15, 18);
}

#[test]
fn a_shop_of_17_in_an_18_is_what_stock_tools_make_of_it() {
    check_move(17, 18);
}

#[test]
fn a_shop_of_16_in_an_18_is_what_stock_tools_make_of_it() {
    check_move(16, 18);
}

/// Roles belong to a server and not to a backup; loading the fixture once is what makes them.
fn ensure_roles(server: &pgstow_parts::Server) {
    let scratch = Database::fresh(server, "roles");
    fixtures::load_shop(server, &scratch.name).unwrap();
}

#[test]
fn any_codec_and_any_number_of_workers_restore_the_same() {
    let server = server(18);
    let source = shop(&server, "codecs");
    for (codec, dumpers, loaders) in
        [("none", "1", "8"), ("lz4", "8", "1"), ("gzip:9", "2", "2"), ("zstd:19", "5", "4")]
    {
        let backup = Backup::make(&garage(), &source, &["-Z", codec, "-j", dumpers]);
        let target = Database::fresh(&server, "codecs_target");
        backup.restore(&target, &["-j", loaders]).fine();
        assert_same_data(&source, &target);
        assert_same_schema(&source, &target);
    }
}

#[test]
fn a_folder_is_as_good_a_store_as_a_bucket() {
    let server = server(18);
    let source = shop(&server, "to_folder");
    let folder = tempfile::tempdir().unwrap();
    let store = format!("file://{}", folder.path().display());
    pgstow(&garage(), &["dump", "-d", &source.url(), "--to", &store]).fine();
    let target = Database::fresh(&server, "from_folder");
    pgstow(&garage(), &["restore", "latest", "--from", &store, "-d", &target.url()]).fine();
    assert_same_data(&source, &target);
    assert_same_schema(&source, &target);
}

#[test]
fn a_restored_database_dumps_to_the_same_again() {
    let server = server(18);
    let first = shop(&server, "first");
    let one = Backup::make(&garage(), &first, &[]);
    let second = Database::fresh(&server, "second");
    one.restore(&second, &[]).fine();
    let two = Backup::make(&garage(), &second, &[]);
    for count in ["tables", "rows", "raw_bytes"] {
        assert_eq!(one.report[count], two.report[count], "{count}");
    }
    let third = Database::fresh(&server, "third");
    two.restore(&third, &[]).fine();
    assert_same_data(&first, &third);
    assert_same_schema(&first, &third);
}

#[test]
fn an_empty_database_comes_back_empty() {
    let server = server(18);
    let source = Database::fresh(&server, "empty");
    let backup = Backup::make(&garage(), &source, &[]);
    assert_eq!(backup.report["rows"], 0);
    let target = Database::fresh(&server, "empty_target");
    backup.restore(&target, &[]).fine();
    let schema = |database: &Database| oracle().schema(&database.url()).unwrap();
    assert_same_script(&schema(&source), &schema(&target));
}

#[test]
fn a_table_of_many_frames_and_parts_comes_back_whole() {
    let server = server(18);
    let source = Database::fresh(&server, "many_frames");
    source.execute(
        "CREATE TABLE wide (id integer PRIMARY KEY, t text);
         INSERT INTO wide SELECT n, repeat(md5(n::text), 100 + n % 900) FROM generate_series(1, 4000) n;
         CREATE TABLE narrow (id integer);
         INSERT INTO narrow SELECT generate_series(1, 500000);
         ANALYZE",
    );
    let backup = Backup::make(&garage(), &source, &["-Z", "none", "-j", "4"]);
    assert_eq!(backup.report["rows"], 504_000);
    let target = Database::fresh(&server, "many_target");
    backup.restore(&target, &["-j", "4"]).fine();
    assert_same_data(&source, &target);
}

#[test]
fn a_database_with_an_awkward_name_comes_back() {
    let server = server(18);
    let source = Database::fresh(&server, "it's \"50%\" /\\é 😀");
    source.execute("CREATE TABLE t AS SELECT 1 AS one");
    let prefix = garage().fresh_prefix("awkward");
    let store = garage().location(&prefix);
    let dumped = pgstow(&garage(), &["dump", "-d", &source.url(), "--to", &store, "--json"]).fine().json();
    assert_eq!(dumped["database"], source.name.as_str());
    let target = Database::fresh(&server, "awkward_target");
    pgstow(&garage(), &["restore", "latest", "--from", &store, "-d", &target.url()]).fine();
    assert_same_data(&source, &target);
}

#[test]
fn one_snapshot_holds_although_rows_change_during_the_dump() {
    let server = server(18);
    let source = Database::fresh(&server, "moving");
    source.execute(
        "CREATE TABLE a (id integer PRIMARY KEY, filler text); CREATE TABLE b (id integer REFERENCES a, filler text);
         INSERT INTO a SELECT n, repeat('a', 500) FROM generate_series(1, 20000) n;
         INSERT INTO b SELECT n, repeat('b', 500) FROM generate_series(1, 20000) n",
    );
    let (stop, mover) = (std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)), source.name.clone());
    let (told, servers) = (std::sync::Arc::clone(&stop), server.clone());
    let moving = std::thread::spawn(move || {
        let mut number = 20001;
        while !told.load(std::sync::atomic::Ordering::Relaxed) {
            let step = format!("INSERT INTO a VALUES ({number}); INSERT INTO b VALUES ({number})");
            servers.execute(&mover, &step).unwrap();
            number += 1;
        }
    });
    let backup = Backup::make(&garage(), &source, &["-j", "2"]);
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    moving.join().unwrap();
    let target = Database::fresh(&server, "moved");
    // The foreign key itself says whether both tables are of one moment.
    backup.restore(&target, &[]).fine();
    assert_eq!(target.value("SELECT count(*) FROM a"), target.value("SELECT count(*) FROM b"));
}

#[test]
fn a_shop_of_12_in_a_19_is_what_stock_tools_make_of_it() {
    check_move(12, 19);
}

#[test]
fn a_shop_of_18_in_a_19_is_what_stock_tools_make_of_it() {
    check_move(18, 19);
}
