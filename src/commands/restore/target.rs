//! The target database: what is there already, what has to go first, and the database itself with `-C`.

use super::apply::{Manner, apply};
use super::choose::{Phase, Plan, Step};
use super::failures::Failures;
use super::notes::Notes;
use super::{RestoreOptions, Words, connect, statements};
use crate::commands::source::Source;
use crate::error::{Error, Kind, Result};
use crate::model::{SqlName, ident, literal};
use crate::postgres::Session;
use serde::Deserialize;
use std::collections::HashSet;

/// So many names of objects in the way are printed.
const NAMES_SHOWN: usize = 5;

#[derive(Debug, Deserialize)]
struct ExistingRow {
    kind: String,
    schema: Option<String>,
    name: String,
}

/// Everything in the target that a backup could collide with, in one question.
const EXISTING: &str = "
SELECT 'relation' AS kind, n.nspname AS schema, c.relname AS name
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
UNION ALL
SELECT 'type', n.nspname, t.typname
FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
UNION ALL
SELECT 'function', n.nspname, p.proname
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
UNION ALL
SELECT 'schema', NULL, n.nspname FROM pg_catalog.pg_namespace n";

/// Refuses a target that holds what the backup would make.
///
/// Errors: [`Kind::Target`] naming the first few objects.
pub(super) async fn refuse_existing(session: &Session, plan: &Plan) -> Result<()> {
    let rows: Vec<ExistingRow> = session.question(EXISTING).await?;
    let existing: HashSet<(String, Option<String>, String)> =
        rows.into_iter().map(|row| (row.kind, row.schema, row.name)).collect();
    let mut in_the_way = Vec::new();
    for step in &plan.steps {
        let entry = &step.entry;
        let kind = match entry.desc.as_str() {
            "TABLE" | "VIEW" | "MATERIALIZED VIEW" | "FOREIGN TABLE" | "SEQUENCE" | "INDEX" => "relation",
            "TYPE" | "DOMAIN" => "type",
            "FUNCTION" | "PROCEDURE" | "AGGREGATE" => "function",
            "SCHEMA" if entry.tag != "public" && !plan.is_partial => "schema",
            _ => continue,
        };
        // A signature's name ends where its arguments begin; a function of that name with other arguments is taken
        // for a collision too, which is the careful side.
        let name = match kind {
            "function" => entry.tag.rfind('(').map_or(entry.tag.as_str(), |end| &entry.tag[..end]),
            _ => &entry.tag,
        };
        let name = unquoted(name);
        if existing.contains(&(kind.to_owned(), entry.schema.clone(), name)) {
            in_the_way.push(step.label());
        }
    }
    if in_the_way.is_empty() {
        return Ok(());
    }
    let more = in_the_way.len().saturating_sub(NAMES_SHOWN);
    in_the_way.truncate(NAMES_SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Err(Error::new(Kind::Target, format!("the target already has {}{more}", in_the_way.join(", ")))
        .on(session.settings().describe())
        .hint("restore into an empty database, make one with -C, or drop what is there first with -c --if-exists"))
}

fn unquoted(name: &str) -> String {
    match name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => name.to_owned(),
    }
}

/// SQLSTATEs (PostgreSQL documentation, appendix A).
pub(super) const UNDEFINED_TABLE: &str = "42P01";
pub(super) const UNDEFINED_OBJECT: &str = "42704";
pub(super) const INVALID_SCHEMA_NAME: &str = "3F000";

/// `-C`: makes the database on the first connection and opens one to it.
pub(super) async fn create_database(
    first: Session,
    options: &RestoreOptions,
    plan: &Plan,
    words: &Words,
    failures: &mut Failures,
) -> Result<Session> {
    let Some(database) = plan.steps.iter().find(|step| step.entry.desc == "DATABASE") else {
        return Err(Error::new(Kind::Archive, "the backup does not say how to make its database")
            .hint("make the database yourself and restore without -C"));
    };
    if options.clean
        && let Some(sql) = statements::drop(&database.entry, options.if_exists)
    {
        first.execute(&sql).await.map_err(|error| error.on(format!("drop of {}", database.label())))?;
    }
    describe_database(&first, options, plan, failures, true).await?;
    let connection = options.connection.with_database(&database.entry.tag);
    connect(&connection, words).await
}

/// What is said of the database itself, and first what makes it.
pub(super) async fn describe_database(
    session: &Session,
    options: &RestoreOptions,
    plan: &Plan,
    failures: &mut Failures,
    make: bool,
) -> Result<()> {
    // CREATE DATABASE cannot run beside another statement, so each goes alone.
    let manner = Manner {
        choice: &options.choice,
        is_partial: plan.is_partial,
        keep_going: options.keep_going,
        notes: Notes::none(),
    };
    let wanted = |step: &&Step| step.phase == Phase::Database && (make || step.entry.desc != "DATABASE");
    for step in plan.steps.iter().filter(wanted) {
        let mut placement = statements::Placement::of(&options.choice);
        if let Err((sql, error)) = apply(session, None, step, 0, manner, &mut placement).await {
            failures.add(error.on(step.label()), &sql)?;
        }
    }
    Ok(())
}

/// Whether the server has a database of this name.
pub(super) async fn has_database(session: &Session, name: &str) -> Result<bool> {
    let sql = format!("SELECT d.datname FROM pg_catalog.pg_database d WHERE d.datname = {}", literal(name));
    Ok(!session.rows(&sql).await?.is_empty())
}

/// The refusal of `-C` where the database is there already.
pub(super) fn database_is_there(session: &Session, name: &str) -> Error {
    Error::new(Kind::Target, format!("the target already has database {}", ident(name)))
        .on(session.settings().describe())
        .hint("restore into another server, drop it first with -c -C, or restore into a database of another name without -C")
}

/// Whether nobody has made anything in this database: what is there is initdb's.
pub(super) async fn is_untouched(session: &Session) -> Result<bool> {
    let rows: Vec<ExistingRow> = session.question(EXISTING).await?;
    Ok(rows.iter().all(|row| {
        row.kind == "schema"
            && (row.name == "public" || row.name == "information_schema" || row.name.starts_with("pg_"))
    }))
}

/// What the user should know before the first statement.
pub(super) fn warnings(session: &Session, source: &Source) -> Vec<String> {
    let target = session.version().major();
    let newer = source.server_major().filter(|&major| target < major);
    let line = |source: u32| {
        format!("the backup comes from PostgreSQL {source}, the target is {target}: what is new in {source} will fail")
    };
    newer.map(line).into_iter().collect()
}

/// For messages about a qualified name of an entry.
pub(super) fn table_name(schema: Option<&str>, tag: &str) -> SqlName {
    SqlName::new(schema.unwrap_or_default(), tag)
}
