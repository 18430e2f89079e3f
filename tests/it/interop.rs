//! Stock `pg_restore` makes of our backups what it makes of stock's own archives, with every option that users know.
//!
//! Those of 12 to 15 are not at hand, and read the same format (1.14) as the uncompressed and gzip backups here; zstd, lz4 and
//! 17 stand in `interop_codecs.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use pgstow_parts::{Database, majors, oracle, say, server};
use tempfile::TempDir;

use crate::support::{LocalBackup, assert_same_data, assert_same_schema, shop};

/// The same database in our words and in stock's.
pub(crate) struct Archives {
    pub(crate) source: Database,
    pub(crate) ours: LocalBackup,
    stock: PathBuf,
    _folder: TempDir,
}

impl Archives {
    fn of_shop(major: u16, codec: &str, hint: &str) -> Self {
        Archives::of(shop(&server(major), hint), codec, |url, folder| {
            oracle().pg_dump(url, &["-Fd", "-f", folder]).unwrap();
        })
    }

    /// Dumps the source by pgstow and, as it is told, by stock, which gets the URL and the folder to write.
    pub(crate) fn of(source: Database, codec: &str, stock_dump: impl Fn(&str, &str)) -> Self {
        let ours = LocalBackup::make(&source, &["-Z", codec]);
        let folder = tempfile::tempdir().unwrap();
        let stock = folder.path().join("stock");
        stock_dump(&source.url(), stock.to_str().unwrap());
        Archives { source, ours, stock, _folder: folder }
    }

    /// The same with a backup of ours in another codec.
    pub(crate) fn with_codec(self, codec: &str) -> Self {
        Archives { ours: LocalBackup::make(&self.source, &["-Z", codec]), ..self }
    }

    pub(crate) fn fresh(&self) -> Database {
        Database::fresh(&self.source.server, "interop_target")
    }

    /// Runs the same restore on both archives and holds the results against each other; gives the one of ours.
    #[track_caller]
    pub(crate) fn same(&self, prepare: &str, restore: impl Fn(&Database, &Path)) -> Database {
        let of = |archive: &Path| {
            let target = self.fresh();
            target.execute(prepare);
            restore(&target, archive);
            target
        };
        let (ours, stocks) = (of(&self.ours.folder()), of(&self.stock));
        assert_same_data(&stocks, &ours);
        assert_same_schema(&stocks, &ours);
        ours
    }
}

/// `pg_restore` 18 into a database.
fn restore18(target: &Database, archive: &Path, arguments: &[&str]) {
    oracle().pg_restore18(&target.url(), archive, &[&["--exit-on-error"], arguments].concat()).unwrap();
}

/// `pg_restore -j 4`, 18, into a database of its own. Stock knows of no locks but those on the tables that an entry depends on
/// (`identify_locking_dependencies` in `pg_backup_archiver.c`), so now and then two of its connections deadlock, whoever wrote the archive;
/// that is not what is asked here.
fn restored_by_four(archives: &Archives, archive: &Path) -> Database {
    const ATTEMPTS: usize = 4;
    for _ in 1..ATTEMPTS {
        let target = archives.fresh();
        match oracle().pg_restore18(&target.url(), archive, &["--exit-on-error", "-j", "4"]) {
            Ok(_) => return target,
            Err(error) => assert!(error.contains("deadlock detected"), "{error}"),
        }
    }
    let target = archives.fresh();
    restore18(&target, archive, &["-j", "4"]);
    target
}

#[test]
fn pg_restore_18_restores_a_gzip_backup_serially_in_parallel_by_sections_clean_and_without_owners() {
    let archives = Archives::of_shop(18, "gzip:1", "interop_18");
    let whole = archives.fresh();
    restore18(&whole, &archives.ours.folder(), &[]);
    assert_same_data(&archives.source, &whole);
    assert_same_schema(&archives.source, &whole);
    // On top of itself.
    restore18(&whole, &archives.ours.folder(), &["-c", "--if-exists"]);
    assert_same_data(&archives.source, &whole);
    assert_same_schema(&archives.source, &whole);
    let parallel = restored_by_four(&archives, &archives.ours.folder());
    assert_same_data(&archives.source, &parallel);
    assert_same_schema(&archives.source, &parallel);
    let sections = archives.fresh();
    for section in ["pre-data", "data", "post-data"] {
        restore18(&sections, &archives.ours.folder(), &[&format!("--section={section}")]);
    }
    assert_same_data(&archives.source, &sections);
    assert_same_schema(&archives.source, &sections);
    archives.same("", |target, archive| restore18(target, archive, &["-O", "-x"]));
}

#[test]
fn pg_restore_18_restores_one_schema_and_what_an_edited_list_names() {
    let source = Database::fresh(&server(18), "interop_parts");
    source.execute(
        "CREATE SCHEMA one; CREATE SCHEMA two;
         CREATE TABLE one.t (id serial PRIMARY KEY, note text DEFAULT 'x'); INSERT INTO one.t (note) VALUES ('a'), ('b');
         CREATE TABLE two.t (id integer REFERENCES one.t); CREATE INDEX by_id ON two.t (id); INSERT INTO two.t VALUES (1);
         COMMENT ON TABLE one.t IS 'first'; GRANT SELECT ON one.t TO PUBLIC;
         CREATE FUNCTION one.f() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    );
    let ours = LocalBackup::make(&source, &["-Z", "none"]);
    let folder = tempfile::tempdir().unwrap();
    let stock = folder.path().join("stock");
    oracle().pg_dump(&source.url(), &["-Fd", "-f", stock.to_str().unwrap()]).unwrap();
    let archives = Archives { source, ours, stock, _folder: folder };
    archives.same("CREATE SCHEMA one", |target, archive| restore18(target, archive, &["-n", "one", "-j", "2"]));
    // A table that counts by its own sequence, without that one.
    archives.same("CREATE SCHEMA one", |target, archive| restore18(target, archive, &["-n", "one", "-t", "t"]));
    archives.same("CREATE SCHEMA two", |target, archive| restore18(target, archive, &["-n", "two", "-t", "t"]));
    let target = archives.same("", |target, archive| {
        let contents = oracle().contents(archive).unwrap();
        let kept = contents.lines().filter(|line| !line.contains("INDEX two by_id") && !line.contains("FK CONSTRAINT"));
        let list = tempfile::NamedTempFile::new().unwrap();
        fs::write(list.path(), kept.collect::<Vec<_>>().join("\n")).unwrap();
        restore18(target, archive, &["-L", list.path().to_str().unwrap()]);
    });
    assert_eq!(target.value("SELECT count(*) FROM pg_constraint WHERE contype = 'f'"), "0");
    assert_eq!(target.value("SELECT note FROM one.t WHERE id = 2"), "b");
}

#[test]
fn pg_restore_18_makes_the_database_and_psql_loads_its_script() {
    let server = server(18);
    let mut archives = Archives::of_shop(18, "none", "interop_create");
    let target = archives.fresh();
    oracle().psql(&target.url(), &oracle().restore_script(18, &archives.ours.folder(), &[]).unwrap()).unwrap();
    assert_same_data(&archives.source, &target);
    assert_same_schema(&archives.source, &target);
    // The source makes room for its copy, which bears its name.
    let name = archives.source.name.clone();
    let kept = format!("{name}_kept");
    server.execute("postgres", &format!("ALTER DATABASE \"{name}\" RENAME TO \"{kept}\"")).unwrap();
    archives.source.name = kept;
    oracle().pg_restore18(&server.url("postgres"), &archives.ours.folder(), &["--exit-on-error", "-C"]).unwrap();
    let made = Database { server, name };
    assert_same_data(&archives.source, &made);
    assert_same_schema(&archives.source, &made);
}

#[test]
fn pg_restore_18_restores_a_backup_in_one_transaction() {
    if !majors().contains(&17) {
        say(&format!("not tested on PostgreSQL 17: only {:?} is there", majors()));
        return;
    }
    let archives = Archives::of_shop(17, "gzip:1", "interop_17");
    let target = archives.fresh();
    restore18(&target, &archives.ours.folder(), &["--single-transaction"]);
    assert_same_data(&archives.source, &target);
    assert_same_schema(&archives.source, &target);
}

#[test]
fn pg_restore_16_restores_backups_of_12_and_16() {
    for (major, codec) in [(12, "none"), (16, "gzip:6")] {
        if !majors().contains(&major) {
            say(&format!("not tested on PostgreSQL {major}: only {:?} is there", majors()));
            continue;
        }
        let source = shop(&server(major), &format!("interop_{major}"));
        let ours = LocalBackup::make(&source, &["-Z", codec]);
        let target = Database::fresh(&source.server, "interop_target");
        let arguments = ["--exit-on-error", "-j", "3"];
        oracle().pg_restore16(&target.url(), &ours.folder(), &arguments).unwrap();
        assert_same_data(&source, &target);
        assert_same_schema(&source, &target);
        oracle().pg_restore16(&target.url(), &ours.folder(), &["--exit-on-error", "-c", "--if-exists"]).unwrap();
        assert_same_data(&source, &target);
        assert_same_schema(&source, &target);
    }
}

#[test]
fn the_table_of_contents_names_what_pg_dump_names() {
    let archives = Archives::of_shop(18, "none", "contents");
    let (ours, theirs) = (entries(&archives.ours.folder()), entries(&archives.stock));
    let missing: Vec<_> = theirs.difference(&ours).collect();
    let surplus: Vec<_> = ours.difference(&theirs).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "missing: {missing:#?}\nsurplus: {surplus:#?}");
}

/// The entries of an archive as `pg_restore -l` shows them, without the numbers, which name nothing outside, and without
/// what pgstow cuts otherwise on purpose.
fn entries(archive: &Path) -> BTreeSet<String> {
    let contents = oracle().contents(archive).unwrap();
    let lines = contents.lines().filter(|line| !line.starts_with(';') && !line.is_empty());
    let lines = lines.filter_map(|line| line.splitn(4, ' ').nth(3)).map(str::to_owned);
    let otherwise = [
        // Archives of 1.16 group large objects.
        "BLOB",
        "LARGE OBJECT",
        // The default of an inherited column stands in its table.
        "DEFAULT shop bills ",
        "DEFAULT shop letters ",
        "DEFAULT shop paid_orders ",
    ];
    let lines = lines.filter(|line| !otherwise.iter().any(|start| line.starts_with(start)));
    // The body of a function that was made without one is an entry of its own, which has no owner.
    lines.filter(|line| !(line.starts_with("FUNCTION ") && line.ends_with(' '))).collect()
}

#[test]
fn pg_restore_16_makes_of_a_backup_what_it_makes_of_a_stock_archive_whatever_it_is_asked() {
    if !majors().contains(&16) {
        say("not tested on PostgreSQL 16");
        return;
    }
    let source = shop(&server(16), "interop_asked");
    let ours = LocalBackup::make(&source, &["-Z", "gzip:1"]);
    let folder = tempfile::tempdir().unwrap();
    let stock = folder.path().join("stock");
    oracle().pg_dump16(&source.url(), &["-Fd", "-f", stock.to_str().unwrap()]).unwrap();
    let archives = Archives { source, ours, stock, _folder: folder };
    // Without -j where triggers are made: stock's archive lets the state of a partition's trigger come before the trigger.
    let asked: [(&str, &[&[&str]]); 4] = [
        ("", &[&["-O", "-x"]]),
        ("", &[&["--section=pre-data"], &["--section=data", "-j", "4"], &["--section=post-data"]]),
        ("", &[&["-s"], &["-a", "--disable-triggers"]]),
        ("", &[&["--no-comments", "--no-tablespaces", "--no-security-labels"]]),
    ];
    for (prepare, runs) in asked {
        archives.same(prepare, |target, archive| {
            for arguments in runs {
                let arguments = [&["--exit-on-error"], *arguments].concat();
                oracle().pg_restore16(&target.url(), archive, &arguments).unwrap();
            }
        });
    }
    let script = |archive: &Path| {
        let target = archives.fresh();
        oracle().psql(&target.url(), &oracle().restore_script(16, archive, &[]).unwrap()).unwrap();
        target
    };
    let (from_ours, from_stocks) = (script(&archives.ours.folder()), script(&archives.stock));
    assert_same_data(&from_stocks, &from_ours);
    assert_same_schema(&from_stocks, &from_ours);
}
