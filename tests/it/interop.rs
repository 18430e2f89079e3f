//! Stock `pg_restore` takes what pgstow wrote, after a plain download.

use std::collections::BTreeSet;
use std::path::Path;

use pgstow_parts::{Database, garage, majors, oracle, say, server};

use crate::support::{Backup, assert_same_data, assert_same_schema, shop};

/// Dumps the shop, downloads the backup, and lets a stock `pg_restore` restore it.
fn check(major: u16, codec: &str, restore: impl Fn(&str, &Path) -> Result<String, String>) {
    if !majors().contains(&major) {
        say(&format!("not tested on PostgreSQL {major}: only {:?} is there", majors()));
        return;
    }
    let server = server(major);
    let source = shop(&server, &format!("interop_{major}"));
    let backup = Backup::make(&garage(), &source, &["-Z", codec]);
    let folder = tempfile::tempdir().unwrap();
    backup.s3.download(&backup.folder(), folder.path()).unwrap();
    let target = Database::fresh(&server, "interop_target");
    restore(&target.url(), folder.path()).unwrap();
    assert_same_data(&source, &target);
    assert_same_schema(&source, &target);
}

#[test]
fn pg_restore_18_restores_an_uncompressed_backup_of_18() {
    check(18, "none", |url, folder| oracle().pg_restore18(url, folder, &["--exit-on-error"]));
}

#[test]
fn pg_restore_18_restores_a_gzip_backup_with_several_jobs() {
    check(18, "gzip:6", |url, folder| oracle().pg_restore18(url, folder, &["--exit-on-error", "-j", "4"]));
}

#[test]
fn pg_restore_18_restores_a_backup_in_one_transaction() {
    check(17, "gzip:1", |url, folder| oracle().pg_restore18(url, folder, &["--single-transaction"]));
}

#[test]
fn pg_restore_16_restores_a_gzip_backup_of_16() {
    check(16, "gzip:6", |url, folder| oracle().pg_restore16(url, folder, &["--exit-on-error", "-j", "3"]));
}

#[test]
fn pg_restore_16_restores_an_uncompressed_backup_of_12() {
    check(12, "none", |url, folder| oracle().pg_restore16(url, folder, &["--exit-on-error"]));
}

#[test]
fn the_table_of_contents_names_what_pg_dump_names() {
    let server = server(18);
    let source = shop(&server, "contents");
    let backup = Backup::make(&garage(), &source, &["-Z", "none"]);
    let folder = tempfile::tempdir().unwrap();
    backup.s3.download(&backup.folder(), folder.path()).unwrap();
    let stock = tempfile::tempdir().unwrap();
    let archive = stock.path().join("stock");
    oracle().pg_dump(&source.url(), &["-Fd", "-Z0", "-f", archive.to_str().unwrap()]).unwrap();
    let (ours, theirs) = (entries(folder.path()), entries(&archive));
    let missing: Vec<_> = theirs.difference(&ours).collect();
    let surplus: Vec<_> = ours.difference(&theirs).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "missing: {missing:#?}\nsurplus: {surplus:#?}");
}

/// The entries of an archive as `pg_restore -l` shows them, without the numbers, which name nothing outside, and without
/// what pgstow cuts otherwise on purpose.
fn entries(archive: &Path) -> BTreeSet<String> {
    let contents = oracle().contents(archive).unwrap();
    let lines = contents.lines().filter(|line| !line.starts_with(';') && !line.is_empty());
    let lines = lines.filter_map(|line| line.splitn(4, ' ').nth(3)).map(str::to_owned);
    let otherwise = [
        // Archives of 1.16 group large objects.
        "BLOB",
        "LARGE OBJECT",
        // A default that needs no second statement stands in its table.
        "DEFAULT shop ",
        "DEFAULT Mixed Case ",
    ];
    lines.filter(|line| !otherwise.iter().any(|start| line.starts_with(start))).collect()
}
