//! The time, and waiting for it; another one in tests.

use async_trait::async_trait;
use jiff::Timestamp;
use std::fmt::Debug;
use std::time::Duration;

/// Wakes so often while it waits: a clock may be set, and a machine may sleep, without a timer noticing.
const STEP: Duration = Duration::from_secs(20);

/// The time.
#[async_trait]
pub trait Clock: Send + Sync + Debug {
    /// Now.
    fn now(&self) -> Timestamp;

    /// Waits until then.
    async fn wait_until(&self, moment: Timestamp);
}

/// The machine's.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn wait_until(&self, moment: Timestamp) {
        while let Ok(left) = Duration::try_from(moment.duration_since(self.now())) {
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(STEP)).await;
        }
    }
}

/// A clock that is where one waits for at once.
#[cfg(test)]
#[derive(Debug)]
pub(super) struct Traveller(pub(super) std::sync::Mutex<Timestamp>);

#[cfg(test)]
impl Traveller {
    pub(super) fn at(moment: &str) -> Self {
        Traveller(std::sync::Mutex::new(moment.parse().expect("a moment")))
    }
}

#[cfg(test)]
#[async_trait]
impl Clock for Traveller {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("a clock")
    }

    async fn wait_until(&self, moment: Timestamp) {
        let mut now = self.0.lock().expect("a clock");
        *now = moment.max(*now);
    }
}
