//! What a hostile peer hears: a status, then frames. It judges the server's side of both.

use super::kind::Ending;
use tickyard::http::HeadScan;
use tickyard::websocket::{Event, Limits, Role, WebSocket};
use tickyard_protocol::message::{RefusalCode, ServerControl, Welcome, decode_server_control, from_server};

/// All that was heard in one life of a peer.
pub struct Heard {
    head: Vec<u8>,
    scan: HeadScan,
    socket: WebSocket,
    /// The status of the answer.
    pub status: Option<u16>,
    /// What the room said.
    pub welcome: Option<Welcome>,
    /// The room was full, which is no judgement of what the peer does.
    pub full: bool,
    /// The close frame.
    pub close: Option<Option<u16>>,
    /// Answers to WebSocket pings.
    pub pongs: u64,
    /// The first rule that the server broke.
    pub violation: Option<String>,
}

impl Heard {
    /// Nothing yet.
    pub fn new() -> Heard {
        Heard {
            head: Vec::new(),
            scan: HeadScan::default(),
            socket: WebSocket::new(Role::Client, LIMITS),
            status: None,
            welcome: None,
            full: false,
            close: None,
            pongs: 0,
            violation: None,
        }
    }

    /// Takes bytes from the server, which are changed in place.
    pub fn take(&mut self, bytes: &mut [u8]) {
        match self.status {
            // RFC 6455, 5.5.1: nothing is sent after a close frame.
            _ if self.close.is_some() => self.accuse("bytes after the close frame".to_string()),
            None => self.read_head(bytes),
            Some(101) => self.read_frames(bytes),
            // The body of a refusal.
            Some(_) => {}
        }
    }

    /// Whether the server has said its last word: a refusal or a close frame.
    pub fn is_over(&self) -> bool {
        self.close.is_some() || self.status.is_some_and(|status| status != 101)
    }

    /// How it ended, if the socket's end was a reset or was not.
    pub fn ending(&self, reset: bool) -> Ending {
        match (self.close, self.status) {
            (Some(code), _) => Ending::Close(code),
            (None, Some(status)) if status != 101 => Ending::Status(status),
            _ if reset => Ending::Reset,
            _ => Ending::Dropped,
        }
    }

    /// What is no HTTP answers noise with noise: an alert of TLS. It is not kept.
    fn read_head(&mut self, bytes: &[u8]) {
        if self.head.len() + bytes.len() <= HEAD_BYTES_MAX {
            self.head.extend_from_slice(bytes);
        }
        let Ok(Some((response, used))) = self.scan.response(&self.head) else { return };
        self.status = Some(response.status);
        let mut frames = self.head.split_off(used);
        self.head = Vec::new();
        if self.status == Some(101) {
            self.read_frames(&mut frames);
        }
    }

    fn read_frames(&mut self, bytes: &mut [u8]) {
        let mut rest = bytes;
        loop {
            let event = match self.socket.read(&mut rest) {
                Ok(Some(event)) => event,
                Ok(None) => return,
                Err(error) => return self.accuse(format!("a broken frame ({error:?})")),
            };
            match event {
                Event::Binary(message) => match answer(message) {
                    Some(ServerControl::Welcome(welcome)) => self.welcome = Some(welcome),
                    Some(ServerControl::Refused(refused)) => {
                        self.full |= refused.code == RefusalCode::Full as u16;
                    }
                    Some(ServerControl::Redirect(_)) | None => {}
                },
                Event::Pong(_) => self.pongs += 1,
                Event::Close(close) => self.close = Some(close.map(|(code, _)| code.get())),
                Event::Ping(_) => {}
                Event::Text(_) => return self.accuse("a text message".to_string()),
            }
        }
    }

    fn accuse(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }
}

fn answer(message: &[u8]) -> Option<ServerControl> {
    let (&kind, rest) = message.split_first()?;
    if kind == from_server::CONTROL { decode_server_control(rest).ok() } else { None }
}

/// PROTOCOL.md, section 1: what a client has to take.
const LIMITS: Limits = Limits { message_bytes_max: 1024 * 1024, fragments_max: 64 };

/// No answer of a server has a longer head.
const HEAD_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{framed, welcome};
    use tickyard::websocket::CloseCode;
    use tickyard::websocket::frame::write_close;

    const UPGRADED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";

    /// Hears this, in single bytes.
    fn hear(parts: &[&[u8]]) -> Heard {
        let mut heard = Heard::new();
        for mut byte in parts.concat() {
            heard.take(std::slice::from_mut(&mut byte));
        }
        heard
    }

    fn close(code: CloseCode) -> Vec<u8> {
        let mut out = Vec::new();
        write_close(&mut out, Some((code, "why")), None);
        out
    }

    #[test]
    fn a_refusal_is_its_status_however_the_socket_ends() {
        let heard = hear(&[b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 2\r\n\r\nno"]);
        assert_eq!(heard.ending(false), Ending::Status(408));
        assert_eq!(heard.ending(true), Ending::Status(408));
        assert_eq!(heard.violation, None);
    }

    #[test]
    fn a_close_frame_says_more_than_the_end_of_the_socket() {
        let heard = hear(&[UPGRADED, &framed(&welcome()), &close(CloseCode::POLICY)]);
        assert!(heard.welcome.is_some() && heard.is_over());
        assert_eq!(heard.ending(true), Ending::Close(Some(1008)));
        assert_eq!(heard.violation, None);
    }

    #[test]
    fn an_end_without_a_word_is_a_drop_or_a_reset() {
        assert_eq!(hear(&[]).ending(false), Ending::Dropped);
        assert_eq!(hear(&[UPGRADED]).ending(true), Ending::Reset);
        assert_eq!(hear(&[&[0x15, 3, 3, 0, 2, 2, 40]]).ending(false), Ending::Dropped);
    }

    #[test]
    fn what_the_server_must_not_send_is_a_violation() {
        let after = hear(&[UPGRADED, &close(CloseCode::POLICY), &framed(b"x")]);
        assert_eq!(after.violation.as_deref(), Some("bytes after the close frame"));
        let masked = hear(&[UPGRADED, &[0x82, 0x80, 1, 2, 3, 4]]);
        assert_eq!(masked.violation.as_deref(), Some("a broken frame (Masked)"));
    }
}
