//! Setting up a bucket: against moto, which has all that AWS has, and against a store that has little of it.

use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicU32, Ordering};

use pgstow::store::{BucketState, BucketStep, Deletion, Encryption, LifecycleRule, S3Store, Store};
use pgstow_parts::{Database, S3, garage, moto, server};
use serde_json::Value;

use crate::store::options_of;
use crate::support::{Ran, command, pgstow};

/// A name that no other test uses, for a bucket that does not exist yet.
fn unmade() -> S3 {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    S3 { bucket: format!("made-{}", NUMBER.fetch_add(1, Ordering::Relaxed)), ..moto() }
}

async fn store(s3: &S3) -> S3Store {
    S3Store::connect(&s3.bucket, "db", &options_of(s3)).await.unwrap()
}

async fn look(s3: &S3) -> BucketState {
    store(s3).await.look_at_bucket().await.unwrap().expect("a bucket")
}

/// What became of each aspect.
fn outcomes(report: &Value) -> Vec<(&str, &str)> {
    report["aspects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|aspect| (aspect["aspect"].as_str().unwrap(), aspect["outcome"].as_str().unwrap()))
        .collect()
}

/// One request as it is, for what pgstow never does.
fn put(s3: &S3, path_and_query: &str, body: &str) {
    let address = s3.endpoint.trim_start_matches("http://");
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    write!(
        socket,
        "PUT /{}{path_and_query} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nauthorization: AWS4-HMAC-SHA256 \
         Credential={}/20261124/us-east-1/s3/aws4_request\r\ncontent-length: {}\r\n\r\n{body}",
        s3.bucket,
        s3.access_key,
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_planned_then_made_then_left_alone() {
    let s3 = unmade();
    let place = s3.location("db");
    let init = ["bucket", "init", "--to", &place, "--transition", "30:standard_ia", "--json"];
    let planned = pgstow(&s3, &init).fine().json();
    assert!(outcomes(&planned).iter().all(|(_, outcome)| *outcome == "differs"), "{planned}");
    assert_eq!(store(&s3).await.look_at_bucket().await.unwrap(), None, "a plan makes nothing");

    let made = pgstow(&s3, &[init.as_slice(), &["--yes"]].concat()).fine().json();
    assert!(outcomes(&made).iter().all(|(_, outcome)| *outcome == "changed"), "{made}");
    let state = look(&s3).await;
    assert_eq!(state.versioning.set(), Some(&true));
    assert_eq!(state.encryption.set(), Some(&Encryption::S3));
    assert_eq!(state.public_access_blocked.set(), Some(&true));
    let rule = LifecycleRule {
        id: "pgstow db".to_owned(),
        prefix: "db/".to_owned(),
        enabled: true,
        transitions: vec![(30, "STANDARD_IA".to_owned())],
        hidden_days: Some(30),
        abort_days: Some(7),
        ..LifecycleRule::default()
    };
    assert_eq!(state.lifecycle.set(), Some(&vec![rule]));

    let again = pgstow(&s3, &[init.as_slice(), &["--yes"]].concat()).fine().json();
    assert!(outcomes(&again).iter().all(|(_, outcome)| *outcome == "ok"), "{again}");
    pgstow(&s3, &["bucket", "check", "--to", &place, "--transition", "30:STANDARD_IA"]).fine();
    let differs = pgstow(&s3, &["bucket", "check", "--to", &place, "--hidden-days", "10"]);
    differs.failed(10, &["1 aspects"]);
    assert!(differs.stdout.contains("differs      lifecycle"), "{}", differs.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_encrypted_by_a_key_of_ones_own_if_asked() {
    let s3 = unmade();
    let (place, key) = (s3.location("db"), "arn:aws:kms:us-east-1:123456789012:key/1234");
    pgstow(&s3, &["bucket", "init", "--to", &place, "--kms-key", key, "--yes"]).fine();
    assert_eq!(look(&s3).await.encryption.set(), Some(&Encryption::Kms(Some(key.to_owned()))));
    // Who asks for the key knows it; to everybody else it is worth a word.
    pgstow(&s3, &["bucket", "check", "--to", &place, "--kms-key", key]).fine();
    let check = pgstow(&s3, &["bucket", "check", "--to", &place]);
    check.failed(10, &["1 risk"]);
    assert!(check.stdout.contains("without the right to use that key nobody can restore"), "{}", check.stdout);
    let other = "arn:aws:kms:us-east-1:123456789012:key/5678";
    pgstow(&s3, &["bucket", "check", "--to", &place, "--kms-key", other]).failed(10, &["1 aspects"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_set_stays() {
    let s3 = unmade();
    s3.create_bucket().unwrap();
    let theirs = r#"{"Version": "2012-10-17", "Statement": [{"Sid": "Theirs", "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "s3:GetObject", "Resource": "*"}]}"#;
    put(&s3, "?policy", theirs);
    let store = store(&s3).await;
    let rule = LifecycleRule {
        id: "theirs".to_owned(),
        prefix: "db/logs/".to_owned(),
        enabled: true,
        expire_days: Some(9),
        ..LifecycleRule::default()
    };
    store.change_bucket(&BucketStep::Lifecycle(rule.clone())).await.unwrap();
    for _ in 0..2 {
        store.change_bucket(&BucketStep::DenyWithoutTls).await.unwrap();
        pgstow(&s3, &["bucket", "init", "--to", &s3.location("db"), "--yes"]).fine();
    }
    let state = look(&s3).await;
    assert_eq!(state.tls_only.set(), Some(&true));
    let rules = state.lifecycle.set().unwrap();
    assert!(rules.len() == 2 && rules.contains(&rule), "{rules:?}");
    // Their rule would remove backups, which is said.
    let checked = pgstow(&s3, &["bucket", "check", "--to", &s3.location("db")]);
    checked.failed(10, &["1 risks"]);
    assert!(checked.stdout.contains("\"theirs\" expires objects after 9 days"), "{}", checked.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_bucket_hides_what_is_pruned_and_prune_says_so() {
    let s3 = unmade();
    let place = s3.location("db");
    pgstow(&s3, &["bucket", "init", "--to", &place, "--lock", "governance:1", "--hidden-days", "3", "--yes"]).fine();
    let deletion = store(&s3).await.deletion().await.unwrap();
    assert_eq!(deletion, Deletion::Hides { kept_days: Some(3), locked: true });
    // A locked bucket takes nothing without a checksum, which endpoints of one's own are not sent unasked.
    let database = Database::fresh(&server(18), "locked");
    let url = database.url();
    let dump = ["dump", "-d", &url, "--to", &place];
    pgstow(&s3, &dump).failed(5, &["AWS_REQUEST_CHECKSUM_CALCULATION"]);
    for _ in 0..2 {
        let mut command = command(&s3);
        command.args(dump).env("AWS_REQUEST_CHECKSUM_CALCULATION", "when_supported");
        Ran::of(&command.output().unwrap()).fine();
    }
    let said = pgstow(&s3, &["prune", "--from", &place, "--keep-last", "1"]).fine().stdout;
    assert!(said.contains("removed 1 (") && said.contains("removes them 3 days later"), "{said}");
    assert_eq!(
        pgstow(&s3, &["list", "--from", &place, "--json"]).fine().json()["backups"].as_array().unwrap().len(),
        1
    );
    // A bucket that is made with a lock has it from the beginning.
    let s3 = unmade();
    pgstow(&s3, &["bucket", "init", "--to", &s3.location("db"), "--lock", "compliance:2", "--yes"]).fine();
    assert_eq!(look(&s3).await.lock.set().unwrap().default.unwrap().to_string(), "COMPLIANCE for 2 days");
}

#[test]
fn what_aws_would_refuse_is_refused_before_anything_is_made() {
    let s3 = unmade();
    let place = s3.location("db");
    for (arguments, hint) in [
        (&["--transition", "7:STANDARD_IA"][..], "--storage-class STANDARD_IA"),
        (&["--transition", "90:GLACIER"], "--storage-class GLACIER"),
        (&["--lock", "governance:7", "--no-versioning"], "--no-versioning"),
    ] {
        pgstow(&s3, &[&["bucket", "init", "--to", &place, "--yes"], arguments].concat()).failed(2, &[hint]);
    }
    pgstow(&s3, &["bucket", "check", "--to", &place]).failed(5, &["bucket init"]);
    pgstow(&s3, &["bucket", "init", "--to", "file:///tmp/x"]).failed(2, &["folder"]);
}

#[test]
fn a_bucket_elsewhere_is_made_there_and_does_not_move() {
    let s3 = S3 { region: "eu-central-1".into(), ..unmade() };
    let place = s3.location("db");
    let init = ["bucket", "init", "--to", &place, "--yes", "--region"];
    pgstow(&s3, &[init.as_slice(), &["eu-central-1"]].concat()).fine();
    pgstow(&s3, &[init.as_slice(), &["us-west-2"]].concat()).failed(2, &["eu-central-1"]);
}

#[test]
fn a_store_that_lacks_features_is_set_up_as_far_as_it_goes() {
    let s3 = garage();
    let place = s3.location("set-up");
    let report = pgstow(&s3, &["bucket", "init", "--to", &place, "--yes", "--json"]).fine().json();
    let outcomes = outcomes(&report);
    assert!(outcomes.contains(&("versioning", "not offered")), "{report}");
    assert!(outcomes.contains(&("encryption", "not offered")), "{report}");
}

#[test]
fn a_policy_is_printed_without_asking_any_store() {
    let s3 = S3 { endpoint: "http://127.0.0.1:1".into(), ..moto() };
    for role in ["writer", "pruner", "restorer"] {
        let policy = pgstow(&s3, &["bucket", "policy", role, "--to", "s3://b/db"]).fine().json();
        assert_eq!(policy["Version"], "2012-10-17");
        assert_eq!(policy.to_string().contains("s3:DeleteObject"), role == "pruner");
    }
}

#[test]
fn what_a_run_used_becomes_a_policy_that_names_nothing_else() {
    let (s3, folder) = (garage(), tempfile::tempdir().unwrap());
    let (prefix, noted) = (s3.fresh_prefix("used"), folder.path().join("requests"));
    let (place, noted) = (s3.location(&prefix), noted.to_str().unwrap());
    let database = Database::fresh(&server(18), "used");
    database.execute("CREATE TABLE t AS SELECT n AS id FROM generate_series(1, 10) n");
    let name = &database.name;
    let used = ["bucket", "policy", "used", "--to", &place, "--requests", noted];
    pgstow(&s3, &used[..5]).failed(2, &["--requests"]);
    let statements = || pgstow(&s3, &used).fine().json()["Statement"].clone();
    let arn = |keys: &str| format!("arn:aws:s3:::{}{keys}", s3.bucket);
    let allow =
        |actions: &[&str], keys: &[String]| serde_json::json!({"Effect": "Allow", "Action": actions, "Resource": keys});

    pgstow(&s3, &["dump", "-d", &database.url(), "--to", &place, "--note-requests", noted]).fine();
    let ours = arn(&format!("/{prefix}/{name}/*"));
    let manifest = arn(&format!("/{prefix}/{name}/*/manifest.json"));
    // Whether there is one already is told only to those who may list it; and whether the folder has backups of another server.
    let (folder, asked) = (format!("{prefix}/{name}/"), format!("{prefix}/{name}/*/manifest.json"));
    let written = [allow(&["s3:GetObject"], &[manifest]), allow(&["s3:PutObject"], &[ours])];
    let found = statements();
    let list = |prefixes: Value| {
        serde_json::json!({"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": arn(""),
                           "Condition": {"StringLike": {"s3:prefix": prefixes}}})
    };
    let same = |expected: &[Value]| {
        let sorted = |statements: &[Value]| {
            let mut texts: Vec<String> = statements.iter().map(ToString::to_string).collect();
            texts.sort();
            texts
        };
        let found = statements();
        assert_eq!(sorted(found.as_array().unwrap()), sorted(expected), "{found:#}");
    };
    assert!(!found.to_string().contains("Delete"), "{found:#}");
    same(&[written.as_slice(), &[list(serde_json::json!([folder, asked]))]].concat());
    // A second run adds what it used; nothing is said of other buckets.
    pgstow(&s3, &["prune", "--from", &place, "--keep-last", "1", "--note-requests", noted]).fine();
    let asked = ["s3:GetBucketVersioning", "s3:ListBucketMultipartUploads"];
    let all =
        [list(serde_json::json!([format!("{prefix}/"), format!("{prefix}/{name}/*")])), allow(&asked, &[arn("")])];
    same(&[written.as_slice(), &all].concat());
    let elsewhere = ["bucket", "policy", "used", "--to", "s3://elsewhere/db", "--requests", noted];
    pgstow(&s3, &elsewhere).failed(2, &["no request to this bucket was noted"]);
}
