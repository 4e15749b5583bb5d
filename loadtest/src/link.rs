//! What lies between a bot and its socket when that is more than a cable: a proxy's tunnel, TLS, or both. No sockets here.
//!
//! ```text
//! connected ─► CONNECT ─► 200 ─► TLS handshake ─► open: the bot asks for its upgrade
//! ```
//! Bots on plain `ws://` have none of it.

use crate::tls::{self, Tls};
use crate::tunnel::Tunnel;

/// The way to the server that all bots take.
#[derive(Clone, Debug, Default)]
pub struct Route {
    /// The server's host and port, which a proxy is asked for.
    pub tunnel_to: Option<String>,
    /// The server, if it has to prove its name.
    pub tls: Option<tls::Server>,
}

/// One bot's way to the server.
pub struct Link {
    tunnel: Option<Tunnel>,
    tls: Option<Tls>,
}

impl Route {
    /// The TCP connection stands: begins, with the first bytes to send. `None`: the bot talks to the socket itself.
    pub fn begin(&self, sealed: &mut Vec<u8>) -> Option<Box<Link>> {
        if self.tunnel_to.is_none() && self.tls.is_none() {
            return None;
        }
        let tls = self.tls.as_ref().map(tls::Server::connect);
        let mut link = Link { tunnel: self.tunnel_to.as_ref().map(|_| Tunnel::default()), tls };
        match &self.tunnel_to {
            Some(authority) => Tunnel::write_request(authority, sealed),
            None => link.send(&[], sealed),
        }
        Some(Box::new(link))
    }
}

impl Link {
    /// Takes what came from the socket; what it means to the bot is added to `plain`.
    pub fn receive(&mut self, bytes: &[u8], plain: &mut Vec<u8>) -> Result<(), String> {
        let Some(tunnel) = &mut self.tunnel else { return self.open(bytes, plain) };
        let Some(through) = tunnel.receive(bytes)? else { return Ok(()) };
        self.tunnel = None;
        self.open(&through, plain)
    }

    /// What to write to the socket for the bot's `plain` bytes, and for the link itself, is added to `sealed`.
    pub fn send(&mut self, plain: &[u8], sealed: &mut Vec<u8>) {
        match &mut self.tls {
            // The handshake waits for the tunnel.
            _ if self.tunnel.is_some() => debug_assert!(plain.is_empty()),
            Some(tls) => tls.send(plain, sealed),
            None => sealed.extend_from_slice(plain),
        }
    }

    /// Says that nothing more will be sent.
    pub fn close(mut self, sealed: &mut Vec<u8>) {
        self.tls.iter_mut().for_each(Tls::close);
        self.send(&[], sealed);
    }

    /// Whether the bot can talk to the server.
    pub fn is_open(&self) -> bool {
        self.place().is_none()
    }

    /// Whether the server said that nothing more will come, though its socket may be open.
    pub fn has_peer_closed(&self) -> bool {
        self.tls.as_ref().is_some_and(Tls::has_peer_closed)
    }

    /// Where on the way to the server it is, in words that follow "the connection was closed"; `None`: it is there.
    pub fn place(&self) -> Option<&'static str> {
        match &self.tls {
            _ if self.tunnel.is_some() => Some("before the proxy's answer"),
            Some(tls) if !tls.is_open() => Some("in the TLS handshake"),
            _ => None,
        }
    }

    fn open(&mut self, bytes: &[u8], plain: &mut Vec<u8>) -> Result<(), String> {
        match &mut self.tls {
            Some(tls) => tls.receive(bytes, plain),
            None => {
                plain.extend_from_slice(bytes);
                Ok(())
            }
        }
    }
}
