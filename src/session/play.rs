//! The hello and what a player sends after it.

use tickyard_protocol::bytes::Malformed;
use tickyard_protocol::message::{
    self, ClientControl, Input, MESSAGE_KIND_BYTES_MAX, MESSAGE_PAYLOAD_BYTES_MAX, OPTIONS_BYTES_MAX,
    RefusalCode, VERSION, from_client,
};
use tickyard_protocol::name::is_name;
use tickyard_protocol::repair::Repair;

use super::site::Site;
use super::{Counts, End, Greeting, INPUTS_MAX, Phase, Play, Session, Turn, write_game_pong};
use crate::bridge::{Ask, Join, Message};
use crate::close_reason::CloseReason;
use crate::lobby::{NoSeat, Sought};
use crate::websocket::{CloseCode, Event};

/// What a hello says that we use.
#[derive(Debug)]
pub(super) struct Hello {
    sought: Result<Sought, NoSeat>,
    name: String,
    options: Vec<u8>,
}

impl Hello {
    /// Reads the first message of a connection.
    pub(super) fn read(bytes: &[u8], site: &Site) -> Result<Hello, End> {
        let bad = |_| End::policy(CloseReason::BadHello, "the first message must be a hello");
        let Some((&from_client::CONTROL, rest)) = bytes.split_first() else {
            return Err(bad(Malformed::Invalid));
        };
        let Ok(ClientControl::Hello(hello)) = message::decode_client_control(rest) else {
            return Err(bad(Malformed::Invalid));
        };
        if hello.options.len() > OPTIONS_BYTES_MAX {
            return Err(bad(Malformed::Range));
        }
        let sought = seek(&hello, site);
        Ok(Hello { sought, name: hello.name.to_owned(), options: hello.options.to_vec() })
    }
}

/// What the hello asks for, or what to tell the player.
fn seek(hello: &message::Hello, site: &Site) -> Result<Sought, NoSeat> {
    let refused = |code, text| Err(NoSeat { code, text, retry_after_millis: None });
    if hello.version != VERSION {
        let text = format!("this server speaks version {VERSION} of the protocol, not {}", hello.version);
        return refused(RefusalCode::Outdated, text);
    }
    if !is_name(hello.name) {
        let text = "a name is at most 32 bytes, shows something, and has no invisible or control characters";
        return refused(RefusalCode::BadName, text.to_owned());
    }
    site.lobby.find(&hello.seek)
}

impl Session {
    /// Asks for a seat.
    pub(super) fn start_play(&mut self, turn: &mut Turn, hello: Hello) {
        self.counts.messages_in += 1;
        let Phase::Hello(greeting) =
            std::mem::replace(&mut self.phase, Phase::Closing(CloseReason::Internal))
        else {
            unreachable!("only the hello phase reads a hello");
        };
        let Greeting { socket, writer, .. } = *greeting;
        self.since = turn.now;
        let sought = hello.sought.as_ref().ok().copied();
        self.phase = Phase::Play(Box::new(Play { socket, writer, sought, room: None, inputs: Vec::new() }));
        match hello.sought {
            Ok(_) => {
                let join = Join { name: hello.name, options: hello.options };
                self.ask = Some(Box::new(Ask::Join(Box::new(join))));
            }
            Err(why) => self.no_seat(turn, &why),
        }
    }
}

impl Play {
    /// Reads until an ask comes up, the turn is spent or the input is used.
    pub(super) fn read(
        &mut self,
        turn: &mut Turn,
        input: &mut &mut [u8],
        counts: &mut Counts,
    ) -> Result<Option<Ask>, End> {
        let mut pong = Pongs::default();
        let asked = loop {
            match self.read_one(turn, input, counts, &mut pong) {
                Ok(Some(Read::Ask(ask))) => break Ok(Some(ask)),
                Ok(Some(Read::Done)) if turn.is_spent() => break Ok(None),
                Ok(Some(Read::Done)) => {}
                Ok(None) => break Ok(None),
                Err(end) => break Err(end),
            }
        };
        pong.write(turn, counts);
        asked
    }

    fn read_one(
        &mut self,
        turn: &mut Turn,
        input: &mut &mut [u8],
        counts: &mut Counts,
        pong: &mut Pongs,
    ) -> Result<Option<Read>, End> {
        let Some(event) = self.socket.read(turn, input)? else { return Ok(None) };
        let bytes = match event {
            Event::Binary(bytes) => bytes,
            Event::Ping(payload) => {
                pong.websocket(payload);
                return Ok(Some(Read::Done));
            }
            Event::Pong(_) => return Ok(Some(Read::Done)),
            Event::Close(close) => return Err(End::by_peer(close.map(|(code, _)| code))),
            Event::Text(_) => return Err(text_message()),
        };
        counts.messages_in += 1;
        let Some((&kind, rest)) = bytes.split_first() else { return Err(bad_message()) };
        let ask = match kind {
            from_client::CONTROL => Some(Ask::Message(Box::new(read_message(rest)?))),
            from_client::INPUT => {
                let fields = self.sought.map_or(&[][..], |sought| turn.site.lobby.input_fields(sought));
                let input = Input::decode(rest, fields).map_err(malformed)?;
                keep_input(&mut self.inputs, &mut counts.inputs_skipped, input);
                None
            }
            from_client::PING => {
                pong.game(rest.try_into().map_err(|_| bad_message())?);
                None
            }
            from_client::ACK => Some(Ask::Ack(message::decode_ack(rest).map_err(malformed)?)),
            from_client::WANT => {
                let mut cells = Vec::new();
                message::decode_want(rest, |cell| cells.push(cell)).map_err(malformed)?;
                Some(Ask::Want(cells.into()))
            }
            from_client::REPAIR => Some(Ask::Repair(Box::new(Repair::decode(rest).map_err(malformed)?))),
            _ => return Err(bad_message()),
        };
        Ok(Some(ask.map_or(Read::Done, Read::Ask)))
    }
}

enum Read {
    Ask(Ask),
    Done,
}

/// The newest ping of each sort; older ones need no answer (RFC 6455, 5.5.3).
#[derive(Default)]
struct Pongs {
    websocket: Option<Vec<u8>>,
    game: Option<[u8; 8]>,
}

impl Pongs {
    fn websocket(&mut self, payload: &[u8]) {
        self.websocket = Some(payload.to_vec());
    }

    fn game(&mut self, stamp: [u8; 8]) {
        self.game = Some(stamp);
    }

    fn write(self, turn: &mut Turn, counts: &mut Counts) {
        super::write_pong(turn.out, self.websocket);
        if let Some(stamp) = self.game {
            write_game_pong(turn, stamp, counts);
        }
    }
}

fn read_message(bytes: &[u8]) -> Result<Message, End> {
    let Ok(ClientControl::Message(message)) = message::decode_client_control(bytes) else {
        return Err(bad_message());
    };
    let kind_fits = (1..=MESSAGE_KIND_BYTES_MAX).contains(&message.kind.len());
    if !kind_fits || message.payload.len() > MESSAGE_PAYLOAD_BYTES_MAX {
        return Err(bad_message());
    }
    let (kind, payload) = (message.kind.to_owned(), message.payload.to_vec());
    Ok(Message { number: message.number, kind, payload })
}

fn keep_input(inputs: &mut Vec<Input>, skipped: &mut u32, input: Input) {
    if inputs.len() == INPUTS_MAX {
        inputs.remove(0);
        *skipped += 1;
    }
    inputs.reserve_exact(INPUTS_MAX - inputs.len());
    inputs.push(input);
}

pub(super) fn text_message() -> End {
    End::new(CloseReason::Unsupported, CloseCode::UNSUPPORTED, "binary messages only")
}

fn bad_message() -> End {
    End::policy(CloseReason::BadMessage, "malformed message")
}

fn malformed(_: Malformed) -> End {
    bad_message()
}
