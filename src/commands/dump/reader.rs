//! One unit of a table, from the server's socket into frames.

use super::pace::Pace;
use super::queue::{Message, OpenTable, Work};
use super::ranges::Pages;
use super::tables::TableJob;
use crate::commands::Progress;
use crate::error::{Error, Kind, Result};
use crate::model::qualified;
use crate::postgres::{Session, sqlstate};
use crate::stream::frames::{FrameBuilder, RawFrame};
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
    /// Frames that are on their way. The one that is being filled has none yet.
    tickets: Arc<Semaphore>,
}

impl Reader {
    pub(super) fn new(session: Session, frame_bytes: usize, frames: usize, pace: Arc<Pace>) -> Self {
        let tickets = Arc::new(Semaphore::new(frames.saturating_sub(1).max(1)));
        Reader { session, locked: HashSet::new(), frame_bytes, pace, tickets }
    }

    /// Reads the unit's rows and sends them to the table's writer. Ends early without an error when the writer is gone, for
    /// then it knows why.
    pub(super) async fn read(&mut self, work: &Work, progress: &Progress) -> Result<()> {
        let job = &work.table.job;
        if job.data.copy_out.is_empty() {
            return Ok(());
        }
        let mut rows = self.session.copy_out(&self.statements(work)).await.map_err(|error| {
            let locked_out = sqlstate(&error) == Some(LOCK_NOT_AVAILABLE);
            if locked_out {
                return error.hint(
                    "somebody waits for an exclusive lock on the table (a migration?); let it finish and dump again",
                );
            }
            error
        })?;
        self.locked.insert(work.table.number);
        let mut line = Line { table: &work.table, sender: &work.sender, tickets: &self.tickets, turn: None, progress };
        let mut builder = FrameBuilder::new(self.frame_bytes);
        let mut full = Vec::new();
        loop {
            while let Some(piece) = rows.piece() {
                builder.push(piece.bytes, piece.ends_row, &mut full);
                if !full.is_empty() {
                    break;
                }
            }
            if full.is_empty() {
                if !rows.more().await? {
                    break;
                }
                continue;
            }
            for frame in full.drain(..) {
                self.pace.take(frame.bytes.len() as u64).await;
                if !line.send(frame).await? {
                    return Ok(());
                }
            }
        }
        if let Some(frame) = builder.finish() {
            line.send(frame).await?;
        }
        Ok(())
    }

    /// The statement that reads the rows, after the one that locks their table, unless that is locked already.
    ///
    /// The leader holds ACCESS SHARE already. If somebody queued for an exclusive lock in between, waiting here would be a
    /// deadlock that the server cannot see (`src/bin/pg_dump/parallel.c`, `lockTableForWorker`): so fail at once instead.
    fn statements(&self, work: &Work) -> String {
        let TableJob { schema, name, data, .. } = &work.table.job;
        let copy = match work.pages {
            None => data.copy_out.clone(),
            Some(Pages { from, below }) => {
                let end = below.map_or(String::new(), |below| format!(" AND ctid < '({below},0)'"));
                format!("COPY ({} WHERE ctid >= '({from},0)'{end}) TO STDOUT;", data.select)
            }
        };
        if self.locked.contains(&work.table.number) {
            return copy;
        }
        format!("LOCK TABLE {} IN ACCESS SHARE MODE NOWAIT; {copy}", qualified(schema, name))
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
        let goes_on = !frame.ends_row;
        let sent = self.sender.send(Ok((frame, ticket))).is_ok();
        self.turn = goes_on.then_some(turn);
        Ok(sent)
    }
}
