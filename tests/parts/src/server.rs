//! PostgreSQL servers of our own, or the user's.

use std::collections::BTreeMap;
use std::fs;
use std::fs::Permissions;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::cache::{output, server_user, temp_folder};
use crate::fetch::{Binaries, embedded_server};
use crate::network::{Network, SERVER_ADDRESS};
use crate::oracle::oracle;
use crate::watchdog::Watched;
use crate::{Result, blocking, say};

/// How long a server may take to start; the machine may be busy building.
const PATIENCE: Duration = Duration::from_secs(120);

/// One running server; clones are the same server. It stops when the last one goes, or the process.
#[derive(Debug, Clone)]
pub struct Server {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    major: u16,
    /// Everything before the database's name in a URL, such as `postgresql://postgres@127.0.0.1:5432/`.
    before: String,
    /// Everything behind it, such as `?application_name=x`, or nothing.
    behind: String,
    /// The folder of the Unix socket and the port; None for the user's own server.
    socket: Option<(PathBuf, u16)>,
    /// What it runs from; None for the user's own server.
    binaries: Option<Binaries>,
    /// Fixtures touch roles, which all databases share: one at a time.
    fixtures: Mutex<()>,
    watched: Option<Watched>,
}

/// The major versions that the tests run on: 12 to 19, or only the one of the user's own server.
pub fn majors() -> Vec<u16> {
    match users_own() {
        Some(server) => vec![server.major()],
        None => (12..=19).collect(),
    }
}

/// The server of a major version, started on first use and shared by the whole process; with `PGSTOW_TEST_PG` it is
/// the user's server, whatever the version. Panics with a sentence when there is none, for it is made for tests.
pub fn server(major: u16) -> Server {
    static SERVERS: Mutex<BTreeMap<u16, Arc<OnceLock<Result<Server>>>>> = Mutex::new(BTreeMap::new());
    if let Some(own) = users_own() {
        return own;
    }
    let cell = {
        let mut servers = SERVERS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(servers.entry(major).or_default())
    };
    // Outside the map's lock, so that servers of several versions start side by side.
    let started = cell.get_or_init(|| {
        let server = embedded_server(major).and_then(|binaries| Server::start(&binaries, None))?;
        say(&format!("PostgreSQL {major} runs at {}", server.url("postgres")));
        Ok(server)
    });
    match started {
        Ok(server) => server.clone(),
        Err(sentence) => panic!("no PostgreSQL {major} to test with: {sentence}"),
    }
}

/// The user's own server of `PGSTOW_TEST_PG`, if that is set.
fn users_own() -> Option<Server> {
    static OWN: OnceLock<Option<Server>> = OnceLock::new();
    OWN.get_or_init(|| {
        let url = std::env::var("PGSTOW_TEST_PG").ok().filter(|url| !url.is_empty())?;
        match Server::at(&url) {
            Ok(server) => {
                say(&format!("PGSTOW_TEST_PG is set: testing on that server alone, PostgreSQL {}", server.major()));
                Some(server)
            }
            Err(sentence) => panic!("PGSTOW_TEST_PG cannot be used: {sentence}"),
        }
    })
    .clone()
}

impl Server {
    /// A fetched server for the caller alone, who may change its settings.
    pub fn own(major: u16) -> Result<Server> {
        Server::start(&embedded_server(major)?, None)
    }

    /// Makes a cluster and starts it on a free port of 127.0.0.1 and a Unix socket. Its data lies in `home/postgres`,
    /// or in the temporary folder; it is removed when the server stops.
    pub fn start(binaries: &Binaries, home: Option<&Path>) -> Result<Server> {
        let folder = match home {
            None => temp_folder("server")?,
            Some(home) => {
                let folder = home.join("postgres");
                fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
                folder
            }
        };
        Self::in_folder(binaries, &folder, None, "")
    }

    /// A fetched server for the caller alone that begins with these lines of postgresql.conf.
    pub fn own_with(major: u16, settings: &str) -> Result<Server> {
        Self::in_folder(&embedded_server(major)?, &temp_folder("server")?, None, settings)
    }

    /// Makes a cluster in a folder and starts it.
    fn in_folder(binaries: &Binaries, folder: &Path, beyond: Option<&Network>, settings: &str) -> Result<Server> {
        let user = server_user();
        if let Some((uid, gid)) = user {
            chown(folder, Some(uid), Some(gid)).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        let make = |data: &Path| {
            make_cluster(binaries, data, user)?;
            let path = data.join("postgresql.conf");
            let file = fs::OpenOptions::new().append(true).open(&path);
            file.and_then(|mut file| file.write_all(settings.as_bytes()))
                .map_err(|error| format!("{}: {error}", path.display()))
        };
        let started = Self::start_in(binaries, folder, user, beyond, &make);
        if started.is_err() {
            let _ = fs::remove_dir_all(folder);
        }
        started
    }

    /// A fetched server for the caller alone on the server's host of a network. Its own URLs lead over its Unix socket, past
    /// the network; [`Server::far_url`] leads over it.
    pub fn beyond(network: &Network, major: u16) -> Result<Server> {
        let server = Self::in_folder(&embedded_server(major)?, &temp_folder("server")?, Some(network), "")?;
        server.write_file("pg_hba.conf", "local all all trust\nhost all all samenet trust\n")?;
        server.execute("postgres", "SELECT pg_catalog.pg_reload_conf()")?;
        Ok(server)
    }

    /// The URL of a database for the client of the network that this server is beyond.
    pub fn far_url(&self, database: &str) -> String {
        let port = self.socket().map_or(0, |(_, port)| port);
        format!("postgresql://postgres@{SERVER_ADDRESS}:{port}/{database}")
    }

    /// Makes a standby of this server, which follows it by streaming and is stopped like any other. Not for the user's own
    /// server.
    pub fn standby(&self) -> Result<Server> {
        let Some(binaries) = &self.inner.binaries else {
            return Err("a standby is made of our own servers only".into());
        };
        let folder = temp_folder("standby")?;
        let user = server_user();
        if let Some((uid, gid)) = user {
            chown(&folder, Some(uid), Some(gid)).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        let url = self.url("postgres");
        let copy = |data: &Path| copy_cluster(binaries, &url, data, user);
        let started = Self::start_in(binaries, &folder, user, None, &copy);
        if started.is_err() {
            let _ = fs::remove_dir_all(&folder);
        }
        started
    }

    /// Writes a file into the folder of the server's data, as the server's user would: nobody else may read it.
    pub fn write_file(&self, name: &str, content: &str) -> Result<()> {
        let (folder, _) = self.socket().ok_or("the files of the user's own server are not ours")?;
        let path = folder.join("data").join(name);
        let written =
            fs::write(&path, content).and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o600)));
        let owned = written.and_then(|()| match server_user() {
            Some((uid, gid)) => chown(&path, Some(uid), Some(gid)),
            None => Ok(()),
        });
        owned.map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Puts an extension's files where the server looks for extensions. They stay there, for all servers of these binaries.
    pub fn install_extension(&self, files: &Path) -> Result<()> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let binaries = self.inner.binaries.as_ref().ok_or("the extensions of the user's own server are not ours")?;
        let place = binaries.bin.join("../share/postgresql/extension");
        for entry in fs::read_dir(files).map_err(|error| format!("{}: {error}", files.display()))?.flatten() {
            let target = place.join(entry.file_name());
            // Renamed into place, because other servers may be reading it, and other tests be putting it there.
            let number = (std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
            let fresh = place.join(format!(".{}-{}-{}", entry.file_name().display(), number.0, number.1));
            fs::copy(entry.path(), &fresh)
                .and_then(|_| fs::set_permissions(&fresh, Permissions::from_mode(0o644)))
                .and_then(|()| fs::rename(&fresh, &target))
                .map_err(|error| format!("{}: {error}", target.display()))?;
        }
        Ok(())
    }

    /// Starts a server on a free port, beyond a network or on this host, with the cluster that `make` puts into the folder it
    /// is given.
    fn start_in(
        binaries: &Binaries,
        folder: &Path,
        user: Option<(u32, u32)>,
        beyond: Option<&Network>,
        make: &dyn Fn(&Path) -> Result<()>,
    ) -> Result<Server> {
        let data = folder.join("data");
        make(&data)?;
        let mut last = String::new();
        // Between asking for a free port and using it, another process may take it: then ask again.
        for _ in 0..4 {
            let port = free_port()?;
            let mut postgres = program(binaries, "postgres", folder);
            postgres.arg("-D").arg(&data).arg("-p").arg(port.to_string()).arg("-k").arg(folder);
            for setting in [
                "fsync=off",
                "full_page_writes=off",
                "wal_level=logical",
                "max_connections=200",
                "max_prepared_transactions=10",
                "shared_buffers=48MB",
                "jit=off",
                // Statistics would change between two dumps of one database.
                "autovacuum=off",
                "timezone=UTC",
                "log_min_messages=warning",
            ] {
                postgres.arg("-c").arg(setting);
            }
            let address = if beyond.is_some() { SERVER_ADDRESS } else { "127.0.0.1" };
            postgres.arg("-c").arg(format!("listen_addresses={address}"));
            let (watched, host) = match beyond {
                None => (Watched::start(&postgres, user, folder, "QUIT")?, address.to_owned()),
                // To enter the network takes rights that the server must not have.
                Some(network) => {
                    let host = folder.display().to_string().replace('/', "%2F");
                    (Watched::start(&network.on_server(&postgres, user), None, folder, "QUIT")?, host)
                }
            };
            let before = format!("postgresql://postgres@{host}:{port}/");
            let mut inner = Inner {
                major: 0,
                before,
                behind: String::new(),
                socket: Some((folder.to_owned(), port)),
                binaries: Some(binaries.clone()),
                fixtures: Mutex::new(()),
                watched: None,
            };
            match wait_until_ready(&data, &watched) {
                Ok(()) => {
                    inner.watched = Some(watched);
                    return Server { inner: Arc::new(inner) }.with_major();
                }
                Err(sentence) => last = sentence,
            }
            // The watchdog takes the folder and the cluster with it.
            drop(watched);
            fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
            if let Some((uid, gid)) = user {
                chown(folder, Some(uid), Some(gid)).map_err(|error| format!("{}: {error}", folder.display()))?;
            }
            make(&data)?;
        }
        Err(last)
    }

    /// The server behind a URL of the user's, which must let a superuser in without TLS.
    fn at(url: &str) -> Result<Server> {
        let (scheme, rest) = url.split_once("://").ok_or("it is no URL (postgresql://user:password@host:port/)")?;
        let (rest, behind) = rest.find('?').map_or((rest, ""), |at| rest.split_at(at));
        let authority = rest.split('/').next().unwrap_or(rest);
        let inner = Inner {
            major: 0,
            before: format!("{scheme}://{authority}/"),
            behind: behind.into(),
            socket: None,
            binaries: None,
            fixtures: Mutex::new(()),
            watched: None,
        };
        Server { inner: Arc::new(inner) }.with_major()
    }

    /// The server and the database behind a URL, `postgresql://user:password@host:port/database`.
    pub fn of_url(url: &str) -> Result<(Server, String)> {
        let server = Server::at(url)?;
        // The server knows best what the URL's percent signs mean.
        let rows = ask(url, "SELECT pg_catalog.current_database()")?;
        let database = rows.into_iter().flatten().flatten().next();
        Ok((server, database.ok_or("the server does not say its database")?))
    }

    /// Asks the server for its version and keeps it.
    fn with_major(self) -> Result<Server> {
        let rows = self.rows("postgres", "SHOW server_version_num")?;
        let number = rows.first().and_then(|row| row.first()?.as_deref()?.parse::<u32>().ok());
        let major = number.map(|number| number / 10000).and_then(|major| u16::try_from(major).ok());
        let mut inner = Arc::into_inner(self.inner).ok_or("the server was shared too early")?;
        inner.major = major.ok_or("the server does not say its version")?;
        Ok(Server { inner: Arc::new(inner) })
    }

    /// The major version, such as 18.
    pub fn major(&self) -> u16 {
        self.inner.major
    }

    /// The URL of a database of this server, over TCP.
    pub fn url(&self, database: &str) -> String {
        use std::fmt::Write as _;
        let mut name = String::new();
        for byte in database.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                name.push(char::from(byte));
            } else {
                let _ = write!(name, "%{byte:02X}");
            }
        }
        format!("{}{name}{}", self.inner.before, self.inner.behind)
    }

    /// The URL of a database of this server for another role; own servers trust everybody and do not ask the password.
    pub fn url_as(&self, database: &str, user: &str, password: &str) -> String {
        let url = self.url(database);
        let (scheme, rest) = url.split_once("://").unwrap_or(("postgresql", &url));
        let end = rest.find('/').unwrap_or(rest.len());
        let host = rest[..end].rfind('@').map_or(0, |at| at + 1);
        format!("{scheme}://{user}:{password}@{}", &rest[host..])
    }

    /// The folder of the Unix socket and the port; None for the user's own server.
    pub fn socket(&self) -> Option<(&Path, u16)> {
        self.inner.socket.as_ref().map(|(folder, port)| (folder.as_path(), *port))
    }

    /// The server's log, such as it is; empty for the user's own server.
    pub fn last_words(&self) -> String {
        self.inner.watched.as_ref().map(Watched::last_words).unwrap_or_default()
    }

    /// Runs statements in one simple-protocol message, that is in one implicit transaction.
    pub fn execute(&self, database: &str, sql: &str) -> Result<()> {
        self.rows(database, sql).map(drop)
    }

    /// Runs statements like [`Server::execute`] and returns all rows as text; None is NULL.
    pub fn rows(&self, database: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        ask(&self.url(database), sql)
    }

    /// The single value that a query answers; empty for NULL.
    pub fn value(&self, database: &str, sql: &str) -> Result<String> {
        let rows = self.rows(database, sql)?;
        Ok(rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten().unwrap_or_default())
    }

    /// Makes a new empty UTF-8 database and returns its name, which begins with the hint.
    pub fn fresh_database(&self, hint: &str) -> String {
        match self.create_database(hint, "ENCODING 'UTF8'") {
            Ok(name) => name,
            Err(sentence) => panic!("cannot make a database: {sentence}"),
        }
    }

    /// Makes a new empty database with the encoding and the locale of another; its name begins with the hint.
    pub fn fresh_database_like(&self, hint: &str, model: &str) -> Result<String> {
        let provider = if self.major() >= 15 { "datlocprovider::text" } else { "'c'" };
        let locale = match self.major() {
            17.. => "datlocale",
            15.. => "daticulocale",
            _ => "NULL",
        };
        let question = format!(
            "SELECT format('ENCODING %L LC_COLLATE %L LC_CTYPE %L', pg_encoding_to_char(encoding), datcollate, datctype) ||
             CASE {provider} WHEN 'i' THEN format(' LOCALE_PROVIDER icu ICU_LOCALE %L', {locale})
             WHEN 'b' THEN format(' LOCALE_PROVIDER builtin BUILTIN_LOCALE %L', {locale}) ELSE '' END
             FROM pg_database WHERE datname = current_database()"
        );
        self.create_database(hint, &self.value(model, &question)?)
    }

    fn create_database(&self, hint: &str, options: &str) -> Result<String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("{hint}_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let quoted = name.replace('"', "\"\"");
        self.execute("postgres", &format!("CREATE DATABASE \"{quoted}\" TEMPLATE template0 {options}"))
            .map_err(|sentence| format!("database {name}: {sentence}"))?;
        Ok(name)
    }

    /// Holds the right to change what all databases of this server share, such as roles.
    pub(crate) fn lock_shared(&self) -> std::sync::MutexGuard<'_, ()> {
        self.inner.fixtures.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A database that is dropped together with this value.
#[derive(Debug)]
pub struct Database {
    /// Its server.
    pub server: Server,
    /// Its name.
    pub name: String,
}

impl Database {
    /// A new empty one, see [`Server::fresh_database`].
    pub fn fresh(server: &Server, hint: &str) -> Self {
        Database { server: server.clone(), name: server.fresh_database(hint) }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// Runs statements in it; panics with the server's words.
    pub fn execute(&self, sql: &str) {
        if let Err(sentence) = self.server.execute(&self.name, sql) {
            panic!("{}: {sentence}", self.name);
        }
    }

    /// A database with a subscription cannot be dropped, and a subscription with a slot not without its publisher.
    fn drop_subscriptions(&self) -> Result<()> {
        let mine = "SELECT quote_ident(s.subname) FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
                    WHERE d.datname = current_database()";
        for name in self.server.rows(&self.name, mine)?.into_iter().flatten().flatten() {
            for statement in [
                "ALTER SUBSCRIPTION {} DISABLE",
                "ALTER SUBSCRIPTION {} SET (slot_name = NONE)",
                "DROP SUBSCRIPTION {}",
            ] {
                self.server.execute(&self.name, &statement.replace("{}", &name))?;
            }
        }
        Ok(())
    }

    /// The single value that a query answers; panics with the server's words.
    pub fn value(&self, sql: &str) -> String {
        match self.server.value(&self.name, sql) {
            Ok(value) => value,
            Err(sentence) => panic!("{}: {sentence}", self.name),
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let name = self.name.replace('"', "\"\"");
        let _ = self.drop_subscriptions();
        let force = if self.server.major() >= 13 { " WITH (FORCE)" } else { "" };
        // Own servers are thrown away as a whole; on the user's, a left-over database is named like its test.
        let _ = self.server.execute("postgres", &format!("DROP DATABASE IF EXISTS \"{name}\"{force}"));
    }
}

/// Runs statements over a connection of their own and returns all rows as text.
fn ask(url: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
    blocking(async move {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.map_err(|error| describe(&error))?;
        let connection = tokio::spawn(connection);
        let answered = client.simple_query(sql).await.map_err(|error| describe(&error));
        drop(client);
        let _ = connection.await;
        let text = |row: &tokio_postgres::SimpleQueryRow| {
            (0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect()
        };
        let answered = answered?;
        let rows = answered.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(text(row)),
            _ => None,
        });
        Ok(rows.collect())
    })
}

/// A server's error with its detail and place, for people.
fn describe(error: &tokio_postgres::Error) -> String {
    let Some(database) = error.as_db_error() else {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
        return format!("{error}{cause}");
    };
    let detail = database.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
    let place = match database.position() {
        Some(tokio_postgres::error::ErrorPosition::Original(at)) => format!(" at character {at}"),
        _ => String::new(),
    };
    format!("{}: {}{detail}{place}", database.code().code(), database.message())
}

/// A server program that sees none of the caller's PG* variables.
fn program(binaries: &Binaries, name: &str, folder: &Path) -> Command {
    let mut command = Command::new(binaries.bin.join(name));
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("PG") {
            command.env_remove(variable);
        }
    }
    command.env("LC_ALL", "C").env("HOME", folder).current_dir(folder);
    if let Some(libraries) = &binaries.libraries {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    command
}

/// Runs initdb; a machine whose C library lacks C.UTF-8 gets the locale C.
fn make_cluster(binaries: &Binaries, data: &Path, user: Option<(u32, u32)>) -> Result<()> {
    use std::os::unix::process::CommandExt as _;
    let folder = data.parent().unwrap_or(Path::new("/"));
    let attempt = |locale: &str| {
        let mut initdb = program(binaries, "initdb", folder);
        initdb.arg("-D").arg(data).args(["-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8"]);
        initdb.arg(format!("--locale={locale}"));
        if let Some((uid, gid)) = user {
            initdb.uid(uid).gid(gid);
        }
        output(&mut initdb).map(drop)
    };
    attempt("C.UTF-8").or_else(|_| attempt("C"))
}

/// Copies a running server's cluster, ready to follow it, with stock `pg_basebackup`: its own, or the oracle's.
fn copy_cluster(binaries: &Binaries, url: &str, data: &Path, user: Option<(u32, u32)>) -> Result<()> {
    use std::os::unix::process::CommandExt as _;
    // The oracle's copies older servers only; a newer one comes with its own.
    let own = binaries.bin.join("pg_basebackup");
    let mut command = if own.is_file() { Command::new(own) } else { oracle().basebackup() };
    command.arg("-d").arg(url).arg("-D").arg(data).args(["-R", "-X", "stream", "-c", "fast", "--no-sync"]);
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command.current_dir(data.parent().unwrap_or(Path::new("/")));
    output(&mut command).map(drop)
}

/// A port of 127.0.0.1 that nobody uses right now.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| format!("no free port: {error}"))?;
    listener.local_addr().map(|address| address.port()).map_err(|error| format!("no free port: {error}"))
}

/// Waits for the word `ready` that a server writes into the eighth line of its postmaster.pid
/// (PostgreSQL, src/include/utils/pidfile.h).
fn wait_until_ready(data: &Path, watched: &Watched) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let state = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
        if state.lines().nth(7).is_some_and(|word| word.trim() == "ready") {
            return Ok(());
        }
        let words = watched.last_words();
        if words.contains("FATAL") {
            return Err(format!("the server does not start: {words}"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(format!("the server does not start: {}", watched.last_words()))
}
