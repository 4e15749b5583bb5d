//! Masking (RFC 6455, 5.3): the payload from a client is XORed with four bytes, over and over.
//!
//! Masking and unmasking are the same. A payload that comes in parts goes on where the key stopped: rotate the
//! key left by the length of the part before it.

/// XORs `bytes` with `key`, beginning at the key's first byte.
pub fn apply(bytes: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let key_twice = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ key_twice).to_ne_bytes();
    }
    apply_naive(rest, key);
}

/// The definition. [`apply`] must do the same.
pub fn apply_naive(bytes: &mut [u8], key: [u8; 4]) {
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte ^= key[index % 4];
    }
}
