//! New connections: taken in batches, counted, turned away when there is no room.
//!
//! mio reports a listening socket once per edge, so whoever stops accepting early has to come back by himself. Out of
//! descriptors the kernel keeps the connection and reports nothing more: a reserve descriptor is given up to take it,
//! answer 503 and take the reserve back. So the server neither spins nor goes deaf.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};

use mio::net::{TcpListener, TcpStream};

use crate::close_reason::CloseReason;
use crate::session::write_unavailable;

/// The listening socket.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    /// Over TLS nobody can be told anything before a handshake.
    by_tls: bool,
    /// Given up to answer those for whom no descriptor is left.
    reserve: Option<File>,
    /// More may wait: an edge was reported, or we stopped early.
    ready: bool,
    /// The kernel could not take one, and reports no edge when it can.
    failed: bool,
}

/// What came of an attempt to accept.
#[derive(Debug)]
pub enum Accepted {
    /// A new connection.
    Stream(TcpStream, SocketAddr),
    /// Nobody waits.
    Nobody,
    /// There was no descriptor for one that waited: it was answered 503.
    NoDescriptor(SocketAddr),
    /// The kernel could not; [`Acceptor::retry`] tries again.
    Later,
}

impl Acceptor {
    /// Around a listening socket.
    pub fn new(listener: TcpListener, by_tls: bool) -> Acceptor {
        Acceptor { listener, by_tls, reserve: open_reserve(), ready: false, failed: false }
    }

    /// The socket, to register it.
    pub fn listener(&mut self) -> &mut TcpListener {
        &mut self.listener
    }

    /// An edge was reported.
    pub fn wake(&mut self) {
        self.ready = true;
    }

    /// It is time to try again what failed.
    pub fn retry(&mut self) {
        self.ready |= std::mem::take(&mut self.failed);
    }

    /// Whether somebody may wait.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Takes one connection.
    pub fn accept(&mut self) -> Accepted {
        loop {
            match self.listener.accept() {
                Ok((stream, address)) => return Accepted::Stream(stream, address),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.ready = false;
                    return Accepted::Nobody;
                }
                Err(error) if is_out_of_descriptors(&error) => return self.turn_away(),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept");
                    return self.later();
                }
            }
        }
    }

    /// Answers 503 and closes. What the peer has sent already is read first, or the close would reset the answer away; what it
    /// sends later still does. So this is for when there is no room to wait.
    pub fn refuse(&self, mut stream: TcpStream, reason: CloseReason) {
        if self.by_tls {
            return;
        }
        let mut request = [0; 2048];
        let _ = stream.read(&mut request);
        let mut answer = Vec::new();
        write_unavailable(&mut answer, reason);
        let _ = stream.write(&answer);
        let _ = stream.shutdown(Shutdown::Write);
    }

    fn turn_away(&mut self) -> Accepted {
        self.reserve = None;
        let accepted = match self.listener.accept() {
            Ok((stream, address)) => {
                self.refuse(stream, CloseReason::NoDescriptors);
                Accepted::NoDescriptor(address)
            }
            // The kernel looks for a descriptor before it looks for a peer: there may be nobody.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.ready = false;
                Accepted::Nobody
            }
            // Another thread took the descriptor.
            Err(_) => self.later(),
        };
        self.reserve = open_reserve();
        accepted
    }

    fn later(&mut self) -> Accepted {
        self.ready = false;
        self.failed = true;
        Accepted::Later
    }
}

fn open_reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

/// EMFILE: this process has none left; ENFILE: nobody has.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error();
    code == Some(Errno::MFILE.raw_os_error()) || code == Some(Errno::NFILE.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_descriptors_and_with_nobody_there_nobody_is_counted() {
        let mut acceptor = Acceptor::new(TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap(), false);
        acceptor.wake();
        assert!(matches!(acceptor.turn_away(), Accepted::Nobody));
        assert!(!acceptor.is_ready() && acceptor.reserve.is_some());
        acceptor.retry();
        assert!(!acceptor.is_ready(), "an edge will tell of the next one");

        let address = acceptor.listener().local_addr().unwrap();
        let mut peer = std::net::TcpStream::connect(address).unwrap();
        acceptor.wake();
        assert!(matches!(acceptor.turn_away(), Accepted::NoDescriptor(_)));
        assert!(acceptor.is_ready());
        let mut answer = String::new();
        peer.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }

    #[test]
    fn what_failed_is_tried_again_once() {
        let mut acceptor = Acceptor::new(TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap(), false);
        acceptor.wake();
        assert!(matches!(acceptor.later(), Accepted::Later));
        assert!(!acceptor.is_ready());
        acceptor.retry();
        assert!(acceptor.is_ready());
        assert!(matches!(acceptor.accept(), Accepted::Nobody));
        acceptor.retry();
        assert!(!acceptor.is_ready());
    }
}
