//! A store in memory, for tests and for trying things out. Clones share their objects.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;

use crate::error::Result;

use super::failure::{StoreProblem, store_error};
use super::key::{as_folder, check, next_component, shown};
use super::ledger::Ledger;
use super::{ByteStream, Entry, Limits, Meta, OpenUpload, StorageClass, Store, Thawing, Tier, Upload};

/// How many bytes a chunk of a [`ByteStream`] has at most: few, so that readers meet chunk borders in tests.
const CHUNK: usize = 64 << 10;

/// A store whose objects live as long as it does.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    contents: Arc<Mutex<Contents>>,
    /// When objects say that they were written, instead of now.
    written_at: Option<SystemTime>,
}

#[derive(Debug, Default)]
struct Contents {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<u64, Pending>,
    next_upload: u64,
}

#[derive(Debug, Clone)]
struct Object {
    body: Bytes,
    modified: SystemTime,
    class: Option<String>,
    archived: bool,
}

#[derive(Debug)]
struct Pending {
    key: String,
    class: Option<String>,
    started: SystemTime,
    parts: Ledger<Bytes>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store whose objects say that they were all written at this moment, for tests that travel in time.
    pub fn written_at(moment: SystemTime) -> Self {
        MemoryStore { written_at: Some(moment), ..Self::default() }
    }

    /// Archives an object as `INTELLIGENT_TIERING` does after a time, for tests. It is thawed by the first who asks, if they
    /// say no days.
    pub fn archive(&self, key: &str) {
        if let Some(object) = self.contents().objects.get_mut(key) {
            object.class = Some("INTELLIGENT_TIERING".to_owned());
            object.archived = true;
        }
    }

    fn new_object(&self, body: Bytes, class: Option<String>) -> Object {
        Object { body, modified: self.written_at.unwrap_or_else(SystemTime::now), class, archived: false }
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn object(&self, key: &str) -> Option<Object> {
        self.contents().objects.get(key).cloned()
    }
}

fn class_name(class: Option<&StorageClass>) -> Option<String> {
    class.map(|class| class.as_str().to_owned())
}

#[async_trait]
impl Store for MemoryStore {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    async fn put(&self, key: &str, body: Bytes, class: Option<&StorageClass>) -> Result<()> {
        check(key)?;
        self.contents().objects.insert(key.to_owned(), self.new_object(body, class_name(class)));
        Ok(())
    }

    async fn put_new(&self, key: &str, body: Bytes) -> Result<()> {
        check(key)?;
        let mut contents = self.contents();
        if contents.objects.contains_key(key) {
            return Err(store_error(StoreProblem::AlreadyExists, "there is an object already").on(key));
        }
        contents.objects.insert(key.to_owned(), self.new_object(body, None));
        Ok(())
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<ByteStream> {
        let Some(Object { mut body, .. }) = self.object(key) else {
            return Err(store_error(StoreProblem::NotFound, "there is no such object").on(shown(key)));
        };
        if let Some(range) = range {
            let inside = usize::try_from(range.start).ok().zip(usize::try_from(range.end.max(range.start)).ok());
            body = match inside.filter(|(_, end)| *end <= body.len()) {
                Some((start, end)) => body.slice(start..end),
                None if range.is_empty() => Bytes::new(),
                None => {
                    return Err(store_error(
                        StoreProblem::Other,
                        format!("the object has {} bytes and not the range {range:?}", body.len()),
                    )
                    .on(key));
                }
            };
        }
        let chunks =
            (0..body.len().div_ceil(CHUNK)).map(move |n| Ok(body.slice(n * CHUNK..body.len().min((n + 1) * CHUNK))));
        Ok(stream::iter(chunks.collect::<Vec<_>>()).boxed())
    }

    async fn head(&self, key: &str) -> Result<Option<Meta>> {
        Ok(self.object(key).map(|object| Meta {
            size: object.body.len() as u64,
            modified: Some(object.modified),
            class: if object.archived { Some("DEEP_ARCHIVE_ACCESS".to_owned()) } else { object.class },
            thawing: object.archived.then_some(Thawing::Frozen),
        }))
    }

    async fn thaw(&self, key: &str, days: Option<u32>, _tier: Tier) -> Result<()> {
        match self.contents().objects.get_mut(key) {
            Some(object) if object.archived && days.is_none() => object.archived = false,
            _ => return Err(store_error(StoreProblem::Other, "there is nothing to thaw, or not for days").on(key)),
        }
        Ok(())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Entry>> {
        let contents = self.contents();
        let below = contents.objects.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        let entry = |(key, object): (&String, &Object)| Entry {
            key: key.clone(),
            size: object.body.len() as u64,
            modified: Some(object.modified),
            class: object.class.clone(),
        };
        Ok(below.map(entry).collect())
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>> {
        let folder = as_folder(prefix);
        let contents = self.contents();
        let found: BTreeSet<&str> = contents.objects.keys().filter_map(|key| next_component(key, &folder)).collect();
        Ok(found.into_iter().map(str::to_owned).collect())
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        let mut contents = self.contents();
        for key in keys {
            contents.objects.remove(key);
        }
        Ok(())
    }

    async fn start_upload(&self, key: &str, class: Option<&StorageClass>) -> Result<Box<dyn Upload>> {
        check(key)?;
        let mut contents = self.contents();
        contents.next_upload += 1;
        let id = contents.next_upload;
        let pending = Pending {
            key: key.to_owned(),
            class: class_name(class),
            started: SystemTime::now(),
            parts: Ledger::new(self.limits()),
        };
        contents.uploads.insert(id, pending);
        Ok(Box::new(MemoryUpload { store: self.clone(), id }))
    }

    async fn open_uploads(&self, prefix: &str) -> Result<Vec<OpenUpload>> {
        let contents = self.contents();
        let below = contents.uploads.iter().filter(|(_, pending)| pending.key.starts_with(prefix));
        Ok(below
            .map(|(id, pending)| OpenUpload {
                key: pending.key.clone(),
                id: id.to_string(),
                started: Some(pending.started),
            })
            .collect())
    }

    async fn abort_upload(&self, upload: &OpenUpload) -> Result<()> {
        if let Ok(id) = upload.id.parse::<u64>() {
            self.contents().uploads.remove(&id);
        }
        Ok(())
    }

    fn limits(&self) -> Limits {
        Limits::OWN
    }
}

struct MemoryUpload {
    store: MemoryStore,
    id: u64,
}

impl Drop for MemoryUpload {
    fn drop(&mut self) {
        self.store.contents().uploads.remove(&self.id);
    }
}

fn gone() -> crate::error::Error {
    store_error(StoreProblem::NotFound, "the upload was aborted")
}

#[async_trait]
impl Upload for MemoryUpload {
    async fn part(&self, number: u32, body: Bytes) -> Result<()> {
        let size = body.len() as u64;
        Ledger::<Bytes>::check(self.store.limits(), number, size)?;
        let mut contents = self.store.contents();
        let pending = contents.uploads.get_mut(&self.id).ok_or_else(gone)?;
        pending.parts.record(number, body, size);
        Ok(())
    }

    async fn complete(self: Box<Self>) -> Result<()> {
        let mut contents = self.store.contents();
        let pending = contents.uploads.remove(&self.id).ok_or_else(gone)?;
        let (parts, _) = pending.parts.finish()?;
        let bodies: Vec<Bytes> = parts.into_iter().map(|(_, body)| body).collect();
        contents.objects.insert(pending.key, self.store.new_object(bodies.concat().into(), pending.class));
        drop(contents);
        Ok(())
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
