//! What each request is answered, and what the end is counted under.

use super::super::origins::Origins;
use super::super::site::Site;
use super::*;
use crate::addresses::Addresses;
use crate::session::Pulse;
use crate::time::Time;

const START: Time = Time::from_secs(100);

fn site() -> Site {
    const PAGES: &[Page] = &[Page { path: "/", content_type: "text/html", body: b"<p>hello" }];
    Site {
        pages: PAGES,
        echo: true,
        origins: Origins::LOOPBACK,
        addresses: Addresses::new(1, false, vec!["10.0.0.0/8".parse().unwrap()]),
        ..Site::default()
    }
}

/// A session that was just accepted from an address, and what becomes of it.
struct Asking {
    session: Session,
    answer: String,
}

impl Asking {
    fn from(site: &Site, address: &str) -> Asking {
        let socket = std::net::SocketAddr::new(address.parse().unwrap(), 40_000);
        Asking { session: Session::new(START, site.addresses.arrive(socket).unwrap()), answer: String::new() }
    }

    fn with(mut self, site: &Site, deed: impl FnOnce(&mut Session, &mut Turn)) -> Asking {
        let mut out = Vec::new();
        let mut turn = Turn { now: START, site, pulse: Pulse::default(), out: &mut out, cost: 0 };
        deed(&mut self.session, &mut turn);
        self.answer.push_str(&String::from_utf8_lossy(&out));
        self
    }

    fn ask(self, site: &Site, bytes: &[u8]) -> Asking {
        let mut bytes = bytes.to_vec();
        self.with(site, |session, turn| session.handle_bytes(turn, &mut &mut bytes[..]))
    }
}

fn asked(bytes: &[u8]) -> Asking {
    let site = site();
    Asking::from(&site, "192.0.2.1").ask(&site, bytes)
}

fn upgrade(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost:7070\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n{more}\r\n"
    )
}

#[test]
fn every_refusal_has_its_status_its_headers_its_words_and_its_reason() {
    let page = |line: &str, more: &str| format!("{line}\r\nHost: a\r\n{more}\r\n");
    let play = |from: &str, to: &str| {
        let request = upgrade("/play", "");
        assert!(request.contains(from), "{from}");
        request.replacen(from, to, 1)
    };
    let endless = format!("GET / HTTP/1.1\r\nHost: a\r\n{}", "a: b\r\n".repeat(100));
    use CloseReason as Why;
    for (request, status, header, words, reason) in [
        (page("GET /nothing HTTP/1.1", ""), "404 Not Found", "", "players connect to /play", Why::NotFound),
        (page("GET /Play HTTP/1.1", ""), "404 Not Found", "", "players connect", Why::NotFound),
        (
            page("POST / HTTP/1.1", ""),
            "405 Method Not Allowed",
            "Allow: GET, HEAD",
            "GET or HEAD",
            Why::MethodNotAllowed,
        ),
        (page("GET / HTTP/1.1", "Content-Length: 5\r\n"), "400 Bad Request", "", "no body", Why::BadRequest),
        (
            page("GET / HTTP/1.1", "Transfer-Encoding: chunked\r\n"),
            "400 Bad Request",
            "",
            "no body",
            Why::BadRequest,
        ),
        ("GET / HTTP/1.1\r\n\r\n".into(), "400 Bad Request", "", "no valid request", Why::BadRequest),
        (page("GET * HTTP/1.1", ""), "400 Bad Request", "", "no valid request", Why::BadRequest),
        (
            page("GET / HTTP/1.1", "a: b\r\n c\r\n"),
            "400 Bad Request",
            "",
            "no valid request",
            Why::BadRequest,
        ),
        (
            "PROXY TCP4 1.1.1.1 1.1.1.1 1 2\r\n".into(),
            "400 Bad Request",
            "",
            "no valid request",
            Why::BadRequest,
        ),
        (page("GET / HTTP/2.0", ""), "505 HTTP Version Not Supported", "", "HTTP/1.1", Why::BadRequest),
        (format!("GET /{}", "x".repeat(9000)), "414 URI Too Long", "", "8192 bytes", Why::HeadTooLarge),
        (endless, "431 Request Header Fields Too Large", "", "100 header fields", Why::HeadTooLarge),
        (
            page("GET /play HTTP/1.1", ""),
            "426 Upgrade Required",
            "Upgrade: websocket",
            "ws://",
            Why::BadHandshake,
        ),
        (
            play("Version: 13", "Version: 8"),
            "426 Upgrade Required",
            "Sec-WebSocket-Version: 13",
            "version 13",
            Why::BadHandshake,
        ),
        (play("GET", "POST"), "405 Method Not Allowed", "Allow: GET", "GET", Why::BadHandshake),
        (play("HTTP/1.1", "HTTP/1.0"), "505 HTTP Version Not Supported", "", "HTTP/1.1", Why::BadHandshake),
        (
            play("keep-alive, Upgrade", "close"),
            "400 Bad Request",
            "",
            "Connection: Upgrade",
            Why::BadHandshake,
        ),
        (play("dGhl", "dGh"), "400 Bad Request", "", "16 bytes in base64", Why::BadHandshake),
        (play("Host", "Content-Length: 1\r\nHost"), "400 Bad Request", "", "no body", Why::BadHandshake),
        (
            upgrade("/play", "Origin: https://evil.example\r\n"),
            "403 Forbidden",
            "",
            "--allow-origin",
            Why::ForbiddenOrigin,
        ),
        (upgrade("/play", "Origin: null\r\n"), "403 Forbidden", "", "--allow-origin", Why::ForbiddenOrigin),
        (
            upgrade("/echo", "Origin: https://evil.example\r\n"),
            "403 Forbidden",
            "",
            "--allow-origin",
            Why::ForbiddenOrigin,
        ),
    ] {
        let Asking { session, answer } = asked(request.as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{request:?}: {answer:?}"));
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request:?}: {head}");
        assert!(head.contains(header) && head.contains("Connection: close"), "{request:?}: {head}");
        assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())), "{request:?}: {head}");
        assert!(body.starts_with(&format!("{status}: ")) && body.ends_with('\n'), "{request:?}: {body}");
        assert!(body.contains(words) && body.lines().count() == 1, "{request:?}: {body}");
        assert_eq!(session.closing(), Some(reason), "{request:?}");
    }
}

#[test]
fn pages_are_answered_in_both_forms_of_a_target() {
    for target in ["/", "/?x", "http://a", "http://a/", "/healthz", "/%68ealthz", "http://a/healthz?"] {
        let Asking { session, answer } =
            asked(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{target}: {answer}");
        assert!(
            answer.ends_with("\r\n\r\n<p>hello") || answer.ends_with("\r\n\r\nok\n"),
            "{target}: {answer}"
        );
        assert_eq!(session.closing(), Some(CloseReason::HttpDone));
    }
}

#[test]
fn the_answer_to_head_is_the_head_of_the_answer_to_get() {
    for path in ["/", "/healthz", "/nothing"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        let get = asked(request.as_bytes()).answer;
        let head = asked(request.replace("GET", "HEAD").as_bytes()).answer;
        assert_eq!(Some(head.as_str()), get.split_inclusive("\r\n\r\n").next(), "{path}");
    }
}

#[test]
fn what_is_not_http_is_dropped_without_an_answer_and_its_bytes_are_noted() {
    for (bytes, cause) in [
        (&b"\x16\x03\x01\x02\x00"[..], "\\x16\\x03\\x01\\x02\\x00"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "PRI * HTTP/2.0"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21", "\\r\\n\\r\\n\\x00\\r\\nQUIT\\n!"),
        (b"\x1b[31m", "\\x1b[31m"),
    ] {
        let Asking { session, answer } = asked(bytes);
        assert_eq!(answer, "");
        assert_eq!((session.closing(), session.cause()), (Some(CloseReason::NotHttp), Some(cause)));
    }
}

#[test]
fn what_is_noted_of_a_bad_request_is_short_and_holds_no_secret() {
    for (request, cause) in [
        ("GET /play?token=secret HTTP/1.1\r\n\r\n", "GET /play"),
        ("GET http://me:secret@a/ HTTP/1.1\r\n\r\n", "GET http"),
        ("GET / HTTP/1.1\r\nAuthorization: secret\r\n\r\n", "GET / HTTP/1.1"),
        ("Authorization: secret\r\n\r\n", "Authorization"),
        ("G\u{e4}T\r\n\r\n", "G\\xc3\\xa4T"),
    ] {
        assert_eq!(asked(request.as_bytes()).session.cause(), Some(cause), "{request:?}");
    }
    let long = asked(format!("GET /{}\0", "x".repeat(500)).as_bytes());
    assert_eq!(long.session.cause().map(str::len), Some(64));
    assert_eq!(asked(b"GET /nothing?token=secret HTTP/1.1\r\nHost: a\r\n\r\n").session.cause(), None);
}

#[test]
fn what_is_noted_of_a_refused_handshake_is_what_it_lacks() {
    for (request, cause) in [
        ("GET /play HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "this is a WebSocket: "),
        (upgrade("/play", "Sec-WebSocket-Extensions: ;\r\n"), "Sec-WebSocket-Extensions is no list"),
    ] {
        let Asking { session, .. } = asked(request.as_bytes());
        assert_eq!(session.closing(), Some(CloseReason::BadHandshake));
        let said = session.cause().unwrap_or_default();
        assert!(said.starts_with(cause), "{said}");
    }
}

#[test]
fn what_is_noted_of_a_broken_frame_is_which_rule_it_breaks() {
    let Asking { session, .. } = asked(&[upgrade("/echo", "").as_bytes(), b"\x81\x00"].concat());
    assert_eq!(session.closing(), Some(CloseReason::ProtocolError));
    assert_eq!(session.cause(), Some("an unmasked frame from a client"));
}

#[test]
fn pages_that_may_not_connect_are_refused_and_clients_that_are_no_page_pass() {
    let listed = Origins { listed: vec!["https://game.example".into()], ..Origins::default() };
    let any = Origins { any: true, ..Origins::default() };
    for (origins, origin, passes) in [
        (&site().origins, "http://localhost:5173", true),
        (&site().origins, "https://evil.example", false),
        (&Origins::default(), "http://localhost:7070", true),
        (&Origins::default(), "http://localhost:7071", false),
        (&listed, "https://game.example", true),
        (&listed, "https://game.example.evil", false),
        (&any, "null", true),
    ] {
        let site = Site { origins: origins.clone(), ..site() };
        let request = upgrade("/play", &format!("Origin: {origin}\r\n"));
        let answer = Asking::from(&site, "192.0.2.1").ask(&site, request.as_bytes()).answer;
        let status = if passes { "HTTP/1.1 101 " } else { "HTTP/1.1 403 " };
        assert!(answer.starts_with(status), "{origins:?} {origin}");
    }
    assert!(asked(upgrade("/play", "").as_bytes()).answer.starts_with("HTTP/1.1 101 "));
}

#[test]
fn behind_a_proxy_each_client_has_its_own_count() {
    let site = site();
    let forwarded = |client: &str| {
        let request = upgrade("/play", &format!("X-Forwarded-For: {client}\r\n"));
        Asking::from(&site, "10.0.0.1").ask(&site, request.as_bytes())
    };
    let mut first = forwarded("192.0.2.1");
    assert!(first.answer.starts_with("HTTP/1.1 101 "));
    assert_eq!(first.session.peer.to_string(), "192.0.2.1 through 10.0.0.1:40000");
    assert!(forwarded("192.0.2.2").answer.starts_with("HTTP/1.1 101 "));

    let second = forwarded("192.0.2.1");
    assert!(second.answer.starts_with("HTTP/1.1 503 ") && second.answer.contains("\r\nRetry-After: 5\r\n"));
    assert!(second.answer.contains("your address has as many connections open as one may have"));
    assert_eq!(second.session.closing(), Some(CloseReason::AddressLimit));
    site.addresses.leave(&mut first.session.peer);
    assert!(forwarded("192.0.2.1").answer.starts_with("HTTP/1.1 101 "));
}

#[test]
fn who_a_proxy_introduces_is_counted_before_it_asks() {
    let site = site();
    let client = Some("192.0.2.1".parse().unwrap());
    let introduced =
        || Asking::from(&site, "10.0.0.1").with(&site, |session, turn| session.introduced(turn, client));
    let first = introduced();
    assert_eq!((first.answer.as_str(), first.session.closing()), ("", None));
    let second = introduced();
    assert!(second.answer.starts_with("HTTP/1.1 503 "));
    assert_eq!(second.session.closing(), Some(CloseReason::AddressLimit));

    let mut bad = Asking::from(&site, "10.0.0.1");
    bad.session.badly_introduced(b"PROXY \x1b\r\n");
    assert_eq!(
        (bad.session.closing(), bad.session.cause()),
        (Some(CloseReason::BadProxyHeader), Some("PROXY \\x1b\\r\\n"))
    );
}

#[test]
fn who_is_turned_away_is_told_why_and_once() {
    for (reason, words) in [
        (CloseReason::Full, "the server is full"),
        (CloseReason::AddressLimit, "your address"),
        (CloseReason::GoingAway, "the server is going away"),
    ] {
        let site = site();
        let away = Asking::from(&site, "192.0.2.1").with(&site, |session, turn| {
            session.turn_away(turn, reason);
            session.turn_away(turn, reason);
        });
        assert_eq!(away.answer.matches("HTTP/1.1 503 ").count(), 1);
        assert!(away.answer.contains(words) && away.answer.contains("\r\nRetry-After: 5\r\n"));
        assert_eq!(away.session.closing(), Some(reason));
    }
}

#[test]
fn the_origin_that_a_warning_names_can_be_pasted_into_a_shell() {
    for fine in ["https://game.example", "http://[::1]:8080", "app://x"] {
        assert!(is_origin(fine));
    }
    for wrong in [
        "https://a;reboot",
        "https://$(x)",
        "https://a b",
        "https://a'",
        "https://A",
        "null",
        "https://a\u{1b}",
    ] {
        assert!(!is_origin(wrong), "{wrong}");
    }
}
