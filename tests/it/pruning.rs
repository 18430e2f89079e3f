//! What prune removes, what it leaves, and in which order.

use std::sync::Arc;

use bytes::Bytes;
use pgstow::commands::Stop;
use pgstow::commands::leftovers::Fate;
use pgstow::commands::prune::{PruneOptions, PruneReport, prune};
use pgstow::error::{Kind, Result};
use pgstow::keep::{Age, Rules};
use pgstow::store::{FaultyStore, Operation, Store, StoreProblem};
use pgstow_parts::garage;

use crate::past::{Past, november};
use crate::support::pgstow;

fn options(store: &Arc<dyn Store>, rules: Rules) -> PruneOptions {
    PruneOptions {
        store: Arc::clone(store),
        rules,
        databases: Vec::new(),
        unfinished_after: Age::days(1),
        dry_run: false,
        now: "2026-11-24T03:00:00Z".parse().unwrap(),
    }
}

async fn keep_last(store: &Arc<dyn Store>, last: u32) -> Result<PruneReport> {
    prune(options(store, Rules { last, ..Rules::default() }), Stop::default()).await
}

async fn manifests(store: &Arc<dyn Store>) -> Vec<String> {
    let keys = store.list("").await.unwrap().into_iter().map(|entry| entry.key);
    keys.filter(|key| key.ends_with("/manifest.json")).collect()
}

#[tokio::test]
async fn what_no_rule_keeps_is_gone_with_all_its_objects_and_the_rest_is_untouched() {
    let store = november(9).await;
    let before = store.list("shop/20261109T").await.unwrap();
    let report = keep_last(&store, 2).await.unwrap();
    assert_eq!(report.sum(Fate::Deleted).0, 7);
    let left = store.list("").await.unwrap();
    assert_eq!(store.list("shop/20261109T").await.unwrap(), before);
    assert_eq!(left.len(), 2 * before.len());
    // Once more, and nothing is left to do.
    assert_eq!(keep_last(&store, 2).await.unwrap().sum(Fate::Deleted).0, 0);
    assert_eq!(store.list("").await.unwrap(), left);
}

#[tokio::test]
async fn each_database_is_pruned_by_itself_and_only_where_asked() {
    let store = november(3).await;
    for time in ["20260101T000000Z", "20260102T000000Z"] {
        Past::get().write(store.as_ref(), "other", time, |_| {}).await;
    }
    let only =
        PruneOptions { databases: vec!["shop".into()], ..options(&store, Rules { last: 1, ..Rules::default() }) };
    prune(only, Stop::default()).await.unwrap();
    assert_eq!(manifests(&store).await.len(), 3);
    keep_last(&store, 1).await.unwrap();
    let expected = ["other/20260102T000000Z-0000ff/manifest.json", "shop/20261103T020000Z-0000ff/manifest.json"];
    assert_eq!(manifests(&store).await, expected);
}

#[tokio::test]
async fn a_dry_run_says_everything_and_deletes_nothing() {
    let store = november(3).await;
    Past::leave(store.as_ref(), "shop", "20261101T030000Z").await;
    let before = store.list("").await.unwrap();
    let dry = PruneOptions { dry_run: true, ..options(&store, Rules { last: 1, ..Rules::default() }) };
    let report = prune(dry, Stop::default()).await.unwrap();
    assert_eq!((report.sum(Fate::WouldGo).0, report.sum(Fate::Deleted).0), (3, 0));
    let reasons: Vec<String> = report.backups.iter().map(|line| line.verdict.to_string()).collect();
    assert_eq!(reasons, ["newest good one, last 1 of 1", "no rule keeps it", "no rule keeps it"]);
    assert_eq!(store.list("").await.unwrap(), before);
}

#[tokio::test]
async fn a_backup_that_lost_an_object_does_not_push_out_a_good_one() {
    let store = november(3).await;
    store.delete(&["shop/20261103T020000Z-0000ff/toc.dat".to_owned()]).await.unwrap();
    let report = keep_last(&store, 1).await.unwrap();
    let fates: Vec<Fate> = report.backups.iter().map(|line| line.fate).collect();
    assert_eq!(fates, [Fate::Stays, Fate::Stays, Fate::Deleted], "{report:?}");
}

#[tokio::test]
async fn what_killed_dumps_left_goes_when_it_is_old_and_not_before() {
    let store = november(1).await;
    let old = Past::leave(store.as_ref(), "shop", "20261123T020000Z").await;
    let young = Past::leave(store.as_ref(), "shop", "20261124T020000Z").await;
    let ours = format!("{young}data_2.dat.zst");
    let upload = store.start_upload(&ours, None).await.unwrap();
    let other = store.start_upload("elsewhere/x", None).await.unwrap();
    // The upload was started today, by the clock of the store.
    let mut later = options(&store, Rules { last: 1, ..Rules::default() });
    let report = keep_last(&store, 1).await.unwrap();
    assert_eq!(report.leftovers.iter().filter(|leftover| leftover.fate == Fate::Deleted).count(), 1, "{report:?}");
    assert!(store.list(&old).await.unwrap().is_empty());
    assert_eq!(store.list(&young).await.unwrap().len(), 1);
    later.now = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(25);
    later.unfinished_after = Age::hours(24);
    prune(later, Stop::default()).await.unwrap();
    let open: Vec<String> = store.open_uploads("").await.unwrap().into_iter().map(|upload| upload.key).collect();
    assert_eq!(open, ["elsewhere/x"], "what is not a backup's is left alone");
    drop((upload, other));
}

#[tokio::test]
async fn a_prune_that_breaks_off_leaves_nothing_that_looks_like_a_backup() {
    let inner = november(3).await;
    let faulty = FaultyStore::new(Arc::clone(&inner));
    // The manifest goes first; the objects of the same backup fail.
    faulty.fail_nth(Operation::Delete, 2, StoreProblem::Unreachable);
    let store: Arc<dyn Store> = Arc::new(faulty);
    let error = keep_last(&store, 1).await.expect_err("planned");
    assert_eq!(error.kind(), Kind::Store);
    assert_eq!(manifests(&inner).await.len(), 2);
    assert!(!inner.list("shop/20261102T").await.unwrap().is_empty(), "its objects are still there");
    keep_last(&inner, 1).await.unwrap();
    assert!(inner.list("shop/20261102T").await.unwrap().is_empty(), "the next prune sweeps them");
}

#[tokio::test]
async fn a_manifest_that_cannot_be_read_is_left_for_a_person() {
    let store = november(2).await;
    store.put("shop/20261101T020000Z-0000ff/manifest.json", Bytes::from_static(b"{"), None).await.unwrap();
    let report = keep_last(&store, 1).await.unwrap();
    assert!(report.backups[1].verdict.to_string().contains("cannot be read"), "{report:?}");
    assert_eq!(manifests(&store).await.len(), 2);
}

#[tokio::test]
async fn without_a_rule_nothing_is_pruned() {
    let store = november(2).await;
    assert_eq!(keep_last(&store, 0).await.expect_err("no rule").kind(), Kind::Usage);
    assert_eq!(manifests(&store).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn prune_works_on_a_real_store_from_the_command_line() {
    let s3 = garage();
    let place = s3.location(&s3.fresh_prefix("prune"));
    let url = place.parse().unwrap();
    let store = pgstow::store::open(&url, &crate::store::options_of(&s3)).await.unwrap();
    for day in 1..=3 {
        Past::get().write(store.as_ref(), "shop", &format!("2026110{day}T020000Z"), |_| {}).await;
    }
    let dry = pgstow(&s3, &["prune", "--from", &place, "--keep-daily", "1", "--dry-run", "--json"]).fine().json();
    assert_eq!(dry["backups"].as_array().unwrap().len(), 3);
    assert_eq!(dry["backups"][1]["fate"], "would remove");
    let said = pgstow(&s3, &["prune", "--from", &place, "--keep-daily", "1"]).fine().stdout;
    assert!(said.contains("removed 2 (") && said.contains("1 backup stays"), "{said}");
    let listed = pgstow(&s3, &["list", "--from", &place, "--json"]).fine().json();
    assert_eq!(listed["backups"][0]["backup"], "20261103T020000Z-0000ff");
    pgstow(&s3, &["prune", "--from", &place]).failed(2, &["--keep-within"]);
    pgstow(&s3, &["prune", "--from", &place, "--keep-last", "1", "--time-zone", "Mars/Olympus"]).failed(2, &["zone"]);
}
