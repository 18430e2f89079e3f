//! A network that can lose everything in silence: two hosts of our own with a cable between them.
//!
//! No proxy can show what a half-open connection does, because the system below the proxy goes on acknowledging. So the
//! server gets a host of its own, a network namespace, and pgstow another one. Cut, each host sends to an address on the cable
//! that nobody has: no packet arrives, nothing is refused, and neither end hears that anything is wrong. Needed are `ip`
//! (iproute2), `unshare` and `nsenter` (util-linux), and either root or a system that lets everybody make namespaces of their
//! own.

use std::fmt;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::Result;
use crate::cache::is_root;

/// Where the server is reached from the client's host.
pub const SERVER_ADDRESS: &str = "10.99.0.2";

/// Makes both hosts, says the process that stands for each, and then does what it is told, line by line. Everything goes
/// when its standard input ends.
const HOLDER: &str = r#"
set -e
unshare -n sh -c 'echo $$; exec sleep 100000' >"$1/server.pid" &
child=$!
trap 'kill $child' EXIT
until [ -s "$1/server.pid" ]; do sleep 0.02; done
server=$(cat "$1/server.pid")
at_server() { nsenter -t "$server" -n "$@"; }
ip link set lo up
at_server ip link set lo up
ip link add client type veth peer name server netns "$server"
ip addr add 10.99.0.1/24 dev client
at_server ip addr add 10.99.0.2/24 dev server
ip link set client up
at_server ip link set server up
client_link=$(ip -o link show client | sed 's/.*link\/ether \([^ ]*\).*/\1/')
server_link=$(at_server ip -o link show server | sed 's/.*link\/ether \([^ ]*\).*/\1/')
nobody=02:00:00:00:00:99
neighbours() {
    ip neigh replace 10.99.0.2 lladdr "$1" dev client nud permanent
    at_server ip neigh replace 10.99.0.1 lladdr "$2" dev server nud permanent
}
neighbours "$server_link" "$client_link"
echo "$$ $server"
while read -r order; do
    case $order in
    cut) neighbours $nobody $nobody ;;
    mend) neighbours "$server_link" "$client_link" ;;
    esac
    echo "$order"
done
"#;

/// Two hosts and the cable; they go when this is dropped or the process ends.
pub struct Network {
    holder: Child,
    talk: Mutex<Option<(ChildStdin, BufReader<ChildStdout>)>>,
    client: u32,
    server: u32,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("client", &self.client).field("server", &self.server).finish_non_exhaustive()
    }
}

impl Network {
    /// Makes the hosts and the cable; `folder` is for a file that passes between its processes.
    ///
    /// Errors: a sentence with what this machine lacks.
    pub fn new(folder: &Path) -> Result<Network> {
        let mut command = Command::new("unshare");
        if !is_root() {
            command.args(["--user", "--map-current-user", "--keep-caps"]);
        }
        command.args(["--net", "sh", "-c", HOLDER, "pgstow-network"]).arg(folder);
        command.env("PATH", search_path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().map_err(|error| format!("cannot start unshare (util-linux): {error}"))?;
        let pipes = holder.stdin.take().zip(holder.stdout.take()).ok_or("a process without pipes")?;
        let mut talk = (pipes.0, BufReader::new(pipes.1));
        let mut said = String::new();
        talk.1.read_line(&mut said).map_err(|error| format!("the network's process does not speak: {error}"))?;
        let pids: Vec<u32> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let &[client, server] = pids.as_slice() else {
            let _ = holder.wait();
            return Err("no network of our own can be made, which needs `ip` (iproute2), and root or user namespaces \
                        that everybody may make; what failed stands on standard error"
                .into());
        };
        Ok(Network { holder, talk: Mutex::new(Some(talk)), client, server })
    }

    /// Starts a program on the client's host; its arguments follow.
    pub fn on_client(&self, program: &Path) -> Command {
        enter(self.client, program, None)
    }

    /// What a command becomes that runs on the server's host, as this user and group if any: its variables and folder are
    /// taken over.
    pub(crate) fn on_server(&self, command: &Command, user: Option<(u32, u32)>) -> Command {
        let mut inside = enter(self.server, Path::new(command.get_program()), user);
        inside.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside
    }

    /// From now on nothing arrives anywhere, and nobody is told.
    pub fn cut(&self) -> Result<()> {
        self.order("cut")
    }

    /// From now on everything arrives again.
    pub fn mend(&self) -> Result<()> {
        self.order("mend")
    }

    fn order(&self, order: &str) -> Result<()> {
        let mut talk = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        let (orders, answers) = talk.as_mut().ok_or("the network is gone")?;
        let mut said = String::new();
        match writeln!(orders, "{order}").and_then(|()| answers.read_line(&mut said)) {
            Ok(_) if said.trim() == order => Ok(()),
            _ => Err(format!("the network does not {order}; what failed stands on standard error")),
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The end of its input is the order to end: killed, it would leave the server's host behind.
        drop(self.talk.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        let _ = self.holder.wait();
    }
}

/// A program on the host that a process stands for.
fn enter(process: u32, program: &Path, user: Option<(u32, u32)>) -> Command {
    let mut command = Command::new("nsenter");
    command.arg("--target").arg(process.to_string()).arg("--net");
    if !is_root() {
        command.args(["--user", "--preserve-credentials"]);
    }
    if let Some((uid, gid)) = user {
        command.arg("--setuid").arg(uid.to_string()).arg("--setgid").arg(gid.to_string());
    }
    command.arg("--").arg(program).env("PATH", search_path());
    command
}

/// Debian keeps `ip` where only root looks.
fn search_path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/sbin:/sbin")
}
