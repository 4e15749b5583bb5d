//! Bytes that the kernel has not taken yet.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// Bytes for one peer that wait, in order. Once it has [given back](Outbox::give_back) what it had it holds no memory while nothing waits.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outbox {
    bytes: Vec<u8>,
    /// How many of them the kernel has. Invariant: `taken <= bytes.len()`.
    taken: usize,
    /// How many of them are as they go on the wire; what follows is what a session said since, and TLS makes records of it. Without TLS it
    /// means nothing. Invariant: `sealed <= bytes.len()`.
    sealed: usize,
    /// Since when the kernel has taken nothing, while something waits.
    stuck_since: Option<Time>,
}

/// What a flush did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Bytes that the kernel took.
    pub bytes: usize,
    /// System calls that were made.
    pub calls: u32,
}

impl Outbox {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    /// The memory that what waits takes.
    pub fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Where to append bytes for the peer.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        if self.taken > 0 {
            self.bytes.drain(..self.taken);
            self.sealed = self.sealed.saturating_sub(self.taken);
            self.taken = 0;
        }
        &mut self.bytes
    }

    /// Uses this memory for what is said next, if it has none of its own.
    pub fn lend(&mut self, spare: &mut Vec<u8>) {
        if self.bytes.capacity() == 0 {
            std::mem::swap(&mut self.bytes, spare);
        }
    }

    /// Lets go of its memory if nothing waits; what is of the usual size is spare then.
    pub fn give_back(&mut self, spare: &mut Vec<u8>) {
        if !self.is_empty() {
            return;
        }
        let mut bytes = std::mem::take(self).bytes;
        if (spare.capacity() + 1..=SPARE_BYTES_MAX).contains(&bytes.capacity()) {
            bytes.clear();
            *spare = bytes;
        }
    }

    /// Lets `seal` append to the wire bytes what becomes of the bytes that were appended since the last time.
    pub fn seal<R>(&mut self, seal: impl FnOnce(&[u8], &mut Vec<u8>) -> R) -> R {
        let said = self.bytes.split_off(self.sealed);
        let done = seal(&said, &mut self.bytes);
        self.sealed = self.bytes.len();
        done
    }

    /// Since when the kernel has taken nothing although something waits.
    pub fn stuck_since(&self) -> Option<Time> {
        self.stuck_since
    }

    /// Sends `bytes` at once; what the kernel does not take waits. Nothing may wait already.
    pub fn send(&mut self, now: Time, bytes: &[u8], to: &mut impl Write) -> io::Result<Flushed> {
        debug_assert!(self.is_empty());
        let taken = write_once(to, bytes)?;
        if taken < bytes.len() {
            self.bytes.extend_from_slice(&bytes[taken..]);
            self.sealed = self.bytes.len();
            self.stuck_since = Some(now);
        }
        Ok(Flushed { bytes: taken, calls: 1 })
    }

    /// Offers the kernel what waits.
    pub fn flush(&mut self, now: Time, to: &mut impl Write) -> io::Result<Flushed> {
        let mut flushed = Flushed::default();
        while !self.is_empty() {
            let taken = write_once(to, &self.bytes[self.taken..])?;
            flushed.calls += 1;
            flushed.bytes += taken;
            self.taken += taken;
            if taken == 0 {
                break;
            }
        }
        if self.is_empty() {
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.clear();
            *self = Outbox { bytes, ..Outbox::default() };
        } else if flushed.bytes > 0 || self.stuck_since.is_none() {
            self.stuck_since = Some(now);
        }
        Ok(flushed)
    }
}

fn write_once(to: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match to.write(bytes) {
            Ok(0) if !bytes.is_empty() => return Err(io::ErrorKind::WriteZero.into()),
            Ok(taken) => return Ok(taken),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Room for what is said in passing, as pongs are; what one large answer needed is not kept.
const SPARE_BYTES_MAX: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel that takes so many bytes, and then no more until it is given room.
    struct Kernel {
        room: usize,
        took: Vec<u8>,
    }

    impl Write for Kernel {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.room);
            if taken == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.room -= taken;
            self.took.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_the_kernel_does_not_take_waits_and_goes_in_order() {
        let mut kernel = Kernel { room: 3, took: vec![] };
        let mut outbox = Outbox::default();
        let now = Time::from_secs(1);

        assert_eq!(outbox.send(now, b"hello", &mut kernel).unwrap(), Flushed { bytes: 3, calls: 1 });
        assert_eq!((outbox.len(), outbox.stuck_since()), (2, Some(now)));

        let frozen = serde_json::to_vec(&std::mem::take(&mut outbox)).unwrap();
        let mut outbox: Outbox = serde_json::from_slice(&frozen).unwrap();
        assert_eq!((outbox.len(), outbox.stuck_since()), (2, Some(now)), "thawed");
        outbox.tail().extend_from_slice(b" world");
        kernel.room = 4;
        let later = Time::from_secs(2);
        assert_eq!(outbox.flush(later, &mut kernel).unwrap(), Flushed { bytes: 4, calls: 2 });
        assert_eq!((outbox.len(), outbox.stuck_since()), (4, Some(later)));

        kernel.room = 100;
        outbox.flush(Time::from_secs(3), &mut kernel).unwrap();
        assert_eq!(kernel.took, b"hello world");
        assert_eq!((outbox.is_empty(), outbox.stuck_since()), (true, None));
    }

    #[test]
    fn memory_is_lent_and_comes_back_when_nothing_waits() {
        let (mut kernel, now) = (Kernel { room: 3, took: vec![] }, Time::from_secs(1));
        let (mut outbox, mut spare) = (Outbox::default(), Vec::with_capacity(100));
        outbox.lend(&mut spare);
        outbox.tail().extend_from_slice(b"hello");
        outbox.flush(now, &mut kernel).unwrap();
        outbox.give_back(&mut spare);
        assert_eq!((outbox.len(), outbox.held_bytes(), spare.capacity()), (2, 100, 0), "it waits");

        kernel.room = 100;
        outbox.flush(now, &mut kernel).unwrap();
        outbox.give_back(&mut spare);
        assert_eq!((outbox.held_bytes(), spare.len(), spare.capacity()), (0, 0, 100));

        outbox.tail().extend_from_slice(&[0; SPARE_BYTES_MAX + 1]);
        kernel.room = usize::MAX;
        outbox.flush(now, &mut kernel).unwrap();
        outbox.give_back(&mut spare);
        assert_eq!((outbox.held_bytes(), spare.capacity()), (0, 100), "a large one is not kept");
        assert_eq!(kernel.took.len(), 5 + SPARE_BYTES_MAX + 1);
    }

    #[test]
    fn a_kernel_that_takes_nothing_does_not_renew_the_time() {
        let mut kernel = Kernel { room: 0, took: vec![] };
        let mut outbox = Outbox::default();
        let now = Time::from_secs(1);
        outbox.send(now, b"hello", &mut kernel).unwrap();
        outbox.flush(Time::from_secs(9), &mut kernel).unwrap();
        assert_eq!(outbox.stuck_since(), Some(now));
    }

    #[test]
    fn what_is_said_is_sealed_once_and_behind_what_waits() {
        let mut kernel = Kernel { room: 3, took: vec![] };
        let mut outbox = Outbox::default();
        let now = Time::from_secs(1);
        let seal = |outbox: &mut Outbox| {
            outbox.seal(|said, out| {
                out.extend(said.to_ascii_uppercase());
                said.len()
            })
        };

        outbox.tail().extend_from_slice(b"hello");
        assert_eq!(seal(&mut outbox), 5);
        outbox.flush(now, &mut kernel).unwrap();
        outbox.tail().extend_from_slice(b" world");
        assert_eq!([seal(&mut outbox), seal(&mut outbox)], [6, 0]);
        kernel.room = 100;
        outbox.flush(now, &mut kernel).unwrap();
        assert_eq!(kernel.took, b"HELLO WORLD");

        // A message that went at once was sealed by its sender.
        kernel.room = 3;
        outbox.send(now, b"SEALED", &mut kernel).unwrap();
        outbox.tail().extend_from_slice(b"!");
        assert_eq!(seal(&mut outbox), 1);
    }
}
