//! `pgstow doctor` finds what would fail a backup before a backup does.

use std::sync::Arc;
use std::time::Duration;

use pgstow::commands::Stop;
use pgstow::commands::doctor::{DoctorOptions, Grade, doctor};
use pgstow::store::{FaultyStore, MemoryStore, Operation, Store, StoreProblem};
use pgstow_parts::{Database, Harm, Proxy, S3, Trigger, garage, moto, server};
use serde_json::Value;

use crate::support::{Ran, bare_command, command, pgstow};

/// What the doctor says of one thing: the grade and the sentence.
fn found(findings: &Value, subject: &str) -> (String, String) {
    let finding = findings.as_array().unwrap().iter().find(|finding| finding["subject"] == subject);
    let finding = finding.unwrap_or_else(|| panic!("nothing is said of {subject}: {findings}"));
    let text = |key: &str| finding[key].as_str().unwrap().to_owned();
    (text("grade"), text("says"))
}

fn examine(s3: &S3, arguments: &[&str]) -> Ran {
    pgstow(s3, &[&["doctor", "--json"], arguments].concat())
}

#[test]
fn a_server_and_a_store_that_are_well_are_found_well_and_left_clean() {
    for major in [12, 18] {
        let (s3, database) = (garage(), Database::fresh(&server(major), "well"));
        database.execute("CREATE TABLE t (id integer); SELECT lo_create(0)");
        let prefix = s3.fresh_prefix("well");
        let (url, store) = (database.url(), s3.location(&prefix));
        let findings = examine(&s3, &["-d", &url, "--to", &store]).fine().json();
        for subject in [
            "client",
            "connection",
            "encryption",
            "privileges",
            "large objects",
            "locks",
            "connections",
            "standby",
            "locked now",
            "snapshots",
            "source clock",
            "store",
            "space",
            "writing",
            "store clock",
            "listing",
            "large uploads",
            "deleting",
        ] {
            assert_eq!(found(&findings, subject).0, "ok", "{subject}: {findings}");
        }
        // Which of these it is depends on the store and its bucket; something is said of each.
        for subject in ["exclusive writes", "old uploads", "versions", "source speed", "store speed"] {
            assert_ne!(found(&findings, subject).0, "fail", "{subject}: {findings}");
        }
        assert_eq!(s3.keys(&prefix).unwrap(), Vec::<String>::new());
        assert_eq!(s3.open_uploads(&prefix).unwrap(), Vec::<String>::new());
    }
}

#[test]
fn what_a_role_may_not_read_is_named_with_what_to_do() {
    let (s3, database) = (garage(), Database::fresh(&server(18), "rights"));
    database.execute(&format!(
        "CREATE ROLE {0} LOGIN CONNECTION LIMIT 3; CREATE TABLE secret (id integer); CREATE SCHEMA closed; CREATE TABLE closed.t (id integer);
         CREATE TABLE mine (id integer); ALTER TABLE mine ENABLE ROW LEVEL SECURITY; GRANT SELECT ON mine TO {0}; SELECT lo_create(0)",
        database.name
    ));
    let url = database.server.url_as(&database.name, &database.name, "");
    let ran = examine(&s3, &["-d", &url]);
    ran.failed(4, &["would fail a backup"]);
    let findings = ran.json();
    let (grade, says) = found(&findings, "privileges");
    assert_eq!(grade, "fail");
    assert!(says.ends_with("may not read 2: table closed.t, table public.secret"), "{says}");
    assert!(found(&findings, "row security").1.contains("table public.mine"), "{findings}");
    assert_eq!(found(&findings, "large objects").1, "1 of 1 may not be read");
    assert_eq!(found(&findings, "connections").0, "fail");
    let words = pgstow(&s3, &["doctor", "-d", &url]).stdout;
    assert!(words.contains("-> GRANT pg_read_all_data TO "), "{words}");
    database.execute(&format!("DROP OWNED BY {0}; DROP ROLE {0}", database.name));
}

#[test]
fn a_server_or_a_store_out_of_reach_is_a_finding_and_the_other_is_examined_all_the_same() {
    let (s3, database) = (garage(), Database::fresh(&server(18), "reach"));
    let store = s3.location(&s3.fresh_prefix("reach"));
    let ran = examine(&s3, &["-d", "postgres://postgres@127.0.0.1:1/x", "--to", &store]);
    ran.failed(3, &[]);
    assert_eq!(found(&ran.json(), "connection").0, "fail");
    assert_eq!(found(&ran.json(), "writing").0, "ok");
    let mut command = command(&s3);
    command.env("AWS_SECRET_ACCESS_KEY", "geheim").args(["doctor", "--json", "-d", &database.url(), "--to", &store]);
    let ran = Ran::of(&command.output().unwrap());
    ran.failed(5, &[]);
    assert_eq!(found(&ran.json(), "store").0, "fail");
    assert!(!format!("{ran:?}").contains("geheim"), "{ran:?}");
}

#[test]
fn credentials_that_are_not_found_are_told_with_where_to_put_them() {
    let s3 = garage();
    let mut command = bare_command();
    let environment = s3.environment().into_iter().filter(|(name, _)| !name.starts_with("AWS_ACCESS_KEY"));
    command.envs(environment.filter(|(name, _)| !name.starts_with("AWS_SECRET"))).env("HOME", "/nonexistent");
    let store = s3.location(&s3.fresh_prefix("unknown"));
    command.args(["doctor", "-d", "postgres://postgres@127.0.0.1:1/x", "--to", &store]);
    let ran = Ran::of(&command.output().unwrap());
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let place = lines.iter().position(|line| line.starts_with("FAIL  store ")).unwrap();
    assert!(lines[place].ends_with("no credentials were found"), "{lines:?}");
    assert!(lines[place + 1].contains("-> no usable S3 credentials: set AWS_ACCESS_KEY_ID and "), "{lines:?}");
}

#[test]
fn no_client_has_to_be_installed_and_the_doctor_says_so() {
    let (folder, database) = (tempfile::tempdir().unwrap(), Database::fresh(&server(18), "client"));
    let mut command = bare_command();
    // Neither pg_dump nor anything else.
    command.env("PATH", folder.path()).args(["doctor", "--json", "-d", &database.url()]);
    let findings = Ran::of(&command.output().unwrap()).fine().json();
    let says = "none needs to be installed: pgstow itself speaks with servers 12 to 19";
    assert_eq!(found(&findings, "client"), ("ok".to_owned(), says.to_owned()));
}

#[test]
fn what_makes_a_dump_slow_is_told_before_the_dump() {
    let (s3, database) = (garage(), Database::fresh(&server(18), "slow"));
    database.execute("CREATE TABLE held (id integer)");
    let address = database.url().split('@').next_back().unwrap().split('/').next().unwrap().to_owned();
    let proxy = Proxy::before(&address).unwrap();
    let late = Harm::Delay(Duration::from_secs(2));
    proxy.harm(Trigger { needle: b"0123456789abcdef".to_vec(), connection: 0, after: 0, harm: late });
    let url = database.url().replace(&address, &proxy.address.to_string());
    let findings = std::thread::scope(|scope| {
        scope.spawn(|| database.execute("BEGIN; LOCK TABLE held; SELECT pg_sleep(8); COMMIT"));
        std::thread::sleep(Duration::from_secs(1));
        examine(&s3, &["-d", &url]).fine().json()
    });
    let (grade, says) = found(&findings, "source speed");
    assert_eq!(grade, "warn", "{says}");
    assert!(says.ends_with(": a dump will be slow") && says.contains("; the database has "), "{says}");
    let (grade, says) = found(&findings, "locked now");
    assert_eq!(grade, "warn", "{says}");
    assert!(says.contains(" has held table public.held exclusively for "), "{says}");
}

#[tokio::test]
async fn a_writer_that_may_neither_read_nor_delete_is_found_well() {
    let inner: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let store = FaultyStore::new(Arc::clone(&inner));
    // Manifests may be asked for, which is what comes after the first question.
    store.fail_nth(Operation::Head, 1, StoreProblem::Denied);
    store.fail_from(Operation::Get, 1, StoreProblem::Denied);
    store.fail_from(Operation::Delete, 1, StoreProblem::Denied);
    let options = DoctorOptions { connection: None, store: Some(Arc::new(store)), class: None, keeping: None, jobs: 1 };
    let findings = doctor(&options, &Stop::default()).await.unwrap();
    let failed: Vec<_> = findings.iter().filter(|finding| finding.grade == Grade::Fail).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let says = |subject: &str| findings.iter().find(|finding| finding.subject == subject).unwrap().says.clone();
    assert!(says("writing").contains("as it is for a writer"), "{findings:?}");
    assert!(says("deleting").contains("left behind: "), "{findings:?}");
}

#[test]
fn rules_of_the_bucket_that_collide_with_what_a_job_keeps_are_named() {
    let base = moto();
    let s3 = S3 { bucket: base.fresh_prefix("pgstow-doctor-rules").to_lowercase(), ..base };
    let (folder, database) = (tempfile::tempdir().unwrap(), Database::fresh(&server(18), "rules"));
    database.execute("CREATE TABLE t (id integer)");
    let config = folder.path().join("pgstow.toml");
    let job = |class: &str, keep: &str| {
        let text = format!(
            "[job.shop]\nsource = \"{}\"\nstore = \"{}\"\nstorage_class = \"{class}\"\nretention = {{ {keep} }}\n",
            database.url(),
            s3.location("db")
        );
        std::fs::write(&config, text).unwrap();
    };
    let said = |grades: &[&str]| {
        let ran = examine(&s3, &["shop", "--config", config.to_str().unwrap()]);
        let of =
            |finding: &Value| finding["subject"] == "lifecycle" && grades.contains(&finding["grade"].as_str().unwrap());
        let report = ran.json();
        let found: Vec<String> = report
            .as_array()
            .unwrap()
            .iter()
            .filter(|finding| of(finding))
            .map(|finding| finding["says"].as_str().unwrap().to_owned())
            .collect();
        (ran.code, found)
    };
    job("STANDARD", "keep_daily = 7, keep_yearly = 3");
    pgstow(&s3, &["bucket", "init", "--to", &s3.location("db"), "--expire", "90", "--yes"]).fine();
    let (code, found) = said(&["fail"]);
    assert_eq!(code, Some(5));
    assert!(found.len() == 1 && found[0].contains("removes backups after 90 days, and the retention"), "{found:?}");
    job("STANDARD_IA", "keep_within = \"7d\"");
    let (code, found) = said(&["warn"]);
    assert_eq!(code, Some(0));
    assert!(found[0].contains("the newest too when no newer one is made"), "{found:?}");
    assert!(found[1].contains("STANDARD_IA bills 30 days at least"), "{found:?}");
    job("STANDARD", "keep_within = \"90d\"");
    pgstow(&s3, &["bucket", "init", "--to", &s3.location("db"), "--transition", "30:STANDARD_IA", "--yes"]).fine();
    assert_eq!(said(&["ok", "warn", "fail"]), (Some(0), vec!["nothing collides with the 1 that act here".to_owned()]));
}
