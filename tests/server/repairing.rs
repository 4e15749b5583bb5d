//! A client whose world was damaged on the way is told anew, and the operator hears of it.

use tickyard::Config;
use tickyard::game::Random;
use tickyard_protocol::fields::{Kinds, Shapes};
use tickyard_protocol::repair::RepairWhy;
use tickyard_protocol::replica::Replica;

use crate::common::client::{Client, until_they_agree};
use crate::common::lab::{Lab, Thing};
use crate::common::{House, config, until};
use crate::surgery::Fault;

#[test]
fn damage_on_the_way_is_found_told_anew_and_counted() {
    let house = House::open(Config { tick_rate: 60, ..config() }, |server| {
        server.game("lab", |_| Lab::with_dots(100))
    });
    let mut ada = Client::join(house.address(), "lab", "Ada");
    let mut bob = Client::join(house.address(), "lab", "Bob");
    let mut random = Random::new(7);
    let cases = [
        (Fault::DropDelta, RepairWhy::Misfit),
        (Fault::DropMessage, RepairWhy::Misfit),
        (Fault::FlipChange, RepairWhy::Sum),
    ];
    for (at, (fault, why)) in cases.into_iter().enumerate() {
        let (done, seed) = (ada.repairs.len(), random.below(1000));
        let mut random = Random::new(seed.into());
        let shapes = Shapes::new(&Thing::kinds()).unwrap();
        ada.damage = Some(Box::new(move |before, message| {
            let mut damaged = message.clone();
            if fault.apply(&mut damaged, &shapes, &mut random).is_none()
                || is_seen_at_once(before, message, &damaged)
            {
                return false;
            }
            *message = damaged;
            true
        }));
        ada.until("it is found", |ada| ada.repairs.len() > done);
        let found = ada.repairs[done].clone();
        assert_eq!(found.why, why, "{fault:?}");

        ada.until("all is told anew", |ada| ada.replica.view_was_told());
        ada.until("all of it", |ada| ada.replica.view_is_complete());

        until_they_agree(&mut ada, &mut bob);
        assert_eq!(ada.repairs.len(), done + 1, "once is enough");
        until("it is counted", || {
            RepairWhy::ALL.iter().map(|&why| house.metrics().desyncs.get(why)).sum::<u64>() == at as u64 + 1
        });
    }
    assert_eq!((house.metrics().desyncs.get(RepairWhy::Misfit), bob.repairs.len()), (2, 0));
}

/// Whether damage would be refused as malformed, which ends the connection, or does no harm.
fn is_seen_at_once(before: &Replica, message: &[u8], damaged: &[u8]) -> bool {
    if damaged.is_empty() {
        return false;
    }
    let [right, wrong] = [message, damaged].map(|bytes| {
        let mut replica = before.clone();
        replica.apply(&bytes[1..], &mut ()).is_ok().then(|| replica.cells().to_vec())
    });
    wrong.is_none() || wrong == right
}
