//! A network that fails on demand: a TCP proxy on loopback that does harm to what passes through it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::Result;

/// What happens to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// Both ends see a reset.
    Reset,
    /// What is sent does not arrive, and the sender sees a reset.
    Lost,
    /// What is sent arrives late, even if its sender has left by then.
    Late(Duration),
    /// What comes back is cut off and ends as if it were complete.
    Truncate,
    /// Nothing comes back any more, and the connection stays open.
    Silence,
    /// What comes back comes late.
    Delay(Duration),
    /// One bit of what comes back is another one.
    CorruptAnswer,
    /// One bit of what is sent is another one.
    CorruptRequest,
    /// The server never hears of the request, and this is the answer: a status such as `503 Slow Down`, and a body.
    Answer(&'static str, &'static str),
}

/// Harm and when it is done.
#[derive(Debug, Clone)]
pub struct Trigger {
    /// On the connection that sends these bytes; empty: on any.
    pub needle: Vec<u8>,
    /// Not before so many connections were opened.
    pub connection: usize,
    /// After so many further bytes in the direction that is harmed.
    pub after: usize,
    /// What is done, once.
    pub harm: Harm,
}

#[derive(Debug, Default)]
struct Shared {
    triggers: Mutex<Vec<Trigger>>,
    opened: AtomicUsize,
    harmed: AtomicUsize,
    requests: AtomicUsize,
}

impl Shared {
    fn triggers(&self) -> MutexGuard<'_, Vec<Trigger>> {
        self.triggers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the first trigger that this connection pulls with these bytes.
    fn pulled(&self, connection: usize, sent: &[u8]) -> Option<Trigger> {
        let mut triggers = self.triggers();
        let place = triggers.iter().position(|trigger| {
            connection >= trigger.connection
                && (trigger.needle.is_empty() || sent.windows(trigger.needle.len()).any(|part| part == trigger.needle))
        })?;
        Some(triggers.remove(place))
    }
}

/// A running proxy; it ends with the process.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Starts one before a server, such as `127.0.0.1:5432`.
    pub fn before(server: &str) -> Result<Proxy> {
        let server: SocketAddr = server.parse().map_err(|error| format!("{server} is no address: {error}"))?;
        let failed = |error: std::io::Error| format!("no proxy: {error}");
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shared = Arc::<Shared>::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                while let Ok((client, _)) = listener.accept().await {
                    let number = own.opened.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(pass(client, server, number, Arc::clone(&own)));
                }
            });
        });
        Ok(Proxy { address, shared })
    }

    /// Does this harm once, when its time comes.
    pub fn harm(&self, trigger: Trigger) {
        self.shared.triggers().push(trigger);
    }

    /// How many harms were not done, for their time did not come; forgets them.
    pub fn heal(&self) -> usize {
        std::mem::take(&mut *self.shared.triggers()).len()
    }

    /// How many harms were done so far.
    pub fn harmed(&self) -> usize {
        self.shared.harmed.load(Ordering::Relaxed)
    }

    /// How many requests of HTTP/1.1 there were.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.shared.opened.load(Ordering::Relaxed)
    }
}

/// What only the first line of a request ends in; it is never divided between two reads on loopback.
const HEAD_OF_REQUEST: &[u8] = b" HTTP/1.1\r\n";

/// One connection, until either side ends it or harm does.
async fn pass(mut client: TcpStream, server: SocketAddr, number: usize, shared: Arc<Shared>) -> Option<()> {
    let mut server = TcpStream::connect(server).await.ok()?;
    let (mut up, mut down) = (vec![0u8; 64 << 10], vec![0u8; 64 << 10]);
    // The end of what was sent before, for a needle that two reads divide.
    let mut tail: Vec<u8> = Vec::new();
    let mut pulled: Option<Trigger> = None;
    let mut late = false;
    loop {
        tokio::select! {
            length = client.read(&mut up) => {
                let Some(length) = length.ok().filter(|length| *length > 0) else {
                    // A server that sees its client leave may not do what it was late to hear of.
                    let answer = async { while server.read(&mut down).await.is_ok_and(|length| length > 0) {} };
                    let _ended = if late { tokio::time::timeout(Duration::from_secs(1), answer).await.ok() } else { None };
                    return None;
                };
                let sent = &mut up[..length];
                let heads = sent.windows(HEAD_OF_REQUEST.len()).filter(|part| *part == HEAD_OF_REQUEST).count();
                shared.requests.fetch_add(heads, Ordering::Relaxed);
                if pulled.is_none() {
                    tail.extend_from_slice(sent);
                    pulled = shared.pulled(number, &tail);
                    tail.drain(..tail.len().saturating_sub(200));
                }
                if pulled.as_ref().is_some_and(|trigger| trigger.harm == Harm::Lost) {
                    shared.harmed.fetch_add(1, Ordering::Relaxed);
                    let _reset = (client.set_zero_linger(), server.set_zero_linger());
                    return None;
                }
                if let Some(Trigger { harm: Harm::Late(time), .. }) = pulled {
                    shared.harmed.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(time).await;
                    (pulled, late) = (None, true);
                }
                if let Some(Trigger { needle, harm: Harm::Answer(status, body), .. }) = &pulled {
                    shared.harmed.fetch_add(1, Ordering::Relaxed);
                    let body = if needle.starts_with(b"HEAD") { "" } else { body };
                    let length = body.len();
                    let answer =
                        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
                    client.write_all(answer.as_bytes()).await.ok()?;
                    client.shutdown().await.ok()?;
                    // What is still on its way would make a reset of the answer.
                    let rest = async { while client.read(&mut up).await.is_ok_and(|length| length > 0) {} };
                    let _late = tokio::time::timeout(Duration::from_secs(5), rest).await;
                    return None;
                }
                if let Some(trigger) = pulled.as_mut().filter(|trigger| trigger.harm == Harm::CorruptRequest) {
                    match sent.get_mut(trigger.after) {
                        Some(byte) => {
                            *byte ^= 1;
                            shared.harmed.fetch_add(1, Ordering::Relaxed);
                            pulled = None;
                        }
                        None => trigger.after -= length,
                    }
                }
                server.write_all(&up[..length]).await.ok()?;
            }
            length = server.read(&mut down) => {
                let length = length.ok().filter(|length| *length > 0)?;
                let Some(trigger) = pulled.as_mut().filter(|trigger| trigger.harm != Harm::CorruptRequest) else {
                    client.write_all(&down[..length]).await.ok()?;
                    continue;
                };
                if trigger.after >= length {
                    trigger.after -= length;
                    client.write_all(&down[..length]).await.ok()?;
                    continue;
                }
                let (after, harm) = (trigger.after, trigger.harm);
                pulled = None;
                shared.harmed.fetch_add(1, Ordering::Relaxed);
                client.write_all(&down[..after]).await.ok()?;
                match harm {
                    Harm::Reset => {
                        let _reset = (client.set_zero_linger(), server.set_zero_linger());
                        return None;
                    }
                    Harm::Truncate => return None,
                    Harm::Silence => {
                        while client.read(&mut up).await.ok()? > 0 {}
                        return None;
                    }
                    Harm::Delay(time) => tokio::time::sleep(time).await,
                    Harm::CorruptAnswer => down[after] ^= 1,
                    Harm::CorruptRequest | Harm::Lost | Harm::Late(_) | Harm::Answer(..) => {}
                }
                client.write_all(&down[after..length]).await.ok()?;
            }
        }
    }
}
