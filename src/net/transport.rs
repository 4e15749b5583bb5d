//! What a connection needs of its socket.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use mio::net::TcpStream;
use socket2::SockRef;

/// A socket: bytes in, bytes out, never waiting (`WouldBlock` instead). A test may bring its own.
pub trait Socket: Read + Write {
    /// Tells the peer that nothing more will come.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// Prefers fresh bytes to many bytes, and gives a vanished peer up after `user_timeout`.
    fn tune(&mut self, user_timeout: Duration) -> io::Result<()>;
}

impl Socket for TcpStream {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn tune(&mut self, user_timeout: Duration) -> io::Result<()> {
        let socket = SockRef::from(&*self);
        socket.set_tcp_nodelay(true)?;
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        socket.set_tcp_notsent_lowat(NOTSENT_LOWAT_BYTES)?;
        socket.set_tcp_user_timeout(Some(user_timeout))
    }
}

const SEND_BUFFER_BYTES: usize = 16 * 1024;
const NOTSENT_LOWAT_BYTES: u32 = 4 * 1024;
