//! Where to connect to, and from where.
//!
//! A pair of addresses has some 28,000 ports. All of 127.0.0.0/8 is loopback, so a large swarm against loopback comes from
//! several addresses; against any other destination it has the one that the system chooses.

use crate::swarm::in_words;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

/// How many connections one source address is given at most.
const PER_SOURCE: u32 = 20_000;

/// How many source addresses there are at most.
const SOURCES_MAX: u32 = 200;

/// A server's address, from a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Name and port, as the request says it.
    pub host: String,
    /// Path and query.
    pub path: String,
    /// Where the socket goes.
    pub address: SocketAddr,
    /// The size of receive buffers, if not the system's own.
    pub receive_buffer: Option<usize>,
}

impl Target {
    /// Reads `ws://host[:port][/path]` and looks the name up.
    pub fn parse(url: &str) -> Result<Target, String> {
        let example = "for example ws://127.0.0.1:7070/play";
        let Some(rest) = url.strip_prefix("ws://") else {
            let secure = url.starts_with("wss://");
            let why = if secure {
                "wss:// is not spoken by the swarm; use ws://"
            } else {
                "a URL begins with ws://"
            };
            return Err(format!("--url {url}: {why}, {example}"));
        };
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let printable = |byte: u8| byte.is_ascii_graphic();
        if host.is_empty() || host.contains('@') || !rest.bytes().all(printable) {
            return Err(format!("--url {url}: no host that could be connected to, {example}"));
        }
        let path = if path.is_empty() { "/play" } else { path };
        let with_port = if has_port(host) { host.to_string() } else { format!("{host}:80") };
        let found = with_port.to_socket_addrs();
        let addresses: Vec<_> = found.map_err(|error| format!("--url {url}: {error}"))?.collect();
        // A server on "localhost" listens on 127.0.0.1 by default, whatever the order of the names.
        let address = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
        let address = *address.ok_or_else(|| format!("--url {url}: the host has no address"))?;
        Ok(Target { host: host.to_string(), path: path.to_string(), address, receive_buffer: None })
    }

    /// Begins to connect, as number `number` of the run. The socket does not block.
    pub fn connect(&self, number: u32) -> io::Result<std::net::TcpStream> {
        let first = number / PER_SOURCE;
        if !self.has_sources() {
            return self.connect_from(None);
        }
        let mut result = self.connect_from(source(first));
        for next in first + 1..SOURCES_MAX {
            match &result {
                Err(error) if is_port_shortage(error) => result = self.connect_from(source(next)),
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
        format!("cannot connect to {}: {}; {advice}", self.address, in_words(error))
    }

    fn has_sources(&self) -> bool {
        matches!(self.address.ip(), IpAddr::V4(address) if address.is_loopback())
    }

    fn connect_from(&self, source: Option<Ipv4Addr>) -> io::Result<std::net::TcpStream> {
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(bytes) = self.receive_buffer {
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

fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(name, port)| !name.is_empty() && !port.contains(']'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_url_has_a_host_perhaps_a_port_and_perhaps_a_path() {
        let target = Target::parse("ws://127.0.0.1:7070/play?a=b").unwrap();
        assert_eq!((target.host.as_str(), target.path.as_str()), ("127.0.0.1:7070", "/play?a=b"));
        assert_eq!(target.address, "127.0.0.1:7070".parse().unwrap());
        let target = Target::parse("ws://[::1]").unwrap();
        assert_eq!((target.path.as_str(), target.address), ("/play", "[::1]:80".parse().unwrap()));
    }

    #[test]
    fn what_is_no_url_is_refused_with_an_example() {
        for url in
            ["127.0.0.1:7070", "wss://127.0.0.1/", "ws://", "ws:///play", "ws://a b/", "http://127.0.0.1"]
        {
            let error = Target::parse(url).unwrap_err();
            assert!(error.contains(url) && error.contains("ws://127.0.0.1:7070/play"), "{error}");
        }
    }

    #[test]
    fn later_connections_to_loopback_come_from_other_addresses() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}/play", listener.local_addr().unwrap());
        let target = Target::parse(&url).unwrap();
        let from = |number| {
            let _stream = target.connect(number).unwrap();
            listener.accept().unwrap().1.ip().to_string()
        };
        assert_eq!(from(0), "127.0.0.1");
        assert_eq!(from(PER_SOURCE - 1), "127.0.0.1");
        assert_eq!(from(PER_SOURCE), "127.0.0.2");
        assert_eq!(from(3 * PER_SOURCE), "127.0.0.4");
    }
}
