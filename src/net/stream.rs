//! A player's TCP socket.
//!
//! It is read and written by bare system calls. libc makes a point of cancellation of each, with two atomic operations and a call on
//! top: a hundredth of all that a busy server does.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use mio::net::TcpStream;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::SockRef;

use super::transport::Socket;

/// A TCP connection that never waits.
#[derive(Debug)]
pub struct Stream(pub TcpStream);

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (len, _) = recv(&self.0, buffer, RecvFlags::empty())?;
        Ok(len)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(&self.0, bytes, SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket for Stream {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.shutdown(Shutdown::Write)
    }

    fn abort(&mut self) -> io::Result<()> {
        SockRef::from(&self.0).set_linger(Some(Duration::ZERO))
    }

    fn tune(&mut self, user_timeout: Duration) -> io::Result<()> {
        let socket = SockRef::from(&self.0);
        socket.set_tcp_nodelay(true)?;
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        socket.set_tcp_notsent_lowat(NOTSENT_LOWAT_BYTES)?;
        socket.set_tcp_user_timeout(Some(user_timeout))
    }
}

const SEND_BUFFER_BYTES: usize = 16 * 1024;
const NOTSENT_LOWAT_BYTES: u32 = 4 * 1024;
