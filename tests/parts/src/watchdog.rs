//! A server that cannot outlive us.
//!
//! The server's parent is a small shell in a process group of its own, whose standard input is a pipe that only this
//! process writes to. However this process ends, the system closes the pipe; the shell's `read` comes back, it
//! stops the server and removes its folder. It ignores the signals of a terminal, so that Ctrl-C cannot take it before
//! its work is done.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::Result;

/// `$1` the log file, `$2` the signal that stops the server, `$3` the folder to remove, then the server's command.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
log=$1 signal=$2 folder=$3
shift 3
"$@" </dev/null >"$log" 2>&1 &
server=$!
while read -r line; do :; done
kill "-$signal" "$server"
wait "$server"
cd /
rm -rf "$folder"
"#;

/// A running server; it stops, and its folder goes, when this is dropped or the process ends.
#[derive(Debug)]
pub struct Watched {
    watchdog: Child,
    log: std::path::PathBuf,
}

impl Watched {
    /// Starts `command` (its program, arguments, environment and user are taken over) with `folder` as its working
    /// folder; `signal` is the one that stops it at once, such as `QUIT` or `KILL`. The log is `folder/log`.
    pub fn start(command: &Command, user: Option<(u32, u32)>, folder: &Path, signal: &str) -> Result<Self> {
        let log = folder.join("log");
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(SCRIPT).arg("pgstow-watchdog").arg(&log).arg(signal).arg(folder);
        shell.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        if let Some((uid, gid)) = user {
            shell.uid(uid).gid(gid);
        }
        shell.current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let watchdog = shell.spawn().map_err(|error| format!("cannot start a shell: {error}"))?;
        Ok(Watched { watchdog, log })
    }

    /// The last lines of what the server said, for an error.
    pub fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.trim().lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Closing the pipe is the order to stop; waiting makes sure that the port and the folder are free afterwards.
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}
