//! Counters that a command moves and a terminal or a log shows.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

/// How far the work is. Cheap to move from many tasks; reading gives a moment's picture.
#[derive(Debug)]
pub struct Progress {
    started: Instant,
    phase: Mutex<&'static str>,
    listener: OnceLock<Listener>,
    /// What is shown meanwhile: a step that counts for itself.
    step: Mutex<Option<Arc<Progress>>>,
    tables: AtomicU64,
    all_tables: AtomicU64,
    rows: AtomicU64,
    raw_bytes: AtomicU64,
    all_raw_bytes: AtomicU64,
    stored_bytes: AtomicU64,
    all_stored_bytes: AtomicU64,
    objects: AtomicU64,
    all_objects: AtomicU64,
}

/// A moment's picture of [`Progress`].
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// What is being done, in a word or two.
    pub phase: &'static str,
    /// Seconds since the start.
    pub seconds: f64,
    /// Tables done.
    pub tables: u64,
    /// Tables in all; 0 while unknown.
    pub all_tables: u64,
    /// Rows moved.
    pub rows: u64,
    /// Bytes of COPY text moved.
    pub raw_bytes: u64,
    /// Bytes of COPY text expected, an estimate; 0 while unknown.
    pub all_raw_bytes: u64,
    /// Compressed bytes moved to or from the store.
    pub stored_bytes: u64,
    /// Compressed bytes expected; 0 where they are not what is counted.
    pub all_stored_bytes: u64,
    /// Objects of the store done.
    pub objects: u64,
    /// Objects of the store in all; 0 where they are not what is counted.
    pub all_objects: u64,
}

impl Default for Progress {
    fn default() -> Self {
        Progress {
            started: Instant::now(),
            phase: Mutex::new("starting"),
            listener: OnceLock::new(),
            step: Mutex::new(None),
            tables: AtomicU64::new(0),
            all_tables: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            raw_bytes: AtomicU64::new(0),
            all_raw_bytes: AtomicU64::new(0),
            stored_bytes: AtomicU64::new(0),
            all_stored_bytes: AtomicU64::new(0),
            objects: AtomicU64::new(0),
            all_objects: AtomicU64::new(0),
        }
    }
}

/// Who hears of every phase.
struct Listener(Box<dyn Fn(&'static str) + Send + Sync>);

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

impl Progress {
    /// Lets somebody hear of every phase that begins; the first who asks is the only one.
    pub fn on_phase(&self, listener: impl Fn(&'static str) + Send + Sync + 'static) {
        let _only_one = self.listener.set(Listener(Box::new(listener)));
    }

    /// Shows a step that counts for itself, until the next one; nothing: its own counters again.
    pub(crate) fn step(&self, step: Option<Arc<Progress>>) {
        if let Ok(mut current) = self.step.lock() {
            *current = step;
        }
    }

    /// Names what begins now.
    pub fn phase(&self, phase: &'static str) {
        tracing::debug!(phase, "phase");
        if let Ok(mut current) = self.phase.lock() {
            *current = phase;
        }
        if let Some(Listener(listener)) = self.listener.get() {
            listener(phase);
        }
    }

    /// Adds to what is expected: a run over several databases learns of each when its turn comes.
    pub(crate) fn expect(&self, tables: u64, raw_bytes: u64) {
        self.all_tables.fetch_add(tables, Ordering::Relaxed);
        self.all_raw_bytes.fetch_add(raw_bytes, Ordering::Relaxed);
    }

    /// Adds to what is expected, for a command that moves objects as they are.
    pub(crate) fn expect_objects(&self, objects: u64, stored_bytes: u64) {
        self.all_objects.fetch_add(objects, Ordering::Relaxed);
        self.all_stored_bytes.fetch_add(stored_bytes, Ordering::Relaxed);
    }

    pub(crate) fn object_done(&self) {
        self.objects.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn table_done(&self) {
        self.tables.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn moved_rows(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    pub(crate) fn moved_raw(&self, bytes: u64) {
        self.raw_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn moved_stored(&self, bytes: u64) {
        self.stored_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// The picture now.
    pub fn now(&self) -> Moment {
        if let Some(step) = self.step.lock().ok().and_then(|step| step.clone()) {
            return step.now();
        }
        Moment {
            phase: self.phase.lock().map_or("", |phase| *phase),
            seconds: self.seconds(),
            tables: self.tables.load(Ordering::Relaxed),
            all_tables: self.all_tables.load(Ordering::Relaxed),
            rows: self.rows.load(Ordering::Relaxed),
            raw_bytes: self.raw_bytes.load(Ordering::Relaxed),
            all_raw_bytes: self.all_raw_bytes.load(Ordering::Relaxed),
            stored_bytes: self.stored_bytes.load(Ordering::Relaxed),
            all_stored_bytes: self.all_stored_bytes.load(Ordering::Relaxed),
            objects: self.objects.load(Ordering::Relaxed),
            all_objects: self.all_objects.load(Ordering::Relaxed),
        }
    }
}
