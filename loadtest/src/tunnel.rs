//! A tunnel through an HTTP proxy (RFC 9110, 9.3.6), without sockets: the request for it, and the answer.

use tickyard::http::{HeadScan, HttpError};

/// A tunnel that was asked for. Plain data.
#[derive(Clone, Debug, Default)]
pub struct Tunnel {
    /// The answer so far; at most a head's bytes and what one read brought.
    head: Vec<u8>,
    scan: HeadScan,
}

impl Tunnel {
    /// Writes the request for a tunnel to `authority`, a host with its port.
    pub fn write_request(authority: &str, out: &mut Vec<u8>) {
        // RFC 9112, 3.2.3 and 3.2: the target is host and port, and Host says the same.
        out.extend_from_slice(
            format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n").as_bytes(),
        );
    }

    /// Takes a part of the answer. `Some`: the tunnel stands, and these bytes came through it already.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
        self.head.extend_from_slice(bytes);
        match self.scan.response(&self.head) {
            Ok(None) => Ok(None),
            // RFC 9110, 9.3.6: any 2xx means that the tunnel begins behind the head, whatever lengths that announces.
            Ok(Some((response, end))) if matches!(response.status, 200..300) => {
                Ok(Some(std::mem::take(&mut self.head).split_off(end)))
            }
            Ok(Some((response, _))) => Err(refused(response.status)),
            Err(HttpError::NotHttp) => Err("the proxy does not speak HTTP".to_string()),
            Err(error) => Err(format!("the proxy answered with {error}")),
        }
    }
}

fn refused(status: u16) -> String {
    match status {
        403 => "the proxy allows no tunnel to this server (403)".to_string(),
        407 => "the proxy wants to know who asks (407), which the swarm does not tell".to_string(),
        status => format!("the proxy answered with {status} instead of a tunnel"),
    }
}
