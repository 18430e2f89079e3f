//! The control plane of AWS S3 without AWS: moto, for what no store of one's own has (encryption, public access blocks,
//! Object Lock, archive classes, IAM). It keeps everything in memory, and checks credentials only where it is told to.

use std::io::{Read, Write};
use std::net::TcpStream;
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
    match MOTO.get_or_init(|| start(false)) {
        Ok((s3, _)) => s3.clone(),
        Err(sentence) => panic!("no moto to test with: {sentence}"),
    }
}

/// A moto of one's own that refuses what no policy allows.
#[derive(Debug)]
pub struct Iam {
    /// Its bucket, for whoever may do everything.
    pub admin: S3,
    _process: Watched,
}

impl Iam {
    /// Starts one. Panics with a sentence when there is none.
    pub fn start() -> Iam {
        let started = start(true).and_then(|(s3, process)| {
            let everything = r#"{"Version": "2012-10-17", "Statement": [
                {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}"#;
            Ok(Iam { admin: new_user(&s3, "admin", everything)?, _process: process })
        });
        started.unwrap_or_else(|sentence| panic!("no moto to test with: {sentence}"))
    }

    /// A new user who may do what this policy says; to be called while nobody else asks for anything.
    pub fn user(&self, name: &str, policy: &str) -> S3 {
        new_user(&self.admin, name, policy).unwrap_or_else(|sentence| panic!("moto makes no user: {sentence}"))
    }
}

/// Switches the checks off, makes the user, and switches them on.
fn new_user(s3: &S3, name: &str, policy: &str) -> Result<S3> {
    post(s3, "/moto-api/reset-auth", "", "inf")?;
    let user = |action: &str, more: &str| {
        post(s3, "/", "iam", &format!("Version=2010-05-08&Action={action}&UserName={name}{more}"))
    };
    user("CreateUser", "")?;
    user("PutUserPolicy", &format!("&PolicyName=only&PolicyDocument={}", escaped(policy)))?;
    let key = user("CreateAccessKey", "")?;
    post(s3, "/moto-api/reset-auth", "", "0")?;
    let text = |tag: &str| {
        let rest = key.split_once(&format!("<{tag}>")).map(|(_, rest)| rest);
        let text = rest.and_then(|rest| rest.split_once('<')).map(|(text, _)| text.to_owned());
        text.ok_or_else(|| format!("no {tag} in {key}"))
    };
    Ok(S3 { access_key: text("AccessKeyId")?, secret_key: text("SecretAccessKey")?, ..s3.clone() })
}

fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// One request, for the service that is named; returns the answer's body.
fn post(s3: &S3, path: &str, service: &str, body: &str) -> Result<String> {
    let address = s3.endpoint.trim_start_matches("http://");
    // moto's own questions are no forms.
    let kind = if service.is_empty() { "text/plain" } else { "application/x-www-form-urlencoded" };
    let asked = || -> std::io::Result<String> {
        let mut socket = TcpStream::connect(address)?;
        write!(
            socket,
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: {kind}\r\n\
             authorization: AWS4-HMAC-SHA256 Credential=anybody/20261124/us-east-1/{service}/aws4_request\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = asked().map_err(|error| format!("{path}: {error}"))?;
    if answer.starts_with("HTTP/1.1 200") { Ok(answer) } else { Err(format!("{path}: {answer}")) }
}

fn start(with_iam: bool) -> Result<(S3, Watched)> {
    let library = moto_library()?;
    let mut last = String::new();
    for _ in 0..4 {
        let (folder, port) = (temp_folder("moto")?, free_port()?);
        let mut command = Command::new("python3");
        if with_iam {
            let script = folder.join("moto_with_iam.py");
            std::fs::write(&script, include_str!("moto_with_iam.py")).map_err(|error| error.to_string())?;
            command.arg(script);
        } else {
            command.args(["-m", "moto.server"]);
        }
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).env("PYTHONPATH", &library);
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
