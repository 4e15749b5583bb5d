//! An echo client for the Autobahn testsuite: the client role of [`tickyard::websocket`] on a blocking socket.
//!
//! `autobahn-client 127.0.0.1:9001 NAME` asks the suite how many cases it has, runs each under this name, and has the
//! report written; with a third word, `deflate`, it offers compression. `tests/autobahn/run --client` starts it.

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tickyard::http::HeadScan;
use tickyard::websocket::deflate::{Offer, Writer, offer};
use tickyard::websocket::frame::{Opcode, write_close, write_frame};
use tickyard::websocket::handshake::Request;
use tickyard::websocket::{Event, Limits, Role, WebSocket};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What section 9 sends. Its 65,536 fragments end with an empty one.
const LIMITS: Limits = Limits { message_bytes_max: 16 << 20, fragments_max: 65_536 + 1 };
/// What a browser offers.
const OFFER: Offer = Offer {
    server_no_context_takeover: false,
    client_no_context_takeover: false,
    server_max_window_bits: None,
    client_max_window_bits: true,
};
/// A case that waits for longer has gone wrong.
const PATIENCE: Duration = Duration::from_secs(120);
/// Known to all: what masking is for, hiding our bytes from what stands between, matters to no test.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn main() -> Outcome<()> {
    let words: Vec<String> = std::env::args().collect();
    let (address, agent, deflate) = match &words[..] {
        [_, address, agent] => (address, agent, false),
        [_, address, agent, word] if word == "deflate" => (address, agent, true),
        _ => return Err("usage: autobahn-client ADDRESS NAME [deflate]".into()),
    };
    let count: usize = first_text(address, "/getCaseCount")?.ok_or("no number of cases")?.parse()?;
    for case in 1..=count {
        // How the suite ends a case is the suite's verdict, not ours.
        if let Err(error) = echo(address, &format!("/runCase?case={case}&agent={agent}"), deflate) {
            eprintln!("case {case} of {count}: {error}");
        }
    }
    echo(address, &format!("/updateReports?agent={agent}"), false)
}

/// The first message that is said there.
fn first_text(address: &str, target: &str) -> Outcome<Option<String>> {
    let mut text = None;
    Peer::connect(address, target, false)?.run(|_, opcode, payload, _| {
        if opcode == Opcode::Text && text.is_none() {
            text = String::from_utf8(payload.to_owned()).ok();
        }
    })?;
    Ok(text)
}

/// Sends back what comes until the server has had enough.
fn echo(address: &str, target: &str, deflate: bool) -> Outcome<()> {
    Peer::connect(address, target, deflate)?.run(|writer, opcode, payload, out| {
        writer.write(out, opcode, payload, Some(KEY));
    })
}

struct Peer {
    stream: TcpStream,
    socket: WebSocket,
    writer: Writer,
    /// Came with the response.
    early: Vec<u8>,
}

impl Peer {
    fn connect(address: &str, target: &str, deflate: bool) -> Outcome<Peer> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let value = OFFER.to_string();
        let headers: &[_] = if deflate { &[(offer::FIELD, value.as_str())] } else { &[] };
        let request = Request { host: address, target, protocol: None, key: *b"a nonce for all.", headers };
        let mut out = Vec::new();
        request.write(&mut out);
        stream.write_all(&out)?;

        let (mut scan, mut received, mut chunk) = (HeadScan::default(), Vec::new(), [0; 4096]);
        loop {
            match stream.read(&mut chunk)? {
                0 => return Err("closed within the handshake".into()),
                len => received.extend_from_slice(&chunk[..len]),
            }
            if let Some((head, used)) = scan.response(&received).map_err(|error| format!("{error:?}"))? {
                let agreed = match deflate {
                    true => request.check_offer(&head, OFFER),
                    false => request.check(&head).map(|()| None),
                };
                let agreed = agreed.map_err(|error| format!("{error:?}"))?;
                let early = received.split_off(used);
                let socket = WebSocket::new(Role::Client, LIMITS).with_deflate(agreed);
                return Ok(Peer { stream, socket, writer: Writer::new(agreed, Role::Client), early });
            }
        }
    }

    /// Answers pings and closes, hands messages to `on_message`, and returns when the server has closed the connection.
    fn run(mut self, mut on_message: impl FnMut(&mut Writer, Opcode, &[u8], &mut Vec<u8>)) -> Outcome<()> {
        let mut chunk = vec![0; 64 * 1024];
        let mut received = std::mem::take(&mut self.early);
        loop {
            let mut out = Vec::new();
            let writer = &mut self.writer;
            read(&mut self.socket, &mut received, &mut out, &mut |opcode, payload, out| {
                on_message(writer, opcode, payload, out);
            });
            self.stream.write_all(&out)?;
            // RFC 6455, 7.1.1: the server closes first; the client waits for it.
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(len) => received = chunk[..len].to_vec(),
                // The suite resets instead of closing.
                Err(error) if error.kind() == ErrorKind::ConnectionReset && self.socket.is_ended() => {
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn read(
    socket: &mut WebSocket,
    mut input: &mut [u8],
    out: &mut Vec<u8>,
    on_message: &mut impl FnMut(Opcode, &[u8], &mut Vec<u8>),
) {
    loop {
        match socket.read(&mut input) {
            Ok(None) => return,
            Ok(Some(Event::Text(text))) => on_message(Opcode::Text, text.as_bytes(), out),
            Ok(Some(Event::Binary(bytes))) => on_message(Opcode::Binary, bytes, out),
            Ok(Some(Event::Ping(payload))) => write_frame(out, Opcode::Pong, payload, Some(KEY)),
            Ok(Some(Event::Pong(_))) => {}
            Ok(Some(Event::Close(close))) => write_close(out, close.map(|(code, _)| (code, "")), Some(KEY)),
            Err(error) => write_close(out, Some((error.close_code(), &error.to_string())), Some(KEY)),
        }
    }
}
