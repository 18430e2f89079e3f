//! A script for psql, in pg_dump's order: everything in the order of the table of contents, then privileges, then
//! refreshes and event triggers (`RestoreArchive` in `pg_backup_archiver.c`).
//!
//! Always true here: an archive is not trusted. What becomes a comment has no line breaks; psql runs the whole script
//! restricted, with a key that the archive cannot know, so that no text of the archive can become one of its commands;
//! rows end with one `\.` of ours.

use super::{ExportReport, Output};
use crate::archive::Charset;
use crate::archive::script::restrict_key;
use crate::archive::toc::TocEntry;
use crate::commands::Progress;
use crate::commands::restore::choose::{Phase, Plan, Step};
use crate::commands::restore::load::{Decoder, next_chunk, open};
use crate::commands::restore::triggers::{Switches, switches};
use crate::commands::restore::{Choice, statements};
use crate::commands::source::{BlobObject, Source, TableObject};
use crate::error::{Error, Kind, Result};
use crate::model::{ident, literal, one_line};
use crate::stream::statements::StatementCutter;
use crate::stream::terminator::TerminatorStripper;
use bytes::Bytes;

/// So many decoded bytes are written at once.
const CHUNK: usize = 256 << 10;
/// So many bytes of a large object per statement, which has two digits a byte (stock: `LOBBUFSIZE`).
const PIECE: usize = 16 << 10;

/// More than any table has (`MaxTupleAttributeNumber` is 1664).
const MOST_COLUMNS: usize = 1700;

/// What a script holds beside the plan.
pub(super) struct Style {
    pub(super) choice: Choice,
    pub(super) create: bool,
    pub(super) clean: bool,
    pub(super) if_exists: bool,
}

/// What psql's session needs (`_doSetFixedOutputState`). `transaction_timeout` exists from 17 on, so it is asked for.
const SETTINGS: &str = "\
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name = 'transaction_timeout';
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SELECT pg_catalog.set_config('search_path', '', false);
";

/// Writes the whole script.
pub(super) async fn write(
    source: &Source,
    plan: &Plan,
    style: &Style,
    out: &mut Output,
    progress: &Progress,
    report: &mut ExportReport,
) -> Result<()> {
    let key = restrict_key();
    out.text("--\n-- PostgreSQL database dump\n--\n\n").await?;
    out.text(&format!("\\restrict {key}\n\n")).await?;
    out.text(&format!("-- Dumped from database version {}\n", one_line(&source.toc.server_version))).await?;
    out.text(&format!("-- Dumped by {}\n", one_line(&source.toc.dumper_version))).await?;
    out.text(&format!("-- Written by pgstow {} from {}\n\n", env!("CARGO_PKG_VERSION"), one_line(&source.name())))
        .await?;
    let settings = settings(source);
    out.text(&settings).await?;
    if style.create {
        make_database(plan, style, &key, out).await?;
        out.text(&settings).await?;
    }
    if style.clean && !style.create {
        for (label, sql) in statements::drops(plan, style.if_exists) {
            out.text(&format!("-- Drop {}\n{}\n", one_line(&label), sql.trim_end())).await?;
        }
        out.text("\n").await?;
    }
    let charset = source.toc.charset();
    let mut placement = statements::Placement::of(&style.choice);
    let further = plan.further_segments();
    let switches = if style.choice.disable_triggers { switches(plan) } else { Switches::new() };
    let passes: [&[Phase]; 3] = [
        &[Phase::Definitions, Phase::Parallel, Phase::ForeignKeys],
        &[Phase::Privileges],
        &[Phase::Last, Phase::EventTriggers],
    ];
    for phases in passes {
        for step in plan.steps.iter().filter(|step| phases.contains(&step.phase)) {
            heading(&step.entry, &style.choice, out).await?;
            if let Some(data) = &step.data {
                let switch = switches.get(&step.entry.id);
                if let Some(switch) = switch {
                    out.text(&format!("{};\n\n", switch.off)).await?;
                }
                let rows = rows(source, step, data, &charset, out, progress).await;
                report.rows += rows.map_err(|error| error.on(step.label()))?;
                if let Some(switch) = switch {
                    out.text(&format!("{};\n\n", switch.on)).await?;
                }
                if !further.contains(&step.entry.id) {
                    report.tables += 1;
                    progress.table_done();
                }
            } else if step.entry.desc == "BLOBS" {
                let blobs = source.large_objects.get(&step.entry.id).map_or(&[][..], Vec::as_slice);
                large_objects(source, blobs, out, progress).await?;
            } else {
                for sql in statements::of_step(step, &style.choice, plan.is_partial, &mut placement) {
                    out.text(&format!("{}\n", sql.trim_end())).await?;
                }
            }
            out.text("\n").await?;
        }
    }
    out.text(&format!("--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict {key}\n\n")).await
}

fn settings(source: &Source) -> String {
    let encoding = if source.toc.charset().name() == "SQL_ASCII" { "SQL_ASCII" } else { "UTF8" };
    let standard = if source.toc.standard_conforming_strings() { "on" } else { "off" };
    format!("SET client_encoding = {};\nSET standard_conforming_strings = {standard};\n{SETTINGS}\n", literal(encoding))
}

/// `-C`: makes the database and connects to it, which psql does not do while it is restricted.
async fn make_database(plan: &Plan, style: &Style, key: &str, out: &mut Output) -> Result<()> {
    let steps: Vec<&Step> = plan.steps.iter().filter(|step| step.phase == Phase::Database).collect();
    let Some(database) = steps.iter().find(|step| step.entry.desc == "DATABASE") else {
        return Err(Error::new(Kind::Archive, "the archive does not say how to make its database")
            .hint("make the database yourself and export without -C"));
    };
    if style.clean
        && let Some(sql) = statements::drop(&database.entry, style.if_exists)
    {
        out.text(&format!("{}\n", sql.trim_end())).await?;
    }
    let mut placement = statements::Placement::of(&style.choice);
    for step in &steps {
        heading(&step.entry, &style.choice, out).await?;
        for sql in statements::of_step(step, &style.choice, plan.is_partial, &mut placement) {
            out.text(&format!("{}\n", sql.trim_end())).await?;
        }
        out.text("\n").await?;
    }
    let connect = connect(&database.entry.tag)?;
    out.text(&format!("\\unrestrict {key}\n\n{connect}\n\\restrict {key}\n\n")).await
}

/// psql's command to connect to a database of this name on the same server (`appendPsqlMetaConnect`,
/// `src/fe_utils/string_utils.c`): a connection string where the name is not plain, quoted for libpq and then for psql.
fn connect(name: &str) -> Result<String> {
    if name.contains(['\n', '\r']) {
        return Err(Error::new(Kind::Usage, "psql cannot connect to a database whose name holds a line break")
            .on(one_line(name))
            .hint("make the database yourself and export without -C"));
    }
    if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.')) {
        return Ok(format!("\\connect {name}\n"));
    }
    let for_libpq = name.replace('\\', "\\\\").replace('\'', "\\'");
    Ok(format!("\\connect -reuse-previous=on {}\n", ident(&format!("dbname='{for_libpq}'"))))
}

/// The comment above an entry.
async fn heading(entry: &TocEntry, choice: &Choice, out: &mut Output) -> Result<()> {
    let schema = entry.schema.as_deref().unwrap_or("-");
    let owner = entry.owner.as_deref().filter(|owner| !owner.is_empty() && !choice.no_owner).unwrap_or("-");
    let line = format!("Name: {}; Type: {}; Schema: {schema}; Owner: {owner}", entry.tag, entry.desc);
    out.text(&format!("--\n-- {}\n--\n\n", one_line(&line))).await
}

/// A table's rows, as COPY text or as the statements they are; gives their number as far as the archive counts them.
async fn rows(
    source: &Source,
    step: &Step,
    data: &TableObject,
    charset: &Charset,
    out: &mut Output,
    progress: &Progress,
) -> Result<u64> {
    let key = &data.object.key;
    let mut decoder = open(&source.origin, &data.object).await?;
    let Some(copy) = step.entry.copy.as_deref() else {
        let mut cutter = StatementCutter::default();
        loop {
            let chunk = next_chunk(&mut decoder, CHUNK, key).await?;
            if chunk.is_empty() {
                break;
            }
            let statements = cutter.push(&chunk);
            out.text(&charset.decode(&statements).map_err(|error| error.on(key.clone()))?).await?;
            progress.moved_raw(chunk.len() as u64);
        }
        out.text("\n").await?;
        return cutter.finish().map_err(|error| error.on(key.clone()));
    };
    out.text(&format!("{}\n", copy.trim_end())).await?;
    match copy_text(&mut decoder, data, out, progress).await {
        Ok(lines) => {
            out.text("\\.\n\n").await?;
            progress.moved_rows(lines);
            progress.moved_stored(data.object.bytes);
            Ok(lines)
        }
        Err(error) => {
            // At the end of its input psql would take the rows so far for all. More columns than a table can have make
            // the server refuse them instead.
            let spoiled = out.text(&format!("{}\n", "\t".repeat(MOST_COLUMNS))).await;
            let _unwritable = spoiled.and(out.finish().await);
            Err(error)
        }
    }
}

/// The rows without their terminator, checked to the last byte; gives their number.
async fn copy_text(decoder: &mut Decoder, data: &TableObject, out: &mut Output, progress: &Progress) -> Result<u64> {
    let key = &data.object.key;
    let mut stripper = TerminatorStripper::default();
    let mut lines = 0u64;
    loop {
        let chunk = next_chunk(decoder, CHUNK, key).await?;
        if chunk.is_empty() {
            break;
        }
        let rows: Bytes = stripper.push(chunk);
        lines += rows.iter().fold(0, |count, &byte| count + u64::from(byte == b'\n'));
        progress.moved_raw(rows.len() as u64);
        out.bytes(&rows).await?;
    }
    stripper.finish().map_err(|error| error.on(key.clone()))?;
    if let Some(promised) = data.rows
        && promised != lines
    {
        return Err(
            Error::new(Kind::Archive, format!("{lines} rows, the manifest promises {promised}")).on(key.clone())
        );
    }
    Ok(lines)
}

/// The contents of large objects, in statements that psql can run (`_StartLO` and `_EndLO`); the objects have been made.
async fn large_objects(source: &Source, blobs: &[BlobObject], out: &mut Output, progress: &Progress) -> Result<()> {
    if blobs.is_empty() {
        return Ok(());
    }
    // A descriptor lives as long as its transaction.
    out.text("BEGIN;\n\n").await?;
    for blob in blobs {
        large_object(source, blob, out, progress)
            .await
            .map_err(|error| error.on(format!("large object {}", blob.oid)))?;
    }
    out.text("COMMIT;\n").await
}

async fn large_object(source: &Source, blob: &BlobObject, out: &mut Output, progress: &Progress) -> Result<()> {
    let mut decoder = open(&source.origin, &blob.object).await?;
    // 131072 is INV_WRITE (libpq-fs.h).
    out.text(&format!("SELECT pg_catalog.lo_open('{}', 131072);\n", blob.oid)).await?;
    let mut size = 0u64;
    loop {
        let piece = next_chunk(&mut decoder, PIECE, &blob.object.key).await?;
        if piece.is_empty() {
            break;
        }
        size += piece.len() as u64;
        out.text(&format!("SELECT pg_catalog.lowrite(0, '\\x{}');\n", faster_hex::hex_string(&piece))).await?;
        progress.moved_raw(piece.len() as u64);
    }
    if let Some(promised) = blob.size
        && promised != size
    {
        return Err(
            Error::new(Kind::Archive, format!("{size} bytes instead of {promised}")).on(blob.object.key.clone())
        );
    }
    progress.moved_stored(blob.object.bytes);
    out.text("SELECT pg_catalog.lo_close(0);\n\n").await
}

#[cfg(test)]
mod tests {
    use super::connect;

    #[test]
    fn psql_connects_to_a_database_of_any_name_but_one_with_a_line_break() {
        assert_eq!(connect("shop_2.x").expect("plain"), "\\connect shop_2.x\n");
        assert_eq!(connect("a \"b\"").expect("quoted"), "\\connect -reuse-previous=on \"dbname='a \"\"b\"\"'\"\n");
        assert_eq!(connect("it's\\").expect("quoted"), "\\connect -reuse-previous=on \"dbname='it\\'s\\\\'\"\n");
        connect("a\n\\! rm").expect_err("a line break");
    }
}
