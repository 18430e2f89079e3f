//! Whether the server is still there while rows are on their way to it.
//!
//! A network that swallows everything refuses nothing. On a connection that is idle keepalives notice it, but none are sent on
//! one that has sent something, and there the system waits a quarter of an hour. A bound of its own (`TCP_USER_TIMEOUT`) would
//! also give up on a server that is there and only takes nothing in for a while. So one more connection is idle all the time.

use crate::error::{Error, Kind};
use crate::postgres::{ConnectionSettings, Purpose, Session, sqlstate};
use std::time::Duration;

/// A short restore never opens this connection.
const BEGIN: Duration = Duration::from_secs(5);
/// How often to look whether it is still open.
const LOOK: Duration = Duration::from_secs(1);
/// A server that has no room for one more connection is there; when to ask it again.
const PAUSE: Duration = Duration::from_secs(60);
/// How often in a row the server may not be reached, each time after another look.
const TRIES: u32 = 3;

/// Ends with an error when the connection is lost and no other can be made, as long as it is polled.
pub(super) async fn server_gone(connection: &ConnectionSettings) -> Error {
    tokio::time::sleep(BEGIN).await;
    let mut failed = 0;
    loop {
        match Session::connect(connection, "pgstow restore: watching", Purpose::Reads).await {
            Ok(side) => {
                failed = 0;
                while !side.is_closed() {
                    tokio::time::sleep(LOOK).await;
                }
                tracing::debug!("the connection that watches was lost");
                tokio::time::sleep(LOOK).await;
            }
            Err(error) if sqlstate(&error).is_some() => {
                failed = 0;
                tracing::debug!("nobody watches whether the server is there: {error}");
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => {
                failed += 1;
                if failed == TRIES {
                    return Error::new(Kind::Connection, "the server cannot be reached any more")
                        .on(connection.describe())
                        .because(error);
                }
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}
