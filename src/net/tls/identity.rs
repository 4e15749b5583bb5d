//! The certificate and key with which this server meets its peers.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, UnbufferedServerConnection};
use rustls::version::{TLS12, TLS13};
use rustls::{InconsistentKeys, ServerConfig};

use super::Tls;
use super::expiry::not_after;
use crate::error::Error;

/// A certificate chain and its key, from two files that can be read again while the server runs.
pub struct Identity {
    certificate: PathBuf,
    key: PathBuf,
    current: Mutex<Current>,
}

#[derive(Clone)]
struct Current {
    config: Arc<ServerConfig>,
    expires: Option<i64>,
}

impl Identity {
    /// Reads both files.
    pub fn load(certificate: &Path, key: &Path) -> Result<Identity, Error> {
        let current = Mutex::new(configure(certificate, key)?);
        Ok(Identity { certificate: certificate.to_owned(), key: key.to_owned(), current })
    }

    /// Reads both files again, for the connections to come. If they cannot be used, what was read before stays.
    pub fn reload(&self) -> Result<(), Error> {
        let fresh = configure(&self.certificate, &self.key)?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// When the certificate runs out, in seconds since 1970.
    pub fn expires(&self) -> Option<i64> {
        self.current().expires
    }

    /// For a new connection.
    pub fn meet(&self) -> Box<Tls> {
        let connection = UnbufferedServerConnection::new(self.current().config);
        Box::new(Tls::new(connection.expect("rustls refuses only fragment sizes, and none is set")))
    }

    fn current(&self) -> Current {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

fn configure(certificate: &Path, key: &Path) -> Result<Current, Error> {
    let chain = read_chain(certificate)?;
    let expires = chain.first().and_then(|own| not_after(own));
    let secret = read_key(key)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
        .map_err(|error| mismatch(certificate, key, error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    // Ours first, as auditors ask for. All suites are good, and a phone without AES in hardware has little to decrypt.
    config.ignore_client_order = true;
    Ok(Current { config: Arc::new(config), expires })
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = read(CERTIFICATE, path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(wrong(
            CERTIFICATE,
            path,
            "there is no certificate in it; it has to be PEM: -----BEGIN CERTIFICATE-----",
        )),
        Err(_) => Err(wrong(CERTIFICATE, path, "it is broken PEM")),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    use rustls::pki_types::pem::Error as Pem;
    let pem = read(KEY, path)?;
    // What the library says of broken PEM quotes it, and this is the secret.
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
        let encrypted = pem.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED);
        match error {
            // The old way says so in a header of the PEM, which then cannot be read.
            _ if encrypted => wrong(KEY, path, "the key is encrypted; it has to be without a passphrase"),
            Pem::NoItemsFound => wrong(
                KEY,
                path,
                "there is no private key in it; it has to be PEM: -----BEGIN PRIVATE KEY-----",
            ),
            _ => wrong(KEY, path, "it is broken PEM"),
        }
    })
}

fn mismatch(certificate: &Path, key: &Path, error: rustls::Error) -> Error {
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => Error::Config(format!(
            "{KEY} {}: this key does not belong to the certificate in {}",
            key.display(),
            certificate.display()
        )),
        rustls::Error::InvalidCertificate(why) => {
            wrong(CERTIFICATE, certificate, &format!("the certificate cannot be used: {why}"))
        }
        rustls::Error::General(why) => wrong(KEY, key, &format!("the key cannot be used: {why}")),
        why => wrong(KEY, key, &format!("the key cannot be used: {why}")),
    }
}

fn read(flag: &str, path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 > FILE_BYTES_MAX => Err(wrong(flag, path, "it is larger than 1 MiB")),
        Ok(_) => Ok(bytes),
        Err(error) => Err(wrong(flag, path, &format!("cannot read it: {error}"))),
    }
}

fn wrong(flag: &str, path: &Path, why: &str) -> Error {
    Error::Config(format!("{flag} {}: {why}", path.display()))
}

const CERTIFICATE: &str = "--tls-cert";
const KEY: &str = "--tls-key";
const ENCRYPTED: &[u8] = b"ENCRYPTED";
/// A chain is a few kilobytes; what is longer is some other file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
