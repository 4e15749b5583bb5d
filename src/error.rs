//! What can go wrong for whoever starts a server.
//!
//! Nothing here is ever caused by a peer: a peer's mistakes end that peer and move a counter. Each error is one
//! line which says what was wrong and what to do about it.

use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Why a server did not start, or stopped.
///
/// `Debug` prints the same line as `Display`, so that `fn main() -> Result<(), tickyard::Error>` tells people what
/// to do instead of showing them a struct.
#[non_exhaustive]
pub enum Error {
    /// A flag, an environment variable or a line of the configuration file cannot be used. The text is complete.
    Config(String),
    /// An address cannot be listened on.
    Listen {
        /// The flag that chose the address, as in `--listen`.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused something that a server cannot do without.
    System {
        /// What was tried; completes "cannot …".
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// The exit code for this error: 2 if the configuration has to change, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Config(_) => 2,
            Error::Listen { .. } | Error::System { .. } => 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Config(text) => f.write_str(text),
            Error::Listen { flag, address, source } => {
                write!(f, "cannot listen on {address}: {}", listen_advice(flag, *address, source))
            }
            Error::System { doing, source } => write!(f, "cannot {doing}: {source}"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Config(_) => None,
            Error::Listen { source, .. } | Error::System { source, .. } => Some(source),
        }
    }
}

fn listen_advice(flag: &str, address: SocketAddr, source: &io::Error) -> String {
    let any_port = SocketAddr::new(address.ip(), 0);
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            format!("the port is in use; stop the other process or pass {flag} {any_port}")
        }
        io::ErrorKind::AddrNotAvailable => {
            let every = SocketAddr::new([0, 0, 0, 0].into(), address.port());
            format!(
                "this machine does not have that address; pass one that it has, or {flag} {every} for all of them"
            )
        }
        io::ErrorKind::PermissionDenied => {
            "permission denied; pass a port from 1024 up, or give the program CAP_NET_BIND_SERVICE".to_owned()
        }
        _ => source.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(kind: io::ErrorKind) -> Error {
        Error::Listen { flag: "--listen", address: ([192, 0, 2, 1], 80).into(), source: kind.into() }
    }

    #[test]
    fn each_reason_not_to_listen_comes_with_advice() {
        assert_eq!(
            listen(io::ErrorKind::AddrInUse).to_string(),
            "cannot listen on 192.0.2.1:80: the port is in use; stop the other process or pass --listen 192.0.2.1:0"
        );
        assert_eq!(
            listen(io::ErrorKind::AddrNotAvailable).to_string(),
            "cannot listen on 192.0.2.1:80: this machine does not have that address; pass one that it has, or \
             --listen 0.0.0.0:80 for all of them"
        );
        assert_eq!(
            listen(io::ErrorKind::PermissionDenied).to_string(),
            "cannot listen on 192.0.2.1:80: permission denied; pass a port from 1024 up, or give the program \
             CAP_NET_BIND_SERVICE"
        );
    }

    #[test]
    fn a_main_that_returns_the_error_shows_the_line_that_people_read() {
        let error = listen(io::ErrorKind::AddrInUse);
        assert_eq!(format!("{error:?}"), error.to_string());
    }

    #[test]
    fn only_a_wrong_configuration_exits_with_2() {
        assert_eq!(Error::Config("--tick-rate: …".to_owned()).exit_code(), 2);
        assert_eq!(listen(io::ErrorKind::AddrInUse).exit_code(), 1);
        assert_eq!(Error::System { doing: "start a thread", source: io::Error::other("no") }.exit_code(), 1);
    }
}
