//! `pgstow schedule`: runs jobs when their time comes, until it is told to stop.
//!
//! No state lies beside the store: when a job was last done is read from its newest backup. So a run that was missed while
//! nothing ran is noticed and made up for once, and several instances do not do one job twice: whoever comes second
//! finds the lock of the run ([`super::run`]), or a backup that is newer than the scheduled time.

mod checker;
mod clock;
mod keeper;
mod state;
mod web;

pub use clock::{Clock, SystemClock};

use super::backups;
use super::run::{RunOptions, RunReport, run};
use super::{Journal, Progress, Stop};
use crate::error::{Error, Kind, Result};
use crate::jobs::Schedule;
use async_trait::async_trait;
use checker::{Checker, JobLook};
use futures::future::BoxFuture;
use keeper::{Ended, Keeper, Work};
use state::{LastBackup, State};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Makes a job ready to run. Called before each run, so that secrets which changed meanwhile are read anew.
pub type Prepare = Arc<dyn Fn() -> BoxFuture<'static, Result<RunOptions>> + Send + Sync>;

/// Hears every line that a job says: its name and the line.
pub type Sink = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// A job with a schedule, for its runs, its checks, or both.
#[derive(Clone)]
pub struct Scheduled {
    /// Its name.
    pub name: String,
    /// When it runs.
    pub schedule: Option<Schedule>,
    /// When its backups are checked.
    pub check: Option<Schedule>,
    /// Makes it ready.
    pub prepare: Prepare,
}

impl fmt::Debug for Scheduled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduled")
            .field("name", &self.name)
            .field("schedule", &self.schedule)
            .field("check", &self.check)
            .finish_non_exhaustive()
    }
}

/// What to keep time for.
pub struct ScheduleOptions {
    /// The jobs, at least one.
    pub jobs: Vec<Scheduled>,
    /// How many may run at once, at least 1.
    pub at_once: usize,
    /// Where health and metrics are served, if anywhere.
    pub listen: Option<SocketAddr>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where the jobs' words go.
    pub sink: Sink,
}

/// Keeps time until a stop is asked. Runs that are under way then are ended cleanly, as a dump ends by a signal.
///
/// Errors: [`Kind::Usage`] when the address cannot be listened on. What happens in a job is told by the job.
pub async fn schedule(options: ScheduleOptions, stop: Stop) -> Result<()> {
    let state = Arc::new(State::new(options.jobs.iter().map(|job| job.name.clone())));
    let web = match options.listen {
        Some(address) => Some(web::listen(address, Arc::clone(&state), stop.clone()).await?),
        None => None,
    };
    if let Some((address, _)) = &web {
        (options.sink)("schedule", &format!("health and metrics at http://{address}/"));
    }
    let at_once = Arc::new(Semaphore::new(options.at_once.max(1)));
    let checkers = options.jobs.iter().filter_map(|job| {
        let look = JobLook {
            name: job.name.clone(),
            prepare: Arc::clone(&job.prepare),
            state: Arc::clone(&state),
            sink: Arc::clone(&options.sink),
        };
        let checker = Checker { schedule: job.check.clone()?, clock: Arc::clone(&options.clock) };
        let stop = stop.clone();
        Some(async move { checker.keep(&look, &stop).await })
    });
    let checkers = futures::future::join_all(checkers.collect::<Vec<_>>());
    let keepers = options.jobs.into_iter().filter_map(|job| {
        let work = JobWork {
            name: job.name.clone(),
            prepare: job.prepare,
            at_once: Arc::clone(&at_once),
            sink: Arc::clone(&options.sink),
        };
        let keeper = Keeper {
            name: job.name,
            schedule: job.schedule?,
            clock: Arc::clone(&options.clock),
            state: Arc::clone(&state),
        };
        let (sink, stop) = (Arc::clone(&options.sink), stop.clone());
        Some(async move { keeper.keep(&work, &sink, &stop).await })
    });
    futures::future::join(futures::future::join_all(keepers), checkers).await;
    if let Some((_, serving)) = web {
        serving.await.map_err(|error| Error::new(Kind::Internal, "the web server ended badly").because(error))?;
    }
    Ok(())
}

/// A real job.
struct JobWork {
    name: String,
    prepare: Prepare,
    at_once: Arc<Semaphore>,
    sink: Sink,
}

#[async_trait]
impl Work for JobWork {
    async fn newest(&self) -> Result<Option<LastBackup>> {
        let options = (self.prepare)().await?;
        let newest = backups::newest(options.store.as_ref(), options.job.connection.database()).await?;
        Ok(newest.map(|(place, manifest)| LastBackup::of(&place.id, &manifest)))
    }

    async fn run(&self, stop: &Stop) -> Ended {
        // A semaphore that is never closed gives a permit, sooner or later.
        let _permit = tokio::select! {
            permit = self.at_once.acquire() => permit,
            () = stop.asked() => return Ended::Stopped,
        };
        let (name, sink) = (self.name.clone(), Arc::clone(&self.sink));
        let journal = Arc::new(Journal::new(move |line| sink(&name, line)));
        let options = match stop.unless((self.prepare)()).await {
            Ok(options) => options,
            Err(error) => {
                journal.say(&format!("failed before it began: {error}"));
                return Ended::of_error(&error);
            }
        };
        let report = run(&options, &Arc::new(Progress::default()), &journal, stop).await;
        Ended::of_report(&report)
    }
}

impl Ended {
    fn of_report(report: &RunReport) -> Ended {
        match (&report.error, &report.dump) {
            (None, Some(dump)) => Ended::Success(LastBackup::of(&dump.manifest.id, &dump.manifest)),
            (Some(error), _) => Ended::of_error(error),
            (None, None) => Ended::Failed,
        }
    }

    fn of_error(error: &Error) -> Ended {
        match error.kind() {
            Kind::Busy => Ended::Elsewhere,
            Kind::Interrupted => Ended::Stopped,
            _ => Ended::Failed,
        }
    }
}
