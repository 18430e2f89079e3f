//! What an S3 store makes of a network and a server that fail: broken connections, lost answers, errors in disguise.
//!
//! A proxy stands between the store and a real server and does the harm; everything else is the real thing.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use pgstow::error::{Error, Kind};
use pgstow::model::Secret;
use pgstow::store::{S3Options, Store, StoreProblem, open, problem};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::store::{KEY, SECRET, in_process_s3, s3_store};

/// What the proxy does to the answer of the next request whose head contains `needle`.
#[derive(Debug, Clone)]
struct Harm {
    needle: &'static str,
    /// This many bytes of the answer still pass.
    after: usize,
    /// Sent instead of the answer, and the request does not reach the server.
    instead: Option<String>,
    /// What does not pass is not the end of the connection: it stays open and silent.
    silent: bool,
}

/// A proxy on a loopback port, one request a connection, and the harm it is to do; each harm happens once.
#[derive(Debug, Clone, Default)]
struct Proxy {
    harms: Arc<Mutex<Vec<Harm>>>,
}

impl Proxy {
    async fn before(&self, server: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let proxy = self.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let proxy = proxy.clone();
                tokio::spawn(async move { proxy.pass(client, server).await });
            }
        });
        address
    }

    fn harm(&self, needle: &'static str, after: usize) {
        self.harms.lock().expect("a lock").push(Harm { needle, after, instead: None, silent: false });
    }

    fn answer(&self, needle: &'static str, status: &str, body: &str) {
        let text = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/xml\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.harms.lock().expect("a lock").push(Harm { needle, after: 0, instead: Some(text), silent: false });
    }

    fn silence(&self, needle: &'static str, after: usize) {
        self.harms.lock().expect("a lock").push(Harm { needle, after, instead: None, silent: true });
    }

    fn all_done(&self) -> bool {
        self.harms.lock().expect("a lock").is_empty()
    }

    async fn pass(&self, mut client: TcpStream, server: SocketAddr) -> Option<()> {
        let mut server = TcpStream::connect(server).await.ok()?;
        let mut head = Vec::new();
        let (mut allowed, mut silent) = (usize::MAX, false);
        let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        loop {
            tokio::select! {
                sent = client.read(&mut up) => {
                    let sent = sent.ok().filter(|n| *n > 0)?;
                    if up.starts_with(b"GET ") || up.starts_with(b"PUT ") || up.starts_with(b"POST ") || up.starts_with(b"HEAD ") {
                        head.clear();
                    }
                    head.extend_from_slice(&up[..sent.min(8192)]);
                    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
                    let found = {
                        let mut harms = self.harms.lock().expect("a lock");
                        let place = harms.iter().position(|harm| text.contains(harm.needle));
                        place.map(|place| harms.remove(place))
                    };
                    if let Some(harm) = found {
                        (allowed, silent) = (harm.after, harm.silent);
                        if let Some(instead) = harm.instead {
                            client.write_all(instead.as_bytes()).await.ok()?;
                            return None;
                        }
                    }
                    server.write_all(&up[..sent]).await.ok()?;
                }
                received = server.read(&mut down) => {
                    let received = received.ok().filter(|n| *n > 0)?;
                    let passing = received.min(allowed);
                    client.write_all(&down[..passing]).await.ok()?;
                    if allowed != usize::MAX {
                        allowed -= passing;
                        if passing < received {
                            if silent {
                                let _until_the_client_gives_up = client.read(&mut up).await;
                            }
                            return None;
                        }
                    }
                }
            }
        }
    }
}

/// A store before an in-process S3 server, with a proxy between them.
async fn shaky_store() -> (Arc<dyn Store>, Proxy, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = in_process_s3(folder.path()).await;
    let proxy = Proxy::default();
    let address = proxy.before(server).await;
    (s3_store(address, "s3://bucket/shaky").await, proxy, folder)
}

async fn read(store: &dyn Store, key: &str) -> Result<Bytes, Error> {
    let chunks: Vec<Bytes> = store.get(key, None).await?.try_collect().await?;
    Ok(chunks.concat().into())
}

#[tokio::test]
async fn a_body_that_breaks_off_is_read_on() {
    let (store, proxy, _folder) = shaky_store().await;
    let body: Bytes = (0..3_000_000u32).map(|n| u8::try_from(n * 7 % 251).expect("a byte")).collect();
    store.put("large", body.clone(), None).await.expect("put");
    for after in [900_000, 5_000, 1_700_000] {
        proxy.harm("get /bucket/shaky/large", after);
    }
    assert!(read(&*store, "large").await.expect("all of it") == body);
    assert!(proxy.all_done());
}

#[tokio::test]
async fn a_transfer_that_stands_still_is_broken_off_and_tried_again() {
    let (store, proxy, _folder) = shaky_store().await;
    let body: Bytes = (0..3_000_000u32).map(|n| u8::try_from(n * 7 % 251).expect("a byte")).collect();
    store.put("large", body.clone(), None).await.expect("put");
    // One answer never begins, another stops in its middle.
    proxy.silence("head /bucket/shaky/large", 0);
    proxy.silence("get /bucket/shaky/large", 900_000);
    let (head, whole) = tokio::join!(store.head("large"), read(&*store, "large"));
    assert_eq!(head.expect("an answer").expect("an object").size, 3_000_000);
    assert!(whole.expect("all of it") == body);
    assert!(proxy.all_done());
}

#[tokio::test]
async fn credentials_that_expired_are_found_anew() {
    let (store, proxy, _folder) = shaky_store().await;
    store.put("a", Bytes::from_static(b"rows"), None).await.expect("put");
    let expired = "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>";
    for needle in ["put /bucket/shaky/b", "get /bucket/shaky/a", "post /bucket/shaky/c?uploads"] {
        proxy.answer(needle, "400 Bad Request", expired);
    }
    store.put("b", Bytes::from_static(b"rows"), None).await.expect("put");
    assert_eq!(read(&*store, "a").await.expect("an object"), "rows");
    let upload = store.start_upload("c", None).await.expect("an upload");
    upload.part(1, Bytes::from_static(b"rows")).await.expect("a part");
    proxy.answer("post /bucket/shaky/c?uploadid", "400 Bad Request", expired);
    upload.complete().await.expect("complete");
    assert!(proxy.all_done());
}

#[tokio::test]
async fn trouble_that_outlasts_the_sdk_is_waited_out() {
    let (store, proxy, _folder) = shaky_store().await;
    store.put("a", Bytes::from_static(b"x"), None).await.expect("put");
    let slow = "<Error><Code>SlowDown</Code><Message>later</Message></Error>";
    for _ in 0..6 {
        proxy.answer("head /bucket/shaky/a", "503 Slow Down", slow);
    }
    assert!(store.head("a").await.expect("an answer").is_some());
    assert!(proxy.all_done());
}

#[tokio::test]
async fn an_object_replaced_while_it_is_read_is_an_error() {
    let (store, proxy, _folder) = shaky_store().await;
    store.put("large", Bytes::from(vec![1; 8_000_000]), None).await.expect("put");
    proxy.harm("get /bucket/shaky/large", 1_000);
    let stream = store.get("large", None).await.expect("a stream");
    store.put("large", Bytes::from(vec![2; 8_000_000]), None).await.expect("put");
    let error = stream.try_collect::<Vec<Bytes>>().await.expect_err("two halves of two objects");
    assert!(error.to_string().contains("replaced"), "{error}");
}

#[tokio::test]
async fn a_new_object_whose_answer_was_lost_was_written() {
    let (store, proxy, _folder) = shaky_store().await;
    proxy.harm("if-none-match", 0);
    store.put_new("manifest", Bytes::from_static(b"mine")).await.expect("it is there, and ours");
    assert!(proxy.all_done());
    assert_eq!(read(&*store, "manifest").await.expect("an object"), "mine");
}

#[tokio::test]
async fn a_new_object_is_not_ours_because_a_request_failed() {
    let (store, proxy, _folder) = shaky_store().await;
    // The first conditional write never arrives, and somebody else's does before the second.
    proxy.answer("if-none-match", "503 Slow Down", "<Error><Code>SlowDown</Code><Message>later</Message></Error>");
    let (mine, theirs) = tokio::join!(store.put_new("manifest", Bytes::from_static(b"mine")), async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        store.put("manifest", Bytes::from_static(b"theirs"), None).await
    });
    theirs.expect("put");
    assert_eq!(problem(&mine.expect_err("theirs came first")), Some(StoreProblem::AlreadyExists));
    assert_eq!(read(&*store, "manifest").await.expect("an object"), "theirs");
}

#[tokio::test]
async fn a_store_without_conditional_writes_still_refuses_to_overwrite() {
    let (store, proxy, _folder) = shaky_store().await;
    let body = "<Error><Code>NotImplemented</Code><Message>If-None-Match</Message></Error>";
    proxy.answer("if-none-match", "501 Not Implemented", body);
    store.put_new("a", Bytes::from_static(b"first")).await.expect("written without a condition");
    let error = store.put_new("a", Bytes::from_static(b"second")).await.expect_err("asked before");
    assert_eq!(problem(&error), Some(StoreProblem::AlreadyExists));
    assert_eq!(read(&*store, "a").await.expect("an object"), "first");
}

#[tokio::test]
async fn a_completion_that_says_200_and_error_is_an_error_and_aborts() {
    let (store, proxy, folder) = shaky_store().await;
    let upload = store.start_upload("a", None).await.expect("an upload");
    upload.part(1, Bytes::from_static(b"x")).await.expect("a part");
    // White space first, as AWS sends it to keep the connection alive while it assembles.
    let body =
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n   \n<Error><Code>InvalidPart</Code><Message>no</Message></Error>";
    // The same with an error that may pass comes first, and is tried again.
    proxy.answer("post /bucket/shaky/a?", "200 OK", &body.replace("InvalidPart", "InternalError"));
    proxy.answer("post /bucket/shaky/a?", "200 OK", body);
    let error = upload.complete().await.expect_err("an error in disguise");
    assert!(error.to_string().contains("InvalidPart"), "{error}");
    assert_eq!(store.head("a").await.expect("an answer"), None);
    let parts = std::fs::read_dir(folder.path()).expect("the root").filter_map(Result::ok);
    let left: Vec<_> = parts.filter(|entry| entry.file_name().to_string_lossy().contains("upload_id")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A completion whose answer is lost succeeds when it is sent again, although the server no longer knows the upload.
/// For servers that say `NoSuchUpload` then; `s3s-fs` says `AccessDenied`.
pub(crate) async fn a_completion_whose_answer_was_lost_succeeds(server: SocketAddr, url: &str, options: &S3Options) {
    let proxy = Proxy::default();
    let address = proxy.before(server).await;
    let options = S3Options { endpoint: Some(format!("http://{address}")), ..options.clone() };
    let store = open(&url.parse().expect("a URL"), &options).await.expect("a store");
    let upload = store.start_upload("lost answer", None).await.expect("an upload");
    upload.part(1, Bytes::from_static(b"once")).await.expect("a part");
    proxy.harm("post /", 0);
    upload.complete().await.expect("complete");
    assert!(proxy.all_done());
    assert_eq!(read(&*store, "lost answer").await.expect("an object"), "once");
    store.delete(&["lost answer".to_owned()]).await.expect("delete");
}

#[tokio::test]
async fn a_part_whose_answer_was_lost_is_sent_again() {
    let (store, proxy, _folder) = shaky_store().await;
    let upload = store.start_upload("a", None).await.expect("an upload");
    proxy.harm("partnumber=1", 0);
    upload.part(1, Bytes::from_static(b"once")).await.expect("a part");
    upload.complete().await.expect("complete");
    assert!(proxy.all_done());
    assert_eq!(read(&*store, "a").await.expect("an object"), "once");
}

#[tokio::test]
async fn failures_say_what_to_do() {
    let (store, proxy, _folder) = shaky_store().await;
    let cases = [
        ("403 Forbidden", "AccessDenied", StoreProblem::Denied, "policy"),
        ("403 Forbidden", "InvalidAccessKeyId", StoreProblem::Denied, "does not accept this key"),
        ("404 Not Found", "NoSuchBucket", StoreProblem::NoBucket, "create the bucket"),
        ("301 Moved Permanently", "PermanentRedirect", StoreProblem::Other, "AWS_REGION"),
        ("400 Bad Request", "AuthorizationHeaderMalformed", StoreProblem::Other, "AWS_REGION"),
        ("403 Forbidden", "InvalidObjectState", StoreProblem::Frozen, "archive class"),
    ];
    for (status, code, expected, hint) in cases {
        let body = format!("<Error><Code>{code}</Code><Message>said so&#27;[31m</Message></Error>");
        proxy.answer("get /bucket/shaky/x", status, &body);
        let error = store.get("x", None).await.map(drop).expect_err(code);
        assert_eq!((error.kind(), problem(&error)), (Kind::Store, Some(expected)), "{error}");
        assert!(error.hint_text().is_some_and(|text| text.contains(hint)), "{code}: {:?}", error.hint_text());
        assert!(error.to_string().contains("s3://bucket/shaky/x") && !error.to_string().contains('\u{1b}'), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let options = S3Options {
        endpoint: Some(format!("http://{nobody}")),
        credentials: Some((KEY.to_owned(), Secret::new(SECRET))),
        ..S3Options::default()
    };
    let store = open(&"s3://bucket/x".parse().expect("a URL"), &options).await.expect("a store");
    let error = store.list("").await.expect_err("nobody listens");
    assert_eq!(problem(&error), Some(StoreProblem::Unreachable), "{error}");
    assert!(error.hint_text().is_some_and(|hint| hint.contains("endpoint")));
    assert!(!format!("{store:?} {options:?} {error:?}").contains(SECRET));
}

#[tokio::test]
async fn a_key_that_xml_cannot_write_does_not_hide_the_others() {
    let (store, proxy, _folder) = shaky_store().await;
    let page = |encoding: &str, keys: [&str; 2]| {
        let entries = keys.map(|key| format!("<Contents><Key>shaky/{key}</Key><Size>1</Size></Contents>")).concat();
        format!("<ListBucketResult><IsTruncated>false</IsTruncated>{encoding}{entries}</ListBucketResult>")
    };
    // As Garage 2.5 answers, first without and then with encoded keys.
    proxy.answer("list-type=2", "200 OK", &page("", ["bad\u{1}key", "fine"]));
    let encoded = page("<EncodingType>url</EncodingType>", ["bad%01key", "f%20i+n%2Be"]);
    proxy.answer("encoding-type=url", "200 OK", &encoded);
    let keys: Vec<String> = store.list("").await.expect("a list").into_iter().map(|entry| entry.key).collect();
    assert_eq!(keys, ["bad\u{1}key", "f i n+e"]);
}
