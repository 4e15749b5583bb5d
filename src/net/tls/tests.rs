//! A client of the same library on the other side, and the bytes between them cut and changed.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::crypto::cipher::OutboundPlainMessage;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, ConnectionTrafficSecrets, ContentType, DigitallySignedStruct,
    ExtractedSecrets, ProtocolVersion, SignatureScheme, SupportedProtocolVersion,
};

use super::*;

/// Takes any certificate: what is tested here is the bytes.
#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer,
        _: &[CertificateDer],
        _: &ServerName,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

pub fn identity(test: &str) -> Identity {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/tmp").join(test);
    std::fs::create_dir_all(&directory).unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    Identity::load(&certificate, &key).unwrap()
}

pub fn client(version: &'static SupportedProtocolVersion, alpn: &[&str]) -> ClientConnection {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting))
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap()
}

/// A server's side with the buffers that a transport lends it.
struct Server {
    tls: Box<Tls>,
    buffer: Vec<u8>,
    plain: Vec<u8>,
    wire: Vec<u8>,
}

impl Server {
    fn new(identity: &Identity) -> Server {
        Server { tls: identity.meet(), buffer: vec![0; 64 * 1024], plain: vec![], wire: vec![] }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<Opened, TlsError> {
        let kept = self.tls.unkeep(&mut self.buffer);
        let end = kept + bytes.len();
        self.buffer[kept..end].copy_from_slice(bytes);
        self.tls.open(&mut self.buffer[..end], &mut self.plain, &mut self.wire)
    }
}

/// What a client has to send now.
pub fn flight(client: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = vec![];
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// Gives a client what a server has to send, and returns what it read in it.
fn answer(server: &mut Server, client: &mut ClientConnection) -> Vec<u8> {
    read(client, &std::mem::take(&mut server.wire))
}

/// Gives a client bytes from the wire, and returns what it read in them.
pub fn read(client: &mut ClientConnection, mut rest: &[u8]) -> Vec<u8> {
    let mut read = vec![];
    while !rest.is_empty() {
        client.read_tls(&mut rest).unwrap();
        client.process_new_packets().unwrap();
        let _ = client.reader().read_to_end(&mut read);
    }
    read
}

/// Both sides after their handshake.
fn connected(version: &'static SupportedProtocolVersion, identity: &Identity) -> (Server, ClientConnection) {
    let (mut server, mut client) = (Server::new(identity), client(version, &["http/1.1"]));
    while server.tls.is_handshaking() {
        assert_eq!(server.take(&flight(&mut client)), Ok(Opened::Goes));
        answer(&mut server, &mut client);
    }
    (server, client)
}

#[test]
fn a_handshake_and_a_message_arrive_cut_at_any_byte() {
    let identity = identity("tls-splits");
    for version in [&TLS12, &TLS13] {
        let mut cut = 0;
        loop {
            let (mut server, mut client) = (Server::new(&identity), client(version, &["http/1.1"]));
            client.writer().write_all(b"hello").unwrap();
            let (mut came, mut was_cut) = (0, false);
            while server.plain.is_empty() {
                let bytes = flight(&mut client);
                assert!(!bytes.is_empty(), "{version:?}, cut at {cut}: nobody says anything");
                let (first, second) = bytes.split_at(bytes.len().min(cut.max(came) - came));
                came += bytes.len();
                was_cut |= !second.is_empty();
                for part in [first, second] {
                    assert_eq!(server.take(part), Ok(Opened::Goes), "{version:?}, cut at {cut}");
                }
                answer(&mut server, &mut client);
            }
            assert_eq!(server.plain, b"hello", "{version:?}, cut at {cut}");
            assert_eq!(server.tls.kept.capacity(), 0);
            assert_eq!(client.alpn_protocol(), Some(&b"http/1.1"[..]));
            if cut > came {
                break;
            }
            assert!(was_cut || cut == came, "a cut at {cut} of {came}");
            cut += 1;
        }
    }
}

#[test]
fn a_conversation_in_single_bytes_is_the_same() {
    let identity = identity("tls-bytes");
    for version in [&TLS12, &TLS13] {
        let (mut server, mut client) = (Server::new(&identity), client(version, &[]));
        client.writer().write_all(b"hello").unwrap();
        while server.plain.is_empty() {
            for byte in flight(&mut client) {
                assert_eq!(server.take(&[byte]), Ok(Opened::Goes));
            }
            answer(&mut server, &mut client);
        }
        assert_eq!(server.plain, b"hello");
        server.tls.seal(b"and you", &mut server.wire).unwrap();
        assert_eq!(answer(&mut server, &mut client), b"and you");
    }
}

#[test]
fn many_records_that_come_at_once_are_all_opened() {
    let identity = identity("tls-many");
    let (mut server, mut client) = connected(&TLS13, &identity);
    for number in 0..100u8 {
        client.writer().write_all(&[number]).unwrap();
    }
    let bytes = flight(&mut client);
    let (whole, cut) = bytes.split_at(bytes.len() - 1);
    assert_eq!(server.take(whole), Ok(Opened::Goes));
    assert_eq!(server.plain, (0..99).collect::<Vec<u8>>());
    assert_eq!(server.tls.kept.len(), bytes.len() / 100 - 1);
    assert_eq!(server.take(cut), Ok(Opened::Goes));
    assert_eq!(server.plain, (0..100).collect::<Vec<u8>>());
    assert_eq!(server.tls.kept.capacity(), 0);
}

#[test]
fn a_message_is_one_record_if_it_fits() {
    let identity = identity("tls-records");
    for version in [&TLS12, &TLS13] {
        for (len, records) in [(0, 0), (1, 1), (16_384, 1), (16_385, 2), (40_000, 3)] {
            let (mut server, mut client) = connected(version, &identity);
            let message = vec![7; len];
            server.tls.seal(&message, &mut server.wire).unwrap();
            let mut rest = &server.wire[..];
            let mut seen = 0;
            while let [kind, _, _, high, low, body @ ..] = rest {
                assert_eq!(*kind, 23, "application data");
                rest = &body[u16::from_be_bytes([*high, *low]) as usize..];
                seen += 1;
            }
            assert_eq!(seen, records, "{version:?}, {len} bytes");
            assert_eq!(answer(&mut server, &mut client), message);
        }
    }
}

#[test]
fn both_sides_say_goodbye() {
    let identity = identity("tls-goodbye");
    for version in [&TLS12, &TLS13] {
        let (mut server, mut client) = connected(version, &identity);
        client.writer().write_all(b"bye").unwrap();
        client.send_close_notify();
        assert_eq!(server.take(&flight(&mut client)), Ok(Opened::Ended));
        assert_eq!(server.plain, b"bye");
        assert_eq!(server.take(b"what comes now is not read"), Ok(Opened::Ended));

        server.tls.seal(b"bye", &mut server.wire).unwrap();
        server.tls.close(&mut server.wire).unwrap();
        assert_eq!(answer(&mut server, &mut client), b"bye");
        assert!(client.process_new_packets().unwrap().peer_has_closed());
    }
}

#[test]
fn nothing_is_said_before_the_keys_are_there() {
    let identity = identity("tls-early");
    let mut server = Server::new(&identity);
    let mut client = client(&TLS13, &[]);
    let hello = flight(&mut client);
    server.take(&hello[..hello.len() / 2]).unwrap();
    server.tls.seal(b"408", &mut server.wire).unwrap();
    server.tls.close(&mut server.wire).unwrap();
    assert!(server.wire.is_empty());

    // Nor while the client has yet to show that it is the one who said hello.
    server.take(&hello[hello.len() / 2..]).unwrap();
    let answered = server.wire.len();
    assert!(answered > 0);
    server.tls.seal(b"408", &mut server.wire).unwrap();
    server.tls.close(&mut server.wire).unwrap();
    assert_eq!(server.wire.len(), answered);
}

#[test]
fn http_without_tls_is_told_from_noise() {
    let identity = identity("tls-http");
    for (bytes, expected) in [
        (&b"GET / HTTP/1.1\r\n"[..], "HTTP without TLS"),
        (b"P", "HTTP without TLS"),
        (b"\x00\x00\x00\x00\x00\x00", "received corrupt message of type InvalidContentType"),
        (b"get / HTTP/1.1\r\n", "received corrupt message of type InvalidContentType"),
        (b"\x16\x03\x01\xff\xff", "received corrupt message of type MessageTooLarge"),
    ] {
        let mut server = Server::new(&identity);
        let fault = server.take(bytes).unwrap_err();
        assert_eq!(fault.to_string(), expected, "{}", bytes.escape_ascii());
        let is_alert = server.wire.first() == Some(&21);
        assert_eq!(is_alert, fault != TlsError::PlainHttp, "{}", bytes.escape_ascii());
        nothing_more_is_understood_or_said(server);
    }
}

fn nothing_more_is_understood_or_said(mut server: Server) {
    server.wire.clear();
    assert_eq!(server.take(b"more"), Ok(Opened::Ended));
    server.tls.seal(b"more", &mut server.wire).unwrap();
    server.tls.close(&mut server.wire).unwrap();
    assert_eq!((server.wire.len(), server.tls.kept.capacity()), (0, 0));
}

#[test]
fn a_client_that_only_speaks_another_protocol_is_told_so() {
    let identity = identity("tls-alpn");
    let (mut server, mut client) = (Server::new(&identity), client(&TLS13, &["h2"]));
    let fault = server.take(&flight(&mut client)).unwrap_err();
    assert_eq!(fault, TlsError::Broken(rustls::Error::NoApplicationProtocol));
    let mut wire = &std::mem::take(&mut server.wire)[..];
    client.read_tls(&mut wire).unwrap();
    let told = client.process_new_packets().unwrap_err();
    assert_eq!(told, rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol));
    nothing_more_is_understood_or_said(server);
}

#[test]
fn a_forged_record_ends_the_connection_and_what_came_before_it_counts() {
    let identity = identity("tls-forged");
    for version in [&TLS12, &TLS13] {
        let (mut server, mut client) = connected(version, &identity);
        client.writer().write_all(b"true").unwrap();
        let mut bytes = flight(&mut client);
        client.writer().write_all(b"false").unwrap();
        let mut forged = flight(&mut client);
        *forged.last_mut().unwrap() ^= 1;
        // Behind it something that would be a second mistake.
        bytes.extend_from_slice(&forged);
        bytes.extend_from_slice(b"noise");
        assert_eq!(server.take(&bytes), Err(TlsError::Broken(rustls::Error::DecryptError)));
        assert_eq!(server.plain, b"true");
        assert!(!server.wire.is_empty(), "an alert");
        nothing_more_is_understood_or_said(server);
    }
}

#[test]
fn memory_follows_what_came_and_never_what_was_announced() {
    let identity = identity("tls-announced");
    // A record of 16 KiB, and in it a hello of 16 MB.
    let announced = [22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff];
    let mut server = Server::new(&identity);
    assert_eq!(server.take(&announced), Ok(Opened::Goes));
    assert_eq!(server.tls.kept.len(), announced.len());
    assert!(server.tls.kept.capacity() < 64);

    // A hello that never ends, in records of one byte: each has a header to keep as well.
    let mut server = Server::new(&identity);
    server.take(&[22, 3, 1, 0, 4, 1, 0, 0xff, 0xff]).unwrap();
    let mut taken = 0;
    while let Ok(opened) = server.take(&[22, 3, 1, 0, 1, 0]) {
        assert_eq!(opened, Opened::Goes);
        taken += 1;
    }
    assert!(taken * 6 <= TLS_KEPT_BYTES_MAX, "{taken} records");
    nothing_more_is_understood_or_said(server);
}

#[test]
fn keys_are_renewed_when_the_client_wants_it() {
    let identity = identity("tls-renewed");
    let (mut server, mut client) = connected(&TLS13, &identity);
    client.refresh_traffic_keys().unwrap();
    client.writer().write_all(b"with new keys").unwrap();
    for byte in flight(&mut client) {
        assert_eq!(server.take(&[byte]), Ok(Opened::Goes));
        server.tls.seal(b"x", &mut server.wire).unwrap();
        assert_eq!(answer(&mut server, &mut client), b"x");
    }
    assert_eq!(server.plain, b"with new keys");
}

#[test]
fn a_server_speaks_while_half_a_handshake_message_lies_before_it() {
    let identity = identity("tls-half");
    let (mut server, mut client) = connected(&TLS13, &identity);
    // No client sends such a thing, so it is encrypted by hand.
    let suite = client.negotiated_cipher_suite().unwrap().tls13().unwrap();
    server.tls.seal(b"before", &mut server.wire).unwrap();
    assert_eq!(answer(&mut server, &mut client), b"before");
    let ExtractedSecrets { tx: (seq, secrets), .. } = client.dangerous_extract_secrets().unwrap();
    let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else { panic!("another suite") };
    let mut encrypter = suite.aead_alg.encrypter(key, iv);
    let mut record = |payload: &[u8], seq| {
        let (typ, version) = (ContentType::Handshake, ProtocolVersion::TLSv1_2);
        encrypter
            .encrypt(OutboundPlainMessage { typ, version, payload: payload.into() }, seq)
            .unwrap()
            .encode()
    };
    // A key update (RFC 8446, 4.6.3) without its last byte.
    let half = record(&[24, 0, 0, 1], seq);
    assert_eq!(server.take(&half), Ok(Opened::Goes));
    assert_eq!(server.tls.kept.len(), half.len());
    server.tls.seal(b"x", &mut server.wire).unwrap();
    assert_eq!(server.wire.len(), 5 + 1 + 1 + 16);

    assert_eq!(server.take(&record(&[0], seq + 1)), Ok(Opened::Goes));
    assert_eq!(server.tls.kept.capacity(), 0);
    server.tls.close(&mut server.wire).unwrap();
}

#[test]
fn a_secret_is_never_printed() {
    let identity = identity("tls-debug");
    let (server, _) = connected(&TLS13, &identity);
    assert_eq!(format!("{:?}", server.tls), "Tls { kept: 0, .. }");
    let shown = format!("{identity:?}");
    assert!(shown.starts_with("Identity { certificate: ") && !shown.contains("key.pem"), "{shown}");
}
