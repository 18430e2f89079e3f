//! How a job's dump is made, beside what is dumped and where to: memory, parts, what the source must not suffer.

use super::tables::JobTable;
use crate::error::{Error, Kind, Result};
use crate::model::size;
use crate::store::Patience;
use std::time::Duration;

/// What `pgstow dump` has options for. What is absent is as it is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tuning {
    /// The memory that the dump may hold, in bytes.
    pub memory: Option<u64>,
    /// Tables with more bytes than this are read by several connections.
    pub split_above: Option<u64>,
    /// The size of every part of an upload, in bytes.
    pub part_size: Option<u64>,
    /// The most parts of one upload.
    pub max_parts: Option<u32>,
    /// How long to wait for a lock.
    pub lock_timeout: Option<Duration>,
    /// How many bytes of rows a second to read.
    pub rate_limit: Option<u64>,
    /// How long the snapshot may be open.
    pub max_snapshot_age: Option<Duration>,
    /// How long others may wait for the locks of the dump.
    pub max_blocking: Option<Duration>,
}

impl Tuning {
    pub(super) fn settle(table: &JobTable) -> Result<Tuning> {
        if table.max_parts.is_some_and(|parts| !(1..=10_000).contains(&parts)) {
            return Err(Error::new(Kind::Usage, "max_parts must be 1 to 10000"));
        }
        Ok(Tuning {
            memory: bytes("memory", table.memory.as_deref())?,
            split_above: bytes("split_above", table.split_above.as_deref())?,
            part_size: bytes("part_size", table.part_size.as_deref())?,
            max_parts: table.max_parts,
            lock_timeout: time("lock_timeout", table.lock_timeout.as_deref())?,
            rate_limit: bytes("rate_limit", table.rate_limit.as_deref())?,
            max_snapshot_age: time("max_snapshot_age", table.max_snapshot_age.as_deref())?,
            max_blocking: time("max_blocking", table.max_blocking.as_deref())?,
        })
    }
}

/// How long the job's stores are waited for.
pub(super) fn patience(table: &JobTable) -> Result<Patience> {
    let usual = Patience::default();
    Ok(Patience {
        total: time("retry_for", table.retry_for.as_deref())?.unwrap_or(usual.total),
        stall: time("stall_timeout", table.stall_timeout.as_deref())?.unwrap_or(usual.stall),
    })
}

fn bytes(key: &str, text: Option<&str>) -> Result<Option<u64>> {
    text.map(size::parse).transpose().map_err(|error| Error::new(Kind::Usage, format!("{key}: {error}")))
}

fn time(key: &str, text: Option<&str>) -> Result<Option<Duration>> {
    text.map(size::duration).transpose().map_err(|error| Error::new(Kind::Usage, format!("{key}: {error}")))
}
