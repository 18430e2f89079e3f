//! From options and the AWS environment to a client: endpoint, region, credentials, TLS, timeouts, checksums.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Connector, proxy::ProxyConfig, tls};
use aws_smithy_runtime_api::client::http::{SharedHttpClient, SharedHttpConnector, http_client_fn};
use aws_types::service_config::ServiceConfigKey;

use crate::error::{Error, Kind, Result};
use crate::model::Secret;

use super::super::Patience;
use super::super::requests::Noting;
use super::watched::Watched;

/// What can be said about an S3 store beside its URL. Everything else, and all that is `None` here, comes from the
/// standard AWS environment variables and files.
#[derive(Debug, Clone, Default)]
pub struct S3Options {
    /// The server's address, `https://host[:port]` or `http://`; otherwise `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, the
    /// profile's `endpoint_url`, or AWS itself.
    pub endpoint: Option<String>,
    /// `true`: the bucket is in the path; `false`: in the host name. Default: in the path when an endpoint is set.
    pub path_style: Option<bool>,
    /// The region; otherwise `AWS_REGION`, the profile, the machine's own on AWS, and us-east-1 when an endpoint is set.
    pub region: Option<String>,
    /// Access key id and secret key, for tests; otherwise the AWS credential chain (environment, profile, SSO, web
    /// identity, container, instance).
    pub credentials: Option<(String, Secret)>,
    /// A profile of the AWS files, whose credentials come before those of the environment.
    pub profile: Option<String>,
    /// What the store copies by itself in one request, in bytes; 5 GiB if this is absent.
    pub copy_whole_up_to: Option<u64>,
    /// How long the store is waited for.
    pub patience: Patience,
}

const DEFAULT_ATTEMPTS: u32 = 5;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// From a request's first byte to its answer's first byte, for requests without a body to speak of, as a multiple of how
/// long a transfer may stand still.
const ANSWER_STALLS: u32 = 2;
/// The slowest rate in bytes a second at which a body may go up before its request counts as dead.
pub(super) const SLOWEST_UPLOAD: u64 = 64 << 10;
/// AWS assembles large objects for minutes before it answers a completion.
pub(super) const COMPLETION_TIMEOUT: Duration = Duration::from_mins(15);

/// The timeouts of a request with a body of this many bytes.
///
/// The SDK's read timeout starts with the request's first byte, so it has to leave time for the body, which [`Watched`]
/// looks after. It is rounded up by
/// powers of two, for the HTTP client keeps one pool of connections for each distinct timeout.
pub(super) fn timeouts(patience: Patience, body: u64) -> TimeoutConfig {
    let body = body.max(1 << 20).next_power_of_two();
    answer_within(patience.stall * ANSWER_STALLS + Duration::from_secs(body / SLOWEST_UPLOAD))
}

/// Timeouts with this much time from a request's first byte to its answer's first byte.
pub(super) fn answer_within(read: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(read).build()
}

/// A client, and what was settled while making it.
pub(super) struct Connected {
    pub(super) client: Client,
    /// Whether its requests carry checksums.
    pub(super) checksums: bool,
    /// The server's address; `None` is AWS itself.
    pub(super) endpoint: Option<String>,
}

/// The client that the options and the environment describe.
pub(super) async fn client(options: &S3Options) -> Result<Connected> {
    if let Some(endpoint) = &options.endpoint {
        check_endpoint(endpoint)?;
    }
    let http_client = http_client(options.patience.stall)?;
    let shared = shared_config(options, &http_client).await;
    let endpoint = options.endpoint.clone().or_else(|| setting(&shared, "AWS_ENDPOINT_URL", "endpoint_url"));
    if let Some(endpoint) = &endpoint {
        check_endpoint(endpoint)?;
    }
    let mut config = aws_sdk_s3::config::Builder::from(&shared)
        .http_client(http_client.clone())
        .force_path_style(options.path_style.unwrap_or(endpoint.is_some()))
        .timeout_config(answer_within(options.patience.stall * ANSWER_STALLS))
        // In either direction.
        .stalled_stream_protection(
            StalledStreamProtectionConfig::enabled().grace_period(options.patience.stall).build(),
        )
        .region(region(&shared, endpoint.is_some(), &http_client).await?);

    // Older S3-compatible stores choke on the CRC trailers that the SDK adds by itself, so they get them only on demand.
    let unasked = |env, profile| endpoint.is_some() && setting(&shared, env, profile).is_none();
    let mut checksums = shared.request_checksum_calculation() != Some(RequestChecksumCalculation::WhenRequired);
    if unasked("AWS_REQUEST_CHECKSUM_CALCULATION", "request_checksum_calculation") {
        config = config.request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
        checksums = false;
    }
    if unasked("AWS_RESPONSE_CHECKSUM_VALIDATION", "response_checksum_validation") {
        config = config.response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    }
    if setting(&shared, "AWS_MAX_ATTEMPTS", "max_attempts").is_none()
        && let Some(retries) = shared.retry_config()
    {
        config = config.retry_config(retries.clone().with_max_attempts(DEFAULT_ATTEMPTS));
    }
    if let Some(noting) = Noting::if_wanted() {
        config = config.interceptor(noting);
    }
    Ok(Connected { client: Client::from_conf(config.build()), checksums, endpoint })
}

async fn shared_config(options: &S3Options, http_client: &SharedHttpClient) -> SdkConfig {
    // Not the SDK's whole chain: it would ask the instance metadata service even where a store of one's own makes do
    // with any region, and wait for it everywhere but on AWS.
    let named = options.region.clone().map(Region::new);
    let mut of_profile = ProfileFileRegionProvider::builder();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http_client.clone());
    let mut region = RegionProviderChain::first_try(named);
    if let Some(profile) = &options.profile {
        // A profile that was named here comes before the environment, which speaks of another store perhaps.
        of_profile = of_profile.profile_name(profile);
        region = region.or_else(of_profile.build()).or_else(EnvironmentVariableRegionProvider::new());
        let provider = ProviderConfig::default().with_http_client(http_client.clone());
        let credentials = ProfileFileCredentialsProvider::builder().configure(&provider).profile_name(profile).build();
        loader = loader.profile_name(profile).credentials_provider(credentials);
    } else {
        region = region.or_else(EnvironmentVariableRegionProvider::new()).or_else(of_profile.build());
    }
    loader = loader.region(region);
    if let Some(endpoint) = &options.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if let Some((id, secret)) = &options.credentials {
        loader = loader.credentials_provider(Credentials::new(id, secret.expose(), None, None, "pgstow options"));
    }
    loader.load().await
}

/// A setting that the user made in the environment or the AWS files, as opposed to one the SDK assumed.
fn setting(shared: &SdkConfig, env: &str, profile: &str) -> Option<String> {
    let key = ServiceConfigKey::builder().service_id("S3").env(env).profile(profile).build().ok()?;
    shared.service_config()?.load_config(key)
}

async fn region(shared: &SdkConfig, own_endpoint: bool, http_client: &SharedHttpClient) -> Result<Region> {
    if let Some(region) = shared.region() {
        return Ok(region.clone());
    }
    if own_endpoint {
        return Ok(Region::from_static("us-east-1"));
    }
    let provider = ProviderConfig::default().with_http_client(http_client.clone());
    let machine = ImdsRegionProvider::builder().configure(&provider).build();
    machine.region().await.ok_or_else(|| {
        Error::new(Kind::Usage, "no AWS region is set")
            .hint("set AWS_REGION to the bucket's region, or the endpoint if the store is not AWS")
    })
}

fn check_endpoint(endpoint: &str) -> Result<()> {
    let host = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
    let usable = |host: &str| !host.is_empty() && !host.contains(['@', ' ']) && !host.chars().any(char::is_control);
    if host.is_some_and(usable) {
        return Ok(());
    }
    // The text is not repeated: what was typed there may hold a password.
    Err(Error::new(Kind::Usage, "the S3 endpoint is not an address")
        .hint("write it as https://host or http://host:port, without credentials"))
}

/// The connect and the read timeout, which a connector cannot change once it is built.
type ConnectorTimeouts = (Option<Duration>, Option<Duration>);

/// An HTTP client with ring for cryptography, the machine's certificates (and `AWS_CA_BUNDLE`), and the proxy that the
/// environment names.
fn http_client(stall: Duration) -> Result<SharedHttpClient> {
    let context = tls::TlsContext::builder()
        .with_trust_store(trust_store()?)
        .build()
        .map_err(|error| Error::new(Kind::Internal, "cannot prepare TLS").because(error))?;
    let connectors: Mutex<HashMap<ConnectorTimeouts, SharedHttpConnector>> = Mutex::default();
    Ok(http_client_fn(move |settings, components| {
        let key = (settings.connect_timeout(), settings.read_timeout());
        let mut connectors = connectors.lock().unwrap_or_else(PoisonError::into_inner);
        let connector = connectors.entry(key).or_insert_with(|| {
            let mut builder = Connector::builder()
                .tls_provider(tls::Provider::Rustls(CryptoMode::Ring))
                .tls_context(context.clone())
                .proxy_config(ProxyConfig::from_env())
                .connector_settings(settings.clone());
            builder.set_sleep_impl(components.sleep_impl());
            SharedHttpConnector::new(Watched { inner: SharedHttpConnector::new(builder.build()), stall })
        });
        connector.clone()
    }))
}

fn trust_store() -> Result<tls::TrustStore> {
    let unusable = |path: &std::ffi::OsStr| {
        Error::new(Kind::Usage, "cannot read the certificates that AWS_CA_BUNDLE names").on(path.to_string_lossy())
    };
    match std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty()) {
        Some(path) => {
            use rustls_pki_types::{CertificateDer, pem::PemObject};
            let pem = std::fs::read(&path).map_err(|error| unusable(&path).because(error))?;
            // The SDK panics on certificates that do not parse, so they are tried here first.
            let mut roots = rustls::RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|error| unusable(&path).because(error))?;
                roots.add(certificate).map_err(|error| unusable(&path).because(error))?;
            }
            if roots.is_empty() {
                return Err(unusable(&path).hint("it has to be a PEM file with certificates"));
            }
            Ok(tls::TrustStore::empty().with_pem_certificate(pem))
        }
        // A machine without certificates can still talk to a store without TLS; the SDK would not let it.
        None if rustls_native_certs::load_native_certs().certs.is_empty() => {
            tracing::debug!("this machine has no root certificates");
            Ok(tls::TrustStore::empty())
        }
        None => Ok(tls::TrustStore::default()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Patience, check_endpoint, timeouts};

    #[test]
    fn an_endpoint_is_an_address_without_credentials() {
        for good in ["http://127.0.0.1:3900", "https://s3.example.org", "https://host/path"] {
            check_endpoint(good).expect("an endpoint");
        }
        for bad in ["localhost:3900", "s3.example.org", "https://", "https://key:geheim@host", "ftp://host"] {
            let error = check_endpoint(bad).expect_err(bad);
            assert!(!format!("{error:?}").contains("geheim"));
        }
    }

    #[test]
    fn large_bodies_get_time_and_few_distinct_timeouts() {
        let read = |body: u64| timeouts(Patience::default(), body).read_timeout().expect("a read timeout");
        assert_eq!(read(0), Duration::from_secs(60 + 16));
        assert_eq!(read(5 << 20), Duration::from_secs(60 + 128));
        assert_eq!(read(5 << 20), read(8 << 20));
        assert!(read(5 << 30) > Duration::from_hours(24));
    }
}
