//! What the planner knows of a relation and its columns: `pg_class` and `pg_stats`, as the functions of 18 take them back.
//! Dumped only when asked for (`--statistics`).

use super::{Kind, each};
use crate::error::Result;
use crate::model::{Address, Belongs, Item, Object, Oid, Question, Rows, Section, class, literal};
use serde::Deserialize;
use std::fmt::Write as _;

/// The kind. What it dumps can be taken back by servers from 18 on.
pub const KIND: Kind = Kind { name: "statistics of relations", questions: &[QUESTION], objects };

/// Before 14, no rows could also mean that nobody had looked yet, so that is what it is taken for, as in `pg_dump`
/// (`dumpRelationStats`).
const QUESTION: Question = Question(
    "WITH known AS MATERIALIZED (
    SELECT s.schemaname, s.tablename, pg_catalog.json_agg(pg_catalog.json_build_object(
        'name', s.attname, 'inherited', s.inherited, 'values', pg_catalog.json_build_array(
            pg_catalog.json_build_array('null_frac', s.null_frac::text, 'real'),
            pg_catalog.json_build_array('avg_width', s.avg_width::text, 'integer'),
            pg_catalog.json_build_array('n_distinct', s.n_distinct::text, 'real'),
            pg_catalog.json_build_array('most_common_vals', s.most_common_vals::text, 'text'),
            pg_catalog.json_build_array('most_common_freqs', s.most_common_freqs::text, 'real[]'),
            pg_catalog.json_build_array('histogram_bounds', s.histogram_bounds::text, 'text'),
            pg_catalog.json_build_array('correlation', s.correlation::text, 'real'),
            pg_catalog.json_build_array('most_common_elems', s.most_common_elems::text, 'text'),
            pg_catalog.json_build_array('most_common_elem_freqs', s.most_common_elem_freqs::text, 'real[]'),
            pg_catalog.json_build_array('elem_count_histogram', s.elem_count_histogram::text, 'real[]'),
            pg_catalog.json_build_array('range_length_histogram', s.range_length_histogram::text, 'text'), -- <17: NULL,
            pg_catalog.json_build_array('range_empty_frac', s.range_empty_frac::text, 'real'), -- <17: NULL,
            pg_catalog.json_build_array('range_bounds_histogram', s.range_bounds_histogram::text, 'text') -- <17: NULL
        )) ORDER BY s.attname, s.inherited) AS list
    FROM pg_catalog.pg_stats s
    WHERE s.schemaname !~ '^pg_' AND s.schemaname <> 'information_schema' GROUP BY 1, 2)
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind, coalesce(i.indrelid, c.oid) AS table_oid,
    pg_catalog.current_setting('server_version_num') AS version, c.relpages AS pages,
    c.reltuples::text AS tuples, -- <14: CASE WHEN c.reltuples = 0 THEN '-1' ELSE c.reltuples::text END AS tuples,
    c.relallvisible AS visible,
    c.relallfrozen AS frozen, -- <18: NULL::integer AS frozen,
    (SELECT pg_catalog.json_object_agg(a.attname, a.attnum) FROM pg_catalog.pg_attribute a
        WHERE i.indexrelid IS NOT NULL AND a.attrelid = c.oid) AS numbers,
    c.relkind = 'm' AS filled_late, -- !rows: false AS filled_late,
    coalesce(k.list, '[]') AS columns
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
LEFT JOIN known k ON k.schemaname = n.nspname AND k.tablename = c.relname
WHERE c.relkind IN ('r', 'p', 'f', 'm', 'i', 'I') AND c.relpersistence <> 't'
    AND (i.indexrelid IS NULL OR i.indisvalid OR c.relkind = 'I')
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, c.relname",
);

#[derive(Debug, Deserialize)]
struct Row {
    oid: Oid,
    schema: String,
    name: String,
    /// `relkind`.
    kind: char,
    /// The relation itself, or the table of an index.
    table_oid: Oid,
    version: String,
    pages: i32,
    tuples: String,
    visible: i32,
    frozen: Option<i32>,
    /// Of an index's columns, whose names another server may give otherwise.
    numbers: Option<std::collections::HashMap<String, i32>>,
    /// It is filled when all data is there, and only then is there something to know.
    filled_late: bool,
    columns: Vec<Column>,
}

#[derive(Debug, Deserialize)]
struct Column {
    name: String,
    inherited: bool,
    /// Name, value and type of each; nothing where the server has no such statistic.
    values: Vec<Option<(String, Option<String>, String)>>,
}

fn objects(rows: &[Rows]) -> Result<Vec<Object>> {
    each(rows, |row: Row, objects| {
        objects.push(statistics(&row));
        Ok(())
    })
}

fn statistics(row: &Row) -> Object {
    let mut create = call("pg_restore_relation_stats", row, &of_relation(row));
    for column in &row.columns {
        create += &call("pg_restore_attribute_stats", row, &of_column(row, column));
    }
    let itself = Address::new(class::RELATION, row.oid);
    let late = row.filled_late || matches!(row.kind, 'i' | 'I');
    let item = Item {
        section: if late { Section::PostData } else { Section::Data },
        create,
        provides: Vec::new(),
        // A materialized view is filled before.
        needs: vec![itself, Address::new(Oid(0), row.oid)],
        ..Item::new("STATISTICS DATA", Address::new(Oid(0), row.oid), Some(&row.schema), &row.name)
    };
    let belongs = Belongs { schema: Some(row.schema.clone()), relation: Some(row.table_oid), owned_by: None };
    Object::simple(item, belongs)
}

/// One argument: its name, its value as SQL.
type Argument = (String, String);

fn typed(name: &str, value: &str, type_name: &str) -> Argument {
    (name.to_owned(), format!("{}::{type_name}", literal(value)))
}

fn of_relation(row: &Row) -> Vec<Argument> {
    let mut arguments = vec![
        typed("relpages", &row.pages.to_string(), "integer"),
        typed("reltuples", &row.tuples, "real"),
        typed("relallvisible", &row.visible.to_string(), "integer"),
    ];
    arguments.extend(row.frozen.map(|frozen| typed("relallfrozen", &frozen.to_string(), "integer")));
    arguments
}

fn of_column(row: &Row, column: &Column) -> Vec<Argument> {
    let number = row.numbers.as_ref().and_then(|numbers| numbers.get(&column.name));
    let which = match number {
        Some(number) => typed("attnum", &number.to_string(), "smallint"),
        None => ("attname".to_owned(), literal(&column.name)),
    };
    let inherited = typed("inherited", if column.inherited { "t" } else { "f" }, "boolean");
    let values = column.values.iter().flatten();
    let values = values.filter_map(|(name, value, type_name)| Some(typed(name, value.as_deref()?, type_name)));
    [which, inherited].into_iter().chain(values).collect()
}

/// One statement, in `pg_dump`'s words.
fn call(function: &str, row: &Row, arguments: &[Argument]) -> String {
    let mut text = format!("SELECT * FROM pg_catalog.{function}(\n\t'version', {}::integer", literal(&row.version));
    let _ = write!(text, ",\n\t'schemaname', {},\n\t'relname', {}", literal(&row.schema), literal(&row.name));
    for (name, value) in arguments {
        let _ = write!(text, ",\n\t'{name}', {value}");
    }
    text + "\n);\n"
}

#[cfg(test)]
mod tests {
    use super::objects;
    use crate::model::Section;
    use crate::objects::answers;

    #[test]
    fn an_index_names_its_columns_by_number_and_leaves_out_what_is_not_known() {
        let row = r#"{"oid":"9","schema":"s","name":"it's","kind":"i","table_oid":"8","version":"150018","pages":2,
            "tuples":"300","visible":0,"frozen":null,"numbers":{"expr":1},"filled_late":false,"columns":[{"name":"expr","inherited":false,
            "values":[["null_frac","0.5","real"],["most_common_vals",null,"text"],null]}]}"#;
        let objects = objects(&answers(&[row.to_owned()])).expect("a row of the question's shape");
        assert_eq!(objects[0].whole.section, Section::PostData);
        assert_eq!(
            objects[0].whole.create,
            "SELECT * FROM pg_catalog.pg_restore_relation_stats(\n\t'version', '150018'::integer,\n\t'schemaname', 's',\n\t\
             'relname', 'it''s',\n\t'relpages', '2'::integer,\n\t'reltuples', '300'::real,\n\t\
             'relallvisible', '0'::integer\n);\n\
             SELECT * FROM pg_catalog.pg_restore_attribute_stats(\n\t'version', '150018'::integer,\n\t'schemaname', 's',\n\t\
             'relname', 'it''s',\n\t'attnum', '1'::smallint,\n\t'inherited', 'f'::boolean,\n\t'null_frac', '0.5'::real\n);\n"
        );
    }
}
