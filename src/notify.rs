//! Telling people and machines how a job went: e-mail, webhooks, pings, Prometheus text files.
//!
//! May import: error, model. Always true here:
//!
//! - A notifier that fails is an outcome to be reported, never an error of the job; none takes longer than [`PATIENCE`],
//!   so a dead one holds up nothing.
//! - Addresses of webhooks and pings are secrets (whoever has one can write there): errors name the host alone.
//! - An [`Event`] holds no secret, for it is made of reports and errors, which hold none.

mod email;
mod event;
mod http;
pub mod metrics;
mod ping;
mod template;
mod textfile;
mod tls;
mod webhook;

pub use email::{Email, MailSecurity};
pub use event::{Checked, Event, Facts, Found, Grade, Moment};
pub use http::Target;
pub use ping::Ping;
pub use template::Template;
pub use textfile::Textfile;
pub use webhook::{Body, Webhook};

use crate::error::{Error, Kind, Result};
use std::time::Duration;

/// How long one notifier may take with one event, its repetitions included.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A way to tell, under a name.
#[derive(Debug, Clone)]
pub struct Notifier {
    /// Its name in the configuration.
    pub name: String,
    /// What it is told; pings and text files are told all that they can say.
    pub moments: Vec<Moment>,
    /// How it tells.
    pub way: Way,
}

/// How a notifier tells.
#[derive(Debug, Clone)]
pub enum Way {
    /// By mail.
    Email(Email),
    /// By posting JSON.
    Webhook(Webhook),
    /// By pinging a service that watches over jobs.
    Ping(Ping),
    /// By a file that Prometheus' node exporter collects.
    Textfile(Textfile),
}

/// How telling went.
#[derive(Debug)]
pub struct Told {
    /// The notifier's name.
    pub name: String,
    /// Whether it arrived, or why not.
    pub outcome: Result<()>,
}

impl Notifier {
    /// Where it tells, for people; no secret.
    pub fn describe(&self) -> String {
        match &self.way {
            Way::Email(email) => email.describe(),
            Way::Webhook(webhook) => format!("webhook at {}", webhook.target.host()),
            Way::Ping(ping) => format!("ping at {}", ping.target.host()),
            Way::Textfile(textfile) => format!("text file in {}", textfile.folder.display()),
        }
    }

    async fn tell(&self, event: &Event) -> Result<()> {
        let work = async {
            match &self.way {
                Way::Email(email) => email.send(event).await,
                Way::Webhook(webhook) => webhook.send(event).await,
                Way::Ping(ping) => ping.send(event).await,
                Way::Textfile(textfile) => textfile.write(event),
            }
        };
        let outcome = tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| {
            let seconds = PATIENCE.as_secs();
            Err(Error::new(Kind::Notify, format!("no answer within {seconds} seconds")).on(self.describe()))
        });
        outcome.map_err(|error| Error::new(Kind::Notify, format!("notifier {}", self.name)).because(error))
    }
}

/// Tells the event to all notifiers that want it, at once; how it went with each of those. A test is for all.
pub async fn tell(notifiers: &[Notifier], event: &Event) -> Vec<Told> {
    let wants = |notifier: &&Notifier| event.moment == Moment::Test || notifier.moments.contains(&event.moment);
    let wanted = notifiers.iter().filter(wants);
    futures::future::join_all(wanted.map(|notifier| async {
        let outcome = notifier.tell(event).await;
        if let Err(error) = &outcome {
            tracing::warn!(%error, "could not notify");
        }
        Told { name: notifier.name.clone(), outcome }
    }))
    .await
}
