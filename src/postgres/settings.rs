//! Where and how to connect: a connection string, a service, the environment and libpq's defaults, resolved.
//!
//! Source: PostgreSQL documentation, "Database Connection Control Functions" and "Environment Variables";
//! `pqConnectOptions2` and `conninfo_add_defaults` in `src/interfaces/libpq/fe-connect.c`.

use super::conninfo::{self, KEYWORDS, Treatment, Values, usage};
use super::line::{KEEPALIVE_COUNT, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL};
use super::pgpass::PasswordFile;
use super::service;
use super::session::Canceller;
use super::tls::{SslMode, TlsSettings};
use crate::error::Result;
use crate::model::Secret;
use std::fmt;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_postgres::config::ChannelBinding;

/// How long all requests to cancel together may take.
const CANCEL_ALL_TIMEOUT: Duration = Duration::from_secs(2);

/// Where libpq builds look for a socket: Debian's folder, then PostgreSQL's own default.
const SOCKET_FOLDERS: [&str; 2] = ["/var/run/postgresql", "/tmp"];
/// Where packagers put the system-wide service file, when `PGSYSCONFDIR` says nothing.
const SYSTEM_FOLDERS: [&str; 3] = ["/etc/postgresql-common", "/etc/sysconfig/pgsql", "/etc"];

/// One server to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostEntry {
    pub(super) place: Place,
    /// 1 to 65535.
    pub(super) port: u16,
}

/// How a server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// The folder of a Unix socket.
    Socket(PathBuf),
    /// A host name or address to verify and to look up passwords by, and the address to connect to when it is known.
    Network { name: String, address: Option<IpAddr> },
}

impl HostEntry {
    /// The name that password files know it by.
    pub(super) fn password_file_name(&self) -> String {
        match &self.place {
            Place::Socket(folder) if SOCKET_FOLDERS.iter().any(|known| folder == Path::new(known)) => {
                "localhost".to_owned()
            }
            Place::Socket(folder) => folder.display().to_string(),
            Place::Network { name, .. } => name.clone(),
        }
    }
}

impl fmt::Display for HostEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Socket(folder) => write!(f, "{}:{}", folder.display(), self.port),
            Place::Network { name, .. } if name.contains(':') => write!(f, "[{name}]:{}", self.port),
            Place::Network { name, .. } => write!(f, "{name}:{}", self.port),
        }
    }
}

/// Which servers will do, of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TargetServer {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

/// TCP keepalive; `None` leaves what the line has by itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keepalives {
    pub(super) enabled: bool,
    pub(super) idle: Option<Duration>,
    pub(super) interval: Option<Duration>,
    pub(super) count: Option<u32>,
}

/// Everything needed to open a session. `Debug` shows no password.
#[derive(Clone)]
pub struct ConnectionSettings {
    pub(super) hosts: Vec<HostEntry>,
    pub(super) user: String,
    pub(super) database: String,
    pub(super) password: Option<Secret>,
    pub(super) password_file: Arc<PasswordFile>,
    /// The password a person typed, shared by all clones, so that workers do not ask again.
    pub(super) asked_password: Arc<tokio::sync::Mutex<Option<Secret>>>,
    /// What cancels the sessions that were opened from these settings or a clone of them.
    pub(super) sessions: Arc<Mutex<Vec<Canceller>>>,
    pub(super) options: Option<String>,
    pub(super) application_name: Option<String>,
    pub(super) fallback_application_name: Option<String>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) tcp_user_timeout: Option<Duration>,
    pub(super) keepalives: Keepalives,
    /// See [`ConnectionSettings::for_asking`].
    pub(super) only_asks: bool,
    pub(super) target: TargetServer,
    pub(super) shuffle_hosts: bool,
    pub(super) channel_binding: ChannelBinding,
    pub(super) tls: TlsSettings,
}

impl fmt::Debug for ConnectionSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionSettings")
            .field("hosts", &self.hosts)
            .field("user", &self.user)
            .field("database", &self.database)
            .field("password", &self.password)
            .field("password_file", &self.password_file)
            .field("options", &self.options)
            .field("application_name", &self.application_name)
            .field("connect_timeout", &self.connect_timeout)
            .field("target", &self.target)
            .field("channel_binding", &self.channel_binding)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

impl ConnectionSettings {
    /// Resolves a libpq URI, a keyword string or a bare database name; `None` takes everything from the environment.
    ///
    /// As in libpq, the string comes before the service file, that before the `PG*` variables, those before defaults.
    /// The password file is read here, once. Errors are of kind Usage and name the bad setting.
    pub fn resolve(text: Option<&str>, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let mut values = conninfo::parse(text.unwrap_or_default())?;
        let account = Account::of_this_process();
        let home = environment("HOME")
            .filter(|home| !home.is_empty())
            .map(PathBuf::from)
            .or_else(|| account.as_ref().map(|account| account.home.clone()));
        apply_service(&mut values, environment, home.as_deref())?;
        apply_environment(&mut values, environment)?;

        let user = match values.get("user") {
            Some(user) => user.to_owned(),
            // libpq asks the password database; the variables help where that has no entry for a container's user id.
            None => account
                .map(|account| account.name)
                .or_else(|| environment("USER").filter(|name| !name.is_empty()))
                .or_else(|| environment("LOGNAME").filter(|name| !name.is_empty()))
                .ok_or_else(|| usage("no user name is given and the system knows none").hint("set user= or PGUSER"))?,
        };
        let password_file = match values.get("passfile") {
            Some(path) => PasswordFile::read(Path::new(path)),
            None => home.as_ref().map(|home| PasswordFile::read(&home.join(".pgpass"))).unwrap_or_default(),
        };
        if values.get("gssencmode") == Some("require") {
            return Err(usage("the connection setting gssencmode=require is not supported")
                .hint("use TLS: sslmode=verify-full"));
        }
        Ok(ConnectionSettings {
            hosts: hosts(&values)?,
            database: values.get("dbname").unwrap_or(&user).to_owned(),
            user,
            password: values.get("password").map(Secret::new),
            password_file: Arc::new(password_file),
            asked_password: Arc::default(),
            sessions: Arc::default(),
            options: values.get("options").map(str::to_owned),
            application_name: values.get("application_name").map(str::to_owned),
            fallback_application_name: values.get("fallback_application_name").map(str::to_owned),
            // Zero and negative mean for ever; libpq takes one second for two.
            connect_timeout: integer(&values, "connect_timeout")?
                .filter(|seconds| *seconds > 0)
                .map(|seconds| Duration::from_secs(seconds.max(2).unsigned_abs())),
            tcp_user_timeout: positive(&values, "tcp_user_timeout")?.map(Duration::from_millis),
            keepalives: Keepalives {
                enabled: integer(&values, "keepalives")? != Some(0),
                idle: positive(&values, "keepalives_idle")?.map(Duration::from_secs),
                interval: positive(&values, "keepalives_interval")?.map(Duration::from_secs),
                count: positive(&values, "keepalives_count")?.map(|count| u32::try_from(count).unwrap_or(u32::MAX)),
            },
            only_asks: false,
            target: choice(
                &values,
                "target_session_attrs",
                &[
                    ("any", TargetServer::Any),
                    ("read-write", TargetServer::ReadWrite),
                    ("read-only", TargetServer::ReadOnly),
                    ("primary", TargetServer::Primary),
                    ("standby", TargetServer::Standby),
                    ("prefer-standby", TargetServer::PreferStandby),
                ],
            )?
            .unwrap_or(TargetServer::Any),
            shuffle_hosts: choice(&values, "load_balance_hosts", &[("disable", false), ("random", true)])?
                .unwrap_or(false),
            channel_binding: choice(
                &values,
                "channel_binding",
                &[
                    ("disable", ChannelBinding::Disable),
                    ("prefer", ChannelBinding::Prefer),
                    ("require", ChannelBinding::Require),
                ],
            )?
            .unwrap_or(ChannelBinding::Prefer),
            tls: TlsSettings::resolve(&values, home.as_deref())?,
        })
    }

    /// Which server and database a connection string names by itself, whatever the environment says: a host, an address or
    /// a service, and a database.
    ///
    /// Errors: as [`ConnectionSettings::resolve`] for a string that cannot be read.
    pub fn names_itself(text: &str) -> Result<(bool, bool)> {
        let values = conninfo::parse(text)?;
        let server = ["host", "hostaddr", "service"].iter().any(|name| values.is_given(name));
        Ok((server, values.get("dbname").is_some()))
    }

    /// For sessions that send questions alone, each of which fits what the server takes in at once. What is not acknowledged as long
    /// as keepalives would go without an answer is given up, unless `tcp_user_timeout` says otherwise: keepalives are not sent
    /// as long as something is on its way, and systems wait a quarter of an hour for that.
    ///
    /// Not for sessions that send rows: a server that is busy takes nothing in for a while, and the system would give up on it, too
    /// (`tcp(7)`), though it is there.
    #[must_use]
    pub fn for_asking(&self) -> Self {
        ConnectionSettings { only_asks: true, ..self.clone() }
    }

    /// How long what was sent may stay without an acknowledgement.
    pub(super) fn answer_within(&self) -> Option<Duration> {
        let Keepalives { enabled, idle, interval, count } = &self.keepalives;
        let probing = interval.unwrap_or(KEEPALIVE_INTERVAL) * count.unwrap_or(KEEPALIVE_COUNT);
        (self.only_asks && *enabled).then(|| idle.unwrap_or(KEEPALIVE_IDLE) + probing)
    }

    /// Cancels whatever runs in any session that was opened from these settings or a clone of them: a statement whose
    /// reader is gone would go on in the server, and hold its locks or its place in a queue for them.
    pub async fn cancel_all(&self) {
        let sessions = std::mem::take(&mut *self.sessions.lock().unwrap_or_else(PoisonError::into_inner));
        let cancelled = futures::future::join_all(sessions.iter().map(Canceller::cancel));
        match tokio::time::timeout(CANCEL_ALL_TIMEOUT, cancelled).await {
            Ok(outcomes) => outcomes.into_iter().filter_map(Result::err).for_each(|error| tracing::debug!("{error}")),
            Err(_) => tracing::debug!("the server takes no requests to cancel"),
        }
    }

    /// For messages: `database shop on 127.0.0.1:5432 as alice`; never a password.
    pub fn describe(&self) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(ToString::to_string).collect();
        let text = format!("database {} on {} as {}", self.database, hosts.join(","), self.user);
        text.replace(['\n', '\r'], " ")
    }

    /// The database's name, unquoted.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The first host, or the folder of its socket, and the port.
    pub fn place(&self) -> (String, u16) {
        let Some(host) = self.hosts.first() else { return Default::default() };
        let name = match &host.place {
            Place::Socket(folder) => folder.display().to_string(),
            Place::Network { name, .. } => name.clone(),
        };
        (name, host.port)
    }

    /// The user that logs in, unquoted.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The same server and user, another database.
    #[must_use]
    pub fn with_database(&self, name: &str) -> Self {
        ConnectionSettings { database: name.to_owned(), ..self.clone() }
    }

    /// The password that is known without asking: given, else from the password file.
    pub(super) fn known_password(&self, host: &HostEntry) -> Option<&Secret> {
        self.password.as_ref().or_else(|| self.password_from_file(host))
    }

    /// The password file's answer for this host.
    pub(super) fn password_from_file(&self, host: &HostEntry) -> Option<&Secret> {
        self.password_file.find(&host.password_file_name(), host.port, &self.database, &self.user)
    }
}

/// Finds the service, if one is named, and lets it fill what the string left open.
fn apply_service(values: &mut Values, environment: &dyn Fn(&str) -> Option<String>, home: Option<&Path>) -> Result<()> {
    let setting = |name: &str, variable: &str| {
        values.get(name).map(str::to_owned).or_else(|| environment(variable).filter(|value| !value.is_empty()))
    };
    let Some(name) = setting("service", "PGSERVICE") else { return Ok(()) };
    let chosen = setting("servicefile", "PGSERVICEFILE").map(PathBuf::from);
    let mut candidates = Vec::new();
    if let (None, Some(home)) = (&chosen, home) {
        candidates.push(home.join(".pg_service.conf"));
    }
    match environment("PGSYSCONFDIR").filter(|folder| !folder.is_empty()) {
        Some(folder) => candidates.push(Path::new(&folder).join("pg_service.conf")),
        None => candidates.extend(SYSTEM_FOLDERS.iter().map(|folder| Path::new(folder).join("pg_service.conf"))),
    }
    service::apply(&name, chosen.as_deref(), &candidates, values)
}

fn apply_environment(values: &mut Values, environment: &dyn Fn(&str) -> Option<String>) -> Result<()> {
    for keyword in KEYWORDS.iter().filter(|keyword| keyword.treatment != Treatment::Ignored) {
        let Some(variable) = keyword.variable else { continue };
        // A host in the string hides an address in the environment, which would otherwise belong to another server.
        if keyword.name == "hostaddr" && values.get("host").is_some() && !values.is_given("hostaddr") {
            continue;
        }
        if let Some(value) = environment(variable).filter(|value| !value.is_empty()) {
            values
                .set_if_absent(keyword.name, value)
                .map_err(|error| error.on(format!("environment variable {variable}")))?;
        }
    }
    Ok(())
}

/// Pairs hosts, addresses and ports, as `pqConnectOptions2` does.
fn hosts(values: &Values) -> Result<Vec<HostEntry>> {
    let list = |name: &str| -> Vec<&str> { values.get(name).map(|text| text.split(',').collect()).unwrap_or_default() };
    let (names, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
    let count = names.len().max(addresses.len()).max(1);
    if !names.is_empty() && !addresses.is_empty() && names.len() != addresses.len() {
        return Err(usage(format!("host names {} servers, but hostaddr names {}", names.len(), addresses.len())));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(usage(format!("port has {} values for {count} servers", ports.len())));
    }
    (0..count)
        .map(|index| {
            let port = match ports.get(index).or_else(|| ports.first().filter(|_| ports.len() == 1)) {
                // The value is not repeated: after an unescaped @ or / in a URI it can be part of a password.
                Some(text) if !text.is_empty() => {
                    text.trim().parse().ok().filter(|port| *port != 0).ok_or_else(|| {
                        usage("port must be a number from 1 to 65535")
                            .hint("in a URI, percent-encode the characters @ : / ? # of a user name or password")
                    })?
                }
                _ => 5432,
            };
            let address = match addresses.get(index).map(|text| text.trim()) {
                Some(text) if !text.is_empty() => Some(
                    text.parse::<IpAddr>().map_err(|_| usage(format!("hostaddr {text:?} is not a numeric address")))?,
                ),
                _ => None,
            };
            let name = names.get(index).copied().unwrap_or_default();
            Ok(HostEntry { place: place(name, address, port)?, port })
        })
        .collect()
}

fn place(name: &str, address: Option<IpAddr>, port: u16) -> Result<Place> {
    if name.starts_with('@') {
        return Err(usage(format!("host {name:?} is an abstract Unix socket, which is not supported")));
    }
    Ok(match (name, address) {
        ("", Some(address)) => Place::Network { name: address.to_string(), address: Some(address) },
        ("", None) => default_place(port),
        (folder, None) if folder.starts_with('/') => Place::Socket(PathBuf::from(folder)),
        (name, address) => Place::Network { name: name.to_owned(), address },
    })
}

/// The first default folder with a socket for this port, else the local host by TCP.
fn default_place(port: u16) -> Place {
    SOCKET_FOLDERS.iter().map(Path::new).find(|folder| folder.join(format!(".s.PGSQL.{port}")).exists()).map_or_else(
        || Place::Network { name: "localhost".to_owned(), address: None },
        |folder| Place::Socket(folder.to_owned()),
    )
}

fn integer(values: &Values, name: &str) -> Result<Option<i64>> {
    let Some(text) = values.get(name) else { return Ok(None) };
    let number = text.trim().parse().map_err(|_| usage(format!("{name} must be a whole number, not {text:?}")))?;
    Ok(Some(number))
}

/// A whole number; zero and negative mean the default.
fn positive(values: &Values, name: &str) -> Result<Option<u64>> {
    Ok(integer(values, name)?.and_then(|number| u64::try_from(number).ok()).filter(|number| *number > 0))
}

/// One of the words that the setting knows.
pub(super) fn choice<T: Copy>(values: &Values, name: &str, words: &[(&str, T)]) -> Result<Option<T>> {
    let Some(text) = values.get(name) else { return Ok(None) };
    match words.iter().find(|(word, _)| *word == text) {
        Some((_, meaning)) => Ok(Some(*meaning)),
        None => {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            Err(usage(format!("{name} cannot be {text:?}")).hint(format!("it is one of {}", known.join(", "))))
        }
    }
}

/// The operating system's user, from the password database.
struct Account {
    name: String,
    home: PathBuf,
}

impl Account {
    /// Without calls into the C library: the owner of `/proc/self` is the effective user.
    fn of_this_process() -> Option<Self> {
        let id = std::fs::metadata("/proc/self").ok()?.uid();
        Self::find(&std::fs::read_to_string("/etc/passwd").ok()?, id)
    }

    fn find(database: &str, id: u32) -> Option<Self> {
        database.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _password, user_id, _group_id, _comment, home, ..] = fields[..] else { return None };
            (user_id.parse() == Ok(id)).then(|| Account { name: name.to_owned(), home: PathBuf::from(home) })
        })
    }
}

impl TlsSettings {
    /// Whether a server reached this way is spoken to in TLS at all: never through a Unix socket, as in libpq.
    pub(super) fn mode_for(&self, host: &HostEntry) -> SslMode {
        match host.place {
            Place::Socket(_) => SslMode::Disable,
            Place::Network { .. } => self.mode,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Account, ConnectionSettings, TargetServer};
    use crate::error::Kind;
    use crate::postgres::tls::SslMode;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    fn resolve_in(text: &str, environment: &[(&str, &str)]) -> crate::error::Result<ConnectionSettings> {
        ConnectionSettings::resolve(Some(text), &|name| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn resolve(text: &str, environment: &[(&str, &str)]) -> ConnectionSettings {
        resolve_in(text, environment).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn the_string_comes_before_the_service_before_the_environment_before_defaults() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("services");
        std::fs::write(&file, "[s]\nhost=service\nport=2\nuser=service\ndbname=service\n").expect("written");
        let file = file.to_str().expect("UTF-8");
        let environment =
            [("PGSERVICE", "s"), ("PGSERVICEFILE", file), ("PGUSER", "variable"), ("PGPORT", "3"), ("PGAPPNAME", "v")];
        let settings = resolve("host=string port=1", &environment);
        assert_eq!(settings.describe(), "database service on string:1 as service");
        assert_eq!(settings.application_name.as_deref(), Some("v"));
        let settings = resolve("service=s", &environment[1..]);
        assert_eq!(settings.describe(), "database service on service:2 as service");
        let settings = resolve("host=h", &environment[2..]);
        assert_eq!(settings.describe(), "database variable on h:3 as variable");
        assert_eq!(resolve("host=h user=u", &[]).describe(), "database u on h:5432 as u");
    }

    #[test]
    fn a_string_tells_whether_it_names_a_server_and_a_database() {
        for (text, expected) in [
            ("", (false, false)),
            ("shop", (false, true)),
            ("dbname=shop port=1", (false, true)),
            ("user=ann", (false, false)),
            ("host=h", (true, false)),
            ("service=s", (true, false)),
            ("postgres:///shop", (false, true)),
            ("postgres://h", (true, false)),
            ("postgres://h/shop", (true, true)),
        ] {
            assert_eq!(ConnectionSettings::names_itself(text).expect(text), expected, "{text}");
        }
    }

    #[test]
    fn an_empty_value_hides_the_environment_and_means_the_default() {
        assert_eq!(resolve("host=h user=u dbname=''", &[("PGDATABASE", "x")]).database(), "u");
    }

    #[test]
    fn hosts_addresses_and_ports_are_paired() {
        let environment = [("PGUSER", "u")];
        for (text, expected) in [
            ("postgres://a:1,b,c:3/d", "a:1,b:5432,c:3"),
            ("host=a,b port=7", "a:7,b:7"),
            ("host=/run/pg,b port=7,8", "/run/pg:7,b:8"),
            ("hostaddr=10.0.0.1,::1 port=9", "10.0.0.1:9,[::1]:9"),
            ("host=name hostaddr=10.0.0.1", "name:5432"),
        ] {
            let description = resolve(text, &environment).describe();
            assert!(description.contains(&format!(" on {expected} as u")), "{text}: {description}");
        }
        for (text, expected) in [
            ("host=a,b port=1,2,3", "3 values for 2 servers"),
            ("host=a,b hostaddr=10.0.0.1", "names 2 servers"),
            ("host=a port=sesame", "port must be"),
            ("host=a port=0", "port must be"),
            ("host=a hostaddr=name", "not a numeric address"),
        ] {
            let error = resolve_in(text, &environment).expect_err("refused");
            assert!(error.to_string().contains(expected), "{text}: {error}");
            assert!(!error.to_string().contains("sesame"), "{error}");
        }
    }

    #[test]
    fn a_bad_value_is_a_usage_error_that_names_its_setting() {
        for (text, setting) in [
            ("sslmode=yes", "sslmode"),
            ("connect_timeout=soon", "connect_timeout"),
            ("target_session_attrs=master", "target_session_attrs"),
            ("channel_binding=on", "channel_binding"),
            ("gssencmode=require", "gssencmode"),
            ("sslrootcert=system sslmode=require", "sslrootcert"),
            ("sslnegotiation=direct sslmode=prefer", "sslnegotiation"),
            ("hostt=x", "hostt"),
        ] {
            let error = resolve_in(text, &[("PGUSER", "u")]).expect_err("refused");
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.to_string().contains(setting), "{text}: {error}");
        }
        let error = resolve_in("", &[("PGREQUIREAUTH", "none"), ("PGUSER", "u")]).expect_err("refused");
        assert!(error.to_string().starts_with("environment variable PGREQUIREAUTH: "), "{error}");
    }

    #[test]
    fn settings_take_libpqs_meaning() {
        let settings = resolve("user=u connect_timeout=1 target_session_attrs=prefer-standby keepalives=0", &[]);
        assert_eq!(settings.connect_timeout, Some(Duration::from_secs(2)));
        assert_eq!(settings.target, TargetServer::PreferStandby);
        assert!(!settings.keepalives.enabled);
        assert_eq!(settings.tls.mode, SslMode::Prefer);
        assert_eq!(resolve("user=u sslrootcert=system", &[]).tls.mode, SslMode::VerifyFull);
        assert_eq!(resolve("user=u connect_timeout=0", &[]).connect_timeout, None);
    }

    #[test]
    fn what_a_dump_asks_is_acknowledged_as_soon_as_a_keepalive_would_be() {
        let within = |text: &str| resolve(text, &[]).for_asking().answer_within();
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(within("user=u"), seconds(120));
        assert_eq!(within("user=u keepalives_idle=2 keepalives_interval=1 keepalives_count=3"), seconds(5));
        assert_eq!(within("user=u keepalives=0"), None);
        assert_eq!(resolve("user=u", &[]).answer_within(), None);
    }

    #[test]
    fn the_password_file_is_asked_by_host_port_database_and_user() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(".pgpass");
        std::fs::write(&file, "h:5432:shop:u:one\nlocalhost:5433:*:u:two\n").expect("written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("mode set");
        let home = [("HOME", folder.path().to_str().expect("UTF-8"))];
        let password = |settings: &ConnectionSettings| {
            settings.known_password(&settings.hosts[0]).map(|password| password.expose().to_owned())
        };
        let settings = resolve("host=h user=u dbname=shop", &home);
        assert_eq!(password(&settings).as_deref(), Some("one"));
        assert_eq!(password(&settings.with_database("other")), None);
        assert_eq!(password(&resolve("host=/tmp port=5433 user=u", &home)).as_deref(), Some("two"));
        assert_eq!(password(&resolve("host=h user=u dbname=shop password=given", &home)).as_deref(), Some("given"));
    }

    #[test]
    fn neither_debug_nor_describe_shows_a_password() {
        let settings = resolve("postgres://u:sesame@h/d", &[("PGPASSWORD", "sesame")]);
        let shown = format!("{settings:?} {}", settings.describe());
        assert!(!shown.contains("sesame"), "{shown}");
    }

    #[test]
    fn the_operating_systems_user_is_found_by_its_number() {
        let database = "root:x:0:0:root:/root:/bin/sh\n# comment\nalice:x:1000:1000::/home/alice:/bin/sh\n";
        assert_eq!(Account::find(database, 1000).map(|account| account.name).as_deref(), Some("alice"));
        assert!(Account::find(database, 7).is_none());
    }
}
