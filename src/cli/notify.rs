//! `pgstow notify`: arguments, options, report.

use super::jobs::{ConfigArgs, host};
use super::output::{plain, print};
use super::{Context, environment};
use crate::error::{Error, Kind, Result};
use crate::notify::{Event, tell};
use clap::{Args, Subcommand};

/// `pgstow notify`.
#[derive(Debug, Args)]
pub struct NotifyVerb {
    /// What to do.
    #[command(subcommand)]
    pub action: NotifyAction,
}

/// What `pgstow notify` can do.
#[derive(Debug, Subcommand)]
pub enum NotifyAction {
    /// Send a message that says it is a test, and say whether it arrived
    Test(TestArgs),
}

/// `pgstow notify test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Which notifiers [default: all]
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// The file.
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl NotifyVerb {
    /// Runs the verb.
    pub(super) async fn run(&self, context: Context) -> Result<()> {
        let NotifyAction::Test(arguments) = &self.action;
        let config = arguments.config.need()?;
        let names = (!arguments.names.is_empty()).then_some(arguments.names.as_slice());
        let notifiers = config.notifiers(names, &environment)?;
        if notifiers.is_empty() {
            return Err(Error::new(Kind::Usage, "the file has no notifiers").hint("add a table [notify.email.NAME]"));
        }
        let event = Event::test(&host());
        let told = context.stop.unless(async { Ok(tell(&notifiers, &event).await) }).await?;
        let mut failed = 0;
        for (notifier, told) in notifiers.iter().zip(&told) {
            let how = match &told.outcome {
                Ok(()) => "ok".to_owned(),
                Err(error) => {
                    failed += 1;
                    let hint = error.hint_text().map(|hint| format!("; {hint}")).unwrap_or_default();
                    format!("FAILED: {error}{hint}")
                }
            };
            print(&[plain(&format!("{} ({}): {how}", told.name, notifier.describe()))])?;
        }
        if failed > 0 {
            return Err(Error::new(Kind::Notify, format!("{failed} of {} notifiers failed", told.len())));
        }
        Ok(())
    }
}
