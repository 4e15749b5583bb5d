//! Stands in for the codec in a build without the feature `deflate`, where no handshake ever agrees on compression.

use crate::websocket::ReadError;

pub(super) fn inflate(_: &[u8], _: &[u8], _: usize, _: &mut Vec<u8>) -> Result<(), ReadError> {
    unreachable!("nothing was agreed on")
}

pub(super) fn deflate(_: u8, _: &[u8], _: &[u8], _: &mut Vec<u8>) {
    unreachable!("nothing was agreed on")
}

#[derive(Debug, Default)]
pub(super) struct Deflater;

impl Deflater {
    pub(super) fn deflate(&mut self, _: &[u8], _: &mut Vec<u8>) {
        unreachable!("nothing was agreed on")
    }
}
