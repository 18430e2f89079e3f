//! The guard of completeness: what a database holds and no kind describes, or the connected role may not read, is found
//! and named, never left out in silence.

use crate::error::{Error, Kind, Result};
use crate::model::item::label;
use crate::model::{Oid, Question, class};
use crate::postgres::Session;
use serde::Deserialize;

/// So many names stand in the error.
const NAMES_SHOWN: usize = 10;

/// The catalogs whose rows kinds describe, as objects of their own or as parts of others (`pg_amop`, `pg_amproc`).
const COVERED: &[Oid] = &[
    class::RELATION,
    class::FUNCTION,
    class::TYPE,
    class::SCHEMA,
    class::CONSTRAINT,
    class::DEFAULT,
    class::TRIGGER,
    class::RULE,
    class::POLICY,
    class::STATISTICS,
    class::EXTENSION,
    class::DEFAULT_ACL,
    class::LARGE_OBJECT,
    class::DATABASE,
    class::LANGUAGE,
    class::CAST,
    class::COLLATION,
    class::CONVERSION,
    class::OPERATOR,
    class::OPERATOR_CLASS,
    class::OPERATOR_FAMILY,
    class::OPERATOR_OF_FAMILY,
    class::FUNCTION_OF_FAMILY,
    class::ACCESS_METHOD,
    class::TS_CONFIGURATION,
    class::TS_DICTIONARY,
    class::TS_PARSER,
    class::TS_TEMPLATE,
    class::FOREIGN_DATA_WRAPPER,
    class::FOREIGN_SERVER,
    class::USER_MAPPING,
    class::EVENT_TRIGGER,
    class::PUBLICATION,
    class::PUBLICATION_TABLE,
    class::PUBLICATION_SCHEMA,
    class::SUBSCRIPTION,
    class::TRANSFORM,
];

/// One row for each catalog that is not covered and has rows of users' making, without members of extensions: every object
/// depends on something, if only on its owner. A newer server may have catalogs that this pgstow has never heard of.
/// OFFSET 0 has the rows of one catalog after the other looked up, which are none as a rule, instead of all that there are.
const CLASSES: Question = Question(
    "SELECT q.classid::pg_catalog.regclass::text AS catalog, q.count,
    pg_catalog.pg_describe_object(q.classid, q.first, 0) AS example
FROM (
    SELECT c.oid AS classid, count(DISTINCT d.objid) AS count, min(d.objid) AS first
    FROM pg_catalog.pg_class c
    CROSS JOIN LATERAL (
        SELECT p.objid FROM pg_catalog.pg_depend p WHERE p.classid = c.oid AND p.objid >= 16384
        UNION ALL SELECT s.objid FROM pg_catalog.pg_shdepend s
        JOIN pg_catalog.pg_database b ON b.oid = s.dbid AND b.datname = pg_catalog.current_database()
        WHERE s.classid = c.oid AND s.objid >= 16384 OFFSET 0
    ) d
    WHERE c.oid < 16384 AND c.relkind = 'r' AND c.oid <> ALL (covered) AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend e WHERE e.classid = c.oid AND e.objid = d.objid AND e.deptype = 'e')
    GROUP BY c.oid
) q
ORDER BY q.classid",
);

/// Stands in [`CLASSES`] for the list of what is [`COVERED`].
const COVERED_WORD: &str = "(covered)";

#[derive(Debug, Deserialize)]
struct ClassRow {
    catalog: String,
    count: u64,
    /// `pg_describe_object` of one of them; `None` when it was dropped since the snapshot.
    example: Option<String>,
}

/// The subscriptions, where their connections may not be read: `pg_subscription.subconninfo` is for superusers.
const SUBSCRIPTIONS: Question = Question(
    "SELECT s.subname AS name FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
WHERE d.datname = pg_catalog.current_database()
AND NOT pg_catalog.has_column_privilege('pg_catalog.pg_subscription', 'subconninfo', 'SELECT')
ORDER BY s.subname",
);

#[derive(Debug, Deserialize)]
struct NameRow {
    name: String,
}

/// The user mappings whose options the view hides, whether they have any or not (`pg_user_mappings`,
/// `src/backend/catalog/system_views.sql`).
const MAPPINGS: Question = Question(
    "SELECT m.usename || ' SERVER ' || m.srvname AS name
FROM pg_catalog.pg_user_mappings m JOIN pg_catalog.pg_foreign_server s ON s.oid = m.srvid
WHERE m.umoptions IS NULL
AND NOT (m.umuser <> 0 AND m.usename = CURRENT_USER
AND (pg_catalog.pg_has_role(s.srvowner, 'USAGE') OR pg_catalog.has_server_privilege(s.oid, 'USAGE')))
AND NOT (m.umuser = 0 AND pg_catalog.pg_has_role(s.srvowner, 'USAGE'))
AND NOT (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = CURRENT_USER)
ORDER BY m.srvname, m.usename",
);

const MAY_READ_SUBSCRIPTIONS: Question = Question(
    "SELECT pg_catalog.has_column_privilege('pg_catalog.pg_subscription', 'subconninfo', 'SELECT') AS readable",
);

#[derive(Debug, Deserialize)]
struct ReadableRow {
    readable: bool,
}

/// Whether the question about subscriptions may be asked.
pub(super) async fn may_read_subscriptions(session: &Session) -> Result<bool> {
    let rows: Vec<ReadableRow> = session.question(&MAY_READ_SUBSCRIPTIONS.for_server(session.version())).await?;
    Ok(rows.iter().all(|row| row.readable))
}

/// The objects that are missing in this dump, each with the reason; subscriptions only where they are wanted.
///
/// Errors: [`Kind::Incomplete`] naming them, unless they are allowed to be missing.
pub(super) async fn check(
    session: &Session,
    with_subscriptions: bool,
    allow_incomplete: bool,
) -> Result<Vec<(String, String)>> {
    let version = session.version();
    let covered: Vec<String> = COVERED.iter().map(Oid::to_string).collect();
    let covered = format!("('{{{}}}')", covered.join(","));
    let classes: Vec<ClassRow> = session.question(&CLASSES.for_server(version).replace(COVERED_WORD, &covered)).await?;
    let subscriptions: Vec<NameRow> = session.question(&SUBSCRIPTIONS.for_server(version)).await?;
    let mappings: Vec<NameRow> = session.question(&MAPPINGS.for_server(version)).await?;
    let mut missing: Vec<(String, String)> = classes.iter().map(unknown).collect();
    missing.extend(mappings.iter().map(|row| {
        let reason = "may be read by its user, and by superusers; for PUBLIC, by the server's owner";
        (format!("options of {}", label("USER MAPPING", None, &row.name)), reason.to_owned())
    }));
    missing.extend(subscriptions.iter().filter(|_| with_subscriptions).map(|row| {
        let reason = "its connection string may be read by superusers only";
        (label("SUBSCRIPTION", None, &row.name), reason.to_owned())
    }));
    if missing.is_empty() || allow_incomplete {
        for (object, reason) in &missing {
            tracing::warn!(object, reason, "left out");
        }
        return Ok(missing);
    }
    let more = missing.len().saturating_sub(NAMES_SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let shown = missing.iter().take(NAMES_SHOWN).map(|(object, reason)| format!("{object} ({reason})"));
    let shown = shown.collect::<Vec<_>>().join(", ");
    Err(Error::new(Kind::Incomplete, format!("this database holds what cannot be dumped: {shown}{more}"))
        .hint("--allow-incomplete dumps everything else, and the manifest says what is missing"))
}

fn unknown(row: &ClassRow) -> (String, String) {
    let example = row.example.clone().unwrap_or_else(|| "objects".to_owned()).replace(['\n', '\r'], " ");
    let others = row.count.saturating_sub(1);
    let others = if others > 0 { format!(" and {others} more of its kind") } else { String::new() };
    (format!("{example}{others}"), format!("pgstow does not know what {} holds", row.catalog))
}

#[cfg(test)]
mod tests {
    use super::{ClassRow, unknown};

    #[test]
    fn a_catalog_that_no_kind_covers_is_named_with_one_of_its_objects() {
        let row = ClassRow { catalog: "pg_novelty".to_owned(), count: 3, example: Some("novelty a".to_owned()) };
        let (object, reason) = unknown(&row);
        assert_eq!(object, "novelty a and 2 more of its kind");
        assert_eq!(reason, "pgstow does not know what pg_novelty holds");
    }
}
