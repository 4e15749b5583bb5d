//! A connection through a kernel that we made up: bounded buffers, edges that are reported once, ends and resets.

use std::cell::{Ref, RefCell, RefMut};
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;

use tickyard::net::transport::Socket;

/// The peer's end.
#[derive(Clone)]
pub struct Wire(Rc<RefCell<Link>>);

/// The server's end. Dropping it closes it.
pub struct ServerEnd(Wire);

/// What a poller would report since it was asked last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edges {
    pub readable: bool,
    pub writable: bool,
    pub ended: bool,
}

#[derive(Default)]
struct Link {
    /// Bytes for the server, at most [`UP_BYTES_MAX`].
    up: Vec<u8>,
    /// Bytes for the peer, at most `down_max`.
    down: Vec<u8>,
    down_max: usize,
    /// The server was told that there is no room, and not yet that there is.
    full: bool,
    /// The peer sends nothing more.
    fin: bool,
    /// The peer is gone.
    reset: bool,
    /// The server sends nothing more.
    shut: bool,
    /// Closing it is a reset.
    aborted: bool,
    /// The server has closed.
    closed: bool,
    edges: Edges,
}

impl Wire {
    /// A connection whose kernel keeps `down_max` bytes for the peer.
    pub fn new(down_max: usize) -> (Wire, ServerEnd) {
        let wire = Wire(Rc::new(RefCell::new(Link { down_max, ..Link::default() })));
        (wire.clone(), ServerEnd(wire))
    }

    /// Sends what fits, and says how much that is.
    pub fn send(&self, bytes: &[u8]) -> usize {
        let mut link = self.link_mut();
        assert!(!link.fin, "who has ended sends nothing");
        if link.closed {
            // A kernel answers this with a reset, and what was on its way to the peer is lost.
            link.down.clear();
        }
        if link.reset || link.closed {
            return bytes.len();
        }
        let taken = bytes.len().min(UP_BYTES_MAX - link.up.len());
        link.up.extend_from_slice(&bytes[..taken]);
        link.edges.readable |= taken > 0;
        taken
    }

    /// Ends the peer's side in order.
    pub fn finish(&self) {
        let mut link = self.link_mut();
        link.fin = true;
        link.edges.readable = true;
        link.edges.ended = true;
    }

    /// Ends all at once; what was not read yet is lost.
    pub fn reset(&self) {
        let mut link = self.link_mut();
        link.reset = true;
        link.fin = true;
        link.up.clear();
        link.down.clear();
        link.edges = Edges { readable: true, writable: true, ended: true };
    }

    /// Takes at most `max` of the bytes for the peer.
    pub fn receive(&self, max: usize) -> Vec<u8> {
        let mut link = self.link_mut();
        let taken = link.down.len().min(max);
        let bytes = link.down.drain(..taken).collect();
        if link.full && link.down.len() * 3 <= link.down_max * 2 {
            link.full = false;
            link.edges.writable = true;
        }
        bytes
    }

    /// What the poller has to say.
    pub fn take_edges(&self) -> Edges {
        std::mem::take(&mut self.link_mut().edges)
    }

    /// Whether the server has closed.
    pub fn is_closed(&self) -> bool {
        self.link().closed
    }

    /// Whether the server has said its last word, and all of it was received.
    pub fn is_at_end(&self) -> bool {
        let link = self.link();
        link.down.is_empty() && (link.shut || link.closed)
    }

    /// Whether the peer can send.
    pub fn may_send(&self) -> bool {
        !self.link().fin
    }

    fn link(&self) -> Ref<'_, Link> {
        self.0.borrow()
    }

    fn link_mut(&self) -> RefMut<'_, Link> {
        self.0.borrow_mut()
    }
}

impl Read for ServerEnd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut link = self.0.link_mut();
        if link.reset {
            return Err(ErrorKind::ConnectionReset.into());
        }
        if link.up.is_empty() {
            return if link.fin { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        let taken = link.up.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&link.up[..taken]);
        link.up.drain(..taken);
        Ok(taken)
    }
}

impl Write for ServerEnd {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut link = self.0.link_mut();
        assert!(!link.shut, "the server writes after its last word");
        if link.reset {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let taken = bytes.len().min(link.down_max - link.down.len());
        link.down.extend_from_slice(&bytes[..taken]);
        link.full |= taken < bytes.len();
        if taken == 0 && !bytes.is_empty() { Err(ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for ServerEnd {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.link_mut().shut = true;
        Ok(())
    }

    fn abort(&mut self) -> io::Result<()> {
        self.0.link_mut().aborted = true;
        Ok(())
    }

    fn tune(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for ServerEnd {
    fn drop(&mut self) {
        let mut link = self.0.link_mut();
        link.closed = true;
        // Closing a socket with unread bytes resets it, and the reset takes with it what the peer has not read.
        if link.aborted || !link.up.is_empty() {
            link.down.clear();
        }
    }
}

/// What the kernel keeps for the server.
const UP_BYTES_MAX: usize = 128 * 1024;
