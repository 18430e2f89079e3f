//! Publications, and the tables and schemas in them, each membership an entry of its own: so a membership waits for its
//! table and not the publication for all of them.

use super::{Kind, each, words};
use crate::error::Result;
use crate::model::{Address, Belongs, Item, Object, Oid, Question, Rows, Section, class, ident, ident_list, qualified};
use serde::Deserialize;

pub(super) const KIND: Kind = Kind { name: "publications", questions: &[QUESTION], objects };

/// A column list is kept in the order of the table's columns (`pg_publication_rel.prattrs`).
const QUESTION: Question = Question(
    "SELECT p.oid, p.pubname AS name, o.rolname AS owner, p.puballtables AS all_tables,
    p.puballsequences AS all_sequences, -- <19: false AS all_sequences,
    p.pubinsert AS inserts, p.pubupdate AS updates, p.pubdelete AS deletes, p.pubtruncate AS truncates,
    p.pubviaroot AS via_root, -- <13: false AS via_root,
    p.pubgencols = 's' AS stored_columns, -- <18: false AS stored_columns,
    (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
            'except', m.prexcept, -- <19: 'except', false,
            'oid', m.oid, 'table_oid', c.oid, 'schema', n.nspname, 'name', c.relname,
            'filter', pg_catalog.pg_get_expr(m.prqual, m.prrelid), -- <15: 'filter', NULL,
            'columns', (SELECT pg_catalog.json_agg(a.attname ORDER BY k.place) -- <15: 'columns', NULL
                FROM pg_catalog.unnest(m.prattrs) WITH ORDINALITY k(number, place) -- <15:
                JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number) -- <15:
            ) ORDER BY n.nspname, c.relname), '[]')
        FROM pg_catalog.pg_publication_rel m
        JOIN pg_catalog.pg_class c ON c.oid = m.prrelid
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE m.prpubid = p.oid) AS tables,
    (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object( -- <15: '[]'::pg_catalog.json AS schemas
            'oid', m.oid, 'schema_oid', n.oid, 'schema', n.nspname) ORDER BY n.nspname), '[]') -- <15:
        FROM pg_catalog.pg_publication_namespace m -- <15:
        JOIN pg_catalog.pg_namespace n ON n.oid = m.pnnspid -- <15:
        WHERE m.pnpubid = p.oid) AS schemas -- <15:
FROM pg_catalog.pg_publication p
LEFT JOIN pg_catalog.pg_roles o ON o.oid = p.pubowner
ORDER BY p.pubname",
);

#[derive(Debug, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "the catalog's row is made of them")]
struct Row {
    oid: Oid,
    name: String,
    owner: Option<String>,
    all_tables: bool,
    all_sequences: bool,
    inserts: bool,
    updates: bool,
    deletes: bool,
    truncates: bool,
    via_root: bool,
    /// Whether stored generated columns are published without being named.
    stored_columns: bool,
    tables: Vec<Table>,
    schemas: Vec<Schema>,
}

/// One table of a publication.
#[derive(Debug, Deserialize)]
struct Table {
    /// All tables are published but this one.
    except: bool,
    oid: Oid,
    table_oid: Oid,
    schema: String,
    name: String,
    /// A row filter, as `pg_get_expr` writes it.
    filter: Option<String>,
    /// Only these columns.
    columns: Option<Vec<String>>,
}

/// One schema all of whose tables are published.
#[derive(Debug, Deserialize)]
struct Schema {
    oid: Oid,
    schema_oid: Oid,
    schema: String,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        objects.push(publication(&row));
        objects.extend(row.tables.iter().filter(|table| !table.except).map(|table| member_table(&row, table)));
        objects.extend(row.schemas.iter().map(|schema| member_schema(&row, schema)));
        Ok(())
    })
}

fn publication(row: &Row) -> Object {
    let address = Address::new(class::PUBLICATION, row.oid);
    let name = ident(&row.name);
    let published =
        [(row.inserts, "insert"), (row.updates, "update"), (row.deletes, "delete"), (row.truncates, "truncate")];
    let published: Vec<&str> = published.iter().filter(|(is_in, _)| *is_in).map(|(_, word)| *word).collect();
    let but: Vec<&Table> = row.tables.iter().filter(|table| table.except).collect();
    let names: Vec<String> =
        but.iter().map(|table| format!("ONLY {}", qualified(&table.schema, &table.name))).collect();
    let but_words = if but.is_empty() { String::new() } else { format!(" EXCEPT (TABLE {})", names.join(", ")) };
    let all_tables = row.all_tables.then(|| format!("ALL TABLES{but_words}"));
    let all_sequences = row.all_sequences.then(|| "ALL SEQUENCES".to_owned());
    let all: Vec<String> = all_tables.into_iter().chain(all_sequences).collect();
    let all = if all.is_empty() { String::new() } else { format!(" FOR {}", all.join(", ")) };
    let stored = if row.stored_columns { ", publish_generated_columns = stored" } else { "" };
    let via_root = if row.via_root { ", publish_via_partition_root = true" } else { "" };
    let item = Item {
        owner: row.owner.clone(),
        section: Section::PostData,
        create: format!(
            "CREATE PUBLICATION {name}{all} WITH (publish = '{}'{stored}{via_root});\n",
            published.join(", ")
        ),
        drop: format!("DROP PUBLICATION {name};\n"),
        needs: but.iter().map(|table| Address::new(class::RELATION, table.table_oid)).collect(),
        ..Item::new("PUBLICATION", address, None, &row.name)
    };
    Object::simple(item, Belongs::default()).with_target(words::target(address, "PUBLICATION", None, &name))
}

fn member_table(row: &Row, table: &Table) -> Object {
    let columns = table.columns.as_ref().map(|names| format!(" ({})", ident_list(names))).unwrap_or_default();
    // pg_get_expr leaves the parentheses away around a plain word.
    let filter = table.filter.as_ref().map(|filter| format!(" WHERE ({filter})")).unwrap_or_default();
    let relation = qualified(&table.schema, &table.name);
    let item = Item {
        owner: row.owner.clone(),
        section: Section::PostData,
        create: format!("ALTER PUBLICATION {} ADD TABLE ONLY {relation}{columns}{filter};\n", ident(&row.name)),
        needs: vec![Address::new(class::PUBLICATION, row.oid), Address::new(class::RELATION, table.table_oid)],
        ..Item::new(
            "PUBLICATION TABLE",
            Address::new(class::PUBLICATION_TABLE, table.oid),
            Some(&table.schema),
            format!("{} {}", row.name, table.name),
        )
    };
    // The publication's, and so a part of every dump that has publications, whether the table is one or not.
    Object::simple(item, Belongs::default())
}

fn member_schema(row: &Row, schema: &Schema) -> Object {
    let item = Item {
        owner: row.owner.clone(),
        section: Section::PostData,
        create: format!("ALTER PUBLICATION {} ADD TABLES IN SCHEMA {};\n", ident(&row.name), ident(&schema.schema)),
        needs: vec![Address::new(class::PUBLICATION, row.oid), Address::new(class::SCHEMA, schema.schema_oid)],
        ..Item::new(
            "PUBLICATION TABLES IN SCHEMA",
            Address::new(class::PUBLICATION_SCHEMA, schema.oid),
            Some(&schema.schema),
            format!("{} {}", row.name, schema.schema),
        )
    };
    Object::simple(item, Belongs::default())
}

#[cfg(test)]
mod tests {
    use super::objects;
    use crate::objects::answers;

    #[test]
    fn a_publication_and_each_of_its_members_are_statements_of_their_own() {
        let row = r#"{"oid":"7","name":"P","owner":"ann","all_tables":false,"all_sequences":false,"inserts":true,"updates":false,"deletes":true,
            "truncates":false,"via_root":true,"stored_columns":true,
            "tables":[{"except":false,"oid":"8","table_oid":"9","schema":"s","name":"t","filter":"true","columns":["a","B"]}],
            "schemas":[{"oid":"10","schema_oid":"11","schema":"S"}]}"#;
        let objects = objects(&answers(&[row.to_owned()])).expect("a row of the question's shape");
        let statements: Vec<&str> = objects.iter().map(|object| object.whole.create.as_str()).collect();
        assert_eq!(
            statements,
            [
                "CREATE PUBLICATION \"P\" WITH (publish = 'insert, delete', publish_generated_columns = stored, \
                 publish_via_partition_root = true);\n",
                "ALTER PUBLICATION \"P\" ADD TABLE ONLY s.t (a, \"B\") WHERE (true);\n",
                "ALTER PUBLICATION \"P\" ADD TABLES IN SCHEMA \"S\";\n",
            ]
        );
    }

    #[test]
    fn all_tables_but_some_and_all_sequences_stand_in_the_statement_itself() {
        let row = r#"{"oid":"7","name":"p","owner":"ann","all_tables":true,"all_sequences":true,"inserts":true,"updates":false,
            "deletes":false,"truncates":false,"via_root":false,"stored_columns":false,
            "tables":[{"except":true,"oid":"8","table_oid":"9","schema":"s","name":"T","filter":null,"columns":null}],
            "schemas":[]}"#;
        let objects = objects(&answers(&[row.to_owned()])).expect("a row of the question's shape");
        assert_eq!(objects.len(), 1, "what is left out is no member");
        assert_eq!(
            objects[0].whole.create,
            "CREATE PUBLICATION p FOR ALL TABLES EXCEPT (TABLE ONLY s.\"T\"), ALL SEQUENCES WITH (publish = 'insert');\n"
        );
    }
}
