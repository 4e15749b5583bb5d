//! Who gets in from where: addresses, proxies, origins, and what is said to those who do not.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use tickyard::Config;
use tickyard::close_reason::CloseReason;

use crate::common::http::{Answer, answer, dial, upgrade_request};
use crate::common::lab::Lab;
use crate::common::{House, PATIENCE, config, until};

fn lab(config: Config) -> House {
    House::open(config, |server| server.game("lab", |_| Lab::default()))
}

/// Limits hold here although everybody is on loopback.
fn limited(connections_per_address_max: usize) -> Config {
    Config { limit_loopback: true, connections_per_address_max, ..config() }
}

/// Connects from another address of this machine.
fn dial_from(from: &str, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let from: IpAddr = from.parse().unwrap();
    socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// What comes back up to the end of a head.
fn head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Upgrades, with further header lines, behind `preface`.
fn upgrade(mut stream: TcpStream, house: &House, preface: &[u8], lines: &str) -> (String, TcpStream) {
    let request = upgrade_request(house.address(), "/play");
    let request = request.replace("\r\n\r\n", &format!("\r\n{lines}\r\n"));
    stream.write_all(&[preface, request.as_bytes()].concat()).unwrap();
    let head = head(&mut stream);
    (head.split(' ').nth(1).unwrap().to_owned(), stream)
}

fn is_told_to_come_again(answer: &Answer, words: &str) {
    let body = str::from_utf8(&answer.body).unwrap();
    assert_eq!((answer.status, answer.header("Retry-After")), (503, Some("5")));
    assert_eq!(answer.header("Content-Length").unwrap(), answer.body.len().to_string());
    assert!(body.starts_with("503 Service Unavailable: ") && body.contains(words), "{body}");
}

#[test]
fn one_address_has_so_many_connections_and_the_next_has_its_own() {
    for io_threads in [1, 3] {
        let house = lab(Config { io_threads, ..limited(2) });
        let closes = &house.metrics().closes;
        let first = dial_from("127.0.0.2", house.address());
        let _second = dial_from("127.0.0.2", house.address());
        until("both are there", || house.metrics().connections.get() == 2);

        // Whether the request is there already or comes later: the answer is not reset away.
        let mut hasty = dial_from("127.0.0.2", house.address());
        hasty.write_all(upgrade_request(house.address(), "/play").as_bytes()).unwrap();
        is_told_to_come_again(&answer(hasty), "your address has as many connections");
        let mut late = dial_from("127.0.0.2", house.address());
        let head = head(&mut late);
        // Were the socket closed, the first byte would bring a reset and the second one an error.
        late.set_nodelay(true).unwrap();
        for byte in upgrade_request(house.address(), "/play").as_bytes().chunks(1) {
            late.write_all(byte).unwrap();
        }
        let mut body = String::new();
        late.read_to_string(&mut body).unwrap();
        assert!(head.starts_with("HTTP/1.1 503 ") && body.contains("your address"), "{head}{body}");
        drop(late);
        until("they are counted", || closes.get(CloseReason::AddressLimit) == 2);
        assert_eq!(house.metrics().connections.get(), 2);

        let (status, other) = upgrade(dial_from("127.0.0.3", house.address()), &house, b"", "");
        assert_eq!(status, "101");
        drop(first);
        until("there is room", || house.metrics().connections.get() == 2);
        let (status, _third) = upgrade(dial_from("127.0.0.2", house.address()), &house, b"", "");
        assert_eq!(status, "101");
        drop(other);
    }
}

#[test]
fn this_machine_has_no_limit_unless_it_is_asked_for() {
    let house = lab(Config { connections_per_address_max: 1, ..config() });
    let streams: Vec<TcpStream> = (0..20).map(|_| dial(house.address())).collect();
    until("all are there", || house.metrics().connections.get() == 20);
    drop(streams);
}

#[test]
fn after_a_storm_of_resets_nothing_is_left_of_the_counts() {
    let house = lab(Config { io_threads: 2, ..limited(8) });
    for round in 0..2000 {
        let mut stream = dial_from(&format!("127.0.{}.{}", round % 3, 2 + round % 5), house.address());
        let request = upgrade_request(house.address(), "/play");
        let said = [0, 20, request.len()][round % 3];
        let _ = stream.write_all(&request.as_bytes()[..said]);
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
    let metrics = house.metrics();
    let ended = || CloseReason::ALL.iter().map(|&reason| metrics.closes.get(reason)).sum::<u64>();
    until("everybody is gone", || metrics.connections.get() == 0 && ended() == 2000);
    assert_eq!(metrics.connections_accepted.get(), 2000);

    // Had one count leaked, one of these would be turned away.
    for host in 2..7 {
        let from = format!("127.0.0.{host}");
        let all: Vec<_> = (0..8)
            .map(|_| upgrade(dial_from(&from, house.address()), &house, b"", ""))
            .map(|(status, stream)| {
                assert_eq!(status, "101", "{from}");
                stream
            })
            .collect();
        let one_more = dial_from(&from, house.address());
        is_told_to_come_again(&answer(one_more), "your address");
        drop(all);
    }
}

#[test]
fn who_is_turned_away_in_a_crowd_is_answered_too() {
    let house = lab(Config { connections_max: 1, ..config() });
    let _resident = dial(house.address());
    until("it is there", || house.metrics().connections.get() == 1);
    // More than may wait to be read: the others are answered in passing.
    let crowd: Vec<TcpStream> = (0..300).map(|_| dial(house.address())).collect();
    for stream in crowd {
        is_told_to_come_again(&answer(stream), "the server is full");
    }
    until("they are counted", || house.metrics().closes.get(CloseReason::Full) == 300);
    assert_eq!(house.metrics().connections.get(), 1);
}

#[test]
fn behind_a_trusted_proxy_clients_count_and_the_proxy_does_not() {
    let house = lab(Config { trusted_proxies: vec!["127.0.0.2/32".parse().unwrap()], ..limited(1) });
    let by_proxy = |lines: &str| upgrade(dial_from("127.0.0.2", house.address()), &house, b"", lines);
    let (first, _first) = by_proxy("X-Forwarded-For: 1.1.1.1, 192.0.2.1\r\n");
    let (second, _second) = by_proxy("X-Forwarded-For: 192.0.2.2:1234\r\n");
    let (third, _third) = by_proxy("X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-For: 192.0.2.1\r\n");
    assert_eq!([first.as_str(), &second, &third], ["101", "101", "503"]);
    let (sixth_network, _a) = by_proxy("X-Forwarded-For: 2001:db8::1\r\n");
    let (same_network, _b) = by_proxy("X-Forwarded-For: [2001:db8::2]:80\r\n");
    assert_eq!([sixth_network.as_str(), &same_network], ["101", "503"]);

    // From nobody else: these are all of 127.0.0.3.
    let by_stranger = |lines: &str| upgrade(dial_from("127.0.0.3", house.address()), &house, b"", lines);
    let (status, _stranger) = by_stranger("X-Forwarded-For: 192.0.2.7\r\n");
    assert_eq!(status, "101");
    let refused = dial_from("127.0.0.3", house.address());
    is_told_to_come_again(&answer(refused), "your address");
}

#[test]
fn a_proxy_header_says_whose_connection_it_is_wherever_it_is_cut() {
    let house = lab(Config { trusted_proxies: vec!["127.0.0.2/32".parse().unwrap()], ..limited(1) });
    let line = b"PROXY TCP4 192.0.2.1 192.0.2.9 56324 443\r\n".as_slice();
    let block =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xc0\0\x02\x01\xc0\0\x02\x09\xdc\x04\x01\xbb\x04\0\0".as_slice();
    for header in [line, block] {
        let (status, first) = upgrade(dial_from("127.0.0.2", house.address()), &house, header, "");
        assert_eq!(status, "101");
        // The same client again, before it has asked for anything, and whatever it writes into its request.
        let mut second = dial_from("127.0.0.2", house.address());
        second.write_all(header).unwrap();
        is_told_to_come_again(&answer(second), "your address");
        drop(first);
        until("it is gone", || house.metrics().connections.get() == 0);
    }
    for header in [line, block] {
        for cut in [1, 6, 12, 13, header.len() - 1] {
            let mut stream = dial_from("127.0.0.2", house.address());
            stream.set_nodelay(true).unwrap();
            stream.write_all(&header[..cut]).unwrap();
            let (status, stream) =
                upgrade(stream, &house, &header[cut..], "X-Forwarded-For: 192.0.2.200\r\n");
            assert_eq!(status, "101", "cut at {cut}");
            drop(stream);
            until("it is gone", || house.metrics().connections.get() == 0);
        }
    }
    // Without a header, with one that names nobody, and from the proxy itself.
    for header in [&b""[..], b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        for _ in 0..3 {
            let (status, _stream) = upgrade(dial_from("127.0.0.2", house.address()), &house, header, "");
            assert_eq!(status, "101", "a proxy has no limit");
        }
    }
}

#[cfg(feature = "tls")]
#[test]
fn over_tls_a_proxy_header_comes_before_the_handshake_and_a_refusal_after_it() {
    use crate::common::tls::Certificate;
    use rustls::version::{TLS12, TLS13};

    let certificate = Certificate::new("tls-addresses");
    let trusted_proxies = vec!["127.0.0.2/32".parse().unwrap()];
    let house = lab(certificate.configure(Config { trusted_proxies, ..limited(1) }));
    let closes = &house.metrics().closes;
    let header = b"PROXY TCP4 192.0.2.1 192.0.2.9 56324 443\r\n";
    for version in [&TLS13, &TLS12] {
        let ask = |from: &str, header: &[u8]| {
            let mut tcp = dial_from(from, house.address());
            tcp.write_all(header).unwrap();
            let mut stream = certificate.over(tcp, &[version]);
            let request = upgrade_request(house.address(), "/play");
            stream.write_all(request.as_bytes()).unwrap();
            (head(&mut stream).split(' ').nth(1).unwrap().to_owned(), stream)
        };
        let (first, client) = ask("127.0.0.2", header);
        let (second, refused) = ask("127.0.0.2", header);
        let (third, stranger) = ask("127.0.0.3", b"");
        let (fourth, of_stranger) = ask("127.0.0.3", b"");
        assert_eq!([first.as_str(), &second, &third, &fourth], ["101", "503", "101", "503"]);
        drop((client, refused, stranger, of_stranger));
        until("nobody is there", || house.metrics().connections.get() == 0);
    }
    until("they are counted", || closes.get(CloseReason::AddressLimit) == 4);
}

#[test]
fn a_broken_proxy_header_is_dropped_and_a_strangers_is_a_bad_request() {
    let house = lab(Config { trusted_proxies: vec!["127.0.0.2/32".parse().unwrap()], ..limited(9) });
    let closes = &house.metrics().closes;
    let said = |from: &str, bytes: &[u8]| {
        let mut stream = dial_from(from, house.address());
        stream.write_all(bytes).unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).unwrap();
        heard
    };
    let long = [b"PROXY ".as_slice(), &[b'x'; 101]].concat();
    let announced = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff";
    for bytes in [b"PROXY TCP4 \r\n".as_slice(), &long, announced] {
        assert_eq!(said("127.0.0.2", bytes), "");
    }
    until("they are counted", || closes.get(CloseReason::BadProxyHeader) == 3);

    let line =
        said("127.0.0.3", b"PROXY TCP4 192.0.2.1 192.0.2.9 56324 443\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(line.starts_with("HTTP/1.1 400 "), "{line}");
    assert_eq!(said("127.0.0.3", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"), "");
    until("they are counted", || {
        [CloseReason::BadRequest, CloseReason::NotHttp].map(|why| closes.get(why)) == [1, 1]
    });
}

#[test]
fn a_trusted_proxy_says_which_page_may_connect() {
    let house = lab(Config { trusted_proxies: vec!["127.0.0.2/32".parse().unwrap()], ..config() });
    let status = |from: &str, lines: &str| {
        let lines = format!("Origin: https://game.example\r\n{lines}");
        upgrade(dial_from(from, house.address()), &house, b"", &lines).0
    };
    let forwarded = "X-Forwarded-Host: game.example\r\nX-Forwarded-Proto: https\r\n";
    assert_eq!(status("127.0.0.2", forwarded), "101");
    assert_eq!(status("127.0.0.2", "X-Forwarded-Host: other.example\r\n"), "403");
    assert_eq!(status("127.0.0.2", ""), "403");
    assert_eq!(status("127.0.0.3", forwarded), "403");
    until("they are counted", || house.metrics().closes.get(CloseReason::ForbiddenOrigin) == 3);
}

#[test]
fn any_page_may_connect_only_if_that_is_asked_for() {
    for (allowed, origin, expected) in [
        (vec![], "http://localhost:5173", "101"),
        (vec![], "https://evil.example", "403"),
        (vec![], "null", "403"),
        (vec!["https://game.example"], "https://game.example", "101"),
        (vec!["https://game.example"], "http://localhost:5173", "403"),
        (vec!["*"], "https://evil.example", "101"),
        (vec!["*"], "null", "101"),
    ] {
        let allow_origin = allowed.iter().map(|origin| origin.to_string()).collect();
        let house = lab(Config { allow_origin, ..config() });
        let (status, _) = upgrade(dial(house.address()), &house, b"", &format!("Origin: {origin}\r\n"));
        assert_eq!(status, expected, "{origin} where {allowed:?} may");
    }
}

#[test]
fn each_refusal_is_a_whole_answer_that_says_what_to_do() {
    let house = lab(Config { handshake_timeout: Duration::from_millis(300), ..config() });
    let good = upgrade_request(house.address(), "/play");
    let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(9000));
    let endless = format!("GET / HTTP/1.1\r\nHost: a\r\n{}", "a: b\r\n".repeat(101));
    for (request, status, header, words) in [
        (good.replace("Host", "Hos"), 400, ("Connection", "close"), "no valid request"),
        (
            good.replace("\r\n\r\n", "\r\nOrigin: null\r\n\r\n"),
            403,
            ("Connection", "close"),
            "--allow-origin",
        ),
        (good.replace("/play", "/nothing"), 404, ("Connection", "close"), "/play"),
        (good.replace("GET", "POST"), 405, ("Allow", "GET"), "GET"),
        (good.trim_end().to_owned(), 408, ("Connection", "close"), "in time"),
        (long, 414, ("Connection", "close"), "8192 bytes"),
        (good.replace("Version: 13", "Version: 12"), 426, ("Sec-WebSocket-Version", "13"), "version 13"),
        (good.replace("Upgrade: websocket\r\n", ""), 426, ("Upgrade", "websocket"), "ws://"),
        (endless, 431, ("Connection", "close"), "100 header fields"),
        (good.replace("HTTP/1.1", "HTTP/1.0"), 505, ("Connection", "close"), "HTTP/1.1"),
    ] {
        let mut stream = dial(house.address());
        stream.write_all(request.as_bytes()).unwrap();
        let answer = answer(stream);
        let body = str::from_utf8(&answer.body).unwrap();
        assert_eq!(answer.status, status, "{request:?}");
        assert_eq!(answer.header("Content-Length").unwrap(), body.len().to_string());
        assert_eq!(answer.header("Content-Type"), Some("text/plain; charset=utf-8"));
        assert_eq!(
            answer.header(header.0).map(|value| value.split(',').next().unwrap()),
            Some(header.1),
            "{status}"
        );
        assert!(body.starts_with(&status.to_string()) && body.contains(words), "{body}");
    }
}
