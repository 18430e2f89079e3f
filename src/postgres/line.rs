//! The line to the server: one socket, encrypted or not, that the driver of a session and a COPY take turns with.
//!
//! The driver (`tokio_postgres`) speaks for everything but COPY: it hands out rows one by one through a channel, a wake-up of
//! another task for every few kilobytes, which costs as much as the server's own work. A COPY therefore borrows the line
//! ([`Line::lend`]) while the driver has nothing to say, reads and writes it directly, and gives it back. A line that
//! is not given back is dead, for nobody knows what is still to come on it.

use super::settings::{ConnectionSettings, HostEntry, Place};
use crate::error::{Error, Kind, Result};
use socket2::{SockRef, TcpKeepalive};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A socket as it was connected.
pub(super) enum Plain {
    Tcp(TcpStream),
    Unix(UnixStream),
}

type Encrypted = <MakeRustlsConnect as MakeTlsConnect<Plain>>::Stream;

/// What the bytes go through.
enum Way {
    Plain(Plain),
    Encrypted(Box<Encrypted>),
}

impl Plain {
    /// Connects to the host, at its one address if that is known, with the keepalives of the settings.
    pub(super) async fn connect(settings: &ConnectionSettings, host: &HostEntry) -> io::Result<Self> {
        let stream = match &host.place {
            Place::Socket(folder) => {
                return UnixStream::connect(folder.join(format!(".s.PGSQL.{}", host.port))).await.map(Plain::Unix);
            }
            Place::Network { address: Some(address), .. } => TcpStream::connect((*address, host.port)).await?,
            Place::Network { name, address: None } => TcpStream::connect((name.as_str(), host.port)).await?,
        };
        stream.set_nodelay(true)?;
        let socket = SockRef::from(&stream);
        let keepalives = &settings.keepalives;
        if keepalives.enabled {
            let options = TcpKeepalive::new()
                .with_time(keepalives.idle.unwrap_or(KEEPALIVE_IDLE))
                .with_interval(keepalives.interval.unwrap_or(KEEPALIVE_INTERVAL))
                .with_retries(keepalives.count.unwrap_or(KEEPALIVE_COUNT));
            socket.set_tcp_keepalive(&options)?;
        }
        #[cfg(target_os = "linux")]
        if let Some(timeout) = settings.tcp_user_timeout.or_else(|| settings.answer_within()) {
            socket.set_tcp_user_timeout(Some(timeout))?;
        }
        Ok(Plain::Tcp(stream))
    }
}

/// How long a connection is idle before the first keepalive. libpq leaves the kernel's two hours, but the connection that
/// holds the snapshot is idle for as long as a dump takes, and address translators and load balancers forget one after a few
/// minutes (AWS: 350 s) without a word to either end.
pub(super) const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// What has not answered so many keepalives, so far apart, is gone: two minutes after the last word.
pub(super) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
pub(super) const KEEPALIVE_COUNT: u32 = 6;

/// Whether to ask for encryption before the login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encryption {
    None,
    IfOffered,
    Always,
}

/// How a line begins: negotiated, encrypted, shared. To `tokio_postgres` it looks like TLS from the first byte, so that
/// it leaves all of that to us.
pub(super) struct Start {
    pub(super) encryption: Encryption,
    /// TLS begins at once, without asking (`sslnegotiation=direct`).
    pub(super) direct: bool,
    pub(super) connector: MakeRustlsConnect,
    /// The name that the certificate must have, as far as the mode checks it.
    pub(super) server_name: String,
    /// Where the line is left for our own use when it has begun.
    pub(super) begun: Arc<OnceLock<Line>>,
}

/// `SSLRequest` (PostgreSQL documentation, "Message Formats").
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

impl Start {
    async fn begin(self, stream: Plain) -> io::Result<Line> {
        let begun = Arc::clone(&self.begun);
        let line = self.negotiate(stream).await?;
        // A start is used once.
        let _first = begun.set(line.clone());
        Ok(line)
    }

    async fn negotiate(mut self, mut stream: Plain) -> io::Result<Line> {
        if self.encryption == Encryption::None {
            return Ok(Line::new(Way::Plain(stream)));
        }
        if !self.direct {
            stream.write_all(&SSL_REQUEST).await?;
            if stream.read_u8().await? != b'S' {
                return match self.encryption {
                    Encryption::Always => Err(io::Error::other("server does not support TLS")),
                    _ => Ok(Line::new(Way::Plain(stream))),
                };
            }
        }
        let connect = MakeTlsConnect::<Plain>::make_tls_connect(&mut self.connector, &self.server_name);
        let stream = connect.map_err(io::Error::other)?.connect(stream).await?;
        Ok(Line::new(Way::Encrypted(Box::new(stream))))
    }
}

impl TlsConnect<Plain> for Start {
    type Stream = Line;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Line>> + Send>>;

    fn connect(self, stream: Plain) -> Self::Future {
        Box::pin(self.begin(stream))
    }
}

/// The driver's end of a line. Clones are the same line.
#[derive(Clone)]
pub(super) struct Line(Arc<Mutex<Shared>>);

struct Shared {
    way: Way,
    lent: bool,
    /// Nobody knows what the next byte on the line means.
    dead: bool,
    /// Wakes the driver when it may look again.
    driver: Option<Waker>,
}

impl Line {
    fn new(way: Way) -> Self {
        Line(Arc::new(Mutex::new(Shared { way, lent: false, dead: false, driver: None })))
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the line from the driver, which must have no statement under way.
    pub(super) fn lend(&self) -> Result<Loan> {
        let mut shared = self.shared();
        if shared.lent {
            return Err(Error::new(Kind::Internal, "a session does one COPY at a time"));
        }
        shared.lent = true;
        drop(shared);
        Ok(Loan { line: self.clone(), returned: false })
    }

    /// Runs the driver's poll, unless the line is lent or dead.
    fn drive<T>(
        &self,
        context: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut Way>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let mut shared = self.shared();
        if shared.dead {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "a COPY was given up half-way")));
        }
        if !shared.lent
            && let ready @ Poll::Ready(_) = poll(Pin::new(&mut shared.way), context)
        {
            return ready;
        }
        match &mut shared.driver {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

/// The line in the hands of a COPY.
pub(super) struct Loan {
    line: Line,
    returned: bool,
}

impl Loan {
    /// Hands the line back to the driver. The server must be waiting for the next statement.
    pub(super) fn give_back(mut self) {
        self.returned = true;
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let mut shared = self.line.shared();
        shared.lent = false;
        shared.dead |= !self.returned;
        if let Some(driver) = shared.driver.take() {
            driver.wake();
        }
    }
}

impl Loan {
    fn poll<T>(&self, poll: impl FnOnce(Pin<&mut Way>) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        poll(Pin::new(&mut self.line.shared().way))
    }
}

impl TlsStream for Line {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.shared().way {
            Way::Plain(_) => ChannelBinding::none(),
            Way::Encrypted(stream) => stream.channel_binding(),
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.drive(cx, |way, cx| way.poll_read(cx, buffer))
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.drive(cx, |way, cx| way.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.drive(cx, Way::poll_flush)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.drive(cx, Way::poll_shutdown)
    }
}

impl AsyncRead for Loan {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll(|way| way.poll_read(cx, buffer))
    }
}

impl AsyncWrite for Loan {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(|way| way.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|way| way.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|way| way.poll_shutdown(cx))
    }
}

/// Passes a call on to whatever the bytes go through.
macro_rules! pass_on {
    ($enum:ty { $($variant:path),+ }) => {
        impl AsyncRead for $enum {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() { $($variant(stream) => Pin::new(stream).poll_read(cx, buffer)),+ }
            }
        }

        impl AsyncWrite for $enum {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                match self.get_mut() { $($variant(stream) => Pin::new(stream).poll_write(cx, bytes)),+ }
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() { $($variant(stream) => Pin::new(stream).poll_flush(cx)),+ }
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() { $($variant(stream) => Pin::new(stream).poll_shutdown(cx)),+ }
            }
        }
    };
}

pass_on!(Plain { Plain::Tcp, Plain::Unix });
pass_on!(Way { Way::Plain, Way::Encrypted });

#[cfg(test)]
mod tests {
    use super::Plain;
    use crate::postgres::ConnectionSettings;
    use socket2::SockRef;
    use std::time::Duration;
    use tokio::net::TcpListener;

    /// Whether the kernel sends keepalives on a connection made with these settings, after how long, how far apart, and
    /// how many.
    async fn keepalives(settings: &str) -> Option<(Duration, Duration, u32)> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let text = format!("host=127.0.0.1 port={} {settings}", listener.local_addr().expect("an address").port());
        let settings = ConnectionSettings::resolve(Some(&text), &|_| None).expect("settings");
        let Ok(Plain::Tcp(stream)) = Plain::connect(&settings, &settings.hosts[0]).await else {
            panic!("no connection")
        };
        let socket = SockRef::from(&stream);
        socket.keepalive().expect("an option").then(|| {
            let interval = socket.tcp_keepalive_interval().expect("an option");
            let retries = socket.tcp_keepalive_retries().expect("an option");
            (socket.tcp_keepalive_time().expect("an option"), interval, retries)
        })
    }

    #[tokio::test]
    async fn a_server_that_is_gone_is_noticed_within_minutes_unless_the_settings_say_otherwise() {
        let seconds = Duration::from_secs;
        // Before the shortest idle time that load balancers forget a connection after.
        assert_eq!(keepalives("").await, Some((seconds(60), seconds(10), 6)));
        let chosen = "keepalives_idle=7 keepalives_interval=3 keepalives_count=2";
        assert_eq!(keepalives(chosen).await, Some((seconds(7), seconds(3), 2)));
        assert_eq!(keepalives("keepalives=0").await, None);
    }
}
