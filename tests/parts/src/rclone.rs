//! An S3 server that speaks with words of its own: `rclone serve s3`, over a folder.

use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::cache::temp_folder;
use crate::fetch::rclone_program;
use crate::s3::S3;
use crate::server::free_port;
use crate::watchdog::Watched;
use crate::{Result, say};

/// The server, shared by the whole process. Panics with a sentence when there is none, for it is made for tests. Its bucket
/// exists.
pub fn rclone() -> S3 {
    static RCLONE: OnceLock<Result<(S3, Watched)>> = OnceLock::new();
    match RCLONE.get_or_init(start) {
        Ok((s3, _)) => s3.clone(),
        Err(sentence) => panic!("no rclone to test with: {sentence}"),
    }
}

fn start() -> Result<(S3, Watched)> {
    let program = rclone_program()?;
    let (folder, port) = (temp_folder("rclone")?, free_port()?);
    let s3 = S3 {
        endpoint: format!("http://127.0.0.1:{port}"),
        access_key: "AKRCLONETESTING1".into(),
        secret_key: "a-secret-of-rclone-1".into(),
        bucket: "pgstow-tests".into(),
        region: "us-east-1".into(),
    };
    let keys = format!("{},{}", s3.access_key, s3.secret_key);
    let data = folder.join("data");
    std::fs::create_dir_all(data.join(&s3.bucket)).map_err(|error| format!("cannot make a bucket: {error}"))?;
    let mut command = Command::new(program);
    command.args(["serve", "s3", "--config", "/dev/null", "--addr", &format!("127.0.0.1:{port}"), "--auth-key", &keys]);
    command.arg(&data);
    let watched = Watched::start(&command, None, &folder, "KILL")?;
    let start = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        if start.elapsed() > Duration::from_secs(30) {
            return Err(format!("rclone does not start: {}", watched.last_words()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    say(&format!("rclone serves S3 at {}", s3.endpoint));
    Ok((s3, watched))
}
