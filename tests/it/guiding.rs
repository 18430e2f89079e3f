//! The guides of `docs`: from a backup script to pgstow. What they tell people to type is what runs here, word for word.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use pgstow_parts::{Database, Server, fetch, fixtures, moto, say};

use crate::support::{Ran, assert_same_data, assert_same_schema};

/// A guide, by its language.
fn guide(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

/// The lines of a guide's blocks by their kind (`sh`, `console`, `text`), without comments.
fn blocks(guide: &str) -> BTreeMap<&str, Vec<&str>> {
    let (mut found, mut inside): (BTreeMap<&str, Vec<&str>>, Option<&str>) = Default::default();
    for line in guide.lines() {
        match (inside, line.strip_prefix("```")) {
            (None, Some(kind)) => inside = Some(kind),
            (Some(_), Some(_)) => inside = None,
            (Some(kind), None) if !line.starts_with('#') => found.entry(kind).or_default().push(line),
            _ => {}
        }
    }
    assert_eq!(inside, None, "a block is not closed");
    found
}

#[test]
fn the_guides_hold_the_same_commands_in_the_same_chapters() {
    let (guide, guia) = (guide("guide.md"), guide("guia.md"));
    let (english, spanish) = (blocks(&guide), blocks(&guia));
    assert_eq!(english.keys().copied().collect::<Vec<_>>(), ["console", "sh", "text"]);
    for kind in ["sh", "console"] {
        assert_eq!(english[kind], spanish[kind], "{kind}");
    }
    let chapters = |guide: &str| {
        let headings = guide.lines().filter_map(|line| line.strip_prefix("## ")?.split_once(". "));
        headings.map(|(number, name)| (number.to_owned(), name.to_owned())).collect::<Vec<_>>()
    };
    let (english, spanish) = (chapters(&guide), chapters(&guia));
    let numbers = |chapters: &[(String, String)]| chapters.iter().map(|(number, _)| number.clone()).collect::<Vec<_>>();
    assert_eq!(numbers(&english), numbers(&spanish));
    let names: Vec<&str> = english.iter().map(|(_, name)| name.as_str()).collect();
    let order = [
        "Create the bucket",
        "Lifecycle",
        "IAM",
        "Install",
        "Environment",
        "Schedule",
        "Test",
        "Restore test",
        "Monitoring",
        "Cost",
        "Security",
        "Disaster recovery",
    ];
    assert_eq!(names, order);
}

#[test]
fn the_whole_guide_runs_as_one_script_from_an_empty_account_to_a_restored_server() {
    if std::env::var_os("PGSTOW_TEST_PG").is_some_and(|url| !url.is_empty()) {
        say("the guide is not run: it loses a whole server, and so needs servers of its own");
        return;
    }
    let (s3, folder) = (moto(), tempfile::tempdir().unwrap());
    let (source, staging, new) = (database("shop"), database("shop_copy"), Server::own(18).unwrap());
    // A policy tells its roles in the order in which the server got them, and a restore brings them by name.
    source.execute("CREATE ROLE shop_clerk; CREATE ROLE shop_owner; CREATE ROLE shop_reader");
    fixtures::load_shop(&source.server, "shop").unwrap();
    let (_, port) = source.server.socket().unwrap();
    let environment = folder.path().join("backup.env");
    // As people have it; others may still read it, for the guide says to change that.
    let text = format!(
        "export DB_HOST=127.0.0.1\nexport DB_PORT={port}\nexport DB_DATABASE=shop\nexport DB_USERNAME=postgres\n\
         export DB_PASSWORD='not asked for'\nexport BACKUP_S3_BUCKET=acme-database-backups\nexport AWS_DEFAULT_REGION={}\n",
        s3.region
    );
    std::fs::write(&environment, text).unwrap();
    std::fs::set_permissions(&environment, std::fs::Permissions::from_mode(0o644)).unwrap();
    let programs = Path::new(env!("CARGO_BIN_EXE_pgstow")).parent().unwrap();
    let aws = fetch::aws_program().unwrap();
    let mut command = Command::new("bash");
    command.args(["-euxo", "pipefail", "-c", &blocks(&guide("guide.md"))["sh"].join("\n")]).current_dir(folder.path());
    // The AWS command line knows the region by its older name alone.
    command.env_clear().envs(s3.environment()).env("AWS_DEFAULT_REGION", &s3.region).env("HOME", folder.path());
    command.env("PATH", format!("{}:{}:/usr/bin:/bin", programs.display(), aws.parent().unwrap().display()));
    command.env("TARGET", staging.url()).env("NEW_SERVER", new.url("postgres"));
    let ran = Ran::of(&command.output().unwrap()).fine();
    for said in ["PGSTOW OK - ", "ok: ", "job shop"] {
        assert!(ran.stdout.contains(said), "{said:?} is not said: {}", ran.stdout);
    }
    let restored = Database { server: new, name: "shop".into() };
    for copy in [&staging, &restored] {
        assert_same_schema(&source, copy);
        assert_same_data(&source, copy);
    }
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert!(read("backups.html").contains("Nothing failed"), "{}", read("backups.html"));
    // Without the right to delete a run asks for nothing that the writer may not do.
    let used: serde_json::Value = serde_json::from_str(&read("used.json")).unwrap();
    let writer: serde_json::Value = serde_json::from_str(&read("writer.json")).unwrap();
    let allowed = actions(&writer);
    assert!(actions(&used).iter().all(|action| allowed.contains(action)), "{used} is more than {writer}");
    let mode = std::fs::metadata(&environment).unwrap().permissions().mode();
    assert_eq!((mode & 0o777, folder.path().join("key.txt").exists()), (0o600, false));
}

/// An empty database of this name on a server of its own.
fn database(name: &str) -> Database {
    let server = Server::own(18).unwrap();
    server.execute("postgres", &format!("CREATE DATABASE {name}")).unwrap();
    Database { server, name: name.into() }
}

/// What a policy allows.
fn actions(policy: &serde_json::Value) -> Vec<String> {
    let statements = policy["Statement"].as_array().unwrap().iter();
    let of = |statement: &serde_json::Value| statement["Action"].as_array().unwrap().clone();
    statements.flat_map(of).map(|action| action.as_str().unwrap().to_owned()).collect()
}
