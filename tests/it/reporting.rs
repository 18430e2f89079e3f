//! `pgstow report` writes a page that a person can read and that runs nothing of a database's.

use pgstow_parts::{Database, garage, server};

use pgstow::commands::Stop;
use pgstow::commands::report::{ReportOptions, report};
use pgstow::jobs::Config;

use crate::past::{Past, november};
use crate::support::{Backup, pgstow};

#[test]
fn a_report_tells_of_every_backup_and_fetches_nothing() {
    let (s3, folder) = (garage(), tempfile::tempdir().unwrap());
    let database = Database::fresh(&server(18), "report");
    database.execute("CREATE TABLE t AS SELECT n AS id FROM generate_series(1, 10) n");
    let backup = Backup::make(&s3, &database, &[]);
    // Left by a dump that was killed.
    let unfinished = format!("{}/20200101T000000Z-0000ff", database.name);
    s3.put(&format!("{}/{unfinished}/data_1.dat", backup.prefix), b"x".to_vec()).unwrap();
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

#[tokio::test]
async fn runs_that_failed_and_backups_that_broke_are_told_beside_the_good_ones() {
    let store = november(9).await;
    let now = "2026-11-13T12:00:00Z".parse().unwrap();
    Past::get().write(store.as_ref(), "shop", "20261112T020000Z", |_| {}).await;
    Past::get().write(store.as_ref(), "shop", "20261113T020000Z", |_| {}).await;
    store.delete(&["shop/20261113T020000Z-0000ff/toc.dat".to_owned()]).await.unwrap();
    store.put("shop/20261105T020000Z-0000ff/manifest.json", "{".into(), None).await.unwrap();
    let text = "[job.shop]\nsource = \"postgres://u@h/shop\"\nstore = \"file:///nowhere\"\nschedule = \"0 2 * * *\"\n\
                timezone = \"UTC\"\nretention = { keep_daily = 7, keep_weekly = 4 }\n";
    let job = Config::parse(text, "test").unwrap().job("shop", &|_| None).unwrap();
    let told = async |job| {
        let options = ReportOptions { store: store.clone(), job, now };
        let report = report(&options, &Stop::default()).await.unwrap();
        assert_eq!(report.databases.len(), 1);
        let database = &report.databases[0];
        assert_eq!((database.backups.len(), database.broken.len(), report.stored.len()), (9, 2, 1));
        database.failures(20)
    };
    let of_job = told(Some(job)).await;
    assert_eq!(of_job[0], "critical: the newest good backup, 20261112T020000Z-0000ff, is 1d 10h old, allowed are 26h");
    assert!(of_job[1].contains("20261113T020000Z-0000ff is broken: toc.dat is missing"), "{of_job:?}");
    let absent = ["13", "11", "10"].map(|day| format!("the run of 2026-11-{day} 02:00 UTC left no backup"));
    assert_eq!(of_job[of_job.len() - 3..], absent, "the 5th would be gone by now: {of_job:?}");
    let of_store = told(None).await;
    let pauses: Vec<&String> = of_store.iter().filter(|line| line.starts_with("no backup between")).collect();
    assert_eq!(
        pauses,
        [
            "no backup between 2026-11-09 02:00 UTC and 2026-11-12 02:00 UTC (3 d 0 h)",
            "no backup between 2026-11-04 02:00 UTC and 2026-11-06 02:00 UTC (2 d 0 h)",
        ]
    );
}
