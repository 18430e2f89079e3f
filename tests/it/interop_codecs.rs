//! Stock tools of 16 and 17 with every option that users know, and, where there is a build of 17 that has them, zstd and
//! lz4 both ways: `pg_restore` reads our backups, and `pgstow restore --archive` what `pg_dump` wrote.

use std::fs;
use std::path::Path;

use pgstow_parts::oracle::Tools;
use pgstow_parts::{Database, majors, oracle, say, server};

use crate::interop::Archives;
use crate::support::{assert_same_data, assert_same_schema, no_store, pgstow, shop};

const PARTS: &str = "
CREATE SCHEMA one; CREATE SCHEMA two;
CREATE TABLE one.t (id serial PRIMARY KEY, note text DEFAULT 'x'); INSERT INTO one.t (note) VALUES ('a'), (E'b\\\\.\\n');
CREATE TABLE two.t (id integer REFERENCES one.t); CREATE INDEX by_id ON two.t (id); INSERT INTO two.t VALUES (1);
CREATE TABLE two.wide AS SELECT n AS id, repeat(md5(n::text), 30) AS t FROM generate_series(1, 3000) n;
COMMENT ON TABLE one.t IS 'first'; GRANT SELECT ON one.t TO PUBLIC;
CREATE FUNCTION one.f() RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE MATERIALIZED VIEW two.m AS SELECT id FROM one.t;
SELECT lo_from_bytea(4711, 'large'); COMMENT ON LARGE OBJECT 4711 IS 'lo'";

/// The tools of a major and its server, if both are there.
fn tools_and_server(major: u16) -> Option<Tools> {
    if !majors().contains(&major) {
        say(&format!("not tested on PostgreSQL {major}: only {:?} is there", majors()));
        return None;
    }
    match oracle().tools(major) {
        Ok(tools) => Some(tools),
        Err(sentence) => {
            say(&format!("NOT TESTED with the stock tools of {major}, and so not with zstd and lz4: {sentence}"));
            None
        }
    }
}

/// A source in our words and in those of the stock tools of its major.
fn archives(tools: &Tools, source: Database, codec: &str) -> Archives {
    Archives::of(source, codec, |url, folder| drop(tools.pg_dump(url, &["-Fd", "-f", folder]).unwrap()))
}

/// One run of `pg_restore` into a database; any error is one.
fn restore(tools: &Tools, target: &str, archive: &Path, arguments: &[&str]) {
    let arguments = [&["--exit-on-error", "-d", target], arguments].concat();
    tools.pg_restore(archive, &arguments).unwrap();
}

/// Everything that can be asked of `pg_restore`, of our backup and of a stock archive.
fn check_options(tools: &Tools, major: u16, codec: &str) {
    let source = Database::fresh(&server(major), "interop_options");
    source.execute(PARTS);
    let archives = archives(tools, source, codec);
    let asked: [(&str, &[&[&str]]); 9] = [
        ("", &[&["-j", "4"]]),
        ("", &[&["-O", "-x"], &["-c", "--if-exists"]]),
        ("", &[&["-s"], &["-a", "--disable-triggers"]]),
        ("", &[&["--section=pre-data"], &["--section=data", "-j", "4"], &["--section=post-data"]]),
        ("CREATE SCHEMA one", &[&["-n", "one", "-j", "2"]]),
        ("CREATE SCHEMA one", &[&["-n", "one", "-t", "t"]]),
        ("CREATE SCHEMA two", &[&["-n", "two", "-t", "wide", "-1"]]),
        ("", &[&["-N", "two"]]),
        ("", &[&["--no-comments", "--no-publications"]]),
    ];
    for (prepare, runs) in asked {
        archives.same(prepare, |target, archive| {
            for arguments in runs {
                restore(tools, &target.url(), archive, arguments);
            }
        });
    }
    let target = archives.same("", |target, archive| {
        let contents = tools.pg_restore(archive, &["-l"]).unwrap();
        let kept = contents.lines().filter(|line| !line.contains("INDEX two by_id") && !line.contains("FK CONSTRAINT"));
        let list = tempfile::NamedTempFile::new().unwrap();
        fs::write(list.path(), kept.collect::<Vec<_>>().join("\n")).unwrap();
        restore(tools, &target.url(), archive, &["-L", list.path().to_str().unwrap()]);
    });
    assert_eq!(target.value("SELECT count(*) FROM pg_constraint WHERE contype = 'f'"), "0");
    let scripts: [(&str, &[&str]); 4] = [
        ("", &[]),
        ("", &["-c", "--if-exists", "-O", "-x"]),
        ("CREATE SCHEMA one", &["-n", "one"]),
        ("", &["--section=pre-data", "--section=data"]),
    ];
    for (prepare, arguments) in scripts {
        archives.same(prepare, |target, archive| {
            let script = tools.pg_restore(archive, &[&["-f", "-"], arguments].concat()).unwrap();
            oracle().psql(&target.url(), &script).unwrap();
        });
    }
    check_create(tools, archives);
}

/// `-C` makes the database under its name, for which the source makes room.
fn check_create(tools: &Tools, mut archives: Archives) {
    let (server, name) = (archives.source.server.clone(), archives.source.name.clone());
    let kept = format!("{name}_kept");
    server.execute("postgres", &format!("ALTER DATABASE \"{name}\" RENAME TO \"{kept}\"")).unwrap();
    archives.source.name = kept;
    restore(tools, &server.url("postgres"), &archives.ours.folder(), &["-C"]);
    restore(tools, &server.url("postgres"), &archives.ours.folder(), &["-C", "-c", "--if-exists"]);
    let made = Database { server, name };
    assert_same_data(&archives.source, &made);
    assert_same_schema(&archives.source, &made);
}

#[test]
fn pg_restore_16_does_all_that_it_can_be_asked_with_a_gzip_backup() {
    if let Some(tools) = tools_and_server(16) {
        check_options(&tools, 16, "gzip:1");
    }
}

/// The wheels' tools are months old, and `pg_restore` may become stricter in any minor release.
#[test]
fn the_newest_pg_restore_of_debian_does_all_that_it_can_be_asked_with_a_gzip_backup() {
    let (tools, version) = match Tools::newest_of_debian() {
        Ok(found) => found,
        Err(sentence) => {
            say(&format!("NOT TESTED with the newest pg_restore of Debian: {sentence}"));
            return;
        }
    };
    say(&format!("the newest pg_restore of Debian: {version}"));
    let major = version.split('.').next().unwrap().parse().unwrap();
    if !majors().contains(&major) {
        say(&format!("not tested on PostgreSQL {major}: only {:?} is there", majors()));
        return;
    }
    check_options(&tools, major, "gzip:1");
    let archives = archives(&tools, shop(&server(major), "interop_newest"), "gzip:1");
    for jobs in ["1", "4"] {
        let target = restored_side_by_side(&tools, &archives, jobs);
        assert_same_data(&archives.source, &target);
        assert_same_schema(&archives.source, &target);
    }
}

#[test]
fn pg_restore_17_does_all_that_it_can_be_asked_with_zstd_and_lz4_backups() {
    if let Some(tools) = tools_and_server(17) {
        for codec in ["zstd:3", "lz4"] {
            check_options(&tools, 17, codec);
        }
    }
}

#[test]
fn pg_restore_17_restores_a_shop_from_any_codec_serially_and_in_parallel() {
    let Some(tools) = tools_and_server(17) else { return };
    let source = shop(&server(17), "interop_17_codecs");
    let mut archives = archives(&tools, source, "zstd:1");
    for codec in ["zstd:1", "zstd:19", "lz4", "gzip:6", "none"] {
        archives = archives.with_codec(codec);
        for jobs in ["1", "4"] {
            let target = restored_side_by_side(&tools, &archives, jobs);
            assert_same_data(&archives.source, &target);
            assert_same_schema(&archives.source, &target);
        }
    }
}

/// With several jobs stock attaches an index's partition while it changes the partition's table elsewhere, of its own archives too,
/// and the server finds a deadlock now and then. That is its own, so it may try again.
fn restored_side_by_side(tools: &Tools, archives: &Archives, jobs: &str) -> Database {
    for _ in 0..3 {
        let target = archives.fresh();
        let arguments = ["--exit-on-error", "-d", &target.url(), "-j", jobs];
        match tools.pg_restore(&archives.ours.folder(), &arguments) {
            Ok(_) => return target,
            Err(sentence) if jobs != "1" && sentence.contains("deadlock detected") => {
                say(&format!("pg_restore -j {jobs} found a deadlock of its own and tries again: {sentence}"));
            }
            Err(sentence) => panic!("{sentence}"),
        }
    }
    panic!("pg_restore -j {jobs} found three deadlocks");
}

#[test]
fn what_pg_dump_17_wrote_in_any_codec_comes_back_the_same() {
    let Some(tools) = tools_and_server(17) else { return };
    let source = shop(&server(17), "stock_17_codecs");
    let folder = tempfile::tempdir().unwrap();
    let written: [&[&str]; 5] = [
        &["-Z", "zstd:3", "-j", "2"],
        &["-Z", "zstd:level=9,long"],
        &["-Z", "lz4"],
        &["-Z", "gzip:1"],
        &["-Z", "none"],
    ];
    for (number, arguments) in written.into_iter().enumerate() {
        let archive = folder.path().join(number.to_string());
        let place = archive.to_str().unwrap();
        tools.pg_dump(&source.url(), &[&["-Fd", "-f", place], arguments].concat()).unwrap();
        let target = Database::fresh(&source.server, "of_stock_17");
        pgstow(&no_store(), &["restore", "--archive", place, "-d", &target.url(), "-j", "3"]).fine();
        assert_same_data(&source, &target);
        assert_same_schema(&source, &target);
    }
}
