//! Keys that nobody can predict.
//!
//! What a bot does follows from the seed of the run; what its bytes look like on the wire must not. RFC 6455, 10.3: a server that
//! knew the masks to come could make a client write whatever it likes past a proxy.

use rustix::rand::{GetRandomFlags, getrandom};

/// The system's random bytes, taken a few dozen keys at a time.
#[derive(Debug)]
pub struct Keys {
    pool: [u8; POOL_BYTES],
    /// What is before was handed out.
    used: usize,
}

/// So many come whole or not at all, and are not interrupted by signals (getrandom(2)).
const POOL_BYTES: usize = 256;

impl Default for Keys {
    fn default() -> Self {
        Keys { pool: [0; POOL_BYTES], used: POOL_BYTES }
    }
}

impl Keys {
    /// RFC 6455, 5.3: a frame's masking key, fresh and from a strong source of entropy.
    pub fn mask(&mut self) -> [u8; 4] {
        self.take()
    }

    /// RFC 6455, 4.1: 16 bytes, selected randomly for each connection.
    pub fn handshake_key(&mut self) -> [u8; 16] {
        self.take()
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        if POOL_BYTES - self.used < N {
            let filled = getrandom(&mut self.pool, GetRandomFlags::empty());
            assert_eq!(filled, Ok(POOL_BYTES), "the system has random bytes, and gives so few whole");
            self.used = 0;
        }
        let key = self.pool[self.used..self.used + N].try_into().expect("the range has N bytes");
        self.used += N;
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn keys_differ_also_from_those_of_another_run() {
        let (mut keys, mut others) = (Keys::default(), Keys::default());
        let mut seen = BTreeSet::new();
        for _ in 0..100 {
            for keys in [&mut keys, &mut others] {
                assert!(seen.insert(keys.handshake_key()));
                keys.mask();
            }
        }
        let masks: BTreeSet<_> = (0..1000).map(|_| keys.mask()).collect();
        // Two of a thousand are the same once in ten thousand times; so many are not.
        assert!(masks.len() > 990, "{}", masks.len());
    }
}
