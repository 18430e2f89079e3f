//! The policies that pgstow prints, held against a store that refuses whatever they do not allow.

use pgstow_parts::{Database, Iam, S3, server};
use serde_json::Value;

use crate::support::{assert_same_data, pgstow, shop};

/// The policy for these kinds of work at these places, as the bucket's owner would paste it.
fn policy(at: &[(&str, &str)]) -> String {
    let nobody = crate::support::no_store();
    let of = |(role, place): &(&str, &str)| -> Vec<Value> {
        let policy = pgstow(&nobody, &["bucket", "policy", role, "--to", place]).fine().json();
        policy["Statement"].as_array().unwrap().clone()
    };
    let statements: Vec<Value> = at.iter().flat_map(of).map(unnamed).collect();
    serde_json::json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

/// A statement without its name, which is unique only within one policy.
fn unnamed(mut statement: Value) -> Value {
    statement.as_object_mut().unwrap().remove("Sid");
    statement
}

/// The ids in the store, the newest first.
fn ids(s3: &S3, place: &str) -> Vec<String> {
    let listed = pgstow(s3, &["list", "--from", place, "--json"]).fine().json();
    let id = |backup: &Value| backup["backup"].as_str().unwrap().to_owned();
    listed["backups"].as_array().unwrap().iter().map(id).collect()
}

/// A table that is written at once, and one that takes longer than `--max-snapshot-age 1s --rate-limit 1MiB` let it.
fn slow(hint: &str) -> Database {
    let database = Database::fresh(&server(18), hint);
    database.execute(
        "CREATE TABLE quick AS SELECT 1 AS id; CREATE TABLE big AS SELECT n, repeat(md5(n::text), 100) t FROM generate_series(1, 4000) n",
    );
    database
}

/// What is said of a request that the policy does not allow. The store's own word (`AccessDenied`) comes in a body, and a HEAD,
/// which may be refused before a GET beside it, has none.
const REFUSED: &str = "these credentials may not do that";

const FAILING: [&str; 4] = ["--rate-limit", "1MiB", "--max-snapshot-age", "1s"];

#[test]
fn a_writer_dumps_lists_and_checks_and_can_delete_nothing() {
    let iam = Iam::start();
    let place = iam.admin.location("db");
    let writer = iam.user("writer", &policy(&[("writer", &place)]));
    let database = shop(&server(18), "iam_writer");
    let url = database.url();
    let dump = ["dump", "-d", &url, "--to", &place];
    pgstow(&writer, &[&dump[..], &["--part-size", "5MiB"]].concat()).fine();
    pgstow(&writer, &dump).fine();
    assert_eq!(ids(&writer, &place).len(), 2);
    pgstow(&writer, &["show", "latest", "--from", &place]).fine();
    let checked = pgstow(&writer, &["check", "--from", &place]);
    assert_eq!(checked.fine().stderr, "");
    pgstow(&writer, &["prune", "--from", &place, "--keep-last", "1"])
        .failed(5, &["AccessDenied", "bucket policy pruner"]);
    assert_eq!(ids(&iam.admin, &place).len(), 2, "nothing went");
    let target = Database::fresh(&server(18), "iam_writer_target");
    pgstow(&writer, &["restore", "latest", "--from", &place, "-d", &target.url()]).failed(5, &[REFUSED]);
    let elsewhere = iam.admin.location("other");
    pgstow(&writer, &["dump", "-d", &url, "--to", &elsewhere]).failed(5, &[REFUSED]);
    let said = pgstow(&writer, &["doctor", "-d", &url, "--to", &place]);
    assert_eq!(said.code, Some(0), "{said:?}");
}

#[test]
fn what_a_writer_cannot_clean_up_is_said_with_the_failure() {
    let iam = Iam::start();
    let place = iam.admin.location("db");
    let writer = iam.user("writer", &policy(&[("writer", &place)]));
    let database = slow("iam_failing");
    let url = database.url();
    let dump = [&["dump", "-d", &url, "--to", &place][..], &FAILING].concat();
    let ran = pgstow(&writer, &dump);
    let left = iam.admin.keys("db/").unwrap();
    assert!(!left.is_empty(), "the writer could delete");
    assert_eq!(iam.admin.open_uploads("db/").unwrap(), Vec::<String>::new(), "uploads can be aborted");
    let objects = format!("{} objects of it are left in {place}/{}/", left.len(), database.name);
    ran.failed(4, &["snapshot", &objects, "`pgstow sweep`", "AccessDenied"]);
    // Who may delete leaves nothing.
    for key in left {
        iam.admin.delete(&key).unwrap();
    }
    let ran = pgstow(&iam.admin, &dump);
    ran.failed(4, &["snapshot"]);
    assert!(!ran.stderr.contains("are left"), "{}", ran.stderr);
    assert_eq!(iam.admin.keys("db/").unwrap(), Vec::<String>::new());
}

#[test]
fn a_pruner_prunes_and_a_restorer_restores_and_neither_does_more() {
    let iam = Iam::start();
    let place = iam.admin.location("db");
    let pruner = iam.user("pruner", &policy(&[("pruner", &place)]));
    let restorer = iam.user("restorer", &policy(&[("restorer", &place)]));
    let database = shop(&server(18), "iam_shop");
    let url = database.url();
    let dump = ["dump", "-d", &url, "--to", &place];
    for _ in 0..2 {
        pgstow(&iam.admin, &dump).fine();
    }
    // Of two backups of one second, either may count as the newer one.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    pgstow(&iam.admin, &[&dump[..], &["--storage-class", "GLACIER"]].concat()).fine();
    // What a killed dump left is in the way of nobody.
    let killed = format!("db/{}/20251101T000000Z-0000ff/data_1.dat", database.name);
    iam.admin.put(&killed, vec![1]).unwrap();
    let newest = ids(&restorer, &place);

    pgstow(&pruner, &dump).failed(5, &[REFUSED]);
    pgstow(&pruner, &["verify", &newest[1], "--from", &place]).failed(5, &[REFUSED]);
    pgstow(&pruner, &["check", "--from", &place, "--database", &database.name]).fine();
    pgstow(&pruner, &["prune", "--from", &place, "--keep-last", "2"]).fine();
    pgstow(&pruner, &["sweep", "--to", &place, "--older-than", "1h"]).fine();
    assert_eq!(ids(&pruner, &place), newest[..2]);

    pgstow(&restorer, &dump).failed(5, &[REFUSED]);
    pgstow(&restorer, &["check", "--from", &place, "--database", &database.name]).fine();
    pgstow(&restorer, &["prune", "--from", &place, "--keep-last", "1"]).failed(5, &["AccessDenied"]);
    pgstow(&restorer, &["verify", &newest[1], "--from", &place]).fine();
    pgstow(&restorer, &["verify", "latest", "--from", &place]).failed(5, &["GLACIER", "pgstow thaw"]);
    pgstow(&restorer, &["thaw", &newest[0], "--from", &place]).fine();
    let target = Database::fresh(&server(18), "iam_target");
    pgstow(&restorer, &["restore", &newest[1], "--from", &place, "-d", &target.url()]).fine();
    assert_same_data(&database, &target);
    assert_eq!(ids(&restorer, &place), newest[..2], "nothing went");
}

#[test]
fn a_restorer_here_and_writer_there_copies_and_what_was_used_is_enough_for_the_same_again() {
    let iam = Iam::start();
    let there = S3 { bucket: "copies".into(), ..iam.admin.clone() };
    there.create_bucket().unwrap();
    let (here, far) = (iam.admin.location("db"), there.location("far"));
    let database = shop(&server(18), "iam_copied");
    let url = database.url();
    pgstow(&iam.admin, &["dump", "-d", &url, "--to", &here]).fine();
    let copier = iam.user("copier", &policy(&[("restorer", &here), ("writer", &far)]));
    let copied = pgstow(&copier, &["copy", "latest", "--from", &here, "--to", &far, "--json"]).fine().json();
    let proofs = &copied["copied"][0]["checked"];
    assert_eq!(proofs["on_the_way"], 0, "the server copied: {copied}");
    let back = iam.admin.location("back");
    pgstow(&copier, &["copy", "latest", "--from", &here, "--to", &back]).failed(5, &[REFUSED]);

    // Every command again, allowed nothing but what the same command used before.
    let (noted, work) = (tempfile::tempdir().unwrap(), there.location("used"));
    let (database, target) = (Database::fresh(&server(18), "iam_used"), Database::fresh(&server(18), "iam_again"));
    database.execute("CREATE TABLE t AS SELECT n AS id FROM generate_series(1, 10) n");
    let (url, restored) = (database.url(), target.url());
    let commands: [&[&str]; 9] = [
        &["dump", "-d", &url, "--to", &work],
        &["list", "--from", &work],
        &["check", "--from", &work],
        &["verify", "latest", "--from", &work],
        &["restore", "latest", "--from", &work, "-d", &restored, "-c", "--if-exists"],
        &["copy", "--new", "--from", &work, "--to", &far],
        &["prune", "--from", &work, "--keep-last", "1"],
        &["sweep", "--to", &work, "--older-than", "1d"],
        &["doctor", "-d", &url, "--to", &work],
    ];
    for (number, command) in commands.iter().enumerate() {
        let file = noted.path().join(number.to_string());
        let file = file.to_str().unwrap();
        pgstow(&iam.admin, &[command, &["--note-requests", file][..]].concat()).fine();
        let mut statements = Vec::new();
        for place in [&work, &far] {
            let used = pgstow(&iam.admin, &["bucket", "policy", "used", "--requests", file, "--to", place]);
            if used.code == Some(0) {
                statements.extend(used.json()["Statement"].as_array().unwrap().clone());
            }
        }
        // A second dump, so that there is something to copy and to remove again.
        if ["copy", "prune"].contains(&command[0]) {
            pgstow(&iam.admin, commands[0]).fine();
        }
        let only = serde_json::json!({"Version": "2012-10-17", "Statement": statements}).to_string();
        let user = iam.user(&format!("again-{number}"), &only);
        let again = pgstow(&user, command);
        assert_eq!(again.code, Some(0), "{command:?} with {only}: {}{}", again.stdout, again.stderr);
    }
}
