//! What is left out whatever its name, as it is typed: `dump`, `restore` and `export` have the same words for it, which are
//! those of `pg_dump` and `pg_restore`.

use clap::Args;

/// What is left out.
#[derive(Debug, Args)]
pub struct LeftOutArgs {
    /// Definitions only, no rows
    #[arg(short, long, conflicts_with_all = ["data_only", "no_schema"])]
    pub schema_only: bool,
    /// Rows only, no definitions
    #[arg(short = 'a', long, conflicts_with = "no_data")]
    pub data_only: bool,
    /// Leave out definitions
    #[arg(long)]
    pub no_schema: bool,
    /// Leave out rows
    #[arg(long)]
    pub no_data: bool,
    /// What the planner knows of tables and indexes, too: dumped only when asked for, restored where the backup has it
    #[arg(long, conflicts_with_all = ["schema_only", "data_only", "statistics_only", "no_statistics"])]
    pub statistics: bool,
    /// Only what the planner knows
    #[arg(long, conflicts_with_all = ["schema_only", "data_only", "no_statistics"])]
    pub statistics_only: bool,
    /// Leave out what the planner knows
    #[arg(long)]
    pub no_statistics: bool,
    /// Leave out who owns what
    #[arg(short = 'O', long)]
    pub no_owner: bool,
    /// Leave out privileges
    #[arg(short = 'x', long, alias = "no-acl")]
    pub no_privileges: bool,
    /// Leave out comments
    #[arg(long)]
    pub no_comments: bool,
    /// Leave out row security policies
    #[arg(long)]
    pub no_policies: bool,
    /// Leave out publications
    #[arg(long)]
    pub no_publications: bool,
    /// Leave out security labels
    #[arg(long)]
    pub no_security_labels: bool,
    /// Leave out subscriptions
    #[arg(long)]
    pub no_subscriptions: bool,
    /// Leave out in which tablespace something is: everything is in the default one then
    #[arg(long)]
    pub no_tablespaces: bool,
    /// Leave out which access method a table has: all have the default one then
    #[arg(long)]
    pub no_table_access_method: bool,
}
