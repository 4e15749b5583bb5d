//! The admin port: `/metrics` and `/healthz` for the people and programs that look after a server.
//!
//! A thread of its own with a small event loop of its own, so that it answers however busy the game is, and so that
//! a peer which stalls delays nobody. [`Admin`] is the handle. Everything a peer may take is bounded: bytes of its
//! request, time, and connections, of which the oldest gives way when there are too many.
//!
//! There is no password yet, and nothing here can be changed: whoever reaches the port may read. While it listens on
//! loopback, only requests to an IP address or `localhost` are answered: a page on the web can make its own name
//! point at this machine and read what comes back (DNS rebinding), but then the request carries that name.

// A shell: it owns sockets and looks at the clock.
#![allow(clippy::disallowed_types)]

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};

use crate::error::Error;
use crate::metrics::{self, Metrics};

/// The admin port, open until [`Admin::stop`] or until this is dropped.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Admin {
    /// Listens on `address` and answers from now on.
    pub fn start(address: SocketAddr, metrics: Arc<Metrics>) -> Result<Admin, Error> {
        let not_listening = |source| Error::Listen { flag: "--admin", address, source };
        let mut listener = TcpListener::bind(address).map_err(not_listening)?;
        let address = listener.local_addr().map_err(not_listening)?;

        let no_poller = |source| Error::System { doing: "set up the admin port", source };
        let poll = Poll::new().map_err(no_poller)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE).map_err(no_poller)?;
        let waker = Waker::new(poll.registry(), STOP).map_err(no_poller)?;

        let on_loopback = address.ip().is_loopback();
        let server =
            Server { poll, listener, site: Site { metrics, on_loopback }, peers: VecDeque::new(), next: 0 };
        let thread = thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || server.run())
            .map_err(|source| Error::System { doing: "start the admin thread", source })?;
        Ok(Admin { address, waker, thread: Some(thread) })
    }

    /// Where it listens, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the port and waits until its thread has ended, which takes no longer than an answer.
    pub fn stop(self) {}
}

impl Drop for Admin {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        if let Err(error) = self.waker.wake() {
            // Waiting for a thread that was not told would be for ever; it ends with the process.
            tracing::error!("cannot stop the admin port: {error}");
            return;
        }
        // A panic in there was printed when it happened.
        let _ = thread.join();
    }
}

const LISTENER: Token = Token(usize::MAX);
const STOP: Token = Token(usize::MAX - 1);

/// A request's head. Longer ones are answered 431.
const HEAD_BYTES_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 64;
/// Connections at once. When one more comes, the oldest goes: who holds them all cannot lock others out.
const PEERS_MAX: usize = 32;
/// From accept to the last byte of the head.
const READING_MAX: Duration = Duration::from_secs(2);
/// From there to the last byte of the answer.
const WRITING_MAX: Duration = Duration::from_secs(5);
/// From there to the peer's end of the connection.
const LINGERING_MAX: Duration = Duration::from_secs(1);
const LINGERING_BYTES_MAX: usize = 64 * 1024;
/// How long accepting rests when the system refuses to: out of descriptors, mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(250);

struct Server {
    poll: Poll,
    listener: TcpListener,
    site: Site,
    /// Oldest first.
    peers: VecDeque<Peer>,
    /// The next peer's token; never reused, so that a late event finds nobody.
    next: usize,
}

impl Server {
    fn run(mut self) {
        let mut events = Events::with_capacity(PEERS_MAX + 2);
        let mut accept_again: Option<Instant> = None;
        loop {
            let deadline = self.peers.iter().map(|peer| peer.deadline).chain(accept_again).min();
            // Rounded up, so that the deadline has passed when the poll returns: else the last millisecond spins.
            let wait =
                deadline.map(|at| at.saturating_duration_since(Instant::now()) + Duration::from_millis(1));
            match self.poll.poll(&mut events, wait) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return tracing::error!("the admin port cannot poll and closes: {error}"),
            }
            let now = Instant::now();
            let mut acceptable = accept_again.is_some_and(|at| at <= now);
            for event in &events {
                match event.token() {
                    STOP => return,
                    LISTENER => acceptable = true,
                    token => self.serve(token, now),
                }
            }
            if acceptable {
                accept_again = self.accept(now);
            }
            self.peers.retain(|peer| peer.deadline > now);
        }
    }

    fn serve(&mut self, token: Token, now: Instant) {
        let Some(index) = self.peers.iter().position(|peer| peer.token == token) else { return };
        if self.peers[index].advance(&self.site, now).is_over() {
            self.peers.remove(index);
        }
    }

    /// Accepts who waits, and says when to try again: the listener is edge-triggered, so after an error, or when there
    /// were more than one turn takes, nobody else would say so.
    fn accept(&mut self, now: Instant) -> Option<Instant> {
        for _ in 0..PEERS_MAX {
            match self.listener.accept() {
                Ok((stream, _)) => self.admit(stream, now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if is_of_one_peer(&error) => {}
                Err(_) => return Some(now + ACCEPT_PAUSE),
            }
        }
        Some(now)
    }

    fn admit(&mut self, stream: TcpStream, now: Instant) {
        if self.peers.len() == PEERS_MAX {
            self.peers.pop_front();
        }
        let token = Token(self.next);
        self.next += 1;
        let mut peer = Peer::new(token, stream, now);
        let interest = Interest::READABLE | Interest::WRITABLE;
        // A failed registration closes this peer alone.
        if self.poll.registry().register(&mut peer.stream, token, interest).is_ok() {
            self.peers.push_back(peer);
        }
    }
}

fn is_of_one_peer(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted)
}

/// One connection: its request comes in, its answer goes out, it ends.
struct Peer {
    token: Token,
    stream: TcpStream,
    deadline: Instant,
    state: State,
}

enum State {
    /// The head so far.
    Reading(Vec<u8>),
    /// The answer, and how much of it is out.
    Writing(Vec<u8>, usize),
    /// All is said. What the peer still sends is read and dropped, this many bytes so far: closing a socket that holds
    /// unread bytes resets the connection, and a reset may eat the answer.
    Lingering(usize),
    Over,
}

impl State {
    fn is_over(&self) -> bool {
        matches!(self, State::Over)
    }
}

impl Peer {
    fn new(token: Token, stream: TcpStream, now: Instant) -> Peer {
        Peer { token, stream, deadline: now + READING_MAX, state: State::Reading(Vec::new()) }
    }

    /// Goes as far as the socket lets it.
    fn advance(&mut self, site: &Site, now: Instant) -> &State {
        loop {
            let next = match &mut self.state {
                State::Reading(head) => match read_head(&mut self.stream, head) {
                    Ok(Some(head)) => {
                        self.deadline = now + WRITING_MAX;
                        State::Writing(site.answer(head), 0)
                    }
                    Ok(None) => State::Over,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return &self.state,
                    Err(_) => State::Over,
                },
                State::Writing(answer, sent) => match write_all(&mut self.stream, answer, sent) {
                    Ok(()) => {
                        self.deadline = now + LINGERING_MAX;
                        match self.stream.shutdown(Shutdown::Write) {
                            Ok(()) => State::Lingering(0),
                            Err(_) => State::Over,
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return &self.state,
                    Err(_) => State::Over,
                },
                State::Lingering(dropped) => match drop_input(&mut self.stream, dropped) {
                    Ok(()) => State::Over,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return &self.state,
                    Err(_) => State::Over,
                },
                State::Over => return &self.state,
            };
            self.state = next;
        }
    }
}

/// Reads until the head is complete or too long; `None` if the peer left before that.
fn read_head<'h>(stream: &mut TcpStream, head: &'h mut Vec<u8>) -> io::Result<Option<&'h [u8]>> {
    let mut piece = [0; 2048];
    loop {
        let count = match stream.read(&mut piece) {
            Ok(0) => return Ok(None),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        // The end may lie across two pieces: look again from three bytes before the new one.
        let from = head.len().saturating_sub(3);
        head.extend_from_slice(&piece[..count]);
        if head[from..].windows(4).any(|four| four == b"\r\n\r\n") || head.len() > HEAD_BYTES_MAX {
            return Ok(Some(head));
        }
    }
}

fn write_all(stream: &mut TcpStream, answer: &[u8], sent: &mut usize) -> io::Result<()> {
    while *sent < answer.len() {
        match stream.write(&answer[*sent..]) {
            Ok(count) => *sent += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn drop_input(stream: &mut TcpStream, dropped: &mut usize) -> io::Result<()> {
    let mut piece = [0; 2048];
    while *dropped < LINGERING_BYTES_MAX {
        match stream.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => *dropped += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What is to be found here: a request's head in, the whole answer out.
struct Site {
    metrics: Arc<Metrics>,
    on_loopback: bool,
}

const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

const INDEX: &str = "<!doctype html>
<title>tickyard admin</title>
<h1>tickyard admin</h1>
<ul>
<li><a href=\"/metrics\">/metrics</a>: what the server counts and measures, for Prometheus
<li><a href=\"/healthz\">/healthz</a>: whether the process answers
</ul>
";

impl Site {
    fn answer(&self, head: &[u8]) -> Vec<u8> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        let parsed = request.parse(head);
        let is_head = request.method == Some("HEAD");
        match parsed {
            Ok(httparse::Status::Complete(_)) => self.look_up(&request).into_bytes(!is_head),
            // Too long: there is no end in what was read.
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                Answer::plain("431 Request Header Fields Too Large", "the head is too long\n")
                    .into_bytes(!is_head)
            }
            Err(_) => Answer::plain("400 Bad Request", "this is not an HTTP/1 request\n").into_bytes(true),
        }
    }

    fn look_up(&self, request: &httparse::Request<'_, '_>) -> Answer {
        let mut hosts = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("host"));
        match (hosts.next(), hosts.next(), request.version) {
            // RFC 9112, 3.2: HTTP/1.1 has exactly one Host. HTTP/1.0, which some probes speak, need not.
            (None, _, Some(0)) => {}
            (Some(host), None, _) if self.on_loopback && !is_no_name_on_the_web(host.value) => {
                return Answer::plain("421 Misdirected Request", "ask by IP address or as localhost\n");
            }
            (Some(_), None, _) => {}
            _ => return Answer::plain("400 Bad Request", "one Host header, please\n"),
        }
        let target = request.path.unwrap_or_default();
        let found = match target.split('?').next().unwrap_or_default() {
            "/" => Answer::found(HTML, INDEX.to_owned()),
            "/healthz" => Answer::found(TEXT, "ok\n".to_owned()),
            "/metrics" => Answer::found(metrics::CONTENT_TYPE, self.metrics.render()),
            _ => return Answer::plain("404 Not Found", "nothing here; see /\n"),
        };
        match request.method {
            Some("GET" | "HEAD") => found,
            _ => Answer {
                headers: "allow: GET, HEAD\r\n",
                ..Answer::plain("405 Method Not Allowed", "GET or HEAD\n")
            },
        }
    }
}

/// Whether a Host is an IP address or `localhost`, with or without a port.
fn is_no_name_on_the_web(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

struct Answer {
    status: &'static str,
    headers: &'static str,
    media_type: &'static str,
    body: String,
}

impl Answer {
    fn found(media_type: &'static str, body: String) -> Answer {
        Answer { status: "200 OK", headers: "", media_type, body }
    }

    fn plain(status: &'static str, body: &str) -> Answer {
        Answer { status, headers: "", media_type: TEXT, body: body.to_owned() }
    }

    fn into_bytes(self, with_body: bool) -> Vec<u8> {
        let Answer { status, headers, media_type, body } = self;
        let mut text = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {}\r\n{headers}cache-control: no-store\r\n\
             x-content-type-options: nosniff\r\nconnection: close\r\n\r\n",
            body.len()
        );
        if with_body {
            text.push_str(&body);
        }
        text.into_bytes()
    }
}
