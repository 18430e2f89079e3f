//! From settings to a live connection: hosts in order, TLS as the mode says, password when it is wanted.
//!
//! Source: PostgreSQL documentation, "Specifying Multiple Hosts" and "Protection Provided in Different Modes";
//! `PQconnectPoll` in `src/interfaces/libpq/fe-connect.c`.

use super::asking::Asking;
use super::failure::{self, Fate, LoginFailure, statement_failed};
use super::line::{Encryption, Line, Plain, Start};
use super::pin;
use super::settings::{ConnectionSettings, HostEntry, Place, TargetServer};
use super::tls::SslMode;
use crate::error::{Error, Kind, Result};
use crate::model::{Secret, ServerVersion};
use rand::seq::SliceRandom;
use std::future::poll_fn;
use std::io::{self, IsTerminal};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_postgres::config::SslNegotiation;
use tokio_postgres::{AsyncMessage, Client, Connection, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

type Wire = Connection<Plain, Line>;

/// A live, logged-in connection.
pub(super) struct Live {
    pub(super) client: Client,
    /// Drives the connection until the client is dropped.
    pub(super) driver: JoinHandle<()>,
    pub(super) fate: Fate,
    /// The line that the driver and our own COPY take turns with.
    pub(super) line: Line,
    pub(super) way: Way,
    pub(super) facts: Facts,
    /// The settings narrowed to the server that answered.
    pub(super) settings: ConnectionSettings,
}

/// How a server was reached: encrypted or not, and with which certificates. A request to cancel goes the same way.
#[derive(Clone)]
pub(super) struct Way {
    encryption: Encryption,
    connector: MakeRustlsConnect,
}

impl Way {
    /// A socket to the one host of narrowed settings.
    pub(super) async fn connect(&self, settings: &ConnectionSettings) -> io::Result<Plain> {
        Plain::connect(settings, &settings.hosts[0]).await
    }

    /// How the line begins on such a socket.
    pub(super) fn start(&self, settings: &ConnectionSettings) -> Start {
        let server_name = match &settings.hosts[0].place {
            Place::Socket(_) => String::new(),
            Place::Network { name, .. } => name.clone(),
        };
        Start {
            encryption: self.encryption,
            direct: settings.tls.direct,
            connector: self.connector.clone(),
            server_name,
            begun: Arc::default(),
        }
    }
}

/// What every session knows of its server.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) version: ServerVersion,
    pub(super) backend_pid: i32,
    pub(super) in_recovery: bool,
    read_only: bool,
    /// The name of the database's encoding.
    pub(super) server_encoding: String,
}

/// Why one server did not do.
struct Failure {
    error: Error,
    /// libpq tries no further host after a refused login; after an unreachable or unfit one it does.
    final_word: bool,
}

/// Tries the hosts in order.
pub(super) async fn open(settings: &ConnectionSettings, application_name: &str) -> Result<Live> {
    let mut hosts: Vec<&HostEntry> = settings.hosts.iter().collect();
    if settings.shuffle_hosts {
        hosts.shuffle(&mut rand::rng());
    }
    let mut failures = Vec::new();
    // prefer-standby goes round twice: standbys only, then anyone.
    let rounds: &[TargetServer] = match settings.target {
        TargetServer::PreferStandby => &[TargetServer::Standby, TargetServer::Any],
        ref target => std::slice::from_ref(target),
    };
    for target in rounds {
        failures.clear();
        for &host in &hosts {
            match open_host(settings, host, *target, application_name).await {
                Ok(live) => return Ok(live),
                Err(failure) if failure.final_word => return Err(failure.error.on(settings.describe())),
                Err(failure) => failures.push((host, failure.error)),
            }
        }
    }
    if let (1, Some((_, error))) = (failures.len(), failures.pop()) {
        return Err(error.on(settings.describe()));
    }
    let texts: Vec<String> = failures.iter().map(|(host, error)| format!("{host}: {error}")).collect();
    Err(Error::new(Kind::Connection, format!("none of the servers will do: {}", texts.join("; ")))
        .on(settings.describe()))
}

/// Tries every address of one host.
async fn open_host(
    settings: &ConnectionSettings,
    host: &HostEntry,
    target: TargetServer,
    application_name: &str,
) -> std::result::Result<Live, Failure> {
    let keep_trying = |error| Failure { error, final_word: false };
    let addresses = addresses(host, settings.shuffle_hosts).await.map_err(keep_trying)?;
    let mut last = None;
    for address in addresses {
        let narrowed = narrow(settings, host, address);
        match open_address(narrowed, target, application_name).await {
            Ok(live) => return Ok(live),
            Err(failure) if failure.final_word => return Err(failure),
            Err(failure) => last = Some(failure),
        }
    }
    Err(last.unwrap_or_else(|| keep_trying(Error::new(Kind::Connection, format!("{host} has no address")))))
}

/// The addresses of a host; `None` for a Unix socket.
async fn addresses(host: &HostEntry, shuffle: bool) -> Result<Vec<Option<IpAddr>>> {
    let name = match &host.place {
        Place::Socket(_) => return Ok(vec![None]),
        Place::Network { address: Some(address), .. } => return Ok(vec![Some(*address)]),
        Place::Network { name, address: None } => name,
    };
    let found = tokio::net::lookup_host((name.as_str(), host.port)).await.map_err(|error| {
        Error::new(Kind::Connection, format!("cannot find the address of host {name}")).because(error)
    })?;
    let mut addresses: Vec<Option<IpAddr>> = found.map(|address| Some(address.ip())).collect();
    addresses.dedup();
    if shuffle {
        addresses.shuffle(&mut rand::rng());
    }
    Ok(addresses)
}

/// The settings for exactly this server, for this session and those opened after it.
fn narrow(settings: &ConnectionSettings, host: &HostEntry, address: Option<IpAddr>) -> ConnectionSettings {
    let mut host = host.clone();
    if let Place::Network { address: known, .. } = &mut host.place {
        *known = address;
    }
    ConnectionSettings { hosts: vec![host], ..settings.clone() }
}

/// Logs in at one address, with the passwords that come to hand, and checks that the server is of the wanted sort.
async fn open_address(
    settings: ConnectionSettings,
    target: TargetServer,
    application_name: &str,
) -> std::result::Result<Live, Failure> {
    let host = settings.hosts[0].clone();
    let mode = settings.tls.mode_for(&host);
    let attempts: &[Encryption] = match mode {
        SslMode::Disable => &[Encryption::None],
        SslMode::Allow => &[Encryption::None, Encryption::Always],
        SslMode::Prefer => &[Encryption::IfOffered, Encryption::None],
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => &[Encryption::Always],
    };
    // A broken certificate file must not stop a mode that can do without TLS, but it must be heard of.
    let connector = match (settings.tls.connector(mode), mode) {
        (Err(error), SslMode::Allow | SslMode::Prefer) => {
            tracing::warn!("connecting to {host} without TLS: {error}");
            return open_with(settings, target, application_name, &[Encryption::None], None).await;
        }
        (connector, _) => connector.map_err(|error| Failure { error, final_word: true })?,
    };
    open_with(settings, target, application_name, attempts, Some(connector)).await
}

async fn open_with(
    settings: ConnectionSettings,
    target: TargetServer,
    application_name: &str,
    attempts: &[Encryption],
    connector: Option<MakeRustlsConnect>,
) -> std::result::Result<Live, Failure> {
    let host = settings.hosts[0].clone();
    let connector = match connector {
        Some(connector) => connector,
        None => settings.tls.connector(SslMode::Disable).map_err(|error| Failure { error, final_word: true })?,
    };
    let mut earlier: Option<Error> = None;
    let mut queue = attempts.iter().copied();
    let mut encryption = queue.next().unwrap_or(Encryption::None);
    let mut password = match settings.known_password(&host) {
        Some(password) => Some(password.clone()),
        None => settings.asked_password.lock().await.clone(),
    };
    let (client, wire, line, way) = loop {
        let way = Way { encryption, connector: connector.clone() };
        let answer = log_in(&settings, &way, password.as_ref(), application_name).await;
        let error = match answer {
            Ok((client, wire, line)) => break (client, wire, line, way),
            Err(Attempt::TimedOut(after)) => {
                let error = Error::new(Kind::Connection, format!("no answer within {} seconds", after.as_secs()))
                    .hint("connect_timeout sets how long to wait");
                return Err(Failure { error, final_word: false });
            }
            Err(Attempt::Unreachable(error)) => {
                let error = Error::new(Kind::Connection, "cannot connect").because(error);
                return Err(Failure { error: with_unreachable_hint(error), final_word: false });
            }
            Err(Attempt::Failed(error)) => error,
        };
        let failure = failure::login_failure(&error);
        if failure == LoginFailure::PasswordWanted && password.is_none() {
            password = Some(ask_password(&settings, &host).await.map_err(|error| Failure { error, final_word: true })?);
            continue;
        }
        let described = describe_failure(error, failure, &settings, &host);
        let other_way = matches!(failure, LoginFailure::Encryption | LoginFailure::RuledOut);
        match queue.next().filter(|_| other_way) {
            Some(next) => {
                encryption = next;
                earlier = Some(described);
            }
            None => {
                let final_word =
                    matches!(failure, LoginFailure::PasswordWanted | LoginFailure::Refused | LoginFailure::RuledOut);
                let error = match earlier {
                    Some(earlier) if earlier.to_string() != described.to_string() => {
                        Error::new(Kind::Connection, format!("{earlier}; and then: {described}"))
                    }
                    _ => described,
                };
                return Err(Failure { error, final_word });
            }
        }
    };
    let fate = Fate::default();
    let driver = tokio::spawn(drive(wire, Arc::clone(&fate), settings.describe()));
    let facts = within(&settings, facts(&client, &fate)).await.map_err(|error| Failure { error, final_word: true })?;
    suits(target, &facts).map_err(|error| Failure { error, final_word: false })?;
    Ok(Live { client, driver, fate, line, way, facts, settings })
}

/// The first answers after a login belong to connecting: a network that has gone silent must not hold them for ever. A pooler
/// may have them wait for a server, for two minutes as a rule.
const FIRST_ANSWERS: Duration = Duration::from_secs(150);

/// Waits for one of the first answers as long as for a connection.
pub(super) async fn within<T>(settings: &ConnectionSettings, answer: impl Future<Output = Result<T>>) -> Result<T> {
    let limit = settings.connect_timeout.map_or(FIRST_ANSWERS, |limit| limit.max(Duration::from_secs(5)));
    tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| {
        Err(Error::new(Kind::Connection, format!("no answer within {} seconds after the login", limit.as_secs()))
            .on(settings.describe())
            .hint("connect_timeout sets how long to wait"))
    })
}

/// How one attempt ended, other than well.
enum Attempt {
    Failed(tokio_postgres::Error),
    Unreachable(io::Error),
    TimedOut(Duration),
}

/// One attempt: socket, TLS, login.
async fn log_in(
    settings: &ConnectionSettings,
    way: &Way,
    password: Option<&Secret>,
    application_name: &str,
) -> std::result::Result<(Client, Wire, Line), Attempt> {
    let mut config = tokio_postgres::Config::new();
    let application_name = settings
        .application_name
        .as_deref()
        .or(Some(application_name).filter(|name| !name.is_empty()))
        .or(settings.fallback_application_name.as_deref())
        .unwrap_or("pgstow");
    config
        .user(&settings.user)
        .dbname(&settings.database)
        .application_name(application_name)
        .channel_binding(settings.channel_binding)
        // To the driver it is TLS from the first byte; the line decides what it really is.
        .ssl_mode(tokio_postgres::config::SslMode::Require)
        .ssl_negotiation(SslNegotiation::Direct);
    if let Some(password) = password {
        config.password(password.expose());
    }
    if let Some(options) = &settings.options {
        config.options(options);
    }
    let connecting = async {
        let socket = way.connect(settings).await.map_err(Attempt::Unreachable)?;
        let start = way.start(settings);
        let begun = Arc::clone(&start.begun);
        let (client, wire) = config.connect_raw(socket, start).await.map_err(Attempt::Failed)?;
        let line = begun.get().cloned().ok_or_else(|| Attempt::Unreachable(io::ErrorKind::NotConnected.into()))?;
        Ok((client, wire, line))
    };
    match settings.connect_timeout {
        // libpq's timeout covers the whole of a connection attempt, login included.
        Some(timeout) => tokio::time::timeout(timeout, connecting).await.unwrap_or(Err(Attempt::TimedOut(timeout))),
        None => connecting.await,
    }
}

/// What usually helps where nobody answers.
fn with_unreachable_hint(error: Error) -> Error {
    let text = error.to_string();
    if text.contains("refused") || text.contains("No such file") {
        return error.hint("is the server running there, and does it listen on that address and port?");
    }
    error
}

/// Asks a person, once for all sessions of the run; without a terminal it is an error that says how to supply one.
async fn ask_password(settings: &ConnectionSettings, host: &HostEntry) -> Result<Secret> {
    let mut asked = settings.asked_password.lock().await;
    if let Some(password) = &*asked {
        return Ok(password.clone());
    }
    let missing = || {
        Error::new(Kind::Connection, format!("the server wants a password for user {}", settings.user)).hint(
            "put it into ~/.pgpass (mode 0600), PGPASSWORD, or a service file; it is asked for on a terminal only",
        )
    };
    if !std::io::stdin().is_terminal() {
        return Err(missing());
    }
    let prompt = format!("password for user {} on {host}: ", settings.user);
    let asking = Asking::begin().await;
    let answer = tokio::task::spawn_blocking(move || rpassword::prompt_password(prompt)).await;
    drop(asking);
    let password = match answer {
        Ok(Ok(password)) => Secret::new(password),
        Ok(Err(error)) => return Err(missing().because(error)),
        Err(error) => return Err(missing().because(error)),
    };
    *asked = Some(password.clone());
    Ok(password)
}

/// A failed login in words, with what usually helps.
fn describe_failure(
    error: tokio_postgres::Error,
    failure: LoginFailure,
    settings: &ConnectionSettings,
    host: &HostEntry,
) -> Error {
    let described = match failure::refusal(&error) {
        Some(refusal) => failure::refused(Kind::Connection, refusal),
        None => Error::new(Kind::Connection, "cannot connect").because(error),
    };
    let text = described.to_string();
    let from_file = settings.password.is_none() && settings.password_from_file(host).is_some();
    match failure {
        LoginFailure::Refused if text.contains("SQLSTATE 28P01") && from_file => {
            described.hint(format!("the password came from {}", settings.password_file.path().display()))
        }
        LoginFailure::Refused if text.contains("channel binding") => described.hint(
            "channel_binding=require needs TLS, a password kept as SCRAM, and a server certificate with a digest",
        ),
        LoginFailure::RuledOut => {
            described.hint("the server's pg_hba.conf decides who may come from where, and whether TLS is needed")
        }
        LoginFailure::Encryption if text.contains("does not support TLS") => {
            described.hint("the server has ssl = off; sslmode=prefer would connect without encryption")
        }
        LoginFailure::Encryption if text.contains("UnknownIssuer") => {
            described.hint("no root certificate has signed the server's: give the right one with sslrootcert=FILE")
        }
        LoginFailure::Encryption if text.contains("not valid for name") => described
            .hint("the host must stand in the certificate's subjectAltName; sslmode=verify-ca does without the name"),
        LoginFailure::Encryption if text.contains("UnsupportedCertVersion") => described
            .hint("the server's certificate is of X.509 version 1; make one of version 3, with a subjectAltName"),
        LoginFailure::Unreachable => with_unreachable_hint(described),
        _ => described,
    }
}

/// Reads and writes the connection until the session is dropped; passes notices on and keeps the reason of an end.
async fn drive(mut wire: Wire, fate: Fate, server: String) {
    loop {
        match poll_fn(|context| wire.poll_message(context)).await {
            Some(Ok(AsyncMessage::Notice(notice))) => {
                let text = notice.message();
                match notice.severity() {
                    "WARNING" => tracing::warn!(server, code = notice.code().code(), "{text}"),
                    severity => tracing::debug!(server, severity, "{text}"),
                }
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                let reason = match failure::refusal(&error) {
                    Some(refusal) => refusal.to_string(),
                    None => Error::new(Kind::Connection, "connection failed").because(error).to_string(),
                };
                tracing::debug!(server, "the connection ended: {reason}");
                // Only this task writes it, once.
                let _ = fate.set(reason);
                return;
            }
            None => return,
        }
    }
}

/// One question tells what every session needs to know, after the statement that makes the search path ours.
async fn facts(client: &Client, fate: &Fate) -> Result<Facts> {
    let messages = client
        .simple_query(&format!(
            "{}; SELECT pg_catalog.current_setting('server_version_num'), pg_catalog.pg_backend_pid(), \
             pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only'), \
             pg_catalog.current_setting('server_encoding')",
            pin::FIRST
        ))
        .await
        .map_err(|error| statement_failed(error, fate))?;
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let field = |index: usize| row.and_then(|row| row.try_get(index).ok().flatten());
    let (Some(version), Some(backend_pid)) =
        (field(0).and_then(|text| text.parse().ok()), field(1).and_then(|text| text.parse().ok()))
    else {
        return Err(Error::new(Kind::Connection, "the server does not tell its version: is it PostgreSQL?"));
    };
    Ok(Facts {
        version: ServerVersion(version),
        backend_pid,
        in_recovery: field(2) == Some("t"),
        read_only: field(3) == Some("on"),
        server_encoding: field(4).unwrap_or_default().to_owned(),
    })
}

/// Whether the server is of the wanted sort (`target_session_attrs`).
fn suits(target: TargetServer, facts: &Facts) -> Result<()> {
    let problem = match target {
        TargetServer::ReadWrite if facts.read_only || facts.in_recovery => "the server's sessions are read-only",
        TargetServer::ReadOnly if !facts.read_only && !facts.in_recovery => "the server's sessions are not read-only",
        TargetServer::Primary if facts.in_recovery => "the server is a standby",
        TargetServer::Standby if !facts.in_recovery => "the server is not a standby",
        _ => return Ok(()),
    };
    Err(Error::new(Kind::Connection, problem).hint("target_session_attrs says which servers will do"))
}
