//! Copies of backups in another store: complete and checked, or not there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use pgstow::commands::copy::{CopyHow, CopyOptions, CopyReport, Proofs, Which, copy};
use pgstow::commands::leftovers::Fate;
use pgstow::commands::prune::{PruneOptions, prune};
use pgstow::commands::{Progress, Stop};
use pgstow::error::{Kind, Result};
use pgstow::keep::{Age, Rules};
use pgstow::store::{FaultyStore, MemoryStore, Operation, S3Options, Store, StoreProblem, open};
use pgstow_parts::{Database, S3, garage, moto, server};

use crate::past::{Past, november};
use crate::store::options_of;
use crate::support::{Backup, assert_same_data, no_store, pgstow, shop};

fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

async fn run(source: &Arc<dyn Store>, target: &Arc<dyn Store>, which: Which) -> Result<CopyReport> {
    let (source, target) = (Arc::clone(source), Arc::clone(target));
    let options = CopyOptions { source, target, which, how: CopyHow::default() };
    copy(options, Arc::default(), Stop::default()).await
}

async fn one(source: &Arc<dyn Store>, target: &Arc<dyn Store>, backup: &str) -> Result<CopyReport> {
    run(source, target, Which::One(backup.to_owned())).await
}

async fn all_new(source: &Arc<dyn Store>, target: &Arc<dyn Store>) -> Result<CopyReport> {
    let now = "2026-11-24T03:00:00Z".parse().unwrap();
    run(source, target, Which::New { databases: Vec::new(), max_age: None, now }).await
}

/// Every key with its bytes.
async fn contents(store: &dyn Store) -> Vec<(String, Bytes)> {
    let mut found = Vec::new();
    for entry in store.list("").await.unwrap() {
        let chunks: Vec<Bytes> = store.get(&entry.key, None).await.unwrap().try_collect().await.unwrap();
        found.push((entry.key, chunks.concat().into()));
    }
    found
}

fn names(report: &CopyReport) -> Vec<String> {
    let name = |copied: &pgstow::commands::copy::Copied| {
        let there = if copied.proofs.is_some() { "" } else { " already there" };
        format!("{}/{}{there}", copied.place.database, copied.place.id)
    };
    report.copied.iter().map(name).collect()
}

#[tokio::test]
async fn a_copy_is_the_same_to_the_last_byte_and_making_it_again_changes_nothing() {
    let (source, target) = (november(1).await, memory());
    let report = one(&source, &target, "latest").await.unwrap();
    assert_eq!(contents(source.as_ref()).await, contents(target.as_ref()).await);
    let objects = report.copied[0].objects;
    assert_eq!(report.copied[0].proofs, Some(Proofs { on_the_way: objects - 1, ..Proofs::default() }));
    let modified = target.list("").await.unwrap();
    let again = one(&source, &target, "shop/latest").await.unwrap();
    assert_eq!(names(&again), ["shop/20261101T020000Z-0000ff already there"]);
    assert_eq!(target.list("").await.unwrap(), modified, "nothing was written again");
}

#[tokio::test]
async fn all_new_ones_go_oldest_first_whatever_their_database() {
    let (source, target) = (november(3).await, memory());
    Past::get().write(source.as_ref(), "crm", "20261102T010000Z", |_| {}).await;
    Past::leave(source.as_ref(), "shop", "20261104T020000Z").await;
    one(&source, &target, "shop/20261102T020000Z-0000ff").await.unwrap();
    let report = all_new(&source, &target).await.unwrap();
    let expected = ["shop/20261101T020000Z-0000ff", "crm/20261102T010000Z-0000ff", "shop/20261103T020000Z-0000ff"];
    assert_eq!(names(&report), expected);
    assert_eq!(names(&all_new(&source, &target).await.unwrap()), Vec::<String>::new());
    let chosen = Which::New {
        databases: vec!["shop".to_owned()],
        max_age: Some(Age::hours(25)),
        now: "2026-11-03T03:00:00Z".parse().unwrap(),
    };
    let report = run(&source, &memory(), chosen).await.unwrap();
    assert_eq!(names(&report), ["shop/20261102T020000Z-0000ff", "shop/20261103T020000Z-0000ff"]);
}

#[tokio::test]
async fn a_damaged_backup_is_not_copied_and_does_not_hold_up_the_others() {
    let (source, target) = (november(3).await, memory());
    let key = "shop/20261102T020000Z-0000ff/toc.dat";
    let toc: Vec<Bytes> = source.get(key, None).await.unwrap().try_collect().await.unwrap();
    let mut toc = toc.concat();
    toc[40] ^= 1;
    source.put(key, toc.into(), None).await.unwrap();
    let error = one(&source, &target, "shop/20261102T020000Z-0000ff").await.expect_err("damaged");
    assert_eq!((error.kind(), error.object()), (Kind::Archive, Some(key)));
    assert!(target.list("").await.unwrap().is_empty(), "nothing is left of it");
    let report = all_new(&source, &target).await.unwrap();
    assert_eq!(names(&report), ["shop/20261101T020000Z-0000ff", "shop/20261103T020000Z-0000ff"]);
    assert_eq!(report.failed.len(), 1);
    assert!(target.list("shop/20261102T").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_copy_that_fails_anywhere_leaves_nothing_behind() {
    let source = november(1).await;
    let writes = source.list("").await.unwrap().len() as u64 - 1;
    for (operation, times) in [(Operation::Put, writes), (Operation::PutNew, 1), (Operation::List, 1)] {
        for nth in 1..=times {
            let inner = memory();
            let faulty = FaultyStore::new(Arc::clone(&inner));
            faulty.fail_nth(operation, nth, StoreProblem::Denied);
            let target: Arc<dyn Store> = Arc::new(faulty);
            let error = one(&source, &target, "latest").await.expect_err("planned");
            assert_eq!(error.kind(), Kind::Store, "{operation:?} {nth}");
            assert!(inner.list("").await.unwrap().is_empty(), "{operation:?} {nth}");
        }
    }
}

#[tokio::test]
async fn what_is_finished_meanwhile_by_somebody_else_is_left_alone() {
    let (source, inner) = (november(1).await, memory());
    let faulty = FaultyStore::new(Arc::clone(&inner));
    // This one comes to its manifest while the other has written its own.
    faulty.delay(Operation::PutNew, Duration::from_millis(300));
    let slow: Arc<dyn Store> = Arc::new(faulty.clone());
    let (slow, quick) = tokio::join!(one(&source, &slow, "latest"), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        one(&source, &inner, "latest").await
    });
    quick.unwrap();
    slow.unwrap();
    assert_eq!(contents(source.as_ref()).await, contents(inner.as_ref()).await);
    // Now one fails at its end, beside a manifest of another backup with this name.
    let folder = "shop/20261101T020000Z-0000ff";
    inner.delete(&[format!("{folder}/manifest.json")]).await.unwrap();
    let target: Arc<dyn Store> = Arc::new(faulty);
    let (failed, ()) = tokio::join!(one(&source, &target, "latest"), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Past::get().write(inner.as_ref(), "shop", "20261101T020000Z", |manifest| manifest.items += 1).await;
    });
    assert_eq!(failed.expect_err("another backup").kind(), Kind::Archive);
    assert_eq!(contents(inner.as_ref()).await.len(), contents(source.as_ref()).await.len());
    let error = one(&source, &inner, "latest").await.expect_err("another backup");
    assert_eq!((error.kind(), error.message()), (Kind::Archive, "the target holds another backup of the same name"));
}

#[tokio::test]
async fn a_copy_of_an_old_backup_that_is_under_way_is_not_swept() {
    let store = memory();
    for day in ["20261101T020000Z", "20261102T020000Z"] {
        Past::get().write(store.as_ref(), "shop", day, |_| {}).await;
    }
    let half = "shop/20261101T020000Z-0000ff/manifest.json".to_owned();
    store.delete(&[half]).await.unwrap();
    let now = jiff::Timestamp::now();
    for (hours, fate) in [(0, Fate::Stays), (25, Fate::Deleted)] {
        let options = PruneOptions {
            store: Arc::clone(&store),
            rules: Rules { last: 1, ..Rules::default() },
            databases: Vec::new(),
            unfinished_after: Age::days(1),
            dry_run: false,
            now: now + jiff::SignedDuration::from_hours(hours),
        };
        let report = prune(options, Stop::default()).await.unwrap();
        assert_eq!(report.leftovers.iter().map(|leftover| leftover.fate).collect::<Vec<_>>(), [fate], "{hours}");
    }
}

#[test]
fn a_store_is_not_copied_into_itself() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("file://{}", folder.path().display());
    pgstow(&no_store(), &["copy", "--new", "--from", &store, "--to", &store]).failed(2, &["into itself"]);
    pgstow(&no_store(), &["copy", "--from", &store, "--to", "file:///nowhere"]).failed(2, &["--new"]);
}

/// A database of which some objects have several parts of 5 MiB.
fn large(hint: &str) -> Database {
    let database = Database::fresh(&server(18), hint);
    database.execute(
        "CREATE TABLE large AS SELECT n, repeat(md5(n::text), 300) AS t FROM generate_series(1, 1300) n;
         CREATE TABLE small AS SELECT 1 AS n; CREATE TABLE empty (n integer)",
    );
    database
}

async fn at(s3: &S3, place: &str, change: impl FnOnce(&mut S3Options)) -> Arc<dyn Store> {
    let mut options = options_of(s3);
    change(&mut options);
    open(&place.parse().unwrap(), &options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_copies_by_itself_and_is_checked() {
    let database = large("copy_server");
    for (s3, vouches) in [(garage(), false), (moto(), true)] {
        let backup = Backup::make(&s3, &database, &["-Z", "none", "--part-size", "5MiB"]);
        let source = at(&s3, &backup.store(), |_| {}).await;
        let target = at(&s3, &s3.location(&s3.fresh_prefix("copied")), |_| {}).await;
        let report = one(&source, &target, "latest").await.unwrap();
        let proofs = report.copied[0].proofs.unwrap();
        assert_eq!(proofs.on_the_way, 0, "{s3:?}: {proofs:?}");
        assert_eq!(proofs.digest_of_the_store > 0, vouches, "{s3:?}: {proofs:?}");
        assert_eq!(contents(source.as_ref()).await, contents(target.as_ref()).await);

        // What is too large for one request is copied in parts.
        let place = s3.location(&s3.fresh_prefix("in-parts"));
        let target = at(&s3, &place, |options| options.copy_whole_up_to = Some(6 << 20)).await;
        let how = CopyHow { read_back: !vouches, ..CopyHow::default() };
        let which = Which::One("latest".to_owned());
        let options = CopyOptions { source: Arc::clone(&source), target: Arc::clone(&target), which, how };
        let report = copy(options, Arc::new(Progress::default()), Stop::default()).await.unwrap();
        assert_eq!(report.copied[0].proofs.unwrap().on_the_way, 0);
        assert_eq!(contents(source.as_ref()).await, contents(target.as_ref()).await);
        assert!(target.open_uploads("").await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_the_source_is_found_by_the_digest_that_the_server_computes() {
    let s3 = moto();
    let backup = Backup::make(&s3, &large("copy_damage"), &["-Z", "none"]);
    let data = format!("{}data_", backup.folder());
    let with_bytes = |key: &String| s3.get(key).unwrap().len() > 10;
    let key = s3.keys(&data).unwrap().into_iter().find(with_bytes).unwrap();
    let mut bytes = s3.get(&key).unwrap();
    bytes[7] ^= 1;
    s3.put(&key, bytes).unwrap();
    let source = at(&s3, &backup.store(), |_| {}).await;
    let target = at(&s3, &s3.location(&s3.fresh_prefix("damage")), |_| {}).await;
    let error = one(&source, &target, "latest").await.expect_err("damaged");
    assert_eq!(error.kind(), Kind::Archive);
    assert!(target.list("").await.unwrap().is_empty());
}

#[test]
fn a_copy_on_another_server_restores_and_only_data_gets_the_storage_class() {
    let database = shop(&server(18), "copy_shop");
    let backup = Backup::make(&garage(), &database, &[]);
    let there = moto();
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "[store.offsite]\nurl = \"{}\"\nendpoint = \"{}\"\naccess_key_id = \"{}\"\nsecret_access_key = \"{}\"\nregion = \
         \"us-east-1\"\nstorage_class = \"GLACIER_IR\"\n",
        there.location("offsite-shop"),
        there.endpoint,
        there.access_key,
        there.secret_key
    );
    std::fs::write(file.path(), text).unwrap();
    let (from, config) = (backup.store(), file.path().display().to_string());
    let arguments = ["copy", "--new", "--from", &from, "--to", "offsite", "--config", &config];
    let said = pgstow(&backup.s3, &arguments).fine().stdout;
    assert!(said.contains(&backup.id) && said.contains(" on the way,"), "{said}");
    assert_eq!(pgstow(&backup.s3, &arguments).fine().stdout, "nothing to copy: the other store has every backup\n");
    let classes = classes(&there, "offsite-shop/");
    let folder = format!("offsite-shop/{}/{}/", database.name, backup.id);
    for name in ["toc.dat", "manifest.json", "globals.sql", "blobs.toc"] {
        assert!(classes.contains(&(format!("{folder}{name}"), "STANDARD".to_owned())), "{name}: {classes:?}");
    }
    let data: Vec<_> = classes.iter().filter(|(key, _)| key.contains(".dat.zst")).collect();
    assert!(data.len() > 3 && data.iter().all(|(_, class)| class == "GLACIER_IR"), "{data:?}");

    let target = Database::fresh(&server(18), "copy_restored");
    let url = target.url();
    let store = there.location("offsite-shop");
    pgstow(&there, &["restore", &backup.id, "--from", &store, "-d", &url, "--verify"]).fine();
    assert_same_data(&database, &target);
}

/// Every key below a prefix with its storage class.
fn classes(s3: &S3, prefix: &str) -> Vec<(String, String)> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime.block_on(at(s3, &format!("s3://{}", s3.bucket), |_| {}));
    let entries = runtime.block_on(store.list(prefix)).unwrap();
    entries.into_iter().map(|entry| (entry.key, entry.class.unwrap_or_default())).collect()
}

#[test]
fn bytes_pass_in_bounded_memory_in_parts() {
    let backup = Backup::make(&garage(), &large("copy_parts"), &["-Z", "none"]);
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (backup.store(), format!("file://{}", folder.path().display()));
    let arguments =
        ["copy", "latest", "--from", &from, "--to", &to, "--memory", "64MiB", "--part-size", "1MiB", "--json"];
    let report = pgstow(&backup.s3, &arguments).fine().json();
    assert_eq!(report["copied"][0]["checked"]["on_the_way"], report["copied"][0]["objects"].as_u64().unwrap() - 1);
    pgstow(&no_store(), &["verify", "latest", "--from", &to]).fine();
}
