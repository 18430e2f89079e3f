//! Which tables' rows can be read in binary, and how: the types of their columns.

use super::tables::TableJob;
use crate::commands::types::Types;
use crate::error::Result;
use crate::model::{Oid, ident_list};
use crate::postgres::Session;
use crate::stream::binary::Layout;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::Arc;

/// Tables below this size, in bytes, are read as text: there is nothing to win.
const LEAST: u64 = 64 << 10;

/// How rows come, by the oid of their table; those of other tables come as text.
pub(super) type Layouts = HashMap<Oid, Arc<[Layout]>>;

#[derive(Debug, Deserialize)]
struct ColumnRow {
    relation: Oid,
    name: String,
    r#type: u32,
}

/// Asks for the columns of all tables that are worth it.
pub(super) async fn layouts(session: &Session, jobs: &[TableJob]) -> Result<Layouts> {
    let worth: Vec<&TableJob> =
        jobs.iter().filter(|job| job.data.estimated_bytes >= LEAST && !job.data.foreign).collect();
    if worth.is_empty() {
        return Ok(Layouts::new());
    }
    let types = Types::ask(session).await?;
    let mut columns: HashMap<Oid, Vec<ColumnRow>> = HashMap::new();
    for row in session.question::<ColumnRow>(&question(&worth)).await? {
        columns.entry(row.relation).or_default().push(row);
    }
    let mut layouts = Layouts::new();
    for job in worth {
        let Some(columns) = columns.get(&job.data.relation) else { continue };
        // Were they not the columns that are read, in that order, values would be taken for others.
        let names = ident_list(columns.iter().map(|column| &column.name));
        if !job.data.select.starts_with(&format!("SELECT {names} FROM ")) {
            continue;
        }
        if let Some(found) = columns.iter().map(|column| types.sent(column.r#type)).collect::<Option<Vec<_>>>() {
            layouts.insert(job.data.relation, found.into());
        }
    }
    Ok(layouts)
}

/// The columns that are stored, in their order.
fn question(jobs: &[&TableJob]) -> String {
    let oids: Vec<String> = jobs.iter().map(|job| job.data.relation.to_string()).collect();
    format!(
        "SELECT a.attrelid AS relation, a.attname AS name, a.atttypid AS type
         FROM pg_catalog.unnest('{{{}}}'::pg_catalog.oid[]) AS wanted (oid)
         JOIN pg_catalog.pg_attribute a ON a.attrelid = wanted.oid
         WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
         ORDER BY a.attrelid, a.attnum",
        oids.join(",")
    )
}
