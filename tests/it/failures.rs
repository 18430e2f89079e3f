//! A dump that fails leaves no backup, no manifest and no open uploads; a restore trusts nothing it reads.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use pgstow_parts::{Database, S3, garage, server};

use crate::support::{Backup, Ran, command, pgstow, shop};

/// A database whose dump takes long enough to be stopped in the middle: it is small on disk, for its rows compress
/// well, and large on the wire.
fn slow() -> Database {
    let database = Database::fresh(&server(18), "slow");
    database.execute(
        "CREATE TABLE big (id integer, t text);
         INSERT INTO big SELECT n, repeat(md5(n::text), 2000) FROM generate_series(1, 6000) n;
         DO $$ BEGIN FOR n IN 1..300 LOOP EXECUTE format('CREATE TABLE small_%s AS SELECT %s AS id', n, n); END LOOP; END $$",
    );
    database
}

/// Starts a dump in the background and returns once its first object or upload is in the store.
fn start_dump(s3: &S3, database: &Database, prefix: &str) -> Child {
    let (url, store) = (database.url(), s3.location(prefix));
    let child = command(s3)
        .args(["dump", "-d", &url, "--to", &store, "-j", "2", "-Z", "none"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while s3.keys(prefix).unwrap().is_empty() && s3.open_uploads(prefix).unwrap().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(60), "the dump writes nothing");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

fn manifests(s3: &S3, prefix: &str) -> Vec<String> {
    s3.keys(prefix).unwrap().into_iter().filter(|key| key.ends_with("manifest.json")).collect()
}

#[test]
fn a_killed_dump_leaves_no_manifest_and_is_not_listed() {
    let (s3, database) = (garage(), slow());
    let prefix = s3.fresh_prefix("killed");
    let mut child = start_dump(&s3, &database, &prefix);
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), None, "the dump was over before it was killed");
    assert_eq!(manifests(&s3, &prefix), Vec::<String>::new());
    let store = s3.location(&prefix);
    let listed = pgstow(&s3, &["list", "--from", &store, "--json"]).fine().json();
    assert_eq!(listed["backups"], serde_json::json!([]));
    let target = Database::fresh(&database.server, "from_killed");
    pgstow(&s3, &["restore", "latest", "--from", &store, "-d", &target.url()]).failed(6, &[]);
    // The next dump is not troubled by the rest of the last one.
    pgstow(&s3, &["dump", "-d", &database.url(), "--to", &store]).fine();
    let listed = pgstow(&s3, &["list", "--from", &store, "--json"]).fine().json();
    assert_eq!(listed["backups"].as_array().unwrap().len(), 1);
}

#[test]
fn a_dump_stopped_by_a_signal_leaves_nothing_and_says_so() {
    for signal in ["-TERM", "-INT"] {
        let (s3, database) = (garage(), slow());
        let prefix = s3.fresh_prefix("stopped");
        let child = start_dump(&s3, &database, &prefix);
        let sent = std::process::Command::new("kill").arg(signal).arg(child.id().to_string()).status().unwrap();
        assert!(sent.success());
        Ran::of(&child.wait_with_output().unwrap()).failed(130, &["error:"]);
        assert_eq!(manifests(&s3, &prefix), Vec::<String>::new());
        assert_eq!(s3.open_uploads(&prefix).unwrap(), Vec::<String>::new());
        assert_eq!(s3.keys(&prefix).unwrap(), Vec::<String>::new());
        let busy =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let start = Instant::now();
        while database.value(busy) != "0" {
            assert!(start.elapsed() < Duration::from_secs(20), "the dump's sessions stay on the server");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn a_dump_whose_server_goes_away_fails_and_leaves_nothing() {
    let (s3, database) = (garage(), slow());
    let prefix = s3.fresh_prefix("lost");
    let child = start_dump(&s3, &database, &prefix);
    database.value(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    let ran = Ran::of(&child.wait_with_output().unwrap());
    assert!(matches!(ran.code, Some(3 | 4)), "{ran:?}");
    assert_eq!(s3.keys(&prefix).unwrap(), Vec::<String>::new());
    assert_eq!(s3.open_uploads(&prefix).unwrap(), Vec::<String>::new());
}

#[test]
fn a_table_that_may_not_be_read_fails_the_dump_and_is_named() {
    let (s3, database) = (garage(), Database::fresh(&server(18), "forbidden"));
    database.execute(
        "DO $$ BEGIN CREATE ROLE nobody_much LOGIN PASSWORD 'much'; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
         CREATE TABLE open (id integer); GRANT SELECT ON open TO nobody_much; CREATE TABLE closed (id integer)",
    );
    let prefix = s3.fresh_prefix("forbidden");
    let url = database.server.url_as(&database.name, "nobody_much", "much");
    let ran = pgstow(&s3, &["dump", "-d", &url, "--to", &s3.location(&prefix)]);
    ran.failed(4, &["closed"]);
    assert!(!ran.stderr.contains("much@"), "the URL with its password is shown: {}", ran.stderr);
    assert_eq!(s3.keys(&prefix).unwrap(), Vec::<String>::new());
}

#[test]
fn rows_hidden_by_a_policy_fail_the_dump_instead_of_missing_from_it() {
    let (s3, database) = (garage(), Database::fresh(&server(18), "hidden"));
    database.execute(
        "DO $$ BEGIN CREATE ROLE sees_half LOGIN PASSWORD 'half'; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
         CREATE TABLE rows (id integer); INSERT INTO rows VALUES (1), (2); GRANT SELECT ON rows TO sees_half;
         ALTER TABLE rows ENABLE ROW LEVEL SECURITY; CREATE POLICY half ON rows USING (id = 1)",
    );
    let url = database.server.url_as(&database.name, "sees_half", "half");
    let prefix = s3.fresh_prefix("hidden");
    pgstow(&s3, &["dump", "-d", &url, "--to", &s3.location(&prefix)]).failed(4, &["rows"]);
    assert_eq!(manifests(&s3, &prefix), Vec::<String>::new());
}

#[test]
fn a_sequence_that_may_not_be_read_fails_the_dump() {
    let (s3, database) = (garage(), Database::fresh(&server(18), "sequence"));
    database.execute(
        "DO $$ BEGIN CREATE ROLE no_counting LOGIN PASSWORD 'no'; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
         CREATE SEQUENCE counter; SELECT nextval('counter')",
    );
    let url = database.server.url_as(&database.name, "no_counting", "no");
    let prefix = s3.fresh_prefix("sequence");
    pgstow(&s3, &["dump", "-d", &url, "--to", &s3.location(&prefix)]).failed(4, &["counter"]);
}

#[test]
fn what_cannot_be_read_is_an_error_that_names_it_until_it_is_allowed() {
    let (s3, server) = (garage(), server(18));
    let database = Database::fresh(&server, "incomplete");
    let reader = format!("{}_reader", database.name);
    database.execute(&format!(
        "CREATE TABLE kept (id integer); INSERT INTO kept VALUES (1);
         CREATE SUBSCRIPTION my_subscription CONNECTION 'host=nowhere.invalid' PUBLICATION p
             WITH (connect = false, slot_name = NONE);
         CREATE ROLE {reader} LOGIN PASSWORD 'reader';
         GRANT SELECT ON kept TO {reader}"
    ));
    let prefix = s3.fresh_prefix("incomplete");
    let (store, url) = (s3.location(&prefix), server.url_as(&database.name, &reader, "reader"));
    pgstow(&s3, &["dump", "-d", &url, "--to", &store]).failed(7, &["my_subscription", "--allow-incomplete"]);
    assert_eq!(s3.keys(&prefix).unwrap(), Vec::<String>::new());
    let allowed = ["dump", "-d", &url, "--to", &store, "--allow-incomplete", "--json"];
    let report = pgstow(&s3, &allowed).fine().json();
    assert!(report["skipped"].to_string().contains("my_subscription"), "{report}");
    let manifest = pgstow(&s3, &["show", "latest", "--from", &store, "--json"]).fine().json();
    assert!(manifest["skipped"].to_string().contains("my_subscription"), "{manifest}");
    let target = Database::fresh(&server, "incomplete_target");
    pgstow(&s3, &["restore", "latest", "--from", &store, "-d", &target.url()]).fine();
    assert_eq!(target.value("SELECT id FROM kept"), "1");
    drop(target);
    // A database with a subscription cannot be dropped.
    database.execute(&format!("DROP SUBSCRIPTION my_subscription; DROP TABLE kept; DROP ROLE {reader}"));
}

#[test]
fn a_backup_without_its_manifest_is_refused() {
    let s3 = garage();
    let database = Database::fresh(&server(18), "no_manifest");
    database.execute("CREATE TABLE t AS SELECT 1 AS one");
    let backup = Backup::make(&s3, &database, &[]);
    s3.delete(&format!("{}manifest.json", backup.folder())).unwrap();
    let target = Database::fresh(&database.server, "no_manifest_target");
    backup.restore(&target, &[]).failed(6, &[]);
    assert_eq!(target.value("SELECT to_regclass('t') IS NULL"), "t");
}

#[test]
fn a_backup_of_a_newer_format_is_refused() {
    let s3 = garage();
    let database = Database::fresh(&server(18), "newer");
    database.execute("CREATE TABLE t AS SELECT 1 AS one");
    let backup = Backup::make(&s3, &database, &[]);
    let key = format!("{}manifest.json", backup.folder());
    let mut manifest: serde_json::Value = serde_json::from_slice(&s3.get(&key).unwrap()).unwrap();
    manifest["format"] = 999.into();
    s3.put(&key, serde_json::to_vec(&manifest).unwrap()).unwrap();
    let target = Database::fresh(&database.server, "newer_target");
    backup.restore(&target, &[]).failed(6, &["999"]);
    assert_eq!(target.value("SELECT to_regclass('t') IS NULL"), "t");
}

#[test]
fn one_changed_byte_is_found_in_every_sort_of_object() {
    let s3 = garage();
    let source = shop(&server(18), "damaged");
    let backup = Backup::make(&s3, &source, &["-Z", "none"]);
    let keys = s3.keys(&backup.folder()).unwrap();
    let largest = |part: &str| {
        let found = keys.iter().filter(|key| key.contains(part)).max_by_key(|key| s3.get(key).unwrap().len());
        found.unwrap_or_else(|| panic!("no object with {part} in {keys:?}")).clone()
    };
    for key in [largest("/data_"), largest("/blob_"), largest("/toc.dat")] {
        let whole = s3.get(&key).unwrap();
        let mut damaged = whole.clone();
        let middle = damaged.len() / 2;
        // A digit or letter stays one, so that nothing but the digest can tell.
        damaged[middle] = if damaged[middle] == b'1' { b'2' } else { b'1' };
        s3.put(&key, damaged).unwrap();
        let target = Database::fresh(&source.server, "damaged_target");
        backup.restore(&target, &[]).failed(6, &[]);
        s3.put(&key, whole[..whole.len() - 1].to_vec()).unwrap();
        let target = Database::fresh(&source.server, "truncated_target");
        backup.restore(&target, &[]).failed(6, &[]);
        s3.put(&key, whole).unwrap();
    }
    s3.delete(&largest("/data_")).unwrap();
    let target = Database::fresh(&source.server, "missing_target");
    let ran = backup.restore(&target, &[]);
    assert!(matches!(ran.code, Some(5 | 6)), "{ran:?}");
}

#[test]
fn a_server_or_a_store_that_is_not_there_has_its_own_exit_code() {
    let s3 = garage();
    let database = Database::fresh(&server(18), "unreachable");
    let store = s3.location(&s3.fresh_prefix("unreachable"));
    pgstow(&s3, &["dump", "-d", "postgresql://postgres@127.0.0.1:1/x", "--to", &store]).failed(3, &["127.0.0.1"]);
    pgstow(&s3, &["dump", "-d", &database.server.url("no_such_database"), "--to", &store])
        .failed(3, &["no_such_database"]);
    let gone = S3 { endpoint: "http://127.0.0.1:1".into(), ..s3.clone() };
    pgstow(&gone, &["dump", "-d", &database.url(), "--to", &store]).failed(5, &[]);
    pgstow(&gone, &["list", "--from", &store]).failed(5, &[]);
    let bucketless = S3 { bucket: "no-such-bucket".into(), ..s3.clone() };
    pgstow(&s3, &["dump", "-d", &database.url(), "--to", &bucketless.location("x")]).failed(5, &["no-such-bucket"]);
}

#[test]
fn a_wrong_secret_is_refused_and_never_shown() {
    let database = Database::fresh(&server(18), "secret");
    let wrong = S3 { secret_key: "wrongwrongwrongwrong".into(), ..garage() };
    let ran = command(&wrong)
        .args(["-vvv", "dump", "-d", &database.url(), "--to", &wrong.location("secret")])
        .output()
        .unwrap();
    let ran = Ran::of(&ran);
    ran.failed(5, &[]);
    assert!(!ran.stderr.contains(&wrong.secret_key), "{}", ran.stderr);
    let url = database.server.url_as(&database.name, "no_such_role", "hunter2secret");
    let ran = pgstow(&garage(), &["-vvv", "dump", "-d", &url, "--to", &garage().location("secret")]);
    ran.failed(3, &[]);
    assert!(!ran.stderr.contains("hunter2secret"), "{}", ran.stderr);
}
