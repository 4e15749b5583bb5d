//! Control messages to bytes and back. The only file that names bincode.
//!
//! Every decode has a limit and refuses bytes that are left over: a length prefix of a hostile peer is nine bytes, and
//! without a limit they ask for 2^64 bytes of memory and abort the process.

use crate::bytes::Malformed;
use serde::{Deserialize, Serialize};

/// A control message from a client holds at most this many bytes.
pub const CLIENT_CONTROL_BYTES_MAX: usize = 4 * 1024;

/// A control message from a server (with its schema) holds at most this many bytes.
pub const SERVER_CONTROL_BYTES_MAX: usize = 64 * 1024;

/// Appends a control message.
pub(crate) fn encode<T: Serialize>(message: &T, out: &mut Vec<u8>) {
    bincode::serde::encode_into_std_write(message, out, bincode::config::standard())
        .expect("our own message types always encode, and a Vec takes every byte");
}

/// Reads a client's control message, which must end with the bytes.
pub(crate) fn decode_client<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Malformed> {
    whole(bytes, bincode::config::standard().with_limit::<CLIENT_CONTROL_BYTES_MAX>())
}

/// Reads a server's control message, which must end with the bytes.
pub(crate) fn decode_server<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Malformed> {
    whole(bytes, bincode::config::standard().with_limit::<SERVER_CONTROL_BYTES_MAX>())
}

fn whole<'a, T: Deserialize<'a>, C: bincode::config::Config>(
    bytes: &'a [u8],
    config: C,
) -> Result<T, Malformed> {
    let (message, used) = bincode::serde::borrow_decode_from_slice(bytes, config).map_err(malformed)?;
    if used == bytes.len() { Ok(message) } else { Err(Malformed::Long) }
}

fn malformed(error: bincode::error::DecodeError) -> Malformed {
    use bincode::error::DecodeError;
    match error {
        DecodeError::UnexpectedEnd { .. } => Malformed::Short,
        DecodeError::LimitExceeded => Malformed::Range,
        DecodeError::Utf8 { .. } => Malformed::Utf8,
        _ => Malformed::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_bytes_that_announce_2_to_the_64_are_an_error_and_not_an_allocation() {
        let mut attack = vec![253];
        attack.extend([0xff; 8]);
        assert!(decode_client::<String>(&attack).is_err());
        assert!(decode_client::<&str>(&attack).is_err());
        assert!(decode_client::<Vec<u64>>(&attack).is_err());
        assert!(decode_server::<Vec<String>>(&attack).is_err());
        assert!(decode_server::<Vec<u8>>(&attack).is_err());
    }

    #[test]
    fn a_long_list_of_nothing_is_held_by_the_limit() {
        let mut attack = vec![252];
        attack.extend(u32::MAX.to_le_bytes());
        assert!(decode_client::<Vec<u8>>(&attack).is_err());
        assert!(decode_server::<Vec<Vec<u8>>>(&attack).is_err());
    }

    #[test]
    fn bytes_left_over_are_an_error() {
        assert_eq!(decode_client::<u32>(&[1]), Ok(1));
        assert_eq!(decode_client::<u32>(&[1, 0]), Err(Malformed::Long));
        assert_eq!(decode_client::<u32>(&[]), Err(Malformed::Short));
    }
}
