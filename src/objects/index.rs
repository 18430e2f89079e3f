//! Indexes that belong to no constraint, and the attachment of partitions' indexes to their parents'.

use super::{Kind, each};
use crate::error::Result;
use crate::model::{Address, Belongs, Item, Object, Oid, Question, Rows, Section, Target, class, ident, qualified};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "indexes", questions: &[QUESTION], objects };

/// Invalid indexes are left out as in `getIndexes` (`pg_dump.c`), save for a partitioned table's, which is invalid until
/// every partition has its part. The statistics targets are those of expression columns.
///
/// `pg_get_indexdef` looks each name up by itself, which takes most of the time where there are thousands of indexes. What it
/// writes of an index of bare columns, with nothing that differs from the default, is put together here from joins
/// (`pg_get_indexdef_worker`, `src/backend/utils/adt/ruleutils.c`); it writes all others. An operator class is told from the
/// default only where the column's type is the very one that it is for.
const QUESTION: Question = Question(
    "WITH keys AS MATERIALIZED (
    SELECT i.indexrelid, i.indrelid, i.indnkeyatts, place, i.indkey[place] AS column, i.indclass[place] AS operator_class,
        i.indcollation[place] AS collation
    FROM pg_catalog.pg_index i, pg_catalog.generate_series(0, i.indnkeyatts - 1) place
    WHERE i.indexrelid >= 16384 AND i.indexprs IS NULL AND i.indpred IS NULL AND i.indnatts = i.indnkeyatts
        AND NOT 0 < ANY (i.indoption)
        AND NOT i.indnullsnotdistinct -- <15:
), plain AS MATERIALIZED (
    SELECT k.indexrelid, pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY k.place) AS columns
    FROM keys k
    JOIN pg_catalog.pg_attribute a ON a.attrelid = k.indrelid AND a.attnum = k.column AND a.attcollation = k.collation
    JOIN pg_catalog.pg_opclass oc ON oc.oid = k.operator_class AND oc.opcdefault AND oc.opcintype = a.atttypid
    JOIN pg_catalog.pg_attribute own ON own.attrelid = k.indexrelid AND own.attnum = k.place + 1 AND own.attoptions IS NULL
    GROUP BY k.indexrelid, k.indnkeyatts HAVING count(*) = k.indnkeyatts
)
SELECT i.indexrelid AS oid, n.nspname AS schema, c.relname AS name, o.rolname AS owner,
    coalesce(ts.spcname, '') AS tablespace, -- !tablespaces: '' AS tablespace,
    c.relkind AS kind,
    t.oid AS table_oid, tn.nspname AS table_schema, t.relname AS table_name, t.relkind AS table_kind,
    CASE WHEN k.oid IS NOT NULL THEN ''
        WHEN plain.columns IS NOT NULL AND c.relkind = 'i' AND c.reloptions IS NULL
            THEN 'CREATE ' || CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END || 'INDEX '
                || pg_catalog.quote_ident(c.relname) || ' ON ' || pg_catalog.quote_ident(tn.nspname) || '.'
                || pg_catalog.quote_ident(t.relname) || ' USING ' || pg_catalog.quote_ident(am.amname)
                || ' (' || plain.columns || ')'
        ELSE pg_catalog.pg_get_indexdef(i.indexrelid) END AS definition,
    i.indisclustered AS clustered, i.indisreplident AS replica_identity,
    k.oid AS constraint_oid,
    parent.oid AS parent_oid, po.rolname AS parent_owner, pn.nspname AS parent_schema, parent.relname AS parent_name, pi.indrelid AS parent_table_oid,
    (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(a.attnum, a.attstattarget) ORDER BY a.attnum), '[]')
        FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attstattarget >= 0) AS statistics
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
LEFT JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
LEFT JOIN pg_catalog.pg_tablespace ts ON ts.oid = c.reltablespace
LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
LEFT JOIN plain ON plain.indexrelid = i.indexrelid
LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x')
LEFT JOIN pg_catalog.pg_inherits h ON h.inhrelid = i.indexrelid
LEFT JOIN pg_catalog.pg_class parent ON parent.oid = h.inhparent
LEFT JOIN pg_catalog.pg_roles po ON po.oid = parent.relowner
LEFT JOIN pg_catalog.pg_namespace pn ON pn.oid = parent.relnamespace
LEFT JOIN pg_catalog.pg_index pi ON pi.indexrelid = h.inhparent
WHERE (i.indisvalid OR t.relkind = 'p') AND i.indisready AND t.relkind IN ('r', 'p', 'm') AND t.relpersistence <> 't'
    AND tn.nspname !~ '^pg_' AND tn.nspname <> 'information_schema'
ORDER BY tn.nspname, t.relname, c.relname",
);

#[derive(Debug, Deserialize)]
struct Row {
    oid: Oid,
    schema: String,
    name: String,
    owner: Option<String>,
    tablespace: String,
    kind: char,
    table_oid: Oid,
    table_schema: String,
    table_name: String,
    table_kind: char,
    /// Empty for the index of a constraint.
    definition: String,
    clustered: bool,
    replica_identity: bool,
    /// Set for the index of a constraint, which makes it.
    constraint_oid: Option<Oid>,
    parent_oid: Option<Oid>,
    parent_owner: Option<String>,
    parent_schema: Option<String>,
    parent_name: Option<String>,
    parent_table_oid: Option<Oid>,
    /// Column number and statistics target.
    statistics: Vec<(i32, i32)>,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        if row.constraint_oid.is_none() {
            objects.push(index(&row));
        }
        objects.extend(attachment(&row));
        Ok(())
    })
}

fn belongs(row: &Row) -> Belongs {
    Belongs { schema: Some(row.table_schema.clone()), relation: Some(row.table_oid), owned_by: None }
}

fn relation(oid: Oid) -> Address {
    Address::new(class::RELATION, oid)
}

fn index(row: &Row) -> Object {
    let name = qualified(&row.schema, &row.name);
    let mut create = format!("{};\n", row.definition);
    for (column, target) in &row.statistics {
        create += &format!("ALTER INDEX {name} ALTER COLUMN {column} SET STATISTICS {target};\n");
    }
    create +=
        &marks(&row.table_schema, &row.table_name, row.table_kind, &row.name, row.clustered, row.replica_identity);
    let is_part = row.parent_oid.is_some();
    let item = Item {
        owner: row.owner.clone(),
        tablespace: Some(row.tablespace.clone()),
        relkind: Some(row.kind),
        section: Section::PostData,
        create,
        // A partition's index goes with its parent's, and cannot be dropped alone.
        drop: if is_part { String::new() } else { format!("DROP INDEX {name};\n") },
        needs: vec![relation(row.table_oid)],
        ..Item::new("INDEX", relation(row.oid), Some(&row.schema), &row.name)
    };
    Object::simple(item, belongs(row)).with_target(Target {
        address: relation(row.oid),
        on: format!("INDEX {name}"),
        tag: format!("INDEX {}", ident(&row.name)),
        grant: None,
        columns: None,
    })
}

/// CLUSTER ON and REPLICA IDENTITY USING INDEX, which are the table's but need the index.
pub(super) fn marks(
    schema: &str,
    table: &str,
    table_kind: char,
    index: &str,
    clustered: bool,
    replica_identity: bool,
) -> String {
    let table = qualified(schema, table);
    let mut sql = String::new();
    if clustered {
        let word = if table_kind == 'm' { "MATERIALIZED VIEW" } else { "TABLE" };
        sql += &format!("ALTER {word} {table} CLUSTER ON {};\n", ident(index));
    }
    if replica_identity {
        sql += &format!("ALTER TABLE ONLY {table} REPLICA IDENTITY USING INDEX {};\n", ident(index));
    }
    sql
}

/// Stands for "this index is attached to its parent". The class is `pg_inherits`, whose rows `pg_depend` never names.
pub(super) fn attached(index: Oid) -> Address {
    Address::new(Oid(2611), index)
}

/// Ties a partition's index, a constraint's included, to its parent's.
fn attachment(row: &Row) -> Option<Object> {
    let parent = qualified(row.parent_schema.as_deref()?, row.parent_name.as_deref()?);
    let child = qualified(&row.schema, &row.name);
    let item = Item {
        owner: row.parent_owner.clone(),
        section: Section::PostData,
        create: format!("ALTER INDEX {parent} ATTACH PARTITION {child};\n"),
        // A foreign key to the partitioned table needs every partition's index in its place.
        provides: vec![attached(row.oid)],
        needs: vec![
            relation(row.oid),
            relation(row.parent_oid?),
            relation(row.table_oid),
            relation(row.parent_table_oid?),
        ],
        ..Item::new("INDEX ATTACH", Address::default(), Some(&row.schema), &row.name)
    };
    Some(Object::simple(item, belongs(row)))
}
