//! What a target in use does to a statement that is right: a deadlock with somebody else's transaction, or two that cannot be put in
//! an order. The server has undone the statement, so it is said again.

use crate::error::{Error, Result};
use crate::postgres::Session;
use std::time::Duration;

/// `deadlock_detected` and `serialization_failure`.
const PASSING: [&str; 2] = ["40P01", "40001"];
/// So many times it is said in all.
pub(super) const TRIES: u32 = 5;
/// The first pause; the next ones are longer.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether the same statement may go well in a moment.
pub(super) fn is_worth_it(error: &Error) -> bool {
    Session::sqlstate(error).is_some_and(|code| PASSING.contains(&code))
}

/// Before the try after this one.
pub(super) async fn pause(number: u32) {
    tokio::time::sleep(PAUSE * number).await;
}

/// Runs statements that are one transaction.
pub(super) async fn execute(session: &Session, sql: &str) -> Result<()> {
    let mut number = 1;
    loop {
        match session.execute(sql).await {
            Err(error) if number < TRIES && is_worth_it(&error) => {
                tracing::warn!("somebody else stood in the way, so it is tried again: {error}");
                pause(number).await;
                number += 1;
            }
            outcome => return outcome,
        }
    }
}
