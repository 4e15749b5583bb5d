import assert from "node:assert/strict";
import { test } from "node:test";
import { ProtocolError } from "../dist/wire.js";
import { World } from "../dist/world.js";
import {
  age, award, BitWriter, bytes, changesToAll, chat, delta, field, heard, message, property, reliable, SCHEMA, self, snapshot, sumOf, tick,
  transient, view, viewSumOf,
} from "./support/write.mjs";

const ada = { slot: 3, generation: 1, row: [160, 320, 2, -1, 0], statics: "Ada" };
const bob = { slot: 5, generation: 0, row: [0, 0, 0, 0, 9], statics: "Bob" };
const coin = { slot: 9, kind: 1, row: [16, 32] };

const heldAt = (world, cell) => world.cells().find((c) => c.cell === cell)?.held;

/** A world, and everything it calls back, in words. */
function watched(schema = SCHEMA) {
  const world = new World(schema);
  const said = [];
  for (const name of ["player", "coin"]) {
    const collection = world.kind(name);
    collection.onAdd((e) => said.push(`add ${e.id >> 8}/${e.id & 255}`));
    collection.onRemove((e) => said.push(`remove ${e.id >> 8}/${e.id & 255}`));
    collection.onChange((e) => said.push(`change ${e.id >> 8}/${e.id & 255}`));
  }
  const take = (...args) => {
    const update = world.apply(tick(...args));
    world.announce(update);
    return { update, said: said.splice(0) };
  };
  return { world, take };
}

const held = (...entities) => {
  const watch = watched();
  watch.take(100, [view(1, 2), snapshot(1, sumOf(...entities), ...entities), snapshot(2, 0)], { flags: 1 });
  return watch;
};

test("a snapshot brings entities with named values, and their text", () => {
  const { world, take } = watched();
  const { said } = take(100, [view(1), snapshot(1, sumOf(ada, coin), ada, coin)], { flags: 1 });
  assert.deepEqual(said, ["add 3/1", "add 9/0"]);
  assert.equal(world.complete, true);
  const player = world.kind("player").get(3 * 256 + 1);
  const { x, y, vx, vy, score, name, statics, kind } = player;
  assert.deepEqual({ x, y, vx, vy, score, name, statics, kind }, { x: 10, y: 20, vx: 2, vy: -1, score: 0, name: "Ada", statics: "Ada", kind: "player" });
  assert.deepEqual([...world.kind("coin")].map((c) => [c.x, c.y]), [[1, 2]]);
  assert.equal(world.stats.desyncs, 0);
});

test("a delta moves members by their velocity and adds residuals", () => {
  const { world, take } = held(ada, bob);
  const changes = changesToAll([1, 0], undefined, undefined, undefined, [5, 0]);
  const now = [{ ...ada, row: [163, 319, 2, -1, 5] }, bob];
  const { said } = take(101, [delta(1, { changes, sum: sumOf(...now) })]);
  assert.deepEqual(said, ["change 3/1"]);
  assert.deepEqual([...world.kind("player").get(769).row], [163, 319, 2, -1, 5]);
  assert.equal(world.stats.desyncs, 0);
  assert.equal(heldAt(world, 1), 101);
});

test("a bit turned in the changes of a delta does not fit, does nothing, or is found by the next sum", () => {
  const changes = changesToAll([1, 0], undefined, undefined, undefined, [5, 0]);
  const right = [{ ...ada, row: [164, 318, 2, -1, 5] }, bob];
  const outcomes = { unread: 0, harmless: 0, found: 0 };
  for (let bit = 0; bit < changes.length * 8; bit++) {
    const { world, take } = held(ada, bob);
    const turned = changes.slice();
    turned[bit >> 3] ^= 1 << (bit & 7);
    if (take(101, [delta(1, { changes: turned })]).update.mismatch === "misfit") {
      outcomes.unread++;
      continue;
    }
    const { update } = take(102, [delta(1, { sum: sumOf(...right) })]);
    const same = world.cells()[0].members.every((member, i) => member.row.every((n, at) => n === right[i].row[at]));
    assert.deepEqual([update.mismatch, [...update.wanted]], same ? [undefined, []] : ["sum", [1]]);
    outcomes[same ? "harmless" : "found"]++;
  }
  assert.ok(outcomes.unread > 0 && outcomes.found > 0, JSON.stringify(outcomes));
});

test("a leave, a delta, a last delta, a snapshot or a view that did not arrive is found", () => {
  const check = (...cells) => [9, bytes((w) => w.u32(viewSumOf(...cells)))];
  const found = (...blocks) => held(ada, bob).take(102, blocks).update;
  assert.equal(found(delta(1, { base: 2, sum: sumOf(ada) })).mismatch, "sum", "the leave of Bob");
  assert.equal(found(delta(1, { base: 1 })).mismatch, "misfit", "a delta");
  assert.equal(found(check([1, 100], [2, 100])).mismatch, undefined);
  assert.equal(found(check([1, 101], [2, 100])).mismatch, "check", "the last delta of cell 1");
  assert.equal(found(check([1, 100])).mismatch, "check", "the view");
  const { mismatch, wanted } = found(view(1, 2, 3), check([1, 100], [2, 100], [3, 102]));
  assert.deepEqual([mismatch, [...wanted]], ["check", [3]], "the snapshot of cell 3");
});

test("prediction over many ticks multiplies and wraps, with all velocities of a field", () => {
  const kinds = [{ name: "player", fields: [field("x"), field("v", { velocityOf: 0 }), field("w", { velocityOf: 0 })] }];
  const { world, take } = watched({ kinds, input: [] });
  take(100, [view(1), snapshot(1, 0, { slot: 1, row: [2147483647, 10, 3] })]);
  take(110, [delta(1, { base: 10 })]);
  assert.deepEqual([...world.kind("player").get(256).row], [(2147483647 + 130) | 0, 10, 3]);
});

test("a cell that is silent goes on as predicted, and a turn counts for the last tick alone", () => {
  const { world, take } = held(ada);
  const [player, row] = [world.kind("player").get(769), () => [...world.kind("player").get(769).row]];
  assert.deepEqual(take(103).said, ["change 3/1"]);
  assert.deepEqual(row(), [166, 317, 2, -1, 0]);
  assert.deepEqual(take(103, [snapshot(2, 0)]).said, []);
  const turned = changesToAll(undefined, undefined, [-12], [1], undefined);
  const now = { ...ada, row: [160 + 2 * 4 - 10, 320 - 4, -10, 0, 0] };
  take(105, [delta(1, { base: 5, changes: turned, sum: sumOf(now) })]);
  assert.deepEqual(row(), now.row);
  take(110);
  assert.deepEqual(row(), [now.row[0] - 50, now.row[1], -10, 0, 0]);
  assert.equal(world.kind("player").get(769), player);
  assert.equal(heldAt(world, 1), 105);
  assert.deepEqual([world.stats.desyncs, world.stats.violations], [0, 0]);
});

test("changes select members by all four ways of the wire", () => {
  const three = [1, 2, 3].map((slot) => ({ slot, kind: 1, row: [0, 0] }));
  const cases = [
    [(b) => b.write(0, 2), [7, 7, 7]],
    [(b) => b.write(1, 2).write(0b101, 3), [7, 0, 7]],
    [(b) => b.write(2, 2).write(1, 2).write(1, 2), [0, 7, 0]],
    [(b) => b.write(2, 2).write(0, 2), [0, 0, 0]],
  ];
  for (const [select, expected] of cases) {
    const { world, take } = held(...three);
    const bits = select(new BitWriter());
    const count = expected.filter((n) => n).length;
    if (count > 0) {
      bits.write(1, 2).write(3, 5);
      for (let i = 0; i < count; i++) bits.write(14, 4);
      bits.write(0, 2);
    }
    take(101, [delta(1, { changes: bits.finish() })]);
    assert.deepEqual([...world.kind("coin")].map((c) => c.row[0]), expected);
  }
});

test("residuals of some members come with one bit for each", () => {
  const three = [1, 2, 3].map((slot) => ({ slot, kind: 1, row: [0, 0] }));
  const { world, take } = held(...three);
  const bits = new BitWriter().write(0, 2).write(2, 2).write(0b110, 3).write(31, 5).write(0xffff_ffff, 32).write(1, 32).write(0, 2);
  const { said } = take(101, [delta(1, { changes: bits.finish() })]);
  assert.deepEqual([...world.kind("coin")].map((c) => c.row[0]), [0, -2147483648, -1]);
  assert.deepEqual(said, ["change 2/0", "change 3/0"]);
});

test("kinds are told one after the other, whatever the order of their slots", () => {
  const members = [{ slot: 1, kind: 1, row: [0, 0] }, { slot: 2, kind: 0, row: [0, 0, 0, 0, 0] }];
  const { world, take } = held(...members);
  const bits = new BitWriter().write(0, 2);
  bits.write(0, 2).write(0, 2).write(0, 2).write(0, 2).write(1, 2).write(0, 5).write(1, 1);
  bits.write(1, 2).write(1, 5).write(2, 2).write(0, 2);
  take(101, [delta(1, { changes: bits.finish() })]);
  assert.deepEqual([...world.kind("player").get(512).row], [0, 0, 0, 0, -1]);
  assert.deepEqual([...world.kind("coin").get(256).row], [1, 0]);
});

test("an entity that crosses between two held cells neither goes nor comes, in either order of the blocks", () => {
  const there = { ...ada, row: [164, 320, 2, -1, 0] };
  for (const turned of [false, true]) {
    const { world, take } = held(ada);
    const entity = world.kind("player").get(769);
    const blocks = [delta(1, { leaves: [[3, 3]], sum: 0 }), delta(2, { enters: [there], sum: sumOf(there) })];
    const { said } = take(101, turned ? blocks.reverse() : blocks);
    assert.deepEqual(said, ["change 3/1"]);
    assert.equal(world.kind("player").get(769), entity);
    assert.equal(entity.x, 10.25);
    assert.deepEqual({ ...world.stats }, { unknownBlocks: 0, unknownClasses: 0, violations: 0, sumsChecked: 4, desyncs: 0, skipped: 0, checks: 0 });
  }
});

test("an entity on its way to a cell that is behind stays until that cell tells", () => {
  for (const arrives of [true, false]) {
    const { world, take } = held(ada);
    assert.deepEqual(take(101, [delta(1, { leaves: [[3, 3]] })]).said, ["change 3/1"], "it moved a last time");
    assert.equal(world.kind("player").size, 1);
    assert.deepEqual(take(102, [delta(1)]).said, ["change 3/1"], "it goes on");
    const { said } = take(103, [delta(2, { base: 3, enters: arrives ? [ada] : undefined })]);
    assert.deepEqual(said, arrives ? ["change 3/1"] : ["remove 3/1"]);
    assert.equal(world.kind("player").size, arrives ? 1 : 0);
  }
});

test("an entity that turned back before the other cell told of it is not taken away with it", () => {
  const { world, take } = held(ada);
  take(101, [delta(1, { leaves: [[3, 3]] })]);
  take(102, [delta(1, { enters: [ada] })]);
  assert.deepEqual(take(103, [delta(2, { base: 3 })]).said, ["change 3/1"]);
  assert.equal(world.kind("player").size, 1);
});

test("a leave and a return within one message is not a removal", () => {
  const { take } = held(ada);
  const { said } = take(102, [age(1), delta(1, { leaves: [[3, 3]] }), age(0), delta(1, { enters: [ada] })]);
  assert.deepEqual(said, []);
});

test("an old snapshot does not call an entity back from the cell it moved to since", () => {
  const { world, take } = held(ada);
  const there = { ...ada, row: [800, 320, 0, 0, 0] };
  take(101, [delta(1, { leaves: [[3, 3]] }), delta(2, { enters: [there] })]);
  assert.deepEqual(take(102, [age(2), snapshot(1, sumOf(ada), ada)]).said, []);
  assert.equal(world.kind("player").get(769).x, 50);
  assert.deepEqual(take(103, [age(2), delta(1, { leaves: [[3, 3]] })]).said, []);
  assert.equal(world.kind("player").size, 1);
  assert.deepEqual(take(104, [delta(2, { base: 3, leaves: [[3, 0]] })]).said, ["remove 3/1"]);
});

test("gone is gone, unless another cell is its home by now", () => {
  const one = held(ada);
  assert.deepEqual(one.take(101, [delta(1, { leaves: [[3, 0]] })]).said, ["remove 3/1"]);
  assert.equal(one.world.kind("player").get(769), undefined);
  const two = held(ada);
  assert.deepEqual(two.take(101, [delta(2, { enters: [ada] }), delta(1, { leaves: [[3, 0]] })]).said, []);
});

test("leaving for a cell that is not held is leaving", () => {
  const { take } = held(ada);
  assert.deepEqual(take(101, [delta(1, { leaves: [[3, 99]] })]).said, ["remove 3/1"]);
});

test("a snapshot removes those that it does not list and keeps the others as they are", () => {
  const { world, take } = held(ada, bob);
  const entity = world.kind("player").get(769);
  const now = { ...ada, row: [0, 0, 0, 0, 0] };
  assert.deepEqual(take(107, [snapshot(1, sumOf(now, coin), now, coin)]).said, ["remove 5/0", "add 9/0", "change 3/1"]);
  assert.equal(world.kind("player").get(769), entity);
  assert.deepEqual(take(108, [snapshot(1, sumOf(now, coin), now, coin)]).said, []);
});

test("a cell that left the view takes along those at home there, and is forgotten", () => {
  const { world, take } = held(ada);
  assert.deepEqual(take(101, [view(2)]).said, ["remove 3/1"]);
  assert.equal(heldAt(world, 1), undefined);
  const moved = held(ada);
  assert.deepEqual(moved.take(101, [view(2), delta(2, { enters: [ada] })]).said, []);
  assert.equal(moved.world.kind("player").size, 1);
});

test("a slot with another generation is another entity", () => {
  const { world, take } = held(ada);
  const next = { ...bob, slot: 3, generation: 2 };
  assert.deepEqual(take(101, [delta(1, { leaves: [[3, 0]], enters: [next] })]).said, ["remove 3/1", "add 3/2"]);
  assert.deepEqual([...world.kind("player")].map((p) => p.name), ["Bob"]);
});

test("an entity that comes and goes within one message is not told of", () => {
  const { take } = held();
  const { said } = take(102, [age(1), delta(1, { enters: [ada] }), age(0), delta(1, { leaves: [[3, 0]] })]);
  assert.deepEqual(said, []);
});

test("a delta applies only on top of what it was made for", () => {
  const cases = [
    [104, 5, true], [104, 4, true], [104, 3, false], [100, 1, false], [99, 1, false],
  ];
  for (const [at, base, applies] of cases) {
    const { world, take } = held(ada);
    const { update } = take(at, [delta(1, { base })]);
    assert.deepEqual([...update.wanted], applies ? [] : [1]);
    assert.equal(world.stats.violations, applies ? 0 : 1);
    assert.equal(heldAt(world, 1), applies ? at : 100);
  }
});

test("ticks wrap, and deltas still follow one another", () => {
  const { world, take } = watched();
  take(0xffff_fffe, [view(1), snapshot(1, 0)]);
  take(0xffff_ffff, [delta(1)]);
  take(1, [delta(1, { base: 2 })]);
  assert.equal(heldAt(world, 1), 1);
  assert.equal(world.stats.violations, 0);
});

test("a delta for a cell that is not held is skipped, and the cell is asked for if it is in the view", () => {
  const { world, take } = watched();
  take(100, [view(1, 7)]);
  assert.deepEqual([...take(101, [delta(7, { enters: [ada] }), delta(8)]).update.wanted], [7]);
  assert.equal(world.kind("player").size, 0);
  assert.equal(world.stats.violations, 2);
});

test("a snapshot of a cell that is not in the view is skipped", () => {
  const { world, take } = watched();
  const { update, said } = take(100, [view(1), snapshot(2, sumOf(ada), ada)]);
  assert.deepEqual([said, update.wanted.size, world.stats.violations], [[], 0, 1]);
});

test("strangers that leave and members that enter are skipped, counted once a delta, and the rest applies", () => {
  const { world, take } = held(ada);
  const again = { ...ada, row: [0, 0, 0, 0, 0] };
  const { update, said } = take(101, [delta(1, { leaves: [[4, 0]], enters: [again, bob] })]);
  assert.deepEqual([...update.wanted], [1]);
  assert.deepEqual(said, ["add 5/0", "change 3/1"]);
  assert.equal(world.kind("player").get(769).vx, 2);
  assert.equal(world.stats.violations, 1);
});

test("a snapshot in the same message spares the question, and so does a view without the cell", () => {
  assert.equal(held(ada).take(104, [delta(1), snapshot(1, 0)]).update.wanted.size, 0);
  assert.equal(held(ada).take(104, [delta(1), view(2)]).update.wanted.size, 0);
});

test("a sum that differs is counted and the cell is asked for", () => {
  const { world, take } = held(ada);
  assert.deepEqual([...take(101, [delta(1, { sum: 1 })]).update.wanted], [1]);
  assert.deepEqual([...take(102, [snapshot(2, 5)]).update.wanted], [2]);
  assert.equal(world.stats.desyncs, 2);
});

test("your own entity is one object with the one in its collection, whichever comes first", () => {
  const { world, take } = watched();
  take(100, [self({ ...ada, row: [16, 0, 0, 0, 0] })]);
  const { me } = world;
  assert.equal(me.x, 1);
  assert.deepEqual(take(101, [view(1), snapshot(1, sumOf(ada), ada), self({ ...ada, row: [32, 0, 0, 0, 0] })]).said, ["add 3/1"]);
  assert.equal(world.me, me);
  assert.equal(world.kind("player").get(769), me);
  assert.deepEqual([me.x, me.name], [2, "Ada"]);
  assert.deepEqual(take(102, [delta(1), self({ ...ada, row: [33, 0, 0, 0, 0] })]).said, ["change 3/1"]);
  assert.deepEqual(take(103, [delta(1)]).said, [], "its cell moves on, but what was said of yourself is newer");
  assert.equal(world.stats.desyncs, 0);
  assert.deepEqual(take(104, [delta(1, { leaves: [[3, 0]] })]).said, ["remove 3/1"]);
  assert.equal(world.me, me, "you have it until you are told otherwise");
  assert.deepEqual(take(105, [delta(1, { enters: [ada] })]).said, ["add 3/1"]);
  assert.equal(world.kind("player").get(769), me);
});

test("your own entity ends where the server says so, and another one may follow", () => {
  const { world, take } = held(ada, bob);
  take(101, [self({ ...ada, row: [1, 0, 0, 0, 0] })]);
  assert.deepEqual(take(102, [self({ ...bob, row: [2, 0, 0, 0, 0] })]).said, ["change 3/1", "change 5/0"]);
  assert.equal(world.me, world.kind("player").get(5 << 8));
  assert.equal(world.kind("player").get(769).row[0], 164, "as its cell has it, two ticks later");
  assert.deepEqual(take(103, [[5, new Uint8Array()]]).said.sort(), ["change 3/1", "change 5/0"]);
  assert.equal(world.me, undefined);
});

test("what the cell counts on is not touched by the self block", () => {
  const { world, take } = held(ada);
  take(101, [self({ ...ada, row: [0, 0, 0, 0, 0] })]);
  const now = { ...ada, row: [164, 318, 2, -1, 0] };
  take(102, [delta(1, { base: 2, sum: sumOf(now) })]);
  assert.equal(world.stats.desyncs, 0);
});

test("reliable messages are told once and in order; a repeated one is known and a gap is a violation", () => {
  const { world, take } = watched();
  const first = take(100, [chat(1, 4, "Bob", "hi"), chat(2, 4, "Bob", "ho")]).update.reliable;
  assert.deepEqual(first.map((m) => m.text), ["hi", "ho"]);
  const second = take(101, [chat(2, 4, "Bob", "ho"), award(3, -5, "slow"), chat(5, 4, "Bob", "lost")]).update.reliable;
  assert.deepEqual(second, [{ type: "award", points: -5, reason: "slow" }]);
  assert.equal(world.ack, 3);
  assert.equal(world.stats.violations, 1);
  const third = take(102, [message(4, "boom", "x"), property(5, 7, "team", "red")]).update.reliable;
  assert.deepEqual(third.map(({ type, kind, owner, key }) => [type, kind ?? owner, key]), [["message", "boom", undefined], ["property", 7, "team"]]);
});

test("blocks and classes of a later version are skipped and counted", () => {
  const { world, take } = watched();
  const { update } = take(100, [[77, bytes((w) => w.u32(1))], reliable(1, 99, (w) => w.u32(5)), chat(2, 1, "Ada", "hi")]);
  assert.deepEqual(update.reliable.map((m) => m.type), ["chat"]);
  assert.equal(world.ack, 2);
  assert.equal(world.stats.unknownBlocks, 1);
  assert.equal(world.stats.unknownClasses, 1);
});

test("transients come with the tick that they happened at, and the room says what it heard", () => {
  const { take } = watched();
  const { update } = take(100, [age(3), transient(5, "spark", "!"), heard(12)], { seq: 9, depth: 2, flags: 2 });
  assert.deepEqual(update.transients.map((t) => [t.tick, t.cell, t.kind, t.payload.length]), [[97, 5, "spark", 1]]);
  assert.deepEqual([update.heard, update.seq, update.depth], [12, 9, 2]);
});

test("whoever listens late hears of those that are there, once, even from within a callback", () => {
  const { world, take } = held(ada);
  const heardOf = [];
  world.kind("player").onRemove(() => world.kind("player").onAdd((e) => heardOf.push(e.name)));
  take(101, [delta(1, { leaves: [[3, 0]], enters: [bob] })]);
  assert.deepEqual(heardOf, ["Bob"]);
});

test("who does not want to hear any more does not", () => {
  const { world, take } = held(ada);
  let calls = 0;
  world.kind("player").onChange(() => calls++)();
  take(101, [delta(1)]);
  assert.equal(calls, 0);
});

test("changes that do not fit the members lose the cell, and nothing else", () => {
  const cases = {
    "selection mode 3": new BitWriter().write(3, 2).finish(),
    "residual mode 3": new BitWriter().write(0, 2).write(3, 2).finish(),
    "an index over the members": new BitWriter().write(2, 2).write(2, 2).write(0, 1).write(0, 1).finish(),
    "padding that is not zero": new BitWriter().write(1, 2).write(0, 2).write(1, 1).finish(),
    "a byte too many of changes": new BitWriter().write(1, 2).write(0, 9).finish(),
  };
  for (const [name, changes] of Object.entries(cases)) {
    const { world, take } = held(ada, bob);
    const { said, update } = take(101, [delta(1, { changes }), delta(2)]);
    assert.deepEqual(said.sort(), ["remove 3/1", "remove 5/0"], name);
    assert.deepEqual([update.mismatch, [...update.wanted], world.cells().map(({ cell }) => cell)], ["misfit", [1], [2]], name);
  }
});

test("malformed blocks are refused", () => {
  const raw = (kind, ...content) => [kind, Uint8Array.from(content)];
  const cases = {
    "a view that ends early": raw(1, 2, 1),
    "a view that ends late": raw(1, 0, 1),
    "a delta without a base": raw(2, 1, 0),
    "a delta on itself": raw(2, 1, 1, 0),
    "a delta that ends late": raw(2, 1, 0, 0),
    "slots that do not ascend": snapshot(1, 0, bob, ada),
    "a slot twice": snapshot(1, 0, ada, ada),
    "a slot over 24 bits": snapshot(1, 0, { ...ada, slot: 2 ** 24 }),
    "a kind that does not exist": snapshot(1, 0, { ...ada, kind: 2 }),
    "leaves that do not ascend": delta(1, { leaves: [[5, 0], [3, 0]] }),
    "a count without entities": raw(3, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f),
    "a view without end": raw(1, 0xff, 0xff, 0xff, 0xff, 0x0f),
    "text that is not UTF-8": reliable(1, 1, (w) => w.u8(1).u8(1).u8(0xff)),
    "an age that ends late": raw(4, 0, 0),
    "a self that ends early": raw(5, 3, 1, 0, 2),
  };
  for (const [name, block] of Object.entries(cases)) {
    const { world } = held(ada, bob);
    assert.throws(() => world.apply(tick(101, [block])), ProtocolError, name);
  }
  assert.throws(() => new World(SCHEMA).apply(tick(1, [])?.subarray(0, 9)), ProtocolError);
  assert.throws(() => new World(SCHEMA).apply(bytes((w) => w.put(tick(1)).varint(2).varint(5).u8(1))), ProtocolError);
});

test("a message full of empty deltas for a huge cell is refused before it costs much", () => {
  const { take } = watched();
  const crowd = Array.from({ length: 20_000 }, (_, slot) => ({ slot, row: [0, 0, 1, 1, 0] }));
  take(100, [view(1), snapshot(1, sumOf(...crowd), ...crowd)]);
  const empty = (ticks) => Array.from({ length: ticks }, (_, i) => [age(ticks - i - 1), delta(1)]).flat();
  take(120, empty(20));
  assert.throws(() => take(1120, empty(1000)), { name: "ProtocolError", message: /moves more than/ });
});

test("whatever bytes arrive, they are applied or refused, at once", () => {
  // A small generator of our own, so that a failure comes back with its seed.
  let seed = 20240817;
  const random = (below) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  let applied = 0;
  for (let round = 0; round < 20_000; round++) {
    const start = seed;
    const { world } = held(ada, bob, coin);
    const good = tick(101, [
      age(random(3)), delta(1, { changes: changesToAll([1, 2], undefined, [random(99)], undefined, undefined, [3]), leaves: [[5, 3]] }),
      delta(2, { enters: [bob] }), chat(1, 2, "x", "y"), self(ada),
    ]);
    for (let i = random(4); i >= 0; i--) good[random(good.length)] = random(256);
    try {
      world.apply(good.subarray(0, random(8) ? good.length : random(good.length)));
      applied++;
    } catch (error) {
      assert.ok(error instanceof ProtocolError, `seed ${start}: ${error.stack}`);
    }
  }
  assert.ok(applied > 1000, `${applied} applied`);
});

test("a cleared world holds nothing and has said so", () => {
  const { world } = held(ada, coin);
  const gone = [];
  world.kind("player").onRemove((p) => gone.push(p.name));
  world.clear();
  assert.deepEqual(gone, ["Ada"]);
  assert.equal([...world.entities()].length + world.kind("player").size + world.kind("coin").size, 0);
  assert.equal(heldAt(world, 1), undefined);
});

test("field names that every entity has already do not hide what it has", () => {
  const kinds = [{ name: "player", fields: ["id", "name", "__proto__", "constructor"].map((n) => field(n)) }];
  const { world, take } = watched({ kinds, input: [] });
  take(1, [view(1), snapshot(1, 0, { slot: 1, row: [5, 6, 7, 8], statics: "Ada" })]);
  const [entity] = world.kind("player");
  assert.deepEqual([entity.id, entity.name, entity.statics, ...entity.row], [256, 6, "Ada", 5, 6, 7, 8]);
});
