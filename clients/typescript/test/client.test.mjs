import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { Client, CLOSE, ClosedError, mayReconnect, RefusedError } from "../dist/index.js";
import { fakeServer } from "./support/server.mjs";
import { bytes, hex, redirect, refused, tickMessage, welcome } from "./support/write.mjs";

const rooms = [];
afterEach(() => rooms.splice(0).forEach((room) => room.leave()));
const enter = async (joining) => {
  const room = await joining;
  rooms.push(room);
  return room;
};

test("an address without a path means /play, and http means ws", () => {
  const url = (server) => new Client(server).url;
  assert.equal(url("ws://localhost:7070"), "ws://localhost:7070/play");
  assert.equal(url("https://games.example/"), "wss://games.example/play");
  assert.equal(url("wss://games.example/arena/play?x=1#y"), "wss://games.example/arena/play?x=1");
  assert.equal(url({ href: "http://localhost:7070/index.html?name=Ada#top" }), "ws://localhost:7070/play");
  assert.throws(() => new Client("not an address"), TypeError);
});

test("joining says hello with the subprotocol and gives a room", async () => {
  const { client, sockets } = fakeServer();
  const room = await enter(client.joinOrCreate("arena", { name: "Ada", options: "{}" }));
  assert.deepEqual([sockets[0].url, sockets[0].protocols, sockets[0].binaryType], ["ws://localhost:7070/play", "tickyard.v1", "arraybuffer"]);
  assert.deepEqual(sockets[0].sent[0], hex("01 00 01 00 00 05 6172656e61 03 416461 02 7b7d 00 00 00"));
  const { id, game, player, tickRate, stepMs, tick, connected } = room;
  assert.deepEqual({ id, game, player, tickRate, stepMs, tick, connected }, { id: "arena-1", game: "arena", player: 7, tickRate: 20, stepMs: 50, tick: 100, connected: true });
  assert.deepEqual(room.schema.kinds.map((kind) => kind.name), ["player", "coin"]);
});

test("each way in seeks its own way", async () => {
  const { client, sockets } = fakeServer();
  await enter(client.join("a"));
  await enter(client.joinById("b"));
  assert.deepEqual([...sockets[0].sent[0]].slice(4, 7), [1, 1, 0x61]);
  assert.deepEqual([...sockets[1].sent[0]].slice(4, 7), [3, 1, 0x62]);
});

test("a refusal says why and when to come again", async () => {
  const { client, sockets } = fakeServer((socket) => {
    socket.deliver(refused(4, "The arena is full.", 5000));
    socket.hangUp(4001);
  });
  const error = await client.joinOrCreate("arena").then(assert.fail, (e) => e);
  assert.ok(error instanceof RefusedError);
  assert.deepEqual([error.code, error.text, error.retryAfterMs, error.mayRetry], [4, "The arena is full.", 5000, true]);
  assert.equal(sockets[0].closed, 1000);
  assert.equal(sockets[0].onmessage, null);
});

test("a connection that closes before the welcome says with which code", async () => {
  const { client } = fakeServer((socket) => socket.hangUp(1013, "full"));
  await assert.rejects(client.join("arena"), (e) => e instanceof ClosedError && e.code === 1013 && e.reason === "full");
});

test("a redirect is followed, but not for ever", async () => {
  const { client, sockets } = fakeServer((socket) =>
    socket.deliver(socket.url.includes("two") ? welcome() : redirect("ws://two:7070")));
  await enter(client.join("arena"));
  assert.deepEqual(sockets.map((s) => [s.url, s.closed]), [["ws://localhost:7070/play", 1000], ["ws://two:7070/play", undefined]]);
  const round = fakeServer((socket) => socket.deliver(redirect("ws://two:7070")));
  await assert.rejects(round.client.join("arena"), { name: "ProtocolError" });
  assert.equal(round.sockets.length, 4);
});

test("a redirect to nowhere, a tick before the welcome and text are against the protocol", async () => {
  const firstWords = [redirect("nowhere"), tickMessage(1), bytes((w) => w.u8(1).num(0)), bytes((w) => w.u8(1).num(42)), new Uint8Array()];
  for (const words of firstWords) {
    const { client, sockets } = fakeServer((socket) => socket.deliver(words));
    await assert.rejects(client.join("arena"), { name: "ProtocolError" });
    assert.equal(sockets[0].closed, 4000);
  }
  const { client } = fakeServer((socket) => socket.onmessage({ data: "hello" }));
  await assert.rejects(client.join("arena"), { name: "ProtocolError" });
});

test("words of a later version before the welcome are skipped", async () => {
  const { client } = fakeServer((socket) => {
    socket.deliver(bytes((w) => w.u8(99).u32(1)));
    socket.deliver(welcome({ tags: [[5, hex("0102")], [6, hex("")]] }));
  });
  const room = await enter(client.join("arena"));
  assert.equal(room.stats.unknownTags, 2);
});

test("whoever gives up is not let in afterwards", async () => {
  const { client, sockets } = fakeServer(() => {});
  const stop = new AbortController();
  const joining = client.join("arena", { signal: stop.signal });
  stop.abort(new Error("changed my mind"));
  await assert.rejects(joining, { message: "changed my mind" });
  assert.equal(sockets[0].closed, 1000);
  sockets[0].deliver(welcome());
  await assert.rejects(client.join("arena", { signal: stop.signal }), { message: "changed my mind" });
  assert.equal(sockets.length, 1);
});

test("a server that does not answer in time is given up", async () => {
  const { sockets, WebSocket } = fakeServer(() => {});
  const client = new Client("ws://localhost", { WebSocket, timeoutMs: 1 });
  await assert.rejects(client.join("arena"), (e) => e instanceof ClosedError && e.code === CLOSE.lost);
  assert.equal(sockets[0].closed, 1000);
});

test("without a WebSocket the error says what to do", { skip: "WebSocket" in globalThis }, async () => {
  await assert.rejects(new Client("ws://localhost").join("arena"), /new Client\(url, \{ WebSocket \}\)/);
});

test("the close codes say whether to come again", () => {
  const again = [1000, 1001, 1002, 1003, 1006, 1007, 1008, 1009, 1011, 1013, 4001, 4002].filter(mayReconnect);
  assert.deepEqual(again, [1001, 1006, 1011, 1013, 4002]);
});
