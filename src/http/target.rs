//! What a request is for: the target of its first line (RFC 9112, 3.2).

use super::HttpError;

/// A target in the two forms that `GET` has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// The host, and its port if that is said; only in the absolute form.
    pub authority: Option<&'a str>,
    /// From its `/` on.
    pub path: &'a str,
    /// What stands behind `?`.
    pub query: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// Takes a target apart.
    pub(super) fn parse(target: &'a str) -> Result<Target<'a>, HttpError> {
        // A fragment stays with the browser, and the other forms of a target belong to methods that we do not have.
        if !target.is_ascii() || target.contains('#') {
            return Err(HttpError::Malformed);
        }
        let (authority, rest) = split_authority(target)?;
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        match (path, authority) {
            // RFC 9110, 4.2.3: no path is "/".
            ("", Some(_)) => Ok(Target { authority, path: "/", query }),
            _ if path.starts_with('/') => Ok(Target { authority, path, query }),
            _ => Err(HttpError::Malformed),
        }
    }
}

/// RFC 9112, 3.2.2: a server accepts the absolute form, though only proxies are sent it.
fn split_authority(target: &str) -> Result<(Option<&str>, &str), HttpError> {
    if target.starts_with('/') {
        return Ok((None, target));
    }
    let (scheme, rest) = target.split_once("://").ok_or(HttpError::Malformed)?;
    let is_ours = ["http", "https", "ws", "wss"].iter().any(|known| known.eq_ignore_ascii_case(scheme));
    let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if is_ours && !authority.is_empty() && is_authority(authority) {
        Ok((Some(authority), rest))
    } else {
        Err(HttpError::Malformed)
    }
}

/// RFC 3986, 3.2: what hosts and ports are made of. Nobody's name and password belong here.
pub(super) fn is_authority(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte))
}

/// Whether two paths are the same once what needs no percent-encoding has none. `known` has none.
pub(super) fn is_same_path(path: &str, known: &str) -> bool {
    let mut rest = path.as_bytes();
    let next = || {
        let (first, behind) = rest.split_first()?;
        let decoded = behind.first_chunk::<2>().filter(|_| *first == b'%').and_then(decode);
        rest = if decoded.is_some() { &behind[2..] } else { behind };
        Some(decoded.unwrap_or(*first))
    };
    std::iter::from_fn(next).eq(known.bytes())
}

/// RFC 3986, 6.2.2.2: unreserved characters mean the same whether they are encoded or not; others do not.
fn decode(digits: &[u8; 2]) -> Option<u8> {
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    let byte = u8::try_from(high? * 16 + low?).ok()?;
    (byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)).then_some(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_taken_apart() {
        for (target, authority, path, query) in [
            ("/play", None, "/play", None),
            ("/play?x=1?2", None, "/play", Some("x=1?2")),
            ("/play?to=http://elsewhere/", None, "/play", Some("to=http://elsewhere/")),
            ("/a//b/../c", None, "/a//b/../c", None),
            ("/http://game.example/", None, "/http://game.example/", None),
            ("//game.example/play", None, "//game.example/play", None),
            ("/?", None, "/", Some("")),
            ("http://game.example/play?x", Some("game.example"), "/play", Some("x")),
            ("HTTPS://Game.example:443/play", Some("Game.example:443"), "/play", None),
            ("ws://[::1]:7070/play", Some("[::1]:7070"), "/play", None),
            ("http://game.example", Some("game.example"), "/", None),
            ("http://game.example?x=/y", Some("game.example"), "/", Some("x=/y")),
        ] {
            assert_eq!(Target::parse(target), Ok(Target { authority, path, query }), "{target}");
        }
    }

    #[test]
    fn what_has_no_path_or_a_strange_host_is_malformed() {
        for target in [
            "",
            "*",
            "play",
            "?x",
            "/#a",
            "/\u{e4}",
            "game.example:443",
            "http://",
            "http:///play",
            "http:/play",
            "ftp://a/",
            "://a/",
            "http://me:secret@a/",
            "http://a b/",
            "http://a\\b/",
            "mailto:a@b",
        ] {
            assert_eq!(Target::parse(target), Err(HttpError::Malformed), "{target:?}");
        }
    }

    #[test]
    fn only_what_needs_no_encoding_is_the_same_with_one() {
        for path in ["/play-1", "/%70lay-1", "/%70%6c%61%79%2D%31", "/%70%6C%61%79%2d1"] {
            assert!(is_same_path(path, "/play-1"), "{path}");
        }
        for path in [
            "/Play-1",
            "%2Fplay-1",
            "/play-1/",
            "/play",
            "/play-1%",
            "/play-1%3",
            "/play%2d",
            "/play-%00",
            "/play-%zz",
            "",
        ] {
            assert!(!is_same_path(path, "/play-1"), "{path}");
        }
        assert!(!is_same_path("/a%2Fb", "/a/b"), "what separates is not the same as data");
        assert!(!is_same_path("/%2570lay", "/play"), "decoded once");
    }
}
