//! From the tables below `notify` to notifiers.

use super::expand::{Lookup, SecretText, expand};
use super::parse::alike;
use super::tables::{EmailTable, FormatWord, MomentWord, NotifyTable, PingTable, SecurityWord, WebhookTable};
use crate::error::{Error, Kind, Result};
use crate::notify::{Body, Email, MailSecurity, Moment, Notifier, Ping, Target, Template, Textfile, Way, Webhook};
use std::path::PathBuf;

impl NotifyTable {
    /// The names of all notifiers.
    pub(super) fn names(&self) -> Vec<&str> {
        let kinds = [
            self.email.keys().collect::<Vec<_>>(),
            self.webhook.keys().collect(),
            self.ping.keys().collect(),
            self.textfile.keys().collect(),
        ];
        kinds.into_iter().flatten().map(String::as_str).collect()
    }

    /// Two notifiers of one name could not be told apart in a job.
    pub(super) fn check_names(&self) -> Result<()> {
        let mut names = self.names();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(Error::new(Kind::Usage, format!("there are two notifiers named {:?}", pair[0]))),
            None => Ok(()),
        }
    }

    /// The notifiers of these names, or all.
    pub(super) fn settle(&self, wanted: Option<&[String]>, lookup: Lookup<'_>) -> Result<Vec<Notifier>> {
        let names = self.names();
        let wanted = match wanted {
            None => names.clone(),
            Some(wanted) => wanted.iter().map(String::as_str).collect(),
        };
        let mut notifiers = Vec::new();
        for name in wanted {
            let about = |error: Error| {
                let hint = error.hint_text().map(str::to_owned);
                let about = Error::new(error.kind(), format!("notifier {name}")).because(error);
                hint.into_iter().fold(about, Error::hint)
            };
            let Some((way, moments)) = self.way(name, lookup).map_err(about)? else {
                let error = Error::new(Kind::Usage, format!("there is no notifier {name:?}"));
                return Err(match alike(name, &names) {
                    Some(meant) => error.hint(format!("did you mean {meant:?}?")),
                    None => error.hint("add a table [notify.email.NAME], or webhook, ping, textfile instead of email"),
                });
            };
            notifiers.push(Notifier { name: name.to_owned(), moments, way });
        }
        Ok(notifiers)
    }

    fn way(&self, name: &str, lookup: Lookup<'_>) -> Result<Option<(Way, Vec<Moment>)>> {
        if let Some(table) = self.email.get(name) {
            return email(table, lookup).map(Some);
        }
        if let Some(table) = self.webhook.get(name) {
            return webhook(table, lookup).map(Some);
        }
        if let Some(PingTable { url, certificates, on }) = self.ping.get(name) {
            let target = Target::new(&url.settle(lookup)?, path(certificates.as_deref(), lookup)?)?;
            return Ok(Some((Way::Ping(Ping { target }), moments(on.as_deref(), &Moment::OF_RUNS))));
        }
        if let Some(table) = self.textfile.get(name) {
            let folder = PathBuf::from(expand(&table.folder, lookup)?);
            let moments = [&[Moment::Success, Moment::Failure], Moment::OF_CHECKS.as_slice()].concat();
            return Ok(Some((Way::Textfile(Textfile { folder }), moments)));
        }
        Ok(None)
    }
}

fn email(table: &EmailTable, lookup: Lookup<'_>) -> Result<(Way, Vec<Moment>)> {
    let security = match table.security {
        Some(SecurityWord::Tls) => MailSecurity::Tls,
        None | Some(SecurityWord::Starttls) => MailSecurity::Starttls,
        Some(SecurityWord::None) => MailSecurity::None,
    };
    let login = match (&table.username, &table.password) {
        (Some(user), Some(password)) => Some((expand(user, lookup)?, password.settle(lookup)?)),
        (None, None) => None,
        _ => return Err(Error::new(Kind::Usage, "username and password belong together")),
    };
    if login.is_some() && security == MailSecurity::None {
        return Err(Error::new(Kind::Usage, "would send the password without encryption")
            .hint("say security = \"starttls\" or \"tls\""));
    }
    if table.to.is_empty() {
        return Err(Error::new(Kind::Usage, "has nobody to write to").hint("say to = [\"ops@example.com\"]"));
    }
    let to = table.to.iter().map(|to| Email::address(&expand(to, lookup)?)).collect::<Result<Vec<_>>>()?;
    let email = Email {
        host: expand(&table.host, lookup)?,
        port: table.port.unwrap_or(security.port()),
        security,
        certificates: path(table.certificates.as_deref(), lookup)?,
        login,
        from: Email::address(&expand(&table.from, lookup)?)?,
        to,
    };
    Ok((Way::Email(email), moments(table.on.as_deref(), &[Moment::Failure, Moment::Warning, Moment::Unhealthy])))
}

fn webhook(table: &WebhookTable, lookup: Lookup<'_>) -> Result<(Way, Vec<Moment>)> {
    let mut target = Target::new(&table.url.settle(lookup)?, path(table.certificates.as_deref(), lookup)?)?;
    for (name, value) in &table.headers {
        target = target.with_header(name, &value.settle(lookup)?)?;
    }
    let body = match (&table.body, table.format) {
        (Some(_), Some(_)) => return Err(Error::new(Kind::Usage, "format and body exclude each other")),
        (Some(body), None) => Body::Template(Template::parse(body)?),
        (None, None | Some(FormatWord::Json)) => Body::Event,
        (None, Some(FormatWord::Slack)) => Body::Slack,
        (None, Some(FormatWord::Discord)) => Body::Discord,
    };
    let usual = [Moment::Success, Moment::Failure, Moment::Warning, Moment::Unhealthy];
    Ok((Way::Webhook(Webhook { target, body }), moments(table.on.as_deref(), &usual)))
}

fn moments(given: Option<&[MomentWord]>, default: &[Moment]) -> Vec<Moment> {
    let moment = |word: &MomentWord| match word {
        MomentWord::Start => Moment::Start,
        MomentWord::Success => Moment::Success,
        MomentWord::Failure => Moment::Failure,
        MomentWord::Healthy => Moment::Healthy,
        MomentWord::Warning => Moment::Warning,
        MomentWord::Unhealthy => Moment::Unhealthy,
    };
    given.map_or_else(|| default.to_vec(), |words| words.iter().map(moment).collect())
}

fn path(text: Option<&str>, lookup: Lookup<'_>) -> Result<Option<PathBuf>> {
    text.map(|text| expand(text, lookup).map(PathBuf::from)).transpose()
}

impl NotifyTable {
    /// Secrets in the tables, wherever they lie.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &SecretText> {
        let passwords = self.email.values().filter_map(|table| table.password.as_ref());
        let webhooks =
            self.webhook.values().flat_map(|table| table.headers.values().chain(std::iter::once(&table.url)));
        passwords.chain(webhooks).chain(self.ping.values().map(|table| &table.url))
    }
}
