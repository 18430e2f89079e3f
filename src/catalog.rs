//! Asks the catalogs what is there, and keeps what was asked for.
//!
//! May import: error, model, objects, facets, globals, postgres. Always true here: every question is asked once, whatever the
//! number of objects, in the leader's snapshot, which is taken after the locks; what is not kept was not selected, comes with an
//! extension, or is named in [`Catalog::skipped`].

mod asking;
mod chosen;
pub mod filter;
mod globals;
mod homeless;
mod pattern;
mod relations;
mod selection;
mod uncovered;

pub use globals::{Globals, GlobalsWanted, read_globals};
pub use pattern::Pattern;
pub use selection::{Selection, Without};

use crate::error::{Error, Kind, Result};
use crate::facets::{self, Subjects};
use crate::model::{
    Address, AddressMap, AddressSet, Belongs, Depend, Item, Object, Oid, Question, Rows, ServerVersion,
};
use crate::objects::{self, KINDS, schema, statistics_data, subscription};
use crate::postgres::{Session, decode, sqlstate};
use asking::Asked;
use chosen::Chosen;
use homeless::{COMMENT, Homeless, LABEL, PRIVILEGES};
use relations::{Relation, Relations};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// What the source holds of what was selected.
#[derive(Debug)]
pub struct Catalog {
    /// The objects, without members of extensions.
    pub objects: Vec<Object>,
    /// Comments, privileges and labels of those objects, and changed privileges of members of extensions.
    pub facets: Vec<Item>,
    /// All that `pg_depend` says about user objects.
    pub depends: Vec<Depend>,
    /// The database itself.
    pub database: DatabaseRow,
    /// Objects that cannot be dumped, each with the reason.
    pub skipped: Vec<(String, String)>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// The database, for the manifest.
#[derive(Debug, Clone, Deserialize)]
pub struct DatabaseRow {
    /// `datname`.
    pub name: String,
    /// Its encoding's name, such as `UTF8`.
    pub encoding: String,
    /// `datcollate`.
    pub collate: String,
    /// `datctype`.
    pub ctype: String,
    /// `libc`, `icu` or `builtin`.
    pub locale_provider: Option<String>,
    /// The version of the library that sorts its text, where the server tells.
    pub collation_version: Option<String>,
    /// Its own collations, and those of the system that it uses.
    pub collations: Option<Vec<CollationRow>>,
    /// Its extensions.
    pub extensions: Option<Vec<ExtensionRow>>,
    /// `pg_database_size` in bytes, where it may be asked.
    pub size_bytes: Option<u64>,
}

/// A collation, for the manifest.
#[derive(Debug, Clone, Deserialize)]
pub struct CollationRow {
    /// Its schema, unquoted.
    pub schema: String,
    /// Its name, unquoted.
    pub name: String,
    /// The version of the library that sorts by it, where the server tells.
    pub version: Option<String>,
}

/// An extension, for the manifest.
#[derive(Debug, Clone, Deserialize)]
pub struct ExtensionRow {
    /// Its name, unquoted.
    pub name: String,
    /// The version that the database has.
    pub version: String,
}

/// Collations that initdb found on its machine are not pinned, so `pg_depend` tells which of them are used.
const DATABASE: Question = Question(
    "SELECT d.datname AS name, pg_catalog.pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS collate,
d.datctype AS ctype,
CASE d.datlocprovider WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' END AS locale_provider, -- <15: 'libc' AS locale_provider,
pg_catalog.pg_database_collation_actual_version(d.oid) AS collation_version, -- <15: NULL::text AS collation_version,
(SELECT pg_catalog.json_agg(pg_catalog.json_build_object('schema', n.nspname, 'name', c.collname,
'version', pg_catalog.pg_collation_actual_version(c.oid)) ORDER BY n.nspname, c.collname)
FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') OR c.oid IN (SELECT d.refobjid
FROM pg_catalog.pg_depend d WHERE d.refclassid = 'pg_catalog.pg_collation'::pg_catalog.regclass)) AS collations,
(SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', x.extname, 'version', x.extversion) ORDER BY x.extname)
FROM pg_catalog.pg_extension x) AS extensions,
CASE WHEN pg_catalog.has_database_privilege(d.oid, 'CONNECT') THEN pg_catalog.pg_database_size(d.oid) END AS size_bytes -- !rows: NULL::bigint AS size_bytes
FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()",
);

/// Rows about objects that are built in say nothing about order, except those about schemas (`public` is one). Neither do
/// the most frequent ones, three quarters of all: that constraints, defaults and indexes hang on the columns of their own
/// table, which their Items need anyway, and that the triggers of a foreign key are its own.
///
/// There are many rows and few pairs of catalogs, so a row here is all rows of one pair.
const DEPENDS: Question = Question(
    "SELECT d.classid AS from_class, d.refclassid AS to_class, d.deptype = 'e' AS member,
pg_catalog.array_agg(d.objid) AS from_objects, pg_catalog.array_agg(d.refobjid) AS to_objects
FROM pg_catalog.pg_depend d
WHERE d.objid >= 16384
AND (d.refobjid >= 16384 OR d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass)
AND NOT (d.deptype = 'a' AND d.refobjsubid > 0 AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
    AND d.classid IN ('pg_catalog.pg_constraint'::pg_catalog.regclass, 'pg_catalog.pg_attrdef'::pg_catalog.regclass,
        'pg_catalog.pg_class'::pg_catalog.regclass))
AND NOT (d.deptype = 'i' AND d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass)
GROUP BY 1, 2, 3",
);

#[derive(Debug, Deserialize)]
struct DependRow {
    from_class: Oid,
    to_class: Oid,
    member: bool,
    from_objects: Vec<Oid>,
    to_objects: Vec<Oid>,
}

impl DependRow {
    fn depends(&self) -> impl Iterator<Item = Depend> {
        let pairs = self.from_objects.iter().zip(&self.to_objects);
        pairs.map(|(&from, &to)| Depend {
            from: Address::new(self.from_class, from),
            to: Address::new(self.to_class, to),
        })
    }
}

/// What could not be read, and what was asked for.
#[derive(Debug)]
pub struct Unread {
    /// Why.
    pub error: Error,
    /// The kind of the question, such as `functions`, if it was one of many.
    pub about: Option<&'static str>,
    /// A table was made or rewritten between the locks and the snapshot.
    appeared: bool,
}

impl From<Error> for Unread {
    fn from(error: Error) -> Self {
        Unread { error, about: None, appeared: false }
    }
}

impl Unread {
    /// Whether somebody changed what was being read, so that a new snapshot may do better: what a question of the snapshot
    /// has found is looked up in the present by the functions that describe it.
    pub fn has_moved(&self) -> bool {
        let code = sqlstate(&self.error);
        // Where a function finds no object any more, it gives nothing, in place of a text that is always there.
        self.appeared
            || MOVED.iter().any(|moved| code == Some(moved))
            || (code.is_none() && self.error.kind() == Kind::Internal)
    }

    /// Whether a lock was not to be had in the time that the session waits for one.
    pub fn is_locked_out(&self) -> bool {
        sqlstate(&self.error) == Some(asking::LOCK_NOT_AVAILABLE)
    }
}

/// `internal_error` (cache lookup failed), `undefined_table`, `_object`, `_function`, `_column`, `invalid_schema_name`,
/// `deadlock_detected`, `serialization_failure`.
const MOVED: [&str; 8] = ["XX000", "42P01", "42704", "42883", "42703", "3F000", "40P01", "40001"];

/// What a dump locks before it takes its snapshot, and what it asks then.
pub struct Scouted {
    wanted: Vec<Relation>,
    /// What the user should know.
    warning: Option<String>,
    questions: asking::Questions<Answer>,
    early: asking::Answers<Answer>,
}

/// Looks which tables are wanted, and what there is to ask.
///
/// Errors: [`Kind::Usage`] for a selection that fits nothing; [`Kind::Database`] for what may not be read, or more tables than
/// the server has room for locks.
pub async fn scout(session: &Session, selection: &Selection) -> Result<Scouted> {
    let relations = Relations::read(session).await?;
    let chosen = Chosen::resolve(selection, &relations)?;
    let wanted = wanted(&relations, &chosen);
    let warning = relations.check_lock_budget(wanted.len())?;
    let read: Vec<&Relation> = wanted.iter().copied().chain(valued(&relations, &chosen)).collect();
    relations::check_readable(&read, &relations.role)?;
    let wanted = wanted.into_iter().cloned().collect();
    let questions = questions(session, selection).await?.into_iter().enumerate().collect();
    Ok(Scouted { wanted, warning, questions, early: Vec::new() })
}

/// All questions that the selection leads to.
async fn questions(session: &Session, selection: &Selection) -> Result<Vec<Asked<Answer>>> {
    let version = session.version();
    let mut kinds: Vec<(usize, &'static objects::Kind)> = KINDS.iter().enumerate().collect();
    let mut without = selection.words_without();
    if !uncovered::may_read_subscriptions(session).await? {
        kinds.retain(|(_, kind)| kind.name != subscription::KIND.name);
        without.push(Without::Subscriptions.word());
    }
    if !selection.wants_statistics() {
        kinds.retain(|(_, kind)| kind.name != statistics_data::KIND.name);
    }
    let mut questions = questions_about_all(version, &without);
    questions.extend(questions_of_kinds(kinds, version, &without));
    Ok(questions)
}

/// Locks them, in a transaction that has no snapshot yet.
pub async fn lock(session: &Session, scouted: &mut Scouted) -> Result<()> {
    relations::lock(session, &scouted.wanted.iter().collect::<Vec<_>>()).await
}

/// Asks for these kinds at once. As the first questions of their transaction they take the snapshot, so next to no time
/// passes between it and what functions look up in the present.
pub async fn read_first(session: &Session, scouted: &mut Scouted, first: &[&str]) -> Result<(), Unread> {
    let questions = scouted.questions.extract_if(.., |(_, question)| first.contains(&question.about)).collect();
    scouted.early = asking::some(session, questions).await?;
    Ok(())
}

/// How the catalogs are read, beside what is selected.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reading {
    /// What cannot be dumped becomes a warning, not an error.
    pub allow_incomplete: bool,
    /// Tables that appeared after the locks are locked now, if they are still what the snapshot knows.
    pub lock_late: bool,
}

/// Reads everything in the leader's snapshot: all questions on its session and on the readers', which have imported the
/// snapshot. The leader has locked what [`scout`] has found before the snapshot was taken.
///
/// Errors: [`Kind::Usage`] for a selection that fits nothing; [`Kind::Database`] for what may not be locked or read;
/// [`Kind::Incomplete`] naming what cannot be dumped, unless that is allowed. [`Unread::has_moved`] tells what a new
/// snapshot may mend.
pub async fn read(
    session: &Session,
    readers: &mut Vec<Session>,
    selection: &Selection,
    scouted: Scouted,
    reading: Reading,
) -> Result<Catalog, Unread> {
    let version = session.version();
    let relations = Relations::read(session).await?;
    let chosen = Chosen::resolve(selection, &relations)?;
    check_locks(session, &relations, &chosen, reading.lock_late).await?;
    let mut database: Vec<DatabaseRow> =
        session.question(&DATABASE.for_server_without(version, &selection.words_without())).await?;
    let database = database.pop().ok_or_else(|| Error::new(Kind::Internal, "the server does not know its database"))?;
    selection.check(&database.name)?;
    let answers = asking::all(session, readers, scouted.questions, scouted.early).await?;
    let mut warnings = chosen.warnings.clone();
    warnings.extend(scouted.warning);
    let Answers { mut objects, depends: rows, extensions, facets: found } = Answers::sorted(answers);
    let members = Members::of(&rows, &relations);
    let made_by_extensions: Vec<Object> = objects.extract_if(.., |object| members.holds(object)).collect();
    let unwanted: Vec<Object> = objects.extract_if(.., |object| !chosen.keeps(object)).collect();
    drop_half_ownerships(&mut objects);
    if chosen.by_schema() {
        for object in &mut objects {
            schema::make_if_missing(&mut object.whole);
        }
    }
    facets::extension::append(&extensions, &mut objects);
    let (mut facets, homeless) = facets(&found, &objects, &made_by_extensions, &members, &chosen);
    let homeless = Homeless { session, found: &found, all: homeless, chosen: &chosen };
    let (of_parts, left_out) = homeless.find(&objects, unwanted).await?;
    facets.extend(of_parts);
    objects.extend(system_objects(&found, &chosen));
    if chosen.without(Without::Owners) {
        let without_owners = |items: &mut [Item]| items.iter_mut().for_each(|item| item.owner = None);
        for object in &mut objects {
            object.whole.owner = None;
            object.opened.change(without_owners);
        }
        without_owners(&mut facets);
    }
    // Nothing else asks what facets could be about.
    for object in &mut objects {
        object.targets = Vec::new();
    }
    let mut skipped = if chosen.everything() && chosen.definitions() {
        uncovered::check(session, !chosen.without(Without::Subscriptions), reading.allow_incomplete).await?
    } else {
        Vec::new()
    };
    for (object, reason) in &left_out {
        tracing::warn!(object, reason, "left out");
    }
    skipped.extend(left_out);
    let depends = rows.iter().flat_map(DependRow::depends).collect();
    Ok(Catalog { objects, facets, depends, database, skipped, warnings })
}

/// What one question brought.
enum Answer {
    Objects(Vec<Object>),
    Depends(Vec<DependRow>),
    Extensions(Vec<facets::extension::Row>),
    Comments(Vec<facets::comment::Row>),
    Labels(Vec<facets::label::Row>),
    Privileges(Vec<facets::privilege::Row>),
}

/// What all questions brought.
#[derive(Default)]
struct Answers {
    objects: Vec<Object>,
    depends: Vec<DependRow>,
    extensions: Vec<facets::extension::Row>,
    facets: FacetRows,
}

/// The facets of everything, wanted or not.
#[derive(Default)]
struct FacetRows {
    comments: Vec<facets::comment::Row>,
    labels: Vec<facets::label::Row>,
    privileges: Vec<facets::privilege::Row>,
}

impl Answers {
    fn sorted(answers: Vec<Answer>) -> Self {
        let mut all = Answers::default();
        for answer in answers {
            match answer {
                Answer::Objects(objects) => all.objects.extend(objects),
                Answer::Depends(rows) => all.depends = rows,
                Answer::Extensions(rows) => all.extensions = rows,
                Answer::Comments(rows) => all.facets.comments = rows,
                Answer::Labels(rows) => all.facets.labels = rows,
                Answer::Privileges(rows) => all.facets.privileges = rows,
            }
        }
        all
    }
}

/// The questions that look at all kinds of objects, without what the selection leaves out whatever its name.
fn questions_about_all(version: ServerVersion, without: &[&str]) -> Vec<Asked<Answer>> {
    vec![
        asked("dependencies", DEPENDS, version, without, Answer::Depends),
        asked("ties to extensions", facets::extension::QUESTION, version, without, Answer::Extensions),
        asked("comments", facets::comment::QUESTION, version, without, Answer::Comments),
        asked("security labels", facets::label::QUESTION, version, without, Answer::Labels),
        asked("privileges", facets::privilege::QUESTION, version, without, Answer::Privileges),
    ]
}

/// The questions of these kinds, in the same way.
fn questions_of_kinds(
    kinds: Vec<(usize, &'static objects::Kind)>,
    version: ServerVersion,
    without: &[&str],
) -> Vec<Asked<Answer>> {
    let mut all: Vec<Asked<Answer>> = Vec::new();
    let mut places: HashMap<&'static str, usize> = HashMap::new();
    for (rank, kind) in kinds {
        let answers = Arc::new(Together::new(kind.questions.len()));
        for (place, question) in kind.questions.iter().enumerate() {
            let answers = Arc::clone(&answers);
            let read: asking::Read<Answer> = Box::new(move |rows| {
                let objects = answers.complete(place, rows).map(|rows| (kind.objects)(&rows)).transpose()?;
                let objects = objects.into_iter().flatten();
                let rank = |object: &Object| if object.whole.early { objects::behind_extensions() } else { rank };
                let ranked = objects.map(|object| (rank(&object), object)).map(|(rank, object)| object.ranked(rank));
                Ok(Answer::Objects(ranked.collect()))
            });
            match places.entry(question.0) {
                Entry::Occupied(asked) => all[*asked.get()].read.push(read),
                Entry::Vacant(new) => {
                    new.insert(all.len());
                    let sql = question.for_server_without(version, without);
                    all.push(Asked { about: kind.name, sql, read: vec![read] });
                }
            }
        }
    }
    all
}

/// The answers to the questions of one kind, until all are there.
struct Together(Mutex<Vec<Option<Rows>>>);

impl Together {
    fn new(questions: usize) -> Self {
        Together(Mutex::new(vec![None; questions]))
    }

    /// Takes one, and gives all back when it was the last.
    fn complete(&self, place: usize, rows: Rows) -> Option<Vec<Rows>> {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers[place] = Some(rows);
        answers.iter().all(Option::is_some).then(|| std::mem::take(&mut *answers).into_iter().flatten().collect())
    }
}

fn asked<R: DeserializeOwned + 'static>(
    about: &'static str,
    question: Question,
    version: ServerVersion,
    without: &[&str],
    answer: fn(Vec<R>) -> Answer,
) -> Asked<Answer> {
    Asked {
        about,
        sql: question.for_server_without(version, without),
        read: vec![Box::new(move |rows| decode(&rows).map(answer))],
    }
}

/// An ownership ties a sequence and a table; where only one of them was selected there is nothing to tie, as with `pg_dump -t`.
/// Attachments and memberships of publications come along with the partition and the publication alone: the target may have
/// the other one.
fn drop_half_ownerships(objects: &mut Vec<Object>) {
    let ties = |object: &Object| object.whole.desc == "SEQUENCE OWNED BY";
    if !objects.iter().any(ties) {
        return;
    }
    let provided: AddressSet =
        objects.iter().flat_map(|object| object.whole.provides.iter().map(|address| address.whole())).collect();
    objects.retain(|object| !ties(object) || object.whole.needs.iter().all(|need| provided.contains(&need.whole())));
}

/// The tables to lock: those that are wanted, and configuration tables of extensions, if their rows are. Other relations
/// cannot be locked by a reader, or need not be (`getTables`, `src/bin/pg_dump/pg_dump.c`).
fn wanted<'a>(relations: &'a Relations, chosen: &Chosen) -> Vec<&'a Relation> {
    let is_wanted = |relation: &&Relation| {
        matches!(relation.kind, 'r' | 'p')
            && match relation.extension {
                None => chosen.relation(relation.oid),
                Some(_) => relation.configuration && relation.readable == Some(true) && chosen.rows_of(relation.oid),
            }
    };
    relations.relations.iter().filter(is_wanted).collect()
}

/// The sequences whose values are wanted.
fn valued<'a>(relations: &'a Relations, chosen: &Chosen) -> impl Iterator<Item = &'a Relation> {
    let is_dumped = |relation: &&Relation| relation.extension.is_none() || relation.configuration;
    let sequences = relations.relations.iter().filter(|relation| relation.kind == 'S').filter(is_dumped);
    sequences.filter(move |relation| chosen.rows_of(relation.oid))
}

/// Holds what the snapshot has against the locks that were taken before it.
async fn check_locks(session: &Session, relations: &Relations, chosen: &Chosen, lock_late: bool) -> Result<(), Unread> {
    relations::check_readable(&valued(relations, chosen).collect::<Vec<_>>(), &relations.role)?;
    let locked = relations::locked(session).await?;
    let missing: Vec<&Relation> =
        wanted(relations, chosen).into_iter().filter(|relation| !locked.contains(&relation.oid)).collect();
    let Some(first) = missing.first() else { return Ok(()) };
    let appeared = |on: String| {
        let error = Error::new(Kind::Database, "it was made or rewritten while the dump began").on(on);
        Unread { error, about: None, appeared: true }
    };
    if !lock_late {
        return Err(appeared(first.label()));
    }
    relations::check_readable(&missing, &relations.role)?;
    relations::lock(session, &missing).await?;
    let rewritten = relations::rewritten(session, &missing).await?;
    match missing.iter().find(|relation| Some(relation.oid) == rewritten) {
        Some(relation) => Err(appeared(relation.label())),
        None => Ok(()),
    }
}

/// What extensions made.
struct Members {
    /// Each member with its extension.
    extensions: AddressMap<Address>,
    relations: HashSet<Oid>,
}

impl Members {
    fn of(rows: &[DependRow], relations: &Relations) -> Self {
        let members = rows.iter().filter(|row| row.member).flat_map(DependRow::depends);
        let relations = relations.relations.iter().filter(|relation| relation.extension.is_some());
        Members {
            extensions: members.map(|depend| (depend.from, depend.to)).collect(),
            relations: relations.map(|relation| relation.oid).collect(),
        }
    }

    /// Whether an extension makes this object, or the relation that it hangs on. Rows of configuration tables and
    /// policies are the user's all the same.
    fn holds(&self, object: &Object) -> bool {
        let item = &object.whole;
        if matches!(item.desc, "TABLE DATA" | "SEQUENCE SET" | "POLICY" | "EXTENSION") {
            return false;
        }
        let hangs_on_member = object.belongs.relation.is_some_and(|relation| self.relations.contains(&relation));
        hangs_on_member || self.extensions.contains_key(&item.address.whole())
    }
}

/// Gives the facets' items, and what else facets are about, with a word for the facet.
fn facets(
    found: &FacetRows,
    objects: &[Object],
    made_by_extensions: &[Object],
    members: &Members,
    chosen: &Chosen,
) -> (Vec<Item>, Vec<(&'static str, Address)>) {
    let FacetRows { comments, labels, privileges } = found;
    let mut subjects = Subjects::of(objects);
    // Of what an extension makes, comments come with the extension, and so are asked for first.
    let comments = facets::comment::items(comments, &subjects);
    for object in made_by_extensions.iter().filter(|_| chosen.definitions()) {
        if let Some(extension) = chosen.extension_of(members.extensions.get(&object.whole.address.whole())) {
            subjects.add(object, Some(extension));
        }
    }
    let (mut items, mut homeless) = (Vec::new(), Vec::new());
    for (left_out, word, facets) in [
        (Without::Privileges, PRIVILEGES, facets::privilege::items(privileges, &subjects)),
        (Without::Comments, COMMENT, comments),
        (Without::SecurityLabels, LABEL, facets::label::items(labels, &subjects)),
    ] {
        if chosen.without(left_out) {
            continue;
        }
        homeless.extend(facets.homeless.into_iter().map(|address| (word, address)));
        // Comments are often the only ones, and as many as the objects: they are not copied.
        if items.is_empty() {
            items = facets.items;
        } else {
            items.extend(facets.items);
        }
    }
    (items, homeless)
}

/// Objects of what PostgreSQL brings along and has other privileges than it came with.
fn system_objects(found: &FacetRows, chosen: &Chosen) -> Vec<Object> {
    if !chosen.definitions() || !chosen.whole_schemas() || chosen.without(Without::Privileges) {
        return Vec::new();
    }
    let of_system = found.privileges.iter().filter_map(facets::privilege::system_item);
    of_system.map(|item| Object { rank: KINDS.len(), ..Object::simple(item, Belongs::default()) }).collect()
}
