//! What a peer hears: a response, frames behind it, and a world out of them. The server is judged here, whatever the peer did.

use tickyard::http::ResponseHead;
use tickyard::protocol::fields::Shapes;
use tickyard::protocol::message::{Pong, ServerControl, decode_server_control, from_server};
use tickyard::protocol::replica::Replica;
use tickyard::protocol::types::PlayerId;
use tickyard::websocket::deflate::Offer;
use tickyard::websocket::frame::Header;
use tickyard::websocket::{Event, Limits, Role, WebSocket};

/// A peer's ear.
pub struct Ear {
    /// Received, but no whole head or frame yet.
    rest: Vec<u8>,
    pub status: Option<u16>,
    socket: WebSocket,
    /// What the close frame said.
    pub closed: Option<Option<u16>>,
    pub player: Option<PlayerId>,
    pub replica: Option<Replica>,
    pub refused: bool,
    /// Messages on `/echo`.
    pub echoes: Vec<Vec<u8>>,
    pub pongs: u32,
    /// Over all that was received.
    pub digest: u64,
}

impl Ear {
    pub fn new() -> Ear {
        Ear {
            rest: Vec::new(),
            status: None,
            socket: WebSocket::new(Role::Client, LIMITS),
            closed: None,
            player: None,
            replica: None,
            refused: false,
            echoes: Vec::new(),
            pongs: 0,
            digest: 0xcbf2_9ce4_8422_2325,
        }
    }

    pub fn hear(&mut self, bytes: &[u8], is_echo: bool) {
        for &byte in bytes {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.rest.extend_from_slice(bytes);
        if self.status.is_none() {
            let Some((head, used)) = ResponseHead::parse(&self.rest).expect("an answer that is HTTP") else {
                return;
            };
            self.status = Some(head.status);
            let agreement = offer().check(&head.headers).expect("what was offered");
            self.socket = WebSocket::new(Role::Client, LIMITS).with_deflate(agreement);
            self.rest.drain(..used);
        }
        if self.status != Some(101) {
            return;
        }
        while let Some(mut frame) = self.next_frame() {
            assert_eq!(self.closed, None, "nothing comes after a close frame");
            self.hear_frame(&mut frame, is_echo);
        }
    }

    fn next_frame(&mut self) -> Option<Vec<u8>> {
        let (header, start) = Header::parse_extended(&self.rest, true).expect("a frame that may be sent")?;
        let len = start + usize::try_from(header.len).unwrap();
        (self.rest.len() >= len).then(|| self.rest.drain(..len).collect())
    }

    fn hear_frame(&mut self, frame: &mut [u8], is_echo: bool) {
        let mut input = frame;
        match self.socket.read(&mut input).expect("what the RFC allows").expect("a whole event") {
            Event::Close(close) => self.closed = Some(close.map(|(code, _)| code.get())),
            Event::Pong(_) => self.pongs += 1,
            Event::Ping(_) => {}
            Event::Text(text) => {
                assert!(is_echo, "players hear no text");
                self.echoes.push(text.as_bytes().to_vec());
            }
            Event::Binary(bytes) if is_echo => self.echoes.push(bytes.to_vec()),
            Event::Binary(bytes) => {
                let (&kind, rest) = bytes.split_first().expect("a message has a type");
                match kind {
                    from_server::CONTROL => {
                        let control = decode_server_control(rest).expect("a control message");
                        self.hear_control(control);
                    }
                    from_server::TICK => {
                        let replica = self.replica.as_mut().expect("no tick before the welcome");
                        replica.apply(rest, &mut ()).expect("a tick message");
                    }
                    from_server::PONG => {
                        Pong::decode(rest).expect("a pong");
                        self.pongs += 1;
                    }
                    other => panic!("a message of type {other}"),
                }
            }
        }
    }

    fn hear_control(&mut self, control: ServerControl) {
        match control {
            ServerControl::Welcome(welcome) => {
                assert!(self.player.is_none() && !self.refused, "one is welcomed once");
                self.player = Some(welcome.player);
                let shapes = Shapes::new(&welcome.schema.kinds).expect("a schema");
                self.replica = Some(Replica::new(shapes));
            }
            ServerControl::Refused(_) => {
                assert!(
                    self.player.is_none() && !self.refused,
                    "one is refused once, and not after a welcome"
                );
                self.refused = true;
            }
            ServerControl::Redirect(_) => panic!("nobody redirects here"),
        }
    }

    /// Whether nothing that was heard contradicts itself.
    pub fn agrees(&self) -> bool {
        self.replica.as_ref().is_none_or(|replica| {
            let counts = replica.counts();
            (counts.violations, counts.desyncs, counts.blocks_unknown) == (0, 0, 0)
        })
    }
}

/// What about half of the peers offer.
pub fn offer() -> Offer {
    Offer { client_max_window_bits: true, ..Offer::default() }
}

const LIMITS: Limits = Limits { message_bytes_max: 1 << 20, fragments_max: 1 };
