//! One HTTP request to an address that is a secret.

use super::tls;
use crate::error::{Error, Kind, Result};
use crate::model::Secret;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One attempt may take so long.
const ATTEMPT: Duration = Duration::from_secs(8);
/// Between attempts.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];
/// So much of an answer is read, to quote it when it is a refusal.
const ANSWER: usize = 2000;

/// An address, with what it takes to reach it. `Debug` shows the host alone.
#[derive(Clone)]
pub struct Target {
    /// The URL, which is a secret as a whole.
    url: Secret,
    uri: Uri,
    /// A PEM file of certificates to trust besides the machine's.
    certificates: Option<PathBuf>,
    /// Headers to send; their values may be secrets.
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("host", &self.host()).finish_non_exhaustive()
    }
}

impl Target {
    /// Checks an `http://` or `https://` URL.
    ///
    /// Errors: [`Kind::Usage`] for anything else, without repeating it.
    pub fn new(url: &Secret, certificates: Option<PathBuf>) -> Result<Target> {
        let unusable = |why: &str| {
            Error::new(Kind::Usage, format!("the address of a notification is unusable: {why}"))
                .hint("write it as https://host/path")
        };
        let uri: Uri = url.expose().trim().parse().map_err(|_| unusable("it is no URL"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(unusable("it begins with neither http:// nor https://"));
        }
        match uri.authority() {
            Some(authority) if !authority.as_str().contains('@') => {}
            Some(_) => return Err(unusable("it holds credentials; send them as a header")),
            None => return Err(unusable("it names no host")),
        }
        Ok(Target { url: url.clone(), uri, certificates, headers: Vec::new() })
    }

    /// Sends this header too. The value is never shown.
    pub fn with_header(mut self, name: &str, value: &Secret) -> Result<Target> {
        let on = || Error::new(Kind::Usage, "cannot be the header of a request").on(format!("header {name:?}"));
        let header = HeaderName::try_from(name).map_err(|error| on().because(error))?;
        // The value's own error would not repeat it, but says nothing that helps either.
        let mut value = HeaderValue::try_from(value.expose()).map_err(|_| on())?;
        value.set_sensitive(true);
        self.headers.push((header, value));
        Ok(self)
    }

    /// The host, which may be shown.
    pub fn host(&self) -> &str {
        self.uri.host().unwrap_or_default()
    }

    /// The address with something behind its path, before the query.
    pub(super) fn below(&self, path: &str, query: &str) -> Result<Target> {
        let text = self.url.expose().trim();
        let (base, own) = text.split_once('?').map_or((text, ""), |(base, own)| (base, own));
        let query = [own, query].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("&");
        let mark = if query.is_empty() { "" } else { "?" };
        let url = Secret::new(format!("{}{path}{mark}{query}", base.trim_end_matches('/')));
        let headers = self.headers.clone();
        Ok(Target { headers, ..Target::new(&url, self.certificates.clone())? })
    }

    /// Posts the body. What may pass (no connection, 429, 5xx) is tried three times.
    pub(super) async fn post(&self, content_type: &'static str, body: &Bytes) -> Result<()> {
        let client = client(self.certificates.as_deref())?;
        let mut pauses = PAUSES.into_iter();
        loop {
            let attempt = tokio::time::timeout(ATTEMPT, self.attempt(&client, content_type, body)).await;
            let attempt = attempt.unwrap_or_else(|_| Err((true, self.failed("no answer in time"))));
            match attempt {
                Ok(()) => return Ok(()),
                Err((may_pass, error)) => match pauses.next().filter(|_| may_pass) {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(error),
                },
            }
        }
    }

    /// One request; with an error comes whether another attempt could go better.
    async fn attempt(
        &self,
        client: &Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
        content_type: &'static str,
        body: &Bytes,
    ) -> Result<(), (bool, Error)> {
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("pgstow/", env!("CARGO_PKG_VERSION"))));
        headers.extend(self.headers.iter().cloned());
        // hyper's error names no address; its cause says what it was.
        let answer =
            client.request(request).await.map_err(|error| (true, self.failed("cannot connect").because(error)))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let said = Limited::new(answer.into_body(), ANSWER).collect().await;
        let said = said.map(|said| String::from_utf8_lossy(&said.to_bytes()).into_owned()).unwrap_or_default();
        let said: String = said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
        let error = self.failed(format!("it answers {status} {}", said.trim()).trim_end());
        let error = match status {
            _ if status.is_redirection() => {
                error.hint("use the address that it redirects to; redirects are not followed")
            }
            StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::GONE => {
                error.hint("check the address and the key in it")
            }
            _ => error,
        };
        Err((status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS, error))
    }

    fn failed(&self, message: &str) -> Error {
        Error::new(Kind::Notify, message).on(self.host())
    }
}

fn client(certificates: Option<&Path>) -> Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>> {
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls::config(certificates)?)
        .https_or_http()
        .enable_http1()
        .build();
    Ok(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector))
}

#[cfg(test)]
mod tests {
    use super::Target;
    use crate::model::Secret;

    #[test]
    fn an_address_is_a_secret_and_an_http_url() {
        let target = Target::new(&Secret::new("https://hooks.example.com/geheim?a=1"), None).expect("an address");
        assert_eq!(target.host(), "hooks.example.com");
        assert!(!format!("{target:?}").contains("geheim"));
        assert_eq!(
            target.below("/start", "rid=2").expect("below").uri.to_string(),
            "https://hooks.example.com/geheim/start?a=1&rid=2"
        );
        for bad in ["geheim", "ftp://geheim/", "https://u:geheim@host/", "https:///geheim", ""] {
            let error = Target::new(&Secret::new(bad), None).expect_err(bad);
            assert!(!format!("{error} {:?}", error.hint_text()).contains("geheim"), "{error}");
        }
    }
}
