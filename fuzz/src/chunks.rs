//! Input that says how it is cut: the first byte is the size of the first chunk, behind which the next size stands.

/// The chunks of an input. Bytes that are missing at its end make the last chunk shorter.
pub fn chunks(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut chunks = Vec::new();
    while let Some((&size, rest)) = bytes.split_first() {
        let (chunk, rest) = rest.split_at(rest.len().min(size.into()));
        chunks.push(chunk);
        bytes = rest;
    }
    chunks
}

/// Three ways to hand in what the chunks say: as they are, as one, and byte by byte (or what is long, in few bytes each).
pub fn cuts(bytes: &[u8]) -> [Vec<Vec<u8>>; 3] {
    let as_they_are: Vec<Vec<u8>> = chunks(bytes).into_iter().map(<[u8]>::to_vec).collect();
    let whole = as_they_are.concat();
    let singly = whole.chunks(1 + whole.len() / SINGLE_BYTES_MAX).map(<[u8]>::to_vec).collect();
    [as_they_are, vec![whole], singly]
}

/// A fuzzer wants many tries a second.
const SINGLE_BYTES_MAX: usize = 500;
