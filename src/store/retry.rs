//! Asking a store again: what a moment's trouble of the network or the store must not end.
//!
//! Always true here: only what may pass by itself is asked again ([`StoreProblem::Unreachable`], [`StoreProblem::Garbled`] a
//! few times, for an answer may have been cut short, and [`StoreProblem::Expired`] after the credentials were found anew), with pauses that grow and vary at random, and for no
//! longer than [`Patience::total`] a request. A store that has never answered is not asked again: its address is wrong,
//! or it is not there, and waiting would only hide that. Bytes on their way up are kept until the store has them, so
//! nothing is read twice from where they came.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use tokio::time::Instant;

use crate::error::{Error, Result};

use super::failure::{StoreProblem, problem, store_error};
use super::{
    Address, Answer, ByteStream, Deletion, Entry, LifecycleRule, Limits, Meta, OpenUpload, Receipt, ServerCopy,
    StorageClass, Store, Tier, Upload,
};

/// How long the first pause before another attempt may be; each further one twice that.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// How long a store is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For so long one request is tried again before it counts as failed; zero: never.
    pub total: Duration,
    /// For so long a transfer may stand still before it counts as broken.
    pub stall: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience { total: Duration::from_secs(300), stall: Duration::from_secs(30) }
    }
}

/// Maximum attempts at a request whose answers cannot be understood: a store that speaks otherwise does so each time.
const ATTEMPTS_AT_GARBLED: u32 = 4;
/// A wait for the store that takes longer than this is said.
const SILENT_WAIT: Duration = Duration::from_secs(5);
/// And how often, whatever the number of requests that wait.
const SAID_EVERY: Duration = Duration::from_secs(30);

/// The attempts at one request.
#[derive(Debug)]
pub(super) struct Attempts {
    begun: Instant,
    until: Instant,
    made: u32,
}

impl Attempts {
    /// The first attempt is made now.
    pub(super) fn new(total: Duration) -> Self {
        let begun = Instant::now();
        Attempts { begun, until: begun + total, made: 1 }
    }

    /// Waits until the next attempt is due; `false` at once when there is no time for one.
    pub(super) async fn another(&mut self) -> bool {
        let longest = FIRST_PAUSE.saturating_mul(2u32.saturating_pow(self.made.saturating_sub(1))).min(LONGEST_PAUSE);
        // Half of it at random, so that workers whom one fault stopped do not come back all at once.
        let pause = longest.mul_f64(0.5 + rand::random::<f64>() / 2.0);
        if Instant::now() + pause > self.until {
            return false;
        }
        tokio::time::sleep(pause).await;
        self.made += 1;
        true
    }
}

/// Whether the same request may succeed later.
pub(super) fn may_pass(error: &Error) -> bool {
    matches!(problem(error), Some(StoreProblem::Unreachable | StoreProblem::Expired | StoreProblem::Garbled))
}

/// Passes everything on to another store, and again when that fails for a reason that may pass.
#[derive(Debug, Clone)]
pub struct RetryStore {
    inner: Arc<dyn Store>,
    total: Duration,
    answered: Arc<AtomicBool>,
    /// When it was last said that the store is waited for.
    said: Arc<Mutex<Option<Instant>>>,
}

impl RetryStore {
    /// Wraps a store.
    pub fn new(inner: Arc<dyn Store>, patience: Patience) -> Self {
        RetryStore { inner, total: patience.total, answered: Arc::default(), said: Arc::default() }
    }

    fn attempts(&self) -> Attempts {
        Attempts::new(self.total)
    }

    /// Notes whether the store has answered, and says whether to try once more after waiting for it.
    async fn again(&self, failure: Option<&Error>, attempts: &mut Attempts) -> bool {
        let Some(error) = failure.filter(|error| may_pass(error)) else {
            // It said yes or no, so it is there.
            self.answered.store(true, Ordering::Relaxed);
            return false;
        };
        if problem(error) == Some(StoreProblem::Garbled) && attempts.made >= ATTEMPTS_AT_GARBLED {
            return false;
        }
        if !self.answered.load(Ordering::Relaxed) {
            return false;
        }
        self.say_the_wait(error, attempts);
        if !attempts.another().await {
            return false;
        }
        tracing::info!(attempt = attempts.made, "asking the store again: {error}");
        if problem(error) == Some(StoreProblem::Expired)
            && let Err(error) = self.inner.renew().await
        {
            tracing::warn!("cannot find the credentials anew: {error}");
        }
        true
    }

    /// Says that the store is waited for, and for what.
    fn say_the_wait(&self, error: &Error, attempts: &Attempts) {
        let waited = attempts.begun.elapsed();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if waited > SILENT_WAIT && said.is_none_or(|last| last.elapsed() > SAID_EVERY) {
            *said = Some(Instant::now());
            let left = attempts.until.saturating_duration_since(Instant::now()).as_secs();
            tracing::warn!(
                "waiting for the store since {} s, for {left} s more at the most: {error}",
                waited.as_secs()
            );
        }
    }

    async fn repeat<T, F: Future<Output = Result<T>>>(&self, request: impl Fn() -> F) -> Result<T> {
        let mut attempts = self.attempts();
        loop {
            let outcome = request().await;
            if !self.again(outcome.as_ref().err(), &mut attempts).await {
                return outcome;
            }
        }
    }

    /// Whether an object holds exactly these bytes.
    async fn holds(&self, key: &str, body: &Bytes) -> Result<bool> {
        let mut rest = body.clone();
        let mut stream = self.get(key, None).await?;
        while let Some(chunk) = stream.try_next().await? {
            if rest.len() < chunk.len() || rest.split_to(chunk.len()) != chunk {
                return Ok(false);
            }
        }
        Ok(rest.is_empty())
    }
}

#[async_trait]
impl Store for RetryStore {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn put(&self, key: &str, body: Bytes, class: Option<&StorageClass>) -> Result<()> {
        self.repeat(|| self.inner.put(key, body.clone(), class)).await
    }

    async fn put_new(&self, key: &str, body: Bytes) -> Result<()> {
        let exists = || store_error(StoreProblem::AlreadyExists, "there is an object already").on(key);
        // What is there after a lost answer can only be judged where nothing was there before.
        if self.head(key).await?.is_some() {
            return Err(exists());
        }
        let mut attempts = self.attempts();
        loop {
            let outcome = self.inner.put_new(key, body.clone()).await;
            if !self.again(outcome.as_ref().err(), &mut attempts).await {
                return outcome;
            }
            // The attempt may have arrived although its answer did not, and a store that ignores the condition would
            // write again over it, or over somebody else's object that came in between.
            if self.head(key).await?.is_some() {
                return if self.holds(key, &body).await? { Ok(()) } else { Err(exists()) };
            }
        }
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<ByteStream> {
        self.repeat(|| self.inner.get(key, range.clone())).await
    }

    async fn head(&self, key: &str) -> Result<Option<Meta>> {
        self.repeat(|| self.inner.head(key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Entry>> {
        self.repeat(|| self.inner.list(prefix)).await
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>> {
        self.repeat(|| self.inner.list_folders(prefix)).await
    }

    async fn delete(&self, keys: &[String]) -> Result<()> {
        self.repeat(|| self.inner.delete(keys)).await
    }

    async fn deletion(&self) -> Result<Deletion> {
        self.repeat(|| self.inner.deletion()).await
    }

    async fn lifecycle(&self) -> Result<Answer<Vec<LifecycleRule>>> {
        self.repeat(|| self.inner.lifecycle()).await
    }

    async fn start_upload(&self, key: &str, class: Option<&StorageClass>) -> Result<Box<dyn Upload>> {
        let inner = self.repeat(|| self.inner.start_upload(key, class)).await?;
        Ok(Box::new(RetryUpload { store: self.clone(), inner }))
    }

    async fn open_uploads(&self, prefix: &str) -> Result<Vec<OpenUpload>> {
        self.repeat(|| self.inner.open_uploads(prefix)).await
    }

    async fn abort_upload(&self, upload: &OpenUpload) -> Result<()> {
        self.repeat(|| self.inner.abort_upload(upload)).await
    }

    async fn thaw(&self, key: &str, days: Option<u32>, tier: Tier) -> Result<()> {
        self.repeat(|| self.inner.thaw(key, days, tier)).await
    }

    fn address(&self) -> Option<Address> {
        self.inner.address()
    }

    async fn copy_here(&self, copy: ServerCopy<'_>) -> Result<Receipt> {
        self.repeat(|| self.inner.copy_here(copy)).await
    }

    async fn renew(&self) -> Result<()> {
        self.inner.renew().await
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }
}

struct RetryUpload {
    store: RetryStore,
    inner: Box<dyn Upload>,
}

#[async_trait]
impl Upload for RetryUpload {
    async fn part(&self, number: u32, body: Bytes) -> Result<()> {
        self.store.repeat(|| self.inner.part(number, body.clone())).await
    }

    // A completion aborts when it fails, so the store beneath has to be patient with it.
    async fn complete(self: Box<Self>) -> Result<()> {
        self.inner.complete().await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.inner.abort().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;

    use super::super::{FaultyStore, MemoryStore, Operation, Store, StoreProblem, problem};
    use super::{Patience, RetryStore};

    fn store() -> (RetryStore, FaultyStore) {
        let faulty = FaultyStore::new(Arc::new(MemoryStore::new()));
        let patience = Patience { total: Duration::from_secs(5), ..Patience::default() };
        (RetryStore::new(Arc::new(faulty.clone()), patience), faulty)
    }

    #[tokio::test]
    async fn what_may_pass_is_asked_again_and_what_will_not_is_not() {
        let (store, faulty) = store();
        store.put("a", Bytes::new(), None).await.expect("the store is there");
        for nth in 2..5 {
            let expired = if nth % 2 == 0 { StoreProblem::Unreachable } else { StoreProblem::Expired };
            faulty.fail_nth(Operation::Put, nth, expired);
        }
        store.put("b", Bytes::from_static(b"b"), None).await.expect("the fourth attempt");
        assert_eq!(faulty.count(Operation::Put), 5);
        faulty.fail_from(Operation::Put, 6, StoreProblem::Denied);
        store.put("c", Bytes::new(), None).await.expect_err("no is no");
        assert_eq!(faulty.count(Operation::Put), 6);
    }

    #[tokio::test]
    async fn patience_ends() {
        let (store, faulty) = store();
        store.head("a").await.expect("the store is there");
        faulty.fail_from(Operation::Head, 1, StoreProblem::Unreachable);
        let start = tokio::time::Instant::now();
        let error = store.head("a").await.expect_err("it never comes back");
        assert_eq!(problem(&error), Some(StoreProblem::Unreachable));
        let waited = start.elapsed();
        assert!(waited > Duration::from_secs(1) && waited < Duration::from_secs(10), "{waited:?}");
        assert!((3..7).contains(&faulty.count(Operation::Head)), "{}", faulty.count(Operation::Head));
    }

    #[tokio::test]
    async fn a_store_that_never_answered_is_not_waited_for() {
        let (store, faulty) = store();
        faulty.fail_from(Operation::List, 1, StoreProblem::Unreachable);
        store.list("").await.expect_err("nobody there");
        assert_eq!(faulty.count(Operation::List), 1);
    }

    #[tokio::test]
    async fn a_part_is_kept_until_the_store_has_it() {
        let (store, faulty) = store();
        let upload = store.start_upload("a", None).await.expect("an upload");
        faulty.fail_nth(Operation::Part, 1, StoreProblem::Unreachable);
        faulty.fail_nth(Operation::Part, 2, StoreProblem::Unreachable);
        upload.part(1, Bytes::from_static(b"rows")).await.expect("the third attempt");
        upload.complete().await.expect("complete");
        assert_eq!(store.head("a").await.expect("an answer").expect("an object").size, 4);
    }

    #[tokio::test]
    async fn a_new_object_is_ours_only_if_it_holds_our_bytes() {
        for (there, fine) in [(None, true), (Some(&b"ours"[..]), true), (Some(&b"else"[..]), false)] {
            let (store, faulty) = store();
            store.list("").await.expect("the store is there");
            faulty.fail_nth(Operation::PutNew, 1, StoreProblem::Unreachable);
            let writing = store.put_new("manifest", Bytes::from_static(b"ours"));
            let (written, ()) = tokio::join!(writing, async {
                // What a lost attempt, or somebody else, wrote before the next one.
                if let Some(bytes) = there {
                    faulty.put("manifest", Bytes::from_static(bytes), None).await.expect("put");
                }
            });
            assert_eq!(written.is_ok(), fine, "{there:?}");
        }
    }
}
