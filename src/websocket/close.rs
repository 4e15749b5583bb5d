//! Close codes (RFC 6455, 7.4) and the payload of a close frame.

use super::ReadError;

/// Why a connection ends. Only codes that may stand in a close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The purpose is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The server goes down, or the page was left.
    pub const AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// The peer sent a kind of data that is not spoken here.
    pub const UNSUPPORTED: Self = Self(1003);
    /// The peer sent data that is not what it says, such as text that is not UTF-8.
    pub const INVALID: Self = Self(1007);
    /// The peer broke a rule that no other code describes.
    pub const POLICY: Self = Self(1008);
    /// The peer sent a message that is too big.
    pub const TOO_BIG: Self = Self(1009);
    /// A client wanted an extension that the server does not have.
    pub const EXTENSION: Self = Self(1010);
    /// The server met a condition that it did not expect.
    pub const INTERNAL: Self = Self(1011);
    /// The server restarts.
    pub const RESTART: Self = Self(1012);
    /// The server is overloaded.
    pub const TRY_LATER: Self = Self(1013);

    /// A code for a `const`; one of the application's own lies in 4000-4999.
    ///
    /// # Panics
    ///
    /// If the code must not be sent.
    pub const fn new(code: u16) -> Self {
        match Self::from_wire(code) {
            Some(code) => code,
            None => panic!("this code must not stand in a close frame"),
        }
    }

    /// The code in a close frame, if it may stand there.
    pub const fn from_wire(code: u16) -> Option<Self> {
        match code {
            // RFC 6455, 7.4.1: 1004 is reserved; 1005, 1006 and 1015 are never sent. 1012-1014 are from IANA's registry.
            1000..=1003 | 1007..=1014 => Some(Self(code)),
            // RFC 6455, 7.4.2: registered, and private use. Codes below 1000 are not used; others have no meaning yet.
            3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl std::fmt::Display for CloseCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Reads the payload of a close frame: nothing, or a code and a reason.
pub(super) fn parse(payload: &[u8]) -> Result<Option<(CloseCode, &str)>, ReadError> {
    let [high, low, reason @ ..] = payload else {
        // RFC 6455, 5.5.1: if there is a body, its first two bytes are the code.
        return if payload.is_empty() { Ok(None) } else { Err(ReadError::CloseTruncated) };
    };
    let code = CloseCode::from_wire(u16::from_be_bytes([*high, *low])).ok_or(ReadError::CloseCode)?;
    // RFC 6455, 5.5.1 and 8.1: the reason is UTF-8.
    let reason = str::from_utf8(reason).map_err(|_| ReadError::CloseReason)?;
    Ok(Some((code, reason)))
}

/// As much of `reason` as fits into a close frame beside the code, cut between characters.
pub(super) fn fitting(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)]
}

/// RFC 6455, 5.5: a control frame carries at most 125 bytes, and the code takes two.
const REASON_BYTES_MAX: usize = 123;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_codes_that_may_be_sent_come_from_the_wire() {
        let allowed = |code| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        for code in 0..=u16::MAX {
            assert_eq!(
                CloseCode::from_wire(code).map(CloseCode::get),
                allowed(code).then_some(code),
                "{code}"
            );
        }
    }

    #[test]
    fn a_close_is_nothing_or_a_code_and_a_reason() {
        assert_eq!(parse(b""), Ok(None));
        assert_eq!(parse(b"\x03\xe8"), Ok(Some((CloseCode::NORMAL, ""))));
        assert_eq!(parse(b"\x0f\xa2Sorry"), Ok(Some((CloseCode::new(4002), "Sorry"))));
    }

    #[test]
    fn half_a_code_a_wrong_code_and_a_garbled_reason_are_told_apart() {
        assert_eq!(parse(b"\x03"), Err(ReadError::CloseTruncated));
        assert_eq!(parse(b"\x03\xed"), Err(ReadError::CloseCode));
        assert_eq!(parse(b"\x03\xe8\xc3"), Err(ReadError::CloseReason));
        assert_eq!(parse(b"\x03\xed\xc3"), Err(ReadError::CloseCode));
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        assert_eq!(fitting("short"), "short");
        assert_eq!(fitting(&"x".repeat(124)), "x".repeat(123));
        assert_eq!(fitting(&"é".repeat(62)), "é".repeat(61));
    }

    #[test]
    #[should_panic(expected = "must not stand in a close frame")]
    fn a_code_that_must_not_be_sent_can_not_be_made() {
        CloseCode::new(1006);
    }
}
