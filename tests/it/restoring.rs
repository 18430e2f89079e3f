//! What a restore does to a target that is not empty, lacks roles, or may not be touched.

use std::fs;
use std::sync::Arc;

use pgstow::archive::Toc;
use pgstow_parts::{Database, garage, server};

use crate::support::{Backup, LocalBackup, assert_same_data, assert_same_schema, no_store, pgstow, shop};

fn with_one_table(hint: &str) -> Database {
    let database = Database::fresh(&server(18), hint);
    database.execute("CREATE TABLE t (id integer PRIMARY KEY, note text); INSERT INTO t VALUES (1, 'of the backup')");
    database
}

#[test]
fn a_target_that_has_the_objects_is_refused_and_left_alone() {
    let source = with_one_table("taken");
    let backup = Backup::make(&garage(), &source, &[]);
    let target = Database::fresh(&source.server, "taken_target");
    target.execute("CREATE TABLE t (id integer); INSERT INTO t VALUES (42)");
    backup.restore(&target, &[]).failed(9, &["t"]);
    assert_eq!(target.value("SELECT id FROM t"), "42");
}

#[test]
fn rows_of_tables_that_a_restore_made_are_frozen_and_visible_to_all() {
    let source = with_one_table("frozen");
    let backup = Backup::make(&garage(), &source, &[]);
    let target = Database::fresh(&source.server, "frozen_target");
    backup.restore(&target, &[]).fine();
    // Only a page that the visibility map calls all visible spares an index-only scan the look at the table.
    let plan = "EXPLAIN (ANALYZE, COSTS off, TIMING off, FORMAT json) SELECT id FROM t WHERE id > 0";
    let fetches = |database: &Database| -> serde_json::Value {
        database.execute(&format!("ALTER DATABASE \"{}\" SET enable_seqscan = off", database.name));
        database.execute(&format!("ALTER DATABASE \"{}\" SET enable_bitmapscan = off", database.name));
        let explained: serde_json::Value = serde_json::from_str(&database.value(plan)).unwrap();
        explained[0]["Plan"]["Heap Fetches"].clone()
    };
    assert_eq!(fetches(&target), 0);
    assert_eq!(fetches(&source), 1);
}

#[test]
fn tables_whose_constraints_read_one_another_load_side_by_side() {
    let source = Database::fresh(&server(18), "mutual");
    source.execute(
        "CREATE FUNCTION sees_a() RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM public.a) >= 0; END';
         CREATE FUNCTION sees_b() RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM public.b) >= 0; END';
         CREATE TABLE a (id integer CHECK (sees_b())); CREATE TABLE b (id integer CHECK (sees_a()));
         INSERT INTO a SELECT generate_series(1, 300); INSERT INTO b SELECT generate_series(1, 300)",
    );
    let backup = Backup::make(&garage(), &source, &[]);
    let target = Database::fresh(&source.server, "mutual_target");
    backup.restore(&target, &["-j", "2", "--verify"]).fine();
    assert_same_data(&source, &target);
}

#[test]
fn a_restore_of_rows_alone_keeps_the_rows_of_a_table_that_was_there() {
    let source = with_one_table("mixed_rows");
    let backup = Backup::make(&garage(), &source, &[]);
    let target = Database::fresh(&source.server, "mixed_rows_target");
    target.execute("CREATE TABLE t (id integer, note text); INSERT INTO t VALUES (42, 'of the target')");
    backup.restore(&target, &["--data-only"]).fine();
    assert_eq!(target.value("SELECT string_agg(note, ', ' ORDER BY id) FROM t"), "of the backup, of the target");
}

#[test]
fn a_clean_restore_replaces_what_is_there() {
    let source = shop(&server(18), "clean");
    let backup = Backup::make(&garage(), &source, &[]);
    let target = shop(&source.server, "clean_target");
    target.execute("DELETE FROM shop.returns; CREATE TABLE public.not_of_the_backup (id integer)");
    backup.restore(&target, &["-c", "--if-exists"]).fine();
    assert_eq!(target.value("SELECT count(*) FROM public.not_of_the_backup"), "0");
    target.execute("DROP TABLE public.not_of_the_backup");
    assert_same_data(&source, &target);
    assert_same_schema(&source, &target);
}

#[test]
fn a_clean_restore_into_an_empty_database_minds_what_is_missing_only_without_if_exists() {
    let source = with_one_table("clean_empty");
    // No statement drops a domain's constraint only where the domain is there.
    source.execute(
        "CREATE SCHEMA s; CREATE DOMAIN s.d AS integer; ALTER DOMAIN s.d ADD CONSTRAINT late CHECK (VALUE > 0) NOT VALID",
    );
    let backup = Backup::make(&garage(), &source, &[]);
    let target = Database::fresh(&source.server, "clean_empty_target");
    backup.restore(&target, &["-c"]).failed(4, &["t"]);
    backup.restore(&target, &["-c", "--if-exists"]).fine();
    assert_same_data(&source, &target);
}

#[test]
fn a_restore_makes_the_database_when_told_to() {
    let source = shop(&server(18), "made");
    source.execute(&format!("ALTER DATABASE \"{}\" SET work_mem = '9MB'", source.name));
    let backup = Backup::make(&garage(), &source, &[]);
    let name = source.name.clone();
    let server = source.server.clone();
    // The source makes room for its copy, which bears its name.
    let kept = format!("{name}_kept");
    server.execute("postgres", &format!("ALTER DATABASE \"{name}\" RENAME TO \"{kept}\"")).unwrap();
    let source = Database { server: server.clone(), name: kept };
    let maintenance = Database { server: server.clone(), name: "postgres".into() };
    let ran = backup.restore(&maintenance, &["-C"]);
    // Dropping this value must not drop the server's own database.
    std::mem::forget(maintenance);
    ran.fine();
    let target = Database { server, name };
    assert_same_data(&source, &target);
    assert_same_schema(&source, &target);
    assert_eq!(target.value("SHOW work_mem"), "9MB");
    assert_eq!(
        target
            .value("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"),
        "The shop"
    );
}

#[test]
fn a_missing_role_stops_the_restore_unless_owners_and_privileges_are_left_out() {
    let server = server(18);
    let role = format!("short_lived_{}", std::process::id());
    let source = with_one_table("roles");
    source.execute(&format!("CREATE ROLE {role}; ALTER TABLE t OWNER TO {role}; GRANT SELECT ON t TO {role}"));
    let backup = Backup::make(&garage(), &source, &[]);
    drop(source);
    server.execute("postgres", &format!("DROP ROLE {role}")).unwrap();

    let target = Database::fresh(&server, "roles_stop");
    // Both uses of the role at once, and what to do about it.
    backup.restore(&target, &[]).failed(9, &[&role, "table public.t", "--globals", "-O -x", "nothing was touched"]);
    assert_eq!(target.value("SELECT to_regclass('t') IS NULL"), "t");
    let plan = backup.restore(&target, &["--dry-run", "--json"]).fine().json();
    assert!(plan["lacks"][0]["what"].as_str().is_some_and(|what| what.contains(&role)), "{plan}");
    let elsewhere =
        ["restore", &backup.id, "--from", &backup.store(), "--dry-run", "-d", "postgres://nobody@127.0.0.1:9/x"];
    let words = pgstow(&backup.s3, &elsewhere).fine().stdout;
    assert!(words.contains("nothing was done") && words.contains("was not looked at"), "{words}");

    let target = Database::fresh(&server, "roles_go_on");
    let ran = backup.restore(&target, &["--keep-going", "--json"]);
    assert_eq!(ran.code, Some(8), "{ran:?}");
    assert!(ran.json()["errors"].to_string().contains(&role), "{}", ran.stdout);
    assert_eq!(target.value("SELECT note FROM t"), "of the backup");

    let target = Database::fresh(&server, "roles_left_out");
    backup.restore(&target, &["-O", "-x"]).fine();
    assert_eq!(target.value("SELECT note FROM t"), "of the backup");
}

#[test]
fn everything_that_the_target_lacks_is_said_at_once_before_anything_is_touched() {
    let source = with_one_table("lacking");
    source.execute("CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1'");
    let backup = LocalBackup::make(&source, &[]);
    // The one server here lacks nothing that it could have dumped, so the table of contents is made to need more.
    let path = backup.folder().join("toc.dat");
    let mut toc = Toc::decode(&fs::read(&path).unwrap()).unwrap();
    let function = toc.entries.iter().find(|entry| entry.desc == "FUNCTION").unwrap();
    let mut extension = pgstow::archive::TocEntry::clone(function);
    (extension.id, extension.desc, extension.tag) = (9_001, "EXTENSION".into(), "no_such_extension".into());
    extension.create = Some("CREATE EXTENSION no_such_extension;\n".into());
    for entry in toc.entries.iter_mut().map(Arc::make_mut) {
        match entry.desc.as_str() {
            "TABLE" => {
                entry.owner = Some("no such role".into());
                entry.tablespace = Some("no_such_space".into());
            }
            "FUNCTION" => {
                let words =
                    "CREATE FUNCTION public.f() RETURNS integer LANGUAGE c AS '$libdir/no_such_library', $$f$$;\n";
                entry.create = Some(words.into());
            }
            _ => {}
        }
    }
    toc.entries.insert(3, extension.into());
    fs::write(&path, toc.encode().unwrap()).unwrap();
    fs::remove_file(backup.folder().join("manifest.json")).unwrap();
    let target = Database::fresh(&source.server, "lacking_target");
    let (url, folder) = (target.url(), backup.folder());
    let fixed = ["restore", "--archive", folder.to_str().unwrap(), "--without-manifest", "-d", &url];
    let run = |arguments: &[&str]| pgstow(&no_store(), &[&fixed, arguments].concat());
    let all =
        ["extension no_such_extension", "\"no such role\"", "tablespace no_such_space", "$libdir/no_such_library"];
    run(&[]).failed(9, &all);
    run(&["-O"]).failed(9, &all[2..]);
    assert_eq!(target.value("SELECT to_regclass('t') IS NULL"), "t");
    let plan = run(&["--dry-run"]).fine().stdout;
    assert!(all.iter().all(|what| plan.contains(what)), "{plan}");
    let ran = run(&["--keep-going"]);
    assert_eq!(ran.code, Some(8), "{ran:?}");
    assert!(all.iter().all(|what| ran.stdout.contains(what)), "{}", ran.stdout);
}

#[test]
fn a_dry_run_shows_the_plan_and_touches_nothing() {
    let source = with_one_table("dry");
    let backup = Backup::make(&garage(), &source, &[]);
    let target = Database::fresh(&source.server, "dry_target");
    let words = backup.restore(&target, &["--dry-run"]).fine().stdout;
    assert!(words.contains("table public.t") && words.contains("nothing was done"), "{words}");
    let plan = backup.restore(&target, &["--dry-run", "--json"]).fine().json();
    assert!(plan["steps"].as_array().is_some_and(|steps| !steps.is_empty()), "{plan}");
    assert_eq!(target.value("SELECT to_regclass('t') IS NULL"), "t");
}

#[test]
fn latest_is_the_newest_complete_backup_of_its_database() {
    let s3 = garage();
    let source = with_one_table("latest");
    let prefix = s3.fresh_prefix("latest");
    let store = s3.location(&prefix);
    let dump = || {
        let dumped = pgstow(&s3, &["dump", "-d", &source.url(), "--to", &store, "--json"]).fine().json();
        dumped["backup"].as_str().unwrap().to_owned()
    };
    let first = dump();
    source.execute("UPDATE t SET note = 'second'");
    // Backup ids are as fine as seconds.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let second = dump();
    assert!(first < second);
    let target = Database::fresh(&source.server, "latest_target");
    pgstow(&s3, &["restore", "latest", "--from", &store, "-d", &target.url()]).fine();
    assert_eq!(target.value("SELECT note FROM t"), "second");
    s3.delete(&format!("{prefix}/{}/{second}/manifest.json", source.name)).unwrap();
    // A dump of another database that was killed, or is running, is no backup that one could mean.
    s3.put(&format!("{prefix}/other/20991231T235959Z-000000/data_1.dat.zst"), b"half".to_vec()).unwrap();
    let target = Database::fresh(&source.server, "latest_target");
    pgstow(&s3, &["restore", "latest", "--from", &store, "-d", &target.url()]).fine();
    assert_eq!(target.value("SELECT note FROM t"), "of the backup");
    let target = Database::fresh(&source.server, "latest_target");
    let latest = format!("{}/latest", source.name);
    pgstow(&s3, &["restore", &latest, "--from", &store, "-d", &target.url()]).fine();
    assert_eq!(target.value("SELECT note FROM t"), "of the backup");
}

/// Who waits for a table looks after `deadlock_timeout` whether a vacuum of the server's own is in the way, and ends it.
#[test]
fn a_vacuum_that_the_server_begins_by_itself_does_not_hold_up_indexes_for_long() {
    for major in [14, 18] {
        let source = Database::fresh(&server(major), "patience");
        source.execute(
            "CREATE FUNCTION asks() RETURNS boolean LANGUAGE sql AS $$ SELECT current_setting('deadlock_timeout') = '20ms' $$;
             SET deadlock_timeout = '20ms'; CREATE TABLE t (id integer CHECK (asks())); INSERT INTO t VALUES (1)",
        );
        let backup = LocalBackup::make(&source, &[]);
        let target = Database::fresh(&source.server, "patience_target");
        backup.run("restore", &["-d", &target.url()]).fine();
        // Not everybody may set it, and a restore does without.
        let target = Database::fresh(&source.server, "patience_of_owner");
        let role = format!("{}_owner", target.name);
        target
            .execute(&format!("CREATE ROLE \"{role}\" LOGIN; ALTER DATABASE \"{}\" OWNER TO \"{role}\"", target.name));
        let url = target.url().replace("postgres@", &format!("{role}@"));
        backup.run("restore", &["-d", &url, "-O", "-x", "-s"]).fine();
        let given_back = format!("ALTER DATABASE \"{}\" OWNER TO postgres", target.name);
        target.execute(&format!("DROP OWNED BY \"{role}\"; {given_back}; DROP ROLE \"{role}\""));
    }
}

/// `with-data-folder` is a backup of before rows lay beside the table of contents, made with `-Z gzip` from a server 17.
#[test]
fn a_backup_whose_rows_lie_in_a_folder_of_their_own_is_still_a_backup() {
    let (s3, server) = (no_store(), server(18));
    let shelf = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/with-data-folder");
    let (room, shelf) = (tempfile::tempdir().unwrap(), format!("file://{}", shelf.display()));
    let copied = format!("file://{}", room.path().join("copied").display());
    let exported = room.path().join("exported");
    pgstow(&s3, &["copy", "shelf/latest", "--from", &shelf, "--to", &copied]).fine();
    let as_folder = ["-F", "directory", "-f", exported.to_str().unwrap()];
    pgstow(&s3, &[&["export", "latest", "--from", &copied][..], &as_folder].concat()).fine();
    for store in [&shelf, &copied] {
        pgstow(&s3, &["verify", "latest", "--from", store]).fine();
    }
    let exported = exported.display().to_string();
    for arguments in [["latest", "--from", &shelf, "--verify"], ["--archive", &exported, "-j", "2"]] {
        let target = Database::fresh(&server, "shelf");
        pgstow(&s3, &[&["restore", "-d", &target.url()], &arguments[..]].concat()).fine();
        let counted = "SELECT (SELECT sum(id) FROM books) || ' ' || (SELECT sum(length(words)) FROM pages) || ' ' ||
             (SELECT count(*) FROM blank) || ' ' || encode(lo_get(16001), 'escape')";
        assert_eq!(target.value(counted), "5050 6375 0 a picture");
    }
}

/// Small tables with all that a restore makes on them, and one index that cannot be made where a setting is missing.
fn many_small_tables(hint: &str, rows: u32) -> Database {
    let source = Database::fresh(&server(18), hint);
    source.execute(&format!(
        "CREATE FUNCTION picky(integer) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
             IF coalesce(current_setting('my.fine', true), '') <> 'yes' THEN RAISE 'picky is not fine'; END IF;
             RETURN $1; END $$;
         SET my.fine = 'yes';
         DO $do$ BEGIN FOR n IN 1..150 LOOP
             EXECUTE format('CREATE TABLE t%1$s (id integer PRIMARY KEY, other integer REFERENCES t%1$s, note text);
                 INSERT INTO t%1$s (id, other) SELECT m, m FROM generate_series(1, {rows}) m; CREATE INDEX i%1$s ON t%1$s (note);
                 COMMENT ON INDEX i%1$s IS ''it is light''; GRANT SELECT ON t%1$s TO PUBLIC', n);
         END LOOP; END $do$;
         CREATE INDEX picky ON t77 (picky(id))"
    ));
    source
}

#[test]
fn many_definitions_take_few_transactions_and_tables_without_rows_none() {
    let source = many_small_tables("many_definitions", 0);
    let backup = Backup::make(&garage(), &source, &[]);
    for (arguments, most) in [(&["-j", "2"][..], 120), (&["-j", "1", "--keep-going"], 300)] {
        let target = Database::fresh(&source.server, "many_definitions_target");
        target.execute(&format!("ALTER DATABASE \"{}\" SET my.fine = 'yes'", target.name));
        backup.restore(&target, arguments).fine();
        assert_same_schema(&source, &target);
        // Six definitions of each table; to those who go on after errors a table may have rows, so all are loaded.
        let ended = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";
        let transactions: u32 = target.value(ended).parse().unwrap();
        assert!(transactions < most, "{transactions} transactions, {arguments:?}");
        let emptied = "SELECT count(*) FROM pg_class WHERE relname ~ '^t[0-9]+$' AND relfilenode <> oid";
        assert_eq!(target.value(emptied), "0", "{arguments:?}");
    }
}

#[test]
fn one_definition_that_fails_among_many_is_named_and_takes_no_other_along() {
    let source = many_small_tables("one_fails", 9);
    let backup = Backup::make(&garage(), &source, &[]);
    let target = Database::fresh(&source.server, "one_fails_stop");
    backup.restore(&target, &[]).failed(4, &["picky", "is not fine", "CREATE INDEX picky"]);
    // Where it stopped it goes on.
    backup.restore(&target, &["--resume"]).failed(4, &["picky"]);
    target.execute(&format!("ALTER DATABASE \"{}\" SET my.fine = 'yes'", target.name));
    backup.restore(&target, &["--resume", "--verify"]).fine();
    assert_same_schema(&source, &target);
    assert_same_data(&source, &target);

    let target = Database::fresh(&source.server, "one_fails_go_on");
    let ran = backup.restore(&target, &["--keep-going", "--json"]);
    assert_eq!(ran.code, Some(8), "{ran:?}");
    let errors = ran.json()["errors"].clone();
    assert!(errors.as_array().is_some_and(|errors| errors.len() == 1), "{errors}");
    target.execute("SET my.fine = 'yes'; CREATE INDEX picky ON t77 (picky(id))");
    assert_same_schema(&source, &target);
    assert_same_data(&source, &target);
}

#[test]
fn a_statement_that_fails_is_named_with_its_object() {
    let source = Database::fresh(&server(18), "failing");
    // The check says yes at the source and no at the target, for it asks a setting.
    source.execute(
        "CREATE FUNCTION fine() RETURNS boolean LANGUAGE sql AS $$ SELECT coalesce(current_setting('my.fine', true), '') = 'yes' $$;
         SET my.fine = 'yes'; CREATE TABLE picky (id integer CHECK (fine())); INSERT INTO picky VALUES (1)",
    );
    let backup = Backup::make(&garage(), &source, &[]);
    let target = Database::fresh(&source.server, "failing_target");
    backup.restore(&target, &[]).failed(4, &["picky"]);
}
