//! A signal ends every verb soon and cleanly, whatever it waits for: the server, the store, or its own work.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use pgstow_parts::{Database, Harm, Proxy, Trigger, garage, server};

use crate::faults::{address, behind, source};
use crate::support::{Backup, Ran, command};

/// How long a stop may take; what a busy machine adds is in it.
const SOON: Duration = Duration::from_secs(4);

/// Requests of which the store hears only after the signal, whether somebody still waits for the answer or not.
const LATE: [&str; 2] = ["x-id=PutObject", "POST /"];
const HEARD: Duration = Duration::from_millis(250);

fn start(s3: &pgstow_parts::S3, arguments: &[&str]) -> Child {
    command(s3).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[track_caller]
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}: it never came to that");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Sends the signal, and holds what comes of it against what is due.
#[track_caller]
fn stop(what: &str, child: Child, signal: &str) -> Ran {
    let sent = std::process::Command::new("kill").arg(signal).arg(child.id().to_string()).status().unwrap();
    assert!(sent.success());
    let start = Instant::now();
    let ran = Ran::of(&child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(130), "{what}: {ran:?}");
    assert!(start.elapsed() < SOON, "{what}: {:?}", start.elapsed());
    ran
}

/// Nobody works in the database any more.
#[track_caller]
fn assert_left(what: &str, database: &Database) {
    let busy = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'active'";
    wait_until(what, || database.value(busy) == "0");
}

#[test]
fn a_dump_stops_soon_whatever_it_waits_for() {
    let (s3, database) = (garage(), source("stopping_dump"));
    let before_server = Proxy::before(&address(&database.url())).unwrap();
    let before_store = Proxy::before(&address(&s3.endpoint)).unwrap();
    let url = database.url().replace(&address(&database.url()), &before_server.address.to_string());
    let shaky = behind(&s3, &before_store);
    let cases = [
        ("connecting", &before_server, "pgstow dump"),
        ("reading the catalogs", &before_server, "pg_depend"),
        ("reading rows", &before_server, "COPY public.big"),
        ("reading large objects", &before_server, "lo_get("),
        ("writing a small object", &before_store, LATE[0]),
        ("looking for the bucket or beginning an upload", &before_store, "?uploads"),
        ("beginning an upload that the store hears of late", &before_store, LATE[1]),
        ("sending a part", &before_store, "partNumber=2"),
        ("completing an upload", &before_store, "<CompleteMultipartUpload"),
        ("writing the manifest", &before_store, "if-none-match"),
    ];
    for (number, (what, proxy, needle)) in cases.into_iter().enumerate() {
        let prefix = s3.fresh_prefix("stopping");
        let before = proxy.harmed();
        let late = LATE.contains(&needle);
        let harm = if late { Harm::Late(HEARD) } else { Harm::Silence };
        proxy.harm(Trigger { needle: needle.as_bytes().to_vec(), connection: 0, after: 0, harm });
        let store = s3.location(&prefix);
        let child = start(&shaky, &["dump", "-d", &url, "--to", &store, "-j", "2", "-Z", "none"]);
        wait_until(what, || proxy.harmed() > before);
        stop(what, child, if number % 2 == 0 { "-TERM" } else { "-INT" });
        proxy.heal();
        if late {
            std::thread::sleep(HEARD * 2);
        }
        assert_eq!(s3.open_uploads(&prefix).unwrap(), Vec::<String>::new(), "{what}");
        assert_eq!(s3.keys(&prefix).unwrap(), Vec::<String>::new(), "{what}");
        assert_left(what, &database);
    }
}

#[test]
fn a_dump_or_a_copy_whose_store_is_dead_stops_soon_too_and_says_what_a_sweep_must_remove() {
    let (s3, database) = (garage(), source("stopping_dead"));
    let backup = Backup::make(&s3, &database, &["-Z", "none"]);
    let proxy = Proxy::before(&address(&s3.endpoint)).unwrap();
    let shaky = behind(&s3, &proxy);
    let (url, from) = (database.url(), backup.store());
    for verb in ["dump", "copy"] {
        let prefix = s3.fresh_prefix("stopping_dead");
        let (store, before) = (s3.location(&prefix), proxy.harmed());
        // From the second part on, nothing comes back any more, whoever asks.
        proxy.harm(Trigger { needle: b"partNumber=2".to_vec(), connection: 0, after: 0, harm: Harm::Silence });
        let copy = ["copy", "latest", "--from", &from, "--endpoint", &s3.endpoint, "--to", &store, "--to-endpoint"];
        let copy = [&copy[..], &[&shaky.endpoint]].concat();
        let dump = ["dump", "-d", &url, "--to", &store, "-j", "2", "-Z", "none"];
        let child = start(&shaky, if verb == "dump" { &dump } else { &copy });
        wait_until(verb, || proxy.harmed() > before);
        for _ in 0..1000 {
            proxy.harm(Trigger { needle: b"HTTP/1.1".to_vec(), connection: 0, after: 0, harm: Harm::Silence });
        }
        let ran = stop(verb, child, "-TERM");
        proxy.heal();
        for said in ["does not answer", &format!("{store}/")] {
            assert!(ran.stderr.contains(said), "{verb}: {said:?} is not said: {ran:?}");
        }
        std::thread::sleep(Duration::from_millis(2_100));
        crate::support::pgstow(&s3, &["sweep", "--to", &store, "--older-than", "1s"]).fine();
        assert_eq!(s3.open_uploads(&prefix).unwrap(), Vec::<String>::new(), "{verb}");
        assert_eq!(s3.keys(&prefix).unwrap(), Vec::<String>::new(), "{verb}");
    }
}

#[test]
fn a_restore_stops_soon_and_what_the_server_does_for_it_is_cancelled() {
    let s3 = garage();
    let database = Database::fresh(&server(18), "stopping_restore");
    // The index and the check of the foreign key's trigger would take for ever, but only for a restore.
    database.execute(
        "CREATE FUNCTION slow(n integer) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
             IF current_setting('application_name') LIKE 'pgstow restore%' THEN PERFORM pg_sleep(600); END IF;
             RETURN n; END $$;
         CREATE TABLE t AS SELECT n AS id, md5(n::text) AS text FROM generate_series(1, 20000) n;
         CREATE INDEX slow ON t (public.slow(id))",
    );
    let backup = Backup::make(&s3, &database, &[]);
    let store = backup.store();
    for signal in ["-TERM", "-INT"] {
        let target = Database::fresh(&database.server, "stopping_target");
        let url = target.url();
        let child = start(&s3, &["restore", "latest", "--from", &store, "-d", &url]);
        let building = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%CREATE INDEX%'
                        AND wait_event = 'PgSleep' AND datname = current_database()";
        wait_until("building an index", || target.value(building) == "1");
        stop("building an index", child, signal);
        assert_left("building an index", &target);
    }
    let before_server = Proxy::before(&address(&database.url())).unwrap();
    let before_store = Proxy::before(&address(&s3.endpoint)).unwrap();
    let shaky = behind(&s3, &before_store);
    let cases = [
        ("connecting", &before_server, "pgstow restore"),
        ("making the tables", &before_server, "CREATE TABLE public.t"),
        ("loading rows", &before_server, "COPY public.t"),
        ("listing backups", &before_store, "list-type=2"),
        ("looking for the manifest", &before_store, "HEAD /"),
        ("reading rows from the store", &before_store, "/data_"),
    ];
    for (what, proxy, needle) in cases {
        let target = Database::fresh(&database.server, "stopping_target");
        let url = target.url().replace(&address(&target.url()), &before_server.address.to_string());
        let before = proxy.harmed();
        proxy.harm(Trigger { needle: needle.as_bytes().to_vec(), connection: 0, after: 0, harm: Harm::Silence });
        let child = start(&shaky, &["restore", "latest", "--from", &store, "-d", &url]);
        wait_until(what, || proxy.harmed() > before);
        stop(what, child, "-TERM");
        proxy.heal();
        assert_left(what, &target);
    }
}

#[test]
fn what_reads_backups_stops_soon_and_what_writes_one_leaves_nothing() {
    let (s3, database) = (garage(), source("stopping_verbs"));
    let backup = Backup::make(&s3, &database, &["-Z", "none"]);
    let (store, folder) = (backup.store(), tempfile::tempdir().unwrap());
    let proxy = Proxy::before(&address(&s3.endpoint)).unwrap();
    let shaky = behind(&s3, &proxy);
    let exported = folder.path().join("exported").display().to_string();
    let prefix = s3.fresh_prefix("stopping_copy");
    let copied = s3.location(&prefix);
    let cases: [(&[&str], &str); 6] = [
        (&["verify", "latest", "--from", &store], "/data_"),
        (&["verify", "latest", "--from", &store, "--quick"], "HEAD /"),
        (&["export", "latest", "--from", &store, "-F", "directory", "-f", &exported], "/data_"),
        (&["copy", "latest", "--from", &store, "--to", &copied, "--to-endpoint", &s3.endpoint], "/data_"),
        (&["list", "--from", &store], "list-type=2"),
        (&["sweep", "--to", &store], "?uploads"),
    ];
    for (arguments, needle) in cases {
        let what = arguments.join(" ");
        let before = proxy.harmed();
        proxy.harm(Trigger { needle: needle.as_bytes().to_vec(), connection: 0, after: 0, harm: Harm::Silence });
        let child = start(&shaky, arguments);
        wait_until(&what, || proxy.harmed() > before);
        stop(&what, child, "-TERM");
        proxy.heal();
    }
    assert_eq!(s3.keys(&prefix).unwrap(), Vec::<String>::new());
    assert_eq!(s3.open_uploads(&prefix).unwrap(), Vec::<String>::new());
    assert!(!folder.path().join("exported").exists(), "half an export is left");
}

#[test]
fn two_signals_at_once_are_one_and_the_dump_cleans_up() {
    let source = Database::fresh(&server(18), "twice");
    source.execute("CREATE TABLE t AS SELECT n, repeat(md5(n::text), 30) AS a FROM generate_series(1, 20000) n");
    for pause in [0, 5, 50] {
        let folder = crate::living::Folder::new();
        let arguments = ["dump", "-d", &source.url(), "--to", &folder.store(), "--rate-limit", "1MiB"];
        let mut command = crate::support::bare_command();
        let child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(900));
        // As `timeout` does it: to the process, and to its group.
        for _ in 0..2 {
            let sent = std::process::Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap();
            assert!(sent.success());
            std::thread::sleep(Duration::from_millis(pause));
        }
        Ran::of(&child.wait_with_output().unwrap()).failed(130, &["stopped before it was done"]);
        assert_eq!(folder.files(), 0, "{pause} ms between them");
    }
}
