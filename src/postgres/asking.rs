//! Whether a person is being asked something on the terminal, so that nobody else writes on that line.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

static QUESTIONS: AtomicUsize = AtomicUsize::new(0);

/// Whoever shows something live looks this often whether a person is being asked.
pub const LOOKED: Duration = Duration::from_millis(150);

/// Whether a question stands on the terminal.
pub fn is_asking() -> bool {
    QUESTIONS.load(Ordering::Relaxed) > 0
}

/// A question, until it is dropped.
#[derive(Debug)]
pub(super) struct Asking;

impl Asking {
    /// Announces a question, and waits until the terminal is free for it.
    pub(super) async fn begin() -> Asking {
        QUESTIONS.fetch_add(1, Ordering::Relaxed);
        let asking = Asking;
        tokio::time::sleep(LOOKED * 2).await;
        asking
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        QUESTIONS.fetch_sub(1, Ordering::Relaxed);
    }
}
