//! Indexes that belong to no constraint, and the attachment of partitions' indexes to their parents'.

use super::key::{KeyColumns, RIVALS, Rivals};
use super::{Kind, each, read, table};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::model::{
    Address, Belongs, Item, Object, Oid, Question, Rows, Section, Target, class, ident, item, list_or_null, qualified,
};
use serde::Deserialize;
use std::collections::{HashMap, HashSet};

pub(super) const KIND: Kind =
    Kind { name: "indexes", questions: &[QUESTION, table::COLUMNS, CLASSES, RIVALS], objects };

/// Invalid indexes are left out as in `getIndexes` (`pg_dump.c`), save for a partitioned table's, which is invalid until
/// every partition has its part. The statistics targets are those of expression columns.
///
/// `pg_get_indexdef` loads the table and looks each name up by itself, which takes most of the time where there are thousands
/// of indexes. So it is asked only for indexes that [`plain_definition`] cannot write: all but those of bare columns with
/// built-in operator classes that take no parameters. Collations up to 100 are none and the database's.
const QUESTION: Question = Question(
    "WITH classes AS MATERIALIZED (
    SELECT pg_catalog.array_agg(oc.oid) AS list FROM pg_catalog.pg_opclass oc
    JOIN pg_catalog.pg_am am ON am.oid = oc.opcmethod AND am.amname IN ('btree', 'hash')
    JOIN pg_catalog.pg_type t ON t.oid = oc.opcintype AND t.typtype <> 'p'
    WHERE oc.opcdefault AND oc.oid < 16384
), own AS MATERIALIZED (
    SELECT k.oid, k.conindid, k.conrelid FROM pg_catalog.pg_constraint k WHERE k.contype IN ('p', 'u', 'x')
), parents AS MATERIALIZED (
    SELECT h.inhrelid, c.oid, o.rolname AS owner, n.nspname AS schema, c.relname AS name, i.indrelid AS table_oid
    FROM pg_catalog.pg_inherits h
    JOIN pg_catalog.pg_index i ON i.indexrelid = h.inhparent
    JOIN pg_catalog.pg_class c ON c.oid = h.inhparent
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
)
SELECT i.indexrelid AS oid, n.nspname AS schema, c.relname AS name, o.rolname AS owner,
    coalesce(ts.spcname, '') AS tablespace, -- !tablespaces: '' AS tablespace,
    c.relkind AS kind,
    t.oid AS table_oid, tn.nspname AS table_schema, t.relname AS table_name, t.relkind AS table_kind,
    i.indisunique AS unique, am.amname AS method,
    i.indkey AS keys, i.indclass AS classes, i.indcollation AS collations, i.indoption AS options,
    CASE WHEN own.oid IS NOT NULL OR c.relkind = 'i' AND c.reloptions IS NULL AND i.indexprs IS NULL AND i.indpred IS NULL
        AND i.indnatts = i.indnkeyatts AND NOT 100 < ANY (i.indcollation) AND classes.list @> i.indclass::oid[]
        AND NOT i.indnullsnotdistinct -- <15:
        THEN NULL ELSE pg_catalog.pg_get_indexdef(i.indexrelid) END AS definition,
    i.indisclustered AS clustered, i.indisreplident AS replica_identity,
    own.oid AS constraint_oid,
    parents.oid AS parent_oid, parents.owner AS parent_owner, parents.schema AS parent_schema, parents.name AS parent_name,
    parents.table_oid AS parent_table_oid,
    CASE WHEN i.indexprs IS NOT NULL THEN (
        SELECT pg_catalog.json_agg(pg_catalog.json_build_array(a.attnum, a.attstattarget) ORDER BY a.attnum)
        FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attstattarget >= 0) END AS statistics
FROM pg_catalog.pg_index i
CROSS JOIN classes
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
LEFT JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
LEFT JOIN pg_catalog.pg_tablespace ts ON ts.oid = c.reltablespace
LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
LEFT JOIN own ON own.conindid = i.indexrelid AND own.conrelid = i.indrelid
LEFT JOIN parents ON parents.inhrelid = i.indexrelid
WHERE (i.indisvalid OR t.relkind = 'p') AND i.indisready AND t.relkind IN ('r', 'p', 'm') AND t.relpersistence <> 't'
    AND tn.nspname !~ '^pg_' AND tn.nspname <> 'information_schema'",
);

/// The operator classes that an index of bare columns may have without a word of the server. A varchar is a text to indexes.
const CLASSES: Question = Question(
    "SELECT oc.oid, oc.opcname AS name, t.oid AS default_for
FROM pg_catalog.pg_opclass oc
JOIN pg_catalog.pg_am am ON am.oid = oc.opcmethod AND am.amname IN ('btree', 'hash')
JOIN pg_catalog.pg_type t ON t.oid = oc.opcintype OR t.typname = 'varchar' AND t.oid < 16384 AND oc.opcname = 'text_ops'
WHERE oc.opcdefault AND oc.oid < 16384",
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
    unique: bool,
    /// The access method.
    method: String,
    /// The numbers of its columns, 0 for an expression.
    keys: Vec<i32>,
    /// For each key its operator class, its collation, and the bits of `INDOPTION_DESC` and `INDOPTION_NULLS_FIRST`.
    classes: Vec<Oid>,
    collations: Vec<Oid>,
    options: Vec<i32>,
    /// Where [`plain_definition`] cannot write it and no constraint makes it.
    definition: Option<String>,
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
    #[serde(deserialize_with = "list_or_null")]
    statistics: Vec<(i32, i32)>,
}

/// An operator class, once for each type that it is the default for.
#[derive(Debug, Deserialize)]
struct ClassRow {
    oid: Oid,
    name: String,
    default_for: Oid,
}

/// The operator classes of plain indexes.
struct Classes {
    names: HashMap<Oid, String>,
    defaults: HashSet<(Oid, Oid)>,
}

impl Classes {
    fn of(answer: &Rows) -> Result<Self> {
        let rows: Vec<ClassRow> = read(std::slice::from_ref(answer))?;
        let defaults = rows.iter().map(|row| (row.oid, row.default_for)).collect();
        Ok(Classes { names: rows.into_iter().map(|row| (row.oid, row.name)).collect(), defaults })
    }
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    let (columns, classes, rivals) = (KeyColumns::of(&rows[1])?, Classes::of(&rows[2])?, Rivals::of(&rows[3])?);
    each(&rows[..1], |row: Row, objects| {
        if row.constraint_oid.is_none() {
            let definition = match &row.definition {
                Some(definition) => definition.clone(),
                None => plain_definition(&row, &columns, &classes)?,
            };
            objects.push(index(&row, &definition, &rivals));
        }
        objects.extend(attachment(&row));
        Ok(())
    })
}

/// What `pg_get_indexdef` would write of an index of bare columns (`pg_get_indexdef_worker`,
/// `src/backend/utils/adt/ruleutils.c`), save that an operator class is named wherever it is not certain to be the default.
fn plain_definition(row: &Row, columns: &KeyColumns, classes: &Classes) -> Result<String> {
    const DESCENDING: i32 = 1;
    const NULLS_FIRST: i32 = 2;
    let of = || item::label("INDEX", Some(&row.schema), &row.name);
    let columns = columns.get(row.table_oid, &row.keys, of)?;
    let facts = row.classes.iter().zip(&row.collations).zip(&row.options);
    let mut keys = Vec::with_capacity(columns.len());
    for (column, ((&class, &collation), options)) in columns.into_iter().zip(facts) {
        let mut key = column.ident();
        if collation != Oid(0) && collation != column.collation {
            // Any other one is for the server to name.
            key = format!("{key} COLLATE {}", ident("default"));
        }
        if !classes.defaults.contains(&(class, column.indexed_as)) {
            let name = classes.names.get(&class);
            let unknown = || Error::new(ErrorKind::Internal, "an operator class is not known").on(of());
            key = format!("{key} {}", ident(name.ok_or_else(unknown)?));
        }
        key += match (options & DESCENDING != 0, options & NULLS_FIRST != 0) {
            (false, false) => "",
            (false, true) => " NULLS FIRST",
            (true, true) => " DESC",
            (true, false) => " DESC NULLS LAST",
        };
        keys.push(key);
    }
    let unique = if row.unique { "UNIQUE " } else { "" };
    let table = qualified(&row.table_schema, &row.table_name);
    Ok(format!(
        "CREATE {unique}INDEX {} ON {table} USING {} ({})",
        ident(&row.name),
        ident(&row.method),
        keys.join(", ")
    ))
}

fn belongs(row: &Row) -> Belongs {
    Belongs { schema: Some(row.table_schema.clone()), relation: Some(row.table_oid), owned_by: None }
}

fn relation(oid: Oid) -> Address {
    Address::new(class::RELATION, oid)
}

fn index(row: &Row, definition: &str, rivals: &Rivals) -> Object {
    let name = qualified(&row.schema, &row.name);
    let mut create = format!("{definition};\n");
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
        needs: std::iter::once(relation(row.table_oid)).chain(rivals.before(row.oid)).collect(),
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

#[cfg(test)]
mod tests {
    use super::objects;
    use crate::model::Rows;
    use serde_json::{Value, json};

    /// An index of columns 1 `id` (int4) and 2 `Text` (of collation 950) of table `app.t`, with these differences.
    fn created(changes: &Value) -> Result<String, String> {
        let mut row = json!({
            "oid": "100", "schema": "app", "name": "i", "owner": "ann", "tablespace": "", "kind": "i", "table_oid": "90",
            "table_schema": "app", "table_name": "t", "table_kind": "r", "unique": false, "method": "btree",
            "keys": "1 2", "classes": "1978 3126", "collations": "0 950", "options": "0 0", "definition": null,
            "clustered": false, "replica_identity": false, "constraint_oid": null, "parent_oid": null,
            "parent_owner": null, "parent_schema": null, "parent_name": null, "parent_table_oid": null,
            "statistics": null
        });
        for (key, value) in changes.as_object().expect("changes") {
            row[key] = value.clone();
        }
        let column = |number: i32, name: &str, indexed_as: &str, collation: &str| {
            json!({
                "relation": "90", "number": number, "name": name, "indexed_as": indexed_as, "collation_oid": collation
            })
        };
        let class = |oid: &str, name: &str, of: &str| json!({ "oid": oid, "name": name, "default_for": of });
        let answers = [
            vec![row],
            vec![column(1, "id", "23", "0"), column(2, "Text", "25", "950")],
            vec![class("1978", "int4_ops", "23"), class("1981", "oid_ops", "26"), class("3126", "text_ops", "25")],
            vec![],
        ];
        let found = objects(&answers.map(|rows| Rows::of_json(&rows))).map_err(|error| error.to_string())?;
        Ok(found[0].whole.create.clone())
    }

    fn of(keys: &str) -> String {
        format!("CREATE INDEX i ON app.t USING btree ({keys});\n")
    }

    #[test]
    fn a_plain_index_names_its_columns_alone() {
        assert_eq!(created(&json!({})), Ok(of("id, \"Text\"")));
        let unique = created(&json!({ "unique": true, "method": "hash" })).expect("a definition");
        assert!(unique.starts_with("CREATE UNIQUE INDEX i ON app.t USING hash ("), "{unique}");
    }

    #[test]
    fn whatever_differs_from_the_default_is_said() {
        assert_eq!(created(&json!({ "collations": "0 100" })), Ok(of("id, \"Text\" COLLATE \"default\"")));
        assert_eq!(created(&json!({ "classes": "1981 3126" })), Ok(of("id oid_ops, \"Text\"")));
        assert_eq!(created(&json!({ "options": "3 1" })), Ok(of("id DESC, \"Text\" DESC NULLS LAST")));
        assert_eq!(created(&json!({ "options": "2 0" })), Ok(of("id NULLS FIRST, \"Text\"")));
    }

    #[test]
    fn what_the_server_wrote_stays_and_what_cannot_be_written_is_an_error() {
        assert_eq!(created(&json!({ "definition": "as it is" })), Ok("as it is;\n".to_owned()));
        for unknown in [json!({ "keys": "1 7" }), json!({ "classes": "1978 9" })] {
            let error = created(&unknown).expect_err("it is not known");
            assert!(error.contains("index app.i"), "{error}");
        }
    }
}
