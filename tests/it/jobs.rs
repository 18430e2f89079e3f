//! `pgstow run` takes the place of the script that people have, and runs the jobs of `pgstow.toml`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pgstow::archive::Manifest;
use pgstow_parts::{Database, S3, garage, server};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Ran, command, pgstow};

fn small(hint: &str) -> Database {
    let database = Database::fresh(&server(18), hint);
    database.execute("CREATE TABLE t AS SELECT n AS id FROM generate_series(1, 10) n");
    database
}

/// pgstow in a folder of its own, so that no file of jobs is found there by chance.
pub(crate) fn command_in(folder: &TempDir, s3: &S3) -> Command {
    let mut command = command(s3);
    for name in ["PGSTOW_STORE", "PGSTOW_CONFIG", "DB_HOST", "DB_PORT", "DB_DATABASE", "DB_USERNAME", "DB_PASSWORD"] {
        command.env_remove(name);
    }
    command.current_dir(folder.path());
    command
}

/// The environment of the usual script for this database.
fn script(database: &Database, bucket: &str) -> Option<Vec<(&'static str, String)>> {
    let Some((_, port)) = database.server.socket() else {
        pgstow_parts::say("the script's variables are not tested: the user's own server may not be reached by them");
        return None;
    };
    Some(vec![
        ("DB_HOST", "127.0.0.1".to_owned()),
        ("DB_PORT", port.to_string()),
        ("DB_DATABASE", database.name.clone()),
        ("DB_USERNAME", "postgres".to_owned()),
        ("DB_PASSWORD", "not needed".to_owned()),
        ("BACKUP_S3_BUCKET", bucket.to_owned()),
    ])
}

/// The backups of a store.
pub(crate) fn backups(s3: &S3, prefix: &str) -> Vec<Value> {
    let listed = pgstow(s3, &["list", "--from", &s3.location(prefix), "--json"]).fine().json();
    listed["backups"].as_array().unwrap().clone()
}

/// Writes a file that only its owner can read.
pub(crate) fn write_private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn dump_and_restore_find_the_server_by_the_scripts_variables_and_a_restore_never_its_source() {
    let (s3, folder) = (garage(), tempfile::tempdir().unwrap());
    let (source, target) = (small("script_verbs"), Database::fresh(&server(18), "script_target"));
    let prefix = s3.fresh_prefix("script_verbs");
    let Some(script) = script(&source, &s3.bucket) else { return };
    let environment = folder.path().join("backup.env");
    let lines: Vec<String> = script.iter().map(|(name, value)| format!("{name}='{value}'\n")).collect();
    write_private(&environment, &lines.concat());
    let store = s3.location(&prefix);
    let run = |more: &[(&str, &str)], arguments: &[&str]| {
        let mut command = command_in(&folder, &s3);
        command.envs(more.iter().copied()).args(["--env-file", environment.to_str().unwrap()]).args(arguments);
        Ran::of(&command.output().unwrap())
    };
    let database = |ran: &Ran| ran.json()["database"].as_str().unwrap().to_owned();
    let dump = ["dump", "--to", &store, "--json"];
    assert_eq!(database(&run(&[], &dump).fine()), source.name);
    // What is said comes before libpq's variables, and those before the script's.
    let target_url = target.url();
    let other = [("PGDATABASE", target.name.as_str())];
    let to = s3.location(&s3.fresh_prefix("script_others"));
    assert_eq!(database(&run(&other, &["dump", "--to", &to, "--json"]).fine()), target.name);
    assert_eq!(database(&run(&other, &["dump", "--to", &to, "--json", "-d", &source.name]).fine()), source.name);
    let elsewhere = [("PGHOST", "no.such.host.invalid")];
    assert_eq!(database(&run(&elsewhere, &["dump", "--to", &to, "--json", "-d", &target_url]).fine()), target.name);
    run(&elsewhere, &dump).failed(3, &["no.such.host.invalid"]);
    let restore = ["restore", "latest", "--from", &store];
    run(&[], &restore).failed(2, &["no target is named", "-d NAME", &source.name]);
    run(&[], &[&restore[..], &["-c", "--if-exists"]].concat()).failed(2, &["no target is named"]);
    run(&[], &[&restore[..], &["--list"]].concat()).fine();
    run(&[], &[&restore[..], &["--dry-run"]].concat()).fine();
    run(&[], &[&restore[..], &["-d", &target.name]].concat()).fine();
    assert_eq!(target.value("SELECT count(*) FROM t"), "10");
    run(&other, &[&restore[..], &["-c"]].concat()).fine();
    assert_eq!(source.value("SELECT count(*) FROM t"), "10");
}

#[test]
fn the_environment_of_the_usual_script_is_enough() {
    let (s3, folder, database) = (garage(), TempDir::new().unwrap(), small("script"));
    let prefix = s3.fresh_prefix("script");
    let Some(environment) = script(&database, &format!("{}/{prefix}", s3.bucket)) else { return };
    let mut run = command_in(&folder, &s3);
    let ran = Ran::of(&run.arg("run").envs(environment).output().unwrap()).fine();
    for step in ["job script: database ", "connecting", "dumping", "made backup ", " 10 rows, ", "done"] {
        assert!(ran.stdout.contains(step), "{step:?} is no step: {}", ran.stdout);
    }
    assert_eq!(ran.stderr, "");
    assert_eq!(backups(&s3, &format!("{prefix}/database-backups")).len(), 1);
}

/// The manifest under another id, sealed anew.
pub(crate) fn aged(manifest: &[u8], id: &str) -> Vec<u8> {
    let mut manifest = Manifest::decode(manifest).unwrap();
    manifest.id = id.parse().unwrap();
    manifest.encode()
}

/// Makes the only backup below a prefix look as old as its id says then; returns the id.
fn age(s3: &S3, prefix: &str, id: &str, time: &str) -> String {
    let old = format!("{time}{}", &id[time.len()..]);
    for key in s3.keys(prefix).unwrap() {
        let mut body = s3.get(&key).unwrap();
        if key.ends_with("manifest.json") {
            body = aged(&body, &old);
        }
        s3.put(&key.replace(id, &old), body).unwrap();
        s3.delete(&key).unwrap();
    }
    old
}

#[test]
fn a_good_run_prunes_and_a_failed_one_does_not() {
    let (s3, folder, database) = (garage(), TempDir::new().unwrap(), small("pruned"));
    let prefix = s3.fresh_prefix("pruned");
    let Some(environment) = script(&database, &format!("{}/{prefix}", s3.bucket)) else { return };
    let run = || Ran::of(&command_in(&folder, &s3).arg("run").envs(environment.clone()).output().unwrap());
    run().fine();
    let id = backups(&s3, &format!("{prefix}/database-backups"))[0]["backup"].as_str().unwrap().to_owned();
    let old = age(&s3, &prefix, &id, "20200101T000000Z");
    let ids = || -> Vec<String> {
        let found = backups(&s3, &format!("{prefix}/database-backups"));
        found.iter().map(|backup| backup["backup"].as_str().unwrap().to_owned()).collect()
    };
    let before = ids();
    assert_eq!(before, std::slice::from_ref(&old));
    let allow = |yes: bool| {
        let sql = format!("ALTER DATABASE \"{}\" ALLOW_CONNECTIONS {yes}", database.name);
        database.server.execute("postgres", &sql).unwrap();
    };
    allow(false);
    run().failed(3, &[]);
    assert_eq!(ids(), before);
    allow(true);
    let said = run().fine().stdout;
    assert!(
        said.contains("pruning: keep within 30d; at least 1\n") && said.contains(&format!("removed {old}\n")),
        "{said}"
    );
    assert!(ids().len() == 1 && ids() != before);
}

#[test]
fn an_env_file_is_read_if_its_owner_alone_can_read_it() {
    let (s3, folder, database) = (garage(), TempDir::new().unwrap(), small("env_file"));
    let prefix = s3.fresh_prefix("env-file");
    let Some(environment) = script(&database, &format!("{}/{prefix}", s3.bucket)) else { return };
    let file = folder.path().join("backup.env");
    // Everything comes from the file, the keys to the store too; what was set before gives way.
    let mut text = "# backup\n".to_owned();
    for (name, value) in environment.into_iter().chain(s3.environment()) {
        text += &format!("export {name}='{value}'\n");
    }
    write_private(&file, &text);
    let run = || {
        let mut command = command_in(&folder, &s3);
        for (name, _) in s3.environment() {
            command.env_remove(name);
        }
        command.env("DB_DATABASE", "no_such_database");
        Ran::of(&command.args(["run", "--json", "--env-file"]).arg(&file).output().unwrap())
    };
    let report = run().fine().json();
    assert_eq!((&report["totals"]["rows"], &report["database"]), (&10.into(), &database.name.clone().into()));
    let mut list = command_in(&folder, &s3);
    let listed = Ran::of(&list.args(["list", "--json", "--env-file"]).arg(&file).output().unwrap()).fine().json();
    assert_eq!(listed["backups"][0]["backup"], report["backup"]);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    run().failed(2, &["backup.env", "others than its owner may read it", "chmod 600"]);
    write_private(&file, "export DB_PASSWORD=$(cat geheim)\n");
    run().failed(2, &["line 1: DB_PASSWORD: a shell would"]);
    assert_eq!(backups(&s3, &format!("{prefix}/database-backups")).len(), 1);
}

#[test]
fn a_job_of_the_file_runs_and_the_file_says_what_it_will_do() {
    let (s3, folder, database) = (garage(), TempDir::new().unwrap(), small("job"));
    let prefix = s3.fresh_prefix("job");
    let text = format!(
        "[defaults]\nsource = \"{}\"\ntimezone = \"UTC\"\n\
         [job.all]\nstore = \"${{STORE}}/all\"\nschedule = \"30 2 * * *\"\nverify = \"full\"\n\
         [job.nothing]\nstore = \"${{STORE}}/nothing\"\nselection = {{ exclude_table_data = [\"t\"] }}\ncompress = \"gzip:6\"\n",
        database.url()
    );
    std::fs::write(folder.path().join("pgstow.toml"), text).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = command_in(&folder, &s3);
        Ran::of(&command.env("STORE", s3.location(&prefix)).args(arguments).output().unwrap())
    };
    let said = run(&["config", "check"]).fine().stdout;
    for words in [
        "job all\n",
        "  runs      30 2 * * * (at 02:30, UTC)\n",
        "  next      ",
        "no rows of t; gzip:6",
        "has no schedule",
    ] {
        assert!(said.contains(words), "{words:?} is missing:\n{said}");
    }
    let checked = run(&["config", "check", "--json"]).fine().json();
    assert!(checked[0]["next"].as_str().unwrap().ends_with("T02:30:00Z"), "{checked}");
    run(&["run"]).failed(2, &["the file has 2 jobs", "say which: all, nothing"]);
    run(&["run", "al"]).failed(2, &["there is no job \"al\"", "did you mean \"all\"?"]);
    let said = run(&["run", "all"]).fine().stdout;
    assert!(said.contains(" 10 rows, ") && said.contains("  verified 20"), "{said}");
    assert_eq!(run(&["run", "nothing", "--json"]).fine().json()["totals"]["rows"], 0);
    assert_eq!(backups(&s3, &format!("{prefix}/all")).len(), 1);
}

#[test]
fn a_file_with_a_secret_or_a_mistake_in_it_is_refused() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("pgstow.toml");
    let check = || Ran::of(&command_in(&folder, &garage()).args(["config", "check"]).output().unwrap());
    check().failed(2, &["there is no file of jobs", "pgstow config init"]);
    std::fs::write(&file, "[job.a]\nsource = \"postgres://h/d\"\nstore = \"file:///b\"\npassword = \"geheim\"\n")
        .unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    check().failed(2, &["others than its owner may read it (mode 644)", "chmod 600"]);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let said = check().fine();
    assert!(!said.stdout.contains("geheim"), "{said:?}");
    std::fs::write(&file, "[job.a]\nsource = \"postgres://h/d\"\nstor = \"file:///b\"\n").unwrap();
    check().failed(2, &["line 3: there is no key \"stor\"", "did you mean \"store\"?"]);
    let two = "[defaults]\nsource = \"postgres://h/d\"\nstore = \"file:///b\"\n[job.a]\n[job.b]\n";
    std::fs::write(&file, two).unwrap();
    check().failed(2, &["job b: writes to the same place as job a"]);
}

#[test]
fn the_example_is_written_once_and_for_its_owner_alone() {
    let folder = TempDir::new().unwrap();
    let init = || Ran::of(&command_in(&folder, &garage()).args(["config", "init"]).output().unwrap());
    init().fine();
    let file = folder.path().join("pgstow.toml");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    init().failed(2, &["is there already"]);
    let shown = Ran::of(&command_in(&folder, &garage()).args(["config", "init", "-"]).output().unwrap()).fine();
    assert_eq!(shown.stdout, std::fs::read_to_string(&file).unwrap());
}

#[test]
fn one_job_runs_once_at_a_time() {
    let (s3, folder) = (garage(), TempDir::new().unwrap());
    let database = Database::fresh(&server(18), "once");
    database.execute("CREATE TABLE t AS SELECT n, repeat(md5(n::text), 2000) AS t FROM generate_series(1, 3000) n");
    let prefix = s3.fresh_prefix("once");
    let text = format!("[job.a]\nsource = \"{}\"\nstore = \"{}\"\n", database.url(), s3.location(&prefix));
    std::fs::write(folder.path().join("pgstow.toml"), text).unwrap();
    let mut first = command_in(&folder, &s3);
    let first = first.args(["run", "a", "-q"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    let held = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                WHERE l.locktype = 'advisory' AND l.granted AND a.datname = current_database()";
    while database.value(held) != "1" {
        assert!(start.elapsed() < Duration::from_secs(60), "the first run takes no lock");
        std::thread::sleep(Duration::from_millis(10));
    }
    let second = Ran::of(&command_in(&folder, &s3).args(["run", "a"]).output().unwrap());
    second.failed(13, &["another process runs it at this moment"]);
    Ran::of(&first.wait_with_output().unwrap()).fine();
    Ran::of(&command_in(&folder, &s3).args(["run", "a", "-q"]).output().unwrap()).fine();
    assert_eq!(backups(&s3, &prefix).len(), 2);
}

/// Asks the service one thing over HTTP; the status and the body.
fn ask(port: u16, path: &str) -> (u16, String) {
    use std::io::{Read, Write};
    let mut socket = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn the_service_makes_up_for_a_missed_run_and_shows_it_and_stops_when_told() {
    use std::io::{BufRead, BufReader};
    let (s3, folder, database) = (garage(), TempDir::new().unwrap(), small("service"));
    let store = folder.path().join("store");
    std::fs::create_dir(&store).unwrap();
    // Once a year: nothing but the missed run is due while the test runs.
    let text = format!(
        "[job.shop]\nsource = \"{}\"\nstore = \"file://{}\"\nschedule = \"0 0 1 1 *\"\ntimezone = \"UTC\"\n\
         [job.later]\nsource = \"{}\"\nstore = \"file://{}/later\"\nschedule = \"@yearly\"\ntimezone = \"UTC\"\n",
        database.url(),
        store.display(),
        database.url(),
        store.display()
    );
    std::fs::write(folder.path().join("pgstow.toml"), text).unwrap();
    // A backup of long ago: the one that is made now, under another date.
    let ran = Ran::of(&command_in(&folder, &s3).args(["run", "shop", "--json"]).output().unwrap()).fine();
    let id = ran.json()["backup"].as_str().unwrap().to_owned();
    let old = format!("20200101T000000Z{}", &id[16..]);
    let place = store.join(&database.name);
    std::fs::rename(place.join(&id), place.join(&old)).unwrap();
    let manifest = place.join(&old).join("manifest.json");
    let changed = aged(&std::fs::read(&manifest).unwrap(), &old);
    std::fs::write(&manifest, changed).unwrap();

    let mut service = command_in(&folder, &s3);
    service.args(["schedule", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut service = service.spawn().unwrap();
    let mut port = None;
    let lines = BufReader::new(service.stdout.take().unwrap()).lines();
    let mut said = Vec::new();
    // A service that does not do what it should is stopped, and its words are shown.
    let watchdog = service.id();
    let (finished, waiting) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        if waiting.recv_timeout(Duration::from_secs(120)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _gone = std::process::Command::new("kill").arg(watchdog.to_string()).status();
        }
    });
    for line in lines {
        let line = line.unwrap();
        if let Some((_, rest)) = line.split_once("http://127.0.0.1:") {
            port = Some(rest.trim_end_matches('/').parse::<u16>().unwrap());
        }
        let done =
            line.starts_with("[shop] next run ") && said.iter().any(|line: &String| line.contains("made backup"));
        said.push(line);
        if done {
            break;
        }
    }
    drop(finished);
    let port = port.unwrap();
    assert!(said.iter().any(|line| line.contains("[shop] a run was missed")), "{said:?}");
    assert_eq!(ask(port, "/health"), (200, "ok\n".to_owned()));
    assert_eq!(ask(port, "/").0, 404);
    let (_, metrics) = ask(port, "/metrics");
    for line in [
        "pgstow_runs_total{job=\"shop\",outcome=\"success\"} 1",
        "pgstow_runs_total{job=\"later\",outcome=\"success\"} 0",
        "pgstow_last_run_success{job=\"shop\"} 1",
        "pgstow_last_success_rows{job=\"shop\"} 10",
        "pgstow_running{job=\"shop\"} 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is missing:\n{metrics}");
    }
    assert!(std::process::Command::new("kill").arg("-TERM").arg(service.id().to_string()).status().unwrap().success());
    assert_eq!(service.wait().unwrap().code(), Some(0));
    let made = std::fs::read_dir(&place).unwrap().count();
    assert_eq!(made, 2);
    assert!(!store.join("later").join(&database.name).exists(), "a job without a backup waits for its time");
}
