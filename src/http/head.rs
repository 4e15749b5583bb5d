//! Request and response heads: where they end, and what they say.

use serde::{Deserialize, Serialize};

use super::target::{Target, is_authority, is_same_path};
use super::{HEAD_BYTES_MAX, HEADERS_MAX, HttpError};

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

/// What a client asks for. Borrowed from the bytes it was read from.
#[derive(Clone, Debug)]
pub struct RequestHead<'a> {
    /// The method, such as `GET`. Case matters.
    pub method: &'a str,
    /// The host that is asked, with its port if that is said. Only HTTP/1.0 may leave it out.
    pub host: Option<&'a str>,
    /// The path, from its `/` on, still percent-encoded: see [`Self::is_for`].
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
        let Target { authority, path, query } = Target::parse(target)?;
        let headers = Headers::new(request.headers);
        headers.check_singles()?;
        headers.check_host(version)?;
        // RFC 9112, 3.2.2: what a target in absolute form says of the host counts, whatever Host says.
        let host = authority.or_else(|| headers.get("host"));
        Ok(Self { method, host, path, query, version, headers })
    }

    /// Whether this is the path of the request, which may have percent-encoded what needs no encoding.
    pub fn is_for(&self, path: &str) -> bool {
        is_same_path(self.path, path)
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

    /// Like [`Self::list`], the last member first.
    pub fn list_backwards(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let fields = self.0.iter().rev().filter(move |(known, _)| known.eq_ignore_ascii_case(name));
        let members = fields.flat_map(|(_, value)| value.rsplit(','));
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
            Some(host) if is_authority(host) => Ok(()),
            None if version == 0 => Ok(()),
            _ => Err(HttpError::Malformed),
        }
    }
}
/// Tells what is not HTTP/1 by its first bytes.
fn check_start(bytes: &[u8]) -> Result<(), HttpError> {
    // RFC 9113, 3.4: what a client sends that knows beforehand that we speak HTTP/2.
    const HTTP_2: &[u8] = b"PRI * HTTP/2";
    // Read where trusted proxies are heard; whoever else writes one wants to be taken for somebody.
    const PROXY: &[u8] = b"PROXY ";
    match bytes {
        [first, ..] if !first.is_ascii_alphabetic() => Err(HttpError::NotHttp),
        _ if bytes.starts_with(HTTP_2) => Err(HttpError::NotHttp),
        _ if bytes.starts_with(PROXY) => Err(HttpError::Malformed),
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
            ("GET /play", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET /play"),
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
    fn the_absolute_form_of_a_target_says_the_host() {
        let host_and_path = |target: &str| {
            let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            let (head, _) = RequestHead::parse(request.as_bytes()).unwrap().unwrap();
            format!("{} {}", head.host.unwrap(), head.path)
        };
        assert_eq!(host_and_path("http://game.example:7070/play?x"), "game.example:7070 /play");
        assert_eq!(host_and_path("/play"), "a /play");
        assert_eq!(
            parse(b"GET http://a/ HTTP/1.1\r\n\r\n"),
            Err(HttpError::Malformed),
            "Host is due all the same"
        );
    }

    #[test]
    fn a_path_may_be_percent_encoded() {
        let (head, _) = RequestHead::parse(b"GET /%70lay HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().unwrap();
        assert!(head.is_for("/play") && !head.is_for("/"));
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
}
