//! `pgstow export`: arguments, options, report.

use super::Context;
use super::choice::ChoiceArgs;
use super::output::{plain, print, print_json, stdout};
use super::store::ArchiveArgs;
use super::table::counted;
use crate::commands::export::{ExportOptions, ExportReport, Form, Script, Sink, export};
use crate::error::{Error, Kind, Result};
use clap::{Args, ValueEnum};
use indicatif::HumanBytes;
use serde_json::json;
use std::path::{Path, PathBuf};

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
        let unfinished = if to_stdout { None } else { self.unfinished() };
        let options = self.options(unfinished.as_deref()).await?;
        let display = context.display("export", self.json);
        let report = export(options, context.progress, context.stop).await;
        display.finish();
        if let Some(unfinished) = unfinished {
            self.settle(&unfinished, report.is_ok())?;
        }
        let report = report?;
        if to_stdout {
            report.warnings.iter().for_each(|warning| tracing::warn!("{}", plain(warning)));
            return Ok(());
        }
        self.print_report(&report)
    }

    async fn options(&self, unfinished: Option<&Path>) -> Result<ExportOptions> {
        let choice = self.choice.choice()?;
        if self.format == Format::Directory && self.choice.is_anything(&choice) {
            return Err(Error::new(Kind::Usage, "a directory is a copy of the whole archive")
                .hint("choose when you restore it, with pgstow restore --archive or pg_restore"));
        }
        let (store, wanted) = self.archive.open().await?;
        let form = match self.format {
            Format::Directory => Form::Directory(self.folder()?),
            Format::Plain => Form::Script(Script {
                sink: self.sink(unfinished).await?,
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

    /// Where a script is written until it is whole, so that half of one is never taken for all; nowhere, where the file is
    /// something that cannot be replaced, such as a pipe.
    fn unfinished(&self) -> Option<PathBuf> {
        let is_replaced = std::fs::symlink_metadata(&self.file).map_or(true, |there| there.is_file());
        let name = self.file.file_name().filter(|_| is_replaced && self.format == Format::Plain)?;
        let mut name = name.to_owned();
        name.push(".unfinished");
        Some(self.file.with_file_name(name))
    }

    /// Puts the whole script in its place, or removes what there is of it.
    fn settle(&self, unfinished: &Path, is_whole: bool) -> Result<()> {
        if is_whole {
            return std::fs::rename(unfinished, &self.file).map_err(|error| unwritable(&self.file, error));
        }
        if let Err(error) = std::fs::remove_file(unfinished) {
            tracing::warn!(file = %unfinished.display(), %error, "could not remove half a script");
        }
        Ok(())
    }

    async fn sink(&self, unfinished: Option<&Path>) -> Result<Sink> {
        if self.file.as_os_str() == "-" {
            return Ok(stdout());
        }
        // It holds all that the database holds, so it is for nobody else.
        let mut options = tokio::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let path = unfinished.unwrap_or(&self.file);
        let file = options.open(path).await.map_err(|error| unwritable(&self.file, error))?;
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
            "exported {} to {}: {}, {}, {}, {:.1} s",
            plain(&report.archive),
            plain(&self.file.display().to_string()),
            counted(report.tables, "table", "tables"),
            counted(report.rows, "row", "rows"),
            HumanBytes(report.bytes),
            report.seconds
        )];
        lines.extend(report.left_out.iter().map(|(reason, count)| format!("left out: {count} entries ({reason})")));
        lines.extend(report.warnings.iter().map(|warning| format!("warning: {}", plain(warning))));
        print(&lines)
    }
}

fn unwritable(file: &Path, error: std::io::Error) -> Error {
    Error::new(Kind::Usage, "cannot write this file").on(file.display().to_string()).because(error)
}
