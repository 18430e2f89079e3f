//! The whole corpus from an older server to a newer one: it loads without an error, and it is what the stock tools make of it.
//!
//! The stock tools cannot load all of it. What they lose, `pg_restore` names by entry: it goes on behind an entry that fails,
//! where psql would take the rows of a missing table for statements. Every other entry of the new database must be what they
//! made of it; its place in the script is not compared, for an entry that is missing moves what it needs. Of what they lose, of what they add (the comment that an extension had lost), and of tables whose
//! columns they put into another order, ours must be what the source's own schema says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use pgstow::archive::toc::Toc;
use pgstow_parts::{Database, compare, majors, oracle, say, server};

use crate::fidelity::{check, corpus, fitting, fixtures};

/// One entry of a script of `pg_dump`: the line of its name, its kind and its schema, and its statements.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    key: String,
    body: String,
}

/// The entries of a script. What the script sets between them, the default tablespace and the default table access method,
/// counts for the entries that it is about.
fn entries(script: &str) -> Vec<Entry> {
    let mut settings: BTreeMap<&str, &str> = BTreeMap::new();
    let mut entries: Vec<Entry> = Vec::new();
    for line in script.lines() {
        if let Some(name) = line.strip_prefix("-- Name: ") {
            let key = name.rsplit_once("; Owner: ").map_or(name, |(key, _)| key).to_owned();
            let about = ["; Type: TABLE; ", "; Type: MATERIALIZED VIEW; ", "; Type: INDEX; ", "; Type: CONSTRAINT; "];
            let is_stored = about.iter().any(|kind| key.contains(kind));
            let set =
                if is_stored { settings.values().map(|line| format!("{line}\n")).collect() } else { String::new() };
            entries.push(Entry { body: format!("{name}\n{set}"), key });
        } else if let Some(setting) = line.strip_prefix("SET default_") {
            settings.insert(setting.split_whitespace().next().unwrap_or_default(), line);
        } else if let (Some(entry), false) = (entries.last_mut(), line.is_empty() || line == "--") {
            entry.body.push_str(line);
            entry.body.push('\n');
        }
    }
    entries
}

/// The words by which a script names an entry of an archive.
fn key(tag: &str, desc: &str, schema: Option<&str>) -> String {
    format!("{}; Type: {desc}; Schema: {}", tag.replace(['\n', '\r'], " "), schema.unwrap_or("-"))
}

/// The names of the columns of a table that a script makes, one a line, in its order.
fn columns(entry: &Entry) -> Vec<&str> {
    let lines = entry.body.lines().skip_while(|line| !line.starts_with("CREATE TABLE ")).skip(1);
    let lines = lines.take_while(|line| !line.starts_with(')')).map(str::trim_start);
    lines.filter(|line| line.starts_with('"')).filter_map(|line| line.split("\" ").next()).collect()
}

/// The tables whose columns are the source's in another order.
fn reordered(source: &[Entry], theirs: &[Entry]) -> BTreeSet<String> {
    let sorted = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let moved = |entry: &&Entry| {
        let before = source.iter().find(|before| before.key == entry.key).map(columns).unwrap_or_default();
        let now = columns(entry);
        before != now && sorted(&before) == sorted(&now)
    };
    theirs
        .iter()
        .filter(|entry| entry.key.contains("; Type: TABLE; "))
        .filter(moved)
        .map(|entry| entry.key.clone())
        .collect()
}

/// What differs between the schema that stock made and ours, apart from what stock made otherwise than it was, which must be
/// the source's.
fn differences(source: &str, theirs: &str, ours: &str, lost: &BTreeSet<String>) -> Vec<String> {
    let (before, made, copied) = (entries(source), entries(theirs), entries(ours));
    // A name that the newer server words otherwise is in both copies.
    let is_in = |entries: &[Entry], key: &str| entries.iter().any(|entry| entry.key == key);
    let added = made.iter().filter(|entry| !is_in(&before, &entry.key) && !is_in(&copied, &entry.key));
    let added: BTreeSet<String> = added.map(|entry| entry.key.clone()).collect();
    let moved = reordered(&before, &made);
    let otherwise: BTreeSet<&String> = lost.iter().chain(&added).chain(&moved).collect();
    let kept =
        |script: &str| entries(script).into_iter().filter(|entry| !otherwise.contains(&entry.key)).collect::<Vec<_>>();
    // Before 18 a column that inherits its NOT NULL does not tell whether it has one of its own.
    let own = |entry: Entry| {
        let is_moved = moved.contains(&entry.key);
        let body = if is_moved { entry.body.replace(" NOT NULL", "") } else { entry.body };
        Entry { body, ..entry }
    };
    let of_lost = |script: &str| {
        entries(script).into_iter().filter(|entry| otherwise.contains(&entry.key)).map(own).collect::<Vec<_>>()
    };
    let only = |words: &str, here: &[Entry], there: &[Entry]| {
        let missing = here.iter().filter(|entry| !there.contains(entry));
        missing.map(|entry| format!("{words}\n{}", entry.body)).collect::<Vec<_>>()
    };
    let (left, right) = (kept(theirs), kept(ours));
    let mut found = only("what stock made alone has", &left, &right);
    found.extend(only("ours alone has", &right, &left));
    let (left, right) = (of_lost(source), of_lost(ours));
    found.extend(only("not as stock made it, and the source alone has", &left, &right));
    found.extend(only("not as stock made it, and ours alone has", &right, &left));
    found
}

fn check_move(from: u16, to: u16) {
    if !(majors().contains(&from) && majors().contains(&to)) {
        say(&format!("the corpus is not tested from {from} to {to}: only {:?} is there", majors()));
        return;
    }
    let (old, new) = (server(from), server(to));
    let mut fixtures = fixtures();
    // What the newer server refuses cannot move to it.
    fixtures.retain(|fixture| fixture.last >= to);
    let source = corpus(&old, &fixtures);
    let (ours, theirs) = (Database::fresh(&new, "moved"), Database::fresh(&new, "moved_by_stock"));
    for roles in fitting(&fixtures, to).filter(|fixture| fixture.name == "roles") {
        ours.execute(&roles.sql);
    }
    let pgstow = Path::new(env!("CARGO_BIN_EXE_pgstow"));
    let folder = tempfile::tempdir().unwrap();
    let backup = check::Backup::make(pgstow, &old, &source.name, &folder.path().join("ours")).unwrap();
    backup.restore(pgstow, &new, &ours.name).unwrap();

    let stock = folder.path().join("stock");
    let arguments = ["-Fd", "-Z", "none", "--quote-all-identifiers", "-f", stock.to_str().unwrap()];
    oracle().pg_dump(&source.url(), &arguments).unwrap();
    let contents = Toc::decode(&std::fs::read(stock.join("toc.dat")).unwrap()).unwrap();
    let mut lost = BTreeSet::new();
    let mut told = Vec::new();
    for failed in oracle().restore_failures(&theirs.url(), &stock).unwrap() {
        let entry = contents.entries.iter().find(|entry| entry.id == failed.entry).unwrap();
        let key = key(&entry.tag, &entry.desc, entry.schema.as_deref());
        told.push(format!("\n  {key}: {}", failed.sentence));
        lost.insert(key);
    }
    say(&format!("of the corpus from {from} to {to} stock loses {}:{}", lost.len(), told.concat()));
    let schema = |database: &Database| oracle().schema(&database.url()).unwrap();
    let mut differences = differences(&schema(&source), &schema(&theirs), &schema(&ours), &lost);

    let data = |database: &Database| compare::data(&database.server, &database.name).unwrap();
    let found = data(&ours);
    let mut expected = data(&source);
    expected.extend(compare::refreshed(&old, &source.name).unwrap());
    differences.extend(compare::differences(&expected, &found));
    let theirs = data(&theirs);
    let here = found.into_iter().filter(|(name, _)| theirs.contains_key(name)).collect();
    differences.extend(compare::differences(&theirs, &here));
    assert!(differences.is_empty(), "from {from} to {to}:\n{}", differences.join("\n"));
}

#[test]
fn the_corpus_of_12_moves_to_13() {
    check_move(12, 13);
}

#[test]
fn the_corpus_of_12_moves_to_18() {
    check_move(12, 18);
}

#[test]
fn the_corpus_of_13_moves_to_15() {
    check_move(13, 15);
}

#[test]
fn the_corpus_of_14_moves_to_17() {
    check_move(14, 17);
}

#[test]
fn the_corpus_of_15_moves_to_18() {
    check_move(15, 18);
}

#[test]
fn the_corpus_of_16_moves_to_18() {
    check_move(16, 18);
}

#[test]
fn the_corpus_of_17_moves_to_18() {
    check_move(17, 18);
}
