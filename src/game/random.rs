//! A room's random numbers: the same after the same seed, on every machine and in every version of this crate.

/// A random source that begins with a seed: xoshiro256++ (Blackman and Vigna, 2019), seeded through SplitMix64.
///
/// Good enough for any game, and not for secrets: who sees enough of its numbers knows the next ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// Starts the sequence of a seed.
    pub fn new(seed: u64) -> Random {
        let mut split = seed;
        Random { state: std::array::from_fn(|_| split_mix(&mut split)) }
    }

    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A number from 0 to below `end`, each as likely as the others.
    ///
    /// # Panics
    /// If `end` is 0.
    pub fn below(&mut self, end: u32) -> u32 {
        assert!(end > 0, "there is no number below 0");
        // Lemire, 2019: the high half of a product; what would make it uneven is thrown again.
        let uneven = end.wrapping_neg() % end;
        loop {
            let product = (self.bits() >> 32) * end as u64;
            if product as u32 >= uneven {
                return (product >> 32) as u32;
            }
        }
    }

    /// The state as one word, for the hash of a room.
    pub(crate) fn digest(&self) -> u64 {
        self.state.iter().fold(0, |digest: u64, word| digest.rotate_left(17) ^ word)
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_the_published_one() {
        // The first outputs of the reference implementation for the state 1, 2, 3, 4.
        let mut random = Random { state: [1, 2, 3, 4] };
        let first: Vec<u64> = (0..4).map(|_| random.bits()).collect();
        assert_eq!(first, [41943041, 58720359, 3588806011781223, 3591011842654386]);
        // The first output of SplitMix64 for the seed 1234567.
        assert_eq!(split_mix(&mut 1234567), 6457827717110365317);
    }

    #[test]
    fn numbers_below_a_bound_reach_all_of_it_and_nothing_else() {
        let mut random = Random::new(7);
        let mut seen = [0u32; 6];
        (0..6000).for_each(|_| seen[random.below(6) as usize] += 1);
        assert!(seen.iter().all(|&count| (850..1150).contains(&count)), "{seen:?}");
        assert_eq!(random.below(1), 0);
    }
}
