//! What a person who has just started the server is told: where everything is.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::Config;

/// What a person who has just started the server wants to know: where everything is, and what to look out for.
/// `listen` and `admin` carry the real ports, also where 0 was asked for.
pub fn banner(config: &Config, listen: SocketAddr, admin: Option<SocketAddr>) -> String {
    let here = reachable(listen);
    let (http, ws) = if config.tls_cert.is_some() { ("https", "wss") } else { ("http", "ws") };
    let mut text = format!("tickyard {}\n\n", env!("CARGO_PKG_VERSION"));
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<9}{value}");
    };
    line("play", format!("{http}://{here}/"));
    line("clients", format!("{ws}://{here}/play"));
    if config.echo {
        line("echo", format!("{ws}://{here}/echo"));
    }
    line("health", format!("{http}://{here}/healthz"));
    match admin {
        Some(admin) => line("metrics", format!("http://{}/metrics", reachable(admin))),
        None => line("metrics", "off".to_owned()),
    }
    let Config { rooms, tick_rate, capacity, seed, .. } = config;
    let each = format!("{tick_rate} ticks a second, {capacity} seats, seed {seed}");
    match rooms {
        1 => line("room", each),
        _ => line("rooms", format!("up to {rooms}, each with {each}")),
    }
    for note in notes(http, listen, admin) {
        let _ = write!(text, "\n{note}\n");
    }
    text.push_str("\nCtrl-C stops it.\n");
    text
}

fn notes(http: &str, listen: SocketAddr, admin: Option<SocketAddr>) -> Vec<String> {
    let mut notes = Vec::new();
    if listen.ip().is_unspecified() {
        let port = listen.port();
        notes.push(format!(
            "It listens on every address of this machine: others play at {http}://<this machine's address>:{port}/"
        ));
    }
    if let Some(admin) = admin
        && !admin.ip().is_loopback()
    {
        notes.push(format!(
            "The admin port {admin} is not on loopback: whoever reaches it can read the metrics."
        ));
    }
    notes
}

/// The address under which a browser on this machine reaches `address`; the unspecified one is none.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_names_every_place_with_its_real_port() {
        let config = Config { echo: true, ..Config::default() };
        let listen = ([127, 0, 0, 1], 40_001).into();
        let admin = ([127, 0, 0, 1], 40_002).into();

        assert_eq!(
            banner(&config, listen, Some(admin)),
            "tickyard 0.1.0

  play     http://127.0.0.1:40001/
  clients  ws://127.0.0.1:40001/play
  echo     ws://127.0.0.1:40001/echo
  health   http://127.0.0.1:40001/healthz
  metrics  http://127.0.0.1:40002/metrics
  room     20 ticks a second, 10000 seats, seed 1

Ctrl-C stops it.
"
        );
    }

    #[test]
    fn a_server_open_to_others_says_so() {
        let config = Config::default();
        let listen = ([0, 0, 0, 0], 7070).into();
        let admin = "[::]:7071".parse().unwrap();

        let text = banner(&config, listen, Some(admin));

        assert!(text.contains("play     http://127.0.0.1:7070/\n"), "{text}");
        assert!(text.contains("metrics  http://[::1]:7071/metrics\n"), "{text}");
        assert!(text.contains("http://<this machine's address>:7070/\n"), "{text}");
        assert!(text.contains("The admin port [::]:7071 is not on loopback"), "{text}");
    }

    #[test]
    fn several_rooms_are_told_with_what_each_holds() {
        let config = Config { rooms: 100, capacity: 50, ..Config::default() };
        let text = banner(&config, ([127, 0, 0, 1], 7070).into(), None);
        assert!(
            text.contains("  rooms    up to 100, each with 20 ticks a second, 50 seats, seed 1\n"),
            "{text}"
        );
    }

    #[test]
    fn without_an_admin_port_the_metrics_are_off() {
        let text = banner(&Config::default(), ([127, 0, 0, 1], 7070).into(), None);

        assert!(text.contains("  metrics  off\n"), "{text}");
        assert!(!text.contains("echo"), "{text}");
    }
}
