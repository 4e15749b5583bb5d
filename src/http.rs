//! HTTP/1.1 heads (RFC 9112) without sockets: requests and responses in, responses out.
//!
//! The upgrade, the static files and the admin pages share this. A [`HeadScan`] finds the end of a head that
//! arrives in pieces, looking at each byte once; [`RequestHead`] and [`ResponseHead`] take a whole one apart.
//! Line ends are CR LF and nothing else, because peers that disagree about them are how requests are smuggled.
//!
//! It does not know connections that are kept: every answer says `Connection: close`, and bodies are not read.

use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};

pub use crate::config::limits::{HEAD_BYTES_MAX, HEADERS_MAX};

/// Finds the end of a head that arrives in pieces, so that dripped bytes cost no more than a whole head.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct HeadScan {
    /// All before is looked at: no NUL, no lone CR or LF, no end of the head.
    scanned: usize,
    lines: usize,
    /// Where the current line begins.
    line_start: usize,
}

impl HeadScan {
    /// The length of the head at the start of `bytes`, with its empty line; `None` asks for more bytes. The next
    /// call gives the same bytes, and more behind them.
    pub fn find_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, HttpError> {
        check_start(bytes)?;
        let within = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
        while let Some(byte) = within.get(self.scanned) {
            let after_cr = self.scanned > 0 && within[self.scanned - 1] == b'\r';
            match byte {
                b'\n' if after_cr => {
                    if self.scanned - 1 == self.line_start {
                        return Ok(Some(self.scanned + 1));
                    }
                    self.end_line()?;
                }
                b'\0' | b'\n' => return Err(HttpError::Malformed),
                // RFC 9112, 2.2: a CR that no LF follows is invalid.
                _ if after_cr => return Err(HttpError::Malformed),
                _ => {}
            }
            self.scanned += 1;
        }
        if bytes.len() < HEAD_BYTES_MAX {
            return Ok(None);
        }
        Err(if self.lines == 0 { HttpError::TargetTooLong } else { HttpError::HeadTooLarge })
    }

    /// Reads the request that [`Self::find_end`] finds, and its length.
    pub fn request<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<(RequestHead<'a>, usize)>, HttpError> {
        let Some(end) = self.find_end(bytes)? else { return Ok(None) };
        RequestHead::parse_whole(&bytes[..end]).map(|head| Some((head, end)))
    }

    /// Reads the response that [`Self::find_end`] finds, and its length.
    pub fn response<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<(ResponseHead<'a>, usize)>, HttpError> {
        let Some(end) = self.find_end(bytes)? else { return Ok(None) };
        ResponseHead::parse_whole(&bytes[..end]).map(|head| Some((head, end)))
    }

    fn end_line(&mut self) -> Result<(), HttpError> {
        self.lines += 1;
        self.line_start = self.scanned + 1;
        // The first line is not a header.
        if self.lines > HEADERS_MAX + 1 { Err(HttpError::HeadTooLarge) } else { Ok(()) }
    }
}

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

/// What a client asks for. Borrowed from the bytes it was read from.
#[derive(Clone, Debug)]
pub struct RequestHead<'a> {
    /// The method, such as `GET`. Case matters.
    pub method: &'a str,
    /// The path, from its `/` on, still percent-encoded.
    pub path: &'a str,
    /// What stands behind `?`.
    pub query: Option<&'a str>,
    /// The minor version: HTTP/1.0 or HTTP/1.1.
    pub version: u8,
    /// The header fields.
    pub headers: Headers<'a>,
}

impl<'a> RequestHead<'a> {
    /// Reads the request at the start of `bytes`, and its length. `Ok(None)` asks for more bytes.
    ///
    /// Looks at all bytes each time: for a head that arrives in pieces there is [`HeadScan::request`].
    pub fn parse(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, HttpError> {
        HeadScan::default().request(bytes)
    }

    fn parse_whole(bytes: &'a [u8]) -> Result<Self, HttpError> {
        let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut fields);
        require_complete(request.parse(bytes), bytes)?;
        let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version)
        else {
            return Err(HttpError::Malformed);
        };
        let (path, query) = split_target(target)?;
        let headers = Headers::new(request.headers);
        headers.check_singles()?;
        headers.check_host(version)?;
        Ok(Self { method, path, query, version, headers })
    }

    /// Whether a body follows.
    pub fn has_body(&self) -> bool {
        // RFC 9112, 6: a body is announced by either of these fields.
        self.headers.get("transfer-encoding").is_some()
            || self.headers.get("content-length").is_some_and(|len| len != "0")
    }
}

/// What a server answers. Borrowed from the bytes it was read from.
#[derive(Clone, Debug)]
pub struct ResponseHead<'a> {
    /// The status, such as 101.
    pub status: u16,
    /// The header fields.
    pub headers: Headers<'a>,
}

impl<'a> ResponseHead<'a> {
    /// Reads the response at the start of `bytes`, and its length. `Ok(None)` asks for more bytes.
    ///
    /// Looks at all bytes each time: for a head that arrives in pieces there is [`HeadScan::response`].
    pub fn parse(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, HttpError> {
        HeadScan::default().response(bytes)
    }

    fn parse_whole(bytes: &'a [u8]) -> Result<Self, HttpError> {
        let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut fields);
        require_complete(response.parse(bytes), bytes)?;
        let Some(status) = response.code else { return Err(HttpError::Malformed) };
        Ok(Self { status, headers: Headers::new(response.headers) })
    }
}

/// Header fields, in the order they came in.
#[derive(Clone, Debug)]
pub struct Headers<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Headers<'a> {
    /// The value of the first field of that name, in any case.
    ///
    /// A value that is not UTF-8 reads as U+FFFD: it is there, but equals nothing that anybody allows.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// The values of all fields of that name, in any case.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// The members of a field that is a list (RFC 9110, 5.6.1), over all fields of that name.
    pub fn list(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let members = self.all(name).flat_map(|value| value.split(','));
        members.map(|member| member.trim_matches([' ', '\t'])).filter(|member| !member.is_empty())
    }

    /// Whether a list has a member, in any case.
    pub fn lists(&self, name: &str, member: &str) -> bool {
        self.list(name).any(|known| known.eq_ignore_ascii_case(member))
    }

    fn new(fields: &[httparse::Header<'a>]) -> Self {
        Self(
            fields
                .iter()
                .map(|field| (field.name, str::from_utf8(field.value).unwrap_or("\u{FFFD}")))
                .collect(),
        )
    }

    /// What decides about a request must not be said twice: whoever stands before us may have read the other one.
    fn check_singles(&self) -> Result<(), HttpError> {
        if SINGLES.iter().any(|name| self.all(name).nth(1).is_some()) {
            return Err(HttpError::Malformed);
        }
        // RFC 9112, 6.3: a length is decimal digits, and not beside a transfer coding.
        match self.get("content-length") {
            Some(len) if len.is_empty() || !len.bytes().all(|byte| byte.is_ascii_digit()) => {
                Err(HttpError::Malformed)
            }
            Some(_) if self.get("transfer-encoding").is_some() => Err(HttpError::Malformed),
            _ => Ok(()),
        }
    }

    fn check_host(&self, version: u8) -> Result<(), HttpError> {
        // RFC 9112, 3.2: a request without a valid Host is answered with 400; only HTTP/1.0 has none.
        match self.get("host") {
            Some(host) if host.bytes().all(is_host_byte) => Ok(()),
            None if version == 0 => Ok(()),
            _ => Err(HttpError::Malformed),
        }
    }
}

/// A status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(u16);

#[allow(missing_docs, reason = "their names are their reason phrases")]
impl Status {
    pub const SWITCHING_PROTOCOLS: Self = Self(101);
    pub const OK: Self = Self(200);
    pub const NOT_MODIFIED: Self = Self(304);
    pub const BAD_REQUEST: Self = Self(400);
    pub const UNAUTHORIZED: Self = Self(401);
    pub const FORBIDDEN: Self = Self(403);
    pub const NOT_FOUND: Self = Self(404);
    pub const METHOD_NOT_ALLOWED: Self = Self(405);
    pub const TIMEOUT: Self = Self(408);
    pub const TARGET_TOO_LONG: Self = Self(414);
    pub const UPGRADE_REQUIRED: Self = Self(426);
    pub const HEAD_TOO_LARGE: Self = Self(431);
    pub const INTERNAL: Self = Self(500);
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
            304 => "Not Modified",
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            414 => "URI Too Long",
            426 => "Upgrade Required",
            431 => "Request Header Fields Too Large",
            500 => "Internal Server Error",
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

/// Whether a text may stand in a header field without ending it.
pub(crate) fn is_field_text(text: &str) -> bool {
    !text.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | b'\0'))
}

/// Tells what is not HTTP/1 by its first bytes.
fn check_start(bytes: &[u8]) -> Result<(), HttpError> {
    // RFC 9113, 3.4: what a client sends that knows beforehand that we speak HTTP/2.
    const HTTP_2: &[u8] = b"PRI * HTTP/2";
    match bytes {
        [first, ..] if !first.is_ascii_alphabetic() => Err(HttpError::NotHttp),
        _ if bytes.starts_with(HTTP_2) => Err(HttpError::NotHttp),
        _ => Ok(()),
    }
}

fn require_complete(parsed: httparse::Result<usize>, head: &[u8]) -> Result<(), HttpError> {
    match parsed {
        Ok(httparse::Status::Complete(used)) if used == head.len() => Ok(()),
        Ok(_) => Err(HttpError::Malformed),
        Err(httparse::Error::TooManyHeaders) => Err(HttpError::HeadTooLarge),
        Err(httparse::Error::Version) => Err(HttpError::Version),
        Err(_) => Err(HttpError::Malformed),
    }
}

/// Splits a target into its path and query.
fn split_target(target: &str) -> Result<(&str, Option<&str>), HttpError> {
    let target = match target.split_once("://") {
        // RFC 9112, 3.2.2: a server accepts the absolute form, though only proxies are sent it.
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => rest.find('/').map_or("/", |at| &rest[at..]),
        _ => target,
    };
    // A fragment stays with the browser, and the other forms of a target belong to methods that we do not have.
    if !target.starts_with('/') || !target.is_ascii() || target.contains('#') {
        return Err(HttpError::Malformed);
    }
    Ok(target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query))))
}

/// RFC 3986, 3.2: what hosts and ports are made of.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte)
}

const SINGLES: [&str; 7] = [
    "authorization",
    "content-length",
    "host",
    "origin",
    "sec-websocket-key",
    "sec-websocket-version",
    "transfer-encoding",
];

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str =
        "GET /play?room=a%20b HTTP/1.1\r\nHost: game.example:7070\r\nAccept: a\r\naccept: b , c,,\r\n\r\n";

    fn parse(bytes: &[u8]) -> Result<Option<usize>, HttpError> {
        RequestHead::parse(bytes).map(|found| found.map(|(_, used)| used))
    }

    /// What comes of the sample after a change that must take place.
    fn parse_changed(from: &str, to: &str) -> Result<Option<usize>, HttpError> {
        assert!(SAMPLE.contains(from), "{from}");
        parse(SAMPLE.replacen(from, to, 1).as_bytes())
    }

    #[test]
    fn a_request_is_taken_apart() {
        let bytes = [SAMPLE.as_bytes(), b"\x81\x00"].concat();
        let (head, used) = RequestHead::parse(&bytes).unwrap().unwrap();
        assert_eq!(used, SAMPLE.len());
        assert_eq!(
            (head.method, head.path, head.query, head.version),
            ("GET", "/play", Some("room=a%20b"), 1)
        );
        assert_eq!(head.headers.get("ACCEPT"), Some("a"));
        assert_eq!(head.headers.get("accept-language"), None);
        assert_eq!(head.headers.list("Accept").collect::<Vec<_>>(), ["a", "b", "c"]);
        assert!(head.headers.lists("accept", "B") && !head.headers.lists("accept", "d"));
        assert!(!head.has_body());
    }

    #[test]
    fn a_head_in_pieces_is_found_wherever_it_is_cut() {
        let bytes = [SAMPLE.as_bytes(), b"\r\n\r\n"].concat();
        for cut in 0..SAMPLE.len() {
            assert_eq!(parse(&bytes[..cut]), Ok(None), "{cut}");
            let mut scan = HeadScan::default();
            assert_eq!(scan.find_end(&bytes[..cut]), Ok(None), "{cut}");
            assert_eq!(scan.find_end(&bytes), Ok(Some(SAMPLE.len())), "{cut}");
        }
    }

    #[test]
    fn dripped_bytes_are_looked_at_once() {
        let mut scan = HeadScan::default();
        for end in 1..SAMPLE.len() {
            let before = scan.scanned;
            assert_eq!(scan.find_end(&SAMPLE.as_bytes()[..end]), Ok(None));
            assert_eq!((before, scan.scanned), (end - 1, end));
        }
        assert_eq!(scan.find_end(SAMPLE.as_bytes()), Ok(Some(SAMPLE.len())));
    }

    #[test]
    fn a_head_may_fill_its_limit_but_not_more() {
        let head = |len: usize| SAMPLE.replace("game", &"g".repeat(len - SAMPLE.len() + 4)).into_bytes();
        assert_eq!(parse(&head(HEAD_BYTES_MAX)), Ok(Some(HEAD_BYTES_MAX)));
        assert_eq!(parse(&head(HEAD_BYTES_MAX)[..HEAD_BYTES_MAX - 1]), Ok(None));
        assert_eq!(parse(&head(HEAD_BYTES_MAX + 1)), Err(HttpError::HeadTooLarge));
        assert_eq!(parse(&head(20 * HEAD_BYTES_MAX)[..HEAD_BYTES_MAX]), Err(HttpError::HeadTooLarge));
    }

    #[test]
    fn a_target_that_fills_the_head_is_told_apart() {
        let request = format!("GET /{} HTTP/1.1\r\n", "x".repeat(200_000));
        assert_eq!(parse(&request.as_bytes()[..HEAD_BYTES_MAX - 1]), Ok(None));
        assert_eq!(parse(request.as_bytes()), Err(HttpError::TargetTooLong));
    }

    #[test]
    fn a_hundred_headers_pass_and_one_more_is_refused_before_the_end() {
        let request = |headers| format!("GET / HTTP/1.1\r\nHost: a\r\n{}", "a: b\r\n".repeat(headers - 1));
        assert!(parse((request(HEADERS_MAX) + "\r\n").as_bytes()).unwrap().is_some());
        assert_eq!(parse((request(HEADERS_MAX + 1) + "\r\n").as_bytes()), Err(HttpError::HeadTooLarge));
        assert_eq!(parse(request(HEADERS_MAX + 1).as_bytes()), Err(HttpError::HeadTooLarge));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_malformed() {
        for (from, to) in [
            ("Accept: a", "Accept: a\0"),
            ("Accept: a\r\n", "Accept: a\n"),
            ("Accept: a\r\n", "Accept: a\rX: b\r\n"),
            ("\r\n\r\n", "\n\n"),
            ("Accept: a", "Accept : a"),
            ("Accept: a", " Accept: a"),
            ("Accept: a", "Acc ept: a"),
            ("Accept: a", "Accept"),
            ("Accept: a", ": a"),
            ("Host: game.example:7070\r\n", ""),
            ("Host: game.example:7070", "Host: a/b"),
            ("Accept: a", "Host: other"),
            ("Accept: a\r\naccept: b", "Origin: a\r\norigin: a"),
            ("Accept: a\r\naccept: b", "Content-Length: 1\r\nContent-Length: 1"),
            ("Accept: a\r\naccept: b", "Content-Length: 1\r\nTransfer-Encoding: chunked"),
            ("Accept: a", "Content-Length: +1"),
            ("Accept: a", "Content-Length: "),
            ("GET /", "GET  /"),
            ("GET /play", "GET play"),
            ("GET /play", "GET *"),
            ("GET /play", "GET /#"),
            ("GET /play", "GET /ä"),
            (" HTTP/1.1", ""),
        ] {
            assert_eq!(parse_changed(from, to), Err(HttpError::Malformed), "{from:?} -> {to:?}");
        }
    }

    #[test]
    fn a_nul_or_a_lone_line_end_is_refused_as_soon_as_it_comes() {
        for bytes in [&b"GET /\0"[..], b"GET /\n", b"GET / HTTP/1.1\rH"] {
            assert_eq!(parse(bytes), Err(HttpError::Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_not_http_is_refused_by_its_first_bytes() {
        for bytes in [&b"\x16\x03\x01\x02\x00"[..], b"PRI * HTTP/2.0\r\n", b"\0", b"\r\n", b"\x81\x80"] {
            assert_eq!(parse(bytes), Err(HttpError::NotHttp), "{bytes:?}");
            assert_eq!(HttpError::NotHttp.status(), None);
        }
    }

    #[test]
    fn only_versions_1_0_and_1_1_are_known() {
        assert_eq!(parse_changed("HTTP/1.1", "HTTP/2.0"), Err(HttpError::Version));
        assert_eq!(parse_changed("HTTP/1.1", "HTTP/1.2"), Err(HttpError::Version));
        assert!(matches!(parse_changed("HTTP/1.1", "HTTP/1.0"), Ok(Some(_))));
        assert_eq!(parse(b"GET / HTTP/1.0\r\n\r\n"), Ok(Some(18)));
    }

    #[test]
    fn the_absolute_form_of_a_target_is_its_path() {
        for (target, path, query) in [
            ("http://game.example/play?x", "/play", Some("x")),
            ("http://game.example", "/", None),
            ("/play?to=http://elsewhere/", "/play", Some("to=http://elsewhere/")),
            ("/?", "/", Some("")),
        ] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            let (head, _) = RequestHead::parse(request.as_bytes()).unwrap().unwrap();
            assert_eq!((head.path, head.query), (path, query), "{target}");
        }
    }

    #[test]
    fn a_value_that_is_not_utf_8_is_there_but_equals_nothing() {
        let (head, _) =
            RequestHead::parse(b"GET / HTTP/1.1\r\nHost: a\r\nOrigin: \xe4\r\n\r\n").unwrap().unwrap();
        assert_eq!(head.headers.get("origin"), Some("\u{FFFD}"));
    }

    #[test]
    fn a_body_is_noticed_however_it_is_announced() {
        for (field, has_body) in
            [("Content-Length: 1", true), ("Transfer-Encoding: x", true), ("Content-Length: 0", false)]
        {
            let request = SAMPLE.replacen("Accept: a", field, 1);
            let (head, _) = RequestHead::parse(request.as_bytes()).unwrap().unwrap();
            assert_eq!(head.has_body(), has_body, "{field}");
        }
    }

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

    #[test]
    fn each_error_has_its_status() {
        let status = |error: HttpError| error.status().map(Status::get);
        assert_eq!(status(HttpError::HeadTooLarge), Some(431));
        assert_eq!(status(HttpError::Malformed), Some(400));
        assert_eq!(status(HttpError::TargetTooLong), Some(414));
        assert_eq!(status(HttpError::Version), Some(505));
    }
}
