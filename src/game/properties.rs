//! Properties: what everybody in a room should know of it and of its players, as keys with values.
//!
//! They are few and small: who joins is told all of them at once. What every player has, or what changes often, belongs into
//! things, which only those hear of who see them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tickyard_protocol::tick::Reliable;
use tickyard_protocol::types::PlayerId;

/// A property's key holds 1 to this many bytes.
pub const PROPERTY_KEY_BYTES_MAX: usize = 32;

/// A property's value holds at most this many bytes.
pub const PROPERTY_VALUE_BYTES_MAX: usize = 256;

/// A room has at most this many properties, those of its players among them.
pub const PROPERTIES_MAX: usize = 128;

/// The keys and values of a room's properties hold at most this many bytes together.
pub const PROPERTIES_BYTES_MAX: usize = 8 * 1024;

/// Whose a property is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// The room's.
    Room,
    /// A player's. It ends when the player leaves.
    Player(PlayerId),
}

/// Why a property was not set. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropertyError {
    /// The key is empty, or longer than [`PROPERTY_KEY_BYTES_MAX`].
    BadKey,
    /// There is no such player in the room.
    NoPlayer,
    /// The room has [`PROPERTIES_MAX`] already.
    TooMany,
    /// The room's properties would hold more than [`PROPERTIES_BYTES_MAX`].
    TooManyBytes,
    /// The value is longer than [`PROPERTY_VALUE_BYTES_MAX`].
    ValueTooLong,
}

impl fmt::Display for PropertyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PropertyError::BadKey => write!(f, "a property's key holds 1 to {PROPERTY_KEY_BYTES_MAX} bytes"),
            PropertyError::NoPlayer => f.write_str("that player is not in the room"),
            PropertyError::TooMany => write!(f, "a room has at most {PROPERTIES_MAX} properties"),
            PropertyError::TooManyBytes => {
                write!(f, "a room's properties hold at most {PROPERTIES_BYTES_MAX} bytes together")
            }
            PropertyError::ValueTooLong => {
                write!(f, "a property's value holds at most {PROPERTY_VALUE_BYTES_MAX} bytes")
            }
        }
    }
}

impl std::error::Error for PropertyError {}

/// The properties of a room and its players, each with the message that tells of it.
#[derive(Debug, Default)]
pub(super) struct Properties {
    /// Owners without any are not listed.
    owners: BTreeMap<Owner, BTreeMap<Box<str>, Property>>,
    count: usize,
    /// Of keys and values.
    bytes: usize,
}

#[derive(Debug)]
struct Property {
    /// As [`Reliable::put`] wrote it: encoded once, for who is here and for who comes. It ends in the value.
    body: Arc<[u8]>,
    value_bytes: usize,
}

impl Property {
    fn value(&self) -> &[u8] {
        &self.body[self.body.len() - self.value_bytes..]
    }
}

impl Properties {
    pub fn get(&self, owner: Owner, key: &str) -> Option<&[u8]> {
        self.owners.get(&owner)?.get(key).map(Property::value)
    }

    /// Sets a property, or removes it with an empty value. Returns the message that tells of it, if anything changed.
    pub fn set(&mut self, owner: Owner, key: &str, value: &[u8]) -> Result<Option<Arc<[u8]>>, PropertyError> {
        if key.is_empty() || key.len() > PROPERTY_KEY_BYTES_MAX {
            return Err(PropertyError::BadKey);
        }
        if value.len() > PROPERTY_VALUE_BYTES_MAX {
            return Err(PropertyError::ValueTooLong);
        }
        let old = self.get(owner, key);
        if old.unwrap_or_default() == value {
            return Ok(None);
        }
        let (old_count, old_bytes) = old.map_or((0, 0), |old| (1, key.len() + old.len()));
        let (new_count, new_bytes) = if value.is_empty() { (0, 0) } else { (1, key.len() + value.len()) };
        let count = self.count - old_count + new_count;
        let bytes = self.bytes - old_bytes + new_bytes;
        if count > PROPERTIES_MAX {
            return Err(PropertyError::TooMany);
        }
        if bytes > PROPERTIES_BYTES_MAX {
            return Err(PropertyError::TooManyBytes);
        }
        (self.count, self.bytes) = (count, bytes);
        let body = encode(owner, key, value);
        if value.is_empty() {
            self.forget(owner, key);
        } else {
            let property = Property { body: Arc::clone(&body), value_bytes: value.len() };
            self.owners.entry(owner).or_default().insert(key.into(), property);
        }
        Ok(Some(body))
    }

    /// An owner is gone, and what it had. Returns the messages that tell of it.
    pub fn end(&mut self, owner: Owner) -> impl Iterator<Item = Arc<[u8]>> {
        let ended = self.owners.remove(&owner).unwrap_or_default();
        self.count -= ended.len();
        self.bytes -= ended.iter().map(|(key, property)| key.len() + property.value_bytes).sum::<usize>();
        ended.into_keys().map(move |key| encode(owner, &key, &[]))
    }

    /// What tells of all of them, the room's first.
    pub fn bodies(&self) -> impl Iterator<Item = &Arc<[u8]>> {
        self.owners.values().flat_map(BTreeMap::values).map(|property| &property.body)
    }

    fn forget(&mut self, owner: Owner, key: &str) {
        let Some(properties) = self.owners.get_mut(&owner) else { return };
        properties.remove(key);
        if properties.is_empty() {
            self.owners.remove(&owner);
        }
    }
}

fn encode(owner: Owner, key: &str, value: &[u8]) -> Arc<[u8]> {
    let owner = match owner {
        Owner::Room => PlayerId(0),
        Owner::Player(player) => player,
    };
    let mut body = Vec::new();
    Reliable::Property { owner, key, value }.put(&mut body);
    body.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(body: &[u8]) -> (u32, String, Vec<u8>) {
        match Reliable::read(body) {
            Ok(Reliable::Property { owner, key, value }) => (owner.0, key.into(), value.into()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_property_that_stays_the_same_is_not_told() {
        let mut properties = Properties::default();
        let body = properties.set(Owner::Room, "map", b"one").unwrap().unwrap();
        assert_eq!(told(&body), (0, "map".into(), b"one".into()));
        assert_eq!(properties.set(Owner::Room, "map", b"one"), Ok(None));
        assert_eq!(properties.set(Owner::Room, "none", b""), Ok(None));
        assert_eq!(properties.get(Owner::Room, "map"), Some(&b"one"[..]));

        let body = properties.set(Owner::Room, "map", b"").unwrap().unwrap();
        assert_eq!(told(&body), (0, "map".into(), vec![]));
        assert_eq!(properties.get(Owner::Room, "map"), None);
        assert_eq!((properties.count, properties.bytes, properties.owners.len()), (0, 0, 0));
    }

    #[test]
    fn an_owner_ends_with_all_that_it_had_and_others_keep_theirs() {
        let mut properties = Properties::default();
        let ada = Owner::Player(PlayerId(300));
        for (owner, key) in [(ada, "team"), (Owner::Room, "map"), (ada, "hat")] {
            properties.set(owner, key, b"red").unwrap();
        }
        let ended: Vec<_> = properties.end(ada).map(|body| told(&body)).collect();
        assert_eq!(ended, [(300, "hat".into(), vec![]), (300, "team".into(), vec![])]);
        assert_eq!(properties.end(ada).count(), 0);
        let left: Vec<_> = properties.bodies().map(|body| told(body)).collect();
        assert_eq!(left, [(0, "map".into(), b"red".into())]);
        assert_eq!((properties.count, properties.bytes), (1, 6));
    }

    #[test]
    fn each_bound_has_its_own_error_and_what_is_over_it_changes_nothing() {
        let mut properties = Properties::default();
        let set = |properties: &mut Properties, key: &str, bytes: usize| {
            properties.set(Owner::Room, key, &vec![7; bytes]).map(|told| told.is_some())
        };
        let long = "k".repeat(PROPERTY_KEY_BYTES_MAX);
        assert_eq!(set(&mut properties, &long, PROPERTY_VALUE_BYTES_MAX), Ok(true));
        assert_eq!(set(&mut properties, &format!("{long}k"), 1), Err(PropertyError::BadKey));
        assert_eq!(set(&mut properties, "", 1), Err(PropertyError::BadKey));
        assert_eq!(
            set(&mut properties, "key", PROPERTY_VALUE_BYTES_MAX + 1),
            Err(PropertyError::ValueTooLong)
        );
        set(&mut properties, &long, 0).unwrap();

        for at in 0..PROPERTIES_MAX {
            assert_eq!(set(&mut properties, &format!("{at:03}"), 1), Ok(true));
        }
        assert_eq!(set(&mut properties, "one more", 1), Err(PropertyError::TooMany));
        assert_eq!(set(&mut properties, "007", 2), Ok(true), "another value is not another property");
        assert_eq!(set(&mut properties, "007", 0), Ok(true));
        assert_eq!(set(&mut properties, "one more", 1), Ok(true));

        let mut properties = Properties::default();
        let each = PROPERTIES_BYTES_MAX / 32;
        for at in 0..32 {
            assert_eq!(set(&mut properties, &format!("{at:03}"), each - 3), Ok(true));
        }
        assert_eq!(properties.bytes, PROPERTIES_BYTES_MAX);
        assert_eq!(set(&mut properties, "007", each - 2), Err(PropertyError::TooManyBytes));
        assert_eq!(properties.get(Owner::Room, "007"), Some(&vec![7; each - 3][..]));
        assert_eq!(set(&mut properties, "007", each - 4), Ok(true));
        assert_eq!(set(&mut properties, "k", 1), Err(PropertyError::TooManyBytes));
        assert_eq!(set(&mut properties, "007", 0), Ok(true));
        assert_eq!(set(&mut properties, "k", 1), Ok(true));
    }

    proptest! {
        #[test]
        fn whoever_hears_all_that_is_told_knows_what_there_is(
            deeds in prop::collection::vec((0u32..4, 0u8..12, 0usize..PROPERTY_VALUE_BYTES_MAX + 2, 0u8..20), 0..400),
        ) {
            let mut properties = Properties::default();
            let mut known = BTreeMap::new();
            let mut hear = |body: &[u8]| {
                let (owner, key, value) = told(body);
                if value.is_empty() { known.remove(&(owner, key)); } else { known.insert((owner, key), value); }
            };
            for (owner, key, bytes, dice) in deeds {
                let who = if owner == 0 { Owner::Room } else { Owner::Player(PlayerId(owner)) };
                if dice == 0 {
                    properties.end(who).for_each(|body| hear(&body));
                } else if let Ok(Some(body)) = properties.set(who, &format!("key {key}"), &vec![dice; bytes]) {
                    hear(&body);
                }
            }
            let there: BTreeMap<_, _> = properties.bodies().map(|body| told(body)).map(|(o, k, v)| ((o, k), v)).collect();
            prop_assert_eq!(properties.count, there.len());
            prop_assert_eq!(properties.bytes, there.iter().map(|((_, key), value)| key.len() + value.len()).sum::<usize>());
            prop_assert!(properties.count <= PROPERTIES_MAX && properties.bytes <= PROPERTIES_BYTES_MAX);
            prop_assert_eq!(known, there);
        }
    }
}
