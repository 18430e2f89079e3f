//! One unit of a table, from the server's socket into frames.

use super::again::{self, Skipper, Taken};
use super::pace::Pace;
use super::queue::{Message, OpenTable, Work};
use super::ranges::Pages;
use super::tables::TableJob;
use super::{DumpOptions, READING, follow_snapshot};
use crate::commands::Progress;
use crate::error::{Error, Kind, Result};
use crate::model::qualified;
use crate::postgres::{CopyOut, Piece, Session, Snapshot, allow_foreign_tables, sqlstate};
use crate::stream::binary::{ToText, Unusual};
use crate::stream::frames::{FrameBuilder, RawFrame};
use crate::stream::rows::RowsDigest;
use std::collections::HashSet;
use std::sync::Arc;
use tokio::sync::{OwnedMutexGuard, Semaphore, mpsc};

/// `lock_not_available`: what NOWAIT answers.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// One worker's connection and what it may hold.
pub(super) struct Reader {
    session: Session,
    /// Tables that this connection has locked; its transaction is open to the end.
    locked: HashSet<usize>,
    frame_bytes: usize,
    pace: Arc<Pace>,
    /// What a new connection is made from.
    source: Arc<(DumpOptions, Snapshot)>,
    /// Frames that are on their way. The one that is being filled has none yet.
    tickets: Arc<Semaphore>,
}

impl Reader {
    pub(super) fn new(
        session: Session,
        source: Arc<(DumpOptions, Snapshot)>,
        frame_bytes: usize,
        frames: usize,
        pace: Arc<Pace>,
    ) -> Self {
        let tickets = Arc::new(Semaphore::new(frames.saturating_sub(1).max(1)));
        Reader { session, source, locked: HashSet::new(), frame_bytes, pace, tickets }
    }

    /// The connection, when there are no units left.
    pub(super) fn into_session(self) -> Session {
        self.session
    }

    /// Reads the unit's rows and sends them to the table's writer. Ends early without an error when the writer is gone, for
    /// then it knows why. A connection that is lost is made anew, and the unit goes on where it was.
    pub(super) async fn read(&mut self, work: &Work, progress: &Progress) -> Result<()> {
        if work.table.job.data.copy_out.is_empty() {
            return Ok(());
        }
        let tickets = Arc::clone(&self.tickets);
        let line = Line { table: &work.table, sender: &work.sender, tickets: &tickets, turn: None, progress };
        let builder = FrameBuilder::new(self.frame_bytes);
        let mut unit = Unit { line, builder, full: Vec::new(), sent: RowsDigest::default(), within: 0 };
        let mut tries = 0;
        loop {
            let error = match self.read_on(work, &mut unit).await {
                Ok(Read::Whole) => return Ok(()),
                Ok(Read::Unusual) => {
                    self.go_on_as_text(work, &mut tries).await?;
                    continue;
                }
                Err(error) => error,
            };
            if !again::is_of_connection(&error) || tries == again::TRIES {
                return Err(error);
            }
            tracing::warn!(table = work.table.job.label(), "{error}; reading on over a new connection");
            self.session = again::reconnect(&self.source, READING, &mut tries, error).await?;
            // Its locks went with the old connection.
            self.locked.clear();
        }
    }

    /// Has the rest of the table as text. The COPY that runs can only be ended together with its connection.
    async fn go_on_as_text(&mut self, work: &Work, tries: &mut u32) -> Result<()> {
        tracing::debug!(table = work.table.job.label(), "a value is unusual: rows are read as text from here on");
        work.table.read_as_text();
        let (options, snapshot) = &*self.source;
        self.session = match follow_snapshot(options, snapshot, READING).await {
            Ok(session) => session,
            Err(error) => again::reconnect(&self.source, READING, tries, error).await?,
        };
        self.locked.clear();
        Ok(())
    }

    /// Reads what is left of the unit.
    async fn read_on(&mut self, work: &Work, unit: &mut Unit<'_>) -> Result<Read> {
        let is_foreign = work.table.job.data.foreign;
        if is_foreign {
            allow_foreign_tables(&self.session, true).await?;
        }
        let read = self.read_rows(work, unit).await?;
        if is_foreign {
            allow_foreign_tables(&self.session, false).await?;
        }
        Ok(read)
    }

    async fn read_rows(&mut self, work: &Work, unit: &mut Unit<'_>) -> Result<Read> {
        let layouts = work.table.layouts();
        tracing::debug!(rows = work.table.job.label(), in_binary = layouts.is_some());
        let rows = self.session.copy_out(&self.statements(work, layouts.is_some())).await.map_err(|error| {
            let locked_out = sqlstate(&error) == Some(LOCK_NOT_AVAILABLE);
            if locked_out {
                return error.hint(
                    "somebody waits for an exclusive lock on the table (a migration?); let it finish and dump again",
                );
            }
            error
        })?;
        self.locked.insert(work.table.number);
        let mut rows = Rows { copy: rows, converter: layouts.map(|layouts| ToText::new(Arc::clone(layouts))) };
        match self.skip(&mut rows, unit).await? {
            Skipped::ToTheRest => {}
            Skipped::NobodyWaits => return Ok(Read::Whole),
            Skipped::Unusual => return Ok(Read::Unusual),
        }
        loop {
            loop {
                match rows.piece() {
                    Ok(Some(piece)) => unit.take(piece),
                    Ok(None) => break,
                    Err(Unusual) => return Ok(Read::Unusual),
                }
                if !unit.full.is_empty() {
                    break;
                }
            }
            if unit.full.is_empty() {
                if !rows.copy.more().await? {
                    break;
                }
                continue;
            }
            if !unit.send(&self.pace).await? {
                return Ok(Read::Whole);
            }
        }
        if !rows.are_whole() {
            return Ok(Read::Unusual);
        }
        unit.finish().await?;
        Ok(Read::Whole)
    }

    /// Reads over what was taken before the connection was lost.
    async fn skip(&self, rows: &mut Rows, unit: &mut Unit<'_>) -> Result<Skipped> {
        let mut skipper = Skipper::new(unit.taken());
        while !skipper.is_done() {
            let mut read = 0;
            loop {
                let piece = match rows.piece() {
                    Ok(Some(piece)) => piece,
                    Ok(None) => break,
                    Err(Unusual) => return Ok(Skipped::Unusual),
                };
                read += piece.bytes.len() as u64;
                if let Some(new) = skipper.pass(piece)? {
                    unit.take(new);
                }
                if skipper.is_done() {
                    break;
                }
            }
            self.pace.take(read).await;
            if !skipper.is_done() && !rows.copy.more().await? {
                break;
            }
        }
        skipper.finish()?;
        Ok(if unit.send(&self.pace).await? { Skipped::ToTheRest } else { Skipped::NobodyWaits })
    }

    /// The statement that reads the rows, after the one that locks their table, unless that is locked already.
    ///
    /// The leader holds ACCESS SHARE already. If somebody queued for an exclusive lock in between, waiting here would be a
    /// deadlock that the server cannot see (`src/bin/pg_dump/parallel.c`, `lockTableForWorker`): so fail at once instead.
    fn statements(&self, work: &Work, in_binary: bool) -> String {
        let TableJob { schema, name, data, .. } = &work.table.job;
        let text = match work.pages {
            None => data.copy_out.clone(),
            Some(Pages { from, below }) => {
                let end = below.map_or(String::new(), |below| format!(" AND ctid < '({below},0)'"));
                format!("COPY ({} WHERE ctid >= '({from},0)'{end}) TO STDOUT;", data.select)
            }
        };
        let copy = match text.strip_suffix(';') {
            Some(start) if in_binary => format!("{start} WITH (FORMAT binary);"),
            _ => text,
        };
        if data.foreign || self.locked.contains(&work.table.number) {
            return copy;
        }
        format!("LOCK TABLE {} IN ACCESS SHARE MODE NOWAIT; {copy}", qualified(schema, name))
    }
}

/// How the reading of a unit ended without an error.
enum Read {
    /// All of it was read, or nobody takes it any more.
    Whole,
    /// Something is not understood in binary.
    Unusual,
}

/// How skipping ended without an error.
enum Skipped {
    ToTheRest,
    NobodyWaits,
    Unusual,
}

/// The rows of one COPY, as text or in binary.
struct Rows {
    copy: CopyOut,
    converter: Option<ToText>,
}

impl Rows {
    /// The next piece of COPY text of what was read already.
    fn piece(&mut self) -> std::result::Result<Option<Piece<'_>>, Unusual> {
        let Some(converter) = &mut self.converter else { return Ok(self.copy.piece()) };
        while let Some(piece) = self.copy.piece() {
            if let Some(left) = converter.push(piece.bytes, piece.left)? {
                return Ok(Some(Piece { bytes: converter.text(), left }));
            }
        }
        Ok(None)
    }

    /// At the end: whether it is one.
    fn are_whole(&self) -> bool {
        self.converter.as_ref().is_none_or(ToText::is_whole)
    }
}

/// What is being read, across connections.
struct Unit<'a> {
    line: Line<'a>,
    builder: FrameBuilder,
    full: Vec<RawFrame>,
    /// The rows of all frames that were full.
    sent: RowsDigest,
    /// Bytes of a row whose end has not come yet.
    within: usize,
}

impl Unit<'_> {
    fn take(&mut self, piece: Piece<'_>) {
        self.builder.push(piece.bytes, piece.left, &mut self.full);
        self.within = if piece.ends_row() { 0 } else { self.within + piece.bytes.len() };
    }

    /// Sends what is full; false when nobody takes it any more.
    async fn send(&mut self, pace: &Pace) -> Result<bool> {
        for frame in self.full.drain(..) {
            self.sent.add(frame.rows);
            pace.take(frame.bytes.len() as u64).await;
            if !self.line.send(frame).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sends the rest.
    async fn finish(&mut self) -> Result<()> {
        let builder = std::mem::replace(&mut self.builder, FrameBuilder::new(1));
        if let Some(frame) = builder.finish() {
            self.line.send(frame).await?;
        }
        Ok(())
    }

    fn taken(&self) -> Taken {
        let (mut rows, begun) = self.builder.so_far();
        rows.add(self.sent);
        Taken { rows, begun: begun.map(|hash| (self.within, hash)) }
    }
}

/// The way of one reader's frames to the writer.
struct Line<'a> {
    table: &'a OpenTable,
    sender: &'a mpsc::UnboundedSender<Message>,
    tickets: &'a Arc<Semaphore>,
    /// Kept while a row goes on in the next frame.
    turn: Option<OwnedMutexGuard<()>>,
    progress: &'a Progress,
}

impl Line<'_> {
    /// Sends a frame; false when nobody takes it any more.
    async fn send(&mut self, frame: RawFrame) -> Result<bool> {
        let ticket = Arc::clone(self.tickets).acquire_owned().await;
        let ticket =
            ticket.map_err(|error| Error::new(Kind::Internal, "the memory for frames is closed").because(error))?;
        let turn = match self.turn.take() {
            Some(turn) => turn,
            None => Arc::clone(&self.table.turn).lock_owned().await,
        };
        self.progress.moved_rows(frame.rows.rows());
        self.progress.moved_raw(frame.bytes.len() as u64);
        let goes_on = !frame.ends_row();
        let sent = self.sender.send(Ok((frame, ticket))).is_ok();
        self.turn = goes_on.then_some(turn);
        Ok(sent)
    }
}
