//! How fast a dump may read: one allowance that all its connections share.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// An allowance in bytes a second, as the server sends them. A reader that is ahead of it stops taking from its socket, and
/// so the server stops too.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_a_second: Option<u64>,
    /// When everything that was taken so far will have been allowed.
    paid_until: Mutex<Instant>,
}

impl Pace {
    /// So many bytes a second; `None` is as fast as it goes.
    pub(super) fn new(bytes_a_second: Option<u64>) -> Self {
        Pace { bytes_a_second, paid_until: Mutex::new(Instant::now()) }
    }

    /// Waits until these bytes are allowed. Time in which nothing was read is not saved up.
    pub(super) async fn take(&self, bytes: u64) {
        let Some(rate) = self.bytes_a_second else { return };
        // Bytes and rates are far below 2 to the 52, so nothing that matters is rounded.
        #[expect(clippy::cast_precision_loss, reason = "a pause may be a nanosecond off")]
        let cost = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        let until = {
            let mut paid_until = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
            *paid_until = (*paid_until).max(Instant::now()) + cost;
            *paid_until
        };
        tokio::time::sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;
    use std::time::{Duration, Instant};

    #[tokio::test]
    async fn readers_share_one_allowance() {
        let pace = Pace::new(Some(10_000));
        let start = Instant::now();
        tokio::join!(pace.take(1_000), pace.take(1_000), pace.take(1_000));
        assert!(start.elapsed() >= Duration::from_millis(290), "{:?}", start.elapsed());
        Pace::new(None).take(u64::MAX).await;
    }
}
