//! How a session ends: the close frame that it says, and what others are told of it.

use crate::bridge::Leave;
use crate::close_reason::CloseReason;
use crate::websocket::{CloseCode, ReadError};

/// How a session ends.
#[derive(Debug)]
pub(super) struct End {
    pub(super) reason: CloseReason,
    /// `None`: a close frame without a code answers one.
    pub(super) code: Option<CloseCode>,
    pub(super) text: &'static str,
    pub(super) leave: Leave,
    /// For the log.
    pub(super) cause: Option<Box<str>>,
}

impl End {
    pub(super) fn new(reason: CloseReason, code: CloseCode, text: &'static str) -> End {
        End { reason, code: Some(code), text, leave: Leave::Removed, cause: None }
    }

    pub(super) fn policy(reason: CloseReason, text: &'static str) -> End {
        End::new(reason, CloseCode::POLICY, text)
    }

    /// RFC 6455, 5.5.1: a close frame is answered with one; its code is echoed.
    pub(super) fn by_peer(code: Option<CloseCode>) -> End {
        End { reason: CloseReason::NormalByPeer, code, text: "", leave: Leave::Left, cause: None }
    }
}

impl From<ReadError> for End {
    fn from(error: ReadError) -> End {
        let code = error.close_code();
        let (reason, text) = match error {
            ReadError::TooLong => (CloseReason::TooBig, "message too long"),
            ReadError::TooFragmented => (CloseReason::Rate, "too many fragments"),
            ReadError::Deflate => (CloseReason::InvalidDeflate, "broken compression"),
            ReadError::Utf8 | ReadError::CloseReason => (CloseReason::InvalidUtf8, "invalid UTF-8"),
            _ => (CloseReason::ProtocolError, "broken frame"),
        };
        End { cause: Some(error.to_string().into()), ..End::new(reason, code, text) }
    }
}
