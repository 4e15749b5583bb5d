//! TLS for bots that come over `wss://`, without sockets: the only file of the swarm that names rustls.
//!
//! A [`Server`] is who has to prove its name, and who is believed about it; all bots share one. A [`Tls`] is one bot's side of a
//! session: sealed bytes in, open ones out, and the other way round. It does not know what they mean.

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, Error, RootCertStore};
use std::fmt;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

/// A server that has to prove its name.
#[derive(Clone)]
pub struct Server {
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

/// One bot's side of a session.
pub struct Tls {
    session: ClientConnection,
    /// The server said that nothing more will come.
    peer_closed: bool,
}

impl Server {
    /// The server of this name or address. `ca`: a file with the certificates of those who may vouch for it; without one, those
    /// whom this machine trusts.
    pub fn new(host: &str, ca: Option<&Path>) -> Result<Server, String> {
        let name = ServerName::try_from(host.to_string());
        let name = name.map_err(|_| format!("{host} is no name that a certificate could have"))?;
        Ok(Server::trusting(ca.map_or_else(roots_of_this_machine, roots_in)?, name))
    }

    fn trusting(roots: RootCertStore, name: ServerName<'static>) -> Server {
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Players come from different machines: each bot pays for a handshake of its own, and so does the server.
        config.resumption = Resumption::disabled();
        Server { name, config: Arc::new(config) }
    }

    /// Begins a session, which has something to send.
    pub fn connect(&self) -> Tls {
        let session = ClientConnection::new(Arc::clone(&self.config), self.name.clone());
        let mut session = session.expect("the configuration is the same for all, and complete");
        // What is written is taken out at once; the bound is the swarm's.
        session.set_buffer_limit(None);
        Tls { session, peer_closed: false }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.name.to_str()).finish()
    }
}

impl Tls {
    /// Opens what came from the socket and adds it to `plain`. After an error there is still an alert to send.
    pub fn receive(&mut self, mut sealed: &[u8], plain: &mut Vec<u8>) -> Result<(), String> {
        // RFC 8446, 6.1: what comes after the peer's closure alert is ignored.
        while !sealed.is_empty() && !self.peer_closed {
            self.session.read_tls(&mut sealed).map_err(|error| error.to_string())?;
            let state = self.session.process_new_packets();
            // Ends with `WouldBlock`. What was right before something wrong counts.
            let _ = self.session.reader().read_to_end(plain);
            self.peer_closed = state.map_err(|error| in_words(&error))?.peer_has_closed();
        }
        Ok(())
    }

    /// Seals `plain` and adds it to `sealed`, behind what the session itself has to say. Only when [`Tls::is_open`] may there be any.
    pub fn send(&mut self, plain: &[u8], sealed: &mut Vec<u8>) {
        debug_assert!(plain.is_empty() || self.is_open(), "nothing is sent ahead of the handshake");
        self.session.writer().write_all(plain).expect("there is no limit to what is sealed");
        while self.session.wants_write() {
            self.session.write_tls(sealed).expect("memory takes all bytes");
        }
    }

    /// Says that nothing more will be sent (RFC 8446, 6.1).
    pub fn close(&mut self) {
        self.session.send_close_notify();
    }

    /// Whether the server has proved its name, so that it can be talked to.
    pub fn is_open(&self) -> bool {
        !self.session.is_handshaking()
    }

    /// Whether the server said that nothing more will come.
    pub fn has_peer_closed(&self) -> bool {
        self.peer_closed
    }
}

fn roots_in(file: &Path) -> Result<RootCertStore, String> {
    let wrong = |what: &dyn fmt::Display| format!("--ca {}: {what}", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))? {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        roots.add(certificate).map_err(|error| wrong(&in_words(&error)))?;
    }
    if roots.is_empty() {
        return Err(wrong(&"it has no certificate in PEM form"));
    }
    Ok(roots)
}

fn roots_of_this_machine() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    // Old ones that nobody can read are no reason not to try the others.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let remedy = "install them (apt install ca-certificates) or name a file with --ca FILE";
        return Err(format!("this machine has no certificates of whom to trust: {remedy}"));
    }
    Ok(roots)
}

/// What is wrong, and what to do about it.
fn in_words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => format!("the server's certificate {}", about_certificate(error)),
        Error::InvalidMessage(_) => "the server does not speak TLS there: is it ws://?".to_string(),
        Error::AlertReceived(alert) => format!("the server refuses TLS with us: {alert:?}"),
        error => format!("TLS: {error}"),
    }
}

fn about_certificate(error: &CertificateError) -> String {
    match error {
        // Signed by nobody we know, or by a namesake of somebody we know.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "is from nobody who is trusted here: name its CA with --ca FILE (a self-signed one is its own)"
                .to_string()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names =
                presented.iter().take(NAMES_TOLD_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
            format!("is not for {}, but for {names}: connect to a name that is in it", expected.to_str())
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired".to_string(),
        // The verifier's own word, which has no variant here.
        CertificateError::Other(other) if other.to_string() == "CaUsedAsEndEntity" => {
            "is a CA's own, which no server may show: make it with basicConstraints=critical,CA:FALSE"
                .to_string()
        }
        error => format!("is not accepted: {error}"),
    }
}

/// Some certificates have hundreds.
const NAMES_TOLD_MAX: usize = 3;

#[cfg(test)]
mod tests;
