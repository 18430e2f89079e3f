//! `pgstow export`: an archive as a script for psql, or as a folder on the local disk.
//!
//! The order of things: open the archive, choose (the plan is restore's), write. A script is one stream in pg_dump's
//! order, a folder is a verified copy. Memory is bounded by a few chunks either way.

mod folder;
mod script;

use super::restore::{Choice, choose};
use super::source::{Source, Wanted};
use super::{Progress, Stop};
use crate::error::{Error, Kind, Result};
use crate::store::Store;
use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use tokio::io::{AsyncWrite, AsyncWriteExt, BufWriter};

/// So many bytes of a script are gathered before they are written.
const BUFFER: usize = 256 << 10;

/// Where a script goes: a file, or standard output.
pub type Sink = Pin<Box<dyn AsyncWrite + Send>>;

/// What to export, and as what.
#[derive(Debug)]
pub struct ExportOptions {
    /// Where the archive lies.
    pub store: Arc<dyn Store>,
    /// Which archive.
    pub wanted: Wanted,
    /// As what.
    pub form: Form,
}

/// What an archive becomes.
#[expect(clippy::large_enum_variant, reason = "there is one of it in a run")]
pub enum Form {
    /// A script for psql.
    Script(Script),
    /// A directory archive in this folder, which must not exist or be empty.
    Directory(PathBuf),
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Form::Script(_) => f.write_str("Script"),
            Form::Directory(folder) => f.debug_tuple("Directory").field(folder).finish(),
        }
    }
}

/// A script: where to, and what of the archive.
pub struct Script {
    /// Where it goes.
    pub sink: Sink,
    /// Which entries, and what of them.
    pub choice: Choice,
    /// Begin with making the database under the name it had, and connecting to it.
    pub create: bool,
    /// Drop what the archive holds before making it.
    pub clean: bool,
    /// With `clean`: what is not there is no error.
    pub if_exists: bool,
}

/// What was exported.
#[derive(Debug, Clone)]
pub struct ExportReport {
    /// What was exported, such as `backup 20261124T010203Z-4f7a2c`.
    pub archive: String,
    /// Tables whose rows were written.
    pub tables: u64,
    /// Rows, as far as the archive counts them.
    pub rows: u64,
    /// Bytes written.
    pub bytes: u64,
    /// How many entries were left out, by reason.
    pub left_out: Vec<(String, usize)>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// Exports.
///
/// Errors: [`Kind::Archive`] for an archive that is missing or damaged, which may only show when a part of a script was
/// written; [`Kind::Target`] for a folder that is not empty; [`Kind::Internal`] when the file cannot be written.
pub async fn export(options: ExportOptions, progress: Arc<Progress>, stop: Stop) -> Result<ExportReport> {
    progress.phase("reading the archive");
    let source = stop.unless(Source::open(&options.store, &options.wanted)).await?;
    stop.unless(source.refuse_frozen()).await?;
    let mut report = ExportReport {
        archive: source.name(),
        tables: 0,
        rows: 0,
        bytes: 0,
        left_out: Vec::new(),
        warnings: source.warnings(),
        seconds: 0.0,
    };
    match options.form {
        Form::Directory(folder) => {
            let tables = source.tables.len() - source.further_segments().len();
            progress.expect(tables as u64, source.tables.values().map(|table| table.raw_bytes).sum());
            progress.phase("copying");
            folder::copy(&source, &folder, &progress, &stop, &mut report).await?;
        }
        Form::Script(script) => {
            let plan = choose::plan(&source, &script.choice, script.create)?;
            progress.expect(plan.table_count(), plan.raw_bytes());
            progress.phase("writing");
            report.left_out.clone_from(&plan.left_out);
            let mut out = Output { sink: BufWriter::with_capacity(BUFFER, script.sink), bytes: 0 };
            let style = script::Style {
                choice: script.choice,
                create: script.create,
                clean: script.clean,
                if_exists: script.if_exists,
            };
            stop.unless(script::write(&source, &plan, &style, &mut out, &progress, &mut report)).await?;
            stop.unless(out.finish()).await?;
            report.bytes = out.bytes;
        }
    }
    report.seconds = progress.seconds();
    progress.phase("done");
    Ok(report)
}

/// The way out of a script, which counts.
struct Output {
    sink: BufWriter<Sink>,
    bytes: u64,
}

impl Output {
    async fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        self.sink.write_all(bytes).await.map_err(unwritable)
    }

    async fn text(&mut self, text: &str) -> Result<()> {
        self.bytes(text.as_bytes()).await
    }

    async fn finish(&mut self) -> Result<()> {
        // Closing alone is not enough for standard output, which writes behind.
        self.sink.flush().await.map_err(unwritable)?;
        self.sink.shutdown().await.map_err(unwritable)
    }
}

fn unwritable(error: std::io::Error) -> Error {
    Error::new(Kind::Internal, "the script cannot be written").because(error)
}
