//! What of an archive comes back, and how, as it is typed: the arguments of `pg_restore` under the same names; `restore` and
//! `export` share them.

use super::left_out::LeftOutArgs;
use super::selection::SectionName;
use crate::catalog::filter;
use crate::commands::restore::Choice;
use crate::error::{Error, Kind, Result};
use clap::Args;

/// What to restore. Names are exact, without patterns.
#[derive(Debug, Args)]
#[command(next_help_heading = "What comes back, and how")]
pub struct ChoiceArgs {
    /// Make the database first, under the name it had
    #[arg(short = 'C', long)]
    pub create: bool,
    /// Drop what the backup holds before making it
    #[arg(short, long)]
    pub clean: bool,
    /// With -c, do not mind what is not there
    #[arg(long, requires = "clean")]
    pub if_exists: bool,
    /// Restore only this schema; may be repeated
    #[arg(short = 'n', long = "schema", value_name = "SCHEMA")]
    pub schemas: Vec<String>,
    /// Do not restore this schema; may be repeated
    #[arg(short = 'N', long = "exclude-schema", value_name = "SCHEMA")]
    pub exclude_schemas: Vec<String>,
    /// Restore only this table (view, sequence) with what hangs on it; may be repeated
    #[arg(short = 't', long = "table", value_name = "TABLE")]
    pub tables: Vec<String>,
    /// Restore only this index; may be repeated
    #[arg(short = 'I', long = "index", value_name = "INDEX")]
    pub indexes: Vec<String>,
    /// Restore only this function, with its argument types as --list shows them; may be repeated
    #[arg(short = 'P', long = "function", value_name = "NAME(ARGS)")]
    pub functions: Vec<String>,
    /// Restore only this trigger, with its table before it as --list shows them; may be repeated
    #[arg(short = 'T', long = "trigger", value_name = "TABLE TRIGGER")]
    pub triggers: Vec<String>,
    /// Read what to include and exclude from a file in pg_restore's format, - is standard input; may be repeated
    #[arg(long = "filter", value_name = "FILE")]
    pub filters: Vec<String>,
    /// Restore the entries that this file lists, in its order, as --list writes it
    #[arg(short = 'L', long, value_name = "FILE")]
    pub use_list: Option<String>,
    /// Restore only this section; may be repeated
    #[arg(long = "section", value_name = "SECTION", value_enum)]
    pub sections: Vec<SectionName>,
    /// Load rows of tables that are there already without their triggers, those of foreign keys among them (takes a superuser)
    #[arg(long)]
    pub disable_triggers: bool,
    /// What is left out.
    #[command(flatten)]
    pub left_out: LeftOutArgs,
}

impl ChoiceArgs {
    /// Resolves the arguments, filter files and the list among them; refuses what contradicts itself.
    pub(super) fn choice(&self) -> Result<Choice> {
        let mut choice = Choice {
            schemas: self.schemas.clone(),
            exclude_schemas: self.exclude_schemas.clone(),
            tables: self.tables.clone(),
            indexes: self.indexes.clone(),
            functions: self.functions.clone(),
            triggers: self.triggers.clone(),
            sections: self.sections.iter().map(|&name| name.into()).collect(),
            list: self.use_list.as_deref().map(list).transpose()?,
            schema_only: self.left_out.schema_only,
            data_only: self.left_out.data_only,
            no_schema: self.left_out.no_schema,
            no_data: self.left_out.no_data,
            statistics_only: self.left_out.statistics_only,
            no_statistics: self.left_out.no_statistics,
            no_owner: self.left_out.no_owner,
            no_privileges: self.left_out.no_privileges,
            no_comments: self.left_out.no_comments,
            no_policies: self.left_out.no_policies,
            no_publications: self.left_out.no_publications,
            no_security_labels: self.left_out.no_security_labels,
            no_subscriptions: self.left_out.no_subscriptions,
            no_tablespaces: self.left_out.no_tablespaces,
            no_table_access_method: self.left_out.no_table_access_method,
            disable_triggers: self.disable_triggers,
        };
        for file in &self.filters {
            for rule in filter::read(file)? {
                let list = match (rule.include, rule.sort.as_str()) {
                    (true, "schema") => &mut choice.schemas,
                    (false, "schema") => &mut choice.exclude_schemas,
                    (true, "table") => &mut choice.tables,
                    (true, "index") => &mut choice.indexes,
                    (true, "function") => &mut choice.functions,
                    (true, "trigger") => &mut choice.triggers,
                    _ => return Err(rule.refused(file)),
                };
                list.push(rule.pattern);
            }
        }
        if self.create && choice.by_name() {
            let message = "-C makes the whole database, -n, -t and their like choose a part of it";
            return Err(
                Error::new(Kind::Usage, message).hint("make the database yourself and restore the part into it")
            );
        }
        if (choice.data_only || choice.no_schema) && self.clean {
            return Err(Error::new(Kind::Usage, "-c drops definitions, -a restores none"));
        }
        Ok(choice)
    }

    /// Whether anything is left out or done otherwise; `choice` is what these arguments resolve to.
    pub(super) fn is_anything(&self, choice: &Choice) -> bool {
        self.create || self.clean || *choice != Choice::default()
    }
}

/// The ids at the beginnings of the lines; what is behind a semicolon is a comment (`SortTocFromFile`,
/// `pg_backup_archiver.c`).
fn list(file: &str) -> Result<Vec<i32>> {
    let text = std::fs::read_to_string(file);
    let text =
        text.map_err(|error| Error::new(Kind::Usage, "cannot be read").on(format!("list {file}")).because(error))?;
    let mut ids = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let id = line.split(';').next().unwrap_or_default().trim();
        if id.is_empty() {
            continue;
        }
        let id = id.parse().ok().filter(|id| *id > 0 && !ids.contains(id)).ok_or_else(|| {
            Error::new(Kind::Usage, "it has to begin with the number of an entry, each once")
                .on(format!("list {file}, line {}", number + 1))
        })?;
        ids.push(id);
    }
    Ok(ids)
}
