//! TLS without sockets: what comes off the wire goes in, what the peer said comes out, and the other way round.
//!
//! An [`Identity`] is the certificate and key of this server; it makes one [`Tls`] per connection. The bytes stay with the caller: rustls'
//! unbuffered interface opens records where they were received, so a silent connection holds its keys and nothing else, and one
//! in the middle of a record holds what has come of it, never what was announced.
//!
//! Versions 1.3 and 1.2, without resumption: tickets would save a signature, but their keys die with the process, and so are missing
//! when everybody comes back at once. So there is nothing to rotate, and a new certificate is seen by whoever connects next. 0-RTT
//! is off: it can be replayed.

mod expiry;
mod identity;

use std::fmt;

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, InsufficientSizeError, WriteTraffic};

pub use identity::Identity;

use crate::config::limits::TLS_KEPT_BYTES_MAX;

/// One connection's keys, and the record that is not complete yet.
pub struct Tls {
    connection: UnbufferedServerConnection,
    /// The beginning of a record or of a handshake message. Invariant: `kept.len() <= TLS_KEPT_BYTES_MAX`.
    kept: Vec<u8>,
    /// Something came.
    begun: bool,
    /// The peer has said that nothing more will come.
    ended: bool,
    /// The peer made a mistake: nothing more is understood or said.
    broken: bool,
    /// We have said that nothing more will come.
    closed: bool,
}

/// What [`Tls::open`] found besides plaintext.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened {
    /// The peer may go on.
    Goes,
    /// The peer has said that nothing more will come (close_notify).
    Ended,
}

/// Why a connection cannot go on.
#[derive(Debug, PartialEq)]
pub enum TlsError {
    /// The peer broke the rules of TLS, or shares no version, suite or protocol with us. An alert for it was written.
    Broken(rustls::Error),
    /// Under TLS 1.2 a key may encrypt only so many records, and they are used up.
    Exhausted,
    /// The peer speaks HTTP without TLS.
    PlainHttp,
    /// A handshake message over the limit.
    TooLong,
}

impl Tls {
    fn new(connection: UnbufferedServerConnection) -> Tls {
        Tls { connection, kept: Vec::new(), begun: false, ended: false, broken: false, closed: false }
    }

    /// Whether the keys are not there yet.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Copies what was kept to the front of `buffer`, and returns how much it was: what is read next goes behind it.
    pub fn unkeep(&self, buffer: &mut [u8]) -> usize {
        buffer[..self.kept.len()].copy_from_slice(&self.kept);
        self.kept.len()
    }

    /// How much that is.
    pub fn kept_bytes(&self) -> usize {
        self.kept.len()
    }

    /// Takes what came, behind what [`Tls::unkeep`] brought. What it says is appended to `plain`, what has to be answered
    /// to `wire`. An incomplete record is kept.
    pub fn open(
        &mut self,
        bytes: &mut [u8],
        plain: &mut Vec<u8>,
        wire: &mut Vec<u8>,
    ) -> Result<Opened, TlsError> {
        if self.ended || self.broken {
            return Ok(Opened::Ended);
        }
        let opened = self.process(bytes, plain, wire);
        self.ended = opened == Ok(Opened::Ended);
        self.broken = opened.is_err();
        if self.ended || self.broken {
            self.kept = Vec::new();
        }
        opened
    }

    fn process(
        &mut self,
        bytes: &mut [u8],
        plain: &mut Vec<u8>,
        wire: &mut Vec<u8>,
    ) -> Result<Opened, TlsError> {
        // RFC 8446, 5.1: a record begins with its type, of which none is a letter. A method does.
        if !self.begun && bytes.first().is_some_and(u8::is_ascii_uppercase) {
            return Err(TlsError::PlainHttp);
        }
        self.begun = true;
        let mut used = 0;
        let mut ended = false;
        let mut fault = None;
        // After a fault only what rustls still wants to say is fetched: the alert.
        while fault.is_none() || self.connection.wants_write() {
            let status = self.connection.process_tls_records(&mut bytes[used..]);
            let mut more = true;
            match status.state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        plain.extend_from_slice(record.map_err(TlsError::Broken)?.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => append(wire, 0, |space| data.encode(space))?,
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => ended = true,
                Ok(_) => more = false,
                Err(error) => fault = Some(error),
            }
            used += status.discard;
            if !more {
                break;
            }
        }
        match fault {
            Some(error) => Err(TlsError::Broken(error)),
            None if ended => Ok(Opened::Ended),
            None => self.keep(&bytes[used..]),
        }
    }

    fn keep(&mut self, rest: &[u8]) -> Result<Opened, TlsError> {
        if rest.len() > TLS_KEPT_BYTES_MAX {
            return Err(TlsError::TooLong);
        }
        if rest.is_empty() {
            self.kept = Vec::new();
        } else {
            self.kept.clear();
            self.kept.extend_from_slice(rest);
        }
        Ok(Opened::Goes)
    }

    /// Appends `plain` to `wire` as records. Before the keys are there nothing can be said, and `plain` is dropped.
    pub fn seal(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), TlsError> {
        if !self.can_speak() || plain.is_empty() {
            return Ok(());
        }
        let expected = plain.len() + plain.len().div_ceil(RECORD_BYTES) * RECORD_OVERHEAD_BYTES;
        self.write(wire, |traffic, wire| append(wire, expected, |space| traffic.encrypt(plain, space)))
    }

    /// Appends, once, the word that nothing more will come (close_notify), so that the peer can tell it from a cut.
    pub fn close(&mut self, wire: &mut Vec<u8>) -> Result<(), TlsError> {
        if !self.can_speak() {
            return Ok(());
        }
        self.closed = true;
        self.write(wire, |traffic, wire| {
            append(wire, RECORD_OVERHEAD_BYTES, |space| traffic.queue_close_notify(space))
        })
    }

    fn can_speak(&self) -> bool {
        !self.is_handshaking() && !self.broken && !self.closed
    }

    fn write(
        &mut self,
        wire: &mut Vec<u8>,
        deed: impl FnOnce(&mut WriteTraffic<'_, ServerConnectionData>, &mut Vec<u8>) -> Result<(), EncryptError>,
    ) -> Result<(), TlsError> {
        loop {
            // What is kept was processed already, but rustls may point into it.
            let status = self.connection.process_tls_records(&mut self.kept);
            debug_assert_eq!(status.discard, 0, "what is kept is incomplete");
            match status.state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => return Ok(deed(&mut traffic, wire)?),
                Ok(ConnectionState::EncodeTlsData(mut data)) => append(wire, 0, |space| data.encode(space))?,
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => {}
                // Both sides have said goodbye.
                _ => return Ok(()),
            }
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("kept", &self.kept.len()).finish_non_exhaustive()
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::Broken(error) => error.fmt(f),
            TlsError::Exhausted => f.write_str("the keys are used up"),
            TlsError::PlainHttp => f.write_str("HTTP without TLS"),
            TlsError::TooLong => f.write_str("a handshake message over the limit"),
        }
    }
}

impl std::error::Error for TlsError {}

impl From<EncodeError> for TlsError {
    fn from(_: EncodeError) -> TlsError {
        // It gets the space that it asks for, and each piece is encoded once.
        TlsError::Broken(rustls::Error::EncryptError)
    }
}

impl From<EncryptError> for TlsError {
    fn from(_: EncryptError) -> TlsError {
        TlsError::Exhausted
    }
}

/// How rustls says that a space is too small.
trait NeedsSpace {
    fn needs(&self) -> Option<usize>;
}

impl NeedsSpace for EncodeError {
    fn needs(&self) -> Option<usize> {
        match self {
            EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => Some(*required_size),
            EncodeError::AlreadyEncoded => None,
        }
    }
}

impl NeedsSpace for EncryptError {
    fn needs(&self) -> Option<usize> {
        match self {
            EncryptError::InsufficientSize(InsufficientSizeError { required_size }) => Some(*required_size),
            EncryptError::EncryptExhausted => None,
        }
    }
}

/// Lets `write` write behind what `out` holds: into a space of the size it is expected to need, or of the one it asks for.
fn append<E: NeedsSpace>(
    out: &mut Vec<u8>,
    expected: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, E>,
) -> Result<(), E> {
    let start = out.len();
    out.resize(start + expected, 0);
    let mut written = write(&mut out[start..]);
    if let Some(needed) = written.as_ref().err().and_then(NeedsSpace::needs) {
        out.resize(start + needed, 0);
        written = write(&mut out[start..]);
    }
    out.truncate(start + *written.as_ref().unwrap_or(&0));
    written.map(|_| ())
}

/// RFC 8446, 5.1: what a record holds at most.
const RECORD_BYTES: usize = 16 * 1024;
/// Header, explicit nonce (1.2) or content type (1.3) and tag need less.
const RECORD_OVERHEAD_BYTES: usize = 64;
#[cfg(test)]
pub(super) mod tests;
