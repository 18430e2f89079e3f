//! E-mail by SMTP, encrypted unless the user says otherwise.

use super::event::{Event, Moment};
use crate::error::{Error, Kind, Result};
use crate::model::Secret;
use lettre::message::{Mailbox, header::ContentType};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use std::path::PathBuf;
use std::time::Duration;

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
    pub from: Mailbox,
    /// The recipients, at least one.
    pub to: Vec<Mailbox>,
}

impl Email {
    /// An address, such as `a@example.com` or `Name <a@example.com>`.
    pub fn address(text: &str) -> Result<Mailbox> {
        text.parse().map_err(|error: lettre::address::AddressError| {
            Error::new(Kind::Usage, format!("{text:?} is not a mail address")).because(error)
        })
    }

    pub(super) fn describe(&self) -> String {
        let to: Vec<String> = self.to.iter().map(|mailbox| mailbox.email.to_string()).collect();
        format!("mail to {} by {}:{}", to.join(", "), self.host, self.port)
    }

    pub(super) async fn send(&self, event: &Event) -> Result<()> {
        let failed = |message: &str| Error::new(Kind::Notify, message).on(format!("{}:{}", self.host, self.port));
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&self.host)
            .port(self.port)
            .timeout(Some(STEP))
            .tls(self.tls()?);
        if let Some((user, password)) = &self.login {
            transport = transport.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
        }
        let sent = transport.build().send(self.message(event)?).await;
        sent.map(drop).map_err(|error| failed("the mail cannot be sent").because(error))
    }

    fn message(&self, event: &Event) -> Result<Message> {
        let word = match event.moment {
            Moment::Start => "start",
            Moment::Success => "ok",
            Moment::Failure => "FAILED",
            Moment::Healthy => "healthy",
            Moment::Warning => "warning",
            Moment::Unhealthy => "UNHEALTHY",
            Moment::Test => "test",
        };
        let mut message = Message::builder().from(self.from.clone());
        for to in &self.to {
            message = message.to(to.clone());
        }
        message
            .subject(format!("[pgstow] {word}: job {} on {}", event.job, event.host))
            .header(ContentType::TEXT_PLAIN)
            .body(event.text())
            .map_err(|error| Error::new(Kind::Internal, "cannot write the mail").because(error))
    }

    fn tls(&self) -> Result<Tls> {
        if self.security == MailSecurity::None {
            return Ok(Tls::None);
        }
        let unusable = |error: lettre::transport::smtp::Error| {
            Error::new(Kind::Usage, "cannot prepare TLS for the mail server").on(self.host.clone()).because(error)
        };
        let mut parameters = TlsParameters::builder(self.host.clone());
        if let Some(path) = &self.certificates {
            let unreadable =
                || Error::new(Kind::Usage, "cannot be read as certificates").on(path.display().to_string());
            let pem = std::fs::read(path).map_err(|error| unreadable().because(error))?;
            let certificates = Certificate::from_pem(&pem).map_err(|error| unreadable().because(error))?;
            parameters = parameters.add_root_certificate(certificates);
        }
        let parameters = parameters.build().map_err(unusable)?;
        Ok(match self.security {
            MailSecurity::Tls => Tls::Wrapper(parameters),
            MailSecurity::Starttls | MailSecurity::None => Tls::Required(parameters),
        })
    }
}
