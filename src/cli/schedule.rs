//! `pgstow schedule`: arguments, options.

use super::jobs::{ConfigArgs, ready};
use super::output::print;
use super::{Context, environment};
use crate::commands::schedule::{ScheduleOptions, Scheduled, SystemClock, schedule};
use crate::error::{Error, Kind, Result};
use crate::jobs::Config;
use clap::Args;
use std::net::SocketAddr;
use std::sync::Arc;

/// `pgstow schedule`.
#[derive(Debug, Args)]
#[command(after_help = "\
A run that was missed while nothing ran is made up for once, unless its job says catch_up = false. SIGTERM and SIGINT end
the runs under way cleanly, without a backup; they count as missed. /health answers 200, and 503 while it stops.")]
pub struct ScheduleArgs {
    /// The file.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Serve /health and /metrics (for Prometheus) over HTTP at this address, such as 127.0.0.1:9187
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// How many jobs may run at once; others wait
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub at_once: u16,
}

impl ScheduleArgs {
    /// Runs the verb.
    pub(super) async fn run(&self, context: Context) -> Result<()> {
        let config = Arc::new(self.config.need()?);
        let jobs = config.jobs(&environment)?;
        let jobs: Vec<Scheduled> = jobs
            .into_iter()
            .map(|job| Scheduled {
                prepare: prepare(&config, &job.name),
                schedule: job.schedule,
                check: job.check.schedule,
                name: job.name,
            })
            .filter(|job| job.schedule.is_some() || job.check.is_some())
            .collect();
        if jobs.is_empty() {
            return Err(Error::new(Kind::Usage, "no job of the file has a schedule")
                .hint("say schedule = \"30 2 * * *\" in its table, or call `pgstow run JOB` from cron"));
        }
        let quiet = context.quiet;
        let options = ScheduleOptions {
            jobs,
            at_once: usize::from(self.at_once),
            listen: self.listen,
            clock: Arc::new(SystemClock),
            sink: Arc::new(move |job, line| {
                if !quiet {
                    // Standard output that is closed ends no backup.
                    let _unwritable = print(&[format!("[{job}] {line}")]);
                }
            }),
        };
        schedule(options, context.stop).await
    }
}

fn prepare(config: &Arc<Config>, name: &str) -> crate::commands::schedule::Prepare {
    let (config, name) = (Arc::clone(config), name.to_owned());
    Arc::new(move || {
        let (config, name) = (Arc::clone(&config), name.clone());
        Box::pin(async move { ready(config.job(&name, &environment)?).await })
    })
}
