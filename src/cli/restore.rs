//! `pgstow restore`: arguments, options, report.

use super::choice::ChoiceArgs;
use super::output::{plain, print, print_json};
use super::store::ArchiveArgs;
use super::table::counted;
use super::{Context, environment};
use crate::commands::restore::{
    Comparison, GlobalsChoice, GlobalsReport, RestoreOptions, RestoreReport, Step, partial, restore,
};
use crate::error::Result;
use crate::jobs::Script;
use crate::postgres::ConnectionSettings;
use clap::Args;
use indicatif::HumanCount;
use serde_json::json;
use std::time::Duration;

/// `pgstow restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// What to restore.
    #[command(flatten)]
    pub archive: ArchiveArgs,
    /// The target: its name, a libpq URI or keyword string [default: the PG* variables]; a name alone is looked for on the
    /// server of the PG* or else the DB_* variables; with -C, the database to connect to first
    #[arg(short = 'd', long = "dbname", value_name = "CONNSTRING")]
    pub database: Option<String>,
    /// How many connections load at once
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: u16,
    /// Memory to stay within: a number with KiB, MiB or GiB; at least 64MiB, and more with many connections
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = super::size::parse)]
    pub memory: u64,
    /// What of it, and how.
    #[command(flatten)]
    pub choice: ChoiceArgs,
    /// First bring the server's roles, tablespaces and privileges on parameters; what is there already is altered
    #[arg(long)]
    pub globals: bool,
    /// Bring nothing but those
    #[arg(short = 'g', long, conflicts_with_all = ["create", "clean", "list"])]
    pub globals_only: bool,
    /// Do not touch roles and tablespaces (this is the default)
    #[arg(long, conflicts_with_all = ["globals", "globals_only"])]
    pub no_globals: bool,
    /// With --globals, leave the passwords of roles alone
    #[arg(long)]
    pub no_role_passwords: bool,
    /// Print the table of contents, or what is chosen of it, in pg_restore's format, for -L
    #[arg(short = 'l', long)]
    pub list: bool,
    /// Print what would be done, and do nothing; with -d also what the target lacks, if it can be reached
    #[arg(long)]
    pub dry_run: bool,
    /// Leave out what the connected role may not do in the target (event triggers, owners, objects of a provider...), and say
    /// what that was
    #[arg(long)]
    pub no_superuser: bool,
    /// Collect errors instead of stopping at the first; the exit code is 8 then
    #[arg(long)]
    pub keep_going: bool,
    /// Go on with a restore of this backup into this target that died, with the same choice; where there was none, begin
    #[arg(long)]
    pub resume: bool,
    /// Wait no longer than this for a lock that somebody else holds, such as 10s or 2m [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = super::size::duration)]
    pub lock_timeout: Option<Duration>,
    /// Read every restored table back and compare its rows with those of the backup; the exit code is 6 if they differ
    #[arg(long)]
    pub verify: bool,
    /// Print one JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

impl RestoreArgs {
    /// Runs the verb.
    pub(super) async fn run(&self, context: Context) -> Result<()> {
        let options = self.options().await?;
        let display = context.display("restore", self.json || self.dry_run || self.list);
        let report = restore(options, context.progress, context.stop).await;
        display.finish();
        let report = report?;
        if self.list {
            return print(&contents(&report));
        }
        self.print_report(&report)?;
        partial(&report).map_or(Ok(()), Err)
    }

    async fn options(&self) -> Result<RestoreOptions> {
        let choice = self.choice.choice()?;
        let (store, wanted) = self.archive.open().await?;
        Ok(RestoreOptions {
            connection: if self.database.is_none() && (self.dry_run || self.list) {
                // Nobody is asked.
                ConnectionSettings::resolve(None, &environment)?
            } else {
                Script::target(self.database.as_deref(), &environment)?
            },
            store,
            wanted,
            jobs: usize::from(self.jobs),
            memory: self.memory,
            globals: (self.globals || self.globals_only).then_some(GlobalsChoice {
                only: self.globals_only,
                passwords: !self.no_role_passwords,
                tablespaces: !choice.no_tablespaces,
                comments: !choice.no_comments,
                labels: !choice.no_security_labels,
                privileges: !choice.no_privileges,
            }),
            choice,
            create: self.choice.create,
            clean: self.choice.clean,
            if_exists: self.choice.if_exists,
            dry_run: self.dry_run || self.list,
            look: self.database.is_some() && !self.list,
            no_superuser: self.no_superuser,
            keep_going: self.keep_going,
            resume: self.resume,
            verify: self.verify,
            lock_timeout: self.lock_timeout,
        })
    }

    fn print_report(&self, report: &RestoreReport) -> Result<()> {
        let dry_run = self.dry_run;
        if self.json {
            let steps: Vec<String> = report.plan.steps.iter().map(Step::label).collect();
            return print_json(&json!({
                "archive": report.archive,
                "backup": report.backup,
                "database": report.database,
                "dry_run": dry_run,
                "resumed_after": report.resumed_after,
                "tables": report.tables,
                "rows": report.rows,
                "seconds": report.seconds,
                "errors": report.errors,
                "verified": report.comparison.as_ref().map(|found| json!({
                    "tables": found.tables,
                    "of_extensions": found.of_extensions,
                    "differences": found.differences,
                })),
                "lacks": report.lacks.iter()
                    .map(|lack| json!({"what": lack.what, "hint": lack.hint})).collect::<Vec<_>>(),
                "warnings": report.warnings,
                "globals": report.globals.as_ref().map(|globals| json!({
                    "made": globals.made,
                    "altered": globals.altered,
                    "statements": if dry_run { json!(globals.statements) } else { json!(globals.statements.len()) },
                })),
                "left_out": report.plan.left_out.iter()
                    .map(|(reason, count)| json!({"reason": reason, "entries": count})).collect::<Vec<_>>(),
                "steps": if dry_run { json!(steps) } else { json!(steps.len()) },
            }));
        }
        let mut lines = report.globals.as_ref().map_or_else(Vec::new, |globals| globals_lines(globals, dry_run));
        if dry_run {
            let mut phase = None;
            for step in &report.plan.steps {
                if phase != Some(step.phase) {
                    phase = Some(step.phase);
                    lines.push(format!("{:?}", step.phase).to_lowercase());
                }
                let rows = step.data.as_ref().and_then(|data| data.rows);
                let rows = rows.map_or(String::new(), |rows| format!(", {} rows", HumanCount(rows)));
                lines.push(format!("  {}{rows}", plain(&step.label())));
            }
            lines.push(format!(
                "would restore {} entries of {} into {}; nothing was done",
                report.plan.steps.len(),
                plain(&report.archive),
                plain(&report.database)
            ));
        } else if self.globals_only {
            lines.push(format!("restored roles and tablespaces of {}", plain(&report.archive)));
        } else {
            lines.extend(report.resumed_after.map(|steps| format!("went on after {steps} steps of an earlier run")));
            lines.push(format!(
                "restored {} into database {}: {}, {}, {:.1} s",
                plain(&report.archive),
                plain(&report.database),
                counted(report.tables, "table", "tables"),
                counted(report.rows, "row", "rows"),
                report.seconds
            ));
        }
        lines
            .extend(report.plan.left_out.iter().map(|(reason, count)| format!("left out: {count} entries ({reason})")));
        lines.extend(report.lacks.iter().map(|lack| format!("the target lacks {}", plain(&lack.line()))));
        lines.extend(report.warnings.iter().map(|warning| format!("warning: {}", plain(warning))));
        lines.extend(report.errors.iter().map(|error| format!("failed: {error}")));
        lines.extend(report.comparison.iter().flat_map(comparison_lines));
        print(&lines)
    }
}

/// A line for each chosen entry, as `pg_restore --list` writes it (`PrintTOCSummary`, `pg_backup_archiver.c`).
fn contents(report: &RestoreReport) -> Vec<String> {
    let mut lines = vec![format!("; {} of database {}", report.archive, plain(&report.database)), ";".to_owned()];
    lines.extend(report.plan.steps.iter().map(|step| {
        let entry = &step.entry;
        let schema = entry.schema.as_deref().unwrap_or("-");
        let owner = entry.owner.as_deref().unwrap_or_default();
        let numbers = format!("{}; {} {}", entry.id, entry.table_oid, entry.oid);
        plain(&format!("{numbers} {} {schema} {} {owner}", entry.desc, entry.tag))
    }));
    lines
}

/// What the target was found to hold.
fn comparison_lines(found: &Comparison) -> Vec<String> {
    let mut lines: Vec<String> = found.differences.iter().map(|line| format!("differs: {}", plain(line))).collect();
    lines.push(format!(
        "compared {} tables with the backup, row by row: {} differ",
        HumanCount(found.tables),
        HumanCount(found.differences.len() as u64)
    ));
    if found.of_extensions > 0 {
        lines.push(format!("not compared: {} tables of extensions, which add rows of their own", found.of_extensions));
    }
    lines
}

/// What was made and what was altered; in a dry run the statements, which have no passwords here.
fn globals_lines(globals: &GlobalsReport, dry_run: bool) -> Vec<String> {
    if dry_run {
        let statements = globals.statements.iter().map(|statement| format!("  {}", plain(statement)));
        return std::iter::once("roles and tablespaces".to_owned()).chain(statements).collect();
    }
    let made = globals.made.iter().map(|what| format!("made: {}", plain(what)));
    made.chain(globals.altered.iter().map(|what| format!("was there, altered: {}", plain(what)))).collect()
}
