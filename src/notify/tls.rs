//! TLS towards those who are told: the machine's certificates and those of a file, by ring.

use crate::error::{Error, Kind, Result};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::path::Path;
use std::sync::Arc;

/// What a client trusts.
///
/// Errors: [`Kind::Usage`] for a file that holds no certificates.
pub(super) fn config(certificates: Option<&Path>) -> Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = certificates {
        let unusable = || Error::new(Kind::Usage, "cannot be read as certificates").on(path.display().to_string());
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unusable().because(error))? {
            let certificate = certificate.map_err(|error| unusable().because(error))?;
            roots.add(certificate).map_err(|error| unusable().because(error))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(Kind::Internal, "cannot prepare TLS").because(error))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
