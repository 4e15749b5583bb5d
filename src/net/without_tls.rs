//! Stands in for [`super::tls`] in a build without the feature `tls`: nothing of it can be made.

use std::convert::Infallible;
use std::fmt;
use std::path::Path;

use crate::error::Error;

/// There is none.
#[derive(Debug)]
pub struct Identity(Infallible);

/// There is none.
#[derive(Debug)]
pub struct Tls(Infallible);

/// Never returned.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened {
    /// Never returned.
    Goes,
    /// Never returned.
    Ended,
}

/// Never returned.
#[derive(Debug)]
pub enum TlsError {
    /// Never returned.
    PlainHttp,
    /// Never returned.
    Other(Infallible),
}

impl Identity {
    /// Says that this build cannot.
    pub fn load(_: &Path, _: &Path) -> Result<Identity, Error> {
        Err(Error::Config("--tls-cert: this build has no TLS; build it with the feature `tls`".to_owned()))
    }

    /// Never called.
    pub fn reload(&self) -> Result<(), Error> {
        match self.0 {}
    }

    /// Never called.
    pub fn expires(&self) -> Option<i64> {
        match self.0 {}
    }

    /// Never called.
    pub fn meet(&self) -> Box<Tls> {
        match self.0 {}
    }
}

impl Tls {
    /// Never called.
    pub fn is_handshaking(&self) -> bool {
        match self.0 {}
    }

    /// Never called.
    pub fn unkeep(&self, _: &mut [u8]) -> usize {
        match self.0 {}
    }

    /// Never called.
    pub fn kept_bytes(&self) -> usize {
        match self.0 {}
    }

    /// Never called.
    pub fn open(&mut self, _: &mut [u8], _: &mut Vec<u8>, _: &mut Vec<u8>) -> Result<Opened, TlsError> {
        match self.0 {}
    }

    /// Never called.
    pub fn seal(&mut self, _: &[u8], _: &mut Vec<u8>) -> Result<(), TlsError> {
        match self.0 {}
    }

    /// Never called.
    pub fn close(&mut self, _: &mut Vec<u8>) -> Result<(), TlsError> {
        match self.0 {}
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no TLS")
    }
}

impl std::error::Error for TlsError {}
