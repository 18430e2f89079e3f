//! Which worker takes what next, and the way from the readers of a table to its one writer.

use super::ranges::{Pages, Unit};
use super::tables::TableJob;
use crate::error::Result;
use crate::stream::binary::Layout;
use crate::stream::frames::RawFrame;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// A table that is being read: several readers, one writer.
#[derive(Debug)]
pub(super) struct OpenTable {
    pub(super) job: TableJob,
    /// Its place among the tables, by which a worker remembers what it has locked.
    pub(super) number: usize,
    /// Readers that have not yet sent all their rows.
    left: AtomicUsize,
    /// Held by the reader whose frame goes next; through all frames of a row that is wider than one.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
    /// Something in it was not understood in binary: whoever begins with a part of it reads text.
    as_text: AtomicBool,
}

impl OpenTable {
    /// A reader has sent all its rows.
    pub(super) fn range_done(&self) {
        self.left.fetch_sub(1, Ordering::AcqRel);
    }

    /// How its columns lie, while its rows are read in binary.
    pub(super) fn layouts(&self) -> Option<&Arc<[Layout]>> {
        self.job.layouts.as_ref().filter(|_| !self.as_text.load(Ordering::Relaxed))
    }

    /// From now on it is read as text.
    pub(super) fn read_as_text(&self) {
        self.as_text.store(true, Ordering::Relaxed);
    }

    /// Whether all rows have been sent. A channel that closes before that lost a reader.
    pub(super) fn all_done(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }
}

/// A frame on its way from a reader to the writer, or the reader's failure.
pub(super) type Message = Result<(RawFrame, OwnedSemaphorePermit)>;

/// One unit for one worker.
pub(super) struct Work {
    pub(super) table: Arc<OpenTable>,
    pub(super) pages: Option<Pages>,
    pub(super) sender: mpsc::UnboundedSender<Message>,
    /// The other end: whoever takes a table's first unit starts its writer.
    pub(super) receiver: Option<mpsc::UnboundedReceiver<Message>>,
}

/// All units, in the order in which they are begun. The units of one table stand together.
#[derive(Debug)]
pub(super) struct Queue {
    units: VecDeque<Unit>,
    jobs: Vec<Option<TableJob>>,
    open: Option<(Arc<OpenTable>, mpsc::UnboundedSender<Message>)>,
}

impl Queue {
    pub(super) fn new(jobs: Vec<TableJob>, units: Vec<Unit>) -> Self {
        Queue { units: units.into(), jobs: jobs.into_iter().map(Some).collect(), open: None }
    }

    /// The next unit. The channel is unbounded because the permits of the frames bound it.
    pub(super) fn take(&mut self) -> Option<Work> {
        let unit = self.units.pop_front()?;
        let mut receiver = None;
        if let Some(job) = self.jobs.get_mut(unit.table)?.take() {
            let more = self.units.iter().take_while(|next| next.table == unit.table).count();
            let table = OpenTable {
                job,
                number: unit.table,
                left: AtomicUsize::new(more + 1),
                turn: Arc::default(),
                as_text: AtomicBool::new(false),
            };
            let (sender, end) = mpsc::unbounded_channel();
            receiver = Some(end);
            self.open = Some((Arc::new(table), sender));
        }
        let (table, sender) = self.open.clone()?;
        if self.units.front().is_none_or(|next| next.table != unit.table) {
            // The writer's end closes when the last reader is done.
            self.open = None;
        }
        Some(Work { table, pages: unit.pages, sender, receiver })
    }
}
