//! Holds one database against its own copy: the stock schema of both, all data, and a second dump against the first.
//!
//! Shared by the tests (`fidelity.rs`) and by `examples/fidelity.rs`, which takes any database by URL. Everything lies
//! in a temporary folder, so that nothing but the server is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use pgstow::archive::manifest::Manifest;
use pgstow::archive::toc::{Toc, TocEntry};
use pgstow::model::qualified;
use pgstow_parts::{Database, Result, Server, compare, oracle};

/// What was found out about one database.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// How many entries of each kind the backup has, by pg_dump's word.
    pub(crate) kinds: BTreeMap<String, usize>,
    /// What differs, in words; empty when the copy is equal.
    pub(crate) differences: Vec<String>,
}

/// Dumps the database, restores it into a scratch database of the same server, dumps that one again, and compares.
///
/// Errors: what kept it from comparing: a failed dump or restore, with what was said.
pub(crate) fn check(pgstow: &Path, server: &Server, database: &str) -> Result<Verdict> {
    let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let first = Backup::make(pgstow, server, database, &folder.path().join("first"))?;
    let copy = Database { server: server.clone(), name: server.fresh_database_like("copy", database)? };
    first.restore(pgstow, server, &copy.name)?;
    let second = Backup::make(pgstow, server, &copy.name, &folder.path().join("second"))?;
    let mut differences = Vec::new();
    let stock = |name: &str| oracle().schema(&server.url(name));
    differences.extend(script_differences(&stock(database)?, &stock(&copy.name)?));
    let mut expected = compare::data(server, database)?;
    expected.extend(compare::refreshed(server, database)?);
    differences.extend(compare::differences(&expected, &compare::data(server, &copy.name)?));
    differences.extend(first.differences(&second, Scope::WithoutDatabase));
    Ok(Verdict { kinds: first.kinds(), differences })
}

/// Whether two backups' entries about the database itself are compared: names may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    WithoutDatabase,
    #[allow(dead_code, reason = "databases.rs alone restores under the same name")]
    WithDatabase,
}

/// A finished backup of one database in a folder of its own.
#[derive(Debug)]
pub(crate) struct Backup {
    store: String,
    toc: Toc,
    manifest: Manifest,
}

impl Backup {
    /// Runs `pgstow dump` and reads what it wrote.
    pub(crate) fn make(pgstow: &Path, server: &Server, database: &str, folder: &Path) -> Result<Backup> {
        let store = format!("file://{}", folder.display());
        let dump = ["dump", "-d", &server.url(database), "--to", &store, "-Z", "none", "-j", "2", "--json"];
        let said = run(pgstow, &dump)?;
        let report: serde_json::Value =
            serde_json::from_str(&said).map_err(|error| format!("pgstow dump prints no JSON: {error}"))?;
        let place = folder.join(report["folder"].as_str().unwrap_or_default());
        let read = |name: &str| std::fs::read(place.join(name)).map_err(|error| format!("{name}: {error}"));
        let toc = Toc::decode(&read("toc.dat")?).map_err(|error| error.to_string())?;
        let manifest = Manifest::decode(&read("manifest.json")?).map_err(|error| error.to_string())?;
        let backup = Backup { store, toc, manifest };
        if let Some(skipped) = backup.manifest.skipped.first() {
            return Err(format!("the dump left something out: {skipped:?}"));
        }
        Ok(backup)
    }

    /// Restores it into an empty database.
    pub(crate) fn restore(&self, pgstow: &Path, server: &Server, database: &str) -> Result<()> {
        self.restore_with(pgstow, server, database, &[])
    }

    /// Restores it with more arguments.
    pub(crate) fn restore_with(&self, pgstow: &Path, server: &Server, database: &str, more: &[&str]) -> Result<()> {
        let url = server.url(database);
        let fixed = ["restore", "latest", "--from", &self.store, "-d", &url, "-j", "2"];
        run(pgstow, &[&fixed, more].concat()).map(drop)
    }

    /// How many entries of each kind it has.
    pub(crate) fn kinds(&self) -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        for entry in &self.toc.entries {
            *kinds.entry(entry.desc.clone()).or_default() += 1;
        }
        kinds
    }

    /// What another backup has otherwise: entries, their order, what they need, and the digests of rows.
    pub(crate) fn differences(&self, other: &Backup, scope: Scope) -> Vec<String> {
        let (here, there) = (self.entries(scope), other.entries(scope));
        let mut differences = only_in("the first dump alone has", &here, &there);
        differences.extend(only_in("the second dump alone has", &there, &here));
        if differences.is_empty() && here != there {
            let place = here.iter().zip(&there).find(|(one, other)| one != other);
            differences.push(format!("the second dump has another order, from here on: {place:#?}"));
        }
        let (here, there) = (self.digests(), other.digests());
        differences.extend(compare::differences(&here, &there));
        differences
    }

    /// The entries without what is the server's to choose: oids, and the numbers made from them.
    fn entries(&self, scope: Scope) -> Vec<String> {
        let name = |entry: &TocEntry| format!("{} {:?} {}", entry.desc, entry.schema, entry.tag);
        let names: BTreeMap<i32, String> = self.toc.entries.iter().map(|entry| (entry.id, name(entry))).collect();
        let about_this_database =
            |entry: &TocEntry| entry.desc.starts_with("DATABASE") || entry.tag.starts_with("DATABASE ");
        let entries =
            self.toc.entries.iter().filter(|entry| scope == Scope::WithDatabase || !about_this_database(entry));
        let text = |entry: &TocEntry| {
            let needs: BTreeSet<&String> = entry.needs.iter().filter_map(|id| names.get(id)).collect();
            format!(
                "{} in {:?}, owner {:?}, tablespace {:?}, method {:?}, {:?}, {}\n{}{}{}needs {needs:?}",
                name(entry),
                entry.section,
                entry.owner,
                entry.tablespace,
                entry.access_method,
                entry.relkind,
                entry.had_dumper,
                entry.create.as_deref().unwrap_or_default(),
                entry.drop.as_deref().unwrap_or_default(),
                entry.copy.as_deref().unwrap_or_default()
            )
        };
        entries.map(|entry| text(entry)).collect()
    }

    fn digests(&self) -> compare::Fingerprints {
        let mut prints = compare::Fingerprints::new();
        // Rows that a restore loads through the root may land in another partition, so only their sum can be the same.
        let mut routed: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for table in &self.manifest.tables {
            let name = qualified(&table.schema, &table.name);
            let entry = self.toc.entries.iter().find(|entry| entry.id == table.toc_id);
            let copy = entry.and_then(|entry| entry.copy.as_deref()).unwrap_or_default();
            if copy.starts_with(&format!("COPY {name} ")) {
                let digest = &table.rows_digest;
                prints.insert(
                    format!("rows of {name}"),
                    format!("{} rows, {} bytes, {digest:?}", table.rows, table.raw_bytes),
                );
            } else {
                let sum = routed.entry(copy.to_owned()).or_default();
                *sum = (sum.0 + table.rows, sum.1 + table.raw_bytes);
            }
        }
        prints.extend(routed.into_iter().map(|(copy, (rows, bytes))| (copy, format!("{rows} rows, {bytes} bytes"))));
        let large = self.manifest.large_objects.iter().flat_map(|large| &large.objects);
        let large = large.map(|object| (format!("large object {}", object.oid), object.object.sha256.clone()));
        prints.extend(large);
        prints
    }
}

/// Runs pgstow to its end; whatever it says in a failure is the error.
fn run(pgstow: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(pgstow);
    for (variable, _) in std::env::vars_os() {
        if ["PG", "AWS_"].iter().any(|start| variable.to_string_lossy().starts_with(start)) {
            command.env_remove(variable);
        }
    }
    let done = command.args(arguments).output().map_err(|error| format!("{}: {error}", pgstow.display()))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let verb = arguments.first().unwrap_or(&"");
    Err(format!("pgstow {verb} failed ({}): {}", done.status, String::from_utf8_lossy(&done.stderr)))
}

/// The statements that only one of two scripts has, and where their order differs.
pub(crate) fn script_differences(left: &str, right: &str) -> Vec<String> {
    if left == right {
        return Vec::new();
    }
    let statements = |script: &str| script.split("\n\n").map(|piece| piece.trim().to_owned()).collect::<Vec<_>>();
    let (here, there) = (statements(left), statements(right));
    let mut differences = only_in("stock's schema of the source alone says", &here, &there);
    differences.extend(only_in("stock's schema of the copy alone says", &there, &here));
    if differences.is_empty() {
        let place = here.iter().zip(&there).find(|(one, other)| one != other);
        differences.push(format!("stock's schema of the copy has another order, from here on: {place:#?}"));
    }
    differences
}

fn only_in(words: &str, here: &[String], there: &[String]) -> Vec<String> {
    let there: BTreeSet<&String> = there.iter().collect();
    here.iter().filter(|piece| !there.contains(piece)).map(|piece| format!("{words}\n{piece}\n")).collect()
}
