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
SELECT 'base type' AS what, n.nspname AS schema, t.typname AS name, t.oid, 'pg_catalog.pg_type'::pg_catalog.regclass AS class
FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE (t.typtype = 'p' OR t.typtype = 'b' AND NOT EXISTS (SELECT FROM pg_catalog.pg_type e WHERE e.typarray = t.oid))
UNION ALL SELECT 'operator', n.nspname, o.oprname, o.oid, 'pg_catalog.pg_operator'::pg_catalog.regclass
FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
UNION ALL SELECT 'operator class', n.nspname, o.opcname, o.oid, 'pg_catalog.pg_opclass'::pg_catalog.regclass
FROM pg_catalog.pg_opclass o JOIN pg_catalog.pg_namespace n ON n.oid = o.opcnamespace
UNION ALL SELECT 'operator family', n.nspname, o.opfname, o.oid, 'pg_catalog.pg_opfamily'::pg_catalog.regclass
FROM pg_catalog.pg_opfamily o JOIN pg_catalog.pg_namespace n ON n.oid = o.opfnamespace
UNION ALL SELECT 'cast', NULL, pg_catalog.format_type(c.castsource, NULL) || ' as ' || pg_catalog.format_type(c.casttarget, NULL),
c.oid, 'pg_catalog.pg_cast'::pg_catalog.regclass FROM pg_catalog.pg_cast c
UNION ALL SELECT 'transform', NULL, pg_catalog.format_type(t.trftype, NULL), t.oid, 'pg_catalog.pg_transform'::pg_catalog.regclass
FROM pg_catalog.pg_transform t
UNION ALL SELECT 'collation', n.nspname, c.collname, c.oid, 'pg_catalog.pg_collation'::pg_catalog.regclass
FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
UNION ALL SELECT 'conversion', n.nspname, c.conname, c.oid, 'pg_catalog.pg_conversion'::pg_catalog.regclass
FROM pg_catalog.pg_conversion c JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace
UNION ALL SELECT 'access method', NULL, a.amname, a.oid, 'pg_catalog.pg_am'::pg_catalog.regclass FROM pg_catalog.pg_am a
UNION ALL SELECT 'language', NULL, l.lanname, l.oid, 'pg_catalog.pg_language'::pg_catalog.regclass FROM pg_catalog.pg_language l
UNION ALL SELECT 'text search parser', n.nspname, p.prsname, p.oid, 'pg_catalog.pg_ts_parser'::pg_catalog.regclass
FROM pg_catalog.pg_ts_parser p JOIN pg_catalog.pg_namespace n ON n.oid = p.prsnamespace
UNION ALL SELECT 'text search template', n.nspname, t.tmplname, t.oid, 'pg_catalog.pg_ts_template'::pg_catalog.regclass
FROM pg_catalog.pg_ts_template t JOIN pg_catalog.pg_namespace n ON n.oid = t.tmplnamespace
UNION ALL SELECT 'text search dictionary', n.nspname, d.dictname, d.oid, 'pg_catalog.pg_ts_dict'::pg_catalog.regclass
FROM pg_catalog.pg_ts_dict d JOIN pg_catalog.pg_namespace n ON n.oid = d.dictnamespace
UNION ALL SELECT 'text search configuration', n.nspname, c.cfgname, c.oid, 'pg_catalog.pg_ts_config'::pg_catalog.regclass
FROM pg_catalog.pg_ts_config c JOIN pg_catalog.pg_namespace n ON n.oid = c.cfgnamespace
UNION ALL SELECT 'foreign-data wrapper', NULL, f.fdwname, f.oid, 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass
FROM pg_catalog.pg_foreign_data_wrapper f
UNION ALL SELECT 'foreign server', NULL, s.srvname, s.oid, 'pg_catalog.pg_foreign_server'::pg_catalog.regclass
FROM pg_catalog.pg_foreign_server s
UNION ALL SELECT 'event trigger', NULL, e.evtname, e.oid, 'pg_catalog.pg_event_trigger'::pg_catalog.regclass
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
