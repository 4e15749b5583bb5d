//! Knobs that do not fit one another: what is refused, and what is allowed and yet not wise.

use super::Config;
use crate::error::Error;

impl Config {
    /// What is allowed and yet not wise, one line each.
    pub fn warnings(&self) -> Vec<String> {
        [self.late_ping(), self.open_echo(), self.trust_in_everybody()].into_iter().flatten().collect()
    }

    pub(super) fn check_relations(&self) -> Result<(), Error> {
        let contradictions = [
            self.useless_ping(),
            self.message_that_never_passes(),
            self.too_few_seats(),
            self.half_of_tls(),
            self.port_taken_twice(),
        ];
        contradictions.into_iter().flatten().next().map_or(Ok(()), |why| Err(Error::Config(why)))
    }

    fn late_ping(&self) -> Option<String> {
        let ping = self.ping_interval.filter(|ping| *ping > self.idle_timeout / 2)?;
        Some(format!(
            "--ping-interval {ping:?} is more than half of --idle-timeout {:?}: one late answer ends a silent player",
            self.idle_timeout
        ))
    }

    fn open_echo(&self) -> Option<String> {
        (self.echo && !self.listen.ip().to_canonical().is_loopback()).then(|| {
            "--echo has no rates, and others can reach it: whoever does may use your bandwidth".to_owned()
        })
    }

    fn trust_in_everybody(&self) -> Option<String> {
        let all = self.trusted_proxies.iter().find(|network| network.prefix_len() == 0)?;
        Some(format!(
            "--trusted-proxy {all} believes everybody: whoever connects says whose connection it is"
        ))
    }

    fn useless_ping(&self) -> Option<String> {
        let ping = self.ping_interval.filter(|ping| *ping >= self.idle_timeout)?;
        Some(format!(
            "--ping-interval {ping:?} is not below --idle-timeout {:?}, so silent players would be closed unasked: a third of \
             it is right, or pass --ping-interval off",
            self.idle_timeout
        ))
    }

    fn message_that_never_passes(&self) -> Option<String> {
        let burst = self.limits().bytes.burst;
        (self.message_bytes_max > burst as usize).then(|| {
            format!(
                "--max-message-bytes {} could never be sent: it is more than the {burst} bytes that --bytes-per-second {} lets \
                 through at once",
                self.message_bytes_max, self.bytes_per_second
            )
        })
    }

    fn too_few_seats(&self) -> Option<String> {
        (self.players > self.capacity).then(|| {
            format!(
                "--players {} is more than --capacity {}: raise --capacity, the number of seats",
                self.players, self.capacity
            )
        })
    }

    fn half_of_tls(&self) -> Option<String> {
        let why = match (&self.tls_cert, &self.tls_key) {
            (Some(_), None) => "--tls-cert needs --tls-key, the file with its private key",
            (None, Some(_)) => "--tls-key needs --tls-cert, the file with its certificate",
            // RFC 6797, 7.2: it is not said over plain HTTP.
            (None, None) if self.hsts => "--hsts needs --tls-cert: without TLS there is no https://",
            _ => return None,
        };
        Some(why.to_owned())
    }

    fn port_taken_twice(&self) -> Option<String> {
        let admin = self.admin.filter(|admin| admin.port() == self.listen.port() && admin.port() != 0)?;
        let same = admin.ip() == self.listen.ip()
            || admin.ip().is_unspecified()
            || self.listen.ip().is_unspecified();
        same.then(|| {
            format!(
                "--admin {admin} and --listen {} need the same port: give one of them another, or pass --admin off",
                self.listen
            )
        })
    }
}
