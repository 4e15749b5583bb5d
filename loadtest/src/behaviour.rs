//! What a swarm does: its bots play, in one way or several, or its peers misbehave.

use crate::hostile::Kind;

/// What `--behaviour` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Its bots play.
    Play(Mix),
    /// Its peers misbehave in these ways.
    Hostile(Vec<Kind>),
}

/// A way to play.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// Wanders, or goes for coins.
    #[default]
    Play,
    /// Runs to the middle of the world and mills about there.
    Crowd,
    /// Has a small receive buffer and stops reading now and then.
    SlowReader,
    /// Goes where the crowd would be, has a small receive buffer and reads half of what others do.
    HalfReader,
}

/// Which part of the bots plays in which way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mix {
    /// In ten-thousandths.
    shares: Vec<(Way, u32)>,
    /// What the others do.
    rest: Way,
}

/// All of them.
const WHOLE: u32 = 10_000;

impl Way {
    const ALL: [Way; 4] = [Way::Play, Way::Crowd, Way::SlowReader, Way::HalfReader];

    /// As `--behaviour` says it.
    pub fn name(self) -> &'static str {
        match self {
            Way::Play => "play",
            Way::Crowd => "crowd",
            Way::SlowReader => "slow-reader",
            Way::HalfReader => "half-reader",
        }
    }

    /// Whether it reads less than what comes.
    pub fn is_slow(self) -> bool {
        matches!(self, Way::SlowReader | Way::HalfReader)
    }

    fn named(name: &str) -> Option<Way> {
        Way::ALL.into_iter().find(|way| way.name() == name)
    }
}

impl Behaviour {
    /// Reads `hostile`, the name of a kind, or ways to play: `crowd`, `slow-reader=5%`, `crowd,slow-reader=5%,half-reader=1%`.
    pub fn parse(text: &str) -> Result<Behaviour, String> {
        if text == "hostile" {
            return Ok(Behaviour::Hostile(Kind::ALL.to_vec()));
        }
        match Kind::ALL.into_iter().find(|kind| kind.name() == text) {
            Some(kind) => Ok(Behaviour::Hostile(vec![kind])),
            None => Mix::parse(text).map(Behaviour::Play),
        }
    }
}

impl Mix {
    fn parse(text: &str) -> Result<Mix, String> {
        let mut shares: Vec<(Way, u32)> = Vec::new();
        let mut rest = None;
        for part in text.split(',') {
            let (name, share) =
                part.split_once('=').map_or((part, None), |(name, share)| (name, Some(share)));
            let way = Way::named(name).ok_or_else(|| unknown(name))?;
            match share {
                None if rest.is_some() => {
                    return Err(format!(
                        "{name}: only one can be without a share, and is what the others do"
                    ));
                }
                None => rest = Some(way),
                Some(share) => shares.push((way, parse_share(share)?)),
            }
        }
        if shares.iter().map(|&(_, share)| share).sum::<u32>() > WHOLE {
            return Err("the shares are more than 100 %".to_string());
        }
        Ok(Mix { shares, rest: rest.unwrap_or_default() })
    }

    /// The ways of all bots, by number: each has its share of any row of bots, as far as that goes.
    pub fn ways(&self) -> impl Iterator<Item = Way> {
        let given: u32 = self.shares.iter().map(|&(_, share)| share).sum();
        let mut all = vec![(self.rest, WHOLE - given, 0)];
        all.extend(self.shares.iter().map(|&(way, share)| (way, share, 0)));
        (1..).map(move |bots: i64| {
            // Whoever is furthest behind of what is due to it.
            let owed = |&(_, share, has): &(Way, u32, i64)| bots * i64::from(share) - has * i64::from(WHOLE);
            let next = (0..all.len()).rev().max_by_key(|&at| owed(&all[at])).expect("there is the rest");
            all[next].2 += 1;
            all[next].0
        })
    }

    /// Whether somebody plays in this way.
    pub fn has(&self, way: Way) -> bool {
        let given: u32 = self.shares.iter().map(|&(_, share)| share).sum();
        self.shares.iter().any(|&(other, share)| other == way && share > 0)
            || (self.rest == way && given < WHOLE)
    }
}

fn unknown(name: &str) -> String {
    let ways = Way::ALL.map(Way::name).join(", ");
    let kinds = Kind::ALL.map(Kind::name).join(", ");
    match Kind::ALL.into_iter().any(|kind| kind.name() == name) || name == "hostile" {
        true => format!("{name}: who misbehaves does so in a run of its own; {ways} can be mixed"),
        false => format!(
            "there are {ways}, which can be mixed (slow-reader=5%), and hostile (a mix of all that follow), {kinds}"
        ),
    }
}

fn parse_share(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text}: a share is like 5% or 0.5%");
    let percent: f64 = text.strip_suffix('%').and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
    if !(0.0..=100.0).contains(&percent) {
        return Err(wrong());
    }
    Ok((percent * f64::from(WHOLE) / 100.0).round() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(text: &str) -> Mix {
        match Behaviour::parse(text) {
            Ok(Behaviour::Play(mix)) => mix,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn count(mix: &Mix, bots: usize, way: Way) -> usize {
        mix.ways().take(bots).filter(|&other| other == way).count()
    }

    #[test]
    fn a_behaviour_is_known_or_answered_with_all_that_are() {
        assert_eq!(Behaviour::parse("play"), Ok(Behaviour::Play(Mix::default())));
        assert_eq!(Behaviour::parse("hostile"), Ok(Behaviour::Hostile(Kind::ALL.to_vec())));
        assert_eq!(Behaviour::parse("silent"), Ok(Behaviour::Hostile(vec![Kind::Silent])));
        let error = Behaviour::parse("rude").unwrap_err();
        for name in Kind::ALL.map(Kind::name) {
            assert!(error.contains(name), "{error}");
        }
        assert!(error.starts_with("there are play, crowd, slow-reader, half-reader, which "), "{error}");
    }

    #[test]
    fn shares_of_any_run_of_bots_are_kept_and_the_rest_plays() {
        let mix = mix("slow-reader=5%,half-reader=0.5%");
        assert_eq!(
            [Way::Play, Way::SlowReader, Way::HalfReader].map(|way| count(&mix, 2000, way)),
            [1890, 100, 10]
        );
        for bots in 0..2000 {
            let slow = count(&mix, bots, Way::SlowReader) as f64;
            assert!((slow - bots as f64 * 0.05).abs() <= 1.0, "{slow} of {bots}");
        }
        assert_eq!(mix.ways().next(), Some(Way::Play));
        assert!(mix.has(Way::Play) && mix.has(Way::HalfReader) && !mix.has(Way::Crowd));
    }

    #[test]
    fn the_rest_does_what_has_no_share() {
        assert_eq!(count(&mix("slow-reader"), 10, Way::SlowReader), 10);
        let crowd = mix("slow-reader=50%,crowd");
        assert_eq!([Way::Crowd, Way::SlowReader].map(|way| count(&crowd, 10, way)), [5, 5]);
        let all = mix("slow-reader=100%");
        assert!(all.ways().take(100).all(|way| way == Way::SlowReader) && !all.has(Way::Play));
    }

    #[test]
    fn a_mix_that_makes_no_sense_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "there are play, "),
            ("crowd,play", "only one can be without a share"),
            ("slow-reader=5", "a share is like 5%"),
            ("slow-reader=-5%", "a share is like 5%"),
            ("slow-reader=NaN%", "a share is like 5%"),
            ("slow-reader=60%,crowd=50%", "more than 100 %"),
            ("silent=5%", "silent: who misbehaves does so in a run of its own"),
            ("hostile,play", "hostile: who misbehaves does so in a run of its own"),
        ] {
            let error = Behaviour::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
