//! The `swarm` command over TLS and through a proxy: against the server, and against ways that end early.

use rcgen::CertifiedKey;
use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use tickyard::game::arena::Arena;
use tickyard::{Config, Running, Server};

/// A place for the files of one test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("ways-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A small arena that shows a certificate of its own making, which is also what its clients have to trust.
fn arena(folder: &Path) -> (Running, PathBuf) {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_string(), "127.0.0.1".to_string()]).unwrap();
    let (chain, key) = (folder.join("chain.pem"), folder.join("key.pem"));
    std::fs::write(&chain, cert.pem()).unwrap();
    std::fs::write(&key, signing_key.serialize_pem()).unwrap();
    let config = Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        admin: None,
        tls_cert: Some(chain.clone()),
        tls_key: Some(key),
        ..Config::default()
    };
    let tick_rate = config.tick_rate;
    (Server::bind(config).unwrap().game("arena", move |_| Arena::new(tick_rate, 20)).start().unwrap(), chain)
}

/// A listener each of whose connections goes to `serve`, until the test is over.
fn listen(serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Gives tunnels, and notes what for.
fn proxy(asked: Arc<Mutex<Vec<String>>>) -> SocketAddr {
    listen(move |mut client| {
        let head = read_head(&mut client)?;
        let mut server = TcpStream::connect(head.split(' ').nth(1).unwrap())?;
        asked.lock().unwrap().push(head);
        // In two pieces, and the second one with nothing behind it.
        client.write_all(b"HTTP/1.1 200 Conn")?;
        client.write_all(b"ection established\r\nVia: test\r\n\r\n")?;
        let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || {
            let _ = io::copy(&mut from_client, &mut to_server);
            to_server.shutdown(std::net::Shutdown::Write)
        });
        io::copy(&mut server, &mut client)?;
        client.shutdown(std::net::Shutdown::Write)
    })
}

fn read_head(client: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8(head).unwrap())
}

/// Says something as soon as somebody has said something, and hangs up once the other side has.
fn says(words: impl Into<Vec<u8>>) -> SocketAddr {
    let words = words.into();
    listen(move |mut client| {
        client.read_exact(&mut [0])?;
        client.write_all(&words)?;
        client.shutdown(std::net::Shutdown::Write)?;
        io::copy(&mut client, &mut io::sink()).map(drop)
    })
}

/// The exit code and the report.
fn swarm(folder: &Path, flags: &[&str]) -> (Option<i32>, Value) {
    let json = folder.join("report.json");
    let output =
        Command::new(env!("CARGO_BIN_EXE_swarm")).args(flags).arg("--json").arg(&json).output().unwrap();
    let report = std::fs::read(&json).unwrap_or_else(|_| panic!("a report: {:?}", output.stderr));
    (output.status.code(), serde_json::from_slice(&report).unwrap())
}

/// All got in and stayed, and their worlds agree. On a busy machine a run may be too late to count.
fn assert_played((code, report): &(Option<i32>, Value)) {
    assert_eq!((&report["connected"], &report["errors"]), (&20.into(), &0.into()), "{report:#}");
    assert_eq!(report["violations"], 0, "{report:#}");
    assert!(report["agreement"]["fields"].as_u64() > Some(100), "{report:#}");
    assert_eq!(*code, Some((report["valid"] != true) as i32), "{report:#}");
}

/// Three bots get nowhere, for this reason.
fn assert_ends(folder: &Path, flags: &[&str], reason: &str) {
    let short = ["--bots", "3", "--ramp", "50ms", "--for", "1s", "--check", "0"];
    let (code, report) = swarm(folder, &[flags, &short].concat());
    assert_eq!(report["error_reasons"], serde_json::json!({ reason: 3 }), "{flags:?}");
    assert_eq!((code, &report["connected"]), (Some(1), &0.into()));
}

const PLAY: [&str; 6] = ["--bots", "20", "--ramp", "200ms", "--for", "2s"];

#[test]
fn bots_play_over_tls_by_name_and_by_address() {
    let folder = folder("tls");
    let (server, ca) = arena(&folder);
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("wss://{host}:{}/play", server.address().port());
        let run = swarm(&folder, &[&["--url", &url, "--ca", ca.to_str().unwrap()], &PLAY[..]].concat());
        assert_played(&run);
    }
    server.stop();
}

#[test]
fn bots_play_through_a_tunnel_and_each_asks_for_its_own() {
    let folder = folder("tunnel");
    let (server, ca) = arena(&folder);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let proxy = format!("http://{}", proxy(Arc::clone(&asked)));
    let place = server.address().to_string();
    let url = format!("wss://{place}/play");
    let flags = ["--url", &url, "--ca", ca.to_str().unwrap(), "--proxy", &proxy];
    let run = swarm(&folder, &[&flags, &PLAY[..]].concat());
    assert_played(&run);
    server.stop();
    let asked = asked.lock().unwrap();
    // Five more come to compare worlds.
    assert_eq!(asked.len(), 25);
    assert!(asked.iter().all(|head| *head == format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n")));
}

#[test]
fn a_server_that_nobody_vouches_for_is_an_error_that_says_what_to_do() {
    let (folder, other) = (folder("trust"), folder("other"));
    let (server, _) = arena(&folder);
    let (stranger, ca) = arena(&other);
    stranger.stop();
    let url = format!("wss://localhost:{}/play", server.address().port());
    assert_ends(
        &folder,
        &["--url", &url, "--ca", ca.to_str().unwrap()],
        "connect: the server's certificate is from nobody who is trusted here: name its CA with --ca FILE (a self-signed one is its own)",
    );
    server.stop();
}

#[test]
fn a_way_that_ends_early_is_an_error_that_says_where() {
    let folder = folder("early");
    let (server, ca) = arena(&folder);
    server.stop();
    let trusting = ["--ca", ca.to_str().unwrap()];
    for (words, reason) in [
        ("", "connect: the connection was closed in the TLS handshake"),
        ("HTTP/1.1 400 Bad Request\r\n\r\n", "connect: the server does not speak TLS there: is it ws://?"),
    ] {
        let url = format!("wss://{}/play", says(words));
        assert_ends(&folder, &[&["--url", &url], &trusting[..]].concat(), reason);
    }
    let endless = format!("HTTP/1.1 200 OK\r\nX-Filler: {}", "x".repeat(1 << 20));
    for (words, reason) in [
        ("", "connect: the connection was closed before the proxy's answer"),
        ("HTTP/1.1 200 O", "connect: the connection was closed before the proxy's answer"),
        ("HTTP/1.1 403 Forbidden\r\n\r\n", "connect: the proxy allows no tunnel to this server (403)"),
        ("\u{5}\u{0}", "connect: the proxy does not speak HTTP"),
        (&endless, "connect: the proxy answered with a head with too many bytes or fields"),
        ("HTTP/1.1 200 OK\r\n\r\n", "connect: the connection was closed in the TLS handshake"),
    ] {
        let proxy = format!("http://{}", says(words));
        let flags = ["--url", "wss://tickyard.invalid/play", "--proxy", &proxy];
        assert_ends(&folder, &[&flags, &trusting[..]].concat(), reason);
    }
}

#[test]
fn a_proxy_that_is_not_there_is_said_in_one_line() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{proxy}");
    let flags = ["--url", "ws://tickyard.invalid/play", "--proxy", &url, "--bots", "3"];
    let output = Command::new(env!("CARGO_BIN_EXE_swarm")).args(flags).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    let reason = "connection refused; check the address in --proxy";
    assert_eq!(told, format!("error: cannot connect to the proxy {proxy}: {reason}\n"));
}
