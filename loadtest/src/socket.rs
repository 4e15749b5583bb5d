//! What bots and hostile peers do alike with their sockets.

use crate::target::Target;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use std::io::{self, ErrorKind, Write};

/// Begins to connect as number `who`, with a receive buffer of this size or the system's own; the poll's events say its number.
pub fn connect(
    target: &Target,
    registry: &Registry,
    who: usize,
    buffer: Option<usize>,
) -> io::Result<TcpStream> {
    let mut stream = TcpStream::from_std(target.connect(who as u32, buffer)?);
    registry.register(&mut stream, Token(who), Interest::READABLE | Interest::WRITABLE)?;
    Ok(stream)
}

/// Whether a connection stands that was begun. `Err`: it will not. An event may be of the socket that had this number before.
pub fn is_connected(stream: &TcpStream) -> io::Result<bool> {
    match stream.take_error()? {
        Some(error) => Err(error),
        None => Ok(stream.peer_addr().is_ok()),
    }
}

/// How many bytes the socket took.
pub fn send(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match stream.write(bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            result => return result,
        }
    }
}

/// What the system says, without the numbers that only it knows.
pub fn in_words(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused".to_string(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "connection reset".to_string(),
        ErrorKind::TimedOut => "timed out".to_string(),
        ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse => "no free port to connect from".to_string(),
        _ => error.to_string(),
    }
}
