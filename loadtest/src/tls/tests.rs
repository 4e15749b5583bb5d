//! A bot's link against a TLS server that the test plays: rustls in the other role, without sockets.

use super::*;
use crate::link::{Link, Route};
use crate::tunnel::Tunnel;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::{HandshakeKind, ServerConfig, ServerConnection, SupportedProtocolVersion, version};

/// Somebody who vouches for servers.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Authority {
        Authority::called("somebody")
    }

    fn called(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Bots that want to talk to `name`, and believe us.
    fn server(&self, name: &str) -> Server {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        Server::trusting(roots, ServerName::try_from(name.to_string()).unwrap())
    }

    /// A server with a certificate of ours.
    fn config(
        &self,
        params: CertificateParams,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        config(certificate.der().clone(), key, versions)
    }
}

fn config(
    certificate: CertificateDer<'static>,
    key: KeyPair,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_protocol_versions(versions).with_no_client_auth();
    let mut config = config.with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

fn named(names: &[&str]) -> CertificateParams {
    CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
}

/// A link and its server, and what each has heard.
struct Play {
    link: Link,
    server: ServerConnection,
    /// On the way to the server.
    sealed: Vec<u8>,
    heard: Vec<u8>,
    server_heard: Vec<u8>,
    /// How many bytes of the server arrive at a time.
    piece: usize,
}

impl Play {
    fn new(tls: Server, config: &Arc<ServerConfig>, piece: usize) -> Play {
        let mut sealed = Vec::new();
        let link = Route { tunnel_to: None, tls: Some(tls) }.begin(&mut sealed).unwrap();
        let server = ServerConnection::new(Arc::clone(config)).unwrap();
        Play { link: *link, server, sealed, heard: vec![], server_heard: vec![], piece }
    }

    /// Until nobody has anything to say.
    fn settle(&mut self) -> Result<(), String> {
        loop {
            self.serve();
            let mut said = Vec::new();
            while self.server.wants_write() {
                self.server.write_tls(&mut said).unwrap();
            }
            if said.is_empty() {
                return Ok(());
            }
            for piece in said.chunks(self.piece) {
                let result = self.link.receive(piece, &mut self.heard);
                self.link.send(&[], &mut self.sealed);
                if result.is_err() {
                    self.serve();
                }
                result?;
            }
        }
    }

    /// The server takes what is on its way.
    fn serve(&mut self) {
        let mut rest = &self.sealed[..];
        while !rest.is_empty() {
            self.server.read_tls(&mut rest).unwrap();
            let _ = self.server.process_new_packets();
            let _ = self.server.reader().read_to_end(&mut self.server_heard);
        }
        self.sealed.clear();
    }
}

/// How it ends when a bot that wants `name` meets this server.
fn refusal(tls: Server, config: &Arc<ServerConfig>) -> String {
    let mut play = Play::new(tls, config, 1000);
    let error = play.settle().unwrap_err();
    assert!(!play.link.is_open() && play.server.is_handshaking());
    error
}

const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];

#[test]
fn bytes_go_both_ways_however_they_are_cut_and_in_both_versions() {
    let authority = Authority::new();
    for (versions, used) in
        [(BOTH, rustls::ProtocolVersion::TLSv1_3), (&[&version::TLS12], rustls::ProtocolVersion::TLSv1_2)]
    {
        let config = authority.config(named(&["localhost"]), versions);
        for piece in [1, 2, 3, 5, 100, 1000, 1 << 20] {
            let mut play = Play::new(authority.server("localhost"), &config, piece);
            assert_eq!(play.link.place(), Some("in the TLS handshake"));
            play.settle().unwrap();
            assert_eq!(play.link.place(), None);
            assert_eq!(play.server.protocol_version(), Some(used));
            // Longer than a record.
            let words: Vec<u8> = (0..40_000u32).map(|number| number as u8).collect();
            play.link.send(&words, &mut play.sealed);
            play.server.writer().write_all(&words[1..]).unwrap();
            play.settle().unwrap();
            assert!(play.server_heard == words && play.heard == words[1..], "in pieces of {piece}");
        }
    }
}

#[test]
fn the_server_learns_the_name_and_the_protocol_and_each_bot_pays_for_its_handshake() {
    let authority = Authority::new();
    let config = authority.config(named(&["localhost", "127.0.0.1", "::1"]), BOTH);
    for (name, told) in [("localhost", Some("localhost")), ("127.0.0.1", None), ("::1", None)] {
        let tls = authority.server(name);
        for _ in 0..2 {
            let mut play = Play::new(tls.clone(), &config, 1000);
            play.settle().unwrap();
            // RFC 6066, 3: an address is not told as a name.
            assert_eq!(play.server.server_name(), told);
            assert_eq!(play.server.alpn_protocol(), Some(&b"http/1.1"[..]));
            assert_eq!(play.server.handshake_kind(), Some(HandshakeKind::Full));
        }
    }
}

#[test]
fn a_server_that_does_not_prove_its_name_is_left_with_the_reason() {
    let authority = Authority::new();
    let local = authority.config(named(&["localhost"]), BOTH);
    // Also when the other one has the same name, as after making all certificates anew.
    for other in ["somebody", "somebody else"] {
        let nobody = refusal(Authority::called(other).server("localhost"), &local);
        assert!(
            nobody.starts_with(
                "the server's certificate is from nobody who is trusted here: name its CA with --ca FILE"
            ),
            "{nobody}"
        );
    }

    let wrong = refusal(authority.server("127.0.0.1"), &local);
    let other = "the server's certificate is not for 127.0.0.1, but for DnsName(\"localhost\"): connect to a name that is in it";
    assert_eq!(wrong, other);

    let mut old = named(&["localhost"]);
    (old.not_before, old.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    let expired = refusal(authority.server("localhost"), &authority.config(old, BOTH));
    assert_eq!(expired, "the server's certificate has expired");

    let mut ca = named(&["localhost"]);
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let shown = refusal(authority.server("localhost"), &authority.config(ca, BOTH));
    assert!(shown.ends_with("make it with basicConstraints=critical,CA:FALSE"), "{shown}");
}

#[test]
fn a_self_signed_certificate_is_its_own_ca() {
    let key = KeyPair::generate().unwrap();
    let certificate = named(&["localhost"]).self_signed(&key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let tls = Server::trusting(roots, ServerName::try_from("localhost").unwrap());
    Play::new(tls, &config(certificate.der().clone(), key, BOTH), 1000).settle().unwrap();
}

#[test]
fn a_server_that_does_not_speak_tls_is_told_from_one_that_refuses() {
    let authority = Authority::new();
    let tls = authority.server("localhost");
    let meet = |bytes: &[u8]| {
        let mut link = Route { tunnel_to: None, tls: Some(tls.clone()) }.begin(&mut Vec::new()).unwrap();
        link.receive(bytes, &mut Vec::new())
    };
    let plain = meet(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap_err();
    assert_eq!(plain, "the server does not speak TLS there: is it ws://?");
    // RFC 8446, 6.2: a fatal alert, handshake_failure.
    let alert = meet(&[21, 3, 3, 0, 2, 2, 40]).unwrap_err();
    assert_eq!(alert, "the server refuses TLS with us: HandshakeFailure");
}

#[test]
fn noise_after_the_handshake_ends_the_link_and_what_came_before_it_counts() {
    let authority = Authority::new();
    let config = authority.config(named(&["localhost"]), BOTH);
    let mut play = Play::new(authority.server("localhost"), &config, 1000);
    play.settle().unwrap();
    play.server.writer().write_all(b"before").unwrap();
    let mut said = Vec::new();
    play.server.write_tls(&mut said).unwrap();
    said.extend_from_slice(&[23, 3, 3, 0, 20]);
    said.extend_from_slice(&[7; 20]);
    assert!(play.link.receive(&said, &mut play.heard).is_err());
    assert_eq!(play.heard, b"before");
}

#[test]
fn nothing_is_heard_after_the_servers_good_bye_and_ours_follows() {
    let authority = Authority::new();
    let config = authority.config(named(&["localhost"]), BOTH);
    let mut play = Play::new(authority.server("localhost"), &config, 1000);
    play.settle().unwrap();
    play.server.writer().write_all(b"last").unwrap();
    play.server.send_close_notify();
    let mut said = Vec::new();
    while play.server.wants_write() {
        play.server.write_tls(&mut said).unwrap();
    }
    // More than the session looks at in one go.
    said.extend_from_slice(&b"what nobody sealed".repeat(1000));
    play.link.receive(&said, &mut play.heard).unwrap();
    play.link.receive(b"nor this", &mut play.heard).unwrap();
    assert!(play.link.has_peer_closed());
    assert_eq!(play.heard, b"last");

    play.link.close(&mut play.sealed);
    play.server.read_tls(&mut &play.sealed[..]).unwrap();
    assert!(play.server.process_new_packets().unwrap().peer_has_closed());
}

#[test]
fn who_has_no_tunnel_yet_leaves_without_a_word() {
    let tls = Authority::new().server("localhost");
    let route = Route { tunnel_to: Some("localhost:443".to_string()), tls: Some(tls) };
    let mut link = route.begin(&mut Vec::new()).unwrap();
    link.receive(b"HTTP/1.1 2", &mut Vec::new()).unwrap();
    let mut sealed = Vec::new();
    link.close(&mut sealed);
    assert_eq!(sealed, b"");
}

#[test]
fn a_tunnel_comes_first_and_the_handshake_through_it() {
    let authority = Authority::new();
    let config = authority.config(named(&["localhost"]), BOTH);
    let tls = authority.server("localhost");
    let mut asked = Vec::new();
    let route = Route { tunnel_to: Some("localhost:443".to_string()), tls: Some(tls) };
    let mut link = route.begin(&mut asked).unwrap();
    let mut request = Vec::new();
    Tunnel::write_request("localhost:443", &mut request);
    assert_eq!(asked, request);
    link.send(&[], &mut asked);
    assert_eq!((asked.len(), link.place()), (request.len(), Some("before the proxy's answer")));

    link.receive(b"HTTP/1.1 200 OK\r\n\r\n", &mut Vec::new()).unwrap();
    assert_eq!(link.place(), Some("in the TLS handshake"));
    let mut sealed = Vec::new();
    link.send(&[], &mut sealed);
    let server = ServerConnection::new(config).unwrap();
    let mut play = Play { link: *link, server, sealed, heard: vec![], server_heard: vec![], piece: 10 };
    play.settle().unwrap();
    assert!(play.link.is_open());
}
