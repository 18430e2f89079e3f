//! What the target has to be able to do: access methods of indexes, taking statistics back.

use super::{Lack, Users, note, used_by};
use crate::archive::script::{keyword, leading_name};
use crate::archive::toc::TocEntry;
use crate::commands::restore::choose::Plan;
use crate::error::Result;
use crate::model::ident;
use crate::postgres::Session;
use serde::Deserialize;
use std::collections::HashSet;

/// The first server that takes statistics back.
const TAKES_STATISTICS: u32 = 18;

#[derive(Debug, Deserialize)]
struct MethodRow {
    name: String,
}

/// Everything of this sort that the chosen entries need and the target lacks.
pub(super) async fn lacking(session: &Session, plan: &Plan, lacks: &mut Vec<Lack>) -> Result<()> {
    let entries = || plan.steps.iter().map(|step| step.entry.as_ref());
    let statistics = entries().filter(|entry| entry.desc == "STATISTICS DATA").count();
    if statistics > 0 && session.version().major() < TAKES_STATISTICS {
        lacks.push(Lack {
            what: format!("a server that takes statistics back, for {statistics} tables and indexes"),
            hint: "leave them out with --no-statistics, and run ANALYZE afterwards".to_owned(),
        });
    }
    let methods: Vec<MethodRow> =
        session.question("SELECT m.amname AS name FROM pg_catalog.pg_am m WHERE m.amtype = 'i'").await?;
    let known: HashSet<String> = methods.into_iter().map(|row| row.name).collect();
    for (name, users) in index_methods(entries()).iter().filter(|(name, _)| !known.contains(*name)) {
        lacks.push(Lack {
            what: format!("index access method {} ({})", ident(name), used_by(users)),
            hint: "make it with CREATE EXTENSION or CREATE ACCESS METHOD first".to_owned(),
        });
    }
    Ok(())
}

/// The methods that indexes name, unless the archive may bring them along.
fn index_methods<'a>(entries: impl Iterator<Item = &'a TocEntry>) -> Users {
    let mut methods = Users::new();
    for entry in entries {
        match entry.desc.as_str() {
            "ACCESS METHOD" => return Users::new(),
            "EXTENSION" if entry.tag != "plpgsql" => return Users::new(),
            "INDEX" => {
                let create = entry.create.as_deref().unwrap_or_default();
                let name =
                    keyword(create, "USING").and_then(|at| leading_name(create[at + "USING".len()..].trim_start()));
                if let Some((name, _)) = name {
                    note(&mut methods, &name, entry);
                }
            }
            _ => {}
        }
    }
    methods
}
