//! The `tickyard` command as people meet it: help, each mistake's one line, exit codes, and who wins when a knob is
//! turned in several places.

// A shell: what processes do takes real time.
#![allow(clippy::disallowed_types)]

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Far more than a start or an end takes: a test that hangs fails instead.
const PATIENCE: Duration = Duration::from_secs(30);

/// The command with nothing in its environment, in a directory of its own for this test.
fn tickyard(test: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tickyard"));
    command.args(args).env_clear().current_dir(directory(test));
    command.stdin(Stdio::null());
    command
}

fn directory(test: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

fn write_file(test: &str, name: &str, text: &str) {
    std::fs::write(directory(test).join(name), text).unwrap();
}

/// What a command that ends by itself printed, and how it ended.
fn transcript(command: &mut Command) -> String {
    let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let output = command.output().unwrap();
    let mut text = format!("$ tickyard {}\n", args.join(" "));
    text.push_str(&String::from_utf8_lossy(&output.stdout));
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        let _ = writeln!(text, "2> {line}");
    }
    let _ = writeln!(
        text,
        "exit code {}",
        output.status.code().map_or("none".to_owned(), |code| code.to_string())
    );
    text
}

fn transcripts(test: &str, of: &[&[&str]]) -> String {
    of.iter().map(|args| transcript(&mut tickyard(test, args))).collect::<Vec<_>>().join("\n")
}

/// A running server. It is ended when this goes.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(command: Command) -> Running {
        Running::start_with(command, Stdio::null())
    }

    fn start_with(mut command: Command, stderr: Stdio) -> Running {
        let mut child = command.stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (to, lines) = channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| to.send(line)));
        Running { child, lines }
    }

    /// What it says until it is ready.
    fn banner(&self) -> String {
        let mut banner = String::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no end of {banner:?}"));
            let _ = writeln!(banner, "{line}");
            if line.starts_with("Ctrl-C") {
                return banner;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn end(mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        // Its stdout closes when it has ended.
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            drop(line);
        }
        assert_eq!(
            self.lines.recv_timeout(PATIENCE),
            Err(RecvTimeoutError::Disconnected),
            "it has not ended"
        );
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `serve` on ports that the system chooses, with the given flags.
fn serve(test: &str, args: &[&str]) -> Command {
    let mut command = tickyard(test, &["serve", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0"]);
    command.args(args);
    command
}

/// `127.0.0.1:` and a port's digits, with the digits taken out.
fn without_ports(text: &str) -> String {
    let mut parts = text.split("127.0.0.1:");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        let _ = write!(out, "127.0.0.1:PORT{rest}");
    }
    out
}

/// A server whose log is read.
struct Logging {
    running: Running,
    address: SocketAddr,
    log: PathBuf,
}

impl Logging {
    fn start(test: &str, args: &[&str]) -> Logging {
        let log = directory(test).join("log.txt");
        let mut command = serve(test, &["--log=tickyard=debug"]);
        command.args(args);
        let running = Running::start_with(command, File::create(&log).unwrap().into());
        let banner = running.banner();
        let address = banner.split("ws://").nth(1).and_then(|rest| rest.split('/').next()).unwrap();
        Logging { address: address.parse().unwrap(), running, log }
    }

    /// What it says to these bytes, up to the end.
    fn heard(&self, bytes: &[u8]) -> String {
        let mut stream = self.say(bytes);
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        String::from_utf8(heard).unwrap()
    }

    fn say(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = stream.write_all(bytes);
        stream
    }

    fn log_has(&self, part: &str, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = std::fs::read_to_string(&self.log).unwrap();
            if text.matches(part).count() == count {
                return;
            }
            assert!(Instant::now() < deadline, "not {count} times {part:?} in\n{text}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it, and returns all it has logged.
    fn end(self) -> String {
        self.running.end(Signal::TERM);
        std::fs::read_to_string(&self.log).unwrap()
    }
}

/// The request of a WebSocket, with further header lines.
fn upgrade(lines: &str) -> String {
    format!(
        "GET /play HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
    )
}

#[test]
fn a_trusted_proxy_that_names_no_client_is_warned_of_once_a_minute_and_goes_on() {
    let args = ["--limit-loopback", "--max-connections-per-address=1", "--trusted-proxy=127.0.0.1"];
    let server = Logging::start("proxy", &args);
    let told = |bytes: &[u8]| {
        let mut stream = server.say(bytes);
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        (stream, String::from_utf8(status.to_vec()).unwrap())
    };
    // As a health check does, and a proxy that is set up well.
    assert!(server.heard(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").ends_with("ok\n"));
    let named = upgrade("X-Forwarded-For: 192.0.2.1\r\n");
    let behind = b"PROXY TCP4 192.0.2.2 192.0.2.9 56324 443\r\n";
    let well = [told(named.as_bytes()), told(&[behind, upgrade("").as_bytes()].concat())];
    assert!(well.iter().all(|(_, status)| status == "HTTP/1.1 101"));
    server.log_has(" WARN ", 0);

    let nameless = ["", "X-Forwarded-For: unknown\r\n", "X-Real-IP: 192.0.2.3\r\n"];
    let nameless = nameless.map(|lines| told(upgrade(lines).as_bytes()));
    assert!(nameless.iter().all(|(_, status)| status == "HTTP/1.1 101"), "they have no limit");
    server.log_has(" WARN ", 1);
    server.log_has("a trusted proxy and named no client: let it send X-Forwarded-For", 1);
    drop((well, nameless));

    let text = server.end();
    let warned = text.lines().find(|line| line.contains(" WARN ")).unwrap();
    assert!(warned.contains(" a WebSocket of 127.0.0.1:") && warned.contains("--trusted-proxy"), "{warned}");
    assert_eq!(text.matches(" WARN ").count(), 1, "{text}");
}

#[test]
fn the_log_says_who_was_refused_and_why_and_warns_once_a_minute() {
    let args = ["--limit-loopback", "--max-connections-per-address=1"];
    let server = Logging::start("log", &args);
    let heard = |bytes: &[u8]| server.heard(bytes);
    let log_has = |part: &str, count: usize| server.log_has(part, count);
    log_has("serving address=127.0.0.1:", 1);
    heard(b"\x1b[31mred\n");
    log_has(r#"a connection ended reason="not_http" peer=127.0.0.1:"#, 1);
    log_has(r"cause=\x1b[31mred\n", 1);
    heard(b"GET /play?token=hunter2 HTTP/1.1\r\nCookie: hunter2\r\n\r\n");
    log_has(r#"reason="bad_request" peer=127.0.0.1:"#, 1);
    for (at, origin) in
        ["https://game.example", "https://other.example", "https://x;reboot"].iter().enumerate()
    {
        heard(upgrade(&format!("Origin: {origin}\r\n")).as_bytes());
        // It has to be gone before the next one comes: there is one connection for all of us.
        log_has(r#"reason="forbidden_origin""#, at + 1);
    }
    let resident = TcpStream::connect(server.address).unwrap();
    assert!(heard(b"").starts_with("HTTP/1.1 503 ") && heard(b"").starts_with("HTTP/1.1 503 "));
    log_has(r#"reason="address_limit" peer=127.0.0.1:"#, 2);
    drop(resident);

    let text = server.end();
    let warnings: Vec<&str> = text.lines().filter(|line| line.contains(" WARN ")).collect();
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    assert!(
        warnings[0].ends_with("was refused (403); if it is yours, add --allow-origin https://game.example")
    );
    assert!(
        warnings[1].contains("127.0.0.1 has as many connections") && warnings[1].contains("--trusted-proxy")
    );
    assert!(!text.contains("hunter2") && !text.contains('\x1b'), "{text}");
}

#[test]
fn help_opens_with_examples() {
    insta::assert_snapshot!(transcripts("help", &[&["--help"], &["serve", "--help"], &["--version"]]));
}

#[test]
fn without_a_command_help_comes_as_an_error() {
    insta::assert_snapshot!(transcripts("no-command", &[&[]]));
}

#[test]
fn a_mistake_on_the_command_line_is_one_line_that_says_what_to_do() {
    insta::assert_snapshot!(transcripts(
        "mistakes",
        &[
            &["sreve"],
            &["--lisen"],
            &["serve", "--lisen", "127.0.0.1:1"],
            &["serve", "--quux"],
            &["serve", "now"],
            &["serve", "--listen"],
            &["serve", "--listen", "localhost"],
            &["serve", "--admin", "no"],
            &["serve", "--admin", "127.0.0.1:7070"],
            &["serve", "--tick-rate", "0"],
            &["serve", "--tick-rate=61"],
            &["serve", "--far-rate", "3"],
            &["serve", "--io-threads", "many"],
            &["serve", "--echo=perhaps"],
            &["serve", "--max-connections", "-1"],
            &["serve", "--players", "10001"],
            &["serve", "--seed", "0x10"],
            &["serve", "--seed", "1", "--seed", "2"],
            &["serve", "--idle-timeout", "30"],
            &["serve", "--idle-timeout", "0s"],
            &["serve", "--allow-origin", "null"],
            &["serve", "--flight-dir", "/dev/null/flights"],
            &["serve", "--log", "a=b=c"],
        ]
    ));
}

#[test]
fn a_mistake_in_the_file_is_one_line_with_its_place() {
    let test = "files";
    write_file(test, "typo.toml", "# ours\ntick-rat = 30\n");
    write_file(test, "value.toml", "listen = \"127.0.0.1:0\"\n\nidle-timeout = \"30\"\n");
    write_file(test, "syntax.toml", "seed = \n");
    write_file(test, "pair.toml", "players = 50\ncapacity = 40\n");
    std::fs::create_dir_all(directory(test).join("folder.toml")).unwrap();

    insta::assert_snapshot!(transcripts(
        test,
        &[
            &["serve", "--config", "typo.toml"],
            &["serve", "--config", "value.toml"],
            &["serve", "--config", "syntax.toml"],
            &["serve", "--config", "pair.toml"],
            &["serve", "--config", "missing.toml"],
            &["serve", "--config", "folder.toml"],
            &["serve", "--config", "/dev/zero"],
        ]
    ));
}

#[test]
#[cfg(not(feature = "tls"))]
fn a_build_without_tls_says_so() {
    let text = transcript(&mut serve("no-tls", &["--tls-cert", "cert.pem", "--tls-key", "key.pem"]));
    let told = "2> error: --tls-cert: this build has no TLS; build it with the feature `tls`\nexit code 2\n";
    assert!(text.ends_with(told), "{text}");
}

#[test]
#[cfg(feature = "tls")]
fn a_certificate_or_key_that_cannot_be_used_is_one_line_that_says_why() {
    let test = "certificates";
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = made.signing_key.serialize_pem();
    write_file(test, "cert.pem", &made.cert.pem());
    write_file(test, "key.pem", &key);
    write_file(test, "other-key.pem", &other.signing_key.serialize_pem());
    write_file(test, "page.pem", "<html></html>\n");
    write_file(test, "broken-cert.pem", "-----BEGIN CERTIFICATE-----\nAAAA*\n-----END CERTIFICATE-----\n");
    write_file(test, "wrong-cert.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    write_file(test, "cut-key.pem", &key[..key.len() - 40]);
    write_file(test, "wrong-key.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    write_file(
        test,
        "locked-key.pem",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    // As `openssl ec -aes256` writes it.
    write_file(
        test,
        "old-locked-key.pem",
        "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END EC PRIVATE KEY-----\n",
    );
    let pairs = [
        ("missing.pem", "key.pem"),
        ("cert.pem", "missing.pem"),
        ("page.pem", "key.pem"),
        ("cert.pem", "page.pem"),
        ("key.pem", "cert.pem"),
        ("broken-cert.pem", "key.pem"),
        ("wrong-cert.pem", "key.pem"),
        ("cert.pem", "cut-key.pem"),
        ("cert.pem", "wrong-key.pem"),
        ("cert.pem", "locked-key.pem"),
        ("cert.pem", "old-locked-key.pem"),
        ("cert.pem", "other-key.pem"),
        ("/dev/zero", "key.pem"),
    ];
    let mut text = transcripts(
        test,
        &[&["serve", "--tls-cert", "cert.pem"], &["serve", "--tls-key", "key.pem"], &["serve", "--hsts"]],
    );
    for (certificate, key) in pairs {
        text.push('\n');
        text.push_str(&transcript(&mut serve(test, &["--tls-cert", certificate, "--tls-key", key])));
    }
    for line in key.lines().filter(|line| !line.starts_with("-----")) {
        assert!(!text.contains(&line[..16]), "the key is a secret");
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_mistake_in_the_environment_names_its_variable() {
    let names = [
        "LISTEN",
        "ADMIN",
        "TICK_RATE",
        "IO_THREADS",
        "ECHO",
        "MAX_CONNECTIONS",
        "MAX_CONNECTIONS_PER_ADDRESS",
        "LIMIT_LOOPBACK",
        "TRUSTED_PROXY",
        "PLAYERS",
        "CAPACITY",
        "FAR_RATE",
        "SEED",
        "IDLE_TIMEOUT",
        "SLOW_TIMEOUT",
        "HELLO_TIMEOUT",
        "ALLOW_ORIGIN",
        "LOG",
        "HSTS",
        "LOG_JSON",
    ];
    for name in names {
        let variable = format!("TICKYARD_{name}");

        let output = tickyard("environment", &["serve"]).env(&variable, "a=b=c").output().unwrap();

        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.starts_with(&format!("error: {variable}: \"a=b=c\" ")), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert_eq!(output.status.code(), Some(2));
    }
}

#[test]
fn a_port_in_use_is_told_with_the_way_out() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();

    let game = transcript(&mut tickyard("in-use", &["serve", "--admin=off", "--listen", &address]));
    let admin = transcript(&mut tickyard("in-use", &["serve", "--listen=127.0.0.1:0", "--admin", &address]));

    insta::assert_snapshot!(format!("{game}\n{admin}").replace(&address, "127.0.0.1:TAKEN"));
}

#[test]
fn the_banner_says_where_everything_is() {
    let server = Running::start(serve("banner", &["--echo"]));

    insta::assert_snapshot!(without_ports(&server.banner()));
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let test = "precedence";
    write_file(test, "tickyard.toml", "tick-rate = 30\n");
    let ticks = |command: Command| {
        let banner = Running::start(command).banner();
        let room = banner.lines().find_map(|line| line.trim().strip_prefix("room "));
        room.unwrap_or_else(|| panic!("no room in {banner}"))
            .split(" ticks")
            .next()
            .unwrap()
            .trim()
            .to_owned()
    };

    assert_eq!(ticks(serve(test, &[])), "20");

    let mut with_file = serve(test, &[]);
    with_file.env("TICKYARD_CONFIG", "tickyard.toml");
    assert_eq!(ticks(with_file), "30");

    let mut with_environment = serve(test, &["--config", "tickyard.toml"]);
    with_environment.env("TICKYARD_TICK_RATE", "40");
    assert_eq!(ticks(with_environment), "40");

    let mut with_flag = serve(test, &["--config", "tickyard.toml", "--tick-rate", "50"]);
    with_flag.env("TICKYARD_TICK_RATE", "40");
    assert_eq!(ticks(with_flag), "50");
}

#[test]
fn a_signal_to_read_again_ends_nothing() {
    let server = Running::start(serve("hangup", &[]));
    server.banner();
    kill_process(Pid::from_child(&server.child), Signal::HUP).unwrap();

    assert_eq!(server.end(Signal::TERM).code(), Some(0));
}

#[test]
fn a_signal_has_a_flight_record_written_and_ends_nothing() {
    let (flights, log) = (directory("flight").join("records"), directory("flight").join("log.txt"));
    let _ = std::fs::remove_dir_all(&flights);
    let command = serve("flight", &["--flight-dir=records"]);
    let server = Running::start_with(command, File::create(&log).unwrap().into());
    server.banner();
    server.signal(Signal::USR1);
    let deadline = Instant::now() + PATIENCE;
    let said = loop {
        let text = std::fs::read_to_string(&log).unwrap();
        if let Some(line) = text.lines().find(|line| line.contains("a flight record is in ")) {
            break line.to_owned();
        }
        assert!(Instant::now() < deadline, "{text}");
        std::thread::sleep(Duration::from_millis(5));
    };
    let record = std::fs::read_dir(&flights).unwrap().next().unwrap().unwrap().file_name();
    assert!(said.contains(&format!("records/{}: SIGUSR1", record.display())), "{said} {record:?}");
    assert_eq!(server.end(Signal::TERM).code(), Some(0));

    let server = Running::start(serve("flight", &[]));
    server.banner();
    server.signal(Signal::USR1);
    assert_eq!(server.end(Signal::TERM).code(), Some(0), "without a directory");
}

#[test]
fn a_signal_to_end_is_not_a_failure() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = Running::start(serve("signal", &[]));
        server.banner();

        assert_eq!(server.end(signal).code(), Some(0), "{signal:?}");
    }
}

#[test]
fn a_second_signal_ends_it_at_once_and_others_do_nothing() {
    let server = Running::start(serve("signals", &[]));
    let banner = server.banner();
    let address = banner.split("http://").nth(1).and_then(|rest| rest.split('/').next()).unwrap();
    // It upgrades, and will not answer a close, so that the end takes its time.
    let mut stubborn = TcpStream::connect(address).unwrap();
    stubborn.set_read_timeout(Some(PATIENCE)).unwrap();
    stubborn.write_all(upgrade("").as_bytes()).unwrap();
    let mut heard = Vec::new();
    let mut hear = |end: &[u8]| {
        let mut byte = [0];
        while !heard.ends_with(end) {
            stubborn.read_exact(&mut byte).unwrap();
            heard.push(byte[0]);
        }
    };
    hear(b"\r\n\r\n");

    server.signal(Signal::HUP);
    server.signal(Signal::PIPE);
    server.signal(Signal::TERM);
    hear(b"the server is going away");

    assert_eq!(server.end(Signal::TERM).code(), Some(1), "it did not wait for the stubborn one");
}
