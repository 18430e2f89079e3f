//! Constraints that come after the rows: keys, exclusions, foreign keys, and checks that are not validated.

use super::index::{attached, marks};
use super::key::{KeyColumns, RIVALS, Rivals};
use super::words::option_setting;
use super::{Kind, each, table};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::model::{
    Address, Belongs, Item, Object, Oid, Question, Rows, Section, Target, class, ident, item, list_or_null, qualified,
};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "constraints", questions: &[QUESTION, table::COLUMNS, RIVALS], objects };

/// Validated checks and NOT NULLs stand in their tables. A foreign key that a partition has from its parent, or that a
/// parent has towards a partition of the referenced table, is made with the parent's (`conparentid`).
///
/// `pg_get_constraintdef` looks each name up by itself, so it is asked only for what [`plain_definition`] cannot write.
const QUESTION: Question = Question(
    "SELECT k.oid, k.conname AS name, k.contype AS type,
    CASE WHEN NOT k.condeferrable
        AND NOT k.conperiod -- <18:
        AND (k.contype IN ('p', 'u') AND x.indnatts = x.indnkeyatts
            AND NOT x.indnullsnotdistinct -- <15:
            OR k.contype = 'f' AND k.convalidated AND k.confmatchtype = 's' AND rn.nspname !~ '^pg_'
            AND k.confdelsetcols IS NULL -- <15:
            AND k.conenforced -- <18:
        ) THEN NULL ELSE pg_catalog.pg_get_constraintdef(k.oid) END AS definition,
    k.conkey AS keys, k.confkey AS referenced_keys, k.confupdtype AS on_update, k.confdeltype AS on_delete,
    t.oid AS table_oid, n.nspname AS schema, t.relname AS table_name, t.relkind AS table_kind, o.rolname AS owner,
    r.oid AS referenced_oid, rn.nspname AS referenced_schema, r.relname AS referenced_name,
    CASE WHEN k.contype = 'f' AND i.relkind = 'I' THEN (
        SELECT pg_catalog.json_agg(part.relid::pg_catalog.oid)
        FROM pg_catalog.pg_partition_tree(k.conindid) part WHERE part.parentrelid IS NOT NULL) END AS attached_indexes,
    k.conindid AS index_oid, i.relname AS index_name,
    coalesce(ts.spcname, '') AS tablespace, -- !tablespaces: '' AS tablespace,
    coalesce(x.indisclustered, false) AS clustered, coalesce(x.indisreplident, false) AS replica_identity,
    CASE WHEN k.contype IN ('p', 'u') THEN i.reloptions END AS index_options,
    h.inhrelid IS NOT NULL AS is_part,
    CASE WHEN x.indexprs IS NOT NULL THEN (
        SELECT pg_catalog.json_agg(pg_catalog.json_build_array(a.attnum, a.attstattarget) ORDER BY a.attnum)
        FROM pg_catalog.pg_attribute a WHERE a.attrelid = k.conindid AND a.attstattarget >= 0) END AS statistics
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class t ON t.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
LEFT JOIN pg_catalog.pg_roles o ON o.oid = t.relowner
LEFT JOIN pg_catalog.pg_class r ON k.contype = 'f' AND r.oid = k.confrelid AND r.relkind IN ('r', 'p')
LEFT JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
LEFT JOIN pg_catalog.pg_class i ON i.oid = k.conindid
LEFT JOIN pg_catalog.pg_tablespace ts ON ts.oid = i.reltablespace
LEFT JOIN pg_catalog.pg_index x ON x.indexrelid = k.conindid
LEFT JOIN pg_catalog.pg_inherits h ON h.inhrelid = k.conindid
WHERE (k.contype IN ('p', 'u', 'x')
        OR k.contype = 'f' AND k.conparentid = 0
        OR k.contype IN ('c', 'n') AND NOT k.convalidated AND k.conislocal)
    AND t.relkind IN ('r', 'p', 'f', 'm') AND t.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'",
);

#[derive(Debug, Deserialize)]
struct Row {
    oid: Oid,
    name: String,
    #[serde(rename = "type")]
    kind: char,
    /// Where [`plain_definition`] cannot write it.
    definition: Option<String>,
    /// The numbers of its columns.
    #[serde(deserialize_with = "list_or_null")]
    keys: Vec<i32>,
    /// For a foreign key, those of the columns that it refers to.
    #[serde(deserialize_with = "list_or_null")]
    referenced_keys: Vec<i32>,
    /// `confupdtype` and `confdeltype`: `a` no action, `r` restrict, `c` cascade, `n` set null, `d` set default.
    on_update: String,
    on_delete: String,
    table_oid: Oid,
    schema: String,
    table_name: String,
    table_kind: char,
    owner: Option<String>,
    referenced_oid: Option<Oid>,
    referenced_schema: Option<String>,
    referenced_name: Option<String>,
    /// The partitions' parts of the index that a foreign key refers to.
    #[serde(deserialize_with = "list_or_null")]
    attached_indexes: Vec<Oid>,
    index_oid: Oid,
    index_name: Option<String>,
    tablespace: String,
    clustered: bool,
    replica_identity: bool,
    /// Storage parameters, which `pg_get_constraintdef` leaves out of keys (but not of exclusions).
    #[serde(deserialize_with = "list_or_null")]
    index_options: Vec<String>,
    is_part: bool,
    #[serde(deserialize_with = "list_or_null")]
    statistics: Vec<(i32, i32)>,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    let (columns, rivals) = (KeyColumns::of(&rows[1])?, Rivals::of(&rows[2])?);
    each(&rows[..1], |row: Row, objects| {
        let definition = match &row.definition {
            Some(definition) => definition.clone(),
            None => plain_definition(&row, &columns)?,
        };
        objects.push(constraint(&row, &definition, &rivals));
        Ok(())
    })
}

/// What `pg_get_constraintdef` would write of a key or foreign key without anything unusual
/// (`pg_get_constraintdef_worker`, `src/backend/utils/adt/ruleutils.c`).
fn plain_definition(row: &Row, columns: &KeyColumns) -> Result<String> {
    let of = || item::label("CONSTRAINT", Some(&row.schema), &format!("{} {}", row.table_name, row.name));
    let keys = columns.names(row.table_oid, &row.keys, of)?;
    let referenced = row.referenced_oid.zip(row.referenced_schema.as_deref()).zip(row.referenced_name.as_deref());
    match (row.kind, referenced) {
        ('p', _) => Ok(format!("PRIMARY KEY ({keys})")),
        ('u', _) => Ok(format!("UNIQUE ({keys})")),
        ('f', Some(((oid, schema), name))) => Ok(format!(
            "FOREIGN KEY ({keys}) REFERENCES {}({}){}{}",
            qualified(schema, name),
            columns.names(oid, &row.referenced_keys, of)?,
            action(" ON UPDATE", &row.on_update),
            action(" ON DELETE", &row.on_delete),
        )),
        _ => Err(Error::new(ErrorKind::Internal, "the server did not say how a constraint is defined").on(of())),
    }
}

/// What a foreign key does with the rows that refer; nothing is said of no action.
fn action(when: &str, letter: &str) -> String {
    let action = match letter {
        "r" => "RESTRICT",
        "c" => "CASCADE",
        "n" => "SET NULL",
        "d" => "SET DEFAULT",
        _ => return String::new(),
    };
    format!("{when} {action}")
}

fn constraint(row: &Row, definition: &str, rivals: &Rivals) -> Object {
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
    let mut create = format!("ALTER {word} {only}{table}\n    ADD CONSTRAINT {name} {definition};\n");
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
        needs.extend(rivals.before(row.index_oid));
        targets.push(Target {
            address: relation(row.index_oid),
            on: format!("INDEX {index_name}"),
            tag: format!("INDEX {}", ident(index)),
            grant: None,
            columns: None,
        });
    }
    if row.kind == 'f' {
        needs.extend(row.referenced_oid.map(relation));
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

#[cfg(test)]
mod tests {
    use super::objects;
    use crate::model::Rows;
    use serde_json::{Value, json};

    /// A constraint of columns 1 `id` and 2 `Of` of table `app.t`, with these differences.
    fn created(changes: &Value) -> String {
        let mut row = json!({
            "oid": "100", "name": "c", "type": "p", "definition": null, "keys": "{1,2}", "referenced_keys": null,
            "on_update": " ", "on_delete": " ", "table_oid": "90", "schema": "app", "table_name": "t",
            "table_kind": "r", "owner": "ann", "referenced_oid": null, "referenced_schema": null,
            "referenced_name": null, "attached_indexes": null, "index_oid": "101", "index_name": "c",
            "tablespace": "", "clustered": false, "replica_identity": false, "index_options": null, "is_part": false,
            "statistics": null
        });
        for (key, value) in changes.as_object().expect("changes") {
            row[key] = value.clone();
        }
        let column = |relation: &str, number: i32, name: &str| {
            json!({
                "relation": relation, "number": number, "name": name, "indexed_as": "23", "collation_oid": "0"
            })
        };
        let columns = [column("90", 1, "id"), column("90", 2, "Of"), column("91", 5, "a"), column("91", 6, "b")];
        let found = objects(&[Rows::of_json(&[row]), Rows::of_json(&columns), Rows::of_json(&[])])
            .expect("rows of the promised shape");
        found[0].whole.create.clone()
    }

    #[test]
    fn plain_keys_are_put_together_from_the_names_of_their_columns() {
        assert_eq!(created(&json!({})), "ALTER TABLE ONLY app.t\n    ADD CONSTRAINT c PRIMARY KEY (id, \"Of\");\n");
        assert!(created(&json!({ "type": "u" })).ends_with(" UNIQUE (id, \"Of\");\n"));
        assert!(created(&json!({ "definition": "AS IT IS" })).ends_with("ADD CONSTRAINT c AS IT IS;\n"));
    }

    #[test]
    fn a_plain_foreign_key_says_what_it_does_unless_that_is_nothing() {
        let key = |on_update: &str, on_delete: &str| {
            created(&json!({
                "type": "f", "referenced_keys": "{6,5}", "referenced_oid": "91", "referenced_schema": "app",
                "referenced_name": "Other", "on_update": on_update, "on_delete": on_delete
            }))
        };
        let plain =
            "ALTER TABLE ONLY app.t\n    ADD CONSTRAINT c FOREIGN KEY (id, \"Of\") REFERENCES app.\"Other\"(b, a)";
        assert_eq!(key("a", "a"), format!("{plain};\n"));
        assert_eq!(key("c", "n"), format!("{plain} ON UPDATE CASCADE ON DELETE SET NULL;\n"));
        assert_eq!(key("r", "d"), format!("{plain} ON UPDATE RESTRICT ON DELETE SET DEFAULT;\n"));
    }
}
