//! What crosses the wire between a Tickyard server and its clients.
//!
//! `PROTOCOL.md` beside this crate is the contract, byte by byte; this crate is its Rust form, for the server, the load test and
//! native clients alike. It owns no socket and no clock. The way through it:
//!
//! - [`message`]: hello, welcome, inputs, pings: what is said outside the tick stream;
//! - [`name`]: what a player may be called;
//! - [`tick`]: the tick message, a header and blocks;
//! - [`delta`]: cells as snapshots and bit-packed deltas;
//! - [`fields`]: a game's things as rows of integers, and the schema that describes them;
//! - [`replica`]: a client's world, kept from tick messages, and [`repair`]: what it says when that is not the server's;
//! - [`bytes`], [`bits`], [`types`]: the primitives. `codec` is the only file that knows bincode.

#![forbid(unsafe_code)]

pub mod bits;
pub mod bytes;
mod codec;
pub mod delta;
pub mod fields;
pub mod message;
pub mod name;
pub mod repair;
pub mod replica;
pub mod tick;
pub mod types;

pub use codec::{CLIENT_CONTROL_BYTES_MAX, SERVER_CONTROL_BYTES_MAX};
