//! The objects of one backup on their way from store to store, and what vouches for each.

use crate::archive::manifest::{Manifest, StoredObject};
use crate::commands::transfer::{ArchiveObject, Destination, Origin};
use crate::error::{Error, Kind, Result};
use crate::store::{Address, Receipt, ServerCopy, StoreProblem, problem};
use futures::TryStreamExt;
use futures::stream::FuturesUnordered;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// How many objects were checked how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Proofs {
    /// Their bytes passed here, and had size and digest of the manifest.
    pub on_the_way: u64,
    /// The store copied them by itself and computed the digest that the manifest says.
    pub digest_of_the_store: u64,
    /// The store copied them by itself, and the copy has size and `ETag` of the source.
    pub size_and_etag: u64,
    /// The store copied them by itself, and they were read back and had the digest of the manifest.
    pub read_back: u64,
}

enum Proof {
    OnTheWay,
    DigestOfTheStore,
    SizeAndEtag,
    ReadBack,
}

/// One backup on its way.
pub(super) struct Copying {
    pub(super) origin: Origin,
    pub(super) destination: Destination,
    pub(super) read_back: bool,
}

impl Copying {
    /// Copies all objects but the manifest.
    pub(super) async fn all(&self, manifest: &Manifest, jobs: usize) -> Result<Proofs> {
        let by_itself = AtomicBool::new(true);
        let from = self.origin.store.address();
        let from =
            from.filter(|from| self.destination.store.address().is_some_and(|here| here.shares_a_server_with(from)));
        let mut proofs = Proofs::default();
        let mut waiting = manifest.stored_objects();
        // Each is made when its turn has come: what a copy needs room for is more than an object's line in the manifest.
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < jobs.max(1)
                && let Some(object) = waiting.next()
            {
                running.push(self.object(object, from.as_ref(), &by_itself));
            }
            let Some(proof) = running.try_next().await? else { return Ok(proofs) };
            match proof {
                Proof::OnTheWay => proofs.on_the_way += 1,
                Proof::DigestOfTheStore => proofs.digest_of_the_store += 1,
                Proof::SizeAndEtag => proofs.size_and_etag += 1,
                Proof::ReadBack => proofs.read_back += 1,
            }
            self.destination.progress.object_done();
        }
    }

    async fn object(&self, object: &StoredObject, from: Option<&Address>, by_itself: &AtomicBool) -> Result<Proof> {
        if let Some(from) = from.filter(|_| by_itself.load(Ordering::Relaxed)) {
            match self.by_itself(object, from).await {
                Ok(proof) => {
                    self.destination.progress.moved_stored(object.bytes);
                    return Ok(proof);
                }
                // What a store cannot or may not do by itself may still be done by hand, and fails with better words.
                Err(error) if may_be_streamed(&error) => {
                    tracing::info!(%error, "the store does not copy by itself; the bytes pass here");
                    by_itself.store(false, Ordering::Relaxed);
                }
                Err(error) => return Err(error),
            }
        }
        self.stream(object).await
    }

    /// Lets the store copy, and holds what it says of the copy against the manifest.
    async fn by_itself(&self, object: &StoredObject, from: &Address) -> Result<Proof> {
        let (source, target) = (key(&self.origin.folder, object), key(&self.destination.folder, object));
        let class = self.destination.class_of(&object.key);
        let copy = ServerCopy { from, source: &source, key: &target, size: object.bytes, class };
        match self.destination.store.copy_here(copy).await? {
            Receipt::Sha256(digest) if digest != object.sha256 => {
                Err(Error::new(Kind::Archive, "does not have the digest that the manifest says").on(source))
            }
            Receipt::Sha256(_) if !self.read_back => Ok(Proof::DigestOfTheStore),
            Receipt::SameEtag if !self.read_back => Ok(Proof::SizeAndEtag),
            _ => {
                let Destination { store, folder, .. } = &self.destination;
                let there = Origin { store: store.clone(), folder: folder.clone() };
                let mut bytes = there.read(&ArchiveObject::from(object)).await?;
                while bytes.try_next().await?.is_some() {}
                Ok(Proof::ReadBack)
            }
        }
    }

    /// Reads, checks and writes the object.
    async fn stream(&self, object: &StoredObject) -> Result<Proof> {
        let part_size = self.destination.part_size(object.bytes);
        if object.bytes > self.destination.parts.capacity(part_size) {
            return Err(Error::new(Kind::Usage, "parts of the size that the memory allows do not make up this object")
                .on(key(&self.origin.folder, object))
                .hint("give it more --memory, so that parts can be larger"));
        }
        // What is smaller than a part is one request and needs no more memory than its size.
        let room = part_size.min(object.bytes + 1);
        let source = self.origin.read(&ArchiveObject::from(object)).await?;
        self.destination.write(&object.key, room, source).await?;
        Ok(Proof::OnTheWay)
    }

    /// Looks whether every object is in the target, with its size: the last thing before the manifest.
    pub(super) async fn look(&self, manifest: &Manifest) -> Result<()> {
        let Destination { store, folder, .. } = &self.destination;
        let entries = store.list(folder).await?;
        let sizes: HashMap<&str, u64> = entries.iter().map(|entry| (entry.key.as_str(), entry.size)).collect();
        for object in manifest.stored_objects() {
            let key = key(folder, object);
            if sizes.get(key.as_str()) != Some(&object.bytes) {
                return Err(Error::new(Kind::Store, "the target does not hold what was just written there").on(key));
            }
        }
        Ok(())
    }
}

fn key(folder: &str, object: &StoredObject) -> String {
    format!("{folder}{}", object.key)
}

fn may_be_streamed(error: &Error) -> bool {
    matches!(problem(error), Some(StoreProblem::Unsupported | StoreProblem::Denied | StoreProblem::Other))
}
