//! What check finds in a store, and how it says it.

use std::sync::Arc;

use pgstow::commands::check::{CheckOptions, CheckReport, Depth, check, unhealthy};
use pgstow::commands::{Progress, Stop};
use pgstow::error::{Kind, Result};
use pgstow::keep::Age;
use pgstow::keep::health::{Limits, Severity};
use pgstow::store::Store;
use pgstow_parts::garage;

use crate::past::{Past, november};
use crate::store::options_of;
use crate::support::pgstow;

async fn checked(store: &Arc<dyn Store>, now: &str, depth: Depth) -> Result<CheckReport> {
    let options = CheckOptions {
        store: Arc::clone(store),
        copies: Vec::new(),
        databases: Vec::new(),
        limits: Limits { max_age: Some(Age::hours(26)), min_size: Some(10), max_shrink: Some(50) },
        depth,
        jobs: 2,
        unfinished_after: Age::days(1),
        now: now.parse().unwrap(),
    };
    check(options, Arc::new(Progress::default()), Stop::default()).await
}

/// The findings by their words for machines.
async fn found(store: &Arc<dyn Store>, now: &str, depth: Depth) -> Vec<&'static str> {
    let report = checked(store, now, depth).await.unwrap();
    report.databases.iter().flat_map(|checked| &checked.findings).map(|finding| finding.rule).collect()
}

const NOON: &str = "2026-11-03T12:00:00Z";

#[tokio::test]
async fn healthy_backups_are_healthy_and_one_that_is_too_old_is_not() {
    let store = november(3).await;
    assert_eq!(found(&store, NOON, Depth::Full).await, Vec::<&str>::new());
    assert_eq!(found(&store, "2026-11-04T04:00:00Z", Depth::Quick).await, Vec::<&str>::new());
    let report = checked(&store, "2026-11-04T04:01:00Z", Depth::Quick).await.unwrap();
    assert_eq!(report.severity(), Severity::Critical);
    let error = unhealthy(&report).unwrap();
    assert_eq!(error.kind(), Kind::Unhealthy);
    assert!(error.to_string().contains("1d 2h old, allowed are 26h"), "{error}");
}

#[tokio::test]
async fn a_store_without_any_backup_is_not_healthy() {
    let store = november(0).await;
    assert_eq!(checked(&store, NOON, Depth::Quick).await.expect_err("nothing there").kind(), Kind::Unhealthy);
    Past::leave(store.as_ref(), "shop", "20261103T020000Z").await;
    assert_eq!(found(&store, NOON, Depth::Quick).await, ["no-backup"]);
}

#[tokio::test]
async fn an_object_that_is_missing_is_found_by_a_quick_look_and_a_changed_byte_by_a_full_one() {
    let store = november(3).await;
    let toc = "shop/20261103T020000Z-0000ff/toc.dat";
    let mut bytes = Vec::new();
    let mut stream = store.get(toc, None).await.unwrap();
    while let Some(chunk) = futures::StreamExt::next(&mut stream).await {
        bytes.extend_from_slice(&chunk.unwrap());
    }
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    store.put(toc, bytes.into(), None).await.unwrap();
    assert_eq!(found(&store, NOON, Depth::Quick).await, Vec::<&str>::new());
    // The last good one is a day older.
    assert_eq!(found(&store, NOON, Depth::Full).await, ["broken", "too-old"]);
    store.delete(&[toc.to_owned()]).await.unwrap();
    assert_eq!(found(&store, NOON, Depth::Quick).await, ["broken", "too-old"]);
}

#[tokio::test]
async fn a_backup_that_lost_most_of_its_rows_or_a_table_is_noticed() {
    let store = november(2).await;
    let table = |manifest: &mut pgstow::archive::Manifest| {
        manifest.tables.retain(|table| table.name == "t");
        manifest.totals.raw_bytes = 1;
    };
    Past::get().write(store.as_ref(), "shop", "20261103T020000Z", table).await;
    let expected = ["shrunken", "tables-missing"];
    assert_eq!(found(&store, NOON, Depth::Quick).await, expected);
}

#[tokio::test]
async fn leftovers_and_clocks_that_are_off_are_warnings() {
    let store = november(3).await;
    Past::leave(store.as_ref(), "shop", "20261101T030000Z").await;
    Past::leave(store.as_ref(), "shop", "20261103T110000Z").await;
    Past::get().write(store.as_ref(), "shop", "20270101T020000Z", |_| {}).await;
    assert_eq!(found(&store, NOON, Depth::Quick).await, ["from-the-future", "leftovers"]);
    let report = checked(&store, NOON, Depth::Quick).await.unwrap();
    assert!(report.severity() == Severity::Warning && unhealthy(&report).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_words_and_exit_codes_are_those_of_the_format() {
    let s3 = garage();
    let place = s3.location(&s3.fresh_prefix("check"));
    let empty = ["check", "--from", &place];
    pgstow(&s3, &empty).failed(10, &["no backup at all"]);
    let nagios = pgstow(&s3, &[empty.as_slice(), &["--format", "nagios"]].concat());
    assert_eq!(nagios.code, Some(2));
    assert!(nagios.stdout.starts_with("PGSTOW CRITICAL - ") && nagios.stderr.is_empty(), "{nagios:?}");

    let store = pgstow::store::open(&place.parse().unwrap(), &options_of(&s3)).await.unwrap();
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    Past::get().write(store.as_ref(), "shop", &now, |_| {}).await;
    let said = pgstow(&s3, &[empty.as_slice(), &["--verify", "full"]].concat()).fine().stdout;
    assert!(said.starts_with("ok: shop: newest 0m old, "), "{said}");
    let nagios = pgstow(&s3, &[empty.as_slice(), &["--format", "nagios"]].concat()).fine().stdout;
    assert!(nagios.starts_with("PGSTOW OK - shop: newest ") && nagios.contains(" | 'shop age'="), "{nagios}");
    let json = pgstow(&s3, &[empty.as_slice(), &["--format", "json", "--min-size", "1G"]].concat());
    assert_eq!(json.code, Some(10));
    assert_eq!(json.json()["databases"][0]["findings"][0]["rule"], "too-small");
    let missing = pgstow(&s3, &[empty.as_slice(), &["--database", "other"]].concat());
    missing.failed(10, &["database other: there is no good backup"]);
    // What cannot be checked is unknown, not well.
    let gone = pgstow_parts::S3 { endpoint: "http://127.0.0.1:1".into(), ..s3.clone() };
    let unknown = pgstow(&gone, &["check", "--from", &place, "--format", "nagios", "--retry-for", "1"]);
    assert_eq!(unknown.code, Some(3));
    assert!(unknown.stdout.starts_with("PGSTOW UNKNOWN - "), "{unknown:?}");
}
