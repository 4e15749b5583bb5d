//! The PROXY header: one verdict, however it is cut, and about its own bytes alone.

use tickyard::proxy_header::{HEADER_BYTES_MAX, Preface, read};

/// A verdict that stands once it is said, on headers that begin as they must and end within the limit.
pub fn proxy_header(bytes: &[u8]) {
    let mut known = None;
    for end in 0..=bytes.len().min(HEADER_BYTES_MAX + 16) {
        let verdict = read(&bytes[..end]);
        match known {
            None if verdict == Ok(None) => {}
            None => known = Some(verdict),
            Some(known) => assert_eq!(verdict, known, "more bytes change nothing"),
        }
    }
    let is_one = bytes.starts_with(b"PROXY ") || bytes.starts_with(b"\r\n\r\n\0\r\nQUIT\n");
    match known {
        None => assert!(bytes.len() < HEADER_BYTES_MAX, "who is not sure by now is never sure"),
        Some(Ok(Some(Preface::Absent))) => assert!(!is_one, "this is a header"),
        Some(Ok(Some(Preface::Header { len, client }))) => {
            assert!(is_one && len <= bytes.len().min(HEADER_BYTES_MAX));
            if let (Some(client), b"PROXY ") = (client, &bytes[..6]) {
                let line = str::from_utf8(&bytes[..len]).expect("a line is text");
                let from = line.split(' ').nth(2).expect("the client's address");
                assert!(line.ends_with("\r\n") && from.parse() == Ok(client));
                assert_eq!(line.starts_with("PROXY TCP4"), client.is_ipv4());
            }
        }
        Some(Ok(None)) => unreachable!("that is no verdict"),
        Some(Err(_)) => assert!(is_one, "what does not begin as a header is for whoever comes next"),
    }
}
