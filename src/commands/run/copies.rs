//! What a run does in the further stores of its job: the new backup goes there, and what is old there goes.

use super::Run;
use crate::commands::Stop;
use crate::commands::copy::{CopyHow, CopyOptions, Which, copy};
use crate::commands::memory::{DEFAULT_MEMORY, least};
use crate::error::{Error, Kind, Result};
use crate::jobs::JobStore;
use crate::store::Store;
use crate::stream::codec::Codec;
use std::sync::Arc;

/// What became of the copy in one store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyOutcome {
    /// The store.
    pub store: String,
    /// Why there is none, where there is none, or why old ones could not be removed.
    pub error: Option<String>,
}

impl Run<'_> {
    /// Copies the new backup to every further store. One that fails keeps none of the others from its copy, and is the
    /// run's failure in the end: the backup itself stays.
    pub(super) async fn copy_to_all(&mut self, id: &str, stop: &Stop) -> Result<()> {
        let mut first = None;
        let options = self.options;
        for (place, store) in options.job.copies.iter().zip(&options.copies) {
            let name = place.url.to_string();
            let outcome = self.copy_to(place, store, id, stop).await;
            let error = outcome.err();
            self.copies.push(CopyOutcome { store: name.clone(), error: error.as_ref().map(ToString::to_string) });
            match error {
                None => {}
                Some(error) if error.kind() == Kind::Interrupted => return Err(error),
                Some(error) => {
                    self.journal.say(&format!("the copy in {name} failed: {error}"));
                    first.get_or_insert((name, error));
                }
            }
        }
        match first {
            None => Ok(()),
            Some((name, error)) => {
                let hint = error.hint_text().map(str::to_owned);
                let failed = Error::new(Kind::Partial, format!("backup {id} was made, but its copy failed")).on(name);
                let again = || format!("`pgstow copy --new` makes up for it; {}", hint.as_deref().unwrap_or_default());
                let again = again().trim_end_matches([' ', ';']).to_owned();
                Err(failed.hint(again).because(error))
            }
        }
    }

    async fn copy_to(&self, place: &JobStore, store: &Arc<dyn Store>, id: &str, stop: &Stop) -> Result<()> {
        let job = &self.options.job;
        self.journal.say(&format!("copying to {}", place.url));
        let usual = DEFAULT_MEMORY.max(least(job.connections, Codec::None));
        let options = CopyOptions {
            source: Arc::clone(&self.options.store),
            target: Arc::clone(store),
            which: Which::One(format!("{}/{id}", job.connection.database())),
            how: CopyHow {
                storage_class: place.class.clone(),
                jobs: job.connections,
                memory: job.tuning.memory.unwrap_or(usual),
                ..CopyHow::default()
            },
        };
        let report = copy(options, self.step(), stop.clone()).await;
        self.progress.step(None);
        let report = report?;
        for copied in &report.copied {
            let bytes = indicatif::HumanBytes(copied.bytes);
            let objects = indicatif::HumanCount(copied.objects);
            self.journal.say(&format!("copied to {}: {objects} objects, {bytes}, every one checked", place.url));
        }
        self.prune(store, place, stop).await
    }
}
