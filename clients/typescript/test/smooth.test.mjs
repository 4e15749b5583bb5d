import assert from "node:assert/strict";
import { test } from "node:test";
import { Clock, Collection, Interpolator } from "../dist/index.js";
import { valuesAt } from "../dist/interpolate.js";

test("the clock believes the least late of the last arrivals", () => {
  const clock = new Clock(50);
  for (let tick = 0; tick < 100; tick++) clock.heard(tick, 1000 + tick * 50 + (tick % 3) * 15);
  assert.ok(Math.abs(clock.tickAt(1000 + 100 * 50) - 100) < 0.01);
});

test("the clock goes gently to a new estimate, and leaps where the server did", () => {
  const clock = new Clock(50);
  let now = 0;
  for (let tick = 0; tick < 20; tick++) clock.heard(tick, (now = tick * 50));
  for (let tick = 20; tick < 400; tick++) {
    const before = clock.tickAt(now);
    clock.heard(tick, (now = tick * 50 + 100));
    assert.ok(clock.tickAt(now) > before, "it never runs backwards");
  }
  assert.ok(Math.abs(clock.tickAt(400 * 50 + 100) - 400) < 0.01);
  clock.heard(5000, now + 50);
  assert.ok(Math.abs(clock.tickAt(now + 50) - 5000) < 0.01);
});

const unknown = [undefined, undefined];
const path = [[10, [0, 0]], [11, [8, 4]], [12, [16, 4]]].map(([tick, values]) => ({ tick, values, rates: unknown }));
const SILENCE = 25;

test("between two ticks is on the line between them", () => {
  assert.deepEqual(valuesAt(path, 10.5, 12, SILENCE), [4, 2]);
  assert.deepEqual(valuesAt(path, 11.25, 12, SILENCE), [10, 4]);
});

test("before the first is at the first, and after the last goes on for a while only", () => {
  assert.deepEqual(valuesAt(path, 3, 12, SILENCE), [0, 0]);
  assert.deepEqual(valuesAt(path, 13, 12, SILENCE), [24, 4]);
  assert.deepEqual(valuesAt(path, 99, 12, SILENCE), [32, 4]);
});

test("silence after the last means that it stands there", () => {
  assert.deepEqual(valuesAt(path, 14, 15, SILENCE), [16, 4]);
  assert.deepEqual(valuesAt(path.slice(0, 1), 14, 10, SILENCE), [0, 0]);
});

test("with a velocity it goes on while the server is silent, and stands when it has none", () => {
  const moving = [{ tick: 10, values: [0, 9], rates: [4, 0] }, { tick: 11, values: [8, 9], rates: [2, 0] }];
  assert.deepEqual(valuesAt(moving, 10.5, 11, SILENCE), [4, 9]);
  assert.deepEqual(valuesAt(moving, 15, 11, SILENCE), [16, 9]);
  assert.deepEqual(valuesAt(moving, 15, 14, SILENCE), [16, 9]);
  assert.deepEqual(valuesAt(moving, 99, 11, SILENCE), [8 + 2 * SILENCE, 9]);
  assert.deepEqual(valuesAt(moving.slice(0, 1), 12, 10, SILENCE), [8, 9]);
});

function following() {
  const players = new Collection();
  const room = { tick: 0, stepMs: 50, clock: { tickAt: (now) => now / 50 }, renderTick: 0 };
  const smooth = new Interpolator(room, players, ["x"]);
  const move = (what, tick, entity) => {
    room.tick = tick;
    if (what === "added") players.put(entity);
    if (what === "removed") players.drop(entity);
    players.tell(what, entity, Infinity);
  };
  return { players, room, smooth, move };
}

test("entities are shown a little in the past, and the room is told what is shown", () => {
  const { room, smooth, move } = following();
  const entity = { id: 1, x: 0 };
  move("added", 10, entity);
  for (let tick = 11; tick < 15; tick++) {
    entity.x += 10;
    move("changed", tick, entity);
  }
  assert.deepEqual(smooth.at(1, 14.5 * 50), [25]);
  assert.equal(room.renderTick, 12.5);
  assert.deepEqual(smooth.at(1, 14.5 * 50, 50), [35]);
  assert.equal(room.renderTick, 12.5);
});

test("an entity that starts to move after a rest did not creep all the while", () => {
  const { smooth, move } = following();
  const entity = { id: 1, x: 0 };
  move("added", 10, entity);
  entity.x = 10;
  move("changed", 50, entity);
  assert.deepEqual(smooth.at(1, 51 * 50), [0]);
  assert.deepEqual(smooth.at(1, 51.5 * 50), [5]);
});

test("who turns after a silence went straight on until then", () => {
  const { smooth, move } = following();
  const entity = { id: 1, x: 0, rateOf: () => 10 };
  move("added", 10, entity);
  Object.assign(entity, { x: 35, rateOf: () => -5 });
  move("changed", 15, entity);
  assert.deepEqual(smooth.at(1, 13 * 50, 0), [30]);
  assert.deepEqual(smooth.at(1, 14.5 * 50, 0), [37.5]);
  assert.deepEqual(smooth.at(1, 16 * 50, 0), [30]);
});

test("what is removed is forgotten, and a path is bounded", () => {
  const { players, smooth, move } = following();
  const entity = { id: 1, x: 0 };
  move("added", 10, entity);
  for (let tick = 11; tick < 1000; tick++) move("changed", tick, entity);
  assert.equal(smooth.at(1, 0)[0], 0);
  move("removed", 1000, entity);
  assert.equal(smooth.at(1, 0), undefined);
  smooth.stop();
  move("added", 1001, entity);
  assert.equal(smooth.at(1, 0), undefined);
  assert.equal(players.size, 1);
});
