//! Backups in archive classes: told apart at once, thawed, restored. Against moto, which thaws when it is told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::sync::{Arc, Once};

use pgstow::commands::thaw::{ThawOptions, thaw};
use pgstow::commands::{Progress, Stop};
use pgstow::error::Kind;
use pgstow::store::{MemoryStore, Store, Thawing, Tier};
use pgstow_parts::{Database, S3, garage, moto, server};

use crate::past::Past;
use crate::store::options_of;
use crate::support::{Backup, Ran, assert_same_data, pgstow, shop};

/// moto, told to answer twice that a thaw is under way.
fn slow() -> S3 {
    static TOLD: Once = Once::new();
    let s3 = moto();
    TOLD.call_once(|| {
        let body = r#"{"model_name": "s3::keyrestore", "transition": {"progression": "manual", "times": 2}}"#;
        let address = s3.endpoint.trim_start_matches("http://").to_owned();
        let mut socket = std::net::TcpStream::connect(&address).unwrap();
        let head = "POST /moto-api/state-manager/set-transition HTTP/1.1";
        let length = body.len();
        write!(
            socket,
            "{head}\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: \
             {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    });
    s3
}

fn run(backup: &Backup, verb: &str, arguments: &[&str]) -> Ran {
    let from = backup.store();
    pgstow(&backup.s3, &[&[verb, &backup.id, "--from", &from], arguments].concat())
}

#[test]
fn a_frozen_backup_is_said_to_be_so_at_once_then_thawed_then_restored() {
    let database = shop(&server(18), "thaw_shop");
    let backup = Backup::make(&slow(), &database, &["--storage-class", "GLACIER"]);
    let name = format!("{}/{}", backup.database, backup.id);
    let target = Database::fresh(&server(18), "thaw_target");
    let command = format!("pgstow thaw {name}");
    let elsewhere = tempfile::tempdir().unwrap();
    let (script, copy) = (elsewhere.path().join("s.sql"), format!("file://{}/copy", elsewhere.path().display()));
    let frozen = |words: &str| {
        backup.restore(&target, &["--clean", "--if-exists"]).failed(5, &[words, &command]);
        run(&backup, "verify", &[]).failed(5, &[words, &command]);
        run(&backup, "export", &["-f", script.to_str().unwrap()]).failed(5, &[words, &command]);
        run(&backup, "copy", &["--to", &copy]).failed(5, &[words, &command]);
    };
    frozen("GLACIER and has to be thawed");
    assert_eq!(target.value("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0", "it was not touched");
    assert!(!elsewhere.path().join("copy").exists());
    // What tells about it can be read all the time.
    run(&backup, "show", &[]).fine();
    run(&backup, "verify", &["--quick"]).fine();
    let url = target.url();
    run(&backup, "restore", &["--dry-run", "-d", &url]).fine();
    run(&backup, "restore", &["--globals-only", "-d", &url]).fine();

    let asked = run(&backup, "thaw", &["--days", "2", "--tier", "bulk", "--json"]).fine().json();
    let archived = asked["archived"].as_u64().unwrap();
    assert!(archived > 3 && asked["objects"].as_u64().unwrap() > archived, "{asked}");
    assert_eq!((&asked["asked"], &asked["under_way"]), (&asked["archived"], &0.into()), "{asked}");
    backup.restore(&target, &[]).failed(5, &["is being thawed", "--wait"]);
    let again = run(&backup, "thaw", &["--days", "2", "--wait", "--json"]).fine().json();
    assert_eq!((&again["asked"], &again["readable"]), (&0.into(), &asked["archived"]), "{again}");
    backup.restore(&target, &["--verify"]).fine();
    assert_same_data(&database, &target);
    run(&backup, "verify", &[]).fine();

    let words = run(&backup, "thaw", &["--days", "1"]).fine().stdout;
    assert!(words.contains("all of it can be read until ") && words.contains(&name), "{words}");
    assert!(!words.contains("longer"), "it was not asked for again: {words}");
    let longer = run(&backup, "thaw", &["--days", "9", "--json"]).fine().json();
    assert_eq!((&longer["asked"], &longer["extended"]), (&0.into(), &asked["archived"]), "{longer}");
}

#[test]
fn what_is_not_frozen_needs_no_thawing_and_a_tier_has_to_fit_the_class() {
    let database = Database::fresh(&server(18), "thaw_classes");
    database.execute("CREATE TABLE t AS SELECT 1 AS n");
    for (s3, class) in [(moto(), "GLACIER_IR"), (garage(), "STANDARD")] {
        let backup = Backup::make(&s3, &database, &["--storage-class", class]);
        let said = run(&backup, "thaw", &[]).fine().stdout;
        assert!(said.contains("nothing is frozen"), "{said}");
        backup.restore(&Database::fresh(&server(18), "thaw_not"), &[]).fine();
    }
    let deep = Backup::make(&slow(), &database, &["--storage-class", "DEEP_ARCHIVE"]);
    run(&deep, "thaw", &["--tier", "expedited"]).failed(2, &["DEEP_ARCHIVE", "--tier"]);
    let said = run(&deep, "thaw", &[]).fine().stdout;
    assert!(said.contains("1 asked for now") && said.contains("standard takes up to 12 hours"), "{said}");
}

#[tokio::test]
async fn a_thaw_that_somebody_asked_for_before_is_none_to_fail_at() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        let (mut request, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            request.push_str(&line);
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let answer = "<Error><Code>RestoreAlreadyInProgress</Code><Message>again</Message></Error>";
        write!(socket, "HTTP/1.1 409 Conflict\r\ncontent-length: {}\r\n\r\n{answer}", answer.len()).unwrap();
        request + &String::from_utf8(body).unwrap()
    });
    let options = options_of(&S3 { endpoint, ..moto() });
    let store = pgstow::store::open(&"s3://b/p".parse().unwrap(), &options).await.unwrap();
    store.thaw("a", Some(3), Tier::Bulk).await.expect("under way is as good");
    let asked = server.join().unwrap();
    assert!(asked.starts_with("POST /b/p/a?restore"), "{asked}");
    assert!(asked.contains("<Days>3</Days>") && asked.contains("<Tier>Bulk</Tier>"), "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn how_an_object_stands_is_told_for_archive_classes_alone() {
    let s3 = slow();
    let place = s3.location(&s3.fresh_prefix("stands"));
    let store = pgstow::store::open(&place.parse().unwrap(), &options_of(&s3)).await.unwrap();
    let state = async |key: &str| store.head(key).await.unwrap().expect("an object").thawing;
    for (key, class, expected) in
        [("a", "STANDARD_IA", None), ("b", "GLACIER_IR", None), ("c", "GLACIER", Some(Thawing::Frozen))]
    {
        store.put(key, "x".into(), Some(&class.parse().unwrap())).await.unwrap();
        assert_eq!(state(key).await, expected, "{class}");
    }
    store.thaw("c", Some(1), Tier::Expedited).await.unwrap();
    assert_eq!(state("c").await, Some(Thawing::UnderWay));
}

#[tokio::test]
async fn what_a_class_archived_by_itself_is_found_and_thawed_for_good() {
    let store = MemoryStore::new();
    let folder = Past::get().write(&store, "shop", "20261101T020000Z", |_| {}).await;
    let data = store.list(&format!("{folder}data_")).await.unwrap();
    // Of what lies in such a class not all is archived.
    for entry in &data[1..] {
        store.archive(&entry.key);
    }
    let options = |tier| ThawOptions {
        store: Arc::new(store.clone()),
        backup: "latest".to_owned(),
        days: 3,
        tier,
        wait: true,
        now: "2026-11-24T03:00:00Z".parse().unwrap(),
    };
    let run = |tier| thaw(options(tier), Arc::new(Progress::default()), Stop::default());
    assert_eq!(run(Tier::Expedited).await.expect_err("no such tier").kind(), Kind::Usage);
    let report = run(Tier::Bulk).await.unwrap();
    let archived = data.len() as u64 - 1;
    assert!(archived > 0);
    assert_eq!((report.archived, report.asked, report.readable), (archived, archived, archived));
    assert_eq!((report.class.as_deref(), report.until), (Some("DEEP_ARCHIVE_ACCESS"), None));
    assert_eq!(run(Tier::Bulk).await.unwrap().archived, 0, "it is no copy that goes again");
}
