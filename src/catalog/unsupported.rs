//! What a database can hold and pgstow cannot dump yet: found and named, never left out in silence.

use crate::error::{Error, Kind, Result};
use crate::model::Question;
use crate::model::item::label;
use crate::postgres::Session;
use serde::Deserialize;

/// So many names stand in the error.
const NAMES_SHOWN: usize = 10;

/// One SELECT a kind, without members of extensions and without what PostgreSQL brings along. Take a kind out when
/// `objects::KINDS` learns it.
const QUESTION: Question = Question(
    "SELECT q.what, q.schema, q.name FROM (
SELECT 'event trigger' AS what, NULL AS schema, e.evtname AS name, e.oid, 'pg_catalog.pg_event_trigger'::pg_catalog.regclass AS class
FROM pg_catalog.pg_event_trigger e
UNION ALL SELECT 'publication', NULL, p.pubname, p.oid, 'pg_catalog.pg_publication'::pg_catalog.regclass
FROM pg_catalog.pg_publication p
UNION ALL SELECT 'subscription', NULL, s.subname, s.oid, 'pg_catalog.pg_subscription'::pg_catalog.regclass
FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
WHERE d.datname = pg_catalog.current_database()
) q
WHERE q.oid >= 16384 AND q.schema IS DISTINCT FROM 'information_schema' AND coalesce(q.schema, '') !~ '^pg_'
AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = q.class AND e.objid = q.oid AND e.deptype IN ('e', 'i'))
ORDER BY 1, 2, 3",
);

#[derive(Debug, Deserialize)]
struct Row {
    what: String,
    schema: Option<String>,
    name: String,
}

/// The objects that cannot be dumped yet, each with the reason.
///
/// Errors: [`Kind::Incomplete`] naming them, unless they are allowed to be missing.
pub(super) async fn check(session: &Session, allow_incomplete: bool) -> Result<Vec<(String, String)>> {
    let rows: Vec<Row> = session.question(&QUESTION.for_server(session.version())).await?;
    let names: Vec<String> = rows.iter().map(|row| label(&row.what, row.schema.as_deref(), &row.name)).collect();
    if names.is_empty() || allow_incomplete {
        for name in &names {
            tracing::warn!(object = name, "left out: pgstow cannot dump this kind yet");
        }
        return Ok(names.into_iter().map(|name| (name, "pgstow cannot dump this kind yet".to_owned())).collect());
    }
    let more = names.len().saturating_sub(NAMES_SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let shown = names.into_iter().take(NAMES_SHOWN).collect::<Vec<_>>().join(", ");
    Err(Error::new(Kind::Incomplete, format!("pgstow cannot dump these yet: {shown}{more}"))
        .hint("--allow-incomplete dumps everything else, and the manifest says what is missing"))
}
