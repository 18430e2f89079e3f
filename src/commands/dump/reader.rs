//! One unit of a table, from the server's socket into frames.

use super::again::{self, Skipper, Taken};
use super::pace::Pace;
use super::queue::Work;
use super::ranges::Pages;
use super::tables::TableJob;
use super::{DumpOptions, READING, follow_snapshot};
use crate::commands::Progress;
use crate::error::{Error, Kind, Result};
use crate::model::qualified;
use crate::postgres::{
    CopyOut, Piece, Session, Snapshot, allow_foreign_tables, end_snapshot, import_snapshot, sqlstate,
};
use crate::stream::binary::{ToText, Unusual};
use crate::stream::frames::{FrameBuilder, RawFrame};
use crate::stream::rows::RowsDigest;
use std::collections::HashSet;
use std::sync::Arc;
use tokio::sync::{OwnedMutexGuard, Semaphore};

/// `lock_not_available`: what NOWAIT answers.
const LOCK_NOT_AVAILABLE: &str = "55P03";
/// `query_canceled`.
const QUERY_CANCELED: &str = "57014";
/// The name of the leader's savepoint.
const BEFORE_COPY: &str = "before_copy";

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// One of several, which can be replaced. It locks what it reads, and waits for no lock.
    Worker,
    /// The one that holds the snapshot and all locks.
    Leader,
}

/// A connection that reads, and what it may hold.
pub(super) struct Reader {
    session: Arc<Session>,
    role: Role,
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
        session: Arc<Session>,
        role: Role,
        source: Arc<(DumpOptions, Snapshot)>,
        (frame_bytes, frames): (usize, usize),
        pace: Arc<Pace>,
    ) -> Self {
        let tickets = Arc::new(Semaphore::new(frames.saturating_sub(1).max(1)));
        Reader { session, role, source, locked: HashSet::new(), frame_bytes, pace, tickets }
    }

    /// The connection, when there are no units left.
    pub(super) fn into_session(self) -> Arc<Session> {
        self.session
    }

    /// The size of the frames that it fills.
    pub(super) fn frame_bytes(&self) -> usize {
        self.frame_bytes
    }

    /// Asks the server nothing, so that the connection does not look idle to what stands between.
    pub(super) async fn say_a_word(&self) -> Result<()> {
        self.session.execute("").await
    }

    /// Reads the unit's rows and sends them to the table's writer. Ends early without an error when the writer is gone, for
    /// then it knows why. A connection that is lost is made anew, and the unit goes on where it was.
    ///
    /// Gives the unit back if somebody else must read it: a worker could not lock the table, or has no connection any more.
    pub(super) async fn read(&mut self, mut unit: Unit, progress: &Progress) -> Result<Option<Unit>> {
        if unit.work.table.job.data.copy_out.is_empty() {
            return Ok(None);
        }
        let mut tries = 0;
        loop {
            let error = match self.read_on(&mut unit, progress).await {
                Ok(Read::Whole) => return Ok(None),
                Ok(Read::Unusual) => {
                    self.go_on_as_text(&unit, &mut tries).await?;
                    continue;
                }
                Ok(Read::LockedOut) => {
                    tracing::debug!(table = unit.work.table.job.label(), "somebody waits for an exclusive lock");
                    self.leave_failed_transaction().await?;
                    return Ok(Some(unit));
                }
                Err(error) => error,
            };
            if self.role == Role::Leader || !again::is_of_connection(&error) || tries == again::TRIES {
                return Err(error);
            }
            tracing::warn!(table = unit.work.table.job.label(), "{error}; reading on over a new connection");
            self.session = Arc::new(again::reconnect(&self.source, READING, &mut tries, error).await?);
            // Its locks went with the old connection.
            self.locked.clear();
        }
    }

    /// Has the rest of the table as text. The COPY that runs cannot be ended without its transaction: a worker makes a new
    /// connection, the leader goes back to where it was before the COPY.
    async fn go_on_as_text(&mut self, unit: &Unit, tries: &mut u32) -> Result<()> {
        tracing::debug!(table = unit.work.table.job.label(), "a value is unusual: rows are read as text from here on");
        unit.work.table.read_as_text();
        if self.role == Role::Leader {
            return Ok(());
        }
        let (options, snapshot) = &*self.source;
        self.session = Arc::new(match follow_snapshot(options, snapshot, READING).await {
            Ok(session) => session,
            Err(error) => again::reconnect(&self.source, READING, tries, error).await?,
        });
        self.locked.clear();
        Ok(())
    }

    /// After a refused lock: the same snapshot in a new transaction.
    async fn leave_failed_transaction(&mut self) -> Result<()> {
        self.locked.clear();
        end_snapshot(&self.session).await?;
        import_snapshot(&self.session, &self.source.1).await
    }

    /// Reads what is left of the unit.
    async fn read_on(&mut self, unit: &mut Unit, progress: &Progress) -> Result<Read> {
        let is_foreign = unit.work.table.job.data.foreign;
        if is_foreign {
            allow_foreign_tables(&self.session, true).await?;
        }
        let read = self.read_rows(unit, progress).await?;
        if is_foreign && !matches!(read, Read::LockedOut) {
            allow_foreign_tables(&self.session, false).await?;
        }
        Ok(read)
    }

    async fn read_rows(&mut self, unit: &mut Unit, progress: &Progress) -> Result<Read> {
        let layouts = unit.work.table.layouts().cloned();
        tracing::debug!(rows = unit.work.table.job.label(), in_binary = layouts.is_some());
        let copy = match self.session.copy_out(&self.statements(&unit.work, layouts.is_some())).await {
            Ok(copy) => copy,
            Err(error) if self.role == Role::Worker && sqlstate(&error) == Some(LOCK_NOT_AVAILABLE) => {
                return Ok(Read::LockedOut);
            }
            Err(error) => return Err(error),
        };
        self.locked.insert(unit.work.table.number);
        let mut rows = Rows { copy, converter: layouts.map(ToText::new) };
        let read = self.take_rows(&mut rows, unit, progress).await?;
        if matches!(read, Read::Unusual) && self.role == Role::Leader {
            self.give_up(rows.copy).await?;
        }
        Ok(read)
    }

    /// Ends the leader's COPY before its end, without its transaction.
    async fn give_up(&self, mut copy: CopyOut) -> Result<()> {
        self.session.canceller().cancel().await?;
        loop {
            while copy.piece().is_some() {}
            match copy.more().await {
                Ok(true) => {}
                // It came to its end before the request did.
                Ok(false) => return Ok(()),
                Err(error) if sqlstate(&error) == Some(QUERY_CANCELED) => break,
                Err(error) => return Err(error),
            }
        }
        self.session.execute(&format!("ROLLBACK TO {BEFORE_COPY}; RELEASE {BEFORE_COPY}")).await
    }

    async fn take_rows(&self, rows: &mut Rows, unit: &mut Unit, progress: &Progress) -> Result<Read> {
        match self.skip(rows, unit, progress).await? {
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
            if !unit.send(self, progress).await? {
                return Ok(Read::Whole);
            }
        }
        if !rows.are_whole() {
            return Ok(Read::Unusual);
        }
        unit.finish(self, progress).await?;
        Ok(Read::Whole)
    }

    /// Reads over what was taken before the connection was lost.
    async fn skip(&self, rows: &mut Rows, unit: &mut Unit, progress: &Progress) -> Result<Skipped> {
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
        Ok(if unit.send(self, progress).await? { Skipped::ToTheRest } else { Skipped::NobodyWaits })
    }

    /// The statement that reads the rows, after the one that locks their table, unless that is locked already.
    ///
    /// The leader holds ACCESS SHARE already. If somebody queued for an exclusive lock in between, waiting here would be a
    /// deadlock that the server cannot see (`src/bin/pg_dump/parallel.c`, `lockTableForWorker`): so a worker fails at once, and
    /// the leader reads the table. A COPY in binary of the leader's may have to be given up, so it can be taken back.
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
        match self.role {
            Role::Leader if in_binary => format!("SAVEPOINT {BEFORE_COPY}; {copy} RELEASE {BEFORE_COPY}"),
            Role::Leader => copy,
            Role::Worker if data.foreign || self.locked.contains(&work.table.number) => copy,
            Role::Worker => format!("LOCK TABLE {} IN ACCESS SHARE MODE NOWAIT; {copy}", qualified(schema, name)),
        }
    }
}

/// How the reading of a unit ended without an error.
enum Read {
    /// All of it was read, or nobody takes it any more.
    Whole,
    /// Something is not understood in binary.
    Unusual,
    /// The table could not be locked at once.
    LockedOut,
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

/// What is being read, across connections and readers.
pub(super) struct Unit {
    pub(super) work: Work,
    builder: FrameBuilder,
    full: Vec<RawFrame>,
    /// The rows of all frames that were full.
    sent: RowsDigest,
    /// Bytes of a row whose end has not come yet.
    within: usize,
    /// Kept while a row goes on in the next frame.
    turn: Option<OwnedMutexGuard<()>>,
}

impl Unit {
    pub(super) fn new(work: Work, frame_bytes: usize) -> Self {
        let builder = FrameBuilder::new(frame_bytes);
        Unit { work, builder, full: Vec::new(), sent: RowsDigest::default(), within: 0, turn: None }
    }

    fn take(&mut self, piece: Piece<'_>) {
        self.builder.push(piece.bytes, piece.left, &mut self.full);
        self.within = if piece.ends_row() { 0 } else { self.within + piece.bytes.len() };
    }

    /// Sends what is full; false when nobody takes it any more.
    async fn send(&mut self, reader: &Reader, progress: &Progress) -> Result<bool> {
        for frame in std::mem::take(&mut self.full) {
            self.sent.add(frame.rows);
            reader.pace.take(frame.bytes.len() as u64).await;
            if !self.send_frame(frame, &reader.tickets, progress).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sends the rest.
    async fn finish(&mut self, reader: &Reader, progress: &Progress) -> Result<()> {
        let builder = std::mem::replace(&mut self.builder, FrameBuilder::new(1));
        if let Some(frame) = builder.finish() {
            self.send_frame(frame, &reader.tickets, progress).await?;
        }
        Ok(())
    }

    fn taken(&self) -> Taken {
        let (mut rows, begun) = self.builder.so_far();
        rows.add(self.sent);
        Taken { rows, begun: begun.map(|hash| (self.within, hash)) }
    }

    /// Sends a frame; false when nobody takes it any more.
    async fn send_frame(&mut self, frame: RawFrame, tickets: &Arc<Semaphore>, progress: &Progress) -> Result<bool> {
        let ticket = Arc::clone(tickets).acquire_owned().await;
        let ticket =
            ticket.map_err(|error| Error::new(Kind::Internal, "the memory for frames is closed").because(error))?;
        let turn = match self.turn.take() {
            Some(turn) => turn,
            None => Arc::clone(&self.work.table.turn).lock_owned().await,
        };
        progress.moved_rows(frame.rows.rows());
        progress.moved_raw(frame.bytes.len() as u64);
        let goes_on = !frame.ends_row();
        let sent = self.work.sender.send(Ok((frame, ticket))).is_ok();
        self.turn = goes_on.then_some(turn);
        Ok(sent)
    }
}
