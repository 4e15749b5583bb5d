//! The compressed payload of one message (RFC 7692, 7.2), with a zlib behind it.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::websocket::ReadError;

/// Replaces `out` by what `compressed` says after `context`. Never holds more than one byte over `max`.
pub(super) fn inflate(
    context: &[u8],
    compressed: &[u8],
    max: usize,
    out: &mut Vec<u8>,
) -> Result<(), ReadError> {
    *out = Vec::new();
    if compressed.is_empty() {
        // RFC 7692, 7.2.3.6: an empty message is one byte; a zlib that is flushed twice leaves out even that one.
        return Ok(());
    }
    out.reserve_exact(compressed.len().saturating_mul(FIRST_GUESS).min(max) + 1);
    let mut input = Input { parts: [compressed, &TAIL] };
    for _ in 0..STREAMS_MAX {
        if inflate_stream(context, &mut input, max, out)? {
            return Ok(());
        }
    }
    Err(ReadError::TooFragmented)
}

/// Reads up to the end of a final block. Returns whether it was ours.
fn inflate_stream(
    context: &[u8],
    input: &mut Input,
    max: usize,
    out: &mut Vec<u8>,
) -> Result<bool, ReadError> {
    // Takes any window: the peer's is at most as large.
    let mut inflater = Decompress::new(false);
    for said in [context, out] {
        if !said.is_empty() {
            let window = &said[said.len().saturating_sub(1 << 15)..];
            inflater.set_dictionary(window).expect("a raw stream takes a dictionary at its start");
        }
    }
    loop {
        let before = inflater.total_in();
        let status = inflater
            .decompress_vec(input.front(), out, FlushDecompress::None)
            .map_err(|_| ReadError::Deflate)?;
        input.advance((inflater.total_in() - before) as usize);
        if out.len() > max {
            return Err(ReadError::TooLong);
        }
        match status {
            Status::StreamEnd => return Ok(input.is_empty()),
            _ if out.len() == out.capacity() => grow(out, max),
            // All is read, and our final block was not met: it was taken for data, so the last block had no end.
            _ if input.is_empty() => return Err(ReadError::Deflate),
            _ => {}
        }
    }
}

/// Doubles the room in `out`, up to one byte over `max`, which tells a message that is too long.
fn grow(out: &mut Vec<u8>, max: usize) {
    let room = out.len().saturating_mul(2).min(max) + 1 - out.len();
    out.reserve_exact(room);
}

/// Puts the compressed payload of `message`, which follows `context`, at the end of `out`.
pub(super) fn deflate(window_bits: u8, context: &[u8], message: &[u8], out: &mut Vec<u8>) {
    let mut deflater = Compress::new_with_window_bits(Compression::fast(), false, window_bits);
    if !context.is_empty() {
        deflater.set_dictionary(context).expect("a raw stream takes a dictionary at its start");
    }
    run(&mut deflater, message, out);
}

/// A compressor that is used again.
#[derive(Debug, Default)]
pub(super) struct Deflater(Option<Compress>);

impl Deflater {
    /// The same without a context, into the largest window.
    pub(super) fn deflate(&mut self, message: &[u8], out: &mut Vec<u8>) {
        let deflater = self.0.get_or_insert_with(|| Compress::new(Compression::fast(), false));
        deflater.reset();
        run(deflater, message, out);
    }
}

/// RFC 7692, 7.2.1: ends with an empty block without compression, of which the last four bytes are left out.
fn run(deflater: &mut Compress, message: &[u8], out: &mut Vec<u8>) {
    let before = deflater.total_in();
    loop {
        out.reserve(message.len() / 2 + FLUSH_ROOM);
        let used = (deflater.total_in() - before) as usize;
        deflater
            .compress_vec(&message[used..], out, FlushCompress::Sync)
            .expect("a deflater takes any bytes");
        let used = (deflater.total_in() - before) as usize;
        if used == message.len() && out.len() < out.capacity() {
            break;
        }
    }
    assert!(out.ends_with(&[0, 0, 0xff, 0xff]), "a flush ends with an empty block");
    out.truncate(out.len() - 4);
}

/// What is read, in order; the first part that is not empty is the front.
struct Input<'a> {
    parts: [&'a [u8]; 2],
}

impl<'a> Input<'a> {
    fn front(&self) -> &'a [u8] {
        let [first, second] = self.parts;
        if first.is_empty() { second } else { first }
    }

    fn advance(&mut self, used: usize) {
        let at = usize::from(self.parts[0].is_empty());
        self.parts[at] = &self.parts[at][used..];
    }

    fn is_empty(&self) -> bool {
        self.front().is_empty()
    }
}

/// RFC 7692, 7.2.2: the four bytes that the sender left out. Behind them a final block of ours: whether it is met is how we
/// know that the sender's last block had an end.
const TAIL: [u8; 9] = [0x00, 0x00, 0xff, 0xff, 0x01, 0x00, 0x00, 0xff, 0xff];

/// RFC 7692, 7.2.3.4: blocks may follow a final one. Each such costs a new inflater, so not in any number. Who ends messages with a
/// final block needs two.
const STREAMS_MAX: usize = 8;

/// How much longer than its payload a message is taken to be at first.
const FIRST_GUESS: usize = 4;

/// Room for the ends of blocks.
const FLUSH_ROOM: usize = 64;
