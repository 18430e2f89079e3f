//! A table of selections: for each, our table of contents has the entries that stock `pg_dump` 18 has for the same arguments,
//! and its statements change where stock's do.
//!
//! The source is the whole corpus and `fixtures/databases/selection.sql`, where things of one schema hang on things of
//! another. How one entry is worded is not the matter here: where the two tools word it otherwise in a dump of everything
//! (`fidelity.rs` holds that against the source), a selection has to change both wordings or none. Where we choose otherwise on
//! purpose, [`EXCEPTIONS`] and [`NEVER_OURS`] say why, and the test fails when there is nothing left of such a difference.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use pgstow::archive::toc::{Toc, TocEntry};
use pgstow::model::Section;
use pgstow_parts::{Database, Server, oracle, say};

use crate::databases;
use crate::fidelity::{Fixture, fitting, fixtures, fixtures_in};
use crate::support::{LocalBackup, Ran, no_store, pgstow};

/// Arguments that choose by name.
const BY_NAME: [&[&str]; 44] = [
    &["-n", "a"],
    &["-n", "b"],
    &["-n", "a", "-n", "b"],
    &["-n", "\"C; --\""],
    &["-n", "public"],
    &["-n", "partitions"],
    &["-n", "publications"],
    &["-n", "\"Kinds; config\""],
    &["-n", "foreign_data"],
    &["-n", "a", "-N", "a*"],
    &["-N", "a"],
    &["-N", "b", "-N", "\"C; --\""],
    &["-N", "public"],
    &["-N", "partitions"],
    &["-N", "\"Kinds; config\""],
    &["-t", "a.one"],
    &["-t", "a.tree"],
    &["-t", "b.tree_2"],
    &["-t", "\"C; --\".*"],
    &["-t", "*.one*"],
    &["-t", "plain", "-N", "public"],
    &["-t", "a.one_id_seq"],
    &["-t", "b.counter"],
    &["-t", "a.by_key", "-t", "b.filled"],
    &["-t", "partitions.enum0"],
    &["-t", "\"Kinds; config\".settings"],
    &["-t", "a.*", "-T", "a.one*"],
    &["-T", "a.tree"],
    &["-T", "a.one"],
    &["-T", "b.child", "-T", "b.counter"],
    &["--table-and-children", "a.tree"],
    &["--table-and-children", "b.tree_2", "-t", "a.tree_1"],
    &["--table-and-children", "a.base", "-T", "b.child"],
    &["--exclude-table-and-children", "a.tree"],
    &["--exclude-table-and-children", "b.tree_2", "-n", "a", "-n", "b"],
    &["--exclude-table-data", "a.*"],
    &["--exclude-table-data-and-children", "a.base", "--exclude-table-data-and-children", "b.tree*"],
    &["-e", "plpgsql"],
    &["-e", "hst*"],
    &["-e", "*", "--exclude-extension", "c*"],
    &["-e", "kinds_config", "-n", "a"],
    &["--exclude-extension", "citext"],
    &["--exclude-extension", "kinds_config"],
    &["-T", "nothing", "-N", "nothing", "--exclude-extension", "nothing", "--exclude-table-data", "nothing"],
];

/// Arguments that choose by sort, section and content.
const BY_SORT: [&[&str]; 39] = [
    &["--section", "pre-data"],
    &["--section", "data"],
    &["--section", "post-data"],
    &["--section", "pre-data", "--section", "post-data"],
    &["--section", "post-data", "-n", "b", "-n", "\"C; --\""],
    &["--section", "data", "-t", "a.*"],
    &["-s"],
    &["-a"],
    &["--no-schema"],
    &["--no-data"],
    &["--no-schema", "--no-data"],
    &["-s", "-n", "a"],
    &["-a", "-t", "a.one"],
    &["--no-comments"],
    &["--no-policies"],
    &["--no-publications"],
    &["--no-subscriptions"],
    &["--no-security-labels"],
    &["--no-comments", "--no-security-labels", "--no-policies", "-n", "b"],
    &["-x"],
    &["-O"],
    &["-O", "-x", "-n", "a"],
    &["--no-tablespaces"],
    &["--no-table-access-method"],
    &["--no-toast-compression"],
    &["--no-unlogged-table-data"],
    &["-b"],
    &["-B"],
    &["--large-objects", "--no-large-objects"],
    &["--large-objects", "-n", "a"],
    &["--no-large-objects", "-a"],
    &["--statistics"],
    &["--statistics-only"],
    &["--statistics", "--no-data"],
    &["--statistics", "--no-schema"],
    &["--statistics", "-n", "b"],
    &["--statistics-only", "-t", "a.tree"],
    &["--include-foreign-data", "near"],
    &["--include-foreign-data", "n*", "-t", "a.far"],
];

/// What stands in filter files.
const FILTERS: [&str; 3] = [
    "include schema a\ninclude schema \"C; --\" # why not\nexclude table a . one\ninclude extension hstore\n",
    "include table_and_children a.tree\ninclude table b.refers\nexclude table_data_and_children b.tree_2\nexclude table_data b.*\n",
    "exclude schema b\nexclude extension citext\nexclude table_and_children a.base\ninclude foreign_data near\n",
];

/// Arguments that both tools refuse.
const REFUSED: [&[&str]; 22] = [
    &["-n", "nothing"],
    &["-t", "nothing"],
    &["-t", "one"],
    &["-e", "nothing"],
    &["--table-and-children", "a.nothing"],
    &["--include-foreign-data", "nothing"],
    &["--strict-names", "-n", "a", "-n", "nothing"],
    &["--strict-names", "-t", "a.one", "-t", "a.nothing"],
    &["--strict-names", "-e", "hstore", "-e", "nothing"],
    &["--strict-names", "--table-and-children", "a.tree", "--table-and-children", "nothing"],
    &["-t", "elsewhere.a.one"],
    &["-n", "elsewhere.a"],
    &["-t", "a.b.c.d"],
    &["-e", "a.hstore"],
    &["-s", "-a"],
    &["-s", "--no-schema"],
    &["-a", "--no-data"],
    &["-s", "--statistics"],
    &["-a", "--statistics"],
    &["-s", "--statistics-only"],
    &["-s", "--include-foreign-data", "near"],
    &["--section", "middle"],
];

/// Differences on purpose: who has the entry, `None` where both have it and say something else, and in which selections.
struct Exception {
    why: &'static str,
    is_it: fn(&[&str], Option<Whose>, &str) -> bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Theirs,
    Ours,
}

/// Where we choose otherwise on purpose. Each is needed on 18.
const EXCEPTIONS: [Exception; 6] = [
    Exception {
        why: "-n public: nearly every database has the schema, and stock's CREATE SCHEMA fails there; ours says IF NOT EXISTS \
              and leaves it to its owner",
        is_it: |arguments, whose, key| {
            whose.is_none() && key == "SCHEMA - public" && arguments.iter().any(|word| ["public", "*"].contains(word))
        },
    },
    Exception {
        why: "the comment of schema public that initdb wrote: only the schema's owner may write it again, and every database \
              has it",
        is_it: |arguments, whose, key| {
            let is_named = arguments.iter().any(|word| ["public", "*"].contains(word));
            is_named && whose == Some(Whose::Theirs) && key == "COMMENT - SCHEMA public"
        },
    },
    Exception {
        why: "a loop that is none any more, for one of its members is not dumped: stock still takes it apart",
        is_it: |arguments, whose, key| {
            let (parts, wholes): (&[&str], &[&str]) = if arguments.contains(&"*.*") {
                let parts = ["CHECK CONSTRAINT loops ", "DEFAULT loops", "RULE Comments; -- looped "];
                (&parts.clone(), &["TABLE loops", "VIEW Comments; -- looped"])
            } else {
                (&["RULE a by_key "], &["VIEW a by_key"])
            };
            let begins = |words: &[&str]| words.iter().any(|word| key.starts_with(word));
            (whose == Some(Whose::Theirs) && begins(parts)) || (whose.is_none() && begins(wholes))
        },
    },
    Exception {
        why: "statistics of an index whose table is not dumped: stock never asks about the table, and where that is missing they \
              cannot be restored",
        is_it: |arguments, whose, key| {
            let is_of = |indexes: &[&str]| indexes.iter().any(|index| key == format!("STATISTICS DATA {index}"));
            let member = ["Kinds; config settings_name_key", "Kinds; config settings_pkey"];
            let is_of_tree = arguments.contains(&"b") && is_of(&["a tree_pkey", "a tree_x"]);
            let is_of_member = arguments.iter().all(|word| word.starts_with("--")) && is_of(&member);
            whose == Some(Whose::Theirs) && (is_of_tree || is_of_member)
        },
    },
    Exception {
        why: "system: patterns that fit what is the server's own as well, of which nothing can be made anew",
        is_it: |arguments, whose, key| {
            WITH_THE_SYSTEM.contains(&arguments) && whose == Some(Whose::Theirs) && is_of_system(key)
        },
    },
    Exception {
        why: "the section of statistics of a materialized view that is made late: stock puts it in order even where it is not dumped",
        is_it: |arguments, whose, key| {
            arguments == ["--statistics-only"] && whose.is_none() && key == "STATISTICS DATA loops stored_by_key"
        },
    },
];

/// On servers before 15, whose schema `public` has an owner: an entry that would say nothing but the owner.
const WITHOUT_OWNER: Exception = Exception {
    why: "schema public without its owner has nothing to say",
    is_it: |arguments, whose, key| {
        arguments.contains(&"-O") && whose == Some(Whose::Theirs) && key == "SCHEMA - public"
    },
};

/// Selections of what is the server's own, which no restore could make and which we therefore refuse, with what we say.
const NEVER_OURS: [(&[&str], &str); 4] = [
    (&["-n", "information_schema"], "no matching schemas"),
    (&["-n", "pg_catalog"], "no matching schemas"),
    (&["-t", "pg_catalog.pg_class"], "no matching tables"),
    (&["-t", "information_schema.tables"], "no matching tables"),
];

/// Patterns that fit what is the server's own as well; ours has the rest.
const WITH_THE_SYSTEM: [&[&str]; 3] = [&["-n", "*"], &["-t", "*"], &["-t", "*.*", "-T", "a.*"]];

/// Words that stock ignores where it writes an archive, leaving them to `pg_restore`; ours says nothing of what they mean from
/// the beginning, for the backup may be restored by anybody.
const AT_ONCE: [&str; 3] = ["-O", "--no-tablespaces", "--no-table-access-method"];

/// Where there is a provider for them.
const LABELS: &str =
    "SECURITY LABEL FOR kinds ON TABLE a.one IS 'one'; SECURITY LABEL FOR kinds ON COLUMN b.child.y IS 'y';
    SECURITY LABEL FOR kinds ON SCHEMA b IS 'b'; SECURITY LABEL FOR kinds ON LARGE OBJECT 4711 IS 'large'";

fn source(server: &Server) -> Database {
    let has_labels = databases::provide_labels(server);
    let database = Database::fresh(server, "contents");
    let mut all: Vec<Fixture> = fixtures().into_iter().filter(is_compared).collect();
    let wanted = ["configuration", "tablespaces", "selection"];
    all.extend(fixtures_in("fixtures/databases").into_iter().filter(|one| databases::named(one, &wanted)));
    for fixture in fitting(&all, server.major()) {
        if let Err(sentence) = server.execute(&database.name, &fixture.sql) {
            panic!("{} does not load on {}: {sentence}", fixture.name, server.major());
        }
    }
    if has_labels {
        database.execute(LABELS);
    }
    let (folder, port) = server.socket().unwrap();
    database.execute(&format!(
        "CREATE EXTENSION postgres_fdw;
         CREATE SERVER near FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '{}', port '{port}', dbname '{}');
         CREATE USER MAPPING FOR CURRENT_USER SERVER near; ALTER SERVER near OWNER TO kinds_ann;
         CREATE FOREIGN TABLE a.far (id integer) SERVER near OPTIONS (schema_name 'public', table_name 'plain')",
        folder.display(),
        database.name
    ));
    database
}

/// What an archive says of one entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Said {
    /// The section that `--section` takes it for.
    section: &'static str,
    owner: String,
    tablespace: String,
    method: String,
    statements: String,
}

/// By kind, schema and name; loops make several entries of one name.
type Contents = BTreeMap<String, Vec<Said>>;

/// The contents of an archive. Large objects stand there one by one, as archives before 1.16 have them.
fn contents(archive: &Path) -> Contents {
    let toc = Toc::decode(&std::fs::read(archive.join("toc.dat")).unwrap()).unwrap();
    let mut contents = Contents::new();
    let mut section = Section::PreData;
    for entry in &toc.entries {
        section = match entry.section {
            _ if is_large_object(entry) => Section::Data,
            Section::None => section,
            own => own,
        };
        let said = Said {
            section: match section {
                Section::Data => "data",
                Section::PostData => "post-data",
                _ => "pre-data",
            },
            owner: entry.owner.clone().unwrap_or_default(),
            tablespace: entry.tablespace.clone().unwrap_or_default(),
            method: entry.access_method.clone().unwrap_or_default(),
            statements: [&entry.create, &entry.drop, &entry.copy].into_iter().flatten().cloned().collect(),
        };
        for key in keys(&toc, entry) {
            let statements = if is_large_object(entry) { String::new() } else { said.statements.clone() };
            contents.entry(key).or_default().push(Said { statements, ..said.clone() });
        }
    }
    for said in contents.values_mut() {
        said.sort();
    }
    // They are one entry, or one for each group.
    contents.entry("BLOBS".to_owned()).or_default().truncate(1);
    contents.retain(|_, said| !said.is_empty());
    contents
}

fn is_large_object(entry: &TocEntry) -> bool {
    entry.desc.starts_with("BLOB") || entry.tag.starts_with("LARGE OBJECT")
}

/// The oids of a group of large objects.
fn group(entry: &TocEntry) -> Vec<&str> {
    let lines = entry.create.as_deref().unwrap_or_default().lines();
    lines.filter(|line| !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit())).collect()
}

fn keys(toc: &Toc, entry: &TocEntry) -> Vec<String> {
    let of_group =
        |id: &i32| toc.entries.iter().find(|other| other.id == *id).map(|entry| group(entry)).unwrap_or_default();
    match entry.desc.as_str() {
        "BLOB METADATA" => group(entry).into_iter().map(|oid| format!("BLOB - {oid}")).collect(),
        "BLOBS" => vec!["BLOBS".to_owned()],
        desc if entry.tag.starts_with("LARGE OBJECTS ") => {
            let oids = entry.needs.first().map(of_group).unwrap_or_default();
            oids.into_iter().map(|oid| format!("{desc} - LARGE OBJECT {oid}")).collect()
        }
        desc => vec![format!("{desc} {} {}", entry.schema.as_deref().unwrap_or("-"), entry.tag)],
    }
}

fn stock(source: &Database, arguments: &[&str]) -> Result<Contents, String> {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("stock");
    let fixed = ["-Fd", "-Z", "none", "-f", place.to_str().unwrap()];
    oracle().pg_dump(&source.url(), &[&fixed[..], arguments].concat())?;
    Ok(contents(&place))
}

fn ours(source: &Database, arguments: &[&str]) -> Contents {
    let backup = LocalBackup::make(source, &[&["-Z", "none"], arguments].concat());
    contents(&backup.folder())
}

/// Our dump with these arguments, which ends as it likes.
fn attempt(source: &Database, arguments: &[&str]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("file://{}", folder.path().display());
    pgstow(&no_store(), &[&["dump", "-d", &source.url(), "--to", &store], arguments].concat())
}

/// Both tools' contents of a database, and what was found out about them.
struct Comparison<'a> {
    source: &'a Database,
    /// Of a dump of everything.
    theirs: Contents,
    ours: Contents,
    /// The exceptions that were needed, by their reasons.
    needed: BTreeSet<&'static str>,
    differences: Vec<String>,
}

impl<'a> Comparison<'a> {
    fn of(source: &'a Database) -> Self {
        let (theirs, ours) = (stock(source, &[]).unwrap(), ours(source, &[]));
        let mut comparison = Comparison { source, theirs, ours, needed: BTreeSet::new(), differences: Vec::new() };
        comparison.check_everything();
        comparison
    }

    /// A dump of everything has all that stock's has, and more where stock loses something. Defaults may stand in a statement of
    /// their own or in the table's, labels of columns in an entry of their own or in the table's.
    fn check_everything(&mut self) {
        let only = |here: &Contents, there: &Contents| -> Vec<String> {
            let is_unlike = |key: &&String| ["DEFAULT ", "SECURITY LABEL "].iter().any(|kind| key.starts_with(kind));
            here.keys().filter(|key| !there.contains_key(*key) && !is_unlike(key)).cloned().collect()
        };
        let lost = only(&self.theirs, &self.ours);
        self.differences.extend(lost.into_iter().map(|key| format!("everything: stock alone has {key}")));
        let more = only(&self.ours, &self.theirs);
        let known = ["COMMENT ", "RULE ", "ACL - LANGUAGE ", "ACL Kinds; config ", "POLICY Kinds; config "];
        let unknown = more.iter().filter(|key| !known.iter().any(|kind| key.starts_with(kind)));
        self.differences.extend(unknown.map(|key| format!("everything: ours alone has {key}")));
    }

    fn check(&mut self, arguments: &[&str]) {
        let mut theirs = stock(self.source, arguments).unwrap();
        let mut ours = ours(self.source, arguments);
        say(&format!("selection {arguments:?}: {} entries", ours.values().map(Vec::len).sum::<usize>()));
        for word in arguments.iter().filter(|word| AT_ONCE.contains(word)) {
            let before = theirs.clone();
            forget(&mut theirs, word);
            assert_ne!(before, theirs, "stock no longer keeps in an archive what {word} means");
            let before = ours.clone();
            forget(&mut ours, word);
            assert_eq!(before, ours, "something is left of what {word} leaves out");
        }
        self.compare(arguments, &theirs, &ours);
    }

    fn compare(&mut self, arguments: &[&str], theirs: &Contents, ours: &Contents) {
        let (mut all_theirs, mut all_ours) = (within(&self.theirs, arguments), within(&self.ours, arguments));
        for word in arguments.iter().filter(|word| AT_ONCE.contains(word)) {
            forget(&mut all_theirs, word);
            forget(&mut all_ours, word);
        }
        let differ_anyway = |key: &str| all_theirs.get(key) != all_ours.get(key);
        let mut found: Vec<(Option<Whose>, String, String)> = Vec::new();
        let all: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
        for key in all {
            match (theirs.get(key), ours.get(key)) {
                (Some(_), None) if !all_theirs.contains_key(key) || all_ours.contains_key(key) => {
                    found.push((Some(Whose::Theirs), key.clone(), String::new()));
                }
                (None, Some(_)) if all_theirs.contains_key(key) || !all_ours.contains_key(key) => {
                    found.push((Some(Whose::Ours), key.clone(), String::new()));
                }
                (Some(one), Some(other)) if one != other => {
                    let changed = |said: &Vec<Said>, before: &Contents| before.get(key) != Some(said);
                    if !differ_anyway(key) || changed(one, &all_theirs) != changed(other, &all_ours) {
                        found.push((None, key.clone(), format!("\n  stock: {one:?}\n  ours:  {other:?}")));
                    }
                }
                _ => {}
            }
        }
        for (whose, key, detail) in found {
            let is_it = |exception: &&Exception| (exception.is_it)(arguments, whose, &key);
            if let Some(exception) = EXCEPTIONS.iter().chain([&WITHOUT_OWNER]).find(is_it) {
                self.needed.insert(exception.why);
                continue;
            }
            let words = match whose {
                Some(Whose::Theirs) => "stock alone has",
                Some(Whose::Ours) => "ours alone has",
                None => "not the same",
            };
            self.differences.push(format!("{arguments:?}: {words}: {key}{detail}"));
        }
    }

    #[track_caller]
    fn end(self, exceptions: &[usize]) {
        assert!(self.differences.is_empty(), "{}", self.differences.join("\n"));
        let gone = exceptions.iter().map(|&number| EXCEPTIONS[number].why).filter(|why| !self.needed.contains(why));
        assert_eq!(gone.collect::<Vec<_>>(), Vec::<&str>::new(), "these differences are no more");
    }
}

/// The part of the contents of everything that these arguments' sections have.
fn within(contents: &Contents, arguments: &[&str]) -> Contents {
    let sections: Vec<&&str> =
        arguments.windows(2).filter(|pair| pair[0] == "--section").map(|pair| &pair[1]).collect();
    // The database is in every archive.
    let is_in = |key: &str, said: &Said| {
        sections.is_empty() || sections.contains(&&said.section) || key.starts_with("DATABASE")
    };
    let of = |(key, said): (&String, &Vec<Said>)| {
        (key.clone(), said.iter().filter(|said| is_in(key, said)).cloned().collect::<Vec<_>>())
    };
    contents.iter().map(of).filter(|(_, said)| !said.is_empty()).collect()
}

/// Takes out what a word of [`AT_ONCE`] means. A partitioned table's access method is in our statements, for archives before
/// 1.16 have no other place for it.
fn forget(contents: &mut Contents, word: &str) {
    for all in contents.values_mut() {
        for said in all.iter_mut() {
            match word {
                "-O" => said.owner.clear(),
                "--no-tablespaces" => said.tablespace.clear(),
                _ => {
                    said.method.clear();
                    let kept = said.statements.lines().filter(|line| !line.contains(" SET ACCESS METHOD "));
                    said.statements = kept.map(|line| format!("{line}\n")).collect();
                }
            }
        }
        all.sort();
    }
}

/// Not what stock leaves out: privileges on what the server makes along with a type (`made_along.rs` looks at those).
fn is_compared(fixture: &Fixture) -> bool {
    !["large_objects", "made_along"].iter().any(|start| fixture.name.starts_with(start))
}

fn is_of_system(key: &str) -> bool {
    [" pg_catalog ", " pg_toast ", " information_schema ", "SCHEMA pg_catalog", "SCHEMA pg_toast"]
        .iter()
        .chain(&["SCHEMA information_schema", "- information_schema", "- pg_catalog", "- pg_toast"])
        .any(|name| key.contains(name))
}

fn server_of(major: u16) -> Option<Server> {
    databases::own(major)
}

#[test]
fn selections_by_name_choose_on_18_the_entries_that_stock_chooses() {
    let Some(server) = server_of(18) else { return };
    let source = source(&server);
    let mut comparison = Comparison::of(&source);
    for arguments in BY_NAME {
        comparison.check(arguments);
    }
    for arguments in WITH_THE_SYSTEM {
        comparison.check(arguments);
    }
    for (arguments, words) in NEVER_OURS {
        stock(&source, arguments).unwrap();
        attempt(&source, arguments).failed(2, &[words, "the server's own"]);
    }
    for arguments in REFUSED {
        assert!(stock(&source, arguments).is_err(), "stock takes {arguments:?}");
        attempt(&source, arguments).failed(2, &[]);
    }
    comparison.end(&[0, 1, 2, 4]);
}

#[test]
fn selections_by_sort_and_content_choose_on_18_the_entries_that_stock_chooses() {
    let Some(server) = server_of(18) else { return };
    let source = source(&server);
    let mut comparison = Comparison::of(&source);
    for arguments in BY_SORT {
        comparison.check(arguments);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("filter");
    for filter in FILTERS {
        std::fs::write(&file, filter).unwrap();
        comparison.check(&["--strict-names", "--filter", file.to_str().unwrap()]);
    }
    comparison.end(&[2, 3, 5]);
}

/// On an older server every third of the selections.
fn check_older(major: u16, first: usize) {
    let Some(server) = server_of(major) else { return };
    let source = source(&server);
    let mut comparison = Comparison::of(&source);
    for arguments in BY_NAME.iter().chain(&BY_SORT).skip(first).step_by(3) {
        comparison.check(arguments);
    }
    comparison.end(&[]);
}

#[test]
fn selections_choose_on_12_the_entries_that_stock_chooses() {
    check_older(12, 0);
}

#[test]
fn selections_choose_on_15_the_entries_that_stock_chooses() {
    check_older(15, 1);
}
