//! TLS for clients: certificates of one's own, and streams that trust nobody else.

#![cfg_attr(not(feature = "tls"), allow(dead_code))]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use tickyard::Config;

use super::http::dial;

/// The bytes of a client: as they are, or under TLS.
#[expect(clippy::large_enum_variant, reason = "there is one per client")]
pub enum Wire {
    Plain(TcpStream),
    Tls(Stream),
}

/// A client's side of TLS.
pub type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A certificate and its key in two files of their own.
#[derive(Clone)]
pub struct Certificate {
    pub cert: PathBuf,
    pub key: PathBuf,
    der: CertificateDer<'static>,
}

impl Certificate {
    /// A new one, in files that bear the name of the test.
    pub fn new(test: &str) -> Certificate {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
        std::fs::create_dir_all(&directory).unwrap();
        let (cert, key) = (directory.join("cert.pem"), directory.join("key.pem"));
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let der = CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap();
        Certificate { cert, key, der }
    }

    /// A configuration with it.
    pub fn configure(&self, config: Config) -> Config {
        Config { tls_cert: Some(self.cert.clone()), tls_key: Some(self.key.clone()), ..config }
    }

    /// Whether who connects now is met with it.
    pub fn is_shown_at(&self, address: SocketAddr) -> bool {
        let mut stream = self.connect(address);
        match stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n") {
            Ok(()) => {
                let mut page = String::new();
                stream.read_to_string(&mut page).unwrap();
                page.ends_with("ok\n")
            }
            Err(error) if error.kind() == ErrorKind::InvalidData => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// A stream that trusts this certificate alone; the handshake comes with the first byte.
    pub fn connect(&self, address: SocketAddr) -> Stream {
        self.connect_with(address, &[&TLS13, &TLS12])
    }

    /// The same with these versions only.
    pub fn connect_with(
        &self,
        address: SocketAddr,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Stream {
        self.over(dial(address), versions)
    }

    /// The same over a connection that is there.
    pub fn over(&self, stream: TcpStream, versions: &[&'static SupportedProtocolVersion]) -> Stream {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream)
    }
}

impl Wire {
    /// The socket below.
    pub fn tcp(&mut self) -> &mut TcpStream {
        match self {
            Wire::Plain(stream) => stream,
            Wire::Tls(stream) => &mut stream.sock,
        }
    }
}

impl From<TcpStream> for Wire {
    fn from(stream: TcpStream) -> Wire {
        Wire::Plain(stream)
    }
}

impl From<Stream> for Wire {
    fn from(stream: Stream) -> Wire {
        Wire::Tls(stream)
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.read(buffer),
            Wire::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.write(bytes),
            Wire::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(stream) => stream.flush(),
            Wire::Tls(stream) => stream.flush(),
        }
    }
}
