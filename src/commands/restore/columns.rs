//! Which tables' rows can go in binary, and how: the types of their columns in the target.

use super::choose::Plan;
use crate::archive::script::leading_name;
use crate::archive::toc::TocEntry;
use crate::commands::types::Types;
use crate::error::Result;
use crate::model::literal;
use crate::postgres::Session;
use crate::stream::binary::Layout;
use serde::Deserialize;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// How rows are sent, by the id of their entry; those of other entries go as text.
pub(super) type Layouts = HashMap<i32, Arc<[Layout]>>;

#[derive(Debug, Deserialize)]
struct ColumnRow {
    schema: String,
    table: String,
    name: String,
    r#type: u32,
}

/// The columns of tables; views and foreign tables may do with rows what they like.
fn columns_question(schemas: &BTreeSet<String>) -> String {
    let schemas: Vec<String> = schemas.iter().map(|schema| literal(schema)).collect();
    format!(
        "SELECT n.nspname AS schema, c.relname AS table, a.attname AS name, a.atttypid AS type
         FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped AND n.nspname IN ({})",
        schemas.join(", ")
    )
}

/// Asks the target, in which the tables are by now.
pub(super) async fn layouts(session: &Session, plan: &Plan) -> Result<Layouts> {
    let loads: Vec<(i32, Target)> = plan
        .steps
        .iter()
        .filter(|step| step.data.is_some())
        .filter_map(|step| Some((step.entry.id, Target::of(step.entry.copy.as_deref()?)?)))
        .collect();
    let schemas: BTreeSet<String> = loads.iter().map(|(_, target)| target.schema.clone()).collect();
    if schemas.is_empty() {
        return Ok(Layouts::new());
    }
    let types = Types::ask(session).await?;
    let mut columns: HashMap<(String, String), HashMap<String, u32>> = HashMap::new();
    for row in session.question::<ColumnRow>(&columns_question(&schemas)).await? {
        columns.entry((row.schema, row.table)).or_default().insert(row.name, row.r#type);
    }
    let mut found = Layouts::new();
    for (id, target) in loads {
        let Some(of_table) = columns.get(&(target.schema, target.table)) else { continue };
        let layout = |column: &String| types.received(*of_table.get(column)?);
        if let Some(layouts) = target.columns.iter().map(layout).collect::<Option<Vec<_>>>() {
            found.insert(id, layouts.into());
        }
    }
    Ok(found)
}

/// The schema and the name of the table that an entry's rows go to: another one than the entry's where they are loaded through a
/// partitioned table.
pub(super) fn target_table(entry: &TocEntry) -> (String, String) {
    match entry.copy.as_deref().and_then(Target::of) {
        Some(target) => (target.schema, target.table),
        None => (entry.schema.clone().unwrap_or_default(), entry.tag.clone()),
    }
}

/// What a COPY statement of an archive says.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    schema: String,
    table: String,
    columns: Vec<String>,
}

impl Target {
    /// Nothing for statements that say more, such as an encoding, or do not say their columns.
    fn of(copy: &str) -> Option<Self> {
        let text = copy.trim_end().strip_suffix(" FROM stdin;")?.strip_prefix("COPY ")?;
        let (schema, rest) = leading_name(text)?;
        let (table, rest) = leading_name(rest.strip_prefix('.')?)?;
        let mut rest = rest.strip_prefix(" (")?;
        let mut columns = Vec::new();
        loop {
            let (column, after) = leading_name(rest)?;
            columns.push(column);
            match after.strip_prefix(", ") {
                Some(next) => rest = next,
                None if after == ")" => return Some(Target { schema, table, columns }),
                None => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn a_copy_statement_is_read_whatever_its_names_are() {
        let found = Target::of("COPY \"s.\"\"\".\"t (a) FROM stdin;\" (id, \"b, \"\"c)\") FROM stdin;\n");
        let (schema, table) = ("s.\"".to_owned(), "t (a) FROM stdin;".to_owned());
        assert_eq!(found, Some(Target { schema, table, columns: vec!["id".to_owned(), "b, \"c)".to_owned()] }));
        for copy in [
            "COPY s.t FROM stdin;",
            "COPY t (a) FROM stdin;",
            "COPY s.t (a) FROM stdin WITH (ENCODING 'LATIN1');",
            "COPY s.t (a FROM stdin;",
            "INSERT INTO s.t VALUES (1);",
        ] {
            assert_eq!(Target::of(copy), None, "{copy}");
        }
    }
}
