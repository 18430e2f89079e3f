//! Arguments that choose what of an archive comes back, and how; `restore` and `export` share them.

use crate::commands::restore::Choice;
use crate::error::{Error, Kind, Result};
use clap::Args;

/// What of an archive, and how.
#[derive(Debug, Args)]
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
    /// Do not set owners
    #[arg(short = 'O', long)]
    pub no_owner: bool,
    /// Do not set privileges
    #[arg(short = 'x', long, alias = "no-acl")]
    pub no_privileges: bool,
    /// Restore only this schema; may be repeated
    #[arg(short = 'n', long = "schema", value_name = "SCHEMA")]
    pub schemas: Vec<String>,
    /// Restore only this table (view, sequence) with what hangs on it; may be repeated
    #[arg(short = 't', long = "table", value_name = "TABLE")]
    pub tables: Vec<String>,
    /// Restore definitions only, no rows
    #[arg(short, long, conflicts_with = "data_only")]
    pub schema_only: bool,
    /// Restore rows only, no definitions
    #[arg(short = 'a', long)]
    pub data_only: bool,
}

impl ChoiceArgs {
    /// Refuses what contradicts itself.
    pub(super) fn check(&self) -> Result<()> {
        if self.create && (!self.schemas.is_empty() || !self.tables.is_empty()) {
            return Err(Error::new(Kind::Usage, "-C makes the whole database, -n and -t choose a part of it")
                .hint("make the database yourself and restore the part into it"));
        }
        if self.data_only && self.clean {
            return Err(Error::new(Kind::Usage, "-c drops definitions, -a restores none"));
        }
        Ok(())
    }

    /// Which entries.
    pub(super) fn choice(&self) -> Choice {
        Choice {
            schemas: self.schemas.clone(),
            tables: self.tables.clone(),
            schema_only: self.schema_only,
            data_only: self.data_only,
            no_owner: self.no_owner,
            no_privileges: self.no_privileges,
        }
    }

    /// Whether anything is left out or done otherwise.
    pub(super) fn is_anything(&self) -> bool {
        let flags = [self.create, self.clean, self.no_owner, self.no_privileges, self.schema_only, self.data_only];
        flags.contains(&true) || !self.schemas.is_empty() || !self.tables.is_empty()
    }
}
