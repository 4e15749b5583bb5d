//! The process under TLS: a signal makes it read its certificate again, and nobody who plays notices.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::PATIENCE;
use crate::common::client::{Client, hello};
use crate::common::tls::Certificate;

/// `tickyard serve` with a certificate. It is ended when this goes.
struct Process {
    child: Child,
    address: SocketAddr,
    log: Receiver<String>,
}

impl Process {
    fn start(certificate: &Certificate) -> Process {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tickyard"))
            .args(["serve", "--listen=127.0.0.1:0", "--admin=off"])
            .arg("--tls-cert")
            .arg(&certificate.cert)
            .arg("--tls-key")
            .arg(&certificate.key)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = lines(child.stderr.take().unwrap());
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut process = Process { child, address, log };
        let serving = process.logged("serving address=");
        let address = serving.split("address=").nth(1).and_then(|rest| rest.split(' ').next());
        process.address = address.unwrap().parse().unwrap();
        process
    }

    /// Waits for a line of the log.
    fn logged(&self, part: &str) -> String {
        loop {
            let line = self.log.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|error| panic!("{error} before {part:?} was logged"));
            if line.contains(part) {
                return line;
            }
        }
    }

    fn read_again(&self) {
        kill_process(Pid::from_child(&self.child), Signal::HUP).unwrap();
    }

    fn join(&self, certificate: &Certificate, name: &str) -> Client {
        let mut client = Client::over(certificate.connect(self.address), self.address, "/play");
        client.say_hello(&hello("arena", name));
        client.until_it_sees_all();
        client
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (to, lines) = channel();
    let stream = BufReader::new(stream);
    std::thread::spawn(move || stream.lines().map_while(Result::ok).try_for_each(|line| to.send(line)));
    lines
}

/// They play together: what each says now comes back to both.
fn play_on(players: &mut [&mut Client], line: &str) {
    for player in &mut *players {
        player.chat(line);
    }
    let count = players.len();
    for player in players {
        player.until("everybody is heard", |player| {
            player.lines().iter().filter(|heard| **heard == line).count() == count
        });
    }
}

#[test]
fn a_signal_brings_a_new_certificate_and_drops_nobody_and_a_broken_one_changes_nothing() {
    let old = Certificate::new("process-reload");
    let process = Process::start(&old);
    let mut ada = process.join(&old, "Ada");

    let new = Certificate::new("process-reload");
    assert!(
        old.is_shown_at(process.address) && !new.is_shown_at(process.address),
        "nobody has said that there is a new one"
    );
    process.read_again();
    process.logged("the certificate was read again; new connections get it");
    assert!(new.is_shown_at(process.address) && !old.is_shown_at(process.address));
    let mut bob = process.join(&new, "Bob");
    play_on(&mut [&mut ada, &mut bob], "after the new one");

    let other = Certificate::new("process-reload-other");
    let broken = "-----BEGIN PRIVATE KEY-----\nhalf a".as_bytes();
    let strange = std::fs::read(&other.key).unwrap();
    let good = std::fs::read(&new.key).unwrap();
    for (key, why) in [
        (broken, "it is broken PEM"),
        (strange.as_slice(), "this key does not belong to the certificate in "),
    ] {
        std::fs::write(&new.key, key).unwrap();
        process.read_again();
        let line = process.logged("the certificate stays as it was: ");
        assert!(line.contains(" WARN ") && line.contains("--tls-key ") && line.contains(why), "{line}");
        assert!(new.is_shown_at(process.address), "{why}");
    }
    std::fs::write(&new.key, good).unwrap();
    std::fs::remove_file(&new.cert).unwrap();
    process.read_again();
    let line = process.logged("the certificate stays as it was: ");
    assert!(line.contains("--tls-cert "), "{line}");
    assert!(new.is_shown_at(process.address));
    play_on(&mut [&mut ada, &mut bob], "after the broken ones");
    ada.leave();
    bob.leave();
}
