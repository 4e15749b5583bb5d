import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { fakeServer } from "./support/server.mjs";
import {
  award, bytes, chat, delta, heard, hex, message, pong, property, refused, SCHEMA, self, snapshot, sumOf, tickMessage, transient, view, welcome,
} from "./support/write.mjs";

const ada = { slot: 3, generation: 1, row: [160, 320, 2, -1, 0], statics: "Ada" };
const rooms = [];
afterEach(() => rooms.splice(0).forEach((room) => room.leave()));

/** Lets the event loop come round: the room delivers from then on. */
const turn = () => new Promise((resolve) => setTimeout(resolve));

async function entered(options) {
  const { client, sockets } = fakeServer((socket) => socket.deliver(welcome(options)));
  const room = await client.joinOrCreate("arena");
  rooms.push(room);
  const [socket] = sockets;
  await turn();
  socket.sent.length = 0;
  return { room, socket, tick: (...args) => socket.deliver(tickMessage(...args)) };
}

test("a tick reaches the collections, then whoever waits for the state", async () => {
  const { room, tick } = await entered();
  const said = [];
  room.players.onAdd((p, id) => said.push(`add ${p.name} ${id} at ${p.x},${p.y}`));
  room.onStateChange((state) => said.push(`tick ${state.tick} complete ${state.complete}`));
  tick(101, [view(1), snapshot(1, sumOf(ada), ada), self(ada)], { flags: 1, seq: 4, depth: 1 });
  assert.deepEqual(said, ["add Ada 769 at 10,20", "tick 101 complete true"]);
  assert.equal(room.me, room.players.get(769));
  assert.equal(room.kind("player"), room.players);
  assert.deepEqual([room.tick, room.input().lastProcessed, room.input().waiting], [101, 4, 1]);
});

test("messages reach whoever asked for their kind, and the star hears all", async () => {
  const { room, tick } = await entered();
  const [said, all] = [[], []];
  room.onMessage("chat", (m) => said.push(m));
  room.onMessage("award", (m) => said.push(m));
  room.onMessage("property", (m) => said.push([m.owner, m.key, m.value.length]));
  room.onMessage("boom", (m) => said.push(m.text));
  room.onMessage("*", (kind) => all.push(kind));
  tick(101, [chat(1, 4, "Bob", "hi"), award(2, 10, "coin"), property(3, 0, "map", "yard"), message(4, "boom", "now"), message(5, "chat", "?")]);
  assert.deepEqual(said, [{ player: 4, name: "Bob", text: "hi" }, { points: 10, reason: "coin" }, [0, "map", 4], "now"]);
  assert.deepEqual(all, ["chat", "award", "property", "boom", "chat"]);
});

test("what arrives in one turn with the welcome reaches whoever registers right after the await", async () => {
  const { client, sockets } = fakeServer((socket) => {
    socket.deliver(welcome());
    socket.deliver(tickMessage(101, [view(1), snapshot(1, sumOf(ada), ada), chat(1, 4, "Bob", "one"), message(2, "boom", "two")]));
    socket.deliver(tickMessage(102, [award(3, 10, "three"), transient(1, "spark", "!")]));
    socket.hangUp(1001, "bye");
  });
  // Whoever wraps the call has to wait a little longer for it.
  const enter = async () => await client.joinOrCreate("arena");
  const room = await enter();
  const said = [];
  room.players.onAdd((p) => said.push(`add ${p.name}`));
  room.onMessage("chat", (m) => said.push(m.text));
  room.onMessage("boom", (m) => said.push(m.text));
  room.onMessage("award", (m) => said.push(m.reason));
  room.onTransient("spark", (t) => said.push(t.kind));
  room.onStateChange(() => {
    said.push(room.tick);
    if (room.tick === 102) room.poll(performance.now() + 500);
  });
  room.onLeave((code) => said.push(code));
  assert.deepEqual(said, []);
  await turn();
  assert.deepEqual(said, ["add Ada", "one", "two", 101, "spark", "three", 102, 1001]);
  assert.deepEqual(sockets[0].sentOf(4), [hex("04 03000000")]);
});

test("whoever leaves right after the await hears nothing of what came with the welcome", async () => {
  const { client } = fakeServer((socket) => {
    socket.deliver(welcome());
    socket.deliver(tickMessage(101, [chat(1, 4, "Bob", "hi")]));
  });
  const room = await client.joinOrCreate("arena");
  const said = [];
  room.onMessage("chat", () => said.push("chat"));
  room.onLeave((code) => said.push(code));
  room.leave();
  await turn();
  assert.deepEqual(said, [1000]);
});

test("more than can wait is delivered early, in order", async () => {
  const { client } = fakeServer((socket) => {
    socket.deliver(welcome());
    for (let at = 101; at <= 500; at++) socket.deliver(tickMessage(at));
  });
  const room = await client.joinOrCreate("arena");
  assert.deepEqual([room.tick, room.stats.messagesIn], [500, 400]);
  room.leave();
});

test("transients reach whoever asked for their kind", async () => {
  const { room, tick } = await entered();
  const said = [];
  room.onTransient("spark", (t) => said.push(`spark ${t.cell}`));
  room.onTransient("*", (t) => said.push(`any ${t.kind}`));
  tick(101, [transient(5, "spark", "!"), transient(6, "smoke", "")]);
  assert.deepEqual(said, ["spark 5", "any spark", "any smoke"]);
});

test("chats and messages are numbered, and the room says how many it took", async () => {
  const { room, socket, tick } = await entered();
  room.chat("hé");
  assert.equal(room.send("jump", hex("0102")), 2);
  assert.deepEqual(socket.sentOf(1), [hex("01 01 01 04 63686174 03 68c3a9 00"), hex("01 01 02 04 6a756d70 02 0102 00")]);
  assert.equal(room.unheard, 2);
  tick(101, [heard(1)]);
  assert.equal(room.unheard, 1);
});

test("what a server would not take is not sent", async () => {
  const { room, socket } = await entered();
  for (const send of [() => room.chat(""), () => room.chat("é".repeat(101)), () => room.send(""), () => room.send("x".repeat(33)), () => room.send("x", "y".repeat(1025))]) {
    assert.throws(send, RangeError);
  }
  assert.equal(socket.sentOf(1).length, 0);
});

test("an input is rounded, clamped, numbered, and carries the acknowledgement and what was shown", async () => {
  const { room, socket, tick } = await entered();
  const input = room.input();
  assert.equal(room.input(), input);
  assert.deepEqual(input.data, { dx: 0, dy: 0 });
  tick(101, [chat(1, 4, "Bob", "hi")]);
  room.renderTick = 99.5;
  input.data.dx = 1;
  input.data.dy = -9;
  assert.equal(input.send(), 1);
  input.data.dx = NaN;
  assert.equal(input.send(), 2);
  const head = (seq) => hex(`02 0${seq}000000 01000000 38060000`);
  assert.deepEqual(socket.sentOf(2), [bytes((w) => w.put(head(1)).zigzag(127).zigzag(-127)), bytes((w) => w.put(head(2)).zigzag(0).zigzag(-127))]);
});

test("what was shown goes out no later than what has come, and not at all when nobody keeps it up", async () => {
  const { room, socket, tick } = await entered();
  const input = room.input();
  tick(101, []);
  const said = (shown) => {
    room.renderTick = shown;
    input.send();
    return new DataView(socket.sentOf(2).at(-1).slice().buffer).getUint32(9, true) / 16;
  };
  assert.deepEqual([100.25, 101, 250, 101 - room.tickRate, 0, NaN].map(said), [100.25, 101, 101, 0, 0, 0]);
});

test("an input that would only wait is dropped", async () => {
  const { room, socket } = await entered();
  socket.bufferedAmount = 100_000;
  assert.equal(room.input().send(), 0);
  socket.bufferedAmount = 0;
  assert.equal(room.input().send(), 1);
});

test("reliable messages are acknowledged after a while, unless an input did it", async () => {
  const { room, socket, tick } = await entered();
  const start = performance.now();
  tick(101, [chat(1, 4, "Bob", "hi")]);
  room.poll(start + 100);
  assert.equal(socket.sentOf(4).length, 0);
  room.poll(start + 1000);
  room.poll(start + 2000);
  assert.deepEqual(socket.sentOf(4), [hex("04 01000000")]);
  tick(102, [chat(2, 4, "Bob", "ho")]);
  room.input().send();
  room.poll(start + 3000);
  assert.equal(socket.sentOf(4).length, 1);
});

test("a ping goes out each second, by the timer or by what arrives, and the answer tells the time it took", async () => {
  const { room, socket, tick } = await entered();
  const start = performance.now();
  tick(101);
  assert.equal(socket.sentOf(3).length, 1, "by what arrives: in a hidden tab timers hardly run");
  room.poll(start + 500);
  assert.equal(socket.sentOf(3).length, 1);
  room.poll(start + 1500);
  assert.equal(socket.sentOf(3).length, 2);
  const asked = room.ping();
  assert.equal(room.rtt, 0);
  socket.deliver(pong(socket.sentOf(3)[2].slice(1)));
  assert.ok((await asked) >= 0);
  assert.ok(room.rtt > 0);
  socket.deliver(pong(hex("ffffffffffffffff")));
});

test("a world that went wrong is asked for once until it is told anew, and the game hears of it", async () => {
  const { room, socket, tick } = await entered();
  const desyncs = [];
  room.onDesync((desync) => desyncs.push(desync));
  tick(100, [view(2, 300)]);
  for (let at = 101; at < 110; at++) tick(at, [delta(300), delta(2)], { flags: 1 });
  assert.deepEqual(socket.sentOf(6), [hex("06 01 65000000 02 ac02 02")]);
  assert.deepEqual(desyncs, [{ why: "misfit", tick: 101, cells: [300, 2] }]);
  assert.deepEqual([room.stats.violations, room.stats.repairs], [18, 1]);
  tick(110, [view(2, 300), snapshot(2, 0), snapshot(300, 0)], { flags: 1 });
  tick(111, [delta(2, { sum: 7 })], { flags: 1 });
  assert.deepEqual(desyncs.slice(1), [{ why: "sum", tick: 111, cells: [2] }]);
});

test("a repair that is not answered is asked for again", async () => {
  const { room, tick } = await entered();
  tick(100, [view(2)]);
  for (let at = 101; at <= 101 + 64; at++) tick(at, [delta(2)]);
  assert.equal(room.stats.repairs, 2);
});

test("a malformed block ends it with 1002, and nobody is told of half a message", async () => {
  const { room, socket, tick } = await entered();
  const said = [];
  room.players.onAdd(() => said.push("add"));
  room.onStateChange(() => said.push("state"));
  room.onLeave((code, reason) => said.push(`left ${code} ${reason.length > 0}`));
  tick(101, [view(1), snapshot(1, sumOf(ada), ada), [5, hex("00")]]);
  assert.deepEqual(said, ["left 1002 true"]);
  assert.equal(socket.closed, 4000, "a script may not say 1002");
  assert.equal(room.connected, false);
});

test("text, control messages after the welcome and messages without end are against the protocol too", async () => {
  for (const break_ of [
    (socket) => socket.onmessage({ data: "hello" }),
    (socket) => socket.deliver(welcome()),
    (socket) => socket.deliver(refused(8, "Back in a minute.")),
    (socket) => socket.deliver(new Uint8Array(2_000_000).fill(2)),
    (socket) => socket.deliver(new Uint8Array()),
    (socket) => socket.deliver(hex("03 00")),
  ]) {
    const { room, socket } = await entered();
    break_(socket);
    assert.equal(room.connected, false);
    assert.equal(socket.closed, 4000);
  }
});

test("messages of a type of a later version are skipped and counted", async () => {
  const { room, socket } = await entered();
  socket.deliver(hex("63 01 02"));
  assert.equal(room.stats.unknownTypes, 1);
  assert.equal(room.connected, true);
});

test("when the server closes, its code and reason are told once, and to whoever asks later", async () => {
  const { room, socket } = await entered();
  const ends = [];
  room.onLeave((code, reason) => ends.push([code, reason]));
  const { onclose } = socket;
  onclose({ code: 4002, reason: "the game failed" });
  onclose({ code: 1006, reason: "" });
  room.onLeave((code) => ends.push(code));
  assert.deepEqual(ends, [[4002, "the game failed"], 4002]);
});

test("leaving removes everybody, says so, and lets go of the socket and of all callbacks", async () => {
  const { room, socket, tick } = await entered();
  const said = [];
  tick(101, [view(1), snapshot(1, sumOf(ada), ada), self(ada)]);
  room.players.onRemove((p) => said.push(`remove ${p.name}`));
  room.onLeave((code) => said.push(`left ${code}`));
  const asked = room.ping();
  room.leave();
  room.leave();
  assert.deepEqual(said, ["remove Ada", "left 1000"]);
  await assert.rejects(asked, { name: "ClosedError", code: 1000 });
  await assert.rejects(room.ping(), { name: "ClosedError" });
  assert.deepEqual([room.players.size, room.me, socket.closed, socket.onmessage, socket.onclose], [0, undefined, 1000, null, null]);
  socket.sent.length = 0;
  assert.deepEqual([room.send("x"), room.input().send()], [0, 0]);
  room.chat("anyone?");
  room.poll(performance.now() + 60_000);
  assert.equal(socket.sent.length, 0);
});

test("leaving from within a callback is leaving", async () => {
  const { room, tick } = await entered();
  const said = [];
  room.players.onAdd(() => room.leave());
  room.onMessage("chat", () => said.push("chat"));
  room.onStateChange(() => said.push("state"));
  tick(101, [view(1), snapshot(1, sumOf(ada), ada), chat(1, 4, "Bob", "hi")]);
  assert.deepEqual(said, []);
});

test("a callback that throws does not keep the others from being called", async (t) => {
  const { room, tick } = await entered();
  const reported = [];
  globalThis.reportError = (error) => reported.push(error.message);
  t.after(() => delete globalThis.reportError);
  let called = 0;
  room.onStateChange(() => { throw new Error("mine"); });
  room.onStateChange(() => called++);
  tick(101);
  assert.deepEqual([called, reported, room.connected], [1, ["mine"], true]);
});

test("a server that is silent for long is given up, but a machine that slept is not the server's silence", async () => {
  const { room, socket } = await entered();
  let end;
  room.onLeave((code) => (end = code));
  let now = performance.now();
  room.poll((now += 3_600_000));
  assert.equal(end, undefined);
  for (let i = 0; i < 5; i++) room.poll((now += 2000));
  assert.equal(end, undefined);
  room.poll((now += 2000));
  assert.equal(end, 1006);
  assert.notEqual(socket.closed, undefined);
});

test("the schema decides what there is, not us", async () => {
  const { room, tick } = await entered({ schema: { kinds: [{ name: "ship", fields: SCHEMA.kinds[1].fields }], input: [] } });
  tick(101, [view(1), snapshot(1, 0, { slot: 1, row: [16, 32], statics: "Nina" })]);
  const [ship] = room.kind("ship");
  assert.deepEqual([ship.x, ship.y, ship.name, room.players.size], [1, 2, "Nina", 0]);
  assert.equal(room.input().send(), 1);
});
