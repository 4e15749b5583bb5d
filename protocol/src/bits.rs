//! Bit streams: bit 0 is the lowest bit of the first byte, numbers lowest bit first, padded with zeros.

use crate::bytes::Malformed;

/// Appends bits to a byte vector.
#[derive(Debug)]
pub struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    /// Bits not yet written, lowest first. Invariant: `used < 8` between calls.
    pending: u64,
    used: u32,
}

impl<'a> BitWriter<'a> {
    /// Starts at a byte border behind what `out` holds.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        BitWriter { out, pending: 0, used: 0 }
    }

    /// Writes the `width` low bits of `value`; `width` is at most 32 and the others must be zero.
    pub fn put(&mut self, value: u32, width: u32) {
        debug_assert!(width <= 32 && (width == 32 || value >> width == 0));
        self.pending |= (value as u64) << self.used;
        self.used += width;
        while self.used >= 8 {
            self.out.push(self.pending as u8);
            self.pending >>= 8;
            self.used -= 8;
        }
    }

    /// Writes the last, partial byte.
    pub fn finish(self) {
        if self.used > 0 {
            self.out.push(self.pending as u8);
        }
    }
}

/// Takes bits from the front of a slice.
#[derive(Clone, Debug)]
pub struct BitReader<'a> {
    rest: &'a [u8],
    /// Bits taken from `rest` but not yet read, lowest first.
    pending: u64,
    have: u32,
}

impl<'a> BitReader<'a> {
    /// Starts at the lowest bit of the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        BitReader { rest: bytes, pending: 0, have: 0 }
    }

    /// The next `width` bits, at most 32.
    pub fn take(&mut self, width: u32) -> Result<u32, Malformed> {
        debug_assert!(width <= 32);
        while self.have < width {
            let Some((&byte, rest)) = self.rest.split_first() else { return Err(Malformed::Short) };
            self.rest = rest;
            self.pending |= (byte as u64) << self.have;
            self.have += 8;
        }
        let value = self.pending & ((1u64 << width) - 1);
        self.pending >>= width;
        self.have -= width;
        Ok(value as u32)
    }

    /// Ends the reading: only zero bits of the last byte may be left.
    pub fn finish(self) -> Result<(), Malformed> {
        if !self.rest.is_empty() || self.have >= 8 {
            return Err(Malformed::Long);
        }
        if self.pending != 0 { Err(Malformed::Invalid) } else { Ok(()) }
    }
}

/// How many bits `value` needs; 0 needs none.
pub fn width(value: u32) -> u32 {
    32 - value.leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_back_in_any_mix_of_widths() {
        let mix: Vec<(u32, u32)> =
            (0..=32).flat_map(|w| [(if w == 0 { 0 } else { u32::MAX >> (32 - w) }, w), (0, w)]).collect();
        let mut out = vec![0xaa];
        let mut writer = BitWriter::new(&mut out);
        for &(value, width) in &mix {
            writer.put(value, width);
        }
        writer.finish();
        assert_eq!(out[0], 0xaa);

        let mut reader = BitReader::new(&out[1..]);
        for &(value, width) in &mix {
            assert_eq!(reader.take(width), Ok(value));
        }
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn the_first_bit_is_the_lowest_of_the_first_byte() {
        let mut out = Vec::new();
        let mut writer = BitWriter::new(&mut out);
        writer.put(1, 1);
        writer.put(0b10, 2);
        writer.put(0x1ff, 9);
        writer.finish();
        assert_eq!(out, [0b1111_1101, 0b0000_1111]);
    }

    #[test]
    fn padding_must_be_zero_and_short() {
        assert_eq!(BitReader::new(&[0x00]).finish(), Err(Malformed::Long));
        let mut reader = BitReader::new(&[0x80]);
        assert_eq!(reader.take(1), Ok(0));
        assert_eq!(reader.finish(), Err(Malformed::Invalid));
    }
}
