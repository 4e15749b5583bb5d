//! The `tickyard` command.
fn main() {}
