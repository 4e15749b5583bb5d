//! Which pages may open a WebSocket. A browser sends the origin of the page that wants to; other clients send none and pass.
//!
//! Without this check any page on the web could play, and read, in the name of a visitor who can reach the server
//! (cross-site WebSocket hijacking). While we listen on loopback only, a page from elsewhere may also have let its name point to
//! 127.0.0.1 (DNS rebinding), so there the host that is asked has to be a loopback one as well.

use std::net::IpAddr;

use crate::addresses::Peer;
use crate::http::RequestHead;

/// Which pages may open a WebSocket, beside clients that are no pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    /// Any page of the web, also those without an origin (`null`).
    pub any: bool,
    /// These, as in `https://game.example`.
    pub listed: Vec<String>,
    /// We listen on loopback: pages of this machine may, unless there is a list.
    pub on_loopback: bool,
}

impl Origins {
    /// The pages of this machine.
    pub const LOOPBACK: Origins = Origins { any: false, listed: Vec::new(), on_loopback: true };

    /// Whether a page of this origin may, given the place that it asked for.
    pub fn allow(&self, origin: Option<&str>, asked: &Asked) -> bool {
        let Some(origin) = origin else { return true };
        if self.any {
            return true;
        }
        let Some(origin) = Origin::parse(origin) else { return false };
        if self.listed.iter().filter_map(|listed| Origin::parse(listed)).any(|listed| listed == origin) {
            return true;
        }
        if self.on_loopback && !asked.is_forwarded {
            let asked_loopback = asked.host.and_then(Authority::parse).is_some_and(|host| host.is_loopback());
            let any_port = self.listed.is_empty();
            return asked_loopback && origin.at.is_loopback() && (any_port || asked.is(&origin));
        }
        asked.is(&origin)
    }
}

/// Whether this is an origin just as a browser sends it, and can stand in [`Origins::listed`].
pub fn is_origin(text: &str) -> bool {
    let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    // Not every character that names may have: it may be pasted into a shell.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._:/[]".contains(&byte);
    is_lower && text.bytes().all(is_plain) && Origin::parse(text).is_some()
}

/// The place that a request asks for, as the browser saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    host: Option<&'a str>,
    /// `None`: there may be a proxy that we do not know of.
    scheme: Option<&'static str>,
    /// A trusted proxy passed the request on.
    is_forwarded: bool,
}

impl<'a> Asked<'a> {
    /// What a request says, or what a trusted proxy says of it. A page can add none of those header fields.
    pub fn new(head: &RequestHead<'a>, peer: &Peer) -> Asked<'a> {
        let last = |name| head.headers.list_backwards(name).next();
        let forwarded = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"].map(last);
        if !peer.is_proxy() || forwarded == [None; 3] {
            let scheme = peer.is_secure().then_some("https");
            return Asked { host: head.host, scheme, is_forwarded: false };
        }
        let [_, host, proto] = forwarded;
        Asked { host: host.or(head.host), scheme: proto.and_then(scheme_of), is_forwarded: true }
    }

    /// Whether a page of this origin came from here.
    fn is(&self, origin: &Origin) -> bool {
        let Some(scheme) = scheme_of(origin.scheme) else { return false };
        let Some(here) = self.host.and_then(Authority::parse) else { return false };
        let here = Origin { scheme: self.scheme.unwrap_or(scheme), at: here };
        here == *origin
    }
}

/// The two schemes that pages come by. Some proxies say the WebSocket's.
fn scheme_of(text: &str) -> Option<&'static str> {
    let is = |known: &str| text.eq_ignore_ascii_case(known);
    match () {
        () if is("http") || is("ws") => Some("http"),
        () if is("https") || is("wss") => Some("https"),
        () => None,
    }
}

/// An origin (RFC 6454, 6.2), such as `https://game.example:8443`.
#[derive(Clone, Copy, Debug)]
struct Origin<'a> {
    scheme: &'a str,
    at: Authority<'a>,
}

impl<'a> Origin<'a> {
    fn parse(text: &'a str) -> Option<Origin<'a>> {
        let (scheme, authority) = text.split_once("://")?;
        let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        let at = Authority::parse(authority)?;
        (!scheme.is_empty() && scheme.bytes().all(is_scheme)).then_some(Origin { scheme, at })
    }

    fn port(&self) -> Option<u16> {
        self.at.port.or(match scheme_of(self.scheme) {
            Some("http") => Some(80),
            Some(_) => Some(443),
            None => None,
        })
    }
}

impl PartialEq for Origin<'_> {
    fn eq(&self, other: &Origin) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.at.has_host_of(&other.at)
            && self.port() == other.port()
    }
}

/// A host and perhaps a port.
#[derive(Clone, Copy, Debug)]
struct Authority<'a> {
    /// Without the dot that may end a name, IPv6 without its brackets.
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    fn parse(text: &'a str) -> Option<Authority<'a>> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => rest.split_once(']').filter(|(host, _)| host.contains(':'))?,
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            Some("") => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
            _ => return None,
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:~%!$&'()*+,;=".contains(&byte);
        (!host.is_empty() && host.bytes().all(is_host)).then_some(Authority { host, port })
    }

    fn has_host_of(&self, other: &Authority) -> bool {
        match (self.ip(), other.ip()) {
            (Some(one), Some(another)) => one == another,
            _ => self.host.eq_ignore_ascii_case(other.host),
        }
    }

    /// RFC 6761, 6.3: localhost and the names below it are this machine, in every browser.
    fn is_loopback(&self) -> bool {
        let (below, last) = self.host.rsplit_once('.').unwrap_or(("", self.host));
        let is_name = last.eq_ignore_ascii_case("localhost") && !below.ends_with('.');
        is_name || self.ip().is_some_and(|ip| ip.is_loopback())
    }

    fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok().map(|ip: IpAddr| ip.to_canonical())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(host: &str) -> Asked<'_> {
        Asked { host: Some(host), scheme: None, is_forwarded: false }
    }

    fn listed(list: &[&str]) -> Origins {
        Origins { listed: list.iter().map(|origin| origin.to_string()).collect(), ..Origins::default() }
    }

    #[test]
    fn clients_that_are_no_pages_pass() {
        assert!(Origins::default().allow(None, &asked("game.example")));
        assert!(Origins::LOOPBACK.allow(None, &asked("game.example")));
    }

    #[test]
    fn a_page_from_the_place_that_it_asks_for_passes_however_it_is_written() {
        for (origin, host) in [
            ("https://game.example", "game.example"),
            ("http://game.example", "game.example"),
            ("https://game.example", "game.example:443"),
            ("http://game.example", "game.example:80"),
            ("https://game.example:443", "game.example"),
            ("https://game.example:8443", "game.example:8443"),
            ("https://Game.Example", "gaME.example"),
            ("https://game.example", "game.example."),
            ("https://game.example.", "game.example"),
            ("HTTPS://game.example", "game.example:"),
            ("http://192.0.2.1:7070", "192.0.2.1:7070"),
            ("http://[2001:db8::1]:7070", "[2001:DB8:0:0::1]:7070"),
        ] {
            assert!(Origins::default().allow(Some(origin), &asked(host)), "{origin} asks {host}");
        }
    }

    #[test]
    fn a_page_from_elsewhere_does_not() {
        for (origin, host) in [
            ("https://evil.example", "game.example"),
            ("https://game.example.evil.example", "game.example"),
            ("https://evil.example/game.example", "game.example"),
            ("https://game.example@evil.example", "game.example"),
            ("https://evilgame.example", "game.example"),
            ("https://game.example:8443", "game.example"),
            ("https://game.example", "game.example:8443"),
            ("https://game.example", "game.example:80"),
            ("https://game.example..", "game.example"),
            ("https://[::1", "[::1"),
            ("https://game.example:x", "game.example:x"),
            ("https://game.example:99999", "game.example:99999"),
            ("https://:443", ":443"),
            ("https://", ""),
            ("https://game.example https://evil.example", "game.example"),
            ("app://game.example", "game.example"),
            ("null", "null"),
            ("", ""),
            ("\u{FFFD}", "game.example"),
        ] {
            assert!(!Origins::default().allow(Some(origin), &asked(host)), "{origin} asks {host}");
        }
        let nowhere = Asked { host: None, scheme: None, is_forwarded: false };
        assert!(!Origins::default().allow(Some("https://game.example"), &nowhere));
    }

    #[test]
    fn where_the_scheme_is_known_it_counts() {
        let secure = Asked { scheme: Some("https"), ..asked("game.example") };
        assert!(Origins::default().allow(Some("https://game.example"), &secure));
        assert!(!Origins::default().allow(Some("http://game.example"), &secure));
        assert!(!Origins::default().allow(Some("http://game.example:443"), &secure));
    }

    #[test]
    fn a_listed_origin_passes_whatever_is_asked_and_any_other_does_not() {
        let origins = listed(&["https://game.example", "http://[::1]:80", "app://game"]);
        for origin in ["https://game.example", "https://GAME.example:443", "http://[::1]", "app://game"] {
            assert!(origins.allow(Some(origin), &asked("10.0.0.7:7070")), "{origin}");
        }
        for origin in
            ["http://game.example", "https://game.example:8443", "https://a.game.example", "app://x", "null"]
        {
            assert!(!origins.allow(Some(origin), &asked("10.0.0.7:7070")), "{origin}");
        }
        assert!(origins.allow(Some("http://10.0.0.7:7070"), &asked("10.0.0.7:7070")), "our own page");
    }

    #[test]
    fn any_is_any() {
        let origins = Origins { any: true, ..Origins::default() };
        for origin in ["https://evil.example", "null", "file://", ""] {
            assert!(origins.allow(Some(origin), &asked("game.example")), "{origin}");
        }
    }

    #[test]
    fn on_loopback_the_pages_of_this_machine_pass_if_they_ask_this_machine() {
        for origin in [
            "http://localhost:5173",
            "http://LOCALHOST.",
            "http://127.0.0.1:7070",
            "http://127.1.2.3",
            "http://[::1]:9",
            "http://[::ffff:127.0.0.1]",
            "http://vite.localhost:3000",
            "tauri://localhost",
        ] {
            assert!(Origins::LOOPBACK.allow(Some(origin), &asked("localhost:7070")), "{origin}");
            assert!(Origins::LOOPBACK.allow(Some(origin), &asked("[::1]:7070")), "{origin}");
            assert!(!Origins::LOOPBACK.allow(Some(origin), &asked("game.example:7070")), "{origin}");
        }
        for origin in [
            "https://evil.example",
            "http://localhost.evil.example",
            "http://evillocalhost",
            "http://127.0.0.1.evil.example",
            "http://128.0.0.1",
            "http://.localhost.evil",
            "null",
        ] {
            assert!(!Origins::LOOPBACK.allow(Some(origin), &asked("localhost:7070")), "{origin}");
        }
    }

    #[test]
    fn a_name_that_was_bound_to_loopback_is_still_a_stranger() {
        let rebound = "http://evil.example:7070";
        assert!(!Origins::LOOPBACK.allow(Some(rebound), &asked("evil.example:7070")));
        let origins = Origins { on_loopback: true, ..listed(&["https://game.example"]) };
        assert!(!origins.allow(Some(rebound), &asked("evil.example:7070")), "nor beside a list");
        assert!(origins.allow(Some("https://game.example"), &asked("game.example")));
        assert!(origins.allow(Some("http://localhost:7070"), &asked("localhost:7070")));
        assert!(
            !origins.allow(Some("http://localhost:5173"), &asked("localhost:7070")),
            "a list is the list"
        );
    }

    /// What a request from `from` asks for.
    fn asked_by(from: &str, lines: &str, judge: impl Fn(&Asked) -> bool) -> bool {
        let trusted = vec!["10.0.0.1/32".parse().unwrap()];
        let addresses = crate::addresses::Addresses::new(9, false, trusted);
        let peer = addresses.arrive(std::net::SocketAddr::new(from.parse().unwrap(), 1)).unwrap();
        let request = format!("GET /play HTTP/1.1\r\nHost: inner:7070\r\n{lines}\r\n");
        let (head, _) = RequestHead::parse(request.as_bytes()).unwrap().unwrap();
        judge(&Asked::new(&head, &peer))
    }

    #[test]
    fn a_trusted_proxy_says_what_was_asked() {
        let origins = Origins { on_loopback: true, ..Origins::default() };
        let page = |asked: &Asked| origins.allow(Some("https://game.example"), asked);
        for (lines, passes) in [
            (
                "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Host: game.example\r\nX-Forwarded-Proto: https\r\n",
                true,
            ),
            ("X-Forwarded-Host: game.example\r\n", true),
            ("X-Forwarded-Host: evil.example, game.example:443\r\nX-Forwarded-Proto: wss\r\n", true),
            ("X-Forwarded-Host: game.example\r\nX-Forwarded-Proto: http\r\n", false),
            ("X-Forwarded-Host: game.example, evil.example\r\n", false),
            ("X-Forwarded-For: 192.0.2.1\r\n", false),
            ("", false),
        ] {
            assert_eq!(asked_by("10.0.0.1", lines, page), passes, "{lines:?}");
            assert!(!asked_by("10.0.0.2", lines, page), "not trusted: {lines:?}");
        }
        let inner = |asked: &Asked| origins.allow(Some("http://inner:7070"), asked);
        assert!(
            asked_by("10.0.0.1", "X-Forwarded-For: 192.0.2.1\r\n", inner),
            "the proxy left Host as it was"
        );
        assert!(!asked_by("10.0.0.1", "", inner), "nobody forwarded it, so it is from this machine");
    }
}
