//! Answers, each the last on its connection.

use std::fmt::Write;

/// A status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(u16);

#[allow(missing_docs, reason = "their names are their reason phrases")]
impl Status {
    pub const SWITCHING_PROTOCOLS: Self = Self(101);
    pub const OK: Self = Self(200);
    pub const BAD_REQUEST: Self = Self(400);
    pub const FORBIDDEN: Self = Self(403);
    pub const NOT_FOUND: Self = Self(404);
    pub const METHOD_NOT_ALLOWED: Self = Self(405);
    pub const TIMEOUT: Self = Self(408);
    pub const TARGET_TOO_LONG: Self = Self(414);
    pub const UPGRADE_REQUIRED: Self = Self(426);
    pub const HEAD_TOO_LARGE: Self = Self(431);
    pub const UNAVAILABLE: Self = Self(503);
    pub const VERSION: Self = Self(505);
}

impl Status {
    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The words behind the number.
    pub const fn reason(self) -> &'static str {
        match self.0 {
            101 => "Switching Protocols",
            200 => "OK",
            400 => "Bad Request",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            414 => "URI Too Long",
            426 => "Upgrade Required",
            431 => "Request Header Fields Too Large",
            503 => "Service Unavailable",
            505 => "HTTP Version Not Supported",
            _ => unreachable!(),
        }
    }
}

/// The start of an answer that is the last on its connection.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// What became of the request.
    pub status: Status,
    /// What the body is, such as `text/html; charset=utf-8`.
    pub content_type: &'a str,
    /// More header fields.
    pub headers: &'a [(&'a str, &'a str)],
}

impl Response<'_> {
    /// Writes the head and the body to the end of `out`.
    pub fn write(&self, out: &mut Vec<u8>, body: &[u8]) {
        self.write_head(out, body.len() as u64);
        out.extend_from_slice(body);
    }

    /// Writes only the head, for a body of `content_length` bytes (and all there is in an answer to `HEAD`).
    pub fn write_head(&self, out: &mut Vec<u8>, content_length: u64) {
        let mut head = String::with_capacity(256);
        let status = self.status;
        let _ = write!(head, "HTTP/1.1 {} {}\r\n", status.get(), status.reason());
        let _ = write!(head, "Content-Type: {}\r\nContent-Length: {content_length}\r\n", self.content_type);
        // RFC 9110, 7.8: who sends Upgrade names it in Connection.
        let upgrade = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("upgrade"));
        head.push_str(if upgrade { "Connection: close, Upgrade\r\n" } else { "Connection: close\r\n" });
        for (name, value) in self.headers {
            assert!(is_field_text(name) && is_field_text(value), "a header field is one line");
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        out.extend_from_slice(head.as_bytes());
    }
}

/// Writes an answer that only says its status, as text.
pub fn write_status(out: &mut Vec<u8>, status: Status, headers: &[(&str, &str)]) {
    let body = format!("{} {}\n", status.get(), status.reason());
    Response { status, content_type: "text/plain; charset=utf-8", headers }.write(out, body.as_bytes());
}

/// Writes an answer that says no: its status, and in words what was wrong or what to do.
pub fn write_refusal(out: &mut Vec<u8>, status: Status, headers: &[(&str, &str)], why: &str) {
    let body = format!("{} {}: {why}\n", status.get(), status.reason());
    Response { status, content_type: "text/plain; charset=utf-8", headers }.write(out, body.as_bytes());
}

/// Whether a text may stand in a header field without ending it.
pub(crate) fn is_field_text(text: &str) -> bool {
    !text.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | b'\0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::ResponseHead;

    #[test]
    fn a_response_is_written_and_read() {
        let mut out = Vec::new();
        let headers = [("Retry-After", "5")];
        Response { status: Status::UNAVAILABLE, content_type: "text/plain", headers: &headers }
            .write(&mut out, b"full\n");
        assert_eq!(
            str::from_utf8(&out).unwrap(),
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\
             Connection: close\r\nRetry-After: 5\r\n\r\nfull\n"
        );
        let (head, used) = ResponseHead::parse(&out).unwrap().unwrap();
        assert_eq!((head.status, head.headers.get("retry-after")), (503, Some("5")));
        assert_eq!(&out[used..], b"full\n");
    }
}
