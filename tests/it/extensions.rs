//! Extensions as they are used: what their scripts make comes with them and not twice, rows of their tables come when they are
//! needed, and nothing of one that was not selected comes at all.

use std::collections::BTreeSet;
use std::path::Path;

use pgstow_parts::{Database, Server, oracle};

use crate::databases::own;
use crate::fidelity::check;
use crate::support::{LocalBackup, assert_same_data};

/// The test extension, used: rows, policies of the user's beside the script's, tables that are looked up.
const USED: &str = "CREATE EXTENSION kinds_jobs;
INSERT INTO kinds_jobs.job (owner, command) VALUES ('ann', 'VACUUM'), ('bob', E'a\\tb');
INSERT INTO kinds_jobs.place VALUES (1), (2); INSERT INTO kinds_jobs.format VALUES ('a first table', 2), ('b', 1);
CREATE SCHEMA shapes; CREATE TABLE shapes.b (id integer PRIMARY KEY); INSERT INTO shapes.b VALUES (5);
INSERT INTO kinds_jobs.watched VALUES ('shapes.b'); INSERT INTO kinds_jobs.named VALUES ('shapes.b');
CREATE POLICY own ON kinds_jobs.job FOR SELECT USING (id > 0);
ALTER TABLE kinds_jobs.format ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON kinds_jobs.format USING (true)";

const POLICIES: &str = "SELECT string_agg(concat_ws(' ', p.tablename, p.policyname, p.cmd, p.qual, c.relrowsecurity), E'\\n'
ORDER BY p.tablename, p.policyname) FROM pg_policies p JOIN pg_class c ON c.oid = (quote_ident(p.schemaname) || '.' || quote_ident(p.tablename))::regclass";

fn used(server: &Server) -> Database {
    let source = Database::fresh(server, "used");
    // In one transaction, as migrations have it.
    source.execute(USED);
    source.execute("ALTER POLICY job_changed_policy ON kinds_jobs.job USING (id > 1)");
    source
}

/// `POLICY job own` and the like.
fn entries(backup: &LocalBackup, sort: &str) -> BTreeSet<String> {
    let listed = backup.run("restore", &["--list"]).fine().stdout;
    let lines = listed.lines().filter_map(|line| line.split_once(&format!(" {sort} ")));
    lines.map(|(_, name)| name.to_owned()).collect()
}

#[test]
fn what_the_script_of_an_extension_made_comes_with_it_and_what_users_added_comes_behind() {
    for major in [12, 18] {
        let Some(server) = own(major) else { continue };
        let source = used(&server);
        let backup = LocalBackup::make(&source, &[]);
        let policies = ["job job_changed_policy", "job own", "format own"];
        let expected: BTreeSet<String> = policies.iter().map(|name| format!("kinds_jobs {name} postgres")).collect();
        assert_eq!(entries(&backup, "POLICY"), expected);
        for sort in ["TRIGGER", "RULE", "STATISTICS", "INDEX", "DEFAULT", "ROW SECURITY", "EVENT TRIGGER"] {
            assert_eq!(entries(&backup, sort), BTreeSet::new(), "{sort}");
        }
        let copy = Database::fresh(&server, "copy");
        backup.run("restore", &["-d", &copy.url()]).fine();
        assert_eq!(copy.value(POLICIES), source.value(POLICIES));
    }
}

#[test]
fn rows_of_an_extension_come_before_what_looks_them_up_and_behind_what_they_look_up() {
    for major in [12, 18] {
        let Some(server) = own(major) else { continue };
        let source = used(&server);
        let backup = LocalBackup::make(&source, &["-Z", "gzip"]);
        if major == 18 {
            let by_stock = Database::fresh(&server, "by_stock");
            oracle().pg_restore18(&by_stock.url(), &backup.folder(), &[]).unwrap();
            assert_same_data(&source, &by_stock);
        }
        source.execute("INSERT INTO kinds_jobs.hidden VALUES ('shapes.b')");
        let verdict = check::check(Path::new(env!("CARGO_BIN_EXE_pgstow")), &server, &source.name).unwrap();
        assert!(verdict.differences.is_empty(), "on PostgreSQL {major}:\n{}", verdict.differences.join("\n"));
        let place = |name: &str| {
            let listed = backup.run("restore", &["--list"]).fine().stdout;
            listed.lines().position(|line| line.contains(name)).unwrap_or_else(|| panic!("{name} is not listed"))
        };
        let places = [
            place("EXTENSION - kinds_jobs"),
            place("TABLE DATA kinds_jobs place"),
            place("TABLE DATA kinds_jobs format"),
            place("TABLE shapes b"),
            place("TABLE DATA kinds_jobs watched"),
        ];
        assert!(places.is_sorted(), "{places:?}");
    }
}

#[test]
fn rows_of_an_extension_that_was_not_selected_stay_out_and_so_does_all_that_hangs_on_its_tables() {
    let Some(server) = own(15) else { return };
    let source = used(&server);
    source.execute("CREATE TABLE kinds_jobs.mine (a integer); INSERT INTO kinds_jobs.mine VALUES (1)");
    for arguments in [
        &["-e", "plpgsql"][..],
        &["-e", "plpgsql", "-n", "kinds_jobs"],
        &["-e", "plpgsql", "-t", "kinds_jobs.*"],
        &["--exclude-extension", "kinds_jobs"],
        &["--exclude-extension", "kinds*", "-n", "kinds_jobs"],
        &["--exclude-extension", "kinds_jobs", "-t", "kinds_jobs.*"],
        &["-n", "kinds_jobs"],
        &["-t", "kinds_jobs.*"],
        &["-e", "kinds_jobs", "-n", "shapes"],
        &["-N", "kinds_jobs"],
        &[],
    ] {
        let backup = LocalBackup::make(&source, arguments);
        let ours: BTreeSet<String> =
            entries(&backup, "TABLE DATA").iter().map(|name| name.replace(" postgres", "")).collect();
        let stock = oracle().pg_dump(&source.url(), &[arguments, &["--data-only"]].concat()).unwrap();
        let tables = stock.lines().filter_map(|line| line.strip_prefix("COPY ")?.split_once(" ("));
        let theirs: BTreeSet<String> = tables.map(|(name, _)| name.replacen('.', " ", 1)).collect();
        assert_eq!(ours, theirs, "{arguments:?}");
        if !arguments.is_empty() && arguments != ["-e", "kinds_jobs", "-n", "shapes"] {
            let whose = |name: &String| name.contains("job_changed_policy");
            assert!(!entries(&backup, "POLICY").iter().any(whose), "{arguments:?}");
        }
    }
}
