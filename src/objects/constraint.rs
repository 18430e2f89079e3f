//! Constraints that come after the rows: keys, exclusions, foreign keys, and checks that are not validated.

use super::index::{attached, marks};
use super::words::option_setting;
use super::{Kind, each};
use crate::error::Result;
use crate::model::{Address, Belongs, Item, Object, Oid, Question, Rows, Section, Target, class, ident, qualified};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "constraints", questions: &[QUESTION], objects };

/// Validated checks and NOT NULLs stand in their tables. A foreign key that a partition has from its parent, or that a
/// parent has towards a partition of the referenced table, is made with the parent's (`conparentid`).
const QUESTION: Question = Question(
    "SELECT k.oid, k.conname AS name, k.contype AS type, pg_catalog.pg_get_constraintdef(k.oid) AS definition,
    t.oid AS table_oid, n.nspname AS schema, t.relname AS table_name, t.relkind AS table_kind, o.rolname AS owner,
    CASE WHEN k.contype = 'f' THEN k.confrelid ELSE 0 END AS referenced_oid,
    (SELECT coalesce(pg_catalog.json_agg(part.relid::pg_catalog.oid), '[]')
        FROM pg_catalog.pg_partition_tree(CASE WHEN k.contype = 'f' AND i.relkind = 'I' THEN k.conindid END) part
        WHERE part.parentrelid IS NOT NULL) AS attached_indexes,
    k.conindid AS index_oid, i.relname AS index_name,
    coalesce(ts.spcname, '') AS tablespace, -- !tablespaces: '' AS tablespace,
    coalesce(x.indisclustered, false) AS clustered, coalesce(x.indisreplident, false) AS replica_identity,
    CASE WHEN k.contype IN ('p', 'u') THEN coalesce(i.reloptions, '{}') ELSE '{}' END AS index_options,
    EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhrelid = k.conindid) AS is_part,
    (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(a.attnum, a.attstattarget) ORDER BY a.attnum), '[]')
        FROM pg_catalog.pg_attribute a
        WHERE k.contype IN ('p', 'u', 'x') AND a.attrelid = k.conindid AND a.attstattarget >= 0) AS statistics
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class t ON t.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
LEFT JOIN pg_catalog.pg_roles o ON o.oid = t.relowner
LEFT JOIN pg_catalog.pg_class i ON i.oid = k.conindid
LEFT JOIN pg_catalog.pg_tablespace ts ON ts.oid = i.reltablespace
LEFT JOIN pg_catalog.pg_index x ON x.indexrelid = k.conindid
WHERE (k.contype IN ('p', 'u', 'x')
        OR k.contype = 'f' AND k.conparentid = 0
        OR k.contype IN ('c', 'n') AND NOT k.convalidated AND k.conislocal)
    AND t.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, t.relname, k.conname",
);

#[derive(Debug, Deserialize)]
struct Row {
    oid: Oid,
    name: String,
    #[serde(rename = "type")]
    kind: char,
    definition: String,
    table_oid: Oid,
    schema: String,
    table_name: String,
    table_kind: char,
    owner: Option<String>,
    referenced_oid: Oid,
    /// The partitions' parts of the index that a foreign key refers to.
    attached_indexes: Vec<Oid>,
    index_oid: Oid,
    index_name: Option<String>,
    tablespace: String,
    clustered: bool,
    replica_identity: bool,
    /// Storage parameters, which `pg_get_constraintdef` leaves out of keys (but not of exclusions).
    index_options: Vec<String>,
    is_part: bool,
    statistics: Vec<(i32, i32)>,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        objects.push(constraint(&row));
        Ok(())
    })
}

fn constraint(row: &Row) -> Object {
    let address = Address::new(class::CONSTRAINT, row.oid);
    let relation = |oid| Address::new(class::RELATION, oid);
    let table = qualified(&row.schema, &row.table_name);
    let name = ident(&row.name);
    let is_key = matches!(row.kind, 'p' | 'u' | 'x');
    let desc = match row.kind {
        'f' => "FK CONSTRAINT",
        'c' => "CHECK CONSTRAINT",
        _ => "CONSTRAINT",
    };
    let word = if row.table_kind == 'f' { "FOREIGN TABLE" } else { "TABLE" };
    // A partitioned table's foreign key and check go down to its partitions; a check of a plain parent, to its children.
    let only = match row.kind {
        'f' if row.table_kind == 'p' => "",
        'c' | 'n' => "",
        _ => "ONLY ",
    };
    let mut create = format!("ALTER {word} {only}{table}\n    ADD CONSTRAINT {name} {};\n", row.definition);
    let mut provides = vec![address];
    let mut needs = vec![relation(row.table_oid)];
    let mut targets = vec![Target {
        address,
        on: format!("CONSTRAINT {name} ON {table}"),
        tag: format!("CONSTRAINT {name} ON {}", ident(&row.table_name)),
        grant: None,
        columns: None,
    }];
    if is_key {
        let index = row.index_name.as_deref().unwrap_or(&row.name);
        let index_name = qualified(&row.schema, index);
        if !row.index_options.is_empty() {
            let options: Vec<String> = row.index_options.iter().map(|option| option_setting("", option)).collect();
            create += &format!("ALTER INDEX {index_name} SET ({});\n", options.join(", "));
        }
        for (column, target) in &row.statistics {
            create += &format!("ALTER INDEX {index_name} ALTER COLUMN {column} SET STATISTICS {target};\n");
        }
        create += &marks(&row.schema, &row.table_name, row.table_kind, index, row.clustered, row.replica_identity);
        provides.push(relation(row.index_oid));
        targets.push(Target {
            address: relation(row.index_oid),
            on: format!("INDEX {index_name}"),
            tag: format!("INDEX {}", ident(index)),
            grant: None,
            columns: None,
        });
    }
    if row.kind == 'f' {
        needs.push(relation(row.referenced_oid));
        needs.extend(row.attached_indexes.iter().map(|index| attached(*index)));
    }
    let drop_only = if row.kind == 'f' && row.table_kind == 'p' { "" } else { "ONLY " };
    let drop = if is_key && row.is_part {
        String::new()
    } else {
        format!("ALTER {word} {drop_only}{table} DROP CONSTRAINT {name};\n")
    };
    let item = Item {
        owner: row.owner.clone(),
        tablespace: is_key.then(|| row.tablespace.clone()),
        section: Section::PostData,
        create,
        drop,
        provides,
        needs,
        ..Item::new(desc, address, Some(&row.schema), format!("{} {}", row.table_name, row.name))
    };
    let belongs = Belongs { schema: Some(row.schema.clone()), relation: Some(row.table_oid), owned_by: None };
    Object { targets, ..Object::simple(item, belongs) }
}
