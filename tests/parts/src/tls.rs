//! Certificates for a server and its clients, and a server that asks for them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::cache::temp_folder;
use crate::{Result, Server};

/// The password of every role that has one. A blank and quotes, so that nothing gets by without quoting.
pub const PASSWORD: &str = "it's a \\ secret";

/// A server with TLS on 127.0.0.1, whose certificate is for `localhost` only, and the files of its clients.
///
/// | role | may come |
/// | --- | --- |
/// | `postgres` | as it likes, without a password |
/// | `over_tls` | over TLS, with a password kept as SCRAM |
/// | `with_certificate` | over TLS, with a certificate in its name |
/// | `in_clear` | without TLS, with a password kept as SCRAM |
/// | `with_md5` | as it likes, with a password kept as MD5 |
#[derive(Debug)]
pub struct SecureServer {
    /// The server.
    pub server: Server,
    /// The root that signed the server's certificate.
    pub root: PathBuf,
    /// A root that signed nothing here.
    pub other_root: PathBuf,
    /// The certificate of `with_certificate`.
    pub client_certificate: PathBuf,
    /// Its key, readable by nobody else.
    pub client_key: PathBuf,
    folder: PathBuf,
}

impl SecureServer {
    /// Starts one.
    pub fn start(major: u16) -> Result<Self> {
        let server = Server::own(major)?;
        let folder = temp_folder("tls")?;
        let (root, other) = (Authority::new("pgstow test root")?, Authority::new("another root")?);
        let (certificate, key) = root.sign("server", &["localhost"])?;
        server.write_file("server.crt", &certificate)?;
        server.write_file("server.key", &key)?;
        server.write_file("root.crt", &root.pem)?;
        server.write_file(
            "pg_hba.conf",
            "local all all trust\n\
             host all postgres 127.0.0.1/32 trust\n\
             hostssl all over_tls 127.0.0.1/32 scram-sha-256\n\
             hostssl all with_certificate 127.0.0.1/32 cert\n\
             hostnossl all in_clear 127.0.0.1/32 scram-sha-256\n\
             host all with_md5 127.0.0.1/32 md5\n",
        )?;
        let password = PASSWORD.replace('\'', "''");
        server.execute(
            "postgres",
            &format!(
                "SET password_encryption = 'scram-sha-256';
                 CREATE ROLE over_tls LOGIN PASSWORD '{password}';
                 CREATE ROLE in_clear LOGIN PASSWORD '{password}';
                 CREATE ROLE with_certificate LOGIN;
                 SET password_encryption = 'md5';
                 CREATE ROLE with_md5 LOGIN PASSWORD '{password}'"
            ),
        )?;
        for setting in ["ssl_ca_file = 'root.crt'", "ssl = on"] {
            server.execute("postgres", &format!("ALTER SYSTEM SET {setting}"))?;
        }
        server.execute("postgres", "SELECT pg_reload_conf()")?;
        let write = |name: &str, text: &str| -> Result<PathBuf> {
            let path = folder.join(name);
            fs::write(&path, text)
                .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)))
                .map_err(|error| format!("{}: {error}", path.display()))?;
            Ok(path)
        };
        let (client, client_key) = root.sign("with_certificate", &[])?;
        Ok(SecureServer {
            root: write("root.crt", &root.pem)?,
            other_root: write("other.crt", &other.pem)?,
            client_certificate: write("client.crt", &client)?,
            client_key: write("client.key", &client_key)?,
            server,
            folder,
        })
    }

    /// A folder for more files of the clients, removed with this.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.server.socket().map_or(0, |(_, port)| port)
    }
}

impl Drop for SecureServer {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A root certificate with its key.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Result<Self> {
        let key = KeyPair::generate().map_err(broken)?;
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = parameters.self_signed(&key).map_err(broken)?.pem();
        Ok(Authority { issuer: Issuer::new(parameters, key), pem })
    }

    /// A certificate for this common name and these hosts, and its key, both as PEM.
    fn sign(&self, name: &str, hosts: &[&str]) -> Result<(String, String)> {
        let key = KeyPair::generate().map_err(broken)?;
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut parameters = CertificateParams::new(hosts).map_err(broken)?;
        parameters.distinguished_name.push(DnType::CommonName, name);
        let certificate = parameters.signed_by(&key, &self.issuer).map_err(broken)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands the error over")]
fn broken(error: rcgen::Error) -> String {
    format!("cannot make a certificate: {error}")
}
