//! One conformance suite for every store: what passes on one passes on all.
//!
//! It runs against memory, a folder, the decorator that injects faults, an in-process S3 server over real HTTP
//! (`s3s-fs`), and, through [`real_s3`], any S3 server at an address.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder as HttpServer;
use pgstow::error::{Error, Kind};
use pgstow::model::Secret;
use pgstow::store::{
    FaultyStore, FolderStore, MemoryStore, Patience, S3Options, Store, StoreProblem, StoreUrl, open, problem,
};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;

use crate::store_failures::a_completion_whose_answer_was_lost_succeeds;

pub(crate) const KEY: &str = "AKEXAMPLE";
pub(crate) const SECRET: &str = "a-secret-that-never-shows";

/// What a store under test is known not to do.
#[derive(Debug, Clone, Copy)]
struct Quirks {
    /// It can list open uploads.
    lists_uploads: bool,
    /// It fails when asked for a path that is only the start of a key.
    folders_confuse_it: bool,
    /// A part that was sent can be sent again as it was, not with other bytes.
    parts_stay: bool,
    /// A folder is there without anything in it.
    folders_stay: bool,
    /// How many objects a listing is tried with: more than a page of S3 has.
    many: usize,
}

impl Quirks {
    const NONE: Quirks =
        Quirks { lists_uploads: true, folders_confuse_it: false, parts_stay: false, folders_stay: false, many: 1_100 };
}

/// Every sentence of the contract of `Store`, on an empty store.
async fn conformance(store: Arc<dyn Store>, quirks: Quirks) {
    objects(&*store, quirks).await;
    ranges(&*store).await;
    strange_keys(&*store).await;
    new_objects(&store).await;
    listings(&*store, quirks.many).await;
    folders(&*store).await;
    deletions(&*store).await;
    uploads(&*store, quirks).await;
    failing_uploads(&*store, quirks).await;
    open_uploads(&*store, quirks).await;
    everything_goes(&*store, quirks).await;
}

/// Bytes in which every position can be told from its neighbours.
fn pattern(length: usize, seed: usize) -> Bytes {
    (0..length).map(|n| u8::try_from((n.wrapping_mul(31) ^ (n >> 8) ^ seed) & 0xff).expect("a byte")).collect()
}

async fn read(store: &dyn Store, key: &str) -> Bytes {
    collect(store, key, None).await.expect("an object")
}

async fn collect(store: &dyn Store, key: &str, range: Option<std::ops::Range<u64>>) -> Result<Bytes, Error> {
    let chunks: Vec<Bytes> = store.get(key, range).await?.try_collect().await?;
    Ok(chunks.concat().into())
}

fn expect_problem<T: std::fmt::Debug>(result: Result<T, Error>, expected: StoreProblem) {
    let error = result.expect_err("an error");
    assert_eq!(error.kind(), Kind::Store, "{error}");
    assert_eq!(problem(&error), Some(expected), "{error}");
    assert!(!format!("{error} {error:?}").contains(SECRET), "a secret in an error");
}

async fn keys(store: &dyn Store, prefix: &str) -> Vec<String> {
    store.list(prefix).await.expect("a list").into_iter().map(|entry| entry.key).collect()
}

async fn objects(store: &dyn Store, quirks: Quirks) {
    expect_problem(store.get("objects/none", None).await.map(drop), StoreProblem::NotFound);
    expect_problem(store.get("objects/none", Some(0..1)).await.map(drop), StoreProblem::NotFound);
    expect_problem(store.get("objects/none", Some(3..3)).await.map(drop), StoreProblem::NotFound);
    assert_eq!(store.head("objects/none").await.expect("an answer"), None);

    for length in [0, 1, 700_000] {
        let body = pattern(length, length);
        store.put("objects/a", body.clone(), None).await.expect("put");
        assert_eq!(read(store, "objects/a").await, body);
        let meta = store.head("objects/a").await.expect("an answer").expect("an object");
        assert_eq!(meta.size, length as u64);
    }
    store.put("objects/a", Bytes::from_static(b"short"), None).await.expect("put replaces");
    assert_eq!(read(store, "objects/a").await, "short");
    let standard = "STANDARD".parse().expect("a class");
    store.put("objects/classy", Bytes::from_static(b"x"), Some(&standard)).await.expect("put with a class");
    // What is above or below an object is no object.
    if !quirks.folders_confuse_it {
        assert_eq!(store.head("objects").await.expect("an answer"), None);
    }
    assert_eq!(store.head("objects/a/b").await.expect("an answer"), None);
}

async fn ranges(store: &dyn Store) {
    let body = pattern(300_000, 7);
    store.put("ranges/a", body.clone(), None).await.expect("put");
    for range in [0..1, 0..300_000, 1..2, 299_999..300_000, 65_535..131_073] {
        let found = collect(store, "ranges/a", Some(range.clone())).await.expect("a range");
        let (start, end) = (usize::try_from(range.start).expect("small"), usize::try_from(range.end).expect("small"));
        assert_eq!(found, body.slice(start..end), "{range:?}");
    }
    assert_eq!(collect(store, "ranges/a", Some(5..5)).await.expect("an empty range"), Bytes::new());
    for beyond in [0..300_001, 299_999..300_001, 300_000..300_001, 400_000..400_001] {
        expect_problem(collect(store, "ranges/a", Some(beyond)).await, StoreProblem::Other);
    }
    // A reader may stop early.
    let mut stream = store.get("ranges/a", None).await.expect("a stream");
    stream.next().await.expect("a chunk").expect("bytes");
}

async fn strange_keys(store: &dyn Store) {
    let strange = [
        "a b",
        "a+b",
        "a%20b",
        "100%",
        "ü/数/🐘",
        "it's \"quoted\"",
        "a&b<c>",
        "a=b;c,d",
        "#?x",
        "a\\b",
        ".x",
        "~*()!$@:",
    ];
    for name in strange {
        let key = format!("strange/{name}");
        let body = Bytes::from(format!("body of {name}"));
        store.put(&key, body.clone(), None).await.expect(name);
        assert_eq!(read(store, &key).await, body, "{name}");
        assert_eq!(store.head(&key).await.expect(name).expect(name).size, body.len() as u64);
    }
    let mut expected: Vec<String> = strange.iter().map(|name| format!("strange/{name}")).collect();
    expected.sort();
    assert_eq!(keys(store, "strange/").await, expected);
    assert_eq!(store.list_folders("strange").await.expect("folders"), ["ü"]);
    assert_eq!(store.list_folders("strange/ü").await.expect("folders"), ["数"]);
    store.delete(&expected).await.expect("delete");
    assert!(keys(store, "strange/").await.is_empty());

    for bad in ["", "/abs", "a/", "a//b", "..", "../a", "a/../../b", "a/./b", "a\nb", "a\0b"] {
        store.put(bad, Bytes::new(), None).await.expect_err(bad);
        store.put_new(bad, Bytes::new()).await.expect_err(bad);
        assert!(store.start_upload(bad, None).await.is_err(), "{bad}");
    }
}

async fn new_objects(store: &Arc<dyn Store>) {
    store.put_new("new/a", Bytes::from_static(b"first")).await.expect("the first");
    expect_problem(store.put_new("new/a", Bytes::from_static(b"second")).await, StoreProblem::AlreadyExists);
    expect_problem(store.put_new("new/a", Bytes::from_static(b"first")).await, StoreProblem::AlreadyExists);
    assert_eq!(read(&**store, "new/a").await, "first");
    store.delete(&["new/a".to_owned()]).await.expect("delete");
    store.put_new("new/a", Bytes::from_static(b"again")).await.expect("the name is free again");
    assert_eq!(read(&**store, "new/a").await, "again");
    assert_eq!(keys(&**store, "new/").await, ["new/a"], "nothing lies beside it");
}

async fn listings(store: &dyn Store, many: usize) {
    let names: Vec<String> = (0..many).map(|n| format!("many/{:02}/{n:05}", n % 7)).collect();
    for chunk in names.chunks(32) {
        try_join_all(chunk.iter().map(|key| store.put(key, Bytes::copy_from_slice(key.as_bytes()), None)))
            .await
            .expect("put");
    }
    let listed = store.list("many/").await.expect("a list");
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(listed.iter().map(|entry| &entry.key).collect::<Vec<_>>(), sorted.iter().collect::<Vec<_>>());
    assert!(listed.iter().all(|entry| entry.size == entry.key.len() as u64));
    assert_eq!(store.list_folders("many").await.expect("folders").len(), 7);
    // A prefix is text, not a path.
    let some = keys(store, "many/03/000").await;
    assert!(!some.is_empty() && some.iter().all(|key| key.starts_with("many/03/000")));
    assert!(keys(store, "many/9").await.is_empty());
    assert!(keys(store, "nothing/here").await.is_empty());
    assert!(keys(store, "").await.len() > many);
    store.delete(&names).await.expect("delete");
    assert!(keys(store, "many/").await.is_empty());
}

async fn folders(store: &dyn Store) {
    for key in ["folders/b/1/x", "folders/a/2/x", "folders/a/1/x", "folders/top", "folders/a.b/x", "folders-not/x"] {
        store.put(key, Bytes::from_static(b"x"), None).await.expect("put");
    }
    for path in ["folders", "folders/"] {
        assert_eq!(store.list_folders(path).await.expect("folders"), ["a", "a.b", "b"]);
    }
    assert_eq!(store.list_folders("folders/a").await.expect("folders"), ["1", "2"]);
    assert!(store.list_folders("folders/a/1").await.expect("folders").is_empty());
    assert!(store.list_folders("folders/none").await.expect("folders").is_empty());
    let top = store.list_folders("").await.expect("folders");
    assert!(top.contains(&"folders".to_owned()) && top.contains(&"folders-not".to_owned()));
    // A folder is gone with its last object.
    store.delete(&["folders/b/1/x".to_owned()]).await.expect("delete");
    assert_eq!(store.list_folders("folders").await.expect("folders"), ["a", "a.b"]);
}

async fn deletions(store: &dyn Store) {
    store.delete(&[]).await.expect("nothing to do");
    store.put("deletions/a", Bytes::from_static(b"x"), None).await.expect("put");
    store.put("deletions/b", Bytes::from_static(b"x"), None).await.expect("put");
    let both = ["deletions/a".to_owned(), "deletions/none".to_owned(), "deletions/no/where".to_owned()];
    store.delete(&both).await.expect("delete");
    store.delete(&both).await.expect("deleting again is fine");
    store.delete(&["deletions/none".to_owned()]).await.expect("one that never was");
    assert_eq!(keys(store, "deletions/").await, ["deletions/b"]);
}

async fn uploads(store: &dyn Store, quirks: Quirks) {
    let size = usize::try_from(store.limits().min_part).expect("small").max(100_000);
    let body = pattern(3 * size + 12_345, 3);
    let part = |n: usize| body.slice((n - 1) * size..body.len().min(n * size));

    // One after the other, in an order that no writer has.
    let upload = store.start_upload("uploads/any order", None).await.expect("an upload");
    for number in [3usize, 4, 1, 2] {
        upload.part(u32::try_from(number).expect("small"), part(number)).await.expect("a part");
        assert_eq!(store.head("uploads/any order").await.expect("an answer"), None, "not visible yet");
        assert!(keys(store, "uploads/").await.is_empty(), "not visible yet");
    }
    upload.complete().await.expect("complete");
    assert!(read(store, "uploads/any order").await == body);

    // All at once, over an object that is there.
    store.put("uploads/at once", Bytes::from_static(b"old"), None).await.expect("put");
    let upload =
        store.start_upload("uploads/at once", Some(&"STANDARD".parse().expect("a class"))).await.expect("an upload");
    try_join_all((1..=4usize).map(|n| upload.part(u32::try_from(n).expect("small"), part(n)))).await.expect("parts");
    assert_eq!(read(store, "uploads/at once").await, "old");
    upload.complete().await.expect("complete");
    assert!(read(store, "uploads/at once").await == body);
    let across = (size as u64 - 10)..(size as u64 + 10);
    let found = collect(store, "uploads/at once", Some(across)).await.expect("a range");
    assert_eq!(found, body.slice(size - 10..size + 10));

    // A part may be sent again, as after a lost answer.
    let upload = store.start_upload("uploads/again", None).await.expect("an upload");
    let (first, second) =
        if quirks.parts_stay { (part(1), Bytes::from_static(b"end")) } else { (pattern(size, 99), pattern(400, 99)) };
    upload.part(1, first).await.expect("a part");
    upload.part(2, second).await.expect("a part");
    upload.part(2, Bytes::from_static(b"end")).await.expect("a part");
    upload.part(1, part(1)).await.expect("a part");
    upload.complete().await.expect("complete");
    assert!(read(store, "uploads/again").await == [part(1), Bytes::from_static(b"end")].concat());

    // One small part, one empty part, no part.
    for (key, parts) in [("uploads/small", Some("x")), ("uploads/empty", Some("")), ("uploads/none", None)] {
        let upload = store.start_upload(key, None).await.expect("an upload");
        if let Some(part) = parts {
            upload.part(1, Bytes::from_static(part.as_bytes())).await.expect("a part");
        }
        upload.complete().await.expect(key);
        assert_eq!(read(store, key).await, parts.unwrap_or_default());
    }
    if quirks.lists_uploads {
        assert!(store.open_uploads("uploads").await.expect("uploads").is_empty());
    }
}

async fn failing_uploads(store: &dyn Store, quirks: Quirks) {
    let size = usize::try_from(store.limits().min_part).expect("small").max(1000);
    let body = |length: usize| pattern(length, 5);

    let upload = store.start_upload("failing/aborted", None).await.expect("an upload");
    upload.part(1, body(size)).await.expect("a part");
    upload.part(2, body(10)).await.expect("a part");
    upload.abort().await.expect("abort");
    store.start_upload("failing/aborted", None).await.expect("an upload").abort().await.expect("abort at once");

    for (case, parts) in [
        ("a gap", vec![(1, size), (3, size)]),
        ("no first part", vec![(2, size)]),
        ("a small part in the middle", vec![(1, size), (2, size - 1), (3, size)]),
        ("a last part that is too large", vec![(1, size), (2, size + 1)]),
    ] {
        let upload = store.start_upload("failing/upload", None).await.expect("an upload");
        for (number, length) in parts {
            upload.part(number, body(length)).await.expect("a part");
        }
        expect_problem(upload.complete().await, StoreProblem::Other);
        assert_eq!(store.head("failing/upload").await.expect("an answer"), None, "{case}");
    }

    let upload = store.start_upload("failing/numbers", None).await.expect("an upload");
    upload.part(0, Bytes::new()).await.expect_err("numbers start at 1");
    upload.part(store.limits().max_parts + 1, Bytes::new()).await.expect_err("numbers have an end");
    drop(upload);

    assert!(keys(store, "failing/").await.is_empty(), "nothing is left behind");
    if quirks.lists_uploads {
        for _ in 0..50 {
            if store.open_uploads("failing").await.expect("uploads").is_empty() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("an upload is left behind: {:?}", store.open_uploads("failing").await);
    }
}

async fn open_uploads(store: &dyn Store, quirks: Quirks) {
    if !quirks.lists_uploads {
        expect_problem(store.open_uploads("").await, StoreProblem::Unsupported);
        return;
    }
    let mut alive = Vec::new();
    for key in ["open/a", "open/b", "open/b", "open/c d+ü"] {
        let upload = store.start_upload(key, None).await.expect("an upload");
        upload.part(1, Bytes::from_static(b"x")).await.expect("a part");
        alive.push(upload);
    }
    let mut found = store.open_uploads("open/").await.expect("uploads");
    found.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(found.iter().map(|u| u.key.as_str()).collect::<Vec<_>>(), ["open/a", "open/b", "open/b", "open/c d+ü"]);
    assert!(found.iter().all(|upload| upload.started.is_some()));
    assert_eq!(store.open_uploads("open/b").await.expect("uploads").len(), 2);
    assert!(store.open_uploads("elsewhere/").await.expect("uploads").is_empty());
    for upload in &found {
        store.abort_upload(upload).await.expect("abort");
        store.abort_upload(upload).await.expect("aborting again is fine");
    }
    assert!(store.open_uploads("open/").await.expect("uploads").is_empty());
    for upload in alive {
        assert!(upload.complete().await.is_err(), "it was aborted under its writer");
    }
    assert!(keys(store, "open/").await.is_empty());
}

async fn everything_goes(store: &dyn Store, quirks: Quirks) {
    let all = keys(store, "").await;
    store.delete(&all).await.expect("delete");
    assert!(keys(store, "").await.is_empty());
    assert!(quirks.folders_stay || store.list_folders("").await.expect("folders").is_empty());
}

#[tokio::test]
async fn memory_conforms() {
    conformance(Arc::new(MemoryStore::new()), Quirks::NONE).await;
}

#[tokio::test]
async fn a_decorator_without_faults_conforms() {
    conformance(Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()))), Quirks::NONE).await;
}

#[tokio::test]
async fn a_folder_conforms_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("below/not there yet");
    let url: StoreUrl = format!("file://{}", root.display()).parse().expect("a URL");
    let store = open(&url, &S3Options::default()).await.expect("a store");
    assert_eq!(store.describe(), url.to_string());
    expect_problem(store.list("").await, StoreProblem::NoBucket);
    conformance(store, Quirks::NONE).await;
    assert_eq!(std::fs::read_dir(&root).expect("the root stays").count(), 0);
}

#[tokio::test]
async fn only_their_owner_can_read_the_files_of_a_folder() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let store = FolderStore::open(&folder.path().join("store")).expect("a store");
    store.put("a/b", Bytes::from_static(b"x"), None).await.expect("put");
    let mode = |path: &str| folder.path().join(path).metadata().expect("there").permissions().mode() & 0o777;
    assert_eq!((mode("store"), mode("store/a"), mode("store/a/b")), (0o700, 0o700, 0o600));
}

#[tokio::test]
async fn a_folder_shows_what_a_killed_process_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = FolderStore::open(folder.path()).expect("a store");
    let upload = store.start_upload("x/y", None).await.expect("an upload");
    upload.part(1, Bytes::from_static(b"x")).await.expect("a part");
    std::mem::forget(upload);
    assert!(store.list("").await.expect("a list").is_empty());
    assert!(store.list_folders("").await.expect("folders").is_empty());
    let left = store.open_uploads("").await.expect("uploads");
    assert_eq!(left.len(), 1);
    store.abort_upload(&left[0]).await.expect("abort");
    assert_eq!(std::fs::read_dir(folder.path()).expect("the root").count(), 0);
}

#[tokio::test]
async fn of_many_writers_exactly_one_creates_an_object() {
    let folder = tempfile::tempdir().expect("a folder");
    let stores: [Arc<dyn Store>; 2] =
        [Arc::new(MemoryStore::new()), Arc::new(FolderStore::open(folder.path()).expect("a store"))];
    for store in stores {
        let writers = (0..20).map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.put_new("deep/er/one", Bytes::from(format!("{n}"))).await.is_ok() })
        });
        let outcomes = try_join_all(writers).await.expect("no panic");
        assert_eq!(outcomes.into_iter().filter(|won| *won).count(), 1);
    }
}

/// An S3 server over real HTTP on a loopback port; it lives as long as the runtime of the test.
pub(crate) async fn in_process_s3(folder: &Path) -> SocketAddr {
    std::fs::create_dir(folder.join("bucket")).expect("a bucket");
    serve(s3s_fs::FileSystem::new(folder).expect("a file system")).await
}

async fn serve(s3: impl s3s::S3) -> SocketAddr {
    let mut builder = S3ServiceBuilder::new(s3);
    builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
    let service = builder.build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let _ = HttpServer::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    address
}

fn s3_options(endpoint: String, key: &str, secret: &str, region: Option<&str>) -> S3Options {
    S3Options {
        endpoint: Some(endpoint),
        path_style: None,
        region: region.map(str::to_owned),
        credentials: Some((key.to_owned(), Secret::new(secret))),
        patience: Patience { total: Duration::from_secs(30), stall: Duration::from_secs(3) },
        ..S3Options::default()
    }
}

/// How the library reaches a store of the tests.
pub(crate) fn options_of(s3: &pgstow_parts::S3) -> S3Options {
    s3_options(s3.endpoint.clone(), &s3.access_key, &s3.secret_key, Some(&s3.region))
}

pub(crate) async fn s3_store(address: SocketAddr, url: &str) -> Arc<dyn Store> {
    let options = s3_options(format!("http://{address}"), KEY, SECRET, Some("us-east-1"));
    open(&url.parse().expect("a URL"), &options).await.expect("a store")
}

#[tokio::test]
async fn s3_in_process_conforms() {
    let folder = tempfile::tempdir().expect("a folder");
    let address = in_process_s3(folder.path()).await;
    let store = s3_store(address, "s3://bucket/some/prefix").await;
    assert_eq!(store.describe(), "s3://bucket/some/prefix");
    // s3s-fs 0.14 has no ListMultipartUploads, and answers 500 for a path that is a folder of its own.
    conformance(store, Quirks { lists_uploads: false, folders_confuse_it: true, ..Quirks::NONE }).await;
}

#[tokio::test]
async fn a_real_s3_store_conforms() {
    let s3 = pgstow_parts::garage();
    real_s3(&s3.endpoint, &s3.access_key, &s3.secret_key, &s3.region, &s3.bucket).await;
}

#[tokio::test]
async fn a_store_that_answers_in_its_own_words_conforms() {
    let s3 = pgstow_parts::rclone();
    let options = s3_options(s3.endpoint, &s3.access_key, &s3.secret_key, Some(&s3.region));
    let url: StoreUrl = format!("s3://{}/conformance/{}", s3.bucket, rand_tail()).parse().expect("a URL");
    let store = open(&url, &options).await.expect("a store");
    conformance(store, Quirks { folders_confuse_it: true, parts_stay: true, folders_stay: true, ..Quirks::NONE }).await;
}

#[test]
fn every_verb_works_with_a_store_that_answers_in_its_own_words() {
    let s3 = pgstow_parts::rclone();
    let source = pgstow_parts::Database::fresh(&pgstow_parts::server(18), "own_words");
    source.execute(
        "CREATE TABLE t AS SELECT n, md5(n::text) || md5((n + 1)::text) AS a FROM generate_series(1, 200000) n;
         SELECT lo_from_bytea(0, 'abc')",
    );
    let store = s3.location(&format!("verbs/{}", rand_tail()));
    let run = |arguments: &[&str]| {
        let start = std::time::Instant::now();
        let ran = crate::support::pgstow(&s3, arguments).fine();
        assert!(start.elapsed() < Duration::from_secs(60), "{arguments:?} took {:?}", start.elapsed());
        ran
    };
    // Several parts.
    run(&["dump", "-d", &source.url(), "--to", &store, "-Z", "none", "--part-size", "5MiB"]);
    let target = pgstow_parts::Database::fresh(&source.server, "own_words");
    run(&["list", "--from", &store]);
    run(&["verify", "latest", "--from", &store]);
    run(&["check", "--max-age", "1d", "--from", &store]);
    run(&["restore", "latest", "--from", &store, "-d", &target.url(), "--verify"]);
    run(&["dump", "-d", &source.url(), "--to", &store, "-Z", "none", "--part-size", "5MiB"]);
    run(&["prune", "--keep-last", "1", "--from", &store]);
    let copies = s3.location(&format!("copies/{}", rand_tail()));
    run(&["copy", "latest", "--from", &store, "--to", &copies]);
    run(&["verify", "latest", "--from", &copies]);
}

/// The suite against a real S3 server: in a fresh prefix of the bucket, with what it says to strangers.
async fn real_s3(endpoint: &str, key: &str, secret: &str, region: &str, bucket: &str) {
    let options = s3_options(endpoint.to_owned(), key, secret, Some(region));
    let prefix = format!("conformance/{}-{}", std::process::id(), rand_tail());
    let url: StoreUrl = format!("s3://{bucket}/{prefix}").parse().expect("a URL");
    let store = open(&url, &options).await.expect("a store");
    conformance(Arc::clone(&store), Quirks::NONE).await;

    let missing = open(&format!("s3://no-such-bucket-{}/x", rand_tail()).parse().expect("a URL"), &options)
        .await
        .expect("a store");
    let error = missing.list("").await.expect_err("no such bucket");
    assert!(matches!(problem(&error), Some(StoreProblem::NoBucket | StoreProblem::Denied)), "{error:?}");
    assert!(error.hint_text().is_some());

    let denied =
        open(&url, &s3_options(endpoint.to_owned(), key, &"0".repeat(64), Some(region))).await.expect("a store");
    expect_problem(denied.list("").await, StoreProblem::Denied);
    expect_problem(denied.put("x", Bytes::new(), None).await, StoreProblem::Denied);

    if let Some(address) = endpoint.strip_prefix("http://").and_then(|address| address.parse().ok()) {
        a_completion_whose_answer_was_lost_succeeds(address, &url.to_string(), &options).await;
    }
}

fn rand_tail() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_nanos()
}
