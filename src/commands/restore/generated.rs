//! Whether stored generated columns are what their expressions give. Their values are in no archive, for the server computes them
//! while it loads rows; so what the rows' digests say nothing of is computed again when all rows are there.

use crate::error::Result;
use crate::model::{ident, qualified};
use crate::postgres::Session;
use serde::Deserialize;
use std::collections::HashMap;

/// The stored generated columns of a table.
#[derive(Debug, Clone, Default)]
pub(super) struct Generated {
    names: Vec<String>,
    /// Counts, one a column, the rows where it is something else.
    question: String,
}

/// By the names of schemas and tables.
pub(super) type GeneratedColumns = HashMap<(String, String), Generated>;

#[derive(Debug, Deserialize)]
struct ColumnRow {
    schema: String,
    table: String,
    name: String,
    r#type: String,
    expression: String,
}

/// With an empty search path, the server's words for expressions and types mean the same in a question.
const COLUMNS: &str = "
SELECT n.nspname AS schema, c.relname AS table, a.attname AS name,
  pg_catalog.format_type(a.atttypid, a.atttypmod) AS type, pg_catalog.pg_get_expr(d.adbin, d.adrelid) AS expression
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attgenerated = 's' AND NOT a.attisdropped AND c.relkind = 'r'
ORDER BY n.nspname, c.relname, a.attnum";

/// Asks for all of them.
pub(super) async fn generated_columns(session: &Session) -> Result<GeneratedColumns> {
    let mut tables: HashMap<(String, String), Vec<ColumnRow>> = HashMap::new();
    for row in session.question::<ColumnRow>(COLUMNS).await? {
        tables.entry((row.schema.clone(), row.table.clone())).or_default().push(row);
    }
    Ok(tables.into_iter().map(|(table, columns)| (table, generated(&columns))).collect())
}

fn generated(columns: &[ColumnRow]) -> Generated {
    // The images of values are compared, for not every type has an operator for it.
    let count = |column: &ColumnRow| {
        format!(
            "pg_catalog.count(*) FILTER (WHERE NOT pg_catalog.record_image_eq(ROW({}), ROW(CAST(({}) AS {}))))",
            ident(&column.name),
            column.expression,
            column.r#type
        )
    };
    let counts: Vec<String> = columns.iter().map(count).collect();
    let table = columns.first().map_or_else(String::new, |column| qualified(&column.schema, &column.table));
    Generated {
        names: columns.iter().map(|column| column.name.clone()).collect(),
        question: format!("SELECT ARRAY[{}] AS others FROM ONLY {table}", counts.join(", ")),
    }
}

#[derive(Debug, Deserialize)]
struct OthersRow {
    others: Vec<u64>,
}

impl Generated {
    /// Computes them again, and says which are something else.
    pub(super) async fn differ(&self, session: &Session) -> Result<Option<String>> {
        let rows: Vec<OthersRow> = session.question(&self.question).await?;
        let others = rows.into_iter().flat_map(|row| row.others);
        let differing = self.names.iter().zip(others).filter(|(_, others)| *others > 0);
        let words: Vec<String> = differing
            .map(|(name, others)| {
                let name = ident(name);
                format!("{others} rows where the generated column {name} is not what its expression gives")
            })
            .collect();
        Ok((!words.is_empty()).then(|| words.join(", ")))
    }
}
