//! Reading and writing the primitives of PROTOCOL.md, section 2: varints, zigzags, short strings.
//!
//! A [`Reader`] never looks past its end: too short is [`Malformed::Short`], and the caller decides who is to blame.

/// Why bytes could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A bit pattern that the format does not allow.
    Invalid,
    /// Bytes were left over where the value had to end.
    Long,
    /// A number, list or string larger than its limit.
    Range,
    /// The bytes ended inside a value.
    Short,
    /// Text that is not UTF-8.
    Utf8,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Malformed::Invalid => "a bit pattern that the format does not allow",
            Malformed::Long => "bytes left over after the value",
            Malformed::Range => "a number, list or string over its limit",
            Malformed::Short => "the bytes end inside a value",
            Malformed::Utf8 => "text that is not UTF-8",
        })
    }
}

impl std::error::Error for Malformed {}

/// Takes values from the front of a slice.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else { return Err(Malformed::Short) };
        self.rest = rest;
        Ok(taken)
    }

    /// All bytes that are left.
    pub fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        let Some((&byte, rest)) = self.rest.split_first() else { return Err(Malformed::Short) };
        self.rest = rest;
        Ok(byte)
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        let Some((bytes, rest)) = self.rest.split_first_chunk() else { return Err(Malformed::Short) };
        self.rest = rest;
        Ok(u32::from_le_bytes(*bytes))
    }

    /// A LEB128 number below 2^32 in at most five bytes.
    pub fn varint(&mut self) -> Result<u32, Malformed> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.u8()?;
            if shift == 28 && byte > 0x0f {
                return Err(Malformed::Range);
            }
            value |= ((byte & 0x7f) as u32) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed::Range)
    }

    /// A signed number, small in either direction.
    pub fn zigzag(&mut self) -> Result<i32, Malformed> {
        Ok(unzigzag(self.varint()?))
    }

    /// One byte length, then UTF-8.
    pub fn str8(&mut self) -> Result<&'a str, Malformed> {
        let len = self.u8()? as usize;
        std::str::from_utf8(self.take(len)?).map_err(|_| Malformed::Utf8)
    }

    /// Ends the reading: an error if anything is left.
    pub fn finish(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::Long) }
    }
}

/// Reads a number that is all there is.
pub fn whole_varint(bytes: &[u8]) -> Result<u32, Malformed> {
    let mut reader = Reader::new(bytes);
    let value = reader.varint()?;
    reader.finish()?;
    Ok(value)
}

/// Appends a LEB128 number.
pub fn put_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed number as the varint of its zigzag.
pub fn put_zigzag(out: &mut Vec<u8>, value: i32) {
    put_varint(out, zigzag(value));
}

/// Appends one byte length and the text.
///
/// # Panics
/// If the text is longer than 255 bytes: only our own code can cause that.
pub fn put_str8(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).expect("a str8 holds at most 255 bytes"));
    out.extend_from_slice(text.as_bytes());
}

/// How many bytes [`put_varint`] appends.
pub fn varint_len(value: u32) -> usize {
    (32 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Maps 0, -1, 1, -2 … to 0, 1, 2, 3 …
pub fn zigzag(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

/// The inverse of [`zigzag`].
pub fn unzigzag(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_round_trip_in_their_shortest_form() {
        for value in [0, 1, 127, 128, 300, 16383, 16384, 1 << 21, 1 << 28, u32::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_len(value));
            let mut reader = Reader::new(&out);
            assert_eq!(reader.varint(), Ok(value));
            assert_eq!(reader.finish(), Ok(()));
            for cut in 0..out.len() {
                assert_eq!(Reader::new(&out[..cut]).varint(), Err(Malformed::Short));
            }
        }
    }

    #[test]
    fn a_varint_over_32_bits_is_refused() {
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x0f]).varint(), Ok(u32::MAX));
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x10]).varint(), Err(Malformed::Range));
        assert_eq!(Reader::new(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]).varint(), Err(Malformed::Range));
    }

    #[test]
    fn zigzag_covers_every_sign_and_both_ends() {
        let pairs = [(0, 0), (-1, 1), (1, 2), (-2, 3), (i32::MAX, u32::MAX - 1), (i32::MIN, u32::MAX)];
        for (signed, unsigned) in pairs {
            assert_eq!(zigzag(signed), unsigned);
            assert_eq!(unzigzag(unsigned), signed);
        }
    }

    #[test]
    fn a_str8_must_be_utf8_and_whole() {
        let mut out = Vec::new();
        put_str8(&mut out, "Ada");
        assert_eq!(Reader::new(&out).str8(), Ok("Ada"));
        assert_eq!(Reader::new(&out[..3]).str8(), Err(Malformed::Short));
        assert_eq!(Reader::new(&[2, 0xc3, 0x28]).str8(), Err(Malformed::Utf8));
    }
}
