//! Agreement: at rest, what a bot holds must be what the server would tell a newcomer, field by field.
//!
//! When the room has come to rest each checked bot keeps a copy of its cells and asks for all of them again; each snapshot is
//! compared with the copy. Then a few fresh connections join, and what they are told is compared with what the others
//! hold. A difference is only a suspicion until it is sure that nobody saw that cell change meanwhile.

use crate::measure::Violations;
use crate::rooms::{Newest, Room};
use std::collections::BTreeMap;
use std::fmt::Display;
use tickyard_protocol::fields::Kind;
use tickyard_protocol::replica::{HeldCell, Member};
use tickyard_protocol::types::{CellId, Tick};

/// What was compared, and what differed.
#[derive(Clone, Debug, Default)]
pub struct Agreement {
    /// Bots whose worlds were compared.
    pub bots: u64,
    /// Fresh connections whose worlds were compared.
    pub observers: u64,
    /// Pairs of cells.
    pub cells: u64,
    /// Pairs of entities.
    pub entities: u64,
    /// Pairs of fields, with kind, generation and statics.
    pub fields: u64,
    /// Differences that nothing excuses.
    pub differences: u64,
    /// Cells that changed while they were compared.
    pub disturbed: u64,
    /// The tick of each room when all had come to rest.
    rest: Newest,
    /// Since then: which cell changed last when.
    changed: BTreeMap<(Room, CellId), Tick>,
    suspects: Vec<Suspect>,
}

#[derive(Clone, Debug)]
struct Suspect {
    cell: (Room, CellId),
    text: String,
}

/// Two copies of a cell that should be the same, and how to speak of them.
pub struct Pair<'a> {
    /// Whose copies, for people.
    pub who: &'a dyn Display,
    /// Of which room they are.
    pub room: Room,
    /// What a bot held.
    pub held: &'a HeldCell,
    /// What the server told somebody now.
    pub told: &'a HeldCell,
    /// For the names.
    pub kinds: &'a [Kind],
}

impl Agreement {
    /// The rooms have come to rest: what changes from now on excuses a difference.
    pub fn begin(&mut self, newest: Newest) {
        self.rest = newest;
        self.changed.clear();
    }

    /// A bot saw this cell change.
    pub fn saw_change(&mut self, room: Room, cell: CellId, at: Tick) {
        if self.rest.of(room).is_some_and(|rest| at.since(rest) as i32 > 0) {
            self.changed.insert((room, cell), at);
        }
    }

    /// Compares two copies of a cell.
    pub fn compare(&mut self, pair: &Pair) {
        self.cells += 1;
        let (mut held, mut told) = (pair.held.members.iter().peekable(), pair.told.members.iter().peekable());
        loop {
            let slot = match (held.peek(), told.peek()) {
                (Some(held), Some(told)) => held.id.slot.min(told.id.slot),
                (Some(member), None) | (None, Some(member)) => member.id.slot,
                (None, None) => break,
            };
            let held = held.next_if(|member| member.id.slot == slot);
            let told = told.next_if(|member| member.id.slot == slot);
            self.compare_members(pair, held, told);
        }
    }

    fn compare_members(&mut self, pair: &Pair, held: Option<&Member>, told: Option<&Member>) {
        self.entities += 1;
        match (held, told) {
            (Some(held), Some(told)) => self.compare_fields(pair, held, told),
            (Some(held), None) => self.suspect(pair, held, "is held, and not told"),
            (None, Some(told)) => self.suspect(pair, told, "is told, and not held"),
            (None, None) => {}
        }
    }

    fn compare_fields(&mut self, pair: &Pair, held: &Member, told: &Member) {
        self.fields += 3;
        if held.id.generation != told.id.generation || held.kind != told.kind {
            let now = name(pair.kinds, told);
            return self.suspect(pair, held, &format!("is told as {now}"));
        }
        if held.statics != told.statics {
            self.suspect(pair, held, &format!("is told with the statics {:?}", told.statics));
        }
        let fields = pair.kinds.get(held.kind as usize).map_or(&[][..], |kind| &kind.fields);
        for (at, field) in fields.iter().enumerate() {
            self.fields += 1;
            let (held_value, told_value) = (held.row[at], told.row[at]);
            if held_value != told_value {
                let text = format!("{} is held as {held_value}, told as {told_value}", field.name);
                self.suspect(pair, held, &text);
            }
        }
    }

    fn suspect(&mut self, pair: &Pair, member: &Member, what: &str) {
        let text = format!(
            "{}: cell {} (held as of {}, told as of {}): {} {what}",
            pair.who,
            pair.held.cell.0,
            pair.held.held.0,
            pair.told.held.0,
            name(pair.kinds, member)
        );
        self.suspects.push(Suspect { cell: (pair.room, pair.held.cell), text });
    }

    /// The comparison is over: what nothing excuses is a violation.
    pub fn judge(&mut self, violations: &mut Violations) {
        let mut disturbed = Vec::new();
        for suspect in std::mem::take(&mut self.suspects) {
            if self.changed.contains_key(&suspect.cell) {
                disturbed.push(suspect.cell);
                continue;
            }
            self.differences += 1;
            violations.add(|| suspect.text);
        }
        disturbed.dedup();
        self.disturbed += disturbed.len() as u64;
    }
}

fn name(kinds: &[Kind], member: &Member) -> String {
    let kind = kinds.get(member.kind as usize).map_or("?", |kind| &kind.name);
    format!("{kind} {}.{} {:?}", member.id.slot, member.id.generation, member.statics)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rooms::RoomBook;
    use tickyard_protocol::fields::Field;
    use tickyard_protocol::types::EntityId;

    fn kinds() -> Vec<Kind> {
        let fields = vec![Field::integer("x", 0, 9), Field::integer("score", 0, 9)];
        vec![Kind { name: "player".into(), fields }]
    }

    fn member(slot: u32, x: i32, score: i32) -> Member {
        let mut row = [0; tickyard_protocol::fields::FIELDS_MAX];
        row[..2].copy_from_slice(&[x, score]);
        Member { id: EntityId { slot, generation: 0 }, kind: 0, row, statics: "Ada".into() }
    }

    fn cell(members: Vec<Member>) -> HeldCell {
        HeldCell { cell: CellId(7), held: Tick(100), members }
    }

    /// In a room that has come as far as tick 100, beside another that has come further.
    fn compared(held: &HeldCell, told: &HeldCell, changed: Option<Tick>) -> (Agreement, Violations) {
        compared_in("a", held, told, changed)
    }

    fn compared_in(
        changing: &str,
        held: &HeldCell,
        told: &HeldCell,
        changed: Option<Tick>,
    ) -> (Agreement, Violations) {
        let (mut agreement, mut violations) = (Agreement::default(), Violations::default());
        let (mut book, mut newest) = (RoomBook::default(), Newest::default());
        let room = book.of("a");
        newest.hear(room, Tick(100));
        newest.hear(book.of("b"), Tick(900));
        agreement.begin(newest);
        if let Some(at) = changed {
            agreement.saw_change(book.of(changing), CellId(7), at);
        }
        agreement.compare(&Pair { who: &"bot 1", room, held, told, kinds: &kinds() });
        agreement.judge(&mut violations);
        (agreement, violations)
    }

    #[test]
    fn equal_cells_agree_and_are_counted_to_the_field() {
        let here = cell(vec![member(1, 5, 0), member(4, 6, 2)]);
        let (agreement, violations) = compared(&here, &here, None);
        assert_eq!((agreement.cells, agreement.entities, agreement.fields), (1, 2, 2 * 5));
        assert_eq!((agreement.differences, violations.count), (0, 0));
    }

    #[test]
    fn a_field_that_differs_by_one_is_found_and_spelt_out() {
        let (agreement, violations) =
            compared(&cell(vec![member(1, 5, 2)]), &cell(vec![member(1, 5, 3)]), None);
        assert_eq!((agreement.differences, violations.count), (1, 1));
        assert_eq!(
            violations.spelt,
            [
                "bot 1: cell 7 (held as of 100, told as of 100): player 1.0 \"Ada\" score is held as 2, told as 3"
            ]
        );
    }

    #[test]
    fn an_entity_on_one_side_alone_is_found_on_either_side() {
        let (one, two) = (cell(vec![member(1, 5, 2)]), cell(vec![member(1, 5, 2), member(3, 0, 0)]));
        assert!(compared(&one, &two, None).1.spelt[0].contains("player 3.0 \"Ada\" is told, and not held"));
        assert!(compared(&two, &one, None).1.spelt[0].contains("player 3.0 \"Ada\" is held, and not told"));
    }

    #[test]
    fn another_generation_kind_or_text_is_a_difference() {
        let here = cell(vec![member(1, 5, 2)]);
        let mut reborn = here.clone();
        reborn.members[0].id.generation = 1;
        let mut renamed = here.clone();
        renamed.members[0].statics = "Bob".into();
        assert_eq!(compared(&here, &reborn, None).0.differences, 1);
        assert_eq!(compared(&here, &renamed, None).0.differences, 1);
    }

    #[test]
    fn only_a_change_since_the_room_came_to_rest_excuses_a_difference() {
        let (here, there) = (cell(vec![member(1, 5, 2)]), cell(vec![member(1, 6, 2)]));
        let (agreement, violations) = compared(&here, &there, Some(Tick(101)));
        assert_eq!((agreement.differences, agreement.disturbed, violations.count), (0, 1, 0));
        assert_eq!(compared(&here, &there, Some(Tick(100))).0.differences, 1);
        assert_eq!(compared_in("b", &here, &there, Some(Tick(901))).0.differences, 1);
    }
}
