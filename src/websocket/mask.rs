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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_payload_is_xored_with_the_key_over_and_over() {
        let mut bytes = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        apply(&mut bytes, [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(&bytes, b"Hello");
    }

    #[test]
    fn words_agree_with_the_definition_at_every_start_and_length() {
        let pattern: Vec<u8> = (0..64_u8).map(|byte| byte.wrapping_mul(37)).collect();
        for start in 0..16 {
            for end in start..pattern.len() {
                let (mut fast, mut naive) = (pattern.clone(), pattern.clone());
                apply(&mut fast[start..end], [0xa1, 0xb2, 0xc3, 0xd4]);
                apply_naive(&mut naive[start..end], [0xa1, 0xb2, 0xc3, 0xd4]);
                assert_eq!(fast, naive, "{start}..{end}");
            }
        }
    }

    proptest! {
        #[test]
        fn parts_with_a_turned_key_agree_with_the_definition(
            bytes: Vec<u8>,
            key: [u8; 4],
            cut: prop::sample::Index,
        ) {
            let cut = cut.index(bytes.len() + 1);
            let (mut parts, mut naive) = (bytes.clone(), bytes);
            let mut turned = key;
            apply(&mut parts[..cut], key);
            turned.rotate_left(cut % 4);
            apply(&mut parts[cut..], turned);
            apply_naive(&mut naive, key);
            prop_assert_eq!(parts, naive);
        }
    }
}
