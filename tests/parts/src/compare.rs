//! Says whether two databases hold the same, without any tool but SQL.

use std::collections::BTreeMap;

use crate::Result;
use crate::server::Server;

/// The name of a thing and a digest of it: `table shop.orders` and its number of rows and MD5, for instance.
pub type Fingerprints = BTreeMap<String, String>;

/// Every table with rows, as SQL reads it: a plain table alone, a partitioned one with all of its partitions.
///
/// Partitions of a hash are not looked at alone, for the hash of an enum follows from numbers that the server gives out
/// anew: a restore may put a row into another partition. Foreign partitions lie elsewhere and are not asked. Materialized views count when they are filled. Columns are read in
/// the order of their names, for stock puts a parent's columns first in the copy of a child. From 19 on places in the log are
/// written otherwise.
const TABLES: &str = "
SELECT CASE c.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END || format('%I.%I', n.nspname, c.relname),
(SELECT string_agg(format(CASE a.atttypid WHEN 'pg_lsn'::regtype THEN 't.%I - ''0/0''' ELSE 't.%I' END, a.attname), ', ' ORDER BY a.attname) FROM pg_attribute a
 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
AND (c.relkind <> 'm' OR c.relispopulated)
AND NOT EXISTS (SELECT FROM pg_inherits i JOIN pg_partitioned_table p ON p.partrelid = i.inhparent
                WHERE i.inhrelid = c.oid AND p.partstrat = 'h')
AND NOT (c.relkind = 'p' AND EXISTS (SELECT FROM pg_partition_tree(c.oid) part JOIN pg_class f ON f.oid = part.relid
                                     WHERE f.relkind = 'f'))
ORDER BY 1";

/// Settings that change how rows are written as text, the same for both sides, for databases and roles may have them
/// otherwise.
const SETTINGS: &str = "SET extra_float_digits = 3; SET search_path = ''; SET row_security = off; SET DateStyle = ISO; \
    SET TimeZone = UTC; SET IntervalStyle = postgres; SET bytea_output = hex";

const SEQUENCES: &str =
    "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' ORDER BY 1";

/// The rows of every table and materialized view, the state of every sequence, and every large object with its owner.
///
/// Rows are compared as text in any order; a difference in settings that change text (`DateStyle`) is none in data,
/// so both sides are read with the same ones.
pub fn data(server: &Server, database: &str) -> Result<Fingerprints> {
    let mut prints = Fingerprints::new();
    let names = |question: &str| -> Result<Vec<String>> {
        Ok(server.rows(database, question)?.into_iter().flatten().flatten().collect())
    };
    let mut questions = Vec::new();
    for row in server.rows(database, TABLES)? {
        let mut fields = row.into_iter().map(Option::unwrap_or_default);
        let (table, columns) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        let name = format!("table {}", table.trim_start_matches("ONLY "));
        questions.push((name, rows_question(&table, &columns)));
    }
    for sequence in names(SEQUENCES)? {
        let question = format!("SELECT last_value || ' ' || is_called FROM {sequence}");
        questions.push((format!("sequence {sequence}"), question));
    }
    // A connection for each would take longer than all the answers, and one for all would need too many locks at once.
    for some in questions.chunks(50) {
        let asked: Vec<&str> = some.iter().map(|(_, question)| question.as_str()).collect();
        let answers = server.rows(database, &format!("{SETTINGS}; {}", asked.join("; ")))?;
        if answers.len() != some.len() {
            return Err(format!("{} questions have {} answers", some.len(), answers.len()));
        }
        let answers = answers.into_iter().map(|row| row.into_iter().next().flatten().unwrap_or_default());
        prints.extend(some.iter().map(|(name, _)| name.clone()).zip(answers));
    }
    let large = "SELECT oid, md5(lo_get(oid)) || ' ' || pg_get_userbyid(lomowner) || ' ' || coalesce(lomacl::text, '')
                 FROM pg_largeobject_metadata";
    for row in server.rows(database, large)? {
        let mut fields = row.into_iter().map(Option::unwrap_or_default);
        let (oid, state) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        prints.insert(format!("large object {oid}"), state);
    }
    Ok(prints)
}

/// The number and a digest of a relation's rows. A row as text would hide the difference between no columns and one NULL,
/// but a schema comparison shows it.
fn rows_question(table: &str, columns: &str) -> String {
    format!(
        "SELECT count(*) || ' rows ' || md5(coalesce(string_agg(row_text, E'\\n' ORDER BY row_text COLLATE \"C\"), ''))
         FROM (SELECT ROW({columns})::text AS row_text FROM {table} t) rows"
    )
}

/// The rows that every filled materialized view would have if it were refreshed now: a restore refreshes them, so this is
/// what a copy must hold. Nothing is changed, for the transaction is rolled back.
pub fn refreshed(server: &Server, database: &str) -> Result<Fingerprints> {
    let views = server.rows(
        database,
        "SELECT format('%I.%I', n.nspname, c.relname), (SELECT string_agg(format('t.%I', a.attname), ', ' ORDER BY a.attname)
            FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'm' AND c.relispopulated ORDER BY c.oid",
    )?;
    let views: Vec<(String, String)> = views
        .into_iter()
        .filter_map(|row| {
            let mut fields = row.into_iter().flatten();
            Some((fields.next()?, fields.next().unwrap_or_default()))
        })
        .collect();
    let refreshes: String = views.iter().map(|(name, _)| format!("REFRESH MATERIALIZED VIEW {name}; ")).collect();
    let questions: String = views.iter().map(|(name, columns)| format!("{}; ", rows_question(name, columns))).collect();
    let rows = server.rows(database, &format!("BEGIN; {refreshes}{SETTINGS}; {questions}ROLLBACK"))?;
    let prints = rows.into_iter().map(|row| row.into_iter().flatten().next().unwrap_or_default());
    Ok(views.into_iter().map(|(name, _)| format!("table {name}")).zip(prints).collect())
}

/// Each row a name and a definition; what the server itself can put in words.
const SCHEMA: [(&str, &str); 9] = [
    (
        "relation",
        "SELECT c.oid::regclass, c.relkind::text || ' ' || pg_get_userbyid(c.relowner) || ' ' || coalesce((SELECT string_agg(a::text, ',' ORDER BY a::text) FROM unnest(c.relacl) a), '') || ' ' || coalesce(c.reloptions::text, '') || c.relrowsecurity || c.relforcerowsecurity || c.relreplident::text || c.relpersistence::text || coalesce(pg_get_expr(c.relpartbound, c.oid), '') || coalesce(pg_get_partkeydef(c.oid), '') || coalesce(obj_description(c.oid, 'pg_class'), '') FROM pg_class c WHERE c.relkind <> 't' AND c.relnamespace IN (SELECT oid FROM mine)",
    ),
    (
        "column",
        "SELECT a.attrelid::regclass || ' ' || a.attname, format_type(a.atttypid, a.atttypmod) || a.attnotnull || a.attidentity::text || a.attgenerated::text || a.attstorage::text || coalesce(pg_get_expr(d.adbin, d.adrelid), '') || coalesce(a.attacl::text, '') || coalesce(col_description(a.attrelid, a.attnum), '') FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind <> 't' AND c.relnamespace IN (SELECT oid FROM mine)",
    ),
    (
        "index",
        "SELECT i.indexrelid::regclass, pg_get_indexdef(i.indexrelid) || i.indisclustered || i.indisreplident FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relnamespace IN (SELECT oid FROM mine)",
    ),
    (
        "constraint",
        "SELECT conname || ' on ' || conrelid::regclass || contypid::regtype, pg_get_constraintdef(oid) || coalesce(obj_description(oid, 'pg_constraint'), '') FROM pg_constraint WHERE connamespace IN (SELECT oid FROM mine)",
    ),
    (
        "view",
        "SELECT c.oid::regclass, pg_get_viewdef(c.oid) FROM pg_class c WHERE c.relkind IN ('v', 'm') AND c.relnamespace IN (SELECT oid FROM mine)",
    ),
    (
        "routine",
        "SELECT p.oid::regprocedure, CASE p.prokind WHEN 'a' THEN p.prokind::text ELSE pg_get_functiondef(p.oid) END || pg_get_userbyid(p.proowner) || coalesce(p.proacl::text, '') FROM pg_proc p WHERE p.pronamespace IN (SELECT oid FROM mine)",
    ),
    (
        "trigger",
        "SELECT tgname || ' on ' || tgrelid::regclass, pg_get_triggerdef(oid) || tgenabled::text FROM pg_trigger WHERE NOT tgisinternal",
    ),
    (
        "rule",
        "SELECT rulename || ' on ' || ev_class::regclass, pg_get_ruledef(oid) || ev_enabled::text FROM pg_rewrite WHERE ev_class IN (SELECT oid FROM pg_class WHERE relnamespace IN (SELECT oid FROM mine))",
    ),
    (
        "policy",
        "SELECT polname || ' on ' || polrelid::regclass, polcmd::text || polpermissive || coalesce(pg_get_expr(polqual, polrelid), '') || coalesce(pg_get_expr(polwithcheck, polrelid), '') FROM pg_policy",
    ),
];

/// What the server says about relations, columns, indexes, constraints, views, routines, triggers, rules and policies.
/// Coarser than the oracle, but always at hand.
pub fn schema(server: &Server, database: &str) -> Result<Fingerprints> {
    let mut prints = Fingerprints::new();
    for (kind, question) in SCHEMA {
        let question = format!(
            "SET search_path = ''; WITH mine AS (SELECT oid FROM pg_catalog.pg_namespace n WHERE nspname !~ '^pg_' AND nspname <> 'information_schema') {question}"
        );
        for row in server.rows(database, &question).map_err(|error| format!("{kind}: {error}"))? {
            let mut fields = row.into_iter().map(Option::unwrap_or_default);
            let (name, definition) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
            prints.insert(format!("{kind} {name}"), definition);
        }
    }
    Ok(prints)
}

/// What differs, one line each; empty when the two are equal.
pub fn differences(left: &Fingerprints, right: &Fingerprints) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, value) in left {
        match right.get(name) {
            None => lines.push(format!("{name}: only on the left: {value}")),
            Some(other) if other != value => lines.push(format!("{name}: {value}\n    but: {other}")),
            Some(_) => {}
        }
    }
    lines.extend(
        right
            .iter()
            .filter(|(name, _)| !left.contains_key(*name))
            .map(|(name, value)| format!("{name}: only on the right: {value}")),
    );
    lines
}
