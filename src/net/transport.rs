//! What lies between a session and its socket: nothing, or TLS; and before all else perhaps a PROXY header.
//!
//! A [`Transport`] reads from a [`Socket`] into the io thread's one receive buffer and gives the session what the peer said; it makes
//! what the session says fit for the wire before the [`Outbox`] sends it. Neither the session nor the outbox knows which it is.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown};
use std::time::Duration;

use mio::net::TcpStream;
use socket2::SockRef;

use super::outbox::{Flushed, Outbox};
use super::tls::{Opened, Tls, TlsError};
use crate::proxy_header::{self, BadProxyHeader, Preface};
use crate::time::Time;

/// A socket: bytes in, bytes out, never waiting (`WouldBlock` instead). A test may bring its own.
pub trait Socket: Read + Write {
    /// Tells the peer that nothing more will come.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// Makes closing it a reset: what the kernel still holds for the peer is thrown away, and the peer learns of it at once.
    fn abort(&mut self) -> io::Result<()>;

    /// Prefers fresh bytes to many bytes.
    fn tune(&mut self) -> io::Result<()>;
}

/// A socket, with TLS or without.
#[derive(Debug)]
pub struct Transport<S> {
    socket: S,
    /// While a trusted proxy may be about to say whose connection it is: what it has said of that.
    preface: Option<Vec<u8>>,
    tls: Option<Box<Tls>>,
}

/// Buffers that all connections of an io thread use in turn.
#[derive(Debug, Default)]
pub struct Buffers {
    /// Where bytes from the socket go.
    receive: Box<[u8]>,
    /// What TLS made of them.
    opened: Vec<u8>,
    /// What TLS made of a message, lent to [`Transport::send`].
    pub sealed: Vec<u8>,
}

/// What a read brought.
#[derive(Debug)]
pub struct Received<'b> {
    /// How many bytes came off the wire.
    pub wire: usize,
    /// The buffer was filled: there may be more.
    pub filled: bool,
    /// A PROXY header is whole and says whose connection it is, or is none: then `bytes` are what came instead.
    pub introduced: Option<Result<Option<IpAddr>, BadProxyHeader>>,
    /// For the session.
    pub bytes: &'b mut [u8],
    /// What TLS had around them, and records that said nothing.
    pub overhead: usize,
    /// Nothing more will come.
    pub ended: bool,
    /// The peer's TLS cannot be understood. The answer to that, if there is one, waits already.
    pub fault: Option<TlsError>,
}

impl<S: Socket> Transport<S> {
    /// A socket as it is, or under `tls`. With `by_proxy` a PROXY header may come first.
    pub fn new(socket: S, tls: Option<Box<Tls>>, by_proxy: bool) -> Transport<S> {
        Transport { socket, preface: by_proxy.then(Vec::new), tls }
    }

    /// Whether its next bytes cost more than reading them: a signature, an agreement on keys.
    pub fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Reads once. `None`: nothing is there. All whole records that came are opened: nothing waits inside for an edge of its own.
    pub fn receive<'b>(
        &mut self,
        buffers: &'b mut Buffers,
        outbox: &mut Outbox,
    ) -> io::Result<Option<Received<'b>>> {
        let Buffers { receive, opened, .. } = buffers;
        let kept = self.unkeep(receive);
        let Some(wire) = read_once(&mut self.socket, &mut receive[kept..])? else { return Ok(None) };
        let filled = kept + wire == receive.len();
        let came = &mut receive[..kept + wire];
        let nothing = Received {
            wire,
            filled,
            introduced: None,
            bytes: &mut [],
            overhead: 0,
            ended: wire == 0,
            fault: None,
        };
        let (introduced, came) = match self.read_preface(came) {
            _ if wire == 0 => (None, came),
            Ok(None) => return Ok(Some(nothing)),
            Ok(Some(Preface::Absent)) => (None, came),
            Ok(Some(Preface::Header { len, client })) => (Some(Ok(client)), &mut came[len..]),
            Err(bad) => return Ok(Some(Received { introduced: Some(Err(bad)), bytes: came, ..nothing })),
        };
        let nothing = Received { introduced, ..nothing };
        let Some(tls) = &mut self.tls else { return Ok(Some(Received { bytes: came, ..nothing })) };
        if came.is_empty() && wire > 0 {
            return Ok(Some(nothing));
        }
        let was_handshaking = tls.is_handshaking();
        let records = came.len();
        opened.clear();
        let state = match wire {
            // Whether the peer says goodbye or only stops is all the same: a WebSocket ends with a close frame.
            0 => Ok(Opened::Ended),
            _ => outbox.seal(|said, out| {
                tls.seal(said, out)?;
                tls.open(came, opened, out)
            }),
        };
        let (ended, fault) = match state {
            Ok(state) => (state == Opened::Ended, None),
            Err(fault) => {
                let bytes = &came[..came.len().min(LOGGED_BYTES_MAX)];
                // Later on there may be what players say among them.
                let bytes = if was_handshaking { bytes } else { &[] };
                tracing::debug!(%fault, bytes = %bytes.escape_ascii(), "TLS failed");
                (false, Some(fault))
            }
        };
        let overhead = match was_handshaking {
            true => 0,
            false => records.saturating_sub(opened.len() + tls.kept_bytes()),
        };
        Ok(Some(Received { bytes: opened, overhead, ended, fault, ..nothing }))
    }

    /// Copies what was kept of a header or record to the front of `buffer`: what is read next goes behind it.
    fn unkeep(&self, buffer: &mut [u8]) -> usize {
        match (&self.preface, &self.tls) {
            (Some(preface), _) => {
                buffer[..preface.len()].copy_from_slice(preface);
                preface.len()
            }
            (None, Some(tls)) => tls.unkeep(buffer),
            (None, None) => 0,
        }
    }

    /// What stands before all else, if it is not known yet. `None`: more of it has to come.
    fn read_preface(&mut self, came: &[u8]) -> Result<Option<Preface>, BadProxyHeader> {
        let Some(kept) = &mut self.preface else { return Ok(Some(Preface::Absent)) };
        let preface = proxy_header::read(came)?;
        if preface.is_some() {
            self.preface = None;
        } else {
            // At most as long as a header.
            kept.clear();
            kept.extend_from_slice(came);
        }
        Ok(preface)
    }

    /// Reads once without looking at it, and returns how much came and whether there may be more. `None`: nothing is there.
    pub fn discard(&mut self, buffers: &mut Buffers) -> io::Result<Option<(usize, bool)>> {
        let read = read_once(&mut self.socket, &mut buffers.receive)?;
        Ok(read.map(|wire| (wire, wire == buffers.receive.len())))
    }

    /// Sends a message at once, as one record if it fits; what the kernel does not take waits. Nothing may wait already.
    pub fn send(
        &mut self,
        now: Time,
        message: &[u8],
        sealed: &mut Vec<u8>,
        outbox: &mut Outbox,
    ) -> io::Result<Flushed> {
        let Some(tls) = &mut self.tls else { return outbox.send(now, message, &mut self.socket) };
        sealed.clear();
        tls.seal(message, sealed).map_err(io::Error::other)?;
        outbox.send(now, sealed, &mut self.socket)
    }

    /// Offers the kernel what waits.
    pub fn flush(&mut self, now: Time, outbox: &mut Outbox) -> io::Result<Flushed> {
        if let Some(tls) = &mut self.tls {
            outbox.seal(|said, out| tls.seal(said, out)).map_err(io::Error::other)?;
        }
        outbox.flush(now, &mut self.socket)
    }

    /// The session has said its last word: what belongs behind it is appended.
    pub fn finish(&mut self, outbox: &mut Outbox) {
        let Some(tls) = &mut self.tls else { return };
        let finished = outbox.seal(|said, out| {
            tls.seal(said, out)?;
            tls.close(out)
        });
        if let Err(error) = finished {
            tracing::debug!(%error, "cannot say goodbye");
        }
    }

    /// Tells the peer that nothing more will come.
    pub fn shutdown_write(&mut self) -> io::Result<()> {
        self.socket.shutdown_write()
    }

    /// See [`Socket::abort`].
    pub fn abort(&mut self) -> io::Result<()> {
        self.socket.abort()
    }

    /// See [`Socket::tune`].
    pub fn tune(&mut self) -> io::Result<()> {
        self.socket.tune()
    }
}

impl Buffers {
    /// Such as an io thread needs.
    pub fn new() -> Buffers {
        Buffers { receive: vec![0; RECEIVE_BYTES].into(), opened: Vec::new(), sealed: Vec::new() }
    }
}

impl Socket for TcpStream {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn abort(&mut self) -> io::Result<()> {
        SockRef::from(&*self).set_linger(Some(Duration::ZERO))
    }

    fn tune(&mut self) -> io::Result<()> {
        let socket = SockRef::from(&*self);
        socket.set_tcp_nodelay(true)?;
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        socket.set_tcp_notsent_lowat(NOTSENT_LOWAT_BYTES)
    }
}

/// `None`: nothing is there.
fn read_once(socket: &mut impl Socket, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        match socket.read(buffer) {
            Ok(len) => return Ok(Some(len)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// One receive buffer per thread; what is cut off at its end is kept by its session.
const RECEIVE_BYTES: usize = 64 * 1024;
/// Of what could not be understood, so much is logged.
const LOGGED_BYTES_MAX: usize = 64;
const SEND_BUFFER_BYTES: usize = 16 * 1024;
const NOTSENT_LOWAT_BYTES: u32 = 4 * 1024;
