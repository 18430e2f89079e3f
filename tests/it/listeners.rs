//! Little servers on loopback that keep what they are told: HTTP, and SMTP with and without TLS.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// One request that an [`HttpListener`] got.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// Path and query.
    pub(crate) target: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: String,
}

/// An HTTP server that keeps every request and answers the statuses it was given, one after the other, then 200.
pub(crate) struct HttpListener {
    pub(crate) port: u16,
    received: Arc<Mutex<Vec<Received>>>,
}

impl HttpListener {
    pub(crate) fn start(statuses: &[u16]) -> Self {
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let statuses = Arc::new(Mutex::new(statuses.iter().copied().rev().collect::<Vec<_>>()));
        let kept = Arc::clone(&received);
        let port = serve(move |socket| {
            let (kept, statuses) = (Arc::clone(&kept), Arc::clone(&statuses));
            async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let (kept, statuses) = (Arc::clone(&kept), Arc::clone(&statuses));
                    async move {
                        let authorization = request.headers().get("authorization");
                        let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
                        let target = request.uri().to_string();
                        let body = request.into_body().collect().await?.to_bytes();
                        let body = String::from_utf8(body.to_vec()).unwrap();
                        kept.lock().unwrap().push(Received { target, authorization, body });
                        let status = statuses.lock().unwrap().pop().unwrap_or(200);
                        let mut answer = Response::new(Full::new(Bytes::from_static(b"so said the server")));
                        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
                        Ok::<_, hyper::Error>(answer)
                    }
                });
                let _hung_up =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
            }
        });
        HttpListener { port, received }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

/// One mail that a [`MailListener`] took.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mail {
    pub(crate) encrypted: bool,
    /// The argument of `AUTH PLAIN`, decoded by nobody.
    pub(crate) login: Option<String>,
    pub(crate) recipients: Vec<String>,
    pub(crate) text: String,
}

/// How a [`MailListener`] is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MailTls {
    None,
    Starttls,
    FromTheStart,
}

/// A mail server that takes everything and keeps it.
pub(crate) struct MailListener {
    pub(crate) port: u16,
    /// Its certificate, which signs itself, for `localhost`.
    pub(crate) certificate: PathBuf,
    mails: Arc<Mutex<Vec<Mail>>>,
    _folder: tempfile::TempDir,
}

impl MailListener {
    pub(crate) fn start(tls: MailTls) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificate = folder.path().join("mail.pem");
        let acceptor = acceptor(&certificate);
        let mails: Arc<Mutex<Vec<Mail>>> = Arc::default();
        let kept = Arc::clone(&mails);
        let port = serve(move |socket| {
            let (kept, acceptor) = (Arc::clone(&kept), acceptor.clone());
            async move {
                let mut mail = Mail::default();
                // A client that hangs up in the middle has said nothing to keep.
                let _hung_up = conversation(socket, tls, &acceptor, &mut mail, &kept).await;
            }
        });
        MailListener { port, certificate, mails, _folder: folder }
    }

    pub(crate) fn mails(&self) -> Vec<Mail> {
        self.mails.lock().unwrap().clone()
    }
}

fn acceptor(certificate: &Path) -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::File::create(certificate).unwrap().write_all(made.cert.pem().as_bytes()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn conversation(
    socket: TcpStream,
    tls: MailTls,
    acceptor: &TlsAcceptor,
    mail: &mut Mail,
    kept: &Mutex<Vec<Mail>>,
) -> std::io::Result<()> {
    if tls == MailTls::FromTheStart {
        mail.encrypted = true;
        talk(acceptor.accept(socket).await?, true, false, mail, kept).await?;
        return Ok(());
    }
    let Some(socket) = talk(socket, true, tls == MailTls::Starttls, mail, kept).await? else { return Ok(()) };
    mail.encrypted = true;
    talk(acceptor.accept(socket).await?, false, false, mail, kept).await?;
    Ok(())
}

/// One side of RFC 5321; returns the socket when TLS should begin.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    socket: S,
    greet: bool,
    offers_tls: bool,
    mail: &mut Mail,
    kept: &Mutex<Vec<Mail>>,
) -> std::io::Result<Option<S>> {
    let mut stream = BufReader::new(socket);
    if greet {
        stream.write_all(b"220 localhost\r\n").await?;
    }
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        let answer = if line.starts_with("EHLO") {
            format!(
                "250-localhost\r\n250-AUTH PLAIN\r\n{}250 8BITMIME\r\n",
                if offers_tls { "250-STARTTLS\r\n" } else { "" }
            )
        } else if line == "STARTTLS" && offers_tls {
            stream.write_all(b"220 go\r\n").await?;
            return Ok(Some(stream.into_inner()));
        } else if let Some(login) = line.strip_prefix("AUTH PLAIN ") {
            mail.login = Some(login.to_owned());
            "235 in\r\n".to_owned()
        } else if let Some(recipient) = line.strip_prefix("RCPT TO:") {
            mail.recipients.push(recipient.split('>').next().unwrap_or_default().trim_start_matches('<').to_owned());
            "250 ok\r\n".to_owned()
        } else if line == "DATA" {
            stream.write_all(b"354 go\r\n").await?;
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await?;
                if line == ".\r\n" || line.is_empty() {
                    break;
                }
                mail.text += &line;
            }
            // Before the client hears that it was taken, and ends.
            kept.lock().unwrap().push(mail.clone());
            "250 taken\r\n".to_owned()
        } else if line == "QUIT" {
            stream.write_all(b"221 bye\r\n").await?;
            return Ok(None);
        } else {
            "250 ok\r\n".to_owned()
        };
        stream.write_all(answer.as_bytes()).await?;
    }
}

/// Serves connections on a thread and a runtime of their own until the process ends; returns the port.
fn serve<F: Future<Output = ()> + Send + 'static>(each: impl Fn(TcpStream) -> F + Send + 'static) -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(each(socket));
            }
        });
    });
    port
}
