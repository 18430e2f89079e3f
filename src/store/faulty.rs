//! A store that fails on purpose: a decorator for tests of abort, retry and "no manifest, no backup".
//!
//! Always true here: the contract of [`Store`] holds otherwise. An operation that is told to fail does not reach the
//! store beneath, except that a failing `complete` aborts, as every store does.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};

use crate::error::Result;

use super::failure::{StoreProblem, store_error};
use super::{
    Address, Answer, ByteStream, Deletion, Entry, LifecycleRule, Limits, Meta, OpenUpload, Receipt, ServerCopy,
    StorageClass, Store, Tier, Upload,
};

/// What a store is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`Store::put`].
    Put,
    /// [`Store::put_new`].
    PutNew,
    /// [`Store::get`].
    Get,
    /// One chunk of a [`ByteStream`]: a failure here comes in the middle of an object.
    Chunk,
    /// [`Store::head`].
    Head,
    /// [`Store::list`] and [`Store::list_folders`].
    List,
    /// [`Store::delete`].
    Delete,
    /// [`Store::start_upload`].
    StartUpload,
    /// [`Upload::part`].
    Part,
    /// [`Upload::complete`].
    Complete,
    /// [`Upload::abort`] and [`Store::abort_upload`].
    Abort,
    /// [`Store::open_uploads`].
    OpenUploads,
    /// [`Store::copy_here`].
    Copy,
}

#[derive(Debug, Clone, Copy)]
struct Fault {
    operation: Operation,
    /// Which occurrences fail, counted from 1.
    first: u64,
    last: u64,
    problem: StoreProblem,
}

#[derive(Debug, Default)]
struct Plan {
    faults: Vec<Fault>,
    delays: HashMap<Operation, Duration>,
    counts: HashMap<Operation, u64>,
}

/// Passes everything on to another store, except what it was told to fail. Clones share their plan and their counts.
#[derive(Debug, Clone)]
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    plan: Arc<Mutex<Plan>>,
}

impl FaultyStore {
    /// Wraps a store; nothing fails yet.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        FaultyStore { inner, plan: Arc::default() }
    }

    /// Lets the nth operation of this kind fail, counted from 1 since the store was wrapped.
    pub fn fail_nth(&self, operation: Operation, nth: u64, problem: StoreProblem) {
        self.plan().faults.push(Fault { operation, first: nth, last: nth, problem });
    }

    /// Lets the nth and all later operations of this kind fail.
    pub fn fail_from(&self, operation: Operation, nth: u64, problem: StoreProblem) {
        self.plan().faults.push(Fault { operation, first: nth, last: u64::MAX, problem });
    }

    /// Makes every operation of this kind wait first.
    pub fn delay(&self, operation: Operation, delay: Duration) {
        self.plan().delays.insert(operation, delay);
    }

    /// Forgets all faults and delays; counts go on.
    pub fn heal(&self) {
        let mut plan = self.plan();
        plan.faults.clear();
        plan.delays.clear();
    }

    /// How many operations of this kind there were so far, failed ones included.
    pub fn count(&self, operation: Operation) -> u64 {
        self.plan().counts.get(&operation).copied().unwrap_or(0)
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one operation and fails it if that was planned.
    async fn meet(&self, operation: Operation) -> Result<()> {
        let (delay, fault) = {
            let mut plan = self.plan();
            let count = plan.counts.entry(operation).or_default();
            *count += 1;
            let nth = *count;
            let planned = |fault: &&Fault| fault.operation == operation && (fault.first..=fault.last).contains(&nth);
            (plan.delays.get(&operation).copied(), plan.faults.iter().find(planned).map(|fault| (nth, fault.problem)))
        };
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        match fault {
            Some((nth, problem)) => Err(store_error(problem, format!("planned failure of {operation:?} number {nth}"))),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Store for FaultyStore {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn put(&self, key: &str, body: Bytes, class: Option<&StorageClass>) -> Result<()> {
        self.meet(Operation::Put).await?;
        self.inner.put(key, body, class).await
    }

    async fn put_new(&self, key: &str, body: Bytes) -> Result<()> {
        self.meet(Operation::PutNew).await?;
        self.inner.put_new(key, body).await
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<ByteStream> {
        self.meet(Operation::Get).await?;
        let body = self.inner.get(key, range).await?;
        let chunks = stream::try_unfold((self.clone(), body), |(store, mut body)| async move {
            let Some(chunk) = body.next().await else { return Ok(None) };
            store.meet(Operation::Chunk).await?;
            Ok(Some((chunk?, (store, body))))
        });
        Ok(chunks.boxed())
    }

    async fn head(&self, key: &str) -> Result<Option<Meta>> {
        self.meet(Operation::Head).await?;
        self.inner.head(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Entry>> {
        self.meet(Operation::List).await?;
        self.inner.list(prefix).await
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>> {
        self.meet(Operation::List).await?;
        self.inner.list_folders(prefix).await
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        self.meet(Operation::Delete).await?;
        self.inner.delete(keys).await
    }

    async fn deletion(&self) -> Result<Deletion> {
        self.inner.deletion().await
    }

    async fn lifecycle(&self) -> Result<Answer<Vec<LifecycleRule>>> {
        self.inner.lifecycle().await
    }

    async fn start_upload(&self, key: &str, class: Option<&StorageClass>) -> Result<Box<dyn Upload>> {
        self.meet(Operation::StartUpload).await?;
        let inner = self.inner.start_upload(key, class).await?;
        Ok(Box::new(FaultyUpload { store: self.clone(), inner }))
    }

    async fn open_uploads(&self, prefix: &str) -> Result<Vec<OpenUpload>> {
        self.meet(Operation::OpenUploads).await?;
        self.inner.open_uploads(prefix).await
    }

    async fn abort_upload(&self, upload: &OpenUpload) -> Result<()> {
        self.meet(Operation::Abort).await?;
        self.inner.abort_upload(upload).await
    }

    async fn thaw(&self, key: &str, days: Option<u32>, tier: Tier) -> Result<()> {
        self.inner.thaw(key, days, tier).await
    }

    fn address(&self) -> Option<Address> {
        self.inner.address()
    }

    async fn copy_here(&self, copy: ServerCopy<'_>) -> Result<Receipt> {
        self.meet(Operation::Copy).await?;
        self.inner.copy_here(copy).await
    }

    async fn renew(&self) -> Result<()> {
        self.inner.renew().await
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }
}

struct FaultyUpload {
    store: FaultyStore,
    inner: Box<dyn Upload>,
}

#[async_trait]
impl Upload for FaultyUpload {
    async fn part(&self, number: u32, body: Bytes) -> Result<()> {
        self.store.meet(Operation::Part).await?;
        self.inner.part(number, body).await
    }

    async fn complete(self: Box<Self>) -> Result<()> {
        if let Err(error) = self.store.meet(Operation::Complete).await {
            self.inner.abort().await?;
            return Err(error);
        }
        self.inner.complete().await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.store.meet(Operation::Abort).await?;
        self.inner.abort().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use futures::TryStreamExt;

    use super::super::{MemoryStore, Store, StoreProblem, problem};
    use super::{FaultyStore, Operation};

    #[tokio::test]
    async fn the_nth_operation_fails_and_no_other() {
        let store = FaultyStore::new(Arc::new(MemoryStore::new()));
        store.fail_nth(Operation::Put, 2, StoreProblem::Unreachable);
        store.put("a", Bytes::new(), None).await.expect("the first");
        let error = store.put("b", Bytes::new(), None).await.expect_err("the second");
        assert_eq!(problem(&error), Some(StoreProblem::Unreachable));
        store.put("c", Bytes::new(), None).await.expect("the third");
        assert_eq!(store.list("").await.expect("a list").len(), 2);
        assert_eq!(store.count(Operation::Put), 3);
    }

    #[tokio::test]
    async fn a_failing_complete_leaves_no_object_and_no_upload() {
        let store = FaultyStore::new(Arc::new(MemoryStore::new()));
        store.fail_from(Operation::Complete, 1, StoreProblem::Other);
        let upload = store.start_upload("a", None).await.expect("an upload");
        upload.part(1, Bytes::from_static(b"x")).await.expect("a part");
        upload.complete().await.expect_err("planned");
        assert_eq!(store.head("a").await.expect("an answer"), None);
        assert!(store.open_uploads("").await.expect("an answer").is_empty());
    }

    #[tokio::test]
    async fn an_object_can_break_off_in_its_middle() {
        let store = FaultyStore::new(Arc::new(MemoryStore::new()));
        store.put("a", Bytes::from(vec![7; 300_000]), None).await.expect("put");
        store.fail_nth(Operation::Chunk, 3, StoreProblem::Unreachable);
        let body = store.get("a", None).await.expect("a stream");
        body.try_collect::<Vec<Bytes>>().await.expect_err("broken off");
        store.heal();
        let body: Vec<Bytes> = store.get("a", None).await.expect("a stream").try_collect().await.expect("whole");
        assert_eq!(body.concat().len(), 300_000);
    }
}
