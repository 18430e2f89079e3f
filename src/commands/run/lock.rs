//! Two processes never run one job at once against one store.
//!
//! The lock is an advisory lock on the source, not an object in the store: it is exact on every store (Garage, for one,
//! has no conditional writes), it goes with the process that held it, however that ends, so that nothing has to expire or
//! be taken over by a clock, and it needs no right to delete in the bucket. It is held by a transaction, because a
//! pooler may hand a session on between transactions; such a transaction has no snapshot between its statements and holds
//! up no vacuum. What it does not see: the same job dumping from another server (a standby, say) into the same store.

use crate::error::{Error, Kind, Result};
use crate::postgres::{ConnectionSettings, Purpose, Session};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Held until dropped.
#[derive(Debug)]
pub(super) struct JobLock {
    session: Session,
}

#[derive(Deserialize)]
struct Row {
    held: bool,
}

/// A transaction that only waits, and that no timeout ends.
const BEGIN: &str = "BEGIN; SET LOCAL search_path = ''; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0;
SET LOCAL idle_in_transaction_session_timeout = 0";

impl JobLock {
    /// Takes the lock of this job and store.
    ///
    /// Errors: [`Kind::Busy`] when another process holds it; those of connecting.
    pub(super) async fn take(connection: &ConnectionSettings, job: &str, store: &str) -> Result<JobLock> {
        let session = Session::connect(connection, "pgstow run", Purpose::Reads).await?;
        // A pooler may give the transaction another server process than the one that was pinned.
        let transaction_timeout =
            if session.version().major() >= 17 { "; SET LOCAL transaction_timeout = 0" } else { "" };
        session.execute(&format!("{BEGIN}{transaction_timeout}")).await?;
        let question = format!("SELECT pg_catalog.pg_try_advisory_xact_lock({}) AS held", key(job, store));
        let rows: Vec<Row> = session.question(&question).await?;
        if !rows.iter().any(|row| row.held) {
            session.close().await;
            return Err(Error::new(Kind::Busy, "another process runs it at this moment")
                .on(format!("job {job} to {store}"))
                .hint("wait until that one is done; its session on the source is named `pgstow run`"));
        }
        Ok(JobLock { session })
    }

    /// Gives it back, and waits until the server has it.
    pub(super) async fn release(self) {
        self.session.close().await;
    }
}

/// The number that stands for a job and a store.
fn key(job: &str, store: &str) -> i64 {
    let digest = Sha256::digest(format!("pgstow run\n{store}\n{job}"));
    digest.iter().take(8).fold(0i64, |key, byte| (key << 8) | i64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn a_job_and_its_store_have_one_number_for_ever() {
        // Another version of pgstow has to find the same lock.
        assert_eq!(key("shop", "s3://acme/x"), key("shop", "s3://acme/x"));
        assert_ne!(key("shop", "s3://acme/x"), key("shop", "s3://acme/y"));
        assert_ne!(key("shop", "s3://acme/x"), key("crm", "s3://acme/x"));
    }
}
