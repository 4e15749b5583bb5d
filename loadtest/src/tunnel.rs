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

#[cfg(test)]
mod tests {
    use super::*;
    use tickyard::http::HEAD_BYTES_MAX;

    /// What comes through the tunnel after an answer in these pieces.
    fn meet<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Option<Vec<u8>>, String> {
        let mut tunnel = Tunnel::default();
        let mut pieces = pieces.into_iter();
        for piece in pieces.by_ref() {
            if let Some(mut through) = tunnel.receive(piece)? {
                through.extend(pieces.flatten());
                return Ok(Some(through));
            }
        }
        Ok(None)
    }

    #[test]
    fn the_request_names_host_and_port_twice() {
        let mut out = Vec::new();
        Tunnel::write_request("[::1]:443", &mut out);
        assert_eq!(out, b"CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n");
    }

    #[test]
    fn an_answer_opens_the_tunnel_wherever_it_is_cut() {
        // A length in such an answer means nothing.
        let answer = b"HTTP/1.1 200 Connection established\r\nVia: x\r\nContent-Length: 5\r\n\r\nthrough";
        for cut in 0..answer.len() {
            let (first, rest) = answer.split_at(cut);
            assert_eq!(meet([first, rest]), Ok(Some(b"through".to_vec())), "cut at {cut}");
        }
        assert_eq!(meet(answer.chunks(1)), Ok(Some(b"through".to_vec())));
        assert_eq!(meet([&b"HTTP/1.0 299 Whatever\r\n\r\n"[..]]), Ok(Some(Vec::new())));
        assert_eq!(meet([&answer[..20]]), Ok(None));
    }

    #[test]
    fn another_answer_is_an_error_that_says_what_it_was() {
        for (answer, error) in [
            ("HTTP/1.1 403 Forbidden\r\n\r\n", "the proxy allows no tunnel to this server (403)"),
            (
                "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n",
                "the proxy wants to know who asks (407), which the swarm does not tell",
            ),
            ("HTTP/1.1 502 Bad Gateway\r\n\r\n", "the proxy answered with 502 instead of a tunnel"),
            ("HTTP/1.1 101 Switching\r\n\r\n", "the proxy answered with 101 instead of a tunnel"),
            ("\x15\x03\x01\x00\x02\x02\x16", "the proxy does not speak HTTP"),
            ("SSH-2.0-OpenSSH\r\n\r\n", "the proxy answered with an unknown version of HTTP"),
            ("HTTP/1.1 200\nOK\r\n\r\n", "the proxy answered with a malformed head"),
            ("HTTP/2.0 200 OK\r\n\r\n", "the proxy answered with an unknown version of HTTP"),
        ] {
            assert_eq!(meet([answer.as_bytes()]), Err(error.to_string()), "{answer:?}");
            assert_eq!(meet(answer.as_bytes().chunks(1)), Err(error.to_string()), "{answer:?} byte by byte");
        }
    }

    #[test]
    fn an_answer_without_end_ends_at_the_bound() {
        let line = "X-Filler: 0123456789012345678901234567890123456789012345678901234567890123456789\r\n";
        let endless = format!("HTTP/1.1 200 OK\r\n{}", line.repeat(1000));
        for size in [1, 100, endless.len()] {
            let mut tunnel = Tunnel::default();
            let mut taken = 0;
            let mut pieces = endless.as_bytes().chunks(size);
            let error = loop {
                let piece = pieces.next().expect("it ends before the answer does");
                taken += piece.len();
                match tunnel.receive(piece) {
                    Ok(opened) => assert_eq!(opened, None),
                    Err(error) => break error,
                }
            };
            assert!(taken <= HEAD_BYTES_MAX + size, "{taken} bytes were taken");
            assert_eq!(error, "the proxy answered with a head with too many bytes or fields");
        }
        // Many short lines are too many fields.
        assert!(meet([format!("HTTP/1.1 200 OK\r\n{}", "A: b\r\n".repeat(200)).as_bytes()]).is_err());
    }
}
