//! Sections 4 to 7: scripts of tick messages and what a client knows after each.
//!
//! The bytes come from the naive publisher, or by hand where no server would write them; what a script says must be seen is
//! written beside each message here, and all of what the replica then knows goes into the file.

use super::control::{arena, schema_json};
use crate::naive::{Members, Step, Thing, delta, shapes, snapshot, sum, thing};
use crate::{golden, hex};
use serde_json::{Value, json};
use tickyard_protocol::bits::BitWriter;
use tickyard_protocol::bytes::{put_varint, put_zigzag};
use tickyard_protocol::delta::{Entity, ReadDelta, ReadEntity, put_entity, put_silent_delta, view_sum};
use tickyard_protocol::message::from_server;
use tickyard_protocol::repair::RepairWhy;
use tickyard_protocol::replica::{Hears, Member, Replica};
use tickyard_protocol::tick::{
    Blocks, HEADER_BYTES, Header, Reliable, SKIPPED, VIEW_COMPLETE, block, put_age, put_block, put_check,
    put_heard, put_reliable, put_self, put_transient, put_view,
};
use tickyard_protocol::types::{CellId, EntityId, PlayerId, Seq, Tick};

#[test]
fn streams_of_tick_messages_are_the_golden_ones() {
    golden(
        "stream.json",
        &json!({
            "about": "PROTOCOL.md, sections 4 to 7. Each script starts with an empty client that was welcomed with the schema. Each of its \
                messages is a whole tick message with its type byte; expect is all that the client knows afterwards: cells \
                by id with their members by slot, as of when the cell is held; visible is what it shows as of the message's tick, by slot, each \
                entity once; own is its own entity as of then; mismatch is how it was found in this message that the world differs (the why of a repair), and wants are the cells to name, by id; reliable and transient are what this message \
                told, in order, with payloads as hex; counts add up over the script. malformed: after the messages of \
                before, hex must be refused as malformed.",
            "schema": schema_json(&arena().schema),
            "scripts": [
                begin(), silence(), publications(), modes(), by_hand(), crossings(), crossings_at_different_ages(), there_and_back(), rates(),
                leaving_the_view(),
                generations(), catching_up(), sums(), checks(), broken_members(), misread(), never_arrives(), reliable_messages(), other_blocks(), wraps(),
            ],
            "malformed": malformed(),
        }),
    );
}

// ---- the scripts ----

fn begin() -> Value {
    let mut script = Script::new("a snapshot, then deltas; members move by themselves");
    let first = members([thing(3, 0, 0, &[100, 200, 5, -7, 0], "Ada"), thing(9, 1, 1, &[50], "")]);
    script.hear("nothing but the header: the game has not placed us yet", 70_000, |_| ()).shows(&[]);
    script
        .hear("the view, a snapshot of its first cell", 70_001, |out| {
            view(out, &[7, 300]);
            snapshot(out, CellId(7), &first);
        })
        .shows(&[3, 9])
        .row(3, &[100, 200, 5, -7, 0]);
    script
        .hear_with(
            "a snapshot of an empty cell: the view is complete",
            header(70_002, 4, 1, VIEW_COMPLETE),
            |out| {
                snapshot(out, CellId(300), &members([]));
                change(out, 7, 70_001, 70_002, &first, &predicted(&first, 1), &[]);
            },
        )
        .row(3, &[105, 193, 5, -7, 0]);
    let second = predicted(&first, 1);
    let mut third = predicted(&second, 1);
    set(&mut third, 3, &[111, 186, 6, -7, 10]);
    script
        .hear("a residual in position, velocity and score", 70_003, |out| {
            change(out, 7, 70_002, 70_003, &second, &third, &[]);
        })
        .row(3, &[111, 186, 6, -7, 10]);
    let mut fourth = predicted(&third, 1);
    fourth.insert(4, thing(4, 200, 2, &[], "flag of the żółw"));
    fourth.insert(0xff_ffff, thing(0xff_ffff, 255, 3, &[0, 10, 3], ""));
    fourth.remove(&9);
    script
        .hear("two appear, one is gone", 70_004, |out| {
            change(out, 7, 70_003, 70_004, &third, &fourth, &[]);
        })
        .shows(&[3, 4, 0xff_ffff]);
    script
        .hear("two velocities of one field", 70_005, |out| {
            change(out, 7, 70_004, 70_005, &fourth, &predicted(&fourth, 1), &[]);
        })
        .row(0xff_ffff, &[13, 10, 3]);
    script
        .hear("a snapshot replaces what is held, whatever it was", 70_006, |out| {
            snapshot(
                out,
                CellId(7),
                &members([thing(3, 0, 0, &[1, 2, 3, 4, 5], "Ada"), thing(5, 0, 2, &[], "")]),
            );
        })
        .shows(&[3, 5])
        .row(3, &[1, 2, 3, 4, 5]);
    script.counts(0, 0).end()
}

fn silence() -> Value {
    let mut script =
        Script::new("while a cell is silent its members go on as predicted, and so does the own entity");
    let mover = |x, vx| thing(1, 0, 0, &[x, 0, vx, 0, 0], "Ada");
    let coin = thing(2, 0, 1, &[9], "");
    let cell = |x, vx| members([mover(x, vx), coin.clone()]);
    let whole = |tick| header(tick, 0, 0, VIEW_COMPLETE);
    let id = mover(0, 0).id;
    let own = |out: &mut Vec<u8>, row: &[i32]| put_self(out, &Entity { id, kind: 0, row, statics: "" });
    script
        .hear_with("a mover and a coin; the mover is our own", whole(10), |out| {
            view(out, &[1]);
            snapshot(out, CellId(1), &cell(100, 5));
            own(out, &[100, 0, 5, 0, 0]);
        })
        .row(1, &[100, 0, 5, 0, 0]);
    script.hear_with("three ticks later, nothing to say", whole(13), |_| ()).row(1, &[115, 0, 5, 0, 0]);
    script
        .hear_with(
            "it turned: four ticks with the old velocity, the fifth with the new one; no residual in x",
            whole(15),
            |out| {
                change(out, 1, 10, 15, &cell(100, 5), &cell(117, -3), &[]);
                own(out, &[117, 0, -3, 0, 0]);
            },
        )
        .row(1, &[117, 0, -3, 0, 0]);
    script.hear_with("a heartbeat", whole(34), |_| ()).row(1, &[60, 0, -3, 0, 0]);
    script
        .hear_with("a base of 20 ticks takes a varint", whole(35), |out| {
            change(out, 1, 15, 35, &cell(117, -3), &cell(60, 0), &[]);
            own(out, &[60, 0, 0, 0, 0]);
        })
        .row(1, &[60, 0, 0, 0, 0]);
    script
        .hear("a snapshot in the middle of a silence", 38, |out| {
            snapshot(out, CellId(1), &cell(60, 7));
            own(out, &[60, 0, 7, 0, 0]);
        })
        .row(1, &[60, 0, 7, 0, 0]);
    script
        .hear("a delta whose base is before the snapshot", 40, |out| {
            change(out, 1, 36, 40, &cell(46, 7), &cell(70, 3), &[]);
            own(out, &[70, 0, 3, 0, 0]);
        })
        .row(1, &[70, 0, 3, 0, 0]);
    script.counts(0, 0).end()
}

fn publications() -> Value {
    let mut script = Script::new("which deltas apply: base tick <= held < block tick");
    let first = members([thing(1, 0, 0, &[1000, 0, 10, 0, 0], "")]);
    let at = |ticks| predicted(&first, ticks);
    script.hear("cell 1 as of 100", 100, |out| {
        view(out, &[1, 2]);
        snapshot(out, CellId(1), &first);
    });
    script.hear("cell 1 says nothing for three ticks", 103, |_| ()).row(1, &[1030, 0, 10, 0, 0]);
    script
        .hear("base 4: from 100 to 104, predicted over four ticks", 104, |out| {
            change(out, 1, 100, 104, &first, &at(4), &[]);
        })
        .row(1, &[1040, 0, 10, 0, 0]);
    script.hear("a snapshot between two publications", 106, |out| snapshot(out, CellId(1), &at(6)));
    script
        .hear("base 4 while held is newer than the base: predicted over two ticks", 108, |out| {
            change(out, 1, 104, 108, &at(4), &at(8), &[]);
        })
        .row(1, &[1080, 0, 10, 0, 0])
        .counts(0, 0);
    script
        .hear("the base is newer than what is held: does not apply", 111, |out| {
            change(out, 1, 110, 111, &at(10), &at(11), &[]);
        })
        .row(1, &[1110, 0, 10, 0, 0])
        .counts(1, 0)
        .wants(&[1]);
    script
        .hear("as of the tick that is held: does not apply", 112, |out| {
            put_age(out, 4);
            change(out, 1, 104, 108, &at(4), &at(8), &[]);
        })
        .counts(2, 0)
        .wants(&[1]);
    script
        .hear("older than what is held: does not apply", 113, |out| {
            put_age(out, 6);
            change(out, 1, 106, 107, &at(6), &at(7), &[]);
        })
        .counts(3, 0)
        .wants(&[1]);
    script
        .hear("a delta for a cell of the view that is not held", 114, |out| {
            change(out, 2, 113, 114, &first, &first, &[]);
        })
        .counts(4, 0)
        .wants(&[2]);
    script
        .hear("a delta for a cell that is not in the view: nothing to ask for", 115, |out| {
            change(out, 3, 114, 115, &first, &first, &[]);
        })
        .counts(5, 0)
        .wants(&[]);
    script
        .hear("a snapshot of a cell that is not in the view: skipped", 116, |out| {
            snapshot(out, CellId(3), &members([thing(77, 0, 2, &[], "")]));
        })
        .shows(&[1])
        .counts(6, 0)
        .wants(&[]);
    script
        .hear("one delta that does not apply, then the snapshot: nothing left to ask for", 117, |out| {
            change(out, 1, 116, 117, &at(16), &at(17), &[]);
            snapshot(out, CellId(1), &at(17));
        })
        .row(1, &[1170, 0, 10, 0, 0])
        .counts(7, 0)
        .wants(&[]);
    script
        .hear("a base longer than the room's life", 118, |out| {
            by_hand_delta(out, 1, 0, |out| put_varint(out, u32::MAX));
        })
        .row(1, &[1180, 0, 10, 0, 0])
        .counts(7, 0);
    script.end()
}

fn modes() -> Value {
    let mut script =
        Script::new("changes: the three selections, the three ways of a field, as our encoder chooses them");
    let mover = |slot: u32| thing(slot, 0, 0, &[slot as i32 * 100, 0, 0, 0, 0], "");
    let coin = |slot: u32| thing(slot, 0, 1, &[slot as i32], "");
    let now = (0..40).map(|slot| (slot, if slot % 4 == 3 { coin(slot) } else { mover(slot) })).collect();
    script.hear("thirty movers, ten coins between them", 1, |out| {
        view(out, &[1]);
        snapshot(out, CellId(1), &now);
    });
    let mut tick = 1;
    let mut go = |about, mode, now: &Members, edit: &dyn Fn(&mut Thing)| {
        let mut next = predicted(now, 1);
        next.values_mut().for_each(edit);
        let mut selection = 3;
        script.hear(about, tick + 1, |out| {
            change(out, 1, tick, tick + 1, now, &next, &[]);
            selection = mode_of(out);
        });
        assert_eq!(selection, mode, "{about}");
        tick += 1;
        next
    };
    let now =
        go("mode 0: all are selected, one field of each, all residuals", 0, &now, &|thing| thing.row[0] += 1);
    let now = go("mode 1: a bit per member; every other one", 1, &now, &|thing| {
        if thing.id.slot % 2 == 0 {
            thing.row[0] -= 2;
        }
    });
    let now = go("mode 2: by index; one of forty", 2, &now, &|thing| {
        if thing.id.slot == 38 {
            thing.row[4] = i32::MAX;
        }
    });
    let now = go("mode 2: by index; the first and the last", 2, &now, &|thing| {
        if thing.id.slot % 39 == 0 {
            thing.row[0] = -5;
        }
    });
    let now = go("how 2: one member far away does not widen the others' numbers", 0, &now, &|thing| {
        thing.row[0] += 1;
        if thing.id.slot == 20 {
            thing.row[1] = i32::MIN;
        }
    });
    let now = go("coins only: the movers have no fields here", 1, &now, &|thing| {
        if thing.kind == 1 {
            thing.row[0] ^= 1;
        }
    });
    go("nothing beyond the prediction: a delta without changes", 3, &now, &|_| ());

    let one = members([thing(5, 0, 1, &[0], "")]);
    script.hear("a cell with one member", 100, |out| {
        view(out, &[2]);
        snapshot(out, CellId(2), &one);
    });
    let mut other = one.clone();
    set(&mut other, 5, &[-3]);
    script
        .hear("of one member all are selected", 101, |out| change(out, 2, 100, 101, &one, &other, &[]))
        .shows(&[5])
        .row(5, &[-3]);
    script.counts(0, 0).end()
}

fn by_hand() -> Value {
    let mut script =
        Script::new("changes that a reader must take although our encoder would not write them so");
    let three = members([thing(1, 0, 1, &[10], ""), thing(2, 0, 1, &[20], ""), thing(3, 0, 2, &[], "")]);
    script.hear("two coins and a flag without fields", 1, |out| {
        view(out, &[1]);
        snapshot(out, CellId(1), &three);
    });
    let mut tick = 1;
    let mut go = |about, rows: [i32; 2], numbers: &[(u32, u32)]| {
        tick += 1;
        script
            .hear(about, tick, |out| by_hand_delta(out, 1, BASE_1 | CHANGES, |out| put_bits(out, numbers)))
            .row(1, &[rows[0]])
            .row(2, &[rows[1]])
            .counts(0, 0);
    };
    go("mode 1, nobody is selected", [10, 20], &[(1, 2), (0, 3)]);
    go("mode 2, nobody is selected", [10, 20], &[(2, 2), (0, 2)]);
    go("mode 0, no field has a residual", [10, 20], &[(0, 2), (0, 2)]);
    go("mode 1, only the flag: no kind with fields, no bit more", [10, 20], &[(1, 2), (0b100, 3)]);
    go(
        "mode 2 with all three",
        [11, 21],
        &[(2, 2), (3, 2), (0, 2), (1, 2), (2, 2), (1, 2), (1, 5), (2, 2), (2, 2)],
    );
    go("how 1 with 32 bits for small numbers", [10, 21], &[(0, 2), (1, 2), (31, 5), (1, 32), (0, 32)]);
    go("how 2 with nobody", [10, 21], &[(0, 2), (2, 2), (0, 2), (3, 5)]);
    go("how 2 with both", [8, 22], &[(0, 2), (2, 2), (0b11, 2), (1, 5), (3, 2), (2, 2)]);
    go("how 2 with the second", [8, 21], &[(0, 2), (2, 2), (0b10, 2), (0, 5), (1, 1)]);
    script
        .hear("all parts at once, with empty lists, and a base longer than needed", 11, |out| {
            let mut after = three.clone();
            set(&mut after, 1, &[8]);
            set(&mut after, 2, &[21]);
            by_hand_delta(out, 1, SUM | LEAVES | ENTERS | CHANGES, |out| {
                out.extend([0x81, 0x00]);
                out.extend(sum(&after).to_le_bytes());
                out.extend([0, 0]);
                put_bits(out, &[(0, 2), (0, 2)]);
            });
        })
        .counts(0, 0);
    script
        .hear("an empty cell", 12, |out| {
            view(out, &[2]);
            snapshot(out, CellId(2), &members([]));
        })
        .shows(&[]);
    for (about, tick, mode) in [("mode 0 of nobody", 13, 0), ("mode 1 of nobody", 14, 1)] {
        script
            .hear(about, tick, |out| {
                by_hand_delta(out, 2, BASE_1 | CHANGES, |out| put_bits(out, &[(mode, 2)]))
            })
            .counts(0, 0);
    }
    script.end()
}

fn crossings() -> Value {
    let mut script = Script::new("entities cross between cells at a tick that both cells reach");
    let traveller = |x: i32| thing(8, 0, 0, &[x, 0, 1, 0, 0], "Ada");
    let stays = thing(1, 0, 1, &[5], "");
    let there = thing(2, 0, 1, &[6], "");
    let (a, b) = (members([stays.clone(), traveller(10)]), members([there.clone()]));
    script
        .hear("cells 1 and 2; cell 3 is in the view but not held", 1, |out| {
            view(out, &[1, 2, 3]);
            snapshot(out, CellId(1), &a);
            snapshot(out, CellId(2), &b);
        })
        .shows(&[1, 2, 8]);
    let (a2, b2) = (members([stays.clone()]), members([there.clone(), traveller(11)]));
    script
        .hear("1 to 2, the old cell first", 2, |out| {
            change(out, 1, 1, 2, &a, &a2, &[(8, 2)]);
            change(out, 2, 1, 2, &b, &b2, &[]);
        })
        .shows(&[1, 2, 8])
        .row(8, &[11, 0, 1, 0, 0]);
    let (a3, b3) = (members([stays.clone(), traveller(12)]), members([there.clone()]));
    script
        .hear("2 to 1, the new cell first", 3, |out| {
            change(out, 1, 2, 3, &a2, &a3, &[]);
            change(out, 2, 2, 3, &b2, &b3, &[(8, 1)]);
        })
        .shows(&[1, 2, 8])
        .row(8, &[12, 0, 1, 0, 0]);
    script
        .hear("1 to 2, but cell 2 comes later: on its way, still shown", 4, |out| {
            change(out, 1, 3, 4, &a3, &a2, &[(8, 2)]);
        })
        .shows(&[1, 2, 8])
        .row(8, &[13, 0, 1, 0, 0]);
    script.hear("still on its way", 5, |_| ()).shows(&[1, 2, 8]);
    let b6 = members([there.clone(), traveller(14)]);
    script
        .hear("cell 2 of tick 4 comes at tick 6: arrived", 6, |out| {
            put_age(out, 2);
            change(out, 2, 3, 4, &b3, &b6, &[]);
        })
        .shows(&[1, 2, 8])
        .row(8, &[16, 0, 1, 0, 0]);
    script
        .hear("2 to 3, which is not held: removed", 7, |out| {
            change(out, 2, 4, 7, &b6, &b3, &[(8, 3)]);
        })
        .shows(&[1, 2]);
    script
        .hear("cell 3 comes: it is there", 8, |out| snapshot(out, CellId(3), &members([traveller(20)])))
        .shows(&[1, 2, 8]);
    script
        .hear("3 to 9, which is not in the view: removed", 9, |out| {
            change(out, 3, 8, 9, &members([traveller(20)]), &members([]), &[(8, 9)]);
        })
        .shows(&[1, 2]);
    script.hear("into 1 again, as if new", 10, |out| change(out, 1, 4, 10, &a2, &a3, &[])).shows(&[1, 2, 8]);
    script.hear("1 to 2 as of 11", 11, |out| change(out, 1, 10, 11, &a3, &a2, &[(8, 2)])).shows(&[1, 2, 8]);
    script
        .hear("cell 2 as of 11 does not have it: it went on to where we do not hear it", 12, |out| {
            put_age(out, 1);
            snapshot(out, CellId(2), &b3);
        })
        .shows(&[1, 2]);
    script
        .hear("a snapshot without a member: gone", 13, |out| snapshot(out, CellId(1), &members([])))
        .shows(&[2]);
    script.counts(0, 0).end()
}

fn there_and_back() -> Value {
    let mut script =
        Script::new("a cell that publishes every 4 ticks does not notice that one of its members was away");
    let traveller = |x: i32| thing(8, 0, 0, &[x, 0, 1, 0, 0], "");
    let (with, without) = (|x| members([traveller(x)]), members([]));
    script.hear("in cell 2 as of 4", 4, |out| {
        view(out, &[1, 2]);
        snapshot(out, CellId(1), &without);
        snapshot(out, CellId(2), &with(10));
    });
    script
        .hear("cell 1 took it in", 5, |out| change(out, 1, 1, 5, &without, &with(11), &[]))
        .shows(&[8])
        .row(8, &[11, 0, 1, 0, 0]);
    script.hear("and let it go again: on its way to cell 2, which is as of 4", 7, |out| {
        change(out, 1, 5, 7, &with(11), &without, &[(8, 2)]);
    });
    script
        .hear("cell 2 as of 8 says nothing of it, but lists it: at home there", 8, |out| {
            change(out, 2, 4, 8, &with(10), &with(15), &[]);
        })
        .shows(&[8])
        .row(8, &[15, 0, 1, 0, 0]);
    script
        .hear("cell 2 lets it go for good", 12, |out| change(out, 2, 8, 12, &with(15), &without, &[]))
        .shows(&[]);
    script.end()
}

fn rates() -> Value {
    let mut script = Script::new("cell 2 is told at every fourth tick, then at every tick");
    let rests = || thing(3, 0, 2, &[], "");
    let travels = |x: i32| thing(8, 0, 0, &[x, 0, 1, 0, 0], "");
    let (alone, nobody) = (members([rests()]), members([]));
    let one = |x| members([travels(x)]);
    let both = |x| members([rests(), travels(x)]);
    script.hear("all of it", 100, |out| {
        view(out, &[1, 2]);
        snapshot(out, CellId(1), &one(10));
        snapshot(out, CellId(2), &alone);
    });
    script
        .hear("on its way to cell 2", 101, |out| change(out, 1, 100, 101, &one(10), &nobody, &[(8, 2)]))
        .shows(&[3, 8])
        .row(8, &[11, 0, 1, 0, 0]);
    script
        .hear("cell 2 takes it in", 104, |out| change(out, 2, 100, 104, &alone, &both(20), &[]))
        .shows(&[3, 8])
        .row(8, &[20, 0, 1, 0, 0]);
    script
        .hear("it goes to cell 1", 105, |out| change(out, 1, 101, 105, &nobody, &one(21), &[]))
        .row(8, &[21, 0, 1, 0, 0]);
    script
        .hear("and from there out of sight: nobody knows that it will come back to cell 2", 106, |out| {
            change(out, 1, 105, 106, &one(21), &nobody, &[(8, 7)]);
        })
        .shows(&[3]);
    let back = both(30);
    script
        .hear("cell 2 lets go of who left it, and takes it in as it is now", 108, |out| {
            by_hand_delta(out, 2, SUM | LEAVES | ENTERS | (BASE_1 * 4), |out| {
                out.extend_from_slice(&sum(&back).to_le_bytes());
                [1, 8, 0].into_iter().for_each(|number| put_varint(out, number));
                put_varint(out, 1);
                let Thing { id, kind, row, statics } = &back[&8];
                put_entity(out, &Entity { id: *id, kind: *kind, row: &row[..5], statics });
            });
        })
        .shows(&[3, 8])
        .row(8, &[30, 0, 1, 0, 0]);
    script
        .hear("cell 2 says nothing but that it is as of now", 112, |out| put_silent_delta(out, CellId(2), 4))
        .row(8, &[34, 0, 1, 0, 0]);
    let (before, mut after) = (both(34), both(40));
    script.hear("from then on it is told at every tick", 113, |out| {
        change(out, 2, 112, 113, &before, &after, &[]);
    });
    script.row(8, &[40, 0, 1, 0, 0]);
    script.hear("somebody comes to cell 1", 114, |out| {
        change(out, 1, 106, 114, &nobody, &members([thing(9, 0, 2, &[], "")]), &[]);
    });
    script
        .hear("and leaves for cell 2", 115, |out| {
            change(out, 1, 114, 115, &members([thing(9, 0, 2, &[], "")]), &nobody, &[(9, 2)]);
        })
        .shows(&[3, 8, 9]);
    script
        .hear("cell 2 is as of then and does not have it: it is gone", 116, |out| {
            put_silent_delta(out, CellId(2), 3);
        })
        .shows(&[3, 8]);
    after = predicted(&after, 4);
    script.hear("the sum is right", 117, |out| {
        change(out, 2, 116, 117, &predicted(&both(40), 3), &after, &[]);
    });
    script.counts(0, 0).end()
}

fn crossings_at_different_ages() -> Value {
    let mut script = Script::new(
        "entities cross while cells are of different ages: the latest tick decides, not the order of reading",
    );
    let traveller = |x: i32| thing(8, 0, 0, &[x, 0, 1, 0, 0], "");
    let (with, without) = (|x| members([traveller(x)]), members([]));
    script.hear("in cell 1", 1, |out| {
        view(out, &[1, 2, 3]);
        snapshot(out, CellId(1), &with(10));
        snapshot(out, CellId(2), &without);
        snapshot(out, CellId(3), &without);
    });
    script
        .hear("1 to 2 as of 2 and back as of 4, cell 2 lags: cell 1 lists it", 4, |out| {
            put_age(out, 2);
            change(out, 1, 1, 2, &with(10), &without, &[(8, 2)]);
            put_age(out, 0);
            change(out, 1, 2, 4, &without, &with(13), &[]);
        })
        .shows(&[8])
        .row(8, &[13, 0, 1, 0, 0]);
    script
        .hear("cell 2 of tick 2 took it in, but cell 1 did so later", 5, |out| {
            put_age(out, 3);
            change(out, 2, 1, 2, &without, &with(11), &[]);
        })
        .shows(&[8])
        .row(8, &[14, 0, 1, 0, 0]);
    script
        .hear("cell 2 of tick 4: it left there; cell 1 has it still", 6, |out| {
            put_age(out, 2);
            change(out, 2, 2, 4, &with(11), &without, &[(8, 1)]);
        })
        .shows(&[8])
        .row(8, &[15, 0, 1, 0, 0]);
    script
        .hear("1 to 2, to 1, to 2 in one message while cell 2 lags: on its way, shown once", 9, |out| {
            put_age(out, 2);
            change(out, 1, 4, 7, &with(13), &without, &[(8, 2)]);
            put_age(out, 1);
            change(out, 1, 7, 8, &without, &with(20), &[]);
            put_age(out, 0);
            change(out, 1, 8, 9, &with(20), &without, &[(8, 2)]);
        })
        .shows(&[8])
        .row(8, &[21, 0, 1, 0, 0]);
    script
        .hear("cell 2 of tick 7: it was there then; the newer journey counts", 10, |out| {
            put_age(out, 3);
            change(out, 2, 4, 7, &without, &with(19), &[]);
        })
        .shows(&[8]);
    script
        .hear("cell 2 of ticks 8 and 9: away and there again", 11, |out| {
            put_age(out, 3);
            change(out, 2, 7, 8, &with(19), &without, &[(8, 1)]);
            put_age(out, 2);
            change(out, 2, 8, 9, &without, &with(21), &[]);
        })
        .shows(&[8])
        .row(8, &[23, 0, 1, 0, 0]);
    script
        .hear("2 to 3 to 1 within one message, cells in the order 1, 3, 2", 13, |out| {
            change(out, 1, 9, 13, &without, &with(30), &[]);
            put_age(out, 1);
            change(out, 3, 1, 12, &without, &with(29), &[]);
            put_age(out, 0);
            change(out, 3, 12, 13, &with(29), &without, &[(8, 1)]);
            put_age(out, 1);
            change(out, 2, 9, 12, &with(21), &without, &[(8, 3)]);
        })
        .shows(&[8])
        .row(8, &[30, 0, 1, 0, 0]);
    script
        .hear("1 to 2 as of 14", 14, |out| {
            change(out, 1, 13, 14, &with(30), &without, &[(8, 2)]);
            change(out, 2, 12, 14, &without, &with(31), &[]);
        })
        .shows(&[8]);
    script
        .hear("a snapshot of cell 1 older than what was held lists it again: cell 2 is newer", 15, |out| {
            put_age(out, 2);
            snapshot(out, CellId(1), &with(30));
        })
        .shows(&[8])
        .row(8, &[32, 0, 1, 0, 0]);
    script
        .hear("cell 1 once more from there on", 16, |out| {
            put_age(out, 2);
            change(out, 1, 13, 14, &with(30), &without, &[(8, 2)]);
        })
        .shows(&[8])
        .row(8, &[33, 0, 1, 0, 0]);
    script
        .hear("in cell 3 as of 17", 17, |out| {
            change(out, 2, 14, 17, &with(31), &without, &[(8, 3)]);
            change(out, 3, 13, 17, &without, &with(40), &[]);
        })
        .shows(&[8]);
    script
        .hear("3 to 1 as of 18, 1 to 2 as of 19, heard from cell 1 alone: on its way to 2", 19, |out| {
            put_age(out, 1);
            change(out, 1, 14, 18, &without, &with(41), &[]);
            put_age(out, 0);
            change(out, 1, 18, 19, &with(41), &without, &[(8, 2)]);
        })
        .shows(&[8])
        .row(8, &[42, 0, 1, 0, 0]);
    script
        .hear("cell 3 says that it left: known, and it is still on its way to 2", 20, |out| {
            put_age(out, 2);
            change(out, 3, 17, 18, &with(40), &without, &[(8, 1)]);
        })
        .shows(&[8])
        .row(8, &[43, 0, 1, 0, 0]);
    script
        .hear("arrived in cell 2", 21, |out| {
            put_age(out, 2);
            change(out, 2, 17, 19, &without, &with(42), &[]);
        })
        .shows(&[8]);
    script.counts(0, 0).end()
}

fn leaving_the_view() -> Value {
    let mut script = Script::new("the view changes");
    let one = members([thing(1, 0, 2, &[], "one")]);
    let two = members([thing(2, 0, 2, &[], "two"), thing(3, 0, 2, &[], "three")]);
    script
        .hear("cells 1 and 2", 1, |out| {
            view(out, &[2, 1]);
            snapshot(out, CellId(1), &one);
            snapshot(out, CellId(2), &two);
        })
        .shows(&[1, 2, 3]);
    script.hear("cell 2 is forgotten, cell 4 is new", 2, |out| view(out, &[4, 1])).shows(&[1]);
    script
        .hear("a delta for a cell that was forgotten", 3, |out| change(out, 2, 2, 3, &two, &two, &[]))
        .counts(1, 0)
        .wants(&[]);
    script
        .hear("cell 2 returns", 4, |out| {
            view(out, &[1, 2]);
            snapshot(out, CellId(2), &two);
        })
        .shows(&[1, 2, 3]);
    let only_three = members([thing(3, 0, 2, &[], "three")]);
    script
        .hear("2 to 1, which lags: on its way", 5, |out| change(out, 2, 4, 5, &two, &only_three, &[(2, 1)]))
        .shows(&[1, 2, 3]);
    script
        .hear("the old home is forgotten: its members go, who is on the way stays", 6, |out| view(out, &[1]))
        .shows(&[1, 2]);
    script.hear("the destination is forgotten as well", 7, |out| view(out, &[9])).shows(&[]).counts(1, 0);
    script.end()
}

fn generations() -> Value {
    let mut script = Script::new("a slot with another generation is another entity");
    let flag = |generation, statics: &str| members([thing(5, generation, 2, &[], statics)]);
    script
        .hear("generation 254", 1, |out| {
            view(out, &[1, 2]);
            snapshot(out, CellId(1), &flag(254, "old"));
            snapshot(out, CellId(2), &members([]));
        })
        .shows_ids(&[(5, 254)]);
    script
        .hear("left and entered in one delta, another generation and kind", 2, |out| {
            change(out, 1, 1, 2, &flag(254, "old"), &members([thing(5, 255, 1, &[9], "new")]), &[]);
        })
        .shows_ids(&[(5, 255)]);
    script
        .hear("a snapshot with the next one, which is 0", 3, |out| {
            snapshot(out, CellId(1), &flag(0, "newer"))
        })
        .shows_ids(&[(5, 0)]);
    script
        .hear("on its way to cell 2, which lags", 4, |out| {
            change(out, 1, 3, 4, &flag(0, "newer"), &members([]), &[(5, 2)]);
        })
        .shows_ids(&[(5, 0)]);
    script
        .hear("the slot is used again in cell 1 while generation 0 is on its way", 20, |out| {
            change(out, 1, 4, 20, &members([]), &flag(1, "newest"), &[]);
        })
        .shows_ids(&[(5, 1)]);
    script
        .hear("cell 2 took generation 0 in at tick 4: that was before", 21, |out| {
            put_age(out, 17);
            change(out, 2, 1, 4, &members([]), &flag(0, "newer"), &[]);
        })
        .shows_ids(&[(5, 1)]);
    script
        .hear("generation 0 ended in cell 2 at tick 9", 22, |out| {
            put_age(out, 13);
            change(out, 2, 4, 9, &flag(0, "newer"), &members([]), &[]);
        })
        .shows_ids(&[(5, 1)]);
    script
        .hear("cell 1 lags: generation 1 ended there and began anew in cell 2", 40, |out| {
            change(out, 2, 9, 40, &members([]), &flag(2, "last"), &[]);
        })
        .shows_ids(&[(5, 2)]);
    script
        .hear("cell 1 says so as well", 41, |out| {
            put_age(out, 11);
            change(out, 1, 20, 30, &flag(1, "newest"), &members([]), &[]);
        })
        .shows_ids(&[(5, 2)]);
    script.hear("gone", 42, |out| change(out, 2, 40, 42, &flag(2, "last"), &members([]), &[])).shows(&[]);
    script
        .hear("generation 3 came and went, generation 4 came", 60, |out| {
            snapshot(out, CellId(1), &flag(4, "now"))
        })
        .shows_ids(&[(5, 4)]);
    script
        .hear(
            "a snapshot of the same cell of ten ticks ago: what a cell lists replaces what it listed",
            61,
            |out| {
                put_age(out, 11);
                snapshot(out, CellId(1), &flag(3, "then"));
            },
        )
        .shows_ids(&[(5, 3)]);
    script.counts(0, 0).end()
}

fn catching_up() -> Value {
    let mut script =
        Script::new("after a stall: missed deltas under their age, cells of different ages in one message");
    let mover = |slot, x, vx| thing(slot, 0, 0, &[x, 0, vx, 0, 0], "");
    let a: Vec<_> = (0..4).map(|tick| members([mover(1, 100 + 3 * tick + tick * tick, 3)])).collect();
    let b: Vec<_> = (0..4).map(|tick| members([mover(2, -5 * tick, -5)])).collect();
    script.hear("cells 1 and 2 as of 50", 50, |out| {
        view(out, &[1, 2]);
        snapshot(out, CellId(1), &a[0]);
        snapshot(out, CellId(2), &b[0]);
    });
    script
        .hear_with(
            "three ticks of cell 1, one of cell 2, then two",
            header(53, 9, 255, VIEW_COMPLETE | SKIPPED),
            |out| {
                put_age(out, 2);
                change(out, 1, 50, 51, &a[0], &a[1], &[]);
                change(out, 2, 50, 51, &b[0], &b[1], &[]);
                put_age(out, 1);
                change(out, 1, 51, 52, &a[1], &a[2], &[]);
                put_transient(out, CellId(1), "spark", &[1]);
                put_age(out, 0);
                change(out, 2, 51, 53, &b[1], &b[3], &[]);
                change(out, 1, 52, 53, &a[2], &a[3], &[]);
            },
        )
        .row(1, &[118, 0, 3, 0, 0])
        .row(2, &[-15, 0, -5, 0, 0]);
    script
        .hear("an age ends with its message", 54, |out| {
            change(out, 1, 53, 54, &a[3], &predicted(&a[3], 1), &[])
        })
        .row(1, &[121, 0, 3, 0, 0]);
    script
        .hear("a snapshot of three ticks ago, and the deltas since then", 55, |out| {
            put_age(out, 3);
            snapshot(out, CellId(1), &a[2]);
            put_age(out, 2);
            change(out, 1, 52, 53, &a[2], &a[3], &[]);
            put_age(out, 0);
            change(out, 1, 53, 55, &a[3], &predicted(&a[3], 2), &[]);
        })
        .row(1, &[124, 0, 3, 0, 0])
        .counts(0, 0);
    script.end()
}

fn sums() -> Value {
    let mut script = Script::new("sums");
    let coins = members([thing(1, 0, 1, &[7], ""), thing(2, 0, 1, &[8], "")]);
    script
        .hear("a snapshot with its sum", 1, |out| {
            view(out, &[1, 2]);
            snapshot(out, CellId(1), &coins);
            snapshot(out, CellId(2), &members([]));
        })
        .counts(0, 0);
    script.hear("a delta without a sum", 2, |out| by_hand_delta(out, 1, BASE_1, |_| ())).counts(0, 0);
    script
        .hear("a delta with a sum that differs: a desync, and the cell is wanted", 3, |out| {
            by_hand_delta(out, 1, BASE_1 | SUM, |out| out.extend([1, 2, 3, 4]));
        })
        .shows(&[1, 2])
        .counts(0, 1)
        .wants(&[1]);
    script
        .hear("a snapshot with a sum that differs", 4, |out| {
            put_block(out, block::SNAPSHOT, |out| out.extend([1, 0xff, 0xff, 0xff, 0xff, 1, 3, 0, 1, 8, 0]));
        })
        .shows(&[3])
        .row(3, &[4])
        .counts(0, 2)
        .wants(&[1]);
    script
        .hear("a snapshot of the other cell, whose sum is 0", 5, |out| snapshot(out, CellId(2), &members([])))
        .counts(0, 2);
    script
        .hear("the right one", 6, |out| snapshot(out, CellId(1), &coins))
        .shows(&[1, 2])
        .counts(0, 2)
        .wants(&[]);
    let mut last = coins.clone();
    set(&mut last, 2, &[-8]);
    last.insert(4, thing(4, 9, 0, &[1, 2, 3, 4, 5], "statics are not in the sum"));
    last.remove(&1);
    script
        .hear("the sum is of the members after all of the delta", 7, |out| {
            change(out, 1, 6, 7, &coins, &last, &[]);
        })
        .counts(0, 2);
    script.end()
}

fn checks() -> Value {
    let mut script = Script::new("checks: the cells that are held, and as of when each");
    let coins = members([thing(1, 0, 1, &[7], "")]);
    let held = |cells: &[(u32, u32)]| view_sum(cells.iter().map(|&(cell, held)| (CellId(cell), Tick(held))));
    script
        .hear("in any place of a message: it is compared at the end", 100, |out| {
            put_check(out, held(&[(1, 100), (300, 98)]));
            view(out, &[300, 1]);
            snapshot(out, CellId(1), &coins);
            put_age(out, 2);
            snapshot(out, CellId(300), &members([]));
        })
        .differs(None);
    script
        .hear("a cell goes on", 103, |out| {
            change(out, 1, 100, 103, &coins, &coins, &[]);
            put_check(out, held(&[(1, 103), (300, 98)]));
        })
        .differs(None)
        .counts(0, 0);
    script
        .hear("the last word of a cell was not heard: it is not known of which", 104, |out| {
            put_check(out, held(&[(1, 103), (300, 104)]));
        })
        .counts(0, 1)
        .differs(Some(RepairWhy::Check))
        .wants(&[]);
    script
        .hear("a view that was not heard", 105, |out| put_check(out, held(&[(1, 103)])))
        .counts(0, 2)
        .differs(Some(RepairWhy::Check));
    script
        .hear("a cell of the view that is not held", 106, |out| {
            view(out, &[1, 2]);
            put_check(out, held(&[(1, 103), (2, 106)]));
        })
        .counts(0, 3)
        .differs(Some(RepairWhy::Check))
        .wants(&[2]);
    script
        .hear("its snapshot", 107, |out| {
            snapshot(out, CellId(2), &members([]));
            put_check(out, held(&[(1, 103), (2, 107)]));
        })
        .counts(0, 3)
        .differs(None);
    script.end()
}

fn broken_members() -> Value {
    let mut script =
        Script::new("leaves and enters that cannot be: skipped, the rest applies; counted once a delta");
    let two = members([thing(1, 0, 1, &[7], ""), thing(2, 0, 1, &[8], "")]);
    script.hear("two coins", 1, |out| {
        view(out, &[1]);
        snapshot(out, CellId(1), &two);
    });
    let coin = |out: &mut Vec<u8>, slot: u8, value: i32| {
        out.extend([slot, 0, 1]);
        put_zigzag(out, value);
        out.push(0);
    };
    script
        .hear("3 leaves, but is not a member; 1 leaves", 2, |out| {
            by_hand_delta(out, 1, BASE_1 | LEAVES, |out| out.extend([2, 1, 0, 3, 0]));
        })
        .shows(&[2])
        .counts(1, 0)
        .wants(&[1]);
    script
        .hear("2 enters, but is a member; 4 enters", 3, |out| {
            by_hand_delta(out, 1, BASE_1 | ENTERS, |out| {
                out.push(2);
                coin(out, 2, 99);
                coin(out, 4, 100);
            });
        })
        .shows(&[2, 4])
        .row(2, &[8])
        .counts(2, 0)
        .wants(&[1]);
    script
        .hear("both, and a slot that no entity can have leaves: one violation more", 4, |out| {
            by_hand_delta(out, 1, BASE_1 | LEAVES | ENTERS, |out| {
                out.extend([2, 9, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0]);
                out.push(1);
                coin(out, 4, 1);
            });
        })
        .shows(&[2, 4])
        .counts(3, 0)
        .wants(&[1]);
    script.end()
}

fn misread() -> Value {
    let mut script = Script::new(
        "changes that do not fit the members: the cell is not held any more, what it was home to is removed, and the rest goes on",
    );
    let held =
        members([thing(1, 0, 1, &[7], ""), thing(2, 0, 1, &[8], ""), thing(3, 0, 0, &[1, 2, 3, 4, 5], "")]);
    let other = members([thing(9, 0, 1, &[7], "")]);
    let bits: [(&str, &[(u32, u32)]); 9] = [
        ("without a bit", &[]),
        ("mode 3", &[(3, 2)]),
        ("an index beyond the members", &[(2, 2), (1, 2), (3, 2), (0, 2)]),
        ("an index twice", &[(2, 2), (2, 2), (1, 2), (1, 2), (0, 2)]),
        ("indices that descend", &[(2, 2), (2, 2), (1, 2), (0, 2), (0, 2)]),
        ("how 3", &[(0, 2), (3, 2)]),
        ("residuals that end early", &[(1, 2), (0b001, 3), (1, 2), (31, 5)]),
        ("padding that is not zero", &[(1, 2), (0b001, 3), (0, 2), (1, 1)]),
        ("a byte of padding too many", &[(1, 2), (0b001, 3), (0, 2), (0, 1), (0, 8)]),
    ];
    for (at, (about, numbers)) in (0..).zip(bits) {
        script.hear("two cells", 10 * at + 1, |out| {
            view(out, &[1, 2]);
            snapshot(out, CellId(1), &held);
            snapshot(out, CellId(2), &other);
        });
        script
            .hear(about, 10 * at + 2, |out| {
                by_hand_delta(out, 1, BASE_1 | CHANGES, |out| put_bits(out, numbers));
                by_hand_delta(out, 2, BASE_1, |_| ());
            })
            .shows(&[9])
            .differs(Some(RepairWhy::Misfit))
            .wants(&[1])
            .counts(at as u64 + 1, 0);
    }
    script.end()
}

fn never_arrives() -> Value {
    let mut script = Script::new("on its way to a cell that never says so");
    let (coin, none) = (members([thing(1, 0, 1, &[7], "")]), members([]));
    script.hear("two cells", 100, |out| {
        view(out, &[1, 2]);
        snapshot(out, CellId(1), &coin);
        snapshot(out, CellId(2), &none);
    });
    script
        .hear("it leaves for cell 2, which is silent", 101, |out| {
            change(out, 1, 100, 101, &coin, &none, &[(1, 2)]);
        })
        .shows(&[1]);
    script.hear_with("16 ticks later", header(117, 0, 0, VIEW_COMPLETE), |_| ()).shows(&[1]);
    script.hear("longer, but the view is not complete", 118, |_| ()).shows(&[1]);
    script
        .hear_with("all is current, and it has not arrived", header(119, 0, 0, VIEW_COMPLETE), |_| ())
        .shows(&[]);
    script.counts(0, 0).end()
}

fn reliable_messages() -> Value {
    let mut script = Script::new("reliable messages: each once, in order");
    let put = |out: &mut Vec<u8>, number, message: Reliable| {
        let mut body = vec![];
        message.put(&mut body);
        put_reliable(out, number, &body);
    };
    let said = |text| Reliable::Chat { player: PlayerId(300), name: "Ada", text };
    script
        .hear("one of each class", 1, |out| {
            put(out, 1, Reliable::Message { kind: "win", payload: &[0, 255] });
            put(out, 2, said("żółw"));
            put(out, 3, Reliable::Award { points: -5, reason: "late" });
            put(out, 4, Reliable::Property { owner: PlayerId(0), key: "map", value: &[7] });
            put(out, 5, Reliable::Property { owner: PlayerId(300), key: "team", value: &[] });
        })
        .hears(&[1, 2, 3, 4, 5]);
    script
        .hear("what was heard comes again, and a new one", 2, |out| {
            put(out, 4, said("not again"));
            put(out, 5, said("not again"));
            put(out, 6, said("new"));
        })
        .hears(&[6])
        .counts(0, 0);
    script
        .hear("a gap: 8 before 7 is a violation and is not heard", 3, |out| put(out, 8, said("too early")))
        .hears(&[])
        .counts(1, 0);
    script
        .hear("7, then 8", 4, |out| {
            put(out, 7, said(""));
            put(out, 8, said(""));
        })
        .hears(&[7, 8]);
    script
        .hear("a class of a later version: acknowledged, skipped, counted", 5, |out| {
            put_reliable(out, 9, &[0xe7, 0x07, 1, 2, 3]);
            put(out, 10, said("after it"));
        })
        .hears(&[9, 10]);
    script.hear("number 0 was never new", 6, |out| put(out, 0, said(""))).hears(&[]).counts(1, 0);
    script
        .hear("empty texts and payloads", 7, |out| {
            put(out, 11, Reliable::Message { kind: "", payload: &[] });
            put(out, 12, Reliable::Award { points: i32::MIN, reason: "" });
            put(out, 13, Reliable::Chat { player: PlayerId(u32::MAX), name: "", text: "" });
        })
        .hears(&[11, 12, 13]);
    script.end()
}

fn other_blocks() -> Value {
    let mut script = Script::new("self, heard, transient, flags and blocks of later versions");
    let own =
        |out: &mut Vec<u8>, id, kind, row: &[i32]| put_self(out, &Entity { id, kind, row, statics: "" });
    let id = EntityId { slot: 70_000, generation: 3 };
    script.hear_with("our own entity, in no cell", header(1, 5, 2, 0), |out| {
        own(out, id, 0, &[1, -2, 3, -4, 5])
    });
    script.hear_with("a message that says nothing of it: it stays", header(2, 6, 0, VIEW_COMPLETE), |_| ());
    script.hear_with("flags of later versions", header(3, u32::MAX, 255, 0xfc | SKIPPED), |out| {
        own(out, EntityId { slot: 0, generation: 0 }, 2, &[]);
    });
    script.hear("we have no entity any more", 4, |out| put_block(out, block::SELF, |_| ()));
    script.hear("and have one again", 5, |out| own(out, id, 1, &[7]));
    script.hear("our third message was taken", 6, |out| put_heard(out, 3));
    script.hear("transients: of a cell that is held or not, with and without payload", 7, |out| {
        put_transient(out, CellId(1), "spark", &[1, 2, 255]);
        put_transient(out, CellId(u32::MAX), "", &[]);
    });
    script
        .hear("unknown blocks before, between and after", 8, |out| {
            put_block(out, 10, |_| ());
            put_heard(out, 4);
            put_block(out, 1000, |out| out.extend([0xff; 200]));
            put_block(out, u32::MAX, |out| out.push(0));
            put_block(out, 0, |out| out.push(0));
        })
        .counts(0, 0);
    script.end()
}

fn wraps() -> Value {
    let mut script = Script::new("ticks wrap at 2^32, rows at 32 bits");
    let top = u32::MAX;
    let first =
        members([thing(1, 0, 3, &[i32::MAX - 1, 1, 0], ""), thing(2, 0, 3, &[0, i32::MIN, i32::MIN], "")]);
    let at = |ticks| (0..ticks).fold(first.clone(), |members, _| predicted(&members, 1));
    script.hear("the last tick but one", top - 1, |out| {
        view(out, &[1, 2]);
        snapshot(out, CellId(1), &first);
        snapshot(out, CellId(2), &members([]));
    });
    script
        .hear("the last tick", top, |out| change(out, 1, top - 1, top, &first, &at(1), &[]))
        .row(1, &[i32::MAX, 1, 0])
        .row(2, &[0, i32::MIN, i32::MIN]);
    script.hear("tick 0", 0, |out| change(out, 1, top, 0, &at(1), &at(2), &[])).row(1, &[i32::MIN, 1, 0]);
    script
        .hear("base 3, across the wrap", 1, |out| {
            change(out, 2, top - 1, 1, &members([]), &members([thing(9, 0, 2, &[], "")]), &[]);
        })
        .shows(&[1, 2, 9]);
    let mut big = at(2);
    set(&mut big, 1, &[0x4000_0000, 0x7fff_ffff, 0]);
    set(&mut big, 2, &[-1, 1, 1]);
    script
        .hear("residuals wrap", 2, |out| change(out, 1, 0, 2, &at(2), &big, &[]))
        .row(1, &[0x4000_0000, 0x7fff_ffff, 0]);
    script
        .hear("products wrap: 1000 ticks of a large velocity", 1002, |out| {
            change(out, 1, 2, 1002, &big, &predicted(&big, 1000), &[]);
        })
        .row(1, &[0x4000_0000 - 1000, 0x7fff_ffff, 0])
        .row(2, &[1999, 1, 1]);
    script
        .hear("an age across the wrap: before what is held", 1003, |out| {
            put_age(out, 1010);
            change(out, 1, top - 8, top - 6, &big, &big, &[]);
        })
        .counts(1, 0);
    script
        .hear("on its way across the wrap: a snapshot of cell 2 of tick 2^32 - 2", 1004, |out| {
            put_age(out, 1006);
            snapshot(out, CellId(2), &members([]));
            put_age(out, 0);
            let now = predicted(&big, 1000);
            let mut rest = predicted(&now, 2);
            rest.remove(&1);
            change(out, 1, 1002, 1004, &now, &rest, &[(1, 2)]);
        })
        .shows(&[1, 2]);
    script.counts(1, 0).end()
}

/// Each after one message that holds cell 1 with two coins and a mover.
fn malformed() -> Value {
    let mut before = header(1, 0, 0, 0).to_bytes().to_vec();
    view(&mut before, &[1]);
    let held =
        members([thing(1, 0, 1, &[7], ""), thing(2, 0, 1, &[8], ""), thing(3, 0, 0, &[1, 2, 3, 4, 5], "")]);
    snapshot(&mut before, CellId(1), &held);
    let raw = |kind: u32, content: &[u8]| {
        let mut out = vec![];
        put_block(&mut out, kind, |out| out.extend_from_slice(content));
        out
    };
    let many = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let snapshot_of = |content: &[u8]| raw(block::SNAPSHOT, &[&[1, 0, 0, 0, 0], content].concat());
    let all: Vec<(&str, Vec<u8>)> = vec![
        ("a block without a length", vec![2]),
        ("a block longer than the message", vec![7, 2, 1]),
        ("a block of 2^32 - 1 bytes", [&[7], &many[..]].concat()),
        ("a block's kind of six bytes", vec![0x80, 0x80, 0x80, 0x80, 0x80, 0, 0]),
        ("an unknown block longer than the message", vec![99, 2, 1]),
        ("a view without a count", raw(block::VIEW, &[])),
        ("a view with a cell too few", raw(block::VIEW, &[2, 1])),
        ("a view with a cell too many", raw(block::VIEW, &[1, 1, 2])),
        ("a view of 2^32 - 1 cells", raw(block::VIEW, &many)),
        ("an age without a number", raw(block::AGE, &[])),
        ("an age that does not end", raw(block::AGE, &[1, 0])),
        ("a heard without a number", raw(block::HEARD, &[])),
        ("a heard that does not end", raw(block::HEARD, &[1, 0])),
        ("a check of three bytes", raw(block::CHECK, &[1, 2, 3])),
        ("a check of five bytes", raw(block::CHECK, &[1, 2, 3, 4, 5])),
        ("a transient without a kind", raw(block::TRANSIENT, &[1])),
        ("a transient whose kind ends early", raw(block::TRANSIENT, &[1, 2, b'a'])),
        ("a transient whose kind is not UTF-8", raw(block::TRANSIENT, &[1, 1, 0xff])),
        ("a self of a kind that is not there", raw(block::SELF, &[1, 0, 4])),
        ("a self with a number too few", raw(block::SELF, &[1, 0, 1])),
        ("a self with a number too many", raw(block::SELF, &[1, 0, 1, 0, 0])),
        ("a self in slot 2^24", raw(block::SELF, &[0x80, 0x80, 0x80, 0x08, 0, 1, 0])),
        ("a reliable message without a class", raw(block::RELIABLE, &[1])),
        ("a chat that ends in its name", raw(block::RELIABLE, &[1, 1, 1, 3, b'A'])),
        ("a chat that is not UTF-8", raw(block::RELIABLE, &[1, 1, 1, 0, 0xff])),
        ("an award without points", raw(block::RELIABLE, &[1, 2])),
        ("an award for what is not UTF-8", raw(block::RELIABLE, &[1, 2, 2, 0xc3])),
        ("a property without a key", raw(block::RELIABLE, &[1, 3, 0])),
        ("a message whose kind is not UTF-8", raw(block::RELIABLE, &[1, 0, 1, 0x80])),
        ("a snapshot without a sum", raw(block::SNAPSHOT, &[1, 0, 0, 0])),
        ("a snapshot without a count", snapshot_of(&[])),
        ("a snapshot with an entity too few", snapshot_of(&[2, 1, 0, 2, 0])),
        ("a snapshot with an entity too many", snapshot_of(&[0, 1, 0, 2, 0])),
        ("a snapshot of 2^32 - 1 entities", snapshot_of(&many)),
        ("a snapshot with a slot twice", snapshot_of(&[2, 1, 0, 2, 0, 1, 1, 2, 0])),
        ("a snapshot whose slots descend", snapshot_of(&[2, 2, 0, 2, 0, 1, 0, 2, 0])),
        ("an entity of a kind that is not there", snapshot_of(&[1, 1, 0, 4, 0])),
        ("an entity of kind 256", snapshot_of(&[1, 1, 0, 0x80, 0x02, 0])),
        ("an entity in slot 2^24", snapshot_of(&[1, 0x80, 0x80, 0x80, 0x08, 0, 2, 0])),
        ("statics that are not UTF-8", snapshot_of(&[1, 1, 0, 2, 1, 0xff])),
        ("statics that end early", snapshot_of(&[1, 1, 0, 2, 2, b'a'])),
        ("a delta without parts", raw(block::DELTA, &[1])),
        ("a delta whose base is left out", raw(block::DELTA, &[1, 0])),
        ("a delta with base 0", raw(block::DELTA, &[1, 0, 0])),
        ("a delta whose sum ends early", raw(block::DELTA, &[1, 0x11, 0, 0, 0])),
        ("a delta with a byte left over", raw(block::DELTA, &[1, 0x10, 0])),
        ("leaves without a count", raw(block::DELTA, &[1, 0x12])),
        ("leaves with one too few", raw(block::DELTA, &[1, 0x12, 2, 1, 0])),
        ("2^32 - 1 leaves", raw(block::DELTA, &[&[1, 0x12], &many[..]].concat())),
        ("a slot that leaves twice", raw(block::DELTA, &[1, 0x12, 2, 1, 0, 1, 0])),
        ("leaves whose slots descend", raw(block::DELTA, &[1, 0x12, 2, 2, 0, 1, 0])),
        ("enters without a count", raw(block::DELTA, &[1, 0x14])),
        ("2^32 - 1 enters", raw(block::DELTA, &[&[1, 0x14], &many[..]].concat())),
        ("enters whose slots descend", raw(block::DELTA, &[1, 0x14, 2, 9, 0, 2, 0, 8, 0, 2, 0])),
        ("an enter in slot 2^24", raw(block::DELTA, &[1, 0x14, 1, 0x80, 0x80, 0x80, 0x08, 0, 2, 0])),
        ("an enter of a kind that is not there", raw(block::DELTA, &[1, 0x14, 1, 9, 0, 4, 0])),
        ("a good block, then a bad one", [raw(block::HEARD, &[1]), raw(block::AGE, &[])].concat()),
    ];
    let refused = |message: &[u8]| {
        let mut replica = Replica::new(shapes());
        replica.apply(&before[1..], &mut ()).expect("the message before is well formed");
        replica.apply(&message[1..], &mut ()).is_err()
    };
    let head = header(2, 0, 0, 0).to_bytes();
    let mut list = vec![];
    for cut in 1..head.len() {
        assert!(refused(&head[..cut]));
    }
    list.push(json!({ "about": "a header that ends early", "before": [], "hex": hex(&head[..10]) }));
    for (about, blocks) in all {
        let message = [&head[..], &blocks].concat();
        assert!(refused(&message), "{about}");
        list.push(json!({ "about": about, "before": [hex(&before)], "hex": hex(&message) }));
    }
    Value::from(list)
}

// ---- bytes ----

fn view(out: &mut Vec<u8>, cells: &[u32]) {
    put_view(out, cells.iter().map(|&cell| CellId(cell)));
}

/// A delta with a sum; `moved` says who of those that left went where.
fn change(
    out: &mut Vec<u8>,
    cell: u32,
    from: u32,
    to: u32,
    before: &Members,
    after: &Members,
    moved: &[(u32, u32)],
) {
    let place =
        |id: EntityId| moved.iter().find(|&&(slot, _)| slot == id.slot).map(|&(_, cell)| CellId(cell));
    let step = Step {
        cell: CellId(cell),
        from: Tick(from),
        to: Tick(to),
        before,
        after,
        moved: &place,
        with_sum: true,
    };
    delta(out, &step);
}

// What stands in the byte behind a delta's cell.
const SUM: u8 = 1;
const LEAVES: u8 = 2;
const ENTERS: u8 = 4;
const CHANGES: u8 = 8;
const BASE_1: u8 = 0x10;

fn by_hand_delta(out: &mut Vec<u8>, cell: u32, parts: u8, write: impl FnOnce(&mut Vec<u8>)) {
    put_block(out, block::DELTA, |out| {
        put_varint(out, cell);
        out.push(parts);
        write(out);
    });
}

/// The selection mode of the only block of a message, a delta with base 1 and a sum; 3 if it has no changes.
fn mode_of(message: &[u8]) -> u8 {
    let (_, bytes) = Blocks::new(&message[HEADER_BYTES..]).next().expect("a block").expect("well formed");
    ReadDelta::read(bytes, &shapes()).expect("a delta").changes.map_or(3, |bits| bits[0] & 3)
}

fn put_bits(out: &mut Vec<u8>, numbers: &[(u32, u32)]) {
    let mut bits = BitWriter::new(out);
    numbers.iter().for_each(|&(value, width)| bits.put(value, width));
    bits.finish();
}

fn members<const N: usize>(things: [Thing; N]) -> Members {
    things.into_iter().map(|thing| (thing.id.slot, thing)).collect()
}

fn predicted(members: &Members, ticks: u32) -> Members {
    let mut members = members.clone();
    members.values_mut().for_each(|thing| crate::naive::predict(thing.kind, &mut thing.row, ticks));
    members
}

fn set(members: &mut Members, slot: u32, numbers: &[i32]) {
    members.get_mut(&slot).expect("a member").row[..numbers.len()].copy_from_slice(numbers);
}

fn header(tick: u32, seq: u32, depth: u8, flags: u8) -> Header {
    Header { tick: Tick(tick), seq: Seq(seq), depth, flags }
}

// ---- what is heard ----

struct Script {
    about: &'static str,
    replica: Replica,
    heard: Heard,
    mismatch: Option<RepairWhy>,
    wants: Vec<u32>,
    messages: Vec<Value>,
}

#[derive(Default)]
struct Heard {
    numbers: Vec<u32>,
    reliable: Vec<Value>,
    transient: Vec<Value>,
}

impl Hears for Heard {
    fn reliable(&mut self, number: u32, message: Reliable) {
        self.numbers.push(number);
        self.reliable.push(match message {
            Reliable::Message { kind, payload } => {
                json!({ "number": number, "message": { "kind": kind, "payload": hex(payload) } })
            }
            Reliable::Chat { player, name, text } => {
                json!({ "number": number, "chat": { "player": player.0, "name": name, "text": text } })
            }
            Reliable::Award { points, reason } => {
                json!({ "number": number, "award": { "points": points, "reason": reason } })
            }
            Reliable::Property { owner, key, value } => {
                json!({ "number": number, "property": { "owner": owner.0, "key": key, "value": hex(value) } })
            }
            Reliable::Unknown { class } => json!({ "number": number, "unknown": { "class": class } }),
        });
    }

    fn transient(&mut self, cell: CellId, kind: &str, payload: &[u8]) {
        self.transient.push(json!({ "cell": cell.0, "kind": kind, "payload": hex(payload) }));
    }
}

impl Script {
    fn new(about: &'static str) -> Self {
        let replica = Replica::new(shapes());
        Script { about, replica, heard: Heard::default(), mismatch: None, wants: vec![], messages: vec![] }
    }

    fn hear(&mut self, about: &str, tick: u32, write: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        self.hear_with(about, header(tick, 0, 0, 0), write)
    }

    fn hear_with(&mut self, about: &str, header: Header, write: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        let mut message = header.to_bytes().to_vec();
        write(&mut message);
        assert_eq!(message[0], from_server::TICK);
        self.heard = Heard::default();
        self.replica.apply(&message[1..], &mut self.heard).expect(about);
        let found = self.replica.take_mismatch();
        self.mismatch = found.as_ref().map(|found| found.why);
        self.wants = found.iter().flat_map(|found| &found.cells).map(|cell| cell.0).collect();
        self.wants.sort_unstable();
        let expect = self.state();
        self.messages.push(json!({ "about": about, "hex": hex(&message), "expect": expect }));
        self
    }

    /// The slots of what is visible.
    fn shows(&mut self, slots: &[u32]) -> &mut Self {
        let visible: Vec<_> = self.visible().iter().map(|member| member.id.slot).collect();
        assert_eq!(visible, slots, "{}: {}", self.about, self.last());
        self
    }

    /// Slots and generations of what is visible.
    fn shows_ids(&mut self, ids: &[(u32, u8)]) -> &mut Self {
        let visible: Vec<_> =
            self.visible().iter().map(|member| (member.id.slot, member.id.generation)).collect();
        assert_eq!(visible, ids, "{}: {}", self.about, self.last());
        self
    }

    /// The row of something visible.
    fn row(&mut self, slot: u32, row: &[i32]) -> &mut Self {
        let visible = self.visible();
        let member = visible.iter().find(|member| member.id.slot == slot).expect("visible");
        assert_eq!(numbers(member.kind, &member.row), row, "{}: {}", self.about, self.last());
        self
    }

    fn counts(&mut self, violations: u64, desyncs: u64) -> &mut Self {
        let counts = self.replica.counts();
        assert_eq!(
            (counts.violations, counts.desyncs),
            (violations, desyncs),
            "{}: {}",
            self.about,
            self.last()
        );
        self
    }

    fn wants(&mut self, cells: &[u32]) -> &mut Self {
        assert_eq!(self.wants, cells, "{}: {}", self.about, self.last());
        self
    }

    fn differs(&mut self, why: Option<RepairWhy>) -> &mut Self {
        assert_eq!(self.mismatch, why, "{}: {}", self.about, self.last());
        self
    }

    fn hears(&mut self, numbers: &[u32]) -> &mut Self {
        assert_eq!(self.heard.numbers, numbers, "{}: {}", self.about, self.last());
        self
    }

    fn end(&mut self) -> Value {
        json!({ "about": self.about, "messages": self.messages })
    }

    fn last(&self) -> &Value {
        &self.messages.last().expect("a message")["about"]
    }

    fn visible(&self) -> Vec<ReadEntity<'_>> {
        let mut visible: Vec<_> = self.replica.entities().collect();
        visible.sort_by_key(|member| member.id);
        visible
    }

    fn state(&self) -> Value {
        let replica = &self.replica;
        let (header, counts) = (replica.header(), replica.counts());
        let cells = replica.cells().iter().map(|held| {
            let members = held.members.iter().map(|member| {
                let Member { id, kind, row, statics } = member;
                entity_json(ReadEntity { id: *id, kind: *kind, row: *row, statics })
            });
            json!({ "cell": held.cell.0, "held": held.held.0, "members": Value::from_iter(members) })
        });
        json!({
            "header": { "tick": header.tick.0, "seq": header.seq.0, "depth": header.depth, "flags": header.flags },
            "view": Value::from_iter(replica.view().iter().map(|cell| cell.0)),
            "view_complete": replica.view_is_complete(),
            "cells": Value::from_iter(cells),
            "visible": Value::from_iter(self.visible().into_iter().map(entity_json)),
            "own": replica.own().map(|own| json!({
                "slot": own.id.slot, "generation": own.id.generation, "kind": own.kind, "row": numbers(own.kind, &own.row),
            })),
            "reliable": self.heard.reliable,
            "transient": self.heard.transient,
            "reliable_heard": replica.reliable_heard(),
            "message_heard": replica.message_heard(),
            "mismatch": self.mismatch.map(|why| why as u8),
            "wants": self.wants,
            "counts": {
                "violations": counts.violations, "desyncs": counts.desyncs, "sums_checked": counts.sums_checked,
                "blocks_unknown": counts.blocks_unknown, "reliable_unknown": counts.reliable_unknown,
            },
        })
    }
}

fn entity_json(entity: ReadEntity) -> Value {
    json!({
        "slot": entity.id.slot, "generation": entity.id.generation, "kind": entity.kind,
        "row": numbers(entity.kind, &entity.row), "statics": entity.statics,
    })
}

fn numbers(kind: u8, row: &[i32]) -> &[i32] {
    &row[..shapes()[kind].fields]
}
