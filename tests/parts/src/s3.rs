//! S3 stores: Garage, an in-process folder, or the user's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_http_client::Builder as HttpBuilder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::cache::temp_folder;
use crate::fetch::garage_binary;
use crate::server::free_port;
use crate::watchdog::Watched;
use crate::{Result, blocking, say};

/// A bucket and what it takes to get in. Path style always, for a loopback address has no host names for buckets.
#[derive(Clone)]
pub struct S3 {
    /// The address, such as `http://127.0.0.1:3900`.
    pub endpoint: String,
    /// The access key.
    pub access_key: String,
    /// The secret key.
    pub secret_key: String,
    /// The bucket; it exists.
    pub bucket: String,
    /// The region that requests are signed for.
    pub region: String,
}

impl std::fmt::Debug for S3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "S3 bucket {} at {}", self.bucket, self.endpoint)
    }
}

/// The real S3 store of the tests, shared by the whole process: Garage of our own, or the user's store of
/// `PGSTOW_TEST_S3_ENDPOINT`. Panics with a sentence when there is none, for it is made for tests.
pub fn garage() -> S3 {
    static GARAGE: OnceLock<Result<(S3, Option<Watched>)>> = OnceLock::new();
    let started = GARAGE.get_or_init(|| match std::env::var("PGSTOW_TEST_S3_ENDPOINT") {
        Ok(endpoint) if !endpoint.is_empty() => {
            say(&format!("PGSTOW_TEST_S3_ENDPOINT is set: testing with the store at {endpoint}"));
            users_own(endpoint).map(|s3| (s3, None))
        }
        _ => {
            let (s3, watched) = start_garage()?;
            say(&format!("Garage runs at {}", s3.endpoint));
            Ok((s3, Some(watched)))
        }
    });
    match started {
        Ok((s3, _)) => s3.clone(),
        Err(sentence) => panic!("no S3 store to test with: {sentence}"),
    }
}

fn users_own(endpoint: String) -> Result<S3> {
    let need = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
    Ok(S3 {
        endpoint,
        access_key: need("AWS_ACCESS_KEY_ID")?,
        secret_key: need("AWS_SECRET_ACCESS_KEY")?,
        bucket: need("PGSTOW_TEST_S3_BUCKET")?,
        region: std::env::var("AWS_REGION").unwrap_or_else(|_| "us-east-1".into()),
    })
}

/// Starts Garage as a single node in a temporary folder, with one key and one bucket.
fn start_garage() -> Result<(S3, Watched)> {
    let binary = garage_binary()?;
    let mut last = String::new();
    for _ in 0..4 {
        let folder = temp_folder("garage")?;
        let (api, rpc) = (free_port()?, free_port()?);
        let s3 = S3 {
            endpoint: format!("http://127.0.0.1:{api}"),
            access_key: "GK0123456789abcdef01234567".into(),
            secret_key: "0123456789abcdef".repeat(4),
            bucket: "pgstow-tests".into(),
            region: "garage".into(),
        };
        let place = folder.display();
        let configuration = format!(
            "metadata_dir = \"{place}/meta\"\ndata_dir = \"{place}/data\"\ndb_engine = \"sqlite\"\n\
             metadata_fsync = false\ndata_fsync = false\nreplication_factor = 1\ncompression_level = \"none\"\n\
             rpc_bind_addr = \"127.0.0.1:{rpc}\"\nrpc_public_addr = \"127.0.0.1:{rpc}\"\nrpc_secret = \"{}\"\n\
             [s3_api]\napi_bind_addr = \"127.0.0.1:{api}\"\ns3_region = \"{}\"\n",
            "5".repeat(64),
            s3.region
        );
        fs::write(folder.join("garage.toml"), configuration).map_err(|error| format!("{place}: {error}"))?;
        let mut command = Command::new(&binary);
        command.arg("-c").arg(folder.join("garage.toml")).args(["server", "--single-node", "--default-bucket"]);
        command.env("GARAGE_DEFAULT_ACCESS_KEY", &s3.access_key).env("GARAGE_DEFAULT_SECRET_KEY", &s3.secret_key);
        command.env("GARAGE_DEFAULT_BUCKET", &s3.bucket).env("RUST_LOG", "garage=warn");
        let watched = Watched::start(&command, None, &folder, "KILL")?;
        match wait_until_ready(&s3) {
            Ok(()) => return Ok((s3, watched)),
            Err(sentence) => last = format!("Garage does not start: {sentence} {}", watched.last_words()),
        }
    }
    Err(last)
}

/// Waits until the bucket can be listed.
fn wait_until_ready(s3: &S3) -> Result<()> {
    let start = Instant::now();
    loop {
        match s3.keys("") {
            Ok(_) => return Ok(()),
            Err(error) if start.elapsed() > Duration::from_secs(60) => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// An S3 server of this process over real HTTP, on a free port of 127.0.0.1, keeping its objects as files in `folder`.
/// It needs nothing fetched or built, and ends with the process.
pub fn folder_s3(folder: &Path) -> Result<S3> {
    let bucket = "pgstow-demo";
    fs::create_dir_all(folder.join(bucket)).map_err(|error| format!("{}: {error}", folder.display()))?;
    let store = s3s_fs::FileSystem::new(folder).map_err(|error| format!("{}: {error:?}", folder.display()))?;
    let (access_key, secret_key) = ("pgstow-demo-key".to_owned(), "pgstow-demo-secret".to_owned());
    let mut builder = s3s::service::S3ServiceBuilder::new(store);
    builder.set_auth(s3s::auth::SimpleAuth::from_single(access_key.clone(), secret_key.clone()));
    let service = builder.build();
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).map_err(|error| format!("no free port: {error}"))?;
    listener.set_nonblocking(true).map_err(|error| format!("no free port: {error}"))?;
    let port = listener.local_addr().map_err(|error| format!("no free port: {error}"))?.port();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no async runtime: {error}"))?;
    std::thread::spawn(move || {
        runtime.block_on(async move {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            while let Ok((socket, _)) = listener.accept().await {
                let connection = server.serve_connection(TokioIo::new(socket), service.clone()).into_owned();
                tokio::spawn(async move {
                    // A client that hangs up is no news here.
                    let _ = connection.await;
                });
            }
        });
    });
    Ok(S3 {
        endpoint: format!("http://127.0.0.1:{port}"),
        access_key,
        secret_key,
        bucket: bucket.into(),
        region: "us-east-1".into(),
    })
}

impl S3 {
    /// The store as pgstow is told it: `s3://bucket/prefix`.
    pub fn location(&self, prefix: &str) -> String {
        format!("s3://{}/{prefix}", self.bucket)
    }

    /// A prefix that no other test uses; it begins with the hint.
    pub fn fresh_prefix(&self, hint: &str) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let age = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        format!("{hint}-{}-{}-{number}", age.as_secs(), std::process::id())
    }

    /// The environment that lets pgstow (or any AWS tool) in; the address has to be told apart, as `AWS_ENDPOINT_URL`
    /// here.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_ACCESS_KEY_ID", self.access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.secret_key.clone()),
            ("AWS_REGION", self.region.clone()),
            ("AWS_EC2_METADATA_DISABLED", "true".into()),
        ]
    }

    fn client(&self) -> aws_sdk_s3::Client {
        let http = HttpBuilder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let keys = Credentials::new(&self.access_key, &self.secret_key, None, None, "pgstow-parts");
        let configuration = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http)
            .endpoint_url(&self.endpoint)
            .region(Region::new(self.region.clone()))
            .credentials_provider(keys)
            .force_path_style(true)
            .build();
        aws_sdk_s3::Client::from_conf(configuration)
    }

    /// Makes the bucket; one that is there and ours is no error on AWS's kind of store.
    pub fn create_bucket(&self) -> Result<()> {
        let client = self.client();
        blocking(async move {
            client.create_bucket().bucket(&self.bucket).send().await.map(drop).map_err(|error| describe(&error))
        })
    }

    /// All keys under a prefix, in order.
    pub fn keys(&self, prefix: &str) -> Result<Vec<String>> {
        let client = self.client();
        blocking(async move {
            let mut pages = client.list_objects_v2().bucket(&self.bucket).prefix(prefix).into_paginator().send();
            let mut keys = Vec::new();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|error| describe(&error))?;
                keys.extend(page.contents().iter().filter_map(|object| object.key()).map(str::to_owned));
            }
            keys.sort();
            Ok(keys)
        })
    }

    /// The keys under a prefix of multipart uploads that are neither completed nor aborted.
    pub fn open_uploads(&self, prefix: &str) -> Result<Vec<String>> {
        let client = self.client();
        blocking(async move {
            let answer = client.list_multipart_uploads().bucket(&self.bucket).prefix(prefix).send().await;
            let answer = answer.map_err(|error| describe(&error))?;
            Ok(answer.uploads().iter().filter_map(|upload| upload.key()).map(str::to_owned).collect())
        })
    }

    /// The bytes of one object.
    pub fn get(&self, key: &str) -> Result<Vec<u8>> {
        let client = self.client();
        blocking(async move {
            let answer = client.get_object().bucket(&self.bucket).key(key).send().await;
            let body = answer.map_err(|error| describe(&error))?.body.collect().await;
            Ok(body.map_err(|error| format!("{key}: {error}"))?.into_bytes().to_vec())
        })
    }

    /// Writes one object.
    pub fn put(&self, key: &str, bytes: Vec<u8>) -> Result<()> {
        let client = self.client();
        blocking(async move {
            let put = client.put_object().bucket(&self.bucket).key(key).body(ByteStream::from(bytes));
            put.send().await.map(drop).map_err(|error| describe(&error))
        })
    }

    /// Removes one object.
    pub fn delete(&self, key: &str) -> Result<()> {
        let client = self.client();
        blocking(async move {
            let delete = client.delete_object().bucket(&self.bucket).key(key);
            delete.send().await.map(drop).map_err(|error| describe(&error))
        })
    }

    /// Downloads everything under a prefix into a folder, keeping what follows the prefix as the path; returns the
    /// paths.
    pub fn download(&self, prefix: &str, folder: &Path) -> Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for key in self.keys(prefix)? {
            let path = folder.join(key[prefix.len()..].trim_start_matches('/'));
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(|error| format!("{}: {error}", parent.display()))?;
            }
            fs::write(&path, self.get(&key)?).map_err(|error| format!("{}: {error}", path.display()))?;
            paths.push(path);
        }
        Ok(paths)
    }
}

/// The SDK's error with its causes; its own message alone says only "service error".
fn describe(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}
