//! One file a verb; each reads as a table of contents: options, plan (pure), execute, report.
//!
//! May import: everything but cli. Always true here: a command takes resolved options and gives a report or an error; it
//! never reads the environment, never prints, and stops soon after its [`Stop`] says so.

pub mod backups;
pub mod bucket;
pub mod check;
pub mod copy;
pub mod cost;
pub mod doctor;
pub mod dump;
pub mod examine;
pub mod export;
mod frozen;
pub mod journal;
pub mod leftovers;
pub mod list;
pub mod memory;
pub mod progress;
pub mod prune;
pub mod report;
pub mod restore;
pub mod run;
pub mod schedule;
pub mod source;
pub mod sweep;
pub mod thaw;
pub mod transfer;
mod types;
pub mod verify;

pub use journal::Journal;
pub use progress::Progress;

use crate::error::{Error, Kind, Result};
use tokio_util::sync::CancellationToken;

/// Says that the work should end early: a signal came, or another part of it failed.
#[derive(Debug, Clone, Default)]
pub struct Stop(CancellationToken);

impl Stop {
    /// Asks everything that holds this, or a child of it, to end.
    pub fn now(&self) {
        self.0.cancel();
    }

    /// Stops with its parent, or alone.
    #[must_use]
    pub fn child(&self) -> Stop {
        Stop(self.0.child_token())
    }

    /// Whether it was asked.
    pub fn is_asked(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Runs the work until it is done or a stop is asked.
    pub async fn unless<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.0.cancelled() => Err(Self::interrupted()),
            outcome = work => outcome,
        }
    }

    /// Waits for the stop.
    pub async fn asked(&self) {
        self.0.cancelled().await;
    }

    fn interrupted() -> Error {
        Error::new(Kind::Interrupted, "stopped before it was done")
    }
}
