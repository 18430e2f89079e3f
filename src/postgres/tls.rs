//! TLS by rustls: what to encrypt, whom to trust, and who we are.
//!
//! Source: PostgreSQL documentation, "SSL Support" of libpq; `initialize_SSL` in
//! `src/interfaces/libpq/fe-secure-openssl.c`. Differences that rustls brings: TLS 1.2 is the oldest version, the host
//! must stand in the certificate's subjectAltName (the common name alone does not count), and encrypted key files are
//! not read.

use super::conninfo::{Values, usage};
use super::settings::choice;
use crate::error::{Error, Kind, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion,
};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_postgres_rustls::MakeRustlsConnect;

/// libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// A file of libpq's, and whether the user named it; one that was named must exist.
#[derive(Debug, Clone)]
pub(super) struct NamedFile {
    path: PathBuf,
    named: bool,
}

impl NamedFile {
    fn resolve(values: &Values, setting: &str, home: Option<&Path>, default: &str) -> Option<Self> {
        match values.get(setting) {
            Some(path) => Some(NamedFile { path: PathBuf::from(path), named: true }),
            None => home.map(|home| NamedFile { path: home.join(".postgresql").join(default), named: false }),
        }
    }

    fn exists(&self) -> bool {
        self.path.exists()
    }

    fn show(&self) -> String {
        self.path.display().to_string()
    }
}

/// Whom to trust.
#[derive(Debug, Clone)]
enum Roots {
    /// The operating system's certificates: `sslrootcert=system`.
    System,
    /// A file of certificates; `None` when there is not even a home folder to look in.
    File(Option<NamedFile>),
}

/// Everything about TLS, resolved; the files are read when a session opens.
#[derive(Debug, Clone)]
pub(super) struct TlsSettings {
    pub(super) mode: SslMode,
    /// Whether TLS starts at once, without asking the server first (PostgreSQL 17, `sslnegotiation=direct`).
    pub(super) direct: bool,
    roots: Roots,
    certificate: Option<NamedFile>,
    key: Option<NamedFile>,
    revocations: Option<NamedFile>,
    send_server_name: bool,
    versions: Vec<&'static SupportedProtocolVersion>,
}

impl TlsSettings {
    /// Reads the settings; the home folder holds libpq's default files.
    pub(super) fn resolve(values: &Values, home: Option<&Path>) -> Result<Self> {
        let mode = choice(
            values,
            "sslmode",
            &[
                ("disable", SslMode::Disable),
                ("allow", SslMode::Allow),
                ("prefer", SslMode::Prefer),
                ("require", SslMode::Require),
                ("verify-ca", SslMode::VerifyCa),
                ("verify-full", SslMode::VerifyFull),
            ],
        )?;
        let system = values.get("sslrootcert") == Some("system");
        if let (true, Some(mode)) = (system, mode)
            && mode != SslMode::VerifyFull
        {
            // Anyone can have a certificate of a public authority; only the name tells servers apart.
            return Err(usage("sslrootcert=system needs sslmode=verify-full, or no sslmode at all"));
        }
        let mode = mode.unwrap_or(if system { SslMode::VerifyFull } else { SslMode::Prefer });
        let direct = choice(values, "sslnegotiation", &[("postgres", false), ("direct", true)])?.unwrap_or(false);
        if direct && mode < SslMode::Require {
            return Err(usage("sslnegotiation=direct needs sslmode=require, verify-ca or verify-full"));
        }
        let certificate_wanted = choice(values, "sslcertmode", &[("disable", false), ("allow", true)])?.unwrap_or(true);
        Ok(TlsSettings {
            mode,
            direct,
            roots: if system {
                Roots::System
            } else {
                Roots::File(NamedFile::resolve(values, "sslrootcert", home, "root.crt"))
            },
            certificate: NamedFile::resolve(values, "sslcert", home, "postgresql.crt").filter(|_| certificate_wanted),
            key: NamedFile::resolve(values, "sslkey", home, "postgresql.key"),
            revocations: NamedFile::resolve(values, "sslcrl", home, "root.crl"),
            send_server_name: choice(values, "sslsni", &[("0", false), ("1", true)])?.unwrap_or(true),
            versions: versions(values)?,
        })
    }

    /// A connector for this mode. Errors are of kind Connection and name the file.
    pub(super) fn connector(&self, mode: SslMode) -> Result<MakeRustlsConnect> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = self.verifier(mode, &provider)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .map_err(|error| failed("cannot set up TLS").because(error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let identity = if mode == SslMode::Disable { None } else { self.identity()? };
        let mut config = match identity {
            Some((chain, key, file)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| failed("cannot use the client certificate and its key").on(file).because(error))?,
            None => builder.with_no_client_auth(),
        };
        config.enable_sni = self.send_server_name;
        if self.direct {
            // Servers refuse a direct TLS start without this protocol name (PostgreSQL documentation, "SSL Session
            // Encryption" in the message flow).
            config.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        Ok(MakeRustlsConnect::new(config))
    }

    fn verifier(&self, mode: SslMode, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
        let check_name = match mode {
            SslMode::Disable | SslMode::Allow | SslMode::Prefer => None,
            // A root file next to sslmode=require has always meant verify-ca (libpq documentation, table of modes).
            SslMode::Require => match &self.roots {
                Roots::File(Some(file)) if file.exists() => Some(false),
                _ => None,
            },
            SslMode::VerifyCa => Some(false),
            SslMode::VerifyFull => Some(true),
        };
        let Some(check_name) = check_name else {
            return Ok(Arc::new(AnyCertificate { provider: Arc::clone(provider) }));
        };
        let certificates = self.trusted()?;
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(certificates.iter().cloned());
        if added == 0 {
            return Err(failed("there is no usable certificate to trust").on(self.show_roots()));
        }
        let mut builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        if let Some(file) = self.revocations.as_ref().filter(|file| file.named || file.exists()) {
            let lists = CertificateRevocationListDer::pem_file_iter(&file.path)
                .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
                .map_err(|error| failed("cannot read the revocation list").on(file.show()).because(error))?;
            builder = builder.with_crls(lists);
        }
        let inner =
            builder.build().map_err(|error| failed("cannot set up the verification of the server").because(error))?;
        Ok(Arc::new(TrustedCertificate { inner, pinned: certificates, check_name }))
    }

    /// The certificates to trust.
    fn trusted(&self) -> Result<Vec<CertificateDer<'static>>> {
        let file = match &self.roots {
            Roots::System => {
                let found = rustls_native_certs::load_native_certs();
                for error in &found.errors {
                    tracing::debug!("a system certificate cannot be read: {error}");
                }
                return Ok(found.certs);
            }
            Roots::File(Some(file)) if file.named || file.exists() => file,
            Roots::File(_) => {
                return Err(failed("there is no root certificate to verify the server with")
                    .on(self.show_roots())
                    .hint("give sslrootcert=FILE, or sslrootcert=system for a certificate of a public authority"));
            }
        };
        CertificateDer::pem_file_iter(&file.path)
            .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
            .map_err(|error| failed("cannot read the root certificate").on(file.show()).because(error))
    }

    fn show_roots(&self) -> String {
        match &self.roots {
            Roots::System => "sslrootcert=system".to_owned(),
            Roots::File(Some(file)) => file.show(),
            Roots::File(None) => "~/.postgresql/root.crt".to_owned(),
        }
    }

    /// The client's certificate chain, its key, and the file for messages. `None` without a certificate.
    fn identity(&self) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, String)>> {
        let Some(certificate) = self.certificate.as_ref().filter(|file| file.named || file.exists()) else {
            return Ok(None);
        };
        let chain = CertificateDer::pem_file_iter(&certificate.path)
            .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
            .map_err(|error| failed("cannot read the client certificate").on(certificate.show()).because(error))?;
        let Some(key) = self.key.as_ref() else {
            return Err(failed("the client certificate has no key").on(certificate.show()).hint("give sslkey=FILE"));
        };
        let metadata = std::fs::metadata(&key.path).map_err(|error| {
            failed("cannot read the key of the client certificate")
                .on(key.show())
                .because(error)
                .hint("give sslkey=FILE")
        })?;
        // libpq's rule: private to its owner, or root's and readable by a group.
        let allowed = if metadata.uid() == 0 { 0o740 } else { 0o700 };
        if metadata.mode() & 0o777 & !allowed != 0 {
            return Err(failed("the key of the client certificate is open to others")
                .on(key.show())
                .hint("its mode must be 0600 or less, or 0640 or less if it belongs to root"));
        }
        let key_bytes = PrivateKeyDer::from_pem_file(&key.path).map_err(|error| {
            failed("cannot read the key of the client certificate")
                .on(key.show())
                .because(error)
                .hint("an encrypted key must be decrypted first, with openssl pkey")
        })?;
        Ok(Some((chain, key_bytes, certificate.show())))
    }
}

/// The versions between the two settings; TLS 1.2 is the oldest there is here.
fn versions(values: &Values) -> Result<Vec<&'static SupportedProtocolVersion>> {
    let words = [("TLSv1", 0), ("TLSv1.1", 1), ("TLSv1.2", 2), ("TLSv1.3", 3)];
    let oldest = choice(values, "ssl_min_protocol_version", &words)?.unwrap_or(2);
    let newest = choice(values, "ssl_max_protocol_version", &words)?.unwrap_or(3);
    let versions: Vec<&'static SupportedProtocolVersion> = [(2, &rustls::version::TLS12), (3, &rustls::version::TLS13)]
        .into_iter()
        .filter(|(number, _)| (oldest..=newest).contains(number))
        .map(|(_, version)| version)
        .collect();
    if versions.is_empty() {
        return Err(usage("ssl_min_protocol_version and ssl_max_protocol_version leave neither TLSv1.2 nor TLSv1.3"));
    }
    Ok(versions)
}

fn failed(message: &str) -> Error {
    Error::new(Kind::Connection, message)
}

/// Encrypts without knowing to whom, as `sslmode=require` and weaker ask. The handshake's signature is still checked:
/// SCRAM's channel binding relies on the server having the certificate's key.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Trusts what the roots have signed, and checks the host's name when asked to.
#[derive(Debug)]
struct TrustedCertificate {
    inner: Arc<WebPkiServerVerifier>,
    /// The root certificates themselves: a self-signed server certificate may be its own root.
    pinned: Vec<CertificateDer<'static>>,
    check_name: bool,
}

impl ServerCertVerifier for TrustedCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let verdict = self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verdict {
            // The chain is verified before the name, so only the name is wrong here.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.check_name => Ok(ServerCertVerified::assertion()),
            // `openssl req -x509` makes self-signed certificates that call themselves an authority; webpki wants no
            // authority at the end of a chain, but this very certificate is trusted. Its dates are already checked.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(ref reason)))
                if format!("{reason:?}").contains("CaUsedAsEndEntity")
                    && self.pinned.iter().any(|pinned| pinned.as_ref() == end_entity.as_ref()) =>
            {
                if self.check_name {
                    let certificate = rustls::server::ParsedCertificate::try_from(end_entity)?;
                    rustls::client::verify_server_name(&certificate, server_name)?;
                }
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
