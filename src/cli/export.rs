//! `pgstow export`: arguments, options, report.

use super::Context;
use super::choice::ChoiceArgs;
use super::output::{plain, print, print_json, stdout};
use super::store::ArchiveArgs;
use crate::commands::export::{ExportOptions, ExportReport, Form, Script, Sink, export};
use crate::error::{Error, Kind, Result};
use clap::{Args, ValueEnum};
use indicatif::{HumanBytes, HumanCount};
use serde_json::json;
use std::path::PathBuf;

/// `pgstow export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// What to export.
    #[command(flatten)]
    pub archive: ArchiveArgs,
    /// Where to: a file for a script, - for standard output, a folder that does not exist yet for a directory
    #[arg(short, long, value_name = "PATH")]
    pub file: PathBuf,
    /// As what
    #[arg(short = 'F', long, value_enum, default_value_t = Format::Plain)]
    pub format: Format,
    /// What of it, and how.
    #[command(flatten)]
    pub choice: ChoiceArgs,
    /// Print one JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

/// What an archive becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A script for psql.
    #[value(alias = "p")]
    Plain,
    /// A directory archive, whole and verified, for pg_restore and for `pgstow restore --archive`.
    #[value(alias = "d")]
    Directory,
}

impl ExportArgs {
    /// Runs the verb.
    pub(super) async fn run(&self, context: Context) -> Result<()> {
        let to_stdout = self.format == Format::Plain && self.file.as_os_str() == "-";
        if to_stdout && self.json {
            return Err(Error::new(Kind::Usage, "standard output cannot hold the script and a JSON document"));
        }
        let options = self.options(to_stdout).await?;
        let display = context.display("export", self.json);
        let report = export(options, context.progress, context.stop).await;
        display.finish();
        let report = report?;
        if to_stdout {
            report.warnings.iter().for_each(|warning| tracing::warn!("{}", plain(warning)));
            return Ok(());
        }
        self.print_report(&report)
    }

    async fn options(&self, to_stdout: bool) -> Result<ExportOptions> {
        let choice = self.choice.choice()?;
        if self.format == Format::Directory && self.choice.is_anything(&choice) {
            return Err(Error::new(Kind::Usage, "a directory is a copy of the whole archive")
                .hint("choose when you restore it, with pgstow restore --archive or pg_restore"));
        }
        let (store, wanted) = self.archive.open().await?;
        let form = match self.format {
            Format::Directory => Form::Directory(self.folder()?),
            Format::Plain => Form::Script(Script {
                sink: self.sink(to_stdout).await?,
                choice,
                create: self.choice.create,
                clean: self.choice.clean,
                if_exists: self.choice.if_exists,
            }),
        };
        Ok(ExportOptions { store, wanted, form })
    }

    fn folder(&self) -> Result<PathBuf> {
        std::path::absolute(&self.file).map_err(|error| {
            Error::new(Kind::Usage, "this is no path").on(self.file.display().to_string()).because(error)
        })
    }

    async fn sink(&self, to_stdout: bool) -> Result<Sink> {
        if to_stdout {
            return Ok(stdout());
        }
        let file = tokio::fs::File::create(&self.file).await.map_err(|error| {
            Error::new(Kind::Usage, "cannot write this file").on(self.file.display().to_string()).because(error)
        })?;
        Ok(Box::pin(file))
    }

    fn print_report(&self, report: &ExportReport) -> Result<()> {
        if self.json {
            return print_json(&json!({
                "archive": report.archive,
                "file": self.file,
                "tables": report.tables,
                "rows": report.rows,
                "bytes": report.bytes,
                "seconds": report.seconds,
                "warnings": report.warnings,
                "left_out": report.left_out.iter()
                    .map(|(reason, count)| json!({"reason": reason, "entries": count})).collect::<Vec<_>>(),
            }));
        }
        let mut lines = vec![format!(
            "exported {} to {}: {} tables, {} rows, {}, {:.1} s",
            plain(&report.archive),
            plain(&self.file.display().to_string()),
            HumanCount(report.tables),
            HumanCount(report.rows),
            HumanBytes(report.bytes),
            report.seconds
        )];
        lines.extend(report.left_out.iter().map(|(reason, count)| format!("left out: {count} entries ({reason})")));
        lines.extend(report.warnings.iter().map(|warning| format!("warning: {}", plain(warning))));
        print(&lines)
    }
}
