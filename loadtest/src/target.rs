//! Where to connect to, and from where.
//!
//! A pair of addresses has some 28,000 ports. All of 127.0.0.0/8 is loopback, so a large swarm against loopback comes from
//! several addresses; against any other destination it has the one that the system chooses.

use crate::link::Route;
use crate::socket::in_words;
use crate::tls;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;

/// How many connections one source address is given at most.
const PER_SOURCE: u32 = 20_000;

/// How many source addresses there are at most.
const SOURCES_MAX: u32 = 200;

/// A server's address, from a URL, and the way to it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Name and port, as the request says it.
    pub host: String,
    /// Path and query.
    pub path: String,
    /// Where the socket goes: to the server, or to the proxy.
    pub address: SocketAddr,
    /// What lies between the socket and the server.
    pub route: Route,
}

impl Target {
    /// Reads `ws://host[:port][/path]` or `wss://…`, and looks the name up: the server's, or that of `proxy` (`http://host[:port]`), which
    /// then looks for the server itself. `ca` is a file with the certificates of those who may vouch for the server.
    pub fn parse(url: &str, proxy: Option<&str>, ca: Option<&Path>) -> Result<Target, String> {
        let wrong = |why: &str| format!("--url {url}: {why}, for example ws://127.0.0.1:7070/play");
        let (secure, rest) = match (url.strip_prefix("ws://"), url.strip_prefix("wss://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(wrong("a URL begins with ws:// or wss://")),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        // RFC 6455, 3: a fragment means nothing here, and must not be there.
        if !path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(wrong("no path that could be asked for"));
        }
        let scheme_port = if secure { 443 } else { 80 };
        let server = Authority::parse(authority, scheme_port);
        let server = server.ok_or_else(|| wrong("no host that could be connected to"))?;
        let address = match proxy {
            None => look_up(&server, "--url", url)?,
            Some(proxy) => look_up(&parse_proxy(proxy)?, "--proxy", proxy)?,
        };
        let tls = match (secure, ca) {
            (true, ca) => Some(tls::Server::new(server.name(), ca)?),
            (false, None) => None,
            (false, Some(_)) => return Err("--ca is for servers that are asked by wss://".to_string()),
        };
        let route = Route { tunnel_to: proxy.map(|_| server.with_port()), tls };
        // RFC 6455, 4.1: Host has the port when it is not the scheme's own.
        let host = if server.port == scheme_port { server.host.to_string() } else { server.with_port() };
        let path = if path.is_empty() { "/play" } else { path };
        Ok(Target { host, path: path.to_string(), address, route })
    }

    /// Begins to connect, as number `number` of the run, with a receive buffer of this size or the system's own. The
    /// socket does not block.
    pub fn connect(&self, number: u32, buffer: Option<usize>) -> io::Result<std::net::TcpStream> {
        let first = number / PER_SOURCE;
        if !self.has_sources() {
            return self.connect_from(None, buffer);
        }
        let mut result = self.connect_from(source(first), buffer);
        for next in first + 1..SOURCES_MAX {
            match &result {
                Err(error) if is_port_shortage(error) => result = self.connect_from(source(next), buffer),
                _ => break,
            }
        }
        result
    }

    /// What to say when nobody was reached, and what to do about it.
    pub fn cannot_connect(&self, error: &io::Error) -> String {
        let advice = match error.kind() {
            ErrorKind::ConnectionRefused => {
                "is the server running? start it with: cargo run --release -- serve"
            }
            _ => "check the address in --url",
        };
        let (what, advice) = match &self.route.tunnel_to {
            Some(_) => ("the proxy ", "check the address in --proxy"),
            None => ("", advice),
        };
        format!("cannot connect to {what}{}: {}; {advice}", self.address, in_words(error))
    }

    fn has_sources(&self) -> bool {
        matches!(self.address.ip(), IpAddr::V4(address) if address.is_loopback())
    }

    fn connect_from(
        &self,
        source: Option<Ipv4Addr>,
        buffer: Option<usize>,
    ) -> io::Result<std::net::TcpStream> {
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(bytes) = buffer {
            // Before the connect, which tells the peer how much it may send.
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(source) = source {
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        match socket.connect(&self.address.into()) {
            Err(error) if !is_in_progress(&error) => Err(error),
            _ => Ok(socket.into()),
        }
    }
}

/// The address number `number` to come from; the first one is left to the system.
fn source(number: u32) -> Option<Ipv4Addr> {
    (number > 0).then(|| Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + number))
}

fn is_port_shortage(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse)
}

fn is_in_progress(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
        || error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
}

/// `host[:port]`, as a URL has it.
struct Authority<'a> {
    /// IPv6 addresses stand in brackets.
    host: &'a str,
    port: u16,
}

impl<'a> Authority<'a> {
    fn parse(text: &'a str, default_port: u16) -> Option<Authority<'a>> {
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
            _ => (text, default_port),
        };
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let is_host = !host.is_empty() && host.bytes().all(is_known) && (bracketed || !host.contains(':'));
        is_host.then_some(Authority { host, port })
    }

    /// The host as certificates have it.
    fn name(&self) -> &'a str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    fn with_port(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

fn parse_proxy(url: &str) -> Result<Authority<'_>, String> {
    let wrong = |why: &str| format!("--proxy {url}: {why}, for example http://127.0.0.1:3128");
    let rest = url.strip_prefix("http://").ok_or_else(|| wrong("a proxy's URL begins with http://"))?;
    let authority = Authority::parse(rest.strip_suffix('/').unwrap_or(rest), 80);
    authority.ok_or_else(|| wrong("no host that could be connected to"))
}

fn look_up(authority: &Authority, flag: &str, url: &str) -> Result<SocketAddr, String> {
    let found = (authority.name(), authority.port).to_socket_addrs();
    let addresses: Vec<_> = found.map_err(|error| format!("{flag} {url}: {error}"))?.collect();
    // A server on "localhost" listens on 127.0.0.1 by default, whatever the order of the names.
    let address = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    address.copied().ok_or_else(|| format!("{flag} {url}: the host has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn parse(url: &str) -> Result<Target, String> {
        Target::parse(url, None, None)
    }

    #[test]
    fn a_url_has_a_host_perhaps_a_port_and_perhaps_a_path() {
        let target = parse("ws://127.0.0.1:7070/play?a=b").unwrap();
        assert_eq!((target.host.as_str(), target.path.as_str()), ("127.0.0.1:7070", "/play?a=b"));
        assert_eq!(target.address, "127.0.0.1:7070".parse().unwrap());
        assert!(target.route.tunnel_to.is_none() && target.route.tls.is_none());
        let target = parse("ws://[::1]").unwrap();
        assert_eq!((target.path.as_str(), target.address), ("/play", "[::1]:80".parse().unwrap()));
    }

    #[test]
    fn a_secure_url_has_a_port_of_its_own_and_the_server_has_a_name_to_prove() {
        for (url, host, address, name) in [
            ("wss://127.0.0.1/", "127.0.0.1", "127.0.0.1:443", "127.0.0.1"),
            ("wss://127.0.0.1:443/", "127.0.0.1", "127.0.0.1:443", "127.0.0.1"),
            ("wss://127.0.0.1:80/", "127.0.0.1:80", "127.0.0.1:80", "127.0.0.1"),
            ("wss://[::1]:9/play", "[::1]:9", "[::1]:9", "::1"),
            ("wss://localhost:7443/", "localhost:7443", "127.0.0.1:7443", "localhost"),
        ] {
            let target = parse(url).unwrap();
            assert_eq!((target.host.as_str(), target.address), (host, address.parse().unwrap()));
            assert_eq!(format!("{:?}", target.route.tls.unwrap()), format!("Server({name:?})"));
        }
    }

    #[test]
    fn a_proxy_is_connected_to_and_asked_for_the_server() {
        for (url, proxy, address, tunnel_to) in [
            // A name that only the proxy may know.
            (
                "wss://tickyard.invalid/play",
                "http://127.0.0.1:3128/",
                "127.0.0.1:3128",
                "tickyard.invalid:443",
            ),
            ("ws://[::1]:7070", "http://localhost", "127.0.0.1:80", "[::1]:7070"),
        ] {
            let target = Target::parse(url, Some(proxy), None).unwrap();
            assert_eq!(
                (target.address, target.route.tunnel_to.as_deref()),
                (address.parse().unwrap(), Some(tunnel_to))
            );
        }
        for proxy in [
            "127.0.0.1:3128",
            "https://127.0.0.1",
            "http://",
            "http://a b",
            "http://name:word@127.0.0.1",
            "http://h/p",
        ] {
            let error = Target::parse("ws://127.0.0.1", Some(proxy), None).unwrap_err();
            assert!(
                error.starts_with(&format!("--proxy {proxy}: ")) && error.ends_with("http://127.0.0.1:3128"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_no_url_is_refused_with_an_example() {
        for url in [
            "127.0.0.1:7070",
            "http://127.0.0.1",
            "ws://",
            "wss://",
            "ws:///play",
            "ws://a b/",
            "ws://127.0.0.1/a b",
            "ws://127.0.0.1/play#x",
            "ws://127.0.0.1?x=1",
            "ws://127.0.0.1:",
            "ws://127.0.0.1:65536/",
            "ws://name@127.0.0.1/",
            "ws://::1/",
        ] {
            let error = parse(url).unwrap_err();
            assert!(error.contains(url) && error.contains("ws://127.0.0.1:7070/play"), "{error}");
        }
    }

    #[test]
    fn a_file_of_certificates_is_read_only_for_a_server_that_shows_one() {
        let none = Some(Path::new("/nowhere/ca.pem"));
        assert!(Target::parse("ws://127.0.0.1", None, none).unwrap_err().contains("wss://"));
        let error = Target::parse("wss://127.0.0.1", None, none).unwrap_err();
        assert!(error.starts_with("--ca /nowhere/ca.pem: "), "{error}");
        let no_certificate = Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
        let error = Target::parse("wss://127.0.0.1", None, no_certificate.as_deref()).unwrap_err();
        assert!(error.ends_with("it has no certificate in PEM form"), "{error}");
    }

    #[test]
    fn later_connections_to_loopback_come_from_other_addresses() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}/play", listener.local_addr().unwrap());
        let target = parse(&url).unwrap();
        let from = |number| {
            let _stream = target.connect(number, None).unwrap();
            listener.accept().unwrap().1.ip().to_string()
        };
        assert_eq!(from(0), "127.0.0.1");
        assert_eq!(from(PER_SOURCE - 1), "127.0.0.1");
        assert_eq!(from(PER_SOURCE), "127.0.0.2");
        assert_eq!(from(3 * PER_SOURCE), "127.0.0.4");
    }
}
