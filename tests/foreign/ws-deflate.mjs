// Holds a server to RFC 7692 (permessage-deflate), with the npm library `ws`.
//
//     node ws-deflate.mjs --url ws://127.0.0.1:7070
//
// The server runs with --echo and --deflate state.

import { deepStrictEqual as equal } from "node:assert";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { parseArgs } from "node:util";

import { WebSocket } from "ws";

const PATIENCE_MS = 20_000;
const SIZES = [0, 1, 63, 64, 125, 1000, 65535, 65536];
const { values: options } = parseArgs({ options: { url: { type: "string" } } });
const url = options.url?.replace(/\/$/, "");
let passed = 0;
let failed = 0;

/** Runs one check, and says if it failed. */
async function check(name, body) {
  const timer = { id: 0 };
  const late = new Promise((_, reject) => {
    timer.id = setTimeout(() => reject(new Error(`nothing for ${PATIENCE_MS} ms`)), PATIENCE_MS);
  });
  try {
    await Promise.race([body(), late]);
    passed += 1;
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${name}: ${String(error.message).slice(0, 400)}`);
  } finally {
    clearTimeout(timer.id);
  }
}

async function open(path, protocols, perMessageDeflate) {
  const socket = new WebSocket(url + path, protocols, { perMessageDeflate });
  socket.inbox = [];
  socket.on("message", (data, isBinary) => socket.inbox.push({ data, isBinary }));
  socket.end = new Promise((resolve) => socket.on("close", (code) => resolve(code)));
  socket.on("error", () => {});
  socket.on("upgrade", ({ headers }) => (socket.answer = headers["sec-websocket-extensions"]));
  await once(socket, "open");
  return socket;
}

async function message(socket) {
  while (socket.inbox.length === 0) await once(socket, "message");
  return socket.inbox.shift();
}

/** Letters that compress somewhat, and repeat from message to message. */
const TEXT = Buffer.from(Array.from({ length: 20_000 }, (_, at) => `${(at * at) % 997} `).join(""));
const text = (size) => TEXT.subarray(0, size);

/** Every size and kind of message comes back, whole and in fragments, on top of those before it. */
async function echoes(offer) {
  const socket = await open("/echo", [], { ...offer, threshold: 0 });
  equal(socket.extensions, "permessage-deflate");
  for (const size of SIZES) {
    for (const data of [randomBytes(size), text(size), Buffer.alloc(size, "x")]) {
      socket.send(data, { binary: true });
      const got = await message(socket);
      equal([got.isBinary, got.data.equals(data)], [true, true], `${size}`);
    }
  }
  for (const size of [1, 100, 1500]) {
    const data = text(3000);
    for (let at = 0; at < data.length; at += size) {
      socket.send(data.subarray(at, at + size), { fin: at + size >= data.length, binary: false, compress: true });
      if (at % 1000 === 0) socket.ping();
    }
    const got = await message(socket);
    equal([got.isBinary, got.data.equals(data)], [false, true], `fragments of ${size}`);
  }
  const sent = Array.from({ length: 300 }, (_, at) => `${at} `.repeat(at % 97));
  for (const each of sent) socket.send(each, { compress: each.length % 3 > 0 });
  const got = [];
  while (got.length < sent.length) got.push((await message(socket)).data.toString());
  equal(got, sent);
  socket.close(1000);
  equal(await socket.end, 1000);
}

if (!url) {
  console.error("usage: node ws-deflate.mjs --url ws://127.0.0.1:7070");
  process.exit(2);
}
for (const serverNoContextTakeover of [false, true]) {
  for (const clientNoContextTakeover of [false, true]) {
    for (const serverMaxWindowBits of [undefined, 9]) {
      for (const clientMaxWindowBits of [undefined, 8, 12]) {
        const offer = { serverNoContextTakeover, clientNoContextTakeover, serverMaxWindowBits, clientMaxWindowBits };
        await check(`echo, ${JSON.stringify(offer)}`, () => echoes(offer));
      }
    }
  }
}
await check("a window of 2^8 is declined", async () => {
  const socket = await open("/echo", [], { serverMaxWindowBits: 8 });
  equal(socket.answer, undefined);
  socket.send("x".repeat(1000));
  equal((await message(socket)).data.length, 1000);
  socket.terminate();
});
await check("a player's messages stand for themselves", async () => {
  const socket = await open("/play", ["tickyard.v1"], { threshold: 0 });
  equal(socket.answer, "permessage-deflate; server_no_context_takeover; client_no_context_takeover");
  socket.send(Buffer.alloc(1024 * 1024));
  equal(await socket.end, 1009);
});
await check("text from a player is not spoken, compressed or not", async () => {
  const socket = await open("/play", ["tickyard.v1"], { threshold: 0 });
  socket.send("x".repeat(100));
  equal(await socket.end, 1003);
});
console.log(`ws-deflate: ${passed} passed, ${failed} failed`);
process.exit(failed > 0 || passed === 0 ? 1 : 0);
