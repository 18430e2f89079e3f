//! E-mail by SMTP, encrypted unless the user says otherwise.

use super::event::{Event, Moment};
use super::tls;
use crate::error::{Error, Kind, Result};
use crate::model::Secret;
use mail_send::mail_builder::MessageBuilder;
use mail_send::mail_builder::headers::address::Address;
use mail_send::{SmtpClient, SmtpClientBuilder};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

/// One step of the conversation with the server may take so long.
const STEP: Duration = Duration::from_secs(10);

/// How the conversation with the mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailSecurity {
    /// TLS from the first byte; port 465.
    Tls,
    /// TLS by STARTTLS, and nothing without; port 587.
    Starttls,
    /// No encryption, for a relay on this machine; port 25. Not with a password.
    None,
}

impl MailSecurity {
    /// The port that is meant when none is named.
    pub fn port(self) -> u16 {
        match self {
            MailSecurity::Tls => 465,
            MailSecurity::Starttls => 587,
            MailSecurity::None => 25,
        }
    }
}

/// Mail to some people by one server.
#[derive(Debug, Clone)]
pub struct Email {
    /// The server's name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is spoken to.
    pub security: MailSecurity,
    /// A PEM file of certificates to trust besides the machine's.
    pub certificates: Option<PathBuf>,
    /// User and password.
    pub login: Option<(String, Secret)>,
    /// The sender.
    pub from: MailAddress,
    /// The recipients, at least one.
    pub to: Vec<MailAddress>,
}

/// A mail address, with or without a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailAddress {
    name: Option<String>,
    address: String,
}

impl FromStr for MailAddress {
    type Err = Error;

    /// Reads `a@example.com` or `Name <a@example.com>`.
    fn from_str(text: &str) -> Result<Self> {
        let (name, address) = match text.trim().strip_suffix('>').and_then(|text| text.rsplit_once('<')) {
            Some((name, address)) => (Some(name.trim().trim_matches('"')).filter(|name| !name.is_empty()), address),
            None => (None, text.trim()),
        };
        // Whether it exists is the mail server's affair; here nothing may break out of its line or its brackets.
        let plain =
            |text: &str| !text.chars().any(|c| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>' | ','));
        let sound = address.rsplit_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
        if !sound || !plain(address) || name.is_some_and(|name| name.chars().any(char::is_control)) {
            return Err(Error::new(Kind::Usage, format!("{text:?} is not a mail address"))
                .hint("write a@example.com or Name <a@example.com>"));
        }
        Ok(MailAddress { name: name.map(str::to_owned), address: address.to_owned() })
    }
}

impl MailAddress {
    fn header(&self) -> Address<'_> {
        Address::new_address(self.name.as_deref(), self.address.as_str())
    }
}

impl fmt::Display for MailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

impl Email {
    pub(super) fn describe(&self) -> String {
        let to: Vec<String> = self.to.iter().map(ToString::to_string).collect();
        format!("mail to {} by {}:{}", to.join(", "), self.host, self.port)
    }

    pub(super) async fn send(&self, event: &Event) -> Result<()> {
        let tls = TlsConnector::from(Arc::new(tls::config(self.certificates.as_deref())?));
        let mut server = SmtpClientBuilder::new_with_tls_connector(self.host.as_str(), self.port, tls).timeout(STEP);
        if let Some((user, password)) = &self.login {
            server = server.credentials((user.as_str(), password.expose()));
        }
        let server = server.implicit_tls(self.security == MailSecurity::Tls);
        let sent = match self.security {
            MailSecurity::Tls | MailSecurity::Starttls => match server.connect().await {
                Ok(client) => self.talk(client, event).await,
                Err(error) => Err(error),
            },
            MailSecurity::None => match server.connect_plain().await {
                Ok(client) => self.talk(client, event).await,
                Err(error) => Err(error),
            },
        };
        sent.map_err(|error| {
            let failed = Error::new(Kind::Notify, "the mail cannot be sent").on(format!("{}:{}", self.host, self.port));
            match &error {
                mail_send::Error::MissingStartTls => {
                    failed.hint("say security = \"tls\", or \"none\" for a relay on this machine")
                }
                mail_send::Error::AuthenticationFailed(_) => failed.hint("check username and password"),
                _ => failed,
            }
            .because(error)
        })
    }

    async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut client: SmtpClient<S>,
        event: &Event,
    ) -> Result<(), mail_send::Error> {
        client.send(self.message(event)).await?;
        // The server has taken the mail; a goodbye that is not heard changes nothing.
        let _goodbye = client.quit().await;
        Ok(())
    }

    fn message(&self, event: &Event) -> MessageBuilder<'_> {
        let word = match event.moment {
            Moment::Start => "start",
            Moment::Success => "ok",
            Moment::Failure => "FAILED",
            Moment::Test => "test",
        };
        MessageBuilder::new()
            .from(self.from.header())
            .to(Address::new_list(self.to.iter().map(MailAddress::header).collect()))
            .subject(format!("[pgstow] {word}: job {} on {}", event.job, event.host))
            .text_body(event.text())
    }
}

#[cfg(test)]
mod tests {
    use super::MailAddress;

    #[test]
    fn an_address_stays_within_its_brackets() {
        for (text, name, address) in [
            ("a@example.com", None, "a@example.com"),
            (" \"B, C\" <b@example.com> ", Some("B, C"), "b@example.com"),
            ("<a@b>", None, "a@b"),
        ] {
            let read: MailAddress = text.parse().expect(text);
            assert_eq!((read.name.as_deref(), read.address.as_str()), (name, address));
        }
        for text in ["", "a", "@b", "a@", "a@b>\r\nRCPT TO:<c@d", "a b@c", "x\ny <a@b>", "a@b,c@d"] {
            text.parse::<MailAddress>().expect_err(text);
        }
    }
}
