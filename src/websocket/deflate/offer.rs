//! The talk about permessage-deflate in the opening handshake (RFC 7692, 5 and 7.1).
//!
//! ```text
//! client ── Offer, or several: the best first ─────▶ server: Terms
//! client ◀── Agreement: the first one that it likes ── server
//! ```
//!
//! A server declines an offer that it does not understand and looks at the next; no offer is worth refusing a request. What is
//! not even a list of extensions fails the handshake.

use std::fmt;

use crate::http::Headers;

/// What is taken to be said in `Sec-WebSocket-Extensions`.
pub const FIELD: &str = "Sec-WebSocket-Extensions";

/// What a server agrees to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terms {
    /// What the client offers.
    AsOffered,
    /// Each message by itself, so that nothing is kept between two.
    NoTakeover,
}

/// What goes one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Whether a message may refer to those before it …
    pub takeover: bool,
    /// … and to bytes this far back: 2^8 to 2^15.
    pub window_bits: u8,
}

/// What both sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// What the server sends.
    pub server: Way,
    /// What the client sends.
    pub client: Way,
    /// The parameters of the response.
    params: Params,
}

/// What a client offers. The default asks for nothing in particular.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// The server is to compress each message by itself.
    pub server_no_context_takeover: bool,
    /// We are going to compress each message by itself.
    pub client_no_context_takeover: bool,
    /// The server is to look at most 2^this back.
    pub server_max_window_bits: Option<u8>,
    /// We look back as far as the server says.
    pub client_max_window_bits: bool,
}

/// The parameters of one `permessage-deflate`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Params {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    client_max_window_bits: Option<Bits>,
}

/// The value of `client_max_window_bits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bits {
    /// None: whatever the server says.
    Any,
    AtMost(u8),
}

/// The field is not a list of extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Why a response cannot be lived with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOffered;

/// RFC 6455, 9.1: a field that is not a list of extensions fails the handshake, whatever is in it.
pub fn check(headers: &Headers) -> Result<(), Malformed> {
    for value in headers.all(FIELD) {
        let mut rest = value;
        while read_extension(&mut rest, |_, _| {})?.is_some() {}
    }
    Ok(())
}

/// The first offer that a server with these terms accepts.
pub fn accept(headers: &Headers, terms: Terms) -> Option<Agreement> {
    headers.all(FIELD).find_map(|value| {
        let mut rest = value;
        loop {
            let params = read_params(&mut rest).ok()??;
            // RFC 7692, 5.1: an offer that is not understood is declined, and the next one is looked at.
            if let Some(agreement) =
                params.filter(|_| super::IS_BUILT_IN).and_then(|params| params.accept(terms))
            {
                return Some(agreement);
            }
        }
    })
}

impl Offer {
    /// What a server that answered so has agreed to; `None`: no compression.
    pub fn check(&self, headers: &Headers) -> Result<Option<Agreement>, NotOffered> {
        let mut agreed = None;
        for value in headers.all(FIELD) {
            let mut rest = value;
            while let Some(params) = read_params(&mut rest).map_err(|_| NotOffered)? {
                // RFC 6455, 9.1: only what was offered, and (RFC 7692, 5.1) not twice what uses the same bit.
                let params =
                    params.filter(|params| agreed.is_none() && self.covers(params)).ok_or(NotOffered)?;
                agreed = Some(params.agreement());
            }
        }
        Ok(agreed)
    }

    fn covers(&self, response: &Params) -> bool {
        // RFC 7692, 7.1.1.1: a server accepts this parameter by repeating it, and may say it unasked.
        let takeover = response.server_no_context_takeover || !self.server_no_context_takeover;
        // RFC 7692, 7.1.2.1: the same for these bits, with the same value or a smaller one.
        let server_bits = match (self.server_max_window_bits, response.server_max_window_bits) {
            (Some(most), Some(bits)) => bits <= most,
            (Some(_), None) => false,
            (None, _) => true,
        };
        // RFC 7692, 7.1.2.2: only if the offer says that we can, and with a value.
        let client_bits = match response.client_max_window_bits {
            None => true,
            Some(Bits::AtMost(_)) => self.client_max_window_bits,
            Some(Bits::Any) => false,
        };
        super::IS_BUILT_IN && takeover && server_bits && client_bits
    }
}

impl fmt::Display for Offer {
    /// The value of the header field.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let client_max_window_bits = self.client_max_window_bits.then_some(Bits::Any);
        let Offer { server_no_context_takeover, client_no_context_takeover, server_max_window_bits, .. } =
            *self;
        Params {
            server_no_context_takeover,
            client_no_context_takeover,
            server_max_window_bits,
            client_max_window_bits,
        }
        .fmt(f)
    }
}

impl fmt::Display for Agreement {
    /// The value of the header field.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.params.fmt(f)
    }
}

impl Params {
    /// A server's answer to an offer.
    fn accept(self, terms: Terms) -> Option<Agreement> {
        // RFC 7692, 7.1.2.1: a server that cannot do this declines the offer. zlib does no window of 2^8 (see
        // `WINDOW_BITS_MIN`), and the answer must not be larger than what was asked for.
        if self.server_max_window_bits.is_some_and(|bits| bits < super::WINDOW_BITS_MIN) {
            return None;
        }
        // RFC 7692, 7.1.1: a server may say both unasked.
        let fresh = terms == Terms::NoTakeover;
        let answer = Params {
            server_no_context_takeover: self.server_no_context_takeover || fresh,
            client_no_context_takeover: self.client_no_context_takeover || fresh,
            server_max_window_bits: self.server_max_window_bits,
            // RFC 7692, 7.1.2.2: where the client said how far it looks back, that is what we keep for it.
            client_max_window_bits: self.client_max_window_bits.filter(|bits| *bits != Bits::Any),
        };
        Some(answer.agreement())
    }

    /// What a response with these parameters means.
    fn agreement(self) -> Agreement {
        let client_bits = match self.client_max_window_bits {
            Some(Bits::AtMost(bits)) => bits,
            Some(Bits::Any) | None => WINDOW_BITS_MAX,
        };
        Agreement {
            server: Way {
                takeover: !self.server_no_context_takeover,
                window_bits: self.server_max_window_bits.unwrap_or(WINDOW_BITS_MAX),
            },
            client: Way { takeover: !self.client_no_context_takeover, window_bits: client_bits },
            params: self,
        }
    }

    /// Takes a parameter; `None`: nobody knows it, its value is no value for it, or it was there before.
    fn take(&mut self, name: &str, value: Option<&str>) -> Option<()> {
        match name {
            "server_no_context_takeover" => set(&mut self.server_no_context_takeover, value),
            "client_no_context_takeover" => set(&mut self.client_no_context_takeover, value),
            "server_max_window_bits" => {
                let bits = window_bits(value?)?;
                self.server_max_window_bits.replace(bits).is_none().then_some(())
            }
            "client_max_window_bits" => {
                let bits = value.map_or(Some(Bits::Any), |value| window_bits(value).map(Bits::AtMost))?;
                self.client_max_window_bits.replace(bits).is_none().then_some(())
            }
            _ => None,
        }
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        if self.server_no_context_takeover {
            f.write_str("; server_no_context_takeover")?;
        }
        if self.client_no_context_takeover {
            f.write_str("; client_no_context_takeover")?;
        }
        if let Some(bits) = self.server_max_window_bits {
            write!(f, "; server_max_window_bits={bits}")?;
        }
        match self.client_max_window_bits {
            None => Ok(()),
            Some(Bits::Any) => f.write_str("; client_max_window_bits"),
            Some(Bits::AtMost(bits)) => write!(f, "; client_max_window_bits={bits}"),
        }
    }
}

/// RFC 7692, 7.1.1: these parameters have no value.
fn set(flag: &mut bool, value: Option<&str>) -> Option<()> {
    let known_before = std::mem::replace(flag, true);
    (!known_before && value.is_none()).then_some(())
}

/// RFC 7692, 7.1.2: a decimal number from 8 to 15, without leading zeros.
fn window_bits(value: &str) -> Option<u8> {
    match value {
        "8" => Some(8),
        "9" => Some(9),
        _ => value.strip_prefix('1').filter(|rest| rest.len() == 1)?.parse().ok().map(|unit: u8| 10 + unit),
    }
    .filter(|bits| *bits <= WINDOW_BITS_MAX)
}

/// Reads the next extension; the inner `None`: it is another one, or its parameters are not those of permessage-deflate.
fn read_params(rest: &mut &str) -> Result<Option<Option<Params>>, Malformed> {
    let mut params = Some(Params::default());
    let name = read_extension(rest, |name, value| {
        params = params.and_then(|mut params| params.take(name, value).map(|()| params));
    })?;
    Ok(name.map(|name| params.filter(|_| name == NAME)))
}

/// Reads the next extension of a list (RFC 6455, 9.1) and tells its parameters to `param`; `None`: there is none.
///
/// ```text
/// extension-list  = 1#extension
/// extension       = token *( ";" extension-param )
/// extension-param = token [ "=" ( token / quoted-string ) ]
/// ```
fn read_extension<'a>(
    rest: &mut &'a str,
    mut param: impl FnMut(&str, Option<&str>),
) -> Result<Option<&'a str>, Malformed> {
    // RFC 9110, 5.6.1.2: empty members of a list are passed over.
    *rest = rest.trim_start_matches([' ', '\t', ',']);
    if rest.is_empty() {
        return Ok(None);
    }
    let name = read_token(rest)?;
    while skip(rest, ';') {
        let key = read_token(rest)?;
        match skip(rest, '=') {
            false => param(key, None),
            true if rest.starts_with('"') => param(key, Some(&read_quoted(rest)?)),
            true => param(key, Some(read_token(rest)?)),
        }
    }
    if rest.is_empty() || rest.starts_with(',') { Ok(Some(name)) } else { Err(Malformed) }
}

fn read_token<'a>(rest: &mut &'a str) -> Result<&'a str, Malformed> {
    let end = rest.find(|letter| !is_token(letter)).unwrap_or(rest.len());
    let (token, after) = rest.split_at(end);
    *rest = after.trim_start_matches([' ', '\t']);
    if token.is_empty() { Err(Malformed) } else { Ok(token) }
}

/// RFC 6455, 9.1: a quoted value is a token once its quotes are off.
fn read_quoted(rest: &mut &str) -> Result<String, Malformed> {
    let mut value = String::new();
    let mut letters = rest[1..].char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' if !value.is_empty() => {
                *rest = rest[1 + at + 1..].trim_start_matches([' ', '\t']);
                return Ok(value);
            }
            '\\' => value.push(letters.next().filter(|(_, next)| is_token(*next)).ok_or(Malformed)?.1),
            _ if is_token(letter) => value.push(letter),
            _ => return Err(Malformed),
        }
    }
    Err(Malformed)
}

/// Moves past `mark` and the space around it, if it is there.
fn skip(rest: &mut &str, mark: char) -> bool {
    let Some(after) = rest.strip_prefix(mark) else { return false };
    *rest = after.trim_start_matches([' ', '\t']);
    true
}

/// RFC 9110, 5.6.2.
fn is_token(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(letter)
}

/// The extension's name.
pub const NAME: &str = "permessage-deflate";

/// RFC 7692, 7.1.2: without a word about it, windows are as large as deflate has them.
const WINDOW_BITS_MAX: u8 = 15;

#[cfg(test)]
mod tests;
