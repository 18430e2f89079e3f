//! Pings for services that watch over jobs, as healthchecks.io and its kin take them.
//!
//! Source: healthchecks.io documentation, "Pinging API": the address alone is success, `/start` and `/fail` below it the
//! other two, `/log` none of them; `rid` ties start and end of a run together; the body is kept as the log.

use super::event::{Event, Moment};
use super::http::Target;
use crate::error::Result;

/// A ping's body beyond this is cut by the service; the end of the log matters most.
const LOG: usize = 10_000;

/// A watched address.
#[derive(Debug, Clone)]
pub struct Ping {
    /// The address that means success.
    pub target: Target,
}

impl Ping {
    pub(super) async fn send(&self, event: &Event) -> Result<()> {
        let path = match event.moment {
            Moment::Start => "/start",
            // A warning is for people to look at, and nothing stopped.
            Moment::Success | Moment::Healthy | Moment::Warning => "",
            Moment::Failure | Moment::Unhealthy => "/fail",
            // Kept, but changes nothing.
            Moment::Test => "/log",
        };
        let target = self.target.below(path, &format!("rid={}", run_as_uuid(&event.run)))?;
        target.post("text/plain; charset=utf-8", &tail(&event.text()).to_owned().into()).await
    }
}

/// The last bytes of a text, whole characters.
fn tail(text: &str) -> &str {
    let from = text.len().saturating_sub(LOG);
    let from = (from..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[from..]
}

/// `rid` has to look like a UUID.
fn run_as_uuid(run: &str) -> String {
    let part = |range: std::ops::Range<usize>| run.get(range).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32))
}

#[cfg(test)]
mod tests {
    use super::{run_as_uuid, tail};

    #[test]
    fn a_run_has_the_form_of_a_uuid_and_a_long_log_loses_its_beginning() {
        assert_eq!(run_as_uuid("0123456789abcdef0123456789abcdef"), "01234567-89ab-cdef-0123-456789abcdef");
        let long = "ä".repeat(9000);
        assert!(tail(&long).len() <= 10_000 && tail(&long).chars().all(|c| c == 'ä'));
        assert_eq!(tail(""), "");
    }
}
