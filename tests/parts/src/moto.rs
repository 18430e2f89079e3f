//! The control plane of AWS S3 without AWS: moto, for what no store of one's own has (encryption, public access blocks,
//! Object Lock, archive classes). It keeps everything in memory and checks no credentials.

use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::cache::temp_folder;
use crate::fetch::moto_library;
use crate::s3::S3;
use crate::server::free_port;
use crate::watchdog::Watched;
use crate::{Result, say};

/// An S3 of the kind that AWS has, shared by the whole process. Panics with a sentence when there is none, for it is
/// made for tests. Its bucket exists; others may be made.
pub fn moto() -> S3 {
    static MOTO: OnceLock<Result<(S3, Watched)>> = OnceLock::new();
    match MOTO.get_or_init(start) {
        Ok((s3, _)) => s3.clone(),
        Err(sentence) => panic!("no moto to test with: {sentence}"),
    }
}

fn start() -> Result<(S3, Watched)> {
    let library = moto_library()?;
    let mut last = String::new();
    for _ in 0..4 {
        let (folder, port) = (temp_folder("moto")?, free_port()?);
        let mut command = Command::new("python3");
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]).env("PYTHONPATH", &library);
        let watched = Watched::start(&command, None, &folder, "KILL")?;
        let s3 = S3 {
            endpoint: format!("http://127.0.0.1:{port}"),
            access_key: "AKIATESTING".into(),
            secret_key: "testing".into(),
            bucket: "pgstow-tests".into(),
            region: "us-east-1".into(),
        };
        let start = Instant::now();
        loop {
            match s3.create_bucket() {
                Ok(()) => {
                    say(&format!("moto runs at {}", s3.endpoint));
                    return Ok((s3, watched));
                }
                Err(error) if start.elapsed() > Duration::from_secs(60) => {
                    last = format!("moto does not start: {error} {}", watched.last_words());
                    break;
                }
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }
    Err(last)
}
