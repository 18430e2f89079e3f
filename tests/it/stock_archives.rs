//! `pgstow restore --archive` takes what stock `pg_dump` wrote, from a folder or a bucket.
//!
//! `stock-1.14` and `stock-1.14-inserts` are what `pg_dump` 15.18 wrote (`-Fd`, and with `--inserts --rows-per-insert=7`);
//! 12 to 15 write the same format. The tools of 16 and 18 write theirs while the tests run.

use std::fs;
use std::path::{Path, PathBuf};

use async_compression::tokio::write::{Lz4Encoder, ZstdEncoder};
use pgstow_parts::{Database, S3, garage, majors, oracle, say, server};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

use crate::support::{Backup, Ran, assert_same_data, assert_same_schema, no_store, pgstow, shop};

/// The folder of an archive that stock wrote just now; it goes when the first value does.
fn dumped_by_18(source: &Database, arguments: &[&str]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("archive");
    oracle().pg_dump(&source.url(), &[&["-Fd", "-f", archive.to_str().unwrap()], arguments].concat()).unwrap();
    (folder, archive)
}

/// Restores an archive from a folder.
#[track_caller]
fn restore(archive: &str, target: &Database, arguments: &[&str]) -> Ran {
    restore_from(&no_store(), archive, target, arguments)
}

#[track_caller]
fn restore_from(s3: &S3, archive: &str, target: &Database, arguments: &[&str]) -> Ran {
    pgstow(s3, &[&["restore", "--archive", archive, "-d", &target.url()], arguments].concat())
}

/// Restores an archive and holds the target against the source.
#[track_caller]
fn check(source: &Database, archive: &Path, arguments: &[&str]) {
    let target = Database::fresh(&source.server, "of_stock");
    let report = restore(archive.to_str().unwrap(), &target, &[&["--json"], arguments].concat()).fine().json();
    assert_eq!(report["backup"], Value::Null);
    assert!(report["warnings"][0].as_str().unwrap().starts_with("not verified: this is a stock archive"), "{report}");
    assert_same_data(source, &target);
    assert_same_schema(source, &target);
}

#[test]
fn an_archive_of_pg_dump_18_comes_back_the_same_whatever_its_compression() {
    let source = shop(&server(18), "stock_18");
    let (_gzip, archive) = dumped_by_18(&source, &["-j2", "--statistics"]);
    check(&source, &archive, &["-j", "3"]);
    let (_plain, archive) = dumped_by_18(&source, &["-Z0"]);
    check(&source, &archive, &[]);
    // The stock tools of the tests were built without these two, so their files are compressed afterwards.
    for suffix in ["lz4", "zst"] {
        compress(&archive, suffix);
        check(&source, &archive, &[]);
        decompress_by_name(&archive, suffix);
    }
}

/// Compresses every file but the lists, as `pg_dump -Z` would have; a file of zero bytes stays one, as an empty large
/// object is. The uncompressed files stay beside them under a name that nothing looks for.
fn compress(archive: &Path, suffix: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for path in data_files(archive) {
        let raw = fs::read(&path).unwrap();
        let compressed = runtime.block_on(async {
            if raw.is_empty() {
                return Vec::new();
            }
            if suffix == "lz4" {
                let mut encoder = Lz4Encoder::new(Vec::new());
                encoder.write_all(&raw).await.unwrap();
                encoder.shutdown().await.unwrap();
                encoder.into_inner()
            } else {
                let mut encoder = ZstdEncoder::new(Vec::new());
                encoder.write_all(&raw).await.unwrap();
                encoder.shutdown().await.unwrap();
                encoder.into_inner()
            }
        });
        fs::write(format!("{}.{suffix}", path.display()), compressed).unwrap();
        fs::rename(&path, format!("{}.kept", path.display())).unwrap();
    }
}

/// Takes back what [`compress`] did.
fn decompress_by_name(archive: &Path, suffix: &str) {
    for entry in fs::read_dir(archive).unwrap() {
        let path = entry.unwrap().path();
        let name = path.to_str().unwrap();
        if let Some(plain) = name.strip_suffix(".kept") {
            fs::rename(&path, plain).unwrap();
        } else if name.ends_with(&format!(".{suffix}")) {
            fs::remove_file(&path).unwrap();
        }
    }
}

/// The `.dat` files of an uncompressed archive, without its table of contents.
fn data_files(archive: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(archive).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|end| end == "dat") && !path.ends_with("toc.dat")).collect()
}

#[test]
fn an_archive_made_of_insert_statements_comes_back_as_stock_brings_it_back() {
    let source = shop(&server(18), "stock_inserts");
    let (_folder, archive) = dumped_by_18(&source, &["--column-inserts", "--rows-per-insert=3"]);
    // An INSERT says -0 where the row has a negative zero, which the server reads as an integer: stock loses the sign.
    let yardstick = Database::fresh(&source.server, "stock_inserts_by_stock");
    oracle().pg_restore18(&yardstick.url(), &archive, &["--exit-on-error"]).unwrap();
    check(&yardstick, &archive, &["-j", "4"]);
}

#[test]
fn an_archive_of_pg_dump_16_in_a_bucket_comes_back_the_same() {
    if !majors().contains(&16) {
        say(&format!("not tested on PostgreSQL 16: only {:?} is there", majors()));
        return;
    }
    let source = shop(&server(16), "stock_16");
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("archive");
    oracle().pg_dump16(&source.url(), &["-Fd", "-f", archive.to_str().unwrap()]).unwrap();
    let s3 = garage();
    let prefix = s3.fresh_prefix("stock");
    for entry in fs::read_dir(&archive).unwrap() {
        let entry = entry.unwrap();
        s3.put(&format!("{prefix}/{}", entry.file_name().to_str().unwrap()), fs::read(entry.path()).unwrap()).unwrap();
    }
    let target = Database::fresh(&source.server, "stock_16_target");
    restore_from(&s3, &s3.location(&prefix), &target, &[]).fine();
    assert_same_data(&source, &target);
    assert_same_schema(&source, &target);
    // It lies where backups may lie, and is none.
    let listing = pgstow(&s3, &["list", "--from", &s3.location(&prefix), "--json"]).fine().json();
    assert_eq!(listing["backups"], Value::Array(vec![]));
    pgstow(&s3, &["restore", "latest", "--from", &s3.location(&prefix), "-d", &target.url()]).failed(6, &["no backup"]);
}

#[test]
fn an_archive_of_pg_dump_15_is_restored_as_pg_restore_would() {
    let server = server(18);
    for name in ["stock-1.14", "stock-1.14-inserts"] {
        let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(name);
        let yardstick = Database::fresh(&server, "stock_15");
        oracle().pg_restore18(&yardstick.url(), &archive, &["--exit-on-error"]).unwrap();
        check(&yardstick, &archive, &[]);
    }
}

#[test]
fn names_and_rows_in_another_encoding_are_converted() {
    let server = server(18);
    let name = server.fresh_database("latin");
    server.execute("postgres", &format!("DROP DATABASE IF EXISTS {name}")).unwrap();
    let make = format!("CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    server.execute("postgres", &make).unwrap();
    let source = Database { server: server.clone(), name };
    source.execute(
        "CREATE TABLE \"Größe\" (\"ü\" text DEFAULT 'é'); INSERT INTO \"Größe\" VALUES ('naïve'), (E'b\\\\ä')",
    );
    for arguments in [&["-Z0"][..], &["--inserts"]] {
        let (_folder, archive) = dumped_by_18(&source, arguments);
        let target = Database::fresh(&server, "of_latin");
        restore(archive.to_str().unwrap(), &target, &[]).fine();
        assert_eq!(
            target.value("SELECT string_agg(\"ü\", ' ' ORDER BY \"ü\" COLLATE \"C\") FROM \"Größe\""),
            "b\\ä naïve"
        );
    }
}

#[test]
fn a_stock_archive_is_restored_in_part_clean_and_again() {
    let source = shop(&server(18), "stock_part");
    let (_folder, archive) = dumped_by_18(&source, &[]);
    let archive = archive.to_str().unwrap();
    let target = Database::fresh(&source.server, "stock_part_target");
    restore(archive, &target, &[]).fine();
    restore(archive, &target, &[]).failed(9, &["already has"]);
    restore(archive, &target, &["-c", "--if-exists"]).fine();
    assert_same_data(&source, &target);
    assert_same_schema(&source, &target);
    let part = Database::fresh(&source.server, "stock_part_one");
    restore(archive, &part, &["-t", "public.plain"]).fine();
    assert_eq!(part.value("SELECT count(*) FROM public.plain"), source.value("SELECT count(*) FROM public.plain"));
    let words = restore(archive, &part, &["--dry-run"]).fine().stdout;
    assert!(words.contains("table data public.plain") && words.contains("not verified"), "{words}");
}

#[test]
fn a_stock_archive_that_lost_bytes_or_files_is_not_restored_in_silence() {
    let source = Database::fresh(&server(18), "stock_cut");
    source.execute("CREATE TABLE t AS SELECT n, repeat('x', 20) AS text FROM generate_series(1, 1000) n");
    for arguments in [&["-Z0"][..], &["-Z0", "--inserts"]] {
        let (_folder, archive) = dumped_by_18(&source, arguments);
        let [file] = data_files(&archive).try_into().unwrap();
        let whole = fs::read(&file).unwrap();
        let line_end = whole[..whole.len() / 2].iter().rposition(|&byte| byte == b'\n').unwrap() + 1;
        for length in [whole.len() - 1, line_end, 0] {
            fs::write(&file, &whole[..length]).unwrap();
            let target = Database::fresh(&source.server, "stock_cut_target");
            restore(archive.to_str().unwrap(), &target, &[]).failed(6, &[file.file_name().unwrap().to_str().unwrap()]);
            assert_eq!(target.value("SELECT count(*) FROM t"), "0", "cut to {length}");
        }
        fs::remove_file(&file).unwrap();
        let target = Database::fresh(&source.server, "stock_gone_target");
        restore(archive.to_str().unwrap(), &target, &[]).failed(6, &["table data public.t", "missing"]);
    }
}

#[test]
fn an_unfinished_backup_is_not_taken_for_a_stock_archive_unless_the_user_says_so() {
    let s3 = garage();
    let source = Database::fresh(&server(18), "unfinished");
    source.execute("CREATE TABLE t AS SELECT 1 AS a");
    let backup = Backup::make(&s3, &source, &[]);
    let folder = s3.location(backup.folder().trim_end_matches('/'));
    let target = Database::fresh(&source.server, "unfinished_target");
    let report = restore_from(&s3, &folder, &target, &["--json"]).fine().json();
    assert_eq!((&report["backup"], &report["warnings"]), (&Value::from(backup.id.clone()), &Value::Array(vec![])));
    s3.delete(&format!("{}manifest.json", backup.folder())).unwrap();
    let target = Database::fresh(&source.server, "unfinished_target");
    restore_from(&s3, &folder, &target, &[]).failed(6, &["never finished", "--without-manifest"]);
    restore_from(&s3, &folder, &target, &["--without-manifest"]).fine();
    assert_same_data(&source, &target);
}
