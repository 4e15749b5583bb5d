//! Tungstenite on the other end of a TCP connection on loopback: its client at our server, our client at its server.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tickyard::http::HeadScan;
use tickyard::websocket::handshake::{Request, Upgrade};
use tungstenite::client::{ClientRequestBuilder, IntoClientRequest};
use tungstenite::handshake::server as their_server;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode as TheirCode, Data, OpCode};
use tungstenite::{Error, Message};

use super::*;

const PROTOCOL: &str = "tickyard.v1";
const NONCE: [u8; 16] = *b"the sample nonce";
const LENGTHS: [usize; 8] = [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20];

/// Two ends of a connection that gives up rather than hang a test.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    }
    (client, server)
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + len) as u8).collect()
}

/// Our core on a blocking socket.
struct OurEnd {
    stream: TcpStream,
    socket: WebSocket,
    mask: Option<[u8; 4]>,
    received: Vec<u8>,
}

impl OurEnd {
    fn new(stream: TcpStream, role: Role, received: Vec<u8>) -> Self {
        let mask = (role == Role::Client).then_some(KEY);
        Self { stream, socket: WebSocket::new(role, LIMITS), mask, received }
    }

    /// Our server: answers the request and goes on with what came behind it.
    fn accept(mut stream: TcpStream) -> Self {
        let (mut scan, mut received, mut out) = (HeadScan::default(), Vec::new(), Vec::new());
        let used = loop {
            receive(&mut stream, &mut received);
            if let Some((head, used)) = scan.request(&received).unwrap() {
                assert_eq!((head.path, head.query), ("/play", Some("room=1")));
                Upgrade::check(&head, &[PROTOCOL]).unwrap().write(&mut out);
                break used;
            }
        };
        stream.write_all(&out).unwrap();
        Self::new(stream, Role::Server, received.split_off(used))
    }

    /// Our client: asks, and checks the answer.
    fn connect(mut stream: TcpStream) -> Self {
        let (mut scan, mut received, mut out) = (HeadScan::default(), Vec::new(), Vec::new());
        let target = "/play?room=1";
        let request =
            Request { host: "localhost", target, protocol: Some(PROTOCOL), key: NONCE, headers: &[] };
        request.write(&mut out);
        stream.write_all(&out).unwrap();
        let used = loop {
            receive(&mut stream, &mut received);
            if let Some((head, used)) = scan.response(&received).unwrap() {
                assert_eq!(request.check(&head), Ok(()));
                break used;
            }
        };
        Self::new(stream, Role::Client, received.split_off(used))
    }

    fn send(&mut self, frames: &[u8]) {
        self.stream.write_all(frames).unwrap();
    }

    fn say(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut out = Vec::new();
        write_frame(&mut out, opcode, payload, self.mask);
        self.send(&out);
    }

    fn close(&mut self, close: Option<(CloseCode, &str)>) {
        let mut out = Vec::new();
        write_close(&mut out, close, self.mask);
        self.send(&out);
    }

    /// Waits for the next events.
    fn hear(&mut self) -> Vec<Heard> {
        let mut heard = Vec::new();
        while heard.is_empty() {
            if self.received.is_empty() {
                receive(&mut self.stream, &mut self.received);
            }
            feed(&mut self.socket, &std::mem::take(&mut self.received), &mut heard);
        }
        heard
    }

    /// Sends back what comes until a close or an error, which are answered and returned.
    fn echo(mut self) -> Heard {
        loop {
            for heard in self.hear() {
                match &heard {
                    Heard::Text(text) => self.say(Opcode::Text, text.as_bytes()),
                    Heard::Binary(bytes) => self.say(Opcode::Binary, bytes),
                    Heard::Ping(bytes) => self.say(Opcode::Pong, bytes),
                    Heard::Pong(_) => {}
                    Heard::Close(close) => {
                        let close =
                            close.as_ref().map(|(code, reason)| (CloseCode::new(*code), reason.as_str()));
                        self.close(close);
                        return heard;
                    }
                    Heard::Failed(error) => {
                        self.close(Some((error.close_code(), "")));
                        self.drain();
                        return heard;
                    }
                }
            }
        }
    }

    /// Reads on until the peer is done; a socket closed on unread bytes would reset and eat our close frame.
    fn drain(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
        let _ = std::io::copy(&mut self.stream, &mut std::io::sink());
    }
}

fn receive(stream: &mut TcpStream, received: &mut Vec<u8>) {
    let mut buffer = [0; 16 * 1024];
    let len = stream.read(&mut buffer).unwrap();
    assert_ne!(len, 0, "the peer is still there");
    received.extend_from_slice(&buffer[..len]);
}

/// Their client at our echo server.
fn their_client() -> (tungstenite::WebSocket<TcpStream>, JoinHandle<Heard>) {
    let (client, server) = connection();
    let ours = thread::spawn(move || OurEnd::accept(server).echo());
    let uri = "ws://localhost/play?room=1".parse().unwrap();
    let request = ClientRequestBuilder::new(uri).with_sub_protocol(PROTOCOL).into_client_request().unwrap();
    let (theirs, response) = tungstenite::client(request, client).unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], PROTOCOL);
    (theirs, ours)
}

/// Our client at their server, which does `serve`.
fn our_client<T: Send + 'static>(
    serve: impl FnOnce(tungstenite::WebSocket<TcpStream>) -> T + Send + 'static,
) -> (OurEnd, JoinHandle<T>) {
    let (client, server) = connection();
    let theirs = thread::spawn(move || serve(tungstenite::accept_hdr(server, choose_protocol).unwrap()));
    (OurEnd::connect(client), theirs)
}

#[allow(clippy::result_large_err, reason = "the type is theirs")]
fn choose_protocol(
    request: &their_server::Request,
    mut response: their_server::Response,
) -> Result<their_server::Response, their_server::ErrorResponse> {
    assert_eq!(request.uri().path(), "/play");
    let offered = request.headers()["sec-websocket-protocol"].clone();
    response.headers_mut().insert("sec-websocket-protocol", offered);
    Ok(response)
}

/// Echoes until the close handshake is over, and returns the close that came.
fn their_echo(mut theirs: tungstenite::WebSocket<TcpStream>) -> Option<CloseFrame> {
    let mut close = None;
    loop {
        match theirs.read() {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => theirs.send(message).unwrap(),
            Ok(Message::Close(frame)) => close = frame,
            Ok(_) => {}
            Err(Error::ConnectionClosed) => return close,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Reads until their side has heard the end, and returns our close.
fn their_end(theirs: &mut tungstenite::WebSocket<TcpStream>) -> Option<(u16, String)> {
    let mut close = None;
    loop {
        match theirs.read() {
            Ok(Message::Close(frame)) => close = frame.map(|it| (it.code.into(), it.reason.to_string())),
            Ok(message) => panic!("{message:?}"),
            Err(Error::ConnectionClosed) => return close,
            Err(error) => panic!("{error}"),
        }
    }
}

fn fragment(opcode: Data, payload: &[u8], fin: bool) -> Message {
    Message::Frame(Frame::message(payload.to_vec(), OpCode::Data(opcode), fin))
}

#[test]
fn their_client_gets_every_length_back_from_our_server() {
    let (mut theirs, ours) = their_client();
    for len in LENGTHS {
        let message = Message::binary(payload(len));
        theirs.send(message.clone()).unwrap();
        assert!(theirs.read().unwrap() == message, "{len}");
        let message = Message::text("é".repeat(len / 2));
        theirs.send(message.clone()).unwrap();
        assert!(theirs.read().unwrap() == message, "{len}");
    }
    theirs.close(None).unwrap();
    assert_eq!(their_end(&mut theirs), None);
    assert_eq!(ours.join().unwrap(), Heard::Close(None));
}

#[test]
fn their_clients_fragments_and_pings_are_understood() {
    let (mut theirs, ours) = their_client();
    theirs.send(fragment(Data::Text, b"\xce\xba\xe1", false)).unwrap();
    theirs.send(Message::Ping(payload(125).into())).unwrap();
    assert_eq!(theirs.read().unwrap(), Message::Pong(payload(125).into()));
    theirs.send(fragment(Data::Continue, b"\xbd", false)).unwrap();
    theirs.send(fragment(Data::Continue, b"\xb9", true)).unwrap();
    assert_eq!(theirs.read().unwrap(), Message::text("\u{3ba}\u{1f79}"));
    theirs.close(Some(CloseFrame { code: TheirCode::Library(4002), reason: "bye".into() })).unwrap();
    assert_eq!(their_end(&mut theirs), Some((4002, "bye".to_owned())));
    assert_eq!(ours.join().unwrap(), Heard::Close(Some((4002, "bye".to_owned()))));
}

#[test]
fn their_client_is_told_what_it_did_wrong() {
    let too_fragmented =
        [vec![fragment(Data::Binary, b"", false)], vec![fragment(Data::Continue, b"", false); 64]];
    for (messages, error) in [
        (vec![Message::binary(payload(LIMITS.message_bytes_max + 1))], ReadError::TooLong),
        (too_fragmented.concat(), ReadError::TooFragmented),
        (vec![fragment(Data::Text, b"\xff", true)], ReadError::Utf8),
        (vec![fragment(Data::Continue, b"", true)], ReadError::ContinuationStray),
        (vec![fragment(Data::Text, b"", false), Message::text("")], ReadError::DataInterleaved),
    ] {
        let (mut theirs, ours) = their_client();
        for message in messages {
            theirs.send(message).unwrap();
        }
        assert_eq!(their_end(&mut theirs), Some((error.close_code().get(), String::new())));
        drop(theirs);
        assert_eq!(ours.join().unwrap(), Heard::Failed(error));
    }
}

#[test]
fn our_client_gets_every_length_back_from_their_server() {
    let (mut ours, theirs) = our_client(their_echo);
    for len in LENGTHS {
        ours.say(Opcode::Binary, &payload(len));
        assert!(ours.hear() == [binary(&payload(len))], "{len}");
        ours.say(Opcode::Text, "é".repeat(len / 2).as_bytes());
        assert!(ours.hear() == [text(&"é".repeat(len / 2))], "{len}");
    }
    ours.say(Opcode::Ping, b"there?");
    assert_eq!(ours.hear(), [Heard::Pong(b"there?".to_vec())]);
    ours.send(&[masked(false, Opcode::Text, b"Hel"), masked(true, Opcode::Continuation, b"lo")].concat());
    assert_eq!(ours.hear(), [text("Hello")]);

    ours.close(Some((CloseCode::NORMAL, "done")));
    assert_eq!(ours.hear(), [Heard::Close(Some((1000, "done".to_owned())))]);
    drop(ours);
    assert_eq!(theirs.join().unwrap(), Some(CloseFrame { code: TheirCode::Normal, reason: "done".into() }));
}

#[test]
fn their_servers_first_words_and_close_are_heard() {
    let (mut ours, theirs) = our_client(|mut theirs| {
        theirs.send(Message::text("welcome")).unwrap();
        theirs.close(Some(CloseFrame { code: TheirCode::Away, reason: "night".into() })).unwrap();
        their_echo(theirs)
    });
    let mut heard = ours.hear();
    while heard.len() < 2 {
        heard.extend(ours.hear());
    }
    assert_eq!(heard, [text("welcome"), Heard::Close(Some((1001, "night".to_owned())))]);
    ours.close(Some((CloseCode::AWAY, "night")));
    drop(ours);
    assert_eq!(theirs.join().unwrap(), Some(CloseFrame { code: TheirCode::Away, reason: "night".into() }));
}

#[test]
fn a_first_frame_in_the_segment_of_the_request_is_answered_after_the_response() {
    let (mut client, server) = connection();
    let ours = thread::spawn(move || OurEnd::accept(server).echo());
    let mut out = Vec::new();
    let target = "/play?room=1";
    Request { host: "localhost", target, protocol: None, key: NONCE, headers: &[] }.write(&mut out);
    out.extend(masked(true, Opcode::Text, b"early"));
    out.extend(masked(true, Opcode::Close, b""));
    client.write_all(&out).unwrap();

    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    assert!(answer.ends_with(b"\r\n\r\n\x81\x05early\x88\x00"));
    assert_eq!(ours.join().unwrap(), Heard::Close(None));
}
