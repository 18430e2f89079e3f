//! A job with several stores: every good backup goes to all of them, and each is kept and checked by itself.

use pgstow_parts::{Database, garage, moto, server};
use serde_json::json;
use tempfile::TempDir;

use crate::jobs::{backups, command_in, write_private};
use crate::support::{Ran, pgstow};

/// A file of one job `shop` with a first store in Garage and a copy in moto, where data is in another class and of which
/// only the last backup stays.
fn file(database: &Database, first: &str, second: &str) -> String {
    let there = moto();
    format!(
        "[job.shop]\nsource = \"{}\"\nstore = \"{first}\"\ncopies = \"offsite\"\nretention = {{ keep_last = 5 }}\n\
         verify = \"full\"\nmemory = \"64MiB\"\nsplit_above = \"1MiB\"\npart_size = \"5MiB\"\nmax_parts = 1000\n\
         lock_timeout = \"10s\"\nrate_limit = \"1GiB\"\nmax_snapshot_age = \"2h\"\nmax_blocking = \"30s\"\nretry_for = \"2s\"\nstall_timeout = \
         \"5s\"\n[job.shop.selection]\nexclude_table_data_and_children = [\"dropped\"]\nwithout = [\"comments\"]\n\
         [store.offsite]\nurl = \"{second}\"\nendpoint = \"{}\"\naccess_key_id = \"{}\"\nsecret_access_key = \"{}\"\n\
         region = \"us-east-1\"\nstorage_class = \"GLACIER\"\nretention = {{ keep_last = 1 }}\n",
        database.url(),
        there.endpoint,
        there.access_key,
        there.secret_key
    )
}

fn database(hint: &str) -> Database {
    let database = Database::fresh(&server(18), hint);
    database.execute(
        "CREATE TABLE t AS SELECT n AS id FROM generate_series(1, 10) n; COMMENT ON TABLE t IS 'left out';
         CREATE TABLE dropped (id int); CREATE TABLE child () INHERITS (dropped); INSERT INTO child VALUES (1)",
    );
    database
}

#[test]
fn a_good_backup_goes_to_every_store_and_each_keeps_what_its_own_rules_say() {
    let (s3, there, folder, database) = (garage(), moto(), TempDir::new().unwrap(), database("copies"));
    let (here, far) = (s3.fresh_prefix("copies"), there.fresh_prefix("copies"));
    let text = file(&database, &s3.location(&here), &there.location(&far));
    write_private(&folder.path().join("pgstow.toml"), &text);
    let run = |arguments: &[&str]| Ran::of(&command_in(&folder, &s3).args(arguments).output().unwrap());
    let said = run(&["config", "check"]).fine().stdout;
    assert!(
        said.contains(&format!("  copies to {}, GLACIER; keep the last 1; at least 1\n", there.location(&far))),
        "{said}"
    );
    assert!(
        said.contains("  dumps     no rows of tables with their children dropped; without comments; zstd:3"),
        "{said}"
    );
    let first = run(&["run", "--json"]).fine().json();
    assert_eq!(first["copies"], json!([{ "store": there.location(&far), "error": null }]));
    assert_eq!(first["totals"]["rows"], 10, "the child's row was left out");
    let said = run(&["run"]).fine().stdout;
    let offsite = there.location(&far);
    for words in [format!("copying to {offsite}\n"), format!("copied to {offsite}: "), "2 backups stay".to_owned()] {
        assert!(said.contains(&words), "{words:?} is missing:\n{said}");
    }
    let last = backups(&s3, &here)[0]["backup"].clone();
    assert_eq!(backups(&s3, &here).len(), 2);
    let kept = backups(&there, &far);
    assert_eq!(kept.len(), 1, "its own rule keeps one");
    assert_eq!(kept[0]["backup"], last);
    // The other verbs know the store by its name.
    assert_eq!(run(&["list", "--from", "offsite", "--json"]).fine().json()["backups"], json!(kept));
    run(&["list", "--from", "ofsite"]).failed(2, &["there is no store \"ofsite\"", "did you mean \"offsite\"?"]);

    // Also where another place than the usual one has the file.
    let file = folder.path().join("pgstow.toml").display().to_string();
    for verb in ["check", "cost", "report"] {
        pgstow(&s3, &[verb, "--from", "offsite", "--config", &file]).fine();
    }

    // Pruning by itself does it in both, each by its rules.
    run(&["prune", "shop", "--keep-last", "1"]).failed(2, &["job shop: a job says itself"]);
    run(&["prune"]).failed(2, &["neither a store nor a job"]);
    let dry = run(&["prune", "shop", "--dry-run", "--json"]).fine().json();
    let kept: Vec<usize> =
        dry["stores"].as_array().unwrap().iter().map(|store| store["backups"].as_array().unwrap().len()).collect();
    assert_eq!(kept, [2, 1]);
    write_private(&folder.path().join("pgstow.toml"), &text.replace("keep_last = 5", "keep_last = 1"));
    let said = run(&["prune", "shop"]).fine().stdout;
    assert!(said.contains(&format!("{}\n", s3.location(&here))) && said.contains("removed 1 ("), "{said}");
    assert_eq!((backups(&s3, &here).len(), backups(&there, &far).len()), (1, 1));

    // A check looks at both.
    let checked = run(&["check", "shop", "--format", "json"]).fine().json();
    let names: Vec<&str> =
        checked["databases"].as_array().unwrap().iter().map(|d| d["database"].as_str().unwrap()).collect();
    assert_eq!(names, [database.name.clone(), format!("{} in {offsite}", database.name)]);
    let keys = there.keys(&far).unwrap();
    there.delete(keys.iter().find(|key| key.ends_with("toc.dat")).unwrap()).unwrap();
    run(&["check", "shop"]).failed(10, &[&offsite]);
}

#[test]
fn a_copy_that_fails_fails_the_run_and_the_backup_stays() {
    let (s3, folder, database) = (garage(), TempDir::new().unwrap(), database("copy_fails"));
    let prefix = s3.fresh_prefix("copy-fails");
    let text = file(&database, &s3.location(&prefix), "s3://no-such-bucket/copies");
    write_private(&folder.path().join("pgstow.toml"), &text);
    let ran = Ran::of(&command_in(&folder, &s3).args(["run", "--json"]).output().unwrap());
    ran.failed(8, &["s3://no-such-bucket/copies: backup ", "was made, but its copy failed", "pgstow copy --new"]);
    let report = ran.json();
    assert!(report["copies"][0]["error"].as_str().unwrap().contains("no-such-bucket"), "{report}");
    assert_eq!(backups(&s3, &prefix)[0]["backup"], report["backup"]);
    let id = report["backup"].as_str().unwrap();
    pgstow(&s3, &["verify", id, "--from", &s3.location(&prefix)]).fine();
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_runs() {
    let (s3, folder) = (garage(), TempDir::new().unwrap());
    let check = |lines: &str| {
        let text = format!("[job.a]\nsource = \"postgres://h/d\"\nstore = \"s3://b/a\"\n{lines}");
        write_private(&folder.path().join("pgstow.toml"), &text);
        Ran::of(&command_in(&folder, &s3).args(["config", "check"]).output().unwrap())
    };
    check("copies = [\"s3://b/b\", \"file:///c\"]\n").fine();
    check("copies = [\"s3://b/b\", \"s3://b/a\"]\n").failed(2, &["job a: names one place twice"]);
    check("copies = \"nowhere\"\n").failed(2, &["there is no store \"nowhere\""]);
    check("copies = \"s3://b/b\"\nstorage_class = \"DEEP_ARCHIVE\"\n")
        .failed(2, &["DEEP_ARCHIVE, which cannot be read"]);
    check("verify = \"full\"\nstorage_class = \"GLACIER\"\n").failed(2, &["GLACIER, which cannot be read"]);
    check("memory = \"1MiB\"\n").failed(2, &["job a", "too small", "MiB at least"]);
    check("rate_limit = \"fast\"\n").failed(2, &["rate_limit"]);
    check("lock_timeout = \"soon\"\n").failed(2, &["lock_timeout"]);
    check("max_parts = 0\n").failed(2, &["max_parts must be 1 to 10000"]);
    check("selection = { without = [\"coments\"] }\n").failed(2, &["did you mean \"comments\"?"]);
    check("selection = { sections = [\"middle\"] }\n").failed(2, &["pre-data, data, post-data"]);
    check("selection = { schema_only = true, no_schema = true }\n").failed(2, &["exclude each other"]);
    check("selection = { schema_only = true, statistics = true }\n").failed(2, &["exclude each other"]);
    check("selection = { statistics = true }\n").fine();
    check("selection = { filters = [\"-\"] }\n").failed(2, &["standard input"]);
    std::fs::write(folder.path().join("filter"), "exclude schema old*\ninclude table t\n").unwrap();
    let said = check("selection = { filters = [\"filter\"] }\n").fine().stdout;
    assert!(said.contains("tables t; not schemas old*; zstd:3"), "{said}");
    let other = "copies = \"s3://b/b\"\n[job.b]\nsource = \"postgres://h/d\"\nstore = \"s3://b/b\"\n";
    check(other).failed(2, &["job b: writes to the same place as job a"]);
}

#[test]
fn a_job_can_be_told_what_a_dump_can_be_told() {
    let (s3, folder) = (garage(), TempDir::new().unwrap());
    let database = Database::fresh(&server(18), "job_keys");
    database.execute("CREATE TABLE rows AS SELECT n, repeat(md5(n::text), 32) AS t FROM generate_series(1, 8000) n");
    let store = s3.location(&s3.fresh_prefix("job-keys"));
    let run = |keys: &str| {
        let text = format!("[job.a]\nsource = \"{}\"\nstore = \"{store}\"\n{keys}", database.url());
        write_private(&folder.path().join("pgstow.toml"), &text);
        Ran::of(&command_in(&folder, &s3).args(["run", "--json"]).output().unwrap())
    };
    // 8.3 MB of text do not fit into one object of one part.
    let report = run("compress = \"none\"\npart_size = \"5MiB\"\nmax_parts = 1\n").fine().json();
    let shown = pgstow(&s3, &["show", report["backup"].as_str().unwrap(), "--from", &store, "--json"]).fine().json();
    assert_eq!(shown["tables"].as_array().unwrap().len(), 2, "two segments");
    run("part_size = \"1GiB\"\n").failed(2, &["parts cannot have"]);
    run("rate_limit = \"256KiB\"\nmax_snapshot_age = \"2s\"\n").failed(4, &["snapshot"]);
    std::thread::scope(|scope| {
        scope.spawn(|| database.execute("BEGIN; LOCK TABLE rows; SELECT pg_sleep(6); COMMIT"));
        let locked =
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
        while database.value(locked) != "t" {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        run("lock_timeout = \"1s\"\n").failed(4, &["lock timeout"]);
    });
}
