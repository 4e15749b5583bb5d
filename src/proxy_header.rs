//! The PROXY protocol, versions 1 and 2: the line or block in which a proxy says, before all else, whose connection it passes on.
//!
//! [`read`] looks at the first bytes of a connection. It knows no socket and keeps nothing: who calls it collects the bytes, at most
//! [`HEADER_BYTES_MAX`], until it is sure. Only a trusted proxy may be asked; anybody can write such a header.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What stands at the start of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preface {
    /// No PROXY header: all bytes are for whoever comes next.
    Absent,
    /// A header of `len` bytes, and whose connection it is. `None`: the proxy's own, or it does not know.
    Header {
        /// Its bytes; what follows is for whoever comes next.
        len: usize,
        /// The client.
        client: Option<IpAddr>,
    },
}

/// What begins like a PROXY header, but is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadProxyHeader;

/// Reads the start of a connection. `None` asks for more bytes.
pub fn read(bytes: &[u8]) -> Result<Option<Preface>, BadProxyHeader> {
    let begins_as = |start: &[u8]| bytes.starts_with(start);
    let may_become = |start: &[u8]| start.starts_with(bytes);
    match () {
        () if begins_as(SIGNATURE_1) => read_line(bytes),
        () if begins_as(SIGNATURE_2) => read_block(bytes),
        () if may_become(SIGNATURE_1) || may_become(SIGNATURE_2) => Ok(None),
        () => Ok(Some(Preface::Absent)),
    }
}

/// Section 2.1: `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443`.
fn read_line(bytes: &[u8]) -> Result<Option<Preface>, BadProxyHeader> {
    let within = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = within.windows(2).position(|two| two == b"\r\n") else {
        return if within.len() < LINE_BYTES_MAX { Ok(None) } else { Err(BadProxyHeader) };
    };
    let line = str::from_utf8(&within[SIGNATURE_1.len()..end]).map_err(|_| BadProxyHeader)?;
    let words: Vec<&str> = line.split(' ').collect();
    let client = match words[..] {
        // The rest of such a line means nothing.
        ["UNKNOWN", ..] => None,
        ["TCP4", from, to, from_port, to_port] => {
            Some(read_addresses::<Ipv4Addr>(from, to, from_port, to_port)?)
        }
        ["TCP6", from, to, from_port, to_port] => {
            Some(read_addresses::<Ipv6Addr>(from, to, from_port, to_port)?)
        }
        _ => return Err(BadProxyHeader),
    };
    Ok(Some(Preface::Header { len: end + 2, client }))
}

fn read_addresses<A: std::str::FromStr + Into<IpAddr>>(
    from: &str,
    to: &str,
    from_port: &str,
    to_port: &str,
) -> Result<IpAddr, BadProxyHeader> {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let (Ok(from), Ok(_)) = (from.parse::<A>(), to.parse::<A>()) else { return Err(BadProxyHeader) };
    if is_port(from_port) && is_port(to_port) { Ok(from.into()) } else { Err(BadProxyHeader) }
}

/// Section 2.2: signature, version and command, family, length, addresses, and further fields that are skipped.
fn read_block(bytes: &[u8]) -> Result<Option<Preface>, BadProxyHeader> {
    let [version, family, rest @ ..] = &bytes[SIGNATURE_2.len()..] else {
        // The version is judged as soon as it is there.
        return match bytes.get(SIGNATURE_2.len()) {
            Some(version) => read_command(*version).map(|_| None),
            None => Ok(None),
        };
    };
    let command = read_command(*version)?;
    let [high, low, rest @ ..] = rest else { return Ok(None) };
    let announced = usize::from(u16::from_be_bytes([*high, *low]));
    let len = BLOCK_HEAD_BYTES + announced;
    if len > HEADER_BYTES_MAX {
        return Err(BadProxyHeader);
    }
    let Some(rest) = rest.get(..announced) else { return Ok(None) };
    let client = match (command, family) {
        (Command::Local, _) => None,
        (Command::Proxy, 0x11 | 0x12) => Some(read_v4(rest)?),
        (Command::Proxy, 0x21 | 0x22) => Some(read_v6(rest)?),
        // UNSPEC and UNIX: it is passed on, but from nobody with an address.
        (Command::Proxy, 0x00 | 0x31 | 0x32) => None,
        (Command::Proxy, _) => return Err(BadProxyHeader),
    };
    Ok(Some(Preface::Header { len, client }))
}

enum Command {
    /// The proxy itself connects, to see whether we live.
    Local,
    /// It passes somebody on.
    Proxy,
}

fn read_command(version: u8) -> Result<Command, BadProxyHeader> {
    match version {
        0x20 => Ok(Command::Local),
        0x21 => Ok(Command::Proxy),
        _ => Err(BadProxyHeader),
    }
}

/// Two addresses and two ports; ours is the first.
fn read_v4(block: &[u8]) -> Result<IpAddr, BadProxyHeader> {
    let (from, rest) = block.split_first_chunk::<4>().ok_or(BadProxyHeader)?;
    if rest.len() < 8 { Err(BadProxyHeader) } else { Ok(Ipv4Addr::from(*from).into()) }
}

fn read_v6(block: &[u8]) -> Result<IpAddr, BadProxyHeader> {
    let (from, rest) = block.split_first_chunk::<16>().ok_or(BadProxyHeader)?;
    if rest.len() < 20 { Err(BadProxyHeader) } else { Ok(Ipv6Addr::from(*from).into()) }
}

/// The longest header: room for addresses and for what proxies add (a certificate's name, a connection's id).
pub const HEADER_BYTES_MAX: usize = 2048;

const SIGNATURE_1: &[u8] = b"PROXY ";
const SIGNATURE_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Section 2.1: the longest line, with its end.
const LINE_BYTES_MAX: usize = 107;
const BLOCK_HEAD_BYTES: usize = SIGNATURE_2.len() + 4;

const _: () = assert!(LINE_BYTES_MAX < HEADER_BYTES_MAX && BLOCK_HEAD_BYTES + 216 < HEADER_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    fn header(len: usize, client: &str) -> Result<Option<Preface>, BadProxyHeader> {
        Ok(Some(Preface::Header { len, client: client.parse().ok() }))
    }

    fn block(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = (rest.len() as u16).to_be_bytes();
        [SIGNATURE_2, &[command, family], &len, rest].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 4, 1, 0xbb];

    fn v6() -> Vec<u8> {
        let address = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
        [&address("2001:db8::1")[..], &address("2001:db8::2"), &[1, 2, 3, 4]].concat()
    }

    /// Every header that is right, and what it says.
    fn samples() -> Vec<(Vec<u8>, &'static str)> {
        let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let unix = [7; 216];
        let fields = [4, 0, 3, 1, 2, 3, 0x20, 0xff, 0xff];
        vec![
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n".to_vec(), "192.0.2.1"),
            (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n".to_vec(), "255.255.255.255"),
            (b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n".to_vec(), "2001:db8::1"),
            (format!("PROXY TCP6 {longest} {longest} 65535 65535\r\n").into(), longest),
            (b"PROXY UNKNOWN\r\n".to_vec(), ""),
            (format!("PROXY UNKNOWN {longest} {longest} 65535 65535\r\n").into(), ""),
            (block(0x21, 0x11, &V4), "192.0.2.1"),
            (block(0x21, 0x12, &V4), "192.0.2.1"),
            (block(0x21, 0x21, &v6()), "2001:db8::1"),
            (block(0x21, 0x22, &v6()), "2001:db8::1"),
            // Further fields are skipped, whatever they are.
            (block(0x21, 0x11, &[&V4[..], &fields].concat()), "192.0.2.1"),
            (block(0x21, 0x11, &[&V4[..], &[0; 2000]].concat()), "192.0.2.1"),
            (block(0x21, 0x00, &[]), ""),
            (block(0x21, 0x00, &[1, 2, 3]), ""),
            (block(0x21, 0x31, &unix), ""),
            (block(0x20, 0x00, &[]), ""),
            (block(0x20, 0x11, &V4), ""),
            (block(0x20, 0xff, &[1]), ""),
        ]
    }

    #[test]
    fn a_header_is_read_whatever_follows_and_wherever_it_is_cut() {
        for (bytes, client) in samples() {
            assert_eq!(read(&bytes), header(bytes.len(), client), "{}", bytes.escape_ascii());
            for cut in 0..bytes.len() {
                assert_eq!(read(&bytes[..cut]), Ok(None), "{} at {cut}", bytes.escape_ascii());
            }
            for next in [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01", b"PROXY ", b"\r\n"] {
                let all = [&bytes, next].concat();
                assert_eq!(read(&all), header(bytes.len(), client), "{}", all.escape_ascii());
            }
        }
    }

    #[test]
    fn the_longest_line_has_107_bytes_and_no_more() {
        let line = |len: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(len - 16)).into_bytes();
        assert_eq!(read(&line(107)), header(107, ""));
        assert_eq!(read(&line(107)[..106]), Ok(None));
        assert_eq!(read(&line(108)), Err(BadProxyHeader));
        assert_eq!(read(&line(108)[..107]), Err(BadProxyHeader), "without waiting for its end");
    }

    #[test]
    fn what_begins_otherwise_is_for_whoever_comes_next() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"P0",
            b"POST /",
            b"PROXY/",
            b"PROXYTCP4",
            b"proxy TCP4",
            b"\x16\x03\x01",
            b"\r\n\r\n\0\r\nQUIT\r",
            b"\r\r",
            b"\0",
        ] {
            assert_eq!(read(bytes), Ok(Some(Preface::Absent)), "{}", bytes.escape_ascii());
        }
        for cut in 0..SIGNATURE_2.len() {
            assert_eq!(read(&SIGNATURE_2[..cut]), Ok(None));
        }
    }

    #[test]
    fn a_line_that_is_not_quite_one_is_refused() {
        for line in [
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
            "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 \r\n",
            "PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 x 1 2\r\n",
            "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
            "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n\r\n",
            "PROXY TCP4 192.0.2.1\u{e4} 192.0.2.2 1 2\r\n",
        ] {
            assert_eq!(read(line.as_bytes()), Err(BadProxyHeader), "{line:?}");
        }
        assert_eq!(read(b"PROXY TCP4 \xff\r\n"), Err(BadProxyHeader));
    }

    #[test]
    fn a_block_that_is_not_quite_one_is_refused() {
        for bytes in [
            block(0x11, 0x11, &V4),
            block(0x31, 0x11, &V4),
            block(0x22, 0x11, &V4),
            block(0x21, 0x13, &V4),
            block(0x21, 0x41, &V4),
            block(0x21, 0x11, &V4[..11]),
            block(0x21, 0x11, &[]),
            block(0x21, 0x21, &v6()[..35]),
            block(0x21, 0x21, &V4),
        ] {
            assert_eq!(read(&bytes), Err(BadProxyHeader), "{}", bytes.escape_ascii());
        }
        assert_eq!(read(&[SIGNATURE_2, &[0x22]].concat()), Err(BadProxyHeader), "at once");
    }

    #[test]
    fn a_length_beyond_the_bound_is_refused_before_a_byte_of_it_comes() {
        let at = |announced: u16| {
            let [high, low] = announced.to_be_bytes();
            read(&[SIGNATURE_2, &[0x21, 0x11, high, low]].concat())
        };
        assert_eq!(at((HEADER_BYTES_MAX - BLOCK_HEAD_BYTES) as u16), Ok(None));
        assert_eq!(at((HEADER_BYTES_MAX - BLOCK_HEAD_BYTES) as u16 + 1), Err(BadProxyHeader));
        assert_eq!(at(u16::MAX), Err(BadProxyHeader));
    }

    #[test]
    fn any_bytes_are_answered_and_more_of_them_never_change_a_yes() {
        let (mut state, all) = (1u64, samples());
        for round in 0..20_000 {
            let mut bytes = all[round % all.len()].0.clone();
            for _ in 0..round % 3 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (state >> 33) as usize % bytes.len();
                bytes[at] = (state >> 24) as u8;
            }
            let mut known = None;
            for len in 0..=bytes.len() {
                let now = read(&bytes[..len]);
                if let Some(before) = known {
                    assert_eq!(now, before, "{}", bytes.escape_ascii());
                } else if now != Ok(None) {
                    known = Some(now);
                }
                if let Ok(Some(Preface::Header { len: header, .. })) = now {
                    assert!(header <= len && header <= HEADER_BYTES_MAX);
                }
            }
        }
    }
}
