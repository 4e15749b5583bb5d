//! See `deflate` in `fuzz/src/lib.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tickyard_fuzz::deflate(bytes));
