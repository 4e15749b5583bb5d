//! The PROXY header: one verdict, within its bounds.

use tickyard::proxy_header::{HEADER_BYTES_MAX, Preface, read};

/// The verdict comes by [`HEADER_BYTES_MAX`] bytes at the latest, and bytes that follow never change it.
pub fn proxy_header(bytes: &[u8]) {
    let mut verdict = None;
    for len in 0..=bytes.len().min(HEADER_BYTES_MAX + 16) {
        let now = read(&bytes[..len]);
        match verdict {
            Some(before) => assert_eq!(now, before, "the same, however much follows"),
            None if now == Ok(None) => assert!(len < HEADER_BYTES_MAX, "it has to be known by now"),
            None => verdict = Some(now),
        }
        if let Ok(Some(Preface::Header { len: header, .. })) = now {
            assert!(header <= len && header <= HEADER_BYTES_MAX, "it is made of what came");
        }
    }
}
