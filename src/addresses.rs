//! Whose connection it is, and how many each address has open.
//!
//! A [`Peer`] begins as the other end of a socket. When that is a trusted proxy, the proxy says whose connection it is, by a
//! PROXY header ([`Addresses::introduce`]) or in `X-Forwarded-For` ([`Addresses::forward`]); from nobody else is either believed.
//! As soon as the client is known it is counted, and the count is given back by [`Addresses::leave`].
//!
//! An IPv6 client has a whole /64 to choose addresses from, so those count together. IPv4 addresses in IPv6 clothes
//! (`::ffff:192.0.2.1`) are IPv4 addresses.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::http::Headers;

/// Who is at the other end. Plain data; who makes one with [`Addresses::arrive`] gives it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    socket: SocketAddr,
    client: IpAddr,
    /// The place in the counts that it takes.
    counted: Option<IpAddr>,
    /// A trusted proxy that may say for whom it speaks.
    is_proxy: bool,
    /// It came by TLS.
    is_secure: bool,
}

impl Peer {
    /// The other end of a socket, trusted by nobody and not counted.
    pub fn new(socket: SocketAddr) -> Peer {
        let client = socket.ip().to_canonical();
        let socket = SocketAddr::new(client, socket.port());
        Peer { socket, client, counted: None, is_proxy: false, is_secure: false }
    }

    /// The same, by TLS.
    pub fn secured(self) -> Peer {
        Peer { is_secure: true, ..self }
    }

    /// Whose connection it is, as far as is known.
    pub fn client(&self) -> IpAddr {
        self.client
    }

    /// Whether it may say for whom it speaks.
    pub fn is_proxy(&self) -> bool {
        self.is_proxy
    }

    /// Whether it came by TLS.
    pub fn is_secure(&self) -> bool {
        self.is_secure
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.client == self.socket.ip() {
            true => write!(f, "{}", self.socket),
            false => write!(f, "{} through {}", self.client, self.socket),
        }
    }
}

/// The address has as many connections as one may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

/// The rules about addresses, and the connections that are open by address. Shared by all io threads.
#[derive(Debug)]
pub struct Addresses {
    /// Connections that one address may have open.
    per_address_max: usize,
    /// Whether that holds for this machine's own addresses too.
    limit_loopback: bool,
    /// Whose word about clients counts.
    trusted: Vec<IpNet>,
    /// Only those with connections, so that it never grows with addresses that are gone.
    open: Mutex<BTreeMap<IpAddr, usize>>,
}

impl Addresses {
    /// Nobody there yet.
    pub fn new(per_address_max: usize, limit_loopback: bool, trusted: Vec<IpNet>) -> Addresses {
        Addresses { per_address_max, limit_loopback, trusted, open: Mutex::default() }
    }

    /// A connection was accepted. Its peer is counted unless it is a proxy, whose clients are.
    pub fn arrive(&self, socket: SocketAddr) -> Result<Peer, TooMany> {
        let peer = Peer::new(socket);
        let mut peer = Peer { is_proxy: self.trust(peer.client), ..peer };
        self.count(&mut peer).map(|()| peer)
    }

    /// A PROXY header came: from now on nothing that the connection carries is the proxy's own word, unless the client it
    /// names is a trusted proxy as well. `None`: the header names nobody.
    pub fn introduce(&self, peer: &mut Peer, client: Option<IpAddr>) -> Result<(), TooMany> {
        let Some(client) = client.filter(|_| peer.is_proxy) else {
            peer.is_proxy = false;
            return Ok(());
        };
        peer.client = client.to_canonical();
        peer.is_proxy = self.trust(peer.client);
        self.count(peer)
    }

    /// A request came, perhaps forwarded. The client is the last one in `X-Forwarded-For` that is no trusted proxy itself.
    pub fn forward(&self, peer: &mut Peer, headers: &Headers) -> Result<(), TooMany> {
        if !peer.is_proxy {
            return Ok(());
        }
        // Each proxy adds whom it heard to the end. What stands left of the first stranger is only what he says.
        for hop in headers.list_backwards("x-forwarded-for").take(HOPS_MAX) {
            let Some(address) = read_hop(hop) else { break };
            peer.client = address;
            if !self.trust(address) {
                break;
            }
        }
        self.count(peer)
    }

    /// A connection is over.
    pub fn leave(&self, peer: &mut Peer) {
        let Some(counted) = peer.counted.take() else { return };
        let mut open = self.open();
        if let Some(count) = open.get_mut(&counted) {
            *count -= 1;
            if *count == 0 {
                open.remove(&counted);
            }
        }
    }

    /// How many addresses have connections that count.
    pub fn len(&self) -> usize {
        self.open().len()
    }

    /// Whether no address has a connection that counts.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether an address is a trusted proxy's. Who has one is not counted.
    pub fn trust(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|net| net.contains(&address))
    }

    fn count(&self, peer: &mut Peer) -> Result<(), TooMany> {
        let is_exempt = self.trust(peer.client) || (peer.client.is_loopback() && !self.limit_loopback);
        if is_exempt || peer.counted.is_some() {
            return Ok(());
        }
        let group = group(peer.client);
        let mut open = self.open();
        let count = open.get(&group).copied().unwrap_or(0);
        if count >= self.per_address_max {
            return Err(TooMany);
        }
        open.insert(group, count + 1);
        peer.counted = Some(group);
        Ok(())
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        // Nothing can panic while it is locked.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody is trusted and nobody is limited.
impl Default for Addresses {
    fn default() -> Addresses {
        Addresses::new(usize::MAX, false, Vec::new())
    }
}

/// What counts together: an IPv4 address, or an IPv6 network of 64 bits, which is the least that a client has.
fn group(address: IpAddr) -> IpAddr {
    const NETWORK: u128 = !0 << 64;
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & NETWORK)),
    }
}

/// A member of `X-Forwarded-For`: an address, perhaps with a port, IPv6 perhaps in brackets.
fn read_hop(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']'));
    let address = bare.unwrap_or(hop).parse().ok();
    let address = address.or_else(|| hop.parse().ok().map(|socket: SocketAddr| socket.ip()));
    address.map(|address| address.to_canonical())
}

/// Proxies in a row; nobody has so many.
const HOPS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::RequestHead;

    fn socket(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 40_000)
    }

    fn addresses(per_address_max: usize) -> Addresses {
        let trusted = ["10.0.0.0/8", "2001:db8:ffff::/48", "127.0.0.9/32"];
        Addresses::new(per_address_max, false, trusted.map(|net| net.parse().unwrap()).into())
    }

    /// The peer at `socket` after a request with these header lines.
    fn forwarded(addresses: &Addresses, from: &str, lines: &str) -> Peer {
        let mut peer = addresses.arrive(socket(from)).unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let (head, _) = RequestHead::parse(request.as_bytes()).unwrap().unwrap();
        addresses.forward(&mut peer, &head.headers).unwrap();
        peer
    }

    #[test]
    fn each_address_has_so_many_and_gets_them_back() {
        let addresses = addresses(2);
        let mut first = addresses.arrive(socket("192.0.2.1")).unwrap();
        let mut second = addresses.arrive(socket("192.0.2.1")).unwrap();
        assert_eq!(addresses.arrive(socket("192.0.2.1")), Err(TooMany));
        assert_eq!(addresses.arrive(socket("::ffff:192.0.2.1")), Err(TooMany), "the same one");
        let mut other = addresses.arrive(socket("192.0.2.2")).unwrap();
        assert_eq!(addresses.len(), 2);

        addresses.leave(&mut first);
        addresses.leave(&mut first);
        let mut third = addresses.arrive(socket("192.0.2.1")).unwrap();
        assert_eq!(addresses.arrive(socket("192.0.2.1")), Err(TooMany), "given back once");
        for peer in [&mut second, &mut third, &mut other] {
            addresses.leave(peer);
        }
        assert!(addresses.is_empty(), "no trace of those who are gone");
    }

    #[test]
    fn the_addresses_of_an_ipv6_network_count_together() {
        let addresses = addresses(2);
        addresses.arrive(socket("2001:db8:1:2::1")).unwrap();
        addresses.arrive(socket("2001:db8:1:2:ffff::2")).unwrap();
        assert_eq!(addresses.arrive(socket("2001:db8:1:2:3:4:5:6")), Err(TooMany));
        addresses.arrive(socket("2001:db8:1:3::1")).unwrap();
        assert_eq!(addresses.len(), 2);
    }

    #[test]
    fn this_machine_is_exempt_unless_it_is_asked_for() {
        let exempt = addresses(1);
        for address in ["127.0.0.1", "127.0.0.1", "::1", "::1", "::ffff:127.0.0.1"] {
            exempt.arrive(socket(address)).unwrap();
        }
        assert!(exempt.is_empty());

        let limited = Addresses::new(1, true, vec![]);
        limited.arrive(socket("127.0.0.1")).unwrap();
        assert_eq!(limited.arrive(socket("::ffff:127.0.0.1")), Err(TooMany));
    }

    #[test]
    fn the_client_is_the_last_one_that_is_no_trusted_proxy() {
        for (lines, client) in [
            ("X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1"),
            ("x-forwarded-for:192.0.2.1:5678\r\n", "192.0.2.1"),
            ("X-Forwarded-For: 1.1.1.1, 192.0.2.1\r\n", "192.0.2.1"),
            ("X-Forwarded-For: 1.1.1.1, 192.0.2.1, 10.1.2.3 ,10.0.0.2\r\n", "192.0.2.1"),
            (
                "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 10.1.2.3\r\n",
                "192.0.2.1",
            ),
            ("X-Forwarded-For: 192.0.2.1,, ,\r\nX-Forwarded-For:\r\n", "192.0.2.1"),
            ("X-Forwarded-For: 2001:db8::1\r\n", "2001:db8::1"),
            ("X-Forwarded-For: [2001:db8::1]\r\n", "2001:db8::1"),
            ("X-Forwarded-For: [2001:db8::1]:443\r\n", "2001:db8::1"),
            ("X-Forwarded-For: ::ffff:192.0.2.1\r\n", "192.0.2.1"),
            ("X-Forwarded-For: 192.0.2.1, 2001:db8:ffff::7\r\n", "192.0.2.1"),
            // Left of what cannot be read, nothing can be believed.
            ("X-Forwarded-For: 1.1.1.1, unknown, 10.1.2.3\r\n", "10.1.2.3"),
            ("X-Forwarded-For: 1.1.1.1, fe80::1%eth0\r\n", "10.0.0.1"),
            ("X-Forwarded-For: garbage\r\n", "10.0.0.1"),
            ("X-Forwarded-For: 192.0.2.1:\r\n", "10.0.0.1"),
            ("X-Forwarded-For: 192.0.2.1:70000\r\n", "10.0.0.1"),
            ("X-Forwarded-For: [192.0.2.1\r\n", "10.0.0.1"),
            ("X-Forwarded-For: \u{e4}\r\n", "10.0.0.1"),
            ("", "10.0.0.1"),
            // Only proxies: the first of them asks for itself.
            ("X-Forwarded-For: 10.9.9.9, 10.8.8.8\r\n", "10.9.9.9"),
            ("Forwarded: for=192.0.2.1\r\nX-Real-IP: 192.0.2.1\r\n", "10.0.0.1"),
        ] {
            let peer = forwarded(&addresses(9), "10.0.0.1", lines);
            assert_eq!(peer.client(), client.parse::<IpAddr>().unwrap(), "{lines:?}");
        }
    }

    #[test]
    fn who_is_no_trusted_proxy_is_not_believed() {
        for stranger in ["192.0.2.9", "2001:db8::9", "127.0.0.1"] {
            let peer = forwarded(&addresses(9), stranger, "X-Forwarded-For: 1.1.1.1\r\n");
            assert_eq!(peer, addresses(9).arrive(socket(stranger)).unwrap());
        }
    }

    #[test]
    fn an_endless_list_is_not_read_to_its_end() {
        let list = format!("X-Forwarded-For: 192.0.2.1{}\r\n", ",10.0.0.1".repeat(HOPS_MAX));
        assert_eq!(forwarded(&addresses(9), "10.0.0.1", &list).client(), socket("10.0.0.1").ip());
        let list = format!("X-Forwarded-For: 192.0.2.1{}\r\n", ",10.0.0.1".repeat(HOPS_MAX - 1));
        assert_eq!(forwarded(&addresses(9), "10.0.0.1", &list).client(), socket("192.0.2.1").ip());
    }

    #[test]
    fn a_proxy_is_not_counted_but_its_clients_are() {
        let addresses = addresses(1);
        let lines = "X-Forwarded-For: 192.0.2.1\r\n";
        let _proxies: Vec<Peer> = (0..9).map(|_| addresses.arrive(socket("10.0.0.1")).unwrap()).collect();
        assert!(addresses.is_empty());

        let mut client = forwarded(&addresses, "10.0.0.1", lines);
        assert_eq!(addresses.arrive(socket("192.0.2.1")), Err(TooMany), "he is here already");
        assert_eq!(client.to_string(), "192.0.2.1 through 10.0.0.1:40000");
        addresses.leave(&mut client);
        assert!(addresses.is_empty());
    }

    #[test]
    fn after_a_proxy_header_the_request_is_the_clients_own_word() {
        let addresses = addresses(1);
        let request = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n";
        let (head, _) = RequestHead::parse(request.as_bytes()).unwrap().unwrap();
        let after = |client: Option<&str>| {
            let mut peer = addresses.arrive(socket("10.0.0.1")).unwrap();
            let introduced = addresses.introduce(&mut peer, client.map(|client| client.parse().unwrap()));
            introduced.unwrap();
            addresses.forward(&mut peer, &head.headers).unwrap();
            addresses.leave(&mut peer);
            peer.client().to_string()
        };
        assert_eq!(after(Some("192.0.2.1")), "192.0.2.1");
        assert_eq!(after(Some("::ffff:192.0.2.1")), "192.0.2.1");
        assert_eq!(after(None), "10.0.0.1");
        assert_eq!(after(Some("10.0.0.2")), "1.1.1.1", "a proxy behind a proxy");
        assert!(addresses.is_empty());

        let mut stranger = addresses.arrive(socket("192.0.2.9")).unwrap();
        addresses.introduce(&mut stranger, Some("1.1.1.1".parse().unwrap())).unwrap();
        assert_eq!(stranger.client(), socket("192.0.2.9").ip());
    }
}
