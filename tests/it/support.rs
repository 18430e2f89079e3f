//! What the tests share: running pgstow, loading the shop, holding two databases against each other.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pgstow_parts::{Database, S3, Server, compare, fixtures, oracle};
use serde_json::Value;

/// What a run of pgstow left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(output: &Output) -> Self {
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The JSON document on standard output, which has to be all there is.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => value,
            Err(error) => panic!("standard output is not one JSON document ({error}): {self:?}"),
        }
    }

    /// It went well; returns itself.
    #[track_caller]
    pub(crate) fn fine(self) -> Self {
        assert_eq!(self.code, Some(0), "pgstow failed: {}{}", self.stdout, self.stderr);
        self
    }

    /// It failed with this exit code, and what it says holds each of these words.
    #[track_caller]
    pub(crate) fn failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "another exit code was due: {}{}", self.stdout, self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not said: {}", self.stderr);
        }
    }
}

/// pgstow as a command, told how to reach the store and nothing else.
pub(crate) fn command(s3: &S3) -> Command {
    let mut command = bare_command();
    command.envs(s3.environment());
    command
}

/// pgstow as a command that is told nothing, for stores that are folders.
pub(crate) fn bare_command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgstow"));
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy().into_owned();
        if ["PG", "AWS_"].iter().any(|start| name.starts_with(start)) {
            command.env_remove(variable);
        }
    }
    command
}

/// Runs pgstow to its end.
#[track_caller]
pub(crate) fn pgstow(s3: &S3, arguments: &[&str]) -> Ran {
    Ran::of(&command(s3).args(arguments).output().unwrap())
}

/// For runs that need no bucket: a store that nobody could reach.
pub(crate) fn no_store() -> S3 {
    let text = |text: &str| text.to_owned();
    S3 {
        endpoint: text("http://127.0.0.1:9"),
        access_key: text("none"),
        secret_key: text("none"),
        bucket: text("none"),
        region: text("none"),
    }
}

/// A shop with all that the server's version understands.
#[track_caller]
pub(crate) fn shop(server: &Server, hint: &str) -> Database {
    let database = Database::fresh(server, hint);
    if let Err(sentence) = fixtures::load_shop(server, &database.name) {
        panic!("the fixture does not load: {sentence}");
    }
    database
}

/// A backup that was made: its place in the store, and what the dump reported.
#[derive(Debug)]
pub(crate) struct Backup {
    pub(crate) s3: S3,
    /// The prefix that this backup has for itself.
    pub(crate) prefix: String,
    pub(crate) id: String,
    pub(crate) database: String,
    pub(crate) report: Value,
}

impl Backup {
    /// Dumps a database below a prefix of its own.
    #[track_caller]
    pub(crate) fn make(s3: &S3, database: &Database, arguments: &[&str]) -> Self {
        let prefix = s3.fresh_prefix(&database.name);
        let (url, store) = (database.url(), s3.location(&prefix));
        let fixed = ["dump", "-d", &url, "--to", &store, "--json"];
        let report = pgstow(s3, &[fixed.as_slice(), arguments].concat()).fine().json();
        let id = report["backup"].as_str().unwrap().to_owned();
        Backup { s3: s3.clone(), prefix, id, database: database.name.clone(), report }
    }

    /// The store, as pgstow is told it.
    pub(crate) fn store(&self) -> String {
        self.s3.location(&self.prefix)
    }

    /// The folder of the backup, as a prefix of keys that ends in a slash.
    pub(crate) fn folder(&self) -> String {
        format!("{}/{}/{}/", self.prefix, self.database, self.id)
    }

    /// Runs a restore and returns how it ended.
    #[track_caller]
    pub(crate) fn restore(&self, target: &Database, arguments: &[&str]) -> Ran {
        let (url, store) = (target.url(), self.store());
        let fixed = ["restore", &self.id, "--from", &store, "-d", &url];
        pgstow(&self.s3, &[fixed.as_slice(), arguments].concat())
    }
}

/// A backup in a folder of the local disk, which goes when this value does.
#[derive(Debug)]
pub(crate) struct LocalBackup {
    store: tempfile::TempDir,
    pub(crate) id: String,
    pub(crate) database: String,
}

impl LocalBackup {
    /// Dumps a database.
    #[track_caller]
    pub(crate) fn make(database: &Database, arguments: &[&str]) -> Self {
        LocalBackup::make_as(database, &database.url(), arguments)
    }

    /// Dumps a database, as whoever the URL names.
    #[track_caller]
    pub(crate) fn make_as(database: &Database, url: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (url, store) = (url, format!("file://{}", folder.path().display()));
        let fixed = ["dump", "-d", url, "--to", &store, "--json"];
        let report = pgstow(&no_store(), &[fixed.as_slice(), arguments].concat()).fine().json();
        let id = report["backup"].as_str().unwrap().to_owned();
        LocalBackup { store: folder, id, database: database.name.clone() }
    }

    /// The store, as pgstow is told it.
    pub(crate) fn store(&self) -> String {
        format!("file://{}", self.store.path().display())
    }

    /// The folder that stock tools read.
    pub(crate) fn folder(&self) -> PathBuf {
        self.store.path().join(&self.database).join(&self.id)
    }

    /// Runs pgstow with this backup and its store, and more arguments.
    #[track_caller]
    pub(crate) fn run(&self, verb: &str, arguments: &[&str]) -> Ran {
        let store = self.store();
        pgstow(&no_store(), &[&[verb, &self.id, "--from", &store], arguments].concat())
    }
}

/// The files of a backup's folder that hold the rows of its tables.
pub(crate) fn files_of_rows(folder: &Path) -> Vec<PathBuf> {
    let files = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    files.filter(|file| file.file_name().unwrap().to_string_lossy().starts_with("data_")).collect()
}

/// The rows, sequences and large objects of two databases are the same.
#[track_caller]
pub(crate) fn assert_same_data(left: &Database, right: &Database) {
    let of = |database: &Database| compare::data(&database.server, &database.name).unwrap();
    let lines = compare::differences(&of(left), &of(right));
    assert!(lines.is_empty(), "{} differences in data:\n{}", lines.len(), lines.join("\n"));
}

/// Stock `pg_dump -s` writes the same script for two databases.
#[track_caller]
pub(crate) fn assert_same_schema(left: &Database, right: &Database) {
    let of = |database: &Database| oracle().schema(&database.url()).unwrap();
    assert_same_script(&of(left), &of(right));
}

/// Two scripts are the same; otherwise shows the statements that only one of them has.
#[track_caller]
pub(crate) fn assert_same_script(left: &str, right: &str) {
    if left == right {
        return;
    }
    let pieces = |script: &str| script.split("\n\n").map(|piece| piece.trim().to_owned()).collect::<Vec<_>>();
    let (left, right) = (pieces(left), pieces(right));
    let only = |mine: &[String], other: &[String]| {
        mine.iter().filter(|piece| !other.contains(piece)).take(12).cloned().collect::<Vec<_>>().join("\n")
    };
    let (here, there) = (only(&left, &right), only(&right, &left));
    assert!(here.is_empty() && there.is_empty(), "only on the left:\n{here}\n\nonly on the right:\n{there}");
    let place = left.iter().zip(&right).position(|(one, other)| one != other);
    panic!("the same statements in another order, from this one on: {:?}", place.map(|at| (&left[at], &right[at])));
}
