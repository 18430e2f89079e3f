//! Starts the real things that pgstow is tested and shown with: PostgreSQL servers 12 to 19, S3 stores, and the stock
//! tools that serve as the oracle.
//!
//! May import: nothing of pgstow. Always true here: a part that is missing is fetched once into the cache folder
//! ([`cache::folder`]) by the ordinary package tools and says so on standard error; whatever was started stops with
//! this process, a `kill -9` included, for each server runs under a watchdog that waits for the end of a pipe that
//! only this process holds; servers listen on loopback only, on a free port.
//!
//! The user's own servers take the place of these when the environment names them:
//!
//! | variable | instead of |
//! | --- | --- |
//! | `PGSTOW_TEST_PG` | the eight servers: one URL of a superuser, without TLS |
//! | `PGSTOW_TEST_S3_ENDPOINT`, `PGSTOW_TEST_S3_BUCKET`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION` | Garage |
//! | `PGSTOW_PARTS` | the place of the cache folder |
//! | `PGSTOW_SCRATCH` | the temporary folder, for the data of servers and stores |
//!
//! Everything blocks, and nothing here may run on the caller's async runtime: SQL and S3 calls get a thread and a
//! runtime of their own, so that plain and async tests can both use them.

pub mod ahead;
pub mod cache;
pub mod compare;
pub mod fetch;
pub mod fixtures;
pub mod installed;
pub mod moto;
pub mod network;
pub mod oracle;
pub mod proxy;
pub mod rclone;
pub mod s3;
pub mod server;
pub mod tls;
pub mod watchdog;

pub use installed::installed_server;
pub use moto::{Iam, moto};
pub use network::Network;
pub use oracle::{Oracle, oracle};
pub use proxy::{Harm, Proxy, Trigger};
pub use rclone::rclone;
pub use s3::{S3, folder_s3, garage};
pub use server::{Database, Server, majors, server};

/// What can go wrong here is told to a person in one sentence, so an error is that sentence.
pub type Result<T> = std::result::Result<T, String>;

/// Says something on standard error, straight: the test harness captures only what the print macros write.
pub fn say(words: &str) {
    use std::io::Write as _;
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "pgstow-parts: {words}");
}

/// Runs a future to its end on a thread and a runtime of its own; callable from anywhere, an async test included.
pub(crate) fn blocking<T: Send>(work: impl Future<Output = Result<T>> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(|error| format!("no async runtime: {error}"))?
                    .block_on(work)
            })
            .join()
            .unwrap_or_else(|_| Err("the thread of a helper panicked".into()))
    })
}
