//! Databases of one name of two servers in one folder: nothing takes the one's backups for the other's.

use pgstow_parts::{Server, majors, server};

use crate::support::{Ran, bare_command};

const NAME: &str = "one_name_of_two";

fn run(arguments: &[&str]) -> Ran {
    Ran::of(&bare_command().args(arguments).output().unwrap())
}

fn make(server: &Server) -> String {
    server.execute("postgres", &format!("DROP DATABASE IF EXISTS {NAME}")).unwrap();
    server.execute("postgres", &format!("CREATE DATABASE {NAME} TEMPLATE template0")).unwrap();
    server.execute(NAME, &format!("CREATE TABLE of_{} (a int)", server.major())).unwrap();
    server.url(NAME)
}

fn dump(url: &str, store: &str) -> serde_json::Value {
    run(&["dump", "-d", url, "--to", store, "--json"]).fine().json()
}

fn id(report: &serde_json::Value) -> &str {
    report["backup"].as_str().unwrap()
}

fn warnings(report: &serde_json::Value) -> String {
    report["warnings"].to_string()
}

#[test]
fn backups_of_two_servers_in_one_folder_are_kept_apart() {
    let Some(majors) = majors().first_chunk::<2>().copied() else { return };
    let servers = majors.map(server);
    let urls = [make(&servers[0]), make(&servers[1])];
    let folder = tempfile::tempdir().unwrap();
    let store = format!("file://{}", folder.path().display());
    let first = dump(&urls[0], &store);
    assert!(!warnings(&first).contains("another server"), "{first}");
    // An id tells seconds.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let again = dump(&urls[0], &store);
    assert!(!warnings(&again).contains("another server"), "{again}");
    let other = dump(&urls[1], &store);
    assert!(warnings(&other).contains("holds backups of another server"), "{other}");

    // Neither is the latest of both.
    let latest = run(&["show", "latest", "--from", &store]);
    latest.failed(2, &["the backups are of 2 servers", id(&again), id(&other)]);
    run(&["show", id(&first), "--from", &store]).fine();

    // Each server's newest stays.
    let pruned = run(&["prune", "--keep-last", "1", "--from", &store, "--json"]).fine().json();
    let fate = |report: &serde_json::Value| {
        let lines = pruned["backups"].as_array().unwrap();
        lines.iter().find(|line| line["backup"] == report["backup"]).unwrap()["fate"].as_str().unwrap().to_owned()
    };
    assert_eq!([&first, &again, &other].map(fate), ["removed", "keep", "keep"]);

    let checked = run(&["check", "--from", &store]).fine().stdout;
    assert_eq!(checked.matches(&format!("{NAME} of server ")).count(), 2, "{checked}");

    let listed = run(&["list", "--from", &store]).fine().stdout;
    assert!(listed.contains(&format!(": {}\n", id(&other))) && listed.matches("of server ").count() == 2, "{listed}");

    // A standby is the same server, whatever its address; and so is one without an identifier at the same address.
    let of_one = tempfile::tempdir().unwrap();
    let alone = format!("file://{}", of_one.path().display());
    let before = dump(&urls[0], &alone);
    let (socket, port) = servers[0].socket().unwrap();
    let other_way = format!("host={} port={port} user=postgres dbname={NAME}", socket.display());
    let after = dump(&other_way, &alone);
    assert!(!warnings(&after).contains("another server"), "{after}");
    assert_ne!(before["backup"], after["backup"]);
    run(&["show", "latest", "--from", &alone]).fine();
    for server in &servers {
        server.execute("postgres", &format!("DROP DATABASE {NAME}")).unwrap();
    }
}

#[test]
fn a_job_that_shares_its_place_with_another_is_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pgstow.toml");
    let text = format!(
        "[store.s]\nurl = \"file://{0}/s\"\n[job.prod]\nstore = \"s\"\nsource = \"host=prod.invalid dbname=shop\"\n\
         [job.staging]\nstore = \"s\"\nsource = \"host=staging.invalid dbname=shop\"\n[job.alone]\nstore = \"s\"\n\
         source = \"host=alone.invalid dbname=other\"\n",
        folder.path().display()
    );
    std::fs::write(&file, text).unwrap();
    let config = file.to_str().unwrap();
    run(&["config", "check", "--config", config]).failed(2, &["writes to the same place as job prod"]);
    for job in ["prod", "staging"] {
        run(&["run", job, "--config", config]).failed(2, &["writes to the same place as job", "database shop"]);
    }
    // The others' quarrel is not its own: it fails for want of a server only.
    run(&["run", "alone", "--config", config]).failed(3, &[]);
}
