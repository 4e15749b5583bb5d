//! The admin port: `/metrics`, `/healthz` and `/debug/flight` for the people and programs that look after a server.
//!
//! A thread of its own with a small event loop of its own, so that it answers however busy the game is, and so that
//! a peer which stalls delays nobody. [`Admin`] is the handle. Everything a peer may take is bounded: bytes of its
//! request, time, and connections, of which the oldest gives way when there are too many. A flight record
//! is large, so one at a time is on its way.
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
use crate::flight::{Flight, Stopwatch};
use crate::http::{self, HeadScan, RequestHead, Response, Status};
use crate::metrics::{self, Role};
use crate::stage::{Stage, Stages};

/// The admin port, open until [`Admin::stop`] or until this is dropped.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Admin {
    /// Listens on `address` and answers from now on.
    pub fn start(address: SocketAddr, flight: &Arc<Flight>) -> Result<Admin, Error> {
        let not_listening = |source| Error::Listen { flag: "--admin", address, source };
        let mut listener = TcpListener::bind(address).map_err(not_listening)?;
        let address = listener.local_addr().map_err(not_listening)?;

        let no_poller = |source| Error::System { doing: "set up the admin port", source };
        let poll = Poll::new().map_err(no_poller)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE).map_err(no_poller)?;
        let waker = Waker::new(poll.registry(), STOP).map_err(no_poller)?;

        let on_loopback = address.ip().is_loopback();
        let watch = flight.stopwatch("admin".to_owned(), Role::Admin);
        let site = Site { flight: Arc::clone(flight), on_loopback };
        let server = Server { poll, listener, site, peers: VecDeque::new(), next: 0, watch };
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

/// Connections at once. When one more comes, the oldest goes: who holds them all cannot lock others out.
const PEERS_MAX: usize = 32;
/// From accept to the last byte of the head.
const READING_MAX: Duration = Duration::from_secs(2);
/// From there to the last byte of the answer.
const WRITING_MAX: Duration = Duration::from_secs(5);
/// From there to the peer's end of the connection.
const LINGERING_MAX: Duration = Duration::from_secs(1);
const LINGERING_BYTES_MAX: usize = 64 * 1024;
/// While somebody is sent so much, nobody else is given a flight record.
const LARGE_BYTES_MIN: usize = 256 * 1024;
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
    watch: Stopwatch,
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
            self.watch.wait(wait.map(|wait| self.watch.now() + wait));
            match self.poll.poll(&mut events, wait) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return tracing::error!("the admin port cannot poll and closes: {error}"),
            }
            self.watch.enter(Stage::Answer);
            let now = self.watch.instant();
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
            self.watch.rest();
        }
    }

    fn serve(&mut self, token: Token, now: Instant) {
        let Some(index) = self.peers.iter().position(|peer| peer.token == token) else { return };
        let others = self.peers.iter().filter(|peer| peer.token != token);
        let is_laden = others.map(Peer::held_bytes).any(|bytes| bytes > LARGE_BYTES_MIN);
        if self.peers[index].advance(&self.site, now, is_laden).is_over() {
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
    Reading(Vec<u8>, HeadScan),
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
        Peer {
            token,
            stream,
            deadline: now + READING_MAX,
            state: State::Reading(Vec::new(), HeadScan::default()),
        }
    }

    fn held_bytes(&self) -> usize {
        if let State::Writing(answer, _) = &self.state { answer.len() } else { 0 }
    }

    /// Goes as far as the socket lets it. With `is_laden` a large answer is on its way to somebody else.
    fn advance(&mut self, site: &Site, now: Instant, is_laden: bool) -> &State {
        loop {
            let next = match &mut self.state {
                State::Reading(head, scan) => match read_more(&mut self.stream, head) {
                    Ok(0) => State::Over,
                    Ok(_) => match scan.request(head) {
                        Ok(None) => continue,
                        Ok(Some((request, _))) => State::Writing(site.answer(&request, is_laden), 0),
                        Err(error) => match error.status() {
                            Some(status) => State::Writing(refusal(status, &[]), 0),
                            None => State::Over,
                        },
                    },
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return &self.state,
                    Err(_) => State::Over,
                },
                State::Writing(answer, sent) => match write_all(&mut self.stream, answer, sent) {
                    Ok(()) => match self.stream.shutdown(Shutdown::Write) {
                        Ok(()) => State::Lingering(0),
                        Err(_) => State::Over,
                    },
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
            self.deadline = match next {
                State::Writing(..) => now + WRITING_MAX,
                State::Lingering(_) => now + LINGERING_MAX,
                State::Reading(..) | State::Over => self.deadline,
            };
            self.state = next;
        }
    }
}

/// Reads what fits into a piece; 0 is the end. The scan refuses a head that is too long, so it stays short.
fn read_more(stream: &mut TcpStream, head: &mut Vec<u8>) -> io::Result<usize> {
    let mut piece = [0; 2048];
    let count = uninterrupted(|| stream.read(&mut piece))?;
    head.extend_from_slice(&piece[..count]);
    Ok(count)
}

fn write_all(stream: &mut TcpStream, answer: &[u8], sent: &mut usize) -> io::Result<()> {
    while *sent < answer.len() {
        *sent += uninterrupted(|| stream.write(&answer[*sent..]))?;
    }
    Ok(())
}

fn drop_input(stream: &mut TcpStream, dropped: &mut usize) -> io::Result<()> {
    let mut piece = [0; 2048];
    while *dropped < LINGERING_BYTES_MAX {
        match uninterrupted(|| stream.read(&mut piece))? {
            0 => return Ok(()),
            count => *dropped += count,
        }
    }
    Ok(())
}

fn uninterrupted(mut deed: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match deed() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// What is to be found here: a request's head in, the whole answer out.
struct Site {
    flight: Arc<Flight>,
    on_loopback: bool,
}

const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

const INDEX: &str = "<!doctype html>
<title>tickyard admin</title>
<h1>tickyard admin</h1>
<ul>
<li><a href=\"/metrics\">/metrics</a>: what the server counts and measures, for Prometheus
<li><a href=\"/debug/flight\" download=\"flight.json\">/debug/flight</a>: what all threads did in the last half minute, for ui.perfetto.dev
<li><a href=\"/healthz\">/healthz</a>: whether the process answers
</ul>
";

impl Site {
    fn answer(&self, request: &RequestHead<'_>, is_laden: bool) -> Vec<u8> {
        if self.on_loopback && !request.headers.all("host").all(is_no_name_on_the_web) {
            return refusal(Status::FORBIDDEN, &[]);
        }
        let (content_type, body) = match request.path {
            "/" => (HTML, INDEX.to_owned()),
            "/healthz" => (TEXT, "ok\n".to_owned()),
            "/metrics" => (metrics::CONTENT_TYPE, self.flight.metrics().render()),
            "/debug/flight" if is_laden => {
                return refusal(Status::UNAVAILABLE, &[("Retry-After", "1")]);
            }
            "/debug/flight" => (JSON, self.flight.render("asked for")),
            _ => return refusal(Status::NOT_FOUND, &[]),
        };
        let headers = [("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")];
        let response = Response { status: Status::OK, content_type, headers: &headers };
        let mut answer = Vec::with_capacity(body.len() + 256);
        match request.method {
            "GET" => response.write(&mut answer, body.as_bytes()),
            "HEAD" => response.write_head(&mut answer, body.len() as u64),
            _ => return refusal(Status::METHOD_NOT_ALLOWED, &[("Allow", "GET, HEAD")]),
        }
        answer
    }
}

/// Whether a Host is an IP address or `localhost`, with or without a port.
fn is_no_name_on_the_web(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

fn refusal(status: Status, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut answer = Vec::new();
    http::write_status(&mut answer, status, headers);
    answer
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;
    use crate::flight::Span;
    use crate::metrics::Metrics;

    /// Far more than anything here takes: a test that hangs fails instead.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn flight() -> Arc<Flight> {
        Arc::new(Flight::new(Instant::now(), Arc::new(Metrics::new()), Box::new(|_| None), None))
    }

    fn admin() -> Admin {
        Admin::start(([127, 0, 0, 1], 0).into(), &flight()).unwrap()
    }

    fn connect(admin: &Admin) -> TcpStream {
        let stream = TcpStream::connect(admin.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// All that comes back for a request, up to the end of the connection.
    fn ask(admin: &Admin, request: &str) -> String {
        let mut stream = connect(admin);
        stream.write_all(request.as_bytes()).unwrap();
        rest(&mut stream)
    }

    fn get(admin: &Admin, path: &str) -> String {
        ask(admin, &format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", admin.address()))
    }

    fn rest(stream: &mut TcpStream) -> String {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn status(answer: &str) -> &str {
        answer.split(' ').nth(1).unwrap_or("no answer")
    }

    #[test]
    fn the_metrics_are_the_ones_of_the_server() {
        let flight = flight();
        let admin = Admin::start(([127, 0, 0, 1], 0).into(), &flight).unwrap();
        flight.metrics().ticks.inc_by(7);

        let answer = get(&admin, "/metrics");

        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains(&format!("\r\nContent-Type: {}\r\n", metrics::CONTENT_TYPE)), "{head}");
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
        assert!(body.contains("\ntickyard_ticks_total 7\n"), "{body}");
        assert!(body.ends_with("# EOF\n"), "{body}");
    }

    #[test]
    fn each_path_and_method_gets_its_answer() {
        let admin = admin();
        let host = admin.address();

        assert!(get(&admin, "/healthz?verbose").ends_with("\r\n\r\nok\n"));
        assert!(get(&admin, "/").contains("<a href=\"/metrics\">"));
        assert_eq!(status(&get(&admin, "/metric")), "404");
        let answer =
            ask(&admin, &format!("POST /metrics HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!(status(&answer), "405");
        assert!(answer.contains("\r\nAllow: GET, HEAD\r\n"), "{answer}");
        let answer = ask(&admin, &format!("HEAD /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert!(answer.contains("\r\nContent-Length: 3\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
        assert_eq!(status(&ask(&admin, "GET /healthz HTTP/1.0\r\n\r\n")), "200");
    }

    #[test]
    fn a_request_that_is_none_or_too_long_is_refused() {
        let admin = admin();

        assert_eq!(status(&ask(&admin, "GET /healthz HTTP/1.1\r\n\r\n")), "400");
        assert_eq!(ask(&admin, "\x16\x03\x01"), "");
        let endless = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(http::HEAD_BYTES_MAX));
        assert_eq!(status(&ask(&admin, &endless)), "431");
    }

    #[test]
    fn a_body_that_nobody_asked_for_resets_no_connection() {
        let admin = admin();
        let mut stream = connect(&admin);
        let head = format!("POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 20000\r\n\r\n", admin.address());
        stream.write_all(head.as_bytes()).unwrap();

        assert_eq!(status(&rest(&mut stream)), "405");
        // A closed socket answers one of these with a reset, and the next ones fail.
        for _ in 0..400 {
            stream.write_all(&[b'x'; 50]).unwrap();
        }
    }

    #[test]
    fn on_loopback_a_name_on_the_web_is_refused() {
        let admin = admin();
        let status_for = |host: &str| {
            status(&ask(&admin, &format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n"))).to_owned()
        };

        for host in ["localhost", "LocalHost:7071", "127.0.0.1", "127.0.0.1:7071", "[::1]:7071", "[::1]"] {
            assert_eq!(status_for(host), "200", "{host}");
        }
        for host in
            ["evil.example", "evil.example:7071", "127.0.0.1.evil.example", "localhost.evil.example:1", ""]
        {
            assert_eq!(status_for(host), "403", "{host}");
        }
    }

    #[test]
    fn elsewhere_any_name_may_be_asked_for() {
        let admin = Admin::start(([0, 0, 0, 0], 0).into(), &flight()).unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", admin.address().port())).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();

        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: metrics.internal\r\n\r\n").unwrap();

        assert_eq!(status(&rest(&mut stream)), "200");
    }

    #[test]
    fn a_head_in_single_bytes_is_answered_once_it_is_whole() {
        let admin = admin();
        let mut stream = connect(&admin);

        for byte in b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" {
            stream.write_all(&[*byte]).unwrap();
        }

        assert_eq!(status(&rest(&mut stream)), "200");
    }

    #[test]
    fn peers_that_stall_delay_nobody_and_the_oldest_gives_way() {
        let admin = admin();
        let mut stalled: Vec<TcpStream> = (0..PEERS_MAX).map(|_| connect(&admin)).collect();
        for stream in &mut stalled {
            stream.write_all(b"GET /metr").unwrap();
        }

        let before = Instant::now();
        assert_eq!(status(&get(&admin, "/healthz")), "200");
        // An end or a reset, depending on what was read of it by then.
        assert!(!matches!(stalled[0].read(&mut [0]), Ok(1..)));
        assert!(before.elapsed() < READING_MAX, "took {:?}", before.elapsed());
    }

    #[test]
    fn a_peer_that_never_finishes_its_request_is_dropped() {
        let admin = admin();
        let mut stream = connect(&admin);
        stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();

        let before = Instant::now();
        let end = stream.read(&mut [0]);

        assert!(!matches!(end, Ok(1..)), "{end:?}");
        assert!(before.elapsed() >= READING_MAX - Duration::from_millis(100), "{:?}", before.elapsed());
        assert!(before.elapsed() < PATIENCE);
    }

    #[test]
    fn while_a_large_flight_record_is_on_its_way_nobody_else_gets_one() {
        let flight = flight();
        let admin = Admin::start(([127, 0, 0, 1], 0).into(), &flight).unwrap();
        // More than the kernel takes at once.
        for thread in 0..8 {
            flight.stopwatch(thread.to_string(), Role::Io);
            let start = flight.now().as_micros() * 1000;
            let span = Span { stage: Stage::Send, room: None, start, nanos: 1_000_000, messages: 0 };
            flight.tracks().last().unwrap().keep(&mut vec![span; 16_000]);
        }
        let mut slow = connect(&admin);
        write!(slow, "GET /debug/flight HTTP/1.1\r\nHost: {}\r\n\r\n", admin.address()).unwrap();
        slow.read_exact(&mut [0; 17]).unwrap();

        let refused = get(&admin, "/debug/flight");
        assert!(
            refused.starts_with("HTTP/1.1 503 ") && refused.contains("\r\nRetry-After: 1\r\n"),
            "{refused}"
        );
        assert_eq!(status(&get(&admin, "/healthz")), "200");

        let record = rest(&mut slow);
        assert!(record.ends_with("]}\n") && record.len() > 5_000_000, "{}", record.len());
        assert_eq!(status(&get(&admin, "/debug/flight")), "200");
    }

    #[test]
    fn stopping_closes_the_port_at_once_even_if_a_peer_stalls() {
        let admin = admin();
        let address = admin.address();
        let _stalled = connect(&admin);

        let before = Instant::now();
        admin.stop();

        assert!(before.elapsed() < READING_MAX, "took {:?}", before.elapsed());
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn a_port_that_is_taken_is_named_with_its_flag() {
        let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = taken.local_addr().unwrap();

        let error = Admin::start(address, &flight()).unwrap_err();

        let expected = format!(
            "cannot listen on {address}: the port is in use; stop the other process or pass --admin 127.0.0.1:0"
        );
        assert_eq!(error.to_string(), expected);
    }
}
