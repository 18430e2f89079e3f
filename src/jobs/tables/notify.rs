//! The tables of those who are told.

use crate::jobs::expand::SecretText;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Ways to tell, each under a name.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(in crate::jobs) struct NotifyTable {
    /// E-mail by SMTP.
    pub(in crate::jobs) email: BTreeMap<String, EmailTable>,
    /// JSON posted to a URL: Slack, Mattermost, Discord, or a service of one's own.
    pub(in crate::jobs) webhook: BTreeMap<String, WebhookTable>,
    /// Pings as healthchecks.io takes them: start, success and failure, with the end of the log.
    pub(in crate::jobs) ping: BTreeMap<String, PingTable>,
    /// Files for the textfile collector of Prometheus' node exporter.
    pub(in crate::jobs) textfile: BTreeMap<String, TextfileTable>,
}

/// E-mail by SMTP.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::jobs) struct EmailTable {
    /// The mail server.
    pub(in crate::jobs) host: String,
    /// Its port; 465 with tls, 587 with starttls, 25 with none, if this is absent.
    pub(in crate::jobs) port: Option<u16>,
    /// `tls` (from the first byte), `starttls`, or `none`; starttls, if this is absent.
    pub(in crate::jobs) security: Option<SecurityWord>,
    /// A PEM file of certificates to trust besides the machine's.
    pub(in crate::jobs) certificates: Option<String>,
    /// The user; together with `password`.
    pub(in crate::jobs) username: Option<String>,
    /// The password, best as `${NAME}` or `file:/path`.
    pub(in crate::jobs) password: Option<SecretText>,
    /// The sender, such as `pgstow <backup@example.com>`.
    pub(in crate::jobs) from: String,
    /// The recipients.
    pub(in crate::jobs) to: Vec<String>,
    /// What is told: start, success, failure of runs, healthy, warning, unhealthy of checks; failure, warning and
    /// unhealthy, if this is absent.
    pub(in crate::jobs) on: Option<Vec<MomentWord>>,
}

/// JSON posted to a URL.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::jobs) struct WebhookTable {
    /// The URL, a secret: best as `${NAME}` or `file:/path`.
    pub(in crate::jobs) url: SecretText,
    /// `json` (everything that is known), `slack` (also Mattermost and Rocket.Chat) or `discord`; json, if this is absent.
    pub(in crate::jobs) format: Option<FormatWord>,
    /// A JSON text of your own instead, with `{{job}}`, `{{headline}}`, `{{text}}`, `{{rows}}` and the like in its strings.
    pub(in crate::jobs) body: Option<String>,
    /// Headers to send, such as Authorization; the values are secrets.
    #[serde(default)]
    pub(in crate::jobs) headers: BTreeMap<String, SecretText>,
    /// A PEM file of certificates to trust besides the machine's.
    pub(in crate::jobs) certificates: Option<String>,
    /// What is told: start, success, failure of runs, healthy, warning, unhealthy of checks; all but start and healthy, if
    /// this is absent.
    pub(in crate::jobs) on: Option<Vec<MomentWord>>,
}

/// Pings as healthchecks.io takes them.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::jobs) struct PingTable {
    /// The URL that means success, a secret: best as `${NAME}` or `file:/path`.
    pub(in crate::jobs) url: SecretText,
    /// A PEM file of certificates to trust besides the machine's.
    pub(in crate::jobs) certificates: Option<String>,
    /// What is told: start, success, failure of runs, healthy, warning, unhealthy of checks; those of runs, if this is
    /// absent. Watch over checks by an address of its own.
    pub(in crate::jobs) on: Option<Vec<MomentWord>>,
}

/// Files for the textfile collector.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::jobs) struct TextfileTable {
    /// The folder that node exporter reads (`--collector.textfile.directory`).
    pub(in crate::jobs) folder: String,
}

/// How a mail server is spoken to.
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(in crate::jobs) enum SecurityWord {
    /// TLS from the first byte.
    Tls,
    /// TLS by STARTTLS, and nothing without.
    Starttls,
    /// No encryption, for a relay on this machine.
    None,
}

/// What a webhook takes.
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(in crate::jobs) enum FormatWord {
    /// Everything that is known.
    Json,
    /// Slack, Mattermost, Rocket.Chat.
    Slack,
    /// Discord.
    Discord,
}

/// A moment of a run, or what a check found.
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(in crate::jobs) enum MomentWord {
    /// It began.
    Start,
    /// It ended well.
    Success,
    /// It failed.
    Failure,
    /// A check found backups healthy.
    Healthy,
    /// A check found something to look at.
    Warning,
    /// A check found backups unhealthy, or could not be made.
    Unhealthy,
}
