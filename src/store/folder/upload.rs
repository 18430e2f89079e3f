//! An upload in parts into a folder: all parts are equal except the last, so each has its offset in one file.

use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::{Error, Result};

use super::super::failure::{StoreProblem, store_error};
use super::super::ledger::Ledger;
use super::super::{Limits, Upload};
use super::partial::Partial;
use super::{blocking, io_error, write_all};

pub(super) struct FolderUpload {
    partial: Partial,
    name: String,
    limits: Limits,
    progress: Mutex<Progress>,
}

struct Progress {
    ledger: Ledger<()>,
    /// The size of part 1, which gives every part its offset.
    part_size: Option<u64>,
    /// Parts that came before part 1.
    early: Vec<(u32, Bytes)>,
}

impl FolderUpload {
    pub(super) fn new(partial: Partial, name: String, limits: Limits) -> Self {
        let progress = Progress { ledger: Ledger::new(limits), part_size: None, early: Vec::new() };
        FolderUpload { partial, name, limits, progress: Mutex::new(progress) }
    }

    /// Notes a part and says which can be written now: this one, those that waited for part 1, or none yet.
    fn take(&self, number: u32, body: Bytes) -> Result<Vec<(u64, Bytes)>> {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let size = body.len() as u64;
        if number == 1 && *progress.part_size.get_or_insert(size) != size {
            let message = "part 1 was sent again with another size";
            return Err(store_error(StoreProblem::Other, message).on(&self.name));
        }
        progress.ledger.record(number, (), size);
        progress.early.push((number, body));
        let Some(part_size) = progress.part_size else { return Ok(Vec::new()) };
        let ready = progress.early.drain(..).map(|(number, body)| (u64::from(number - 1) * part_size, body));
        Ok(ready.collect())
    }
}

#[async_trait]
impl Upload for FolderUpload {
    async fn part(&self, number: u32, body: Bytes) -> Result<()> {
        Ledger::<()>::check(self.limits, number, body.len() as u64)?;
        let (file, name): (Arc<File>, String) = (Arc::clone(self.partial.file()), self.name.clone());
        let ready = self.take(number, body)?;
        blocking(move || {
            for (offset, body) in ready {
                write_all(&file, &body, offset).map_err(|e| io_error(&e, "cannot write", &name))?;
            }
            Ok(())
        })
        .await
    }

    async fn complete(self: Box<Self>) -> Result<()> {
        let FolderUpload { partial, name, progress, .. } = *self;
        blocking(move || {
            let progress = progress.into_inner().unwrap_or_else(PoisonError::into_inner);
            let (_, total) = progress.ledger.finish().map_err(|error: Error| error.on(&name))?;
            // A part sent twice, longer the first time, may have left bytes behind the end.
            partial.file().set_len(total).map_err(|e| io_error(&e, "cannot write", &name))?;
            partial.publish(true).map_err(|e| io_error(&e, "cannot write", &name))
        })
        .await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        blocking(move || {
            drop(self);
            Ok(())
        })
        .await
    }
}
