//! The values that knobs take: text in, a value of a range or one line about what was expected out.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::limits::MESSAGE_BYTES_MIN;
use crate::bridge::Rate;
use crate::session::origins::is_origin;
use crate::session::site::Compression;
use crate::websocket::deflate::IS_BUILT_IN;

pub(super) type TickRate = Whole<1, 60>;
pub(super) type Threads = Whole<1, 64>;
pub(super) type Phases = Whole<1, 100>;
pub(super) type Connections = Whole<1, 1_000_000>;
pub(super) type Players = Whole<1, 100_000>;
pub(super) type Rooms = Whole<1, 100_000>;
pub(super) type Seed = Whole<0, { u64::MAX }>;
/// Below, no hello fits; above, it is no longer a game's message.
pub(super) type MessageBytes = Whole<{ MESSAGE_BYTES_MIN as u64 }, { 1024 * 1024 }>;
pub(super) type FrameRate = Whole<10, 100_000>;
pub(super) type Speed = Whole<1_024, { 100 * 1024 * 1024 }>;

const _: () = assert!(TickRate::MAX <= u16::MAX as u64 && Players::MAX <= u32::MAX as u64);

/// A whole number of a range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Whole<const LOW: u64, const HIGH: u64>(pub(super) u64);

impl<const LOW: u64, const HIGH: u64> Whole<LOW, HIGH> {
    const MAX: u64 = HIGH;

    pub(super) fn check(number: u64) -> Result<(), String> {
        match (LOW..=HIGH).contains(&number) {
            true => Ok(()),
            false => Err(Self::expected(&number.to_string())),
        }
    }

    fn expected(text: &str) -> String {
        format!("\"{text}\" is not a whole number from {LOW} to {HIGH}")
    }
}

impl<const LOW: u64, const HIGH: u64> FromStr for Whole<LOW, HIGH> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.parse().map_err(|_| Self::expected(text))?;
        Self::check(number).map(|()| Whole(number))
    }
}

/// How long something may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Timeout(pub(super) Duration);

/// Less would close connections between two packets; more is as good as never, and should be said otherwise.
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
const TIMEOUT_MAX: Duration = Duration::from_secs(60 * 60);

impl Timeout {
    pub(super) fn check(duration: Duration) -> Result<(), String> {
        match (TIMEOUT_MIN..=TIMEOUT_MAX).contains(&duration) {
            true => Ok(()),
            false => Err(format!("\"{duration:?}\" is not from 100ms to 60m")),
        }
    }
}

impl FromStr for Timeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Timeout, String> {
        let wrong = || {
            format!("\"{text}\" is not a duration: write a whole number and its unit, as in 500ms, 30s or 2m")
        };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
        let millis = match &text[digits..] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60 * 1_000,
            _ => return Err(wrong()),
        };
        let duration = Duration::from_millis(number.saturating_mul(millis));
        Timeout::check(duration).map_err(|_| format!("\"{text}\" is not from 100ms to 60m"))?;
        Ok(Timeout(duration))
    }
}

/// How often something is done, or "off".
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Interval(pub(super) Option<Duration>);

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Interval, String> {
        match text {
            "off" => Ok(Interval(None)),
            _ => text.parse().map(|Timeout(interval)| Interval(Some(interval))),
        }
    }
}

/// An address with its port.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Address(pub(super) SocketAddr);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        let wrong = |_| format!("\"{text}\" is not an address and port, as in 127.0.0.1:7070 or [::1]:7070");
        text.parse().map(Address).map_err(wrong)
    }
}

/// An address with its port, or "off".
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Admin(pub(super) Option<SocketAddr>);

impl FromStr for Admin {
    type Err = String;

    fn from_str(text: &str) -> Result<Admin, String> {
        if text == "off" {
            return Ok(Admin(None));
        }
        let wrong = |_| format!("\"{text}\" is neither an address and port, as in 127.0.0.1:7071, nor off");
        text.parse().map(|address| Admin(Some(address))).map_err(wrong)
    }
}

/// Yes or no, in the words that people use in an environment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Switch(pub(super) bool);

impl FromStr for Switch {
    type Err = String;

    fn from_str(text: &str) -> Result<Switch, String> {
        match text {
            "true" | "1" | "yes" | "on" => Ok(Switch(true)),
            "false" | "0" | "no" | "off" => Ok(Switch(false)),
            _ => Err(format!("\"{text}\" is neither true nor false")),
        }
    }
}

/// What is compressed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Deflate(pub(super) Compression);

impl Deflate {
    pub(super) fn check(compression: Compression) -> Result<(), String> {
        match compression == Compression::Off || IS_BUILT_IN {
            true => Ok(()),
            false => {
                Err("this build cannot compress: it was made without the cargo feature \"deflate\""
                    .to_owned())
            }
        }
    }
}

impl FromStr for Deflate {
    type Err = String;

    fn from_str(text: &str) -> Result<Deflate, String> {
        let compression = match text {
            "state" => Compression::State,
            _ => match text.parse() {
                Ok(Switch(true)) => Compression::On,
                Ok(Switch(false)) => Compression::Off,
                Err(_) => return Err(format!("\"{text}\" is neither off, nor on, nor state")),
            },
        };
        Deflate::check(compression).map(|()| Deflate(compression))
    }
}

/// At each how-many-th tick far cells are told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct FarRate(pub(super) Rate);

impl FromStr for FarRate {
    type Err = String;

    fn from_str(text: &str) -> Result<FarRate, String> {
        let rate = Rate::ALL.into_iter().find(|rate| rate.ticks().to_string() == text);
        rate.map(FarRate).ok_or_else(|| format!("\"{text}\" is not 1, 2, 4 or 8"))
    }
}

/// The origin of a page as a browser sends it; `*`: any page.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Origin(pub(super) String);

impl Origin {
    pub(super) fn check(text: &str) -> Result<(), String> {
        match text == "*" || is_origin(text) {
            true => Ok(()),
            false => Err(format!(
                "\"{text}\" is not an origin: write https://game.example or http://game.example:8080, in lower case \
                 and without a path, or * for every page of the web"
            )),
        }
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Origin, String> {
        Origin::check(text).map(|()| Origin(text.to_owned()))
    }
}

/// A proxy or a network of proxies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Proxy(pub(super) IpNet);

impl FromStr for Proxy {
    type Err = String;

    fn from_str(text: &str) -> Result<Proxy, String> {
        let address = text.parse().map(|address: IpAddr| IpNet::from(address.to_canonical()));
        let network = address.or_else(|_| text.parse().map(|network: IpNet| network.trunc()));
        network.map(Proxy).map_err(|_| {
            format!(
                "\"{text}\" is neither an address nor a network, as in 10.0.0.7, 10.0.0.0/8 or 2001:db8::/32"
            )
        })
    }
}

/// Which log lines are written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LogFilter(pub(super) String);

impl LogFilter {
    pub(super) fn check(text: &str) -> Result<(), String> {
        // The library takes a bare word for the name of a module: a misspelt level would silence everything.
        let is_known = |word: &str| {
            word.contains(['=', '[']) || word.starts_with("tickyard") || word.parse::<LevelFilter>().is_ok()
        };
        let is_right = text.split(',').all(|word| is_known(word.trim())) && EnvFilter::try_new(text).is_ok();
        is_right.then_some(()).ok_or_else(|| {
            format!(
                "\"{text}\" is not a filter: write a level (error, warn, info, debug, trace), or levels by module as in \
                 info,tickyard=debug"
            )
        })
    }
}

impl FromStr for LogFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<LogFilter, String> {
        LogFilter::check(text).map(|()| LogFilter(text.to_owned()))
    }
}

/// A knob in the file goes through the same parser as its flag, so that both refuse the same with the same words.
macro_rules! knob_in_a_file {
    ($([$($generics:tt)*] $knob:ty),+ $(,)?) => {$(
        impl<'de, $($generics)*> Deserialize<'de> for $knob {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Scalar)?.parse().map_err(de::Error::custom)
            }
        }
    )+};
}

knob_in_a_file!([const LOW: u64, const HIGH: u64] Whole<LOW, HIGH>, [] Timeout, [] Address, [] Admin, [] Switch);
knob_in_a_file!([] Deflate, [] FarRate, [] Interval, [] Origin, [] LogFilter, [] Proxy);

/// A value of a TOML file as the text that one would give a flag.
struct Scalar;

impl Visitor<'_> for Scalar {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a single value")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<String, E> {
        Ok(value.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_and_its_unit() {
        let read = |text: &str| text.parse::<Timeout>().map(|timeout| timeout.0).ok();

        assert_eq!(read("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(read("30s"), Some(Duration::from_secs(30)));
        assert_eq!(read("2m"), Some(Duration::from_secs(120)));
        assert_eq!(read("100ms"), Some(Duration::from_millis(100)));
        assert_eq!(read("60m"), Some(Duration::from_secs(3600)));
        for text in ["", "30", "s", "1.5s", "-1s", "+1s", " 1s", "1 s", "1h", "1S", "99ms", "61m", "3601s"] {
            assert_eq!(read(text), None, "{text:?}");
        }
        // Beyond u64, and beyond it only once the unit is in.
        assert_eq!(read("99999999999999999999s"), None);
        assert_eq!(read("18446744073709551615m"), None);
    }

    #[test]
    fn a_whole_number_keeps_to_its_range() {
        let read = |text: &str| text.parse::<TickRate>().map(|number| number.0).ok();

        assert_eq!((read("1"), read("60")), (Some(1), Some(60)));
        for text in ["", "0", "61", "-1", "1.0", "0x10", "one", "18446744073709551616"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_rate_is_one_of_four() {
        let read = |text: &str| text.parse::<FarRate>().map(|rate| rate.0).ok();

        assert_eq!(["1", "2", "4", "8"].map(read), Rate::ALL.map(Some));
        assert_eq!(["", "0", "3", "16", "01", "two", "4 "].map(read), [None; 7]);
    }

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for fine in [
            "*",
            "https://game.example",
            "http://localhost:8080",
            "http://[::1]:80",
            "app://x",
            "https://1.2.3.4",
        ] {
            assert_eq!(Origin::check(fine), Ok(()), "{fine}");
        }
        for wrong in [
            "",
            "**",
            "null",
            "game.example",
            "https://",
            "://x",
            "https://game.example/",
            "https://Game.example",
        ] {
            assert!(Origin::check(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_proxy_is_an_address_or_a_network() {
        let read = |text: &str| text.parse::<Proxy>().map(|proxy| proxy.0.to_string()).ok();

        assert_eq!(read("10.0.0.7").as_deref(), Some("10.0.0.7/32"));
        assert_eq!(read("10.0.0.7/8").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(read("::1").as_deref(), Some("::1/128"));
        assert_eq!(read("::ffff:10.0.0.7").as_deref(), Some("10.0.0.7/32"));
        assert_eq!(read("2001:db8::7/32").as_deref(), Some("2001:db8::/32"));
        for text in ["", "*", "10.0.0.7/33", "10.0.0", "10.0.0.7/", "proxy.example", "10.0.0.7:80", "unix:"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_switch_understands_the_usual_words() {
        let read = |text: &str| text.parse::<Switch>().map(|switch| switch.0).ok();

        assert_eq!(["true", "1", "yes", "on"].map(read), [Some(true); 4]);
        assert_eq!(["false", "0", "no", "off"].map(read), [Some(false); 4]);
        assert_eq!(["", "TRUE!", "2"].map(read), [None; 3]);
    }

    #[test]
    fn a_misspelt_level_is_refused_instead_of_silencing_everything() {
        for right in ["off", "warn", "INFO", "info,tickyard=debug", "tickyard::net=trace", "warn, tickyard"] {
            assert_eq!(LogFilter::check(right), Ok(()), "{right}");
        }
        for wrong in ["loud", "wran", "info,debgu", "tickyard=loud"] {
            assert!(LogFilter::check(wrong).is_err(), "{wrong:?}");
        }
    }
}
