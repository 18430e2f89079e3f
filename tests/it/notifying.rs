//! Who is told how a job went hears it, and who cannot be told spoils nothing.

use std::path::Path;

use pgstow_parts::{Database, S3, garage, server};
use serde_json::Value;
use tempfile::TempDir;

use crate::jobs::{backups, command_in, write_private};
use crate::listeners::{HttpListener, MailListener, MailTls};
use crate::support::Ran;

/// A job, and those whom it tells.
struct Job {
    s3: S3,
    folder: TempDir,
    prefix: String,
    database: Database,
}

impl Job {
    fn new(hint: &str, notify: &str) -> Self {
        let (s3, folder, database) = (garage(), TempDir::new().unwrap(), Database::fresh(&server(18), hint));
        database.execute("CREATE TABLE t AS SELECT n AS id FROM generate_series(1, 10) n");
        let prefix = s3.fresh_prefix(hint);
        let text =
            format!("[job.shop]\nsource = \"{}\"\nstore = \"{}\"\n{notify}", database.url(), s3.location(&prefix));
        write_private(&folder.path().join("pgstow.toml"), &text);
        Job { s3, folder, prefix, database }
    }

    fn pgstow(&self, arguments: &[&str]) -> Ran {
        Ran::of(&command_in(&self.folder, &self.s3).args(arguments).output().unwrap())
    }

    /// Makes every further dump fail.
    fn break_it(&self) {
        let sql = format!("ALTER DATABASE \"{}\" ALLOW_CONNECTIONS false", self.database.name);
        self.database.server.execute("postgres", &sql).unwrap();
    }
}

#[test]
fn webhooks_and_pings_hear_of_start_success_and_failure() {
    let listener = HttpListener::start(&[]);
    let job = Job::new(
        "told",
        &format!(
            "[notify.webhook.json]\nurl = \"{}\"\nheaders = {{ Authorization = \"Bearer geheim\" }}\n\
             [notify.webhook.own]\nurl = \"{}\"\nbody = '''{{\"what\": \"{{{{job}}}} {{{{moment}}}}\", \"rows\": \"{{{{rows}}}}\"}}'''\n\
             [notify.webhook.chat]\nurl = \"{}\"\nformat = \"slack\"\non = [\"failure\"]\n\
             [notify.ping.watch]\nurl = \"{}\"\n",
            listener.url("/json"),
            listener.url("/own"),
            listener.url("/chat"),
            listener.url("/ping/key?x=1")
        ),
    );
    job.pgstow(&["run", "shop"]).fine();
    let mut paths: Vec<String> = listener.received().iter().map(|got| got.target.clone()).collect();
    paths.sort();
    let run = paths[2].rsplit('=').next().unwrap().to_owned();
    assert_eq!(run.len(), 36);
    assert_eq!(
        paths,
        ["/json", "/own", &format!("/ping/key/start?x=1&rid={run}"), &format!("/ping/key?x=1&rid={run}")]
            .map(str::to_owned)
    );
    let body = |path: &str| listener.received().into_iter().rev().find(|got| got.target.starts_with(path)).unwrap();
    let event: Value = serde_json::from_str(&body("/json").body).unwrap();
    assert_eq!((&event["moment"], &event["rows"], &event["exit_code"]), (&"success".into(), &10.into(), &0.into()));
    assert_eq!(body("/json").authorization.as_deref(), Some("Bearer geheim"));
    assert_eq!(body("/own").body, "{\"rows\":10,\"what\":\"shop success\"}");
    assert!(body("/ping/key?").body.contains("made backup"), "{:?}", body("/ping/key?"));

    job.break_it();
    let failed = job.pgstow(&["run", "shop"]);
    failed.failed(3, &[]);
    let event: Value = serde_json::from_str(&body("/json").body).unwrap();
    assert_eq!((&event["moment"], &event["exit_code"]), (&"failure".into(), &failed.code.into()));
    let chat: Value = serde_json::from_str(&body("/chat").body).unwrap();
    assert!(chat["text"].as_str().unwrap().contains("backup job shop FAILED: "), "{chat}");
    assert!(body("/ping/key/fail").body.contains("failed: "));
}

#[test]
fn whoever_cannot_be_told_fails_no_backup_and_is_reported_without_its_address() {
    let listener = HttpListener::start(&[503, 200, 404]);
    let job = Job::new(
        "deaf",
        &format!(
            "[notify.webhook.gone]\nurl = \"http://127.0.0.1:1/geheim\"\n[notify.textfile.none]\nfolder = \"/no/such/folder\"\n\
             [notify.webhook.weak]\nurl = \"{}\"\n",
            listener.url("/geheim")
        ),
    );
    let ran = job.pgstow(&["run", "shop", "--json"]).fine();
    let told = &ran.json()["told"];
    let error = |name: &str| {
        let told = told.as_array().unwrap().iter().find(|told| told["notifier"] == name).unwrap();
        told["error"].as_str().map(str::to_owned)
    };
    assert!(error("gone").unwrap().contains("127.0.0.1: cannot connect"), "{told}");
    assert!(error("none").unwrap().contains("/no/such/folder"), "{told}");
    assert_eq!(error("weak"), None, "a server that is busy is asked again");
    assert_eq!(listener.received().len(), 2);
    assert!(!format!("{ran:?}").contains("geheim"), "{ran:?}");
    assert!(ran.stderr.contains("could not notify"), "{ran:?}");
    assert_eq!(backups(&job.s3, &job.prefix).len(), 1);
    job.pgstow(&["notify", "test", "weak"]).failed(12, &["1 of 1 notifiers failed"]);
}

/// A mail arrives, encrypted and signed in as it should be.
fn check_mail(tls: MailTls, word: &str) {
    let listener = MailListener::start(tls);
    let login = if tls == MailTls::None { "" } else { "username = \"u\"\npassword = \"geheim\"\n" };
    let table = |certificates: &Path| {
        format!(
            "[notify.email.ops]\nhost = \"localhost\"\nport = {}\nsecurity = \"{word}\"\ncertificates = \"{}\"\n\
             from = \"pgstow <p@example.com>\"\nto = [\"a@example.com\", \"B <b@example.com>\"]\n{login}",
            listener.port,
            certificates.display()
        )
    };
    let job = Job::new("mail", &table(&listener.certificate));
    job.pgstow(&["run", "shop"]).fine();
    assert_eq!(listener.mails().len(), 0, "a mail tells of failures, unless it is asked for more");
    let said = job.pgstow(&["notify", "test"]).fine().stdout;
    assert_eq!(said, format!("ops (mail to a@example.com, b@example.com by localhost:{}): ok\n", listener.port));
    job.break_it();
    job.pgstow(&["run", "shop"]).failed(3, &[]);
    let mails = listener.mails();
    let [test, failure] = mails.as_slice() else { panic!("two mails were due: {mails:?}") };
    assert!(test.text.contains("Subject: [pgstow] test: job test on "), "{test:?}");
    assert!(failure.text.contains("Subject: [pgstow] FAILED: job shop on "), "{failure:?}");
    assert!(failure.text.contains("backup job shop FAILED: "), "{failure:?}");
    assert_eq!(failure.recipients, ["a@example.com", "b@example.com"]);
    assert_eq!(failure.encrypted, tls != MailTls::None);
    // The user and the password between zero bytes, in base64 (RFC 4616).
    assert_eq!(failure.login.as_deref(), (tls != MailTls::None).then_some("AHUAZ2VoZWlt"));
}

#[test]
fn mail_goes_by_starttls() {
    check_mail(MailTls::Starttls, "starttls");
}

#[test]
fn mail_goes_by_tls_from_the_first_byte() {
    check_mail(MailTls::FromTheStart, "tls");
}

#[test]
fn mail_goes_unencrypted_only_when_asked_to_and_never_with_a_password() {
    check_mail(MailTls::None, "none");
    let listener = MailListener::start(MailTls::None);
    let table = |more: &str| {
        format!(
            "[notify.email.ops]\nhost = \"localhost\"\nport = {}\nfrom = \"p@example.com\"\nto = [\"a@example.com\"]\n{more}",
            listener.port
        )
    };
    // A server that offers no TLS gets no mail by default.
    Job::new("plain", &table("")).pgstow(&["notify", "test"]).failed(12, &[]);
    let with_password = table("security = \"none\"\nusername = \"u\"\npassword = \"geheim\"\n");
    Job::new("plain", &with_password).pgstow(&["notify", "test"]).failed(2, &["without encryption"]);
    assert_eq!(listener.mails().len(), 0);
}

#[test]
fn a_mail_server_whose_certificate_is_not_trusted_gets_no_mail() {
    let listener = MailListener::start(MailTls::FromTheStart);
    let table = format!(
        "[notify.email.ops]\nhost = \"localhost\"\nport = {}\nsecurity = \"tls\"\nfrom = \"p@example.com\"\nto = [\"a@example.com\"]\n",
        listener.port
    );
    Job::new("untrusted", &table).pgstow(&["notify", "test"]).failed(12, &[]);
    assert_eq!(listener.mails().len(), 0);
}

#[test]
fn what_a_check_finds_is_told_when_asked_and_who_cannot_be_told_changes_nothing() {
    let listener = HttpListener::start(&[]);
    let job = Job::new(
        "looked",
        &format!(
            "check = {{ notify = [\"json\", \"watch\", \"dead\", \"files\"] }}\nnotify = [\"json\"]\n\
             [notify.webhook.json]\nurl = \"{}\"\non = [\"healthy\", \"unhealthy\"]\n\
             [notify.ping.watch]\nurl = \"{}\"\non = [\"healthy\", \"warning\", \"unhealthy\"]\n\
             [notify.webhook.dead]\nurl = \"http://127.0.0.1:1/geheim\"\n[notify.textfile.files]\nfolder = \"/no/such/folder\"\n",
            listener.url("/json"),
            listener.url("/ping/key")
        ),
    );
    let body = |nth: usize| -> Value { serde_json::from_str(&listener.received()[nth].body).unwrap() };
    let targets = || {
        let path = |target: &str| target.split('?').next().unwrap().to_owned();
        let mut targets: Vec<String> = listener.received().iter().map(|got| path(&got.target)).collect();
        targets.sort();
        targets
    };
    job.pgstow(&["check", "shop"]).failed(10, &["there is no good backup"]);
    assert_eq!(targets(), Vec::<String>::new(), "nobody asked to tell");
    let ran = job.pgstow(&["check", "shop", "--notify", "--format", "json"]);
    ran.failed(10, &["there is no good backup", "could not notify", "127.0.0.1: cannot connect"]);
    assert!(!format!("{ran:?}").contains("geheim"), "{ran:?}");
    let told = &ran.json()["told"];
    let failed = |name: &str| told.as_array().unwrap().iter().any(|t| t["notifier"] == name && !t["error"].is_null());
    assert_eq!(["json", "watch", "dead", "files"].map(failed), [false, false, true, true], "{told}");
    assert_eq!(targets(), ["/json", "/ping/key/fail"]);
    let event = if listener.received()[0].target == "/json" { body(0) } else { body(1) };
    assert_eq!((&event["moment"], &event["severity"]), (&"unhealthy".into(), &"critical".into()));
    assert_eq!((&event["findings"][0]["rule"], &event["exit_code"]), (&"no-backup".into(), &10.into()));
    assert!(event["headline"].as_str().unwrap().contains("NOT HEALTHY"), "{event}");

    job.pgstow(&["run", "shop"]).fine();
    assert_eq!(targets().len(), 2, "a run is nothing that these are told");
    let said = job.pgstow(&["check", "shop", "--notify"]).fine().stdout;
    assert!(said.starts_with("ok: ") && said.contains("told json") && said.contains("told watch"), "{said}");
    assert_eq!(targets(), ["/json", "/json", "/ping/key", "/ping/key/fail"]);
    // What cannot be found out is told too.
    let nowhere = S3 { endpoint: "http://127.0.0.1:1".into(), ..job.s3.clone() };
    let ran = Ran::of(&command_in(&job.folder, &nowhere).args(["check", "shop", "--notify"]).output().unwrap());
    ran.failed(5, &[]);
    let last = listener.received().into_iter().rev().find(|got| got.target == "/json").unwrap();
    let event: Value = serde_json::from_str(&last.body).unwrap();
    assert_eq!((&event["moment"], &event["severity"]), (&"unhealthy".into(), &"unknown".into()));
    job.pgstow(&["check", "--from", "file:///tmp", "--notify"]).failed(2, &["nobody to tell"]);
}
