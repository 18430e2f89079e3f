//! `--disable-triggers`: rows of tables that were there before come without their triggers, those of foreign keys among them. Tables
//! that the restore makes have none yet.
//!
//! Off and on again are in the transaction of the rows, so a failure leaves no table without its triggers; and those that were
//! disabled, or fire in replicas only, are so again.

use super::choose::Plan;
use super::columns::target_table;
use super::target::table_name;
use crate::archive::toc::TocEntry;
use crate::error::Result;
use crate::model::ident;
use crate::postgres::Session;
use serde::Deserialize;
use std::collections::{HashMap, HashSet};

/// Statements around the rows of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Switch {
    pub(crate) off: String,
    pub(crate) on: String,
}

/// By the entries of rows.
pub(crate) type Switches = HashMap<i32, Switch>;

#[derive(Debug, Deserialize)]
struct TriggerRow {
    schema: String,
    table: String,
    name: String,
    state: String,
}

/// Triggers that are not simply on.
const UNUSUAL: &str = "
SELECT n.nspname AS schema, c.relname AS table, t.tgname AS name, t.tgenabled AS state
FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE t.tgenabled <> 'O'
ORDER BY n.nspname, c.relname, t.tgname";

/// Switches for all rows of tables that the plan does not make.
pub(crate) fn switches(plan: &Plan) -> Switches {
    let is_table = |desc: &str| matches!(desc, "TABLE" | "FOREIGN TABLE");
    let made: HashSet<i32> =
        plan.steps.iter().filter(|step| is_table(&step.entry.desc)).map(|step| step.entry.id).collect();
    let loads = plan.steps.iter().filter(|step| step.data.is_some());
    let there = loads.filter(|step| !step.entry.needs.iter().any(|need| made.contains(need)));
    there.map(|step| (step.entry.id, switch(&step.entry))).collect()
}

fn switch(entry: &TocEntry) -> Switch {
    let (schema, table) = target_table(entry);
    let alter = format!("ALTER TABLE {}", table_name(Some(&schema), &table));
    Switch { off: format!("{alter} DISABLE TRIGGER ALL"), on: format!("{alter} ENABLE TRIGGER ALL") }
}

/// The same for a target that can be asked what they were.
pub(super) async fn switches_in(session: &Session, plan: &Plan) -> Result<Switches> {
    let mut switches = switches(plan);
    let mut unusual: HashMap<(String, String), Vec<TriggerRow>> = HashMap::new();
    for row in session.question::<TriggerRow>(UNUSUAL).await? {
        unusual.entry((row.schema.clone(), row.table.clone())).or_default().push(row);
    }
    for step in &plan.steps {
        let Some(switch) = switches.get_mut(&step.entry.id) else { continue };
        let (schema, table) = target_table(&step.entry);
        let name = table_name(Some(&schema), &table);
        for row in unusual.get(&(schema, table)).into_iter().flatten() {
            let state = match row.state.as_str() {
                "R" => "ENABLE REPLICA",
                "A" => "ENABLE ALWAYS",
                _ => "DISABLE",
            };
            switch.on += &format!(";\nALTER TABLE {name} {state} TRIGGER {}", ident(&row.name));
        }
    }
    Ok(switches)
}
