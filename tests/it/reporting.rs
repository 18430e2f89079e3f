//! `pgstow report` writes a page that a person can read and that runs nothing of a database's.

use pgstow_parts::{Database, garage, server};

use crate::support::{Backup, pgstow};

#[test]
fn a_report_tells_of_every_backup_and_fetches_nothing() {
    let (s3, folder) = (garage(), tempfile::tempdir().unwrap());
    let database = Database::fresh(&server(18), "report");
    database.execute("CREATE TABLE t AS SELECT n AS id FROM generate_series(1, 10) n");
    let backup = Backup::make(&s3, &database, &[]);
    // Left by a dump that was killed.
    let unfinished = format!("{}/20200101T000000Z-0000ff", database.name);
    s3.put(&format!("{}/{unfinished}/data/1.dat", backup.prefix), b"x".to_vec()).unwrap();
    let write = |name: &str| {
        let file = folder.path().join(name);
        let ran = pgstow(&s3, &["report", "--from", &backup.store(), "-o", file.to_str().unwrap()]).fine();
        assert_eq!(ran.stdout, "");
        std::fs::read_to_string(file).unwrap()
    };
    let (page, text) = (write("report.html"), write("report.txt"));
    for found in [&page, &text] {
        assert!(found.contains(&backup.id) && found.contains(&unfinished) && found.contains("0 min ago"), "{found}");
    }
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</body></html>\n"));
    for fetching in ["<script", "src=", "http://", "https://", "@import", "url("] {
        assert!(!page.contains(fetching), "{fetching} in {page}");
    }
    let printed = pgstow(&s3, &["report", "--from", &backup.store()]).fine().stdout;
    assert!(printed.contains(&backup.id), "{printed}");
    pgstow(&s3, &["report", "--from", &backup.store(), "-o", "/no/such/folder/x.html"])
        .failed(2, &["cannot be written"]);
}
