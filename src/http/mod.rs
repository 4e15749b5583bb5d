//! HTTP/1.1 heads (RFC 9112) without sockets: requests and responses in, responses out.
//!
//! The upgrade, the static files and the admin pages share this. A [`HeadScan`] finds the end of a head that
//! arrives in pieces, looking at each byte once; [`RequestHead`] and [`ResponseHead`] take a whole one apart; a
//! [`Response`] is written. Line ends are CR LF and nothing else, because peers that disagree about them are how
//! requests are smuggled.
//!
//! It does not know connections that are kept: every answer says `Connection: close`, and bodies are not read.

mod head;
mod response;
mod target;

use std::fmt;

pub use crate::config::limits::{HEAD_BYTES_MAX, HEADERS_MAX};
pub use head::{HeadScan, Headers, RequestHead, ResponseHead};
pub(crate) use response::is_field_text;
pub use response::{Response, Status, write_refusal, write_status};

/// Why a peer is not answered as it wished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpError {
    /// More than [`HEAD_BYTES_MAX`] bytes, or [`HEADERS_MAX`] headers.
    HeadTooLarge,
    /// Not a head by RFC 9112, or one that is ambiguous.
    Malformed,
    /// Something else than HTTP/1: TLS, HTTP/2, noise. There is no answer that the peer would understand.
    NotHttp,
    /// A request line that fills the whole head.
    TargetTooLong,
    /// HTTP, but not 1.x.
    Version,
}

impl HttpError {
    /// The status to answer with; `None` means to drop the connection at once.
    pub fn status(self) -> Option<Status> {
        match self {
            Self::HeadTooLarge => Some(Status::HEAD_TOO_LARGE),
            Self::Malformed => Some(Status::BAD_REQUEST),
            Self::NotHttp => None,
            Self::TargetTooLong => Some(Status::TARGET_TOO_LONG),
            Self::Version => Some(Status::VERSION),
        }
    }

    /// What to tell whoever wrote the request.
    pub fn advice(self) -> &'static str {
        match self {
            Self::HeadTooLarge => "a request has at most 8192 bytes and 100 header fields",
            Self::Malformed => {
                "this is no valid request; see to line ends (CR LF), Host, fields that stand twice, and stray characters"
            }
            Self::NotHttp => "only HTTP/1 is spoken here",
            Self::TargetTooLong => "a request has at most 8192 bytes",
            Self::Version => "only HTTP/1.1 and HTTP/1.0 are spoken here",
        }
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HeadTooLarge => "a head with too many bytes or fields",
            Self::Malformed => "a malformed head",
            Self::NotHttp => "not HTTP/1",
            Self::TargetTooLong => "a target that is too long",
            Self::Version => "an unknown version of HTTP",
        })
    }
}

impl std::error::Error for HttpError {}
// They are said in words above.
const _: () = assert!(HEAD_BYTES_MAX == 8192 && HEADERS_MAX == 100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_status() {
        let status = |error: HttpError| error.status().map(Status::get);
        assert_eq!(status(HttpError::HeadTooLarge), Some(431));
        assert_eq!(status(HttpError::Malformed), Some(400));
        assert_eq!(status(HttpError::TargetTooLong), Some(414));
        assert_eq!(status(HttpError::Version), Some(505));
    }
}
