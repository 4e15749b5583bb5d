// Holds a server to RFC 6455 and to the protocol's close codes, with the npm library `ws`.
//
//     node ws-peer.mjs --url ws://127.0.0.1:7070 --pid PID --silence 5
//
// The server runs with --echo. With --silence two clients say nothing for so many seconds, which should be more than the server's
// --idle-timeout; the library answers pings by itself. With --pid the last thing is a SIGTERM, which must reach everybody as 1001.

import { deepStrictEqual as equal } from "node:assert";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import { WebSocket } from "ws";

const PATIENCE_MS = 10_000;
const SIZES = [0, 1, 125, 126, 127, 65535, 65536, 1024 * 1024];
const SUBPROTOCOL = "tickyard.v1";
const frames = JSON.parse(readFileSync(new URL("frames.json", import.meta.url), "utf8"));
const { values: options } = parseArgs({
  options: { url: { type: "string" }, pid: { type: "string" }, silence: { type: "string" } },
});
const url = options.url?.replace(/\/$/, "");
let passed = 0;
let failed = 0;

/** Runs one check, and says if it failed. What it opened is closed in any case. */
async function check(name, body) {
  const opened = [];
  const timer = { id: 0 };
  const late = new Promise((_, reject) => {
    timer.id = setTimeout(() => reject(new Error(`nothing for ${PATIENCE_MS} ms`)), PATIENCE_MS);
  });
  try {
    await Promise.race([body((path, protocols) => open(path, protocols, opened)), late]);
    passed += 1;
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${name}: ${String(error.message).slice(0, 400)}`);
  } finally {
    clearTimeout(timer.id);
    for (const socket of opened) socket.terminate();
  }
}

async function open(path, protocols, opened) {
  const socket = new WebSocket(url + path, protocols, { perMessageDeflate: true });
  opened.push(socket);
  // Messages and the end are kept from the start: they may come together with the handshake's answer.
  socket.inbox = [];
  socket.on("message", (data, isBinary) => socket.inbox.push({ data, isBinary }));
  socket.end = new Promise((resolve) => socket.on("close", resolve));
  socket.on("error", () => {});
  await once(socket, "open");
  return socket;
}

async function message(socket) {
  while (socket.inbox.length === 0) await once(socket, "message");
  return socket.inbox.shift();
}

async function handshakes(check) {
  await check("the headers of the handshake", async () => {
    const response = await new Promise((resolve, reject) => {
      const headers = {
        Connection: "Upgrade",
        Upgrade: "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Extensions": "permessage-deflate",
      };
      const asked = request(`${url.replace("ws:", "http:")}/echo`, { headers });
      asked.on("upgrade", (answer, socket) => (socket.destroy(), resolve(answer)));
      asked.on("response", (answer) => reject(new Error(`status ${answer.statusCode}`)));
      asked.on("error", reject).end();
    });
    equal(response.headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    equal(response.headers.upgrade.toLowerCase(), "websocket");
    equal(response.headers.connection.toLowerCase(), "upgrade");
    equal(response.headers["sec-websocket-extensions"], undefined);
  });
  await check("version 8", async () => {
    const socket = new WebSocket(`${url}/echo`, { protocolVersion: 8 });
    socket.on("error", () => {});
    const [, response] = await once(socket, "unexpected-response");
    response.destroy();
    equal([response.statusCode, response.headers["sec-websocket-version"]], [426, "13"]);
  });
  await check("the subprotocol is chosen", async (open) => {
    equal((await open("/play", ["chat", SUBPROTOCOL])).protocol, SUBPROTOCOL);
  });
}

async function echoes(check) {
  for (const size of SIZES) {
    for (const isBinary of [true, false]) {
      await check(`echo of ${size} ${isBinary ? "bytes" : "letters"}`, async (open) => {
        const socket = await open("/echo");
        const data = isBinary ? randomBytes(size) : Buffer.from("€".repeat(size / 3) + "a".repeat(size % 3));
        socket.send(data, { binary: isBinary });
        const got = await message(socket);
        equal(got.isBinary, isBinary);
        equal(got.data.equals(data), true);
      });
    }
  }
  for (const size of [1, 7, 126, 65536]) {
    await check(`fragments of ${size} with pings between them`, async (open) => {
      const socket = await open("/echo");
      const data = randomBytes(size * 5);
      const pongs = [];
      socket.on("pong", (payload) => pongs.push(payload.toString()));
      for (let at = 0; at < data.length; at += size) {
        socket.send(data.subarray(at, at + size), { fin: at + size >= data.length, binary: true });
        socket.ping(`ping ${at}`);
        socket.pong("nobody asked");
      }
      equal((await message(socket)).data.equals(data), true);
      // RFC 6455, 5.5.3: of several pings only the last needs an answer.
      const last = `ping ${data.length - size}`;
      while (!pongs.includes(last)) await once(socket, "pong");
    });
  }
  await check("empty fragments", async (open) => {
    const socket = await open("/echo");
    for (const part of ["", "a", "", "b"]) socket.send(part, { fin: false });
    socket.send("", { fin: true });
    const { data, isBinary } = await message(socket);
    equal([data.toString(), isBinary], ["ab", false]);
  });
  for (const size of [0, 1, 125]) {
    await check(`pong with ${size} bytes`, async (open) => {
      const socket = await open("/echo");
      const payload = randomBytes(size);
      socket.ping(payload);
      const [pong] = await once(socket, "pong");
      equal(pong.equals(payload), true);
    });
  }
  await check("many messages at once come back in order", async (open) => {
    const socket = await open("/echo");
    const sent = Array.from({ length: 500 }, (_, at) => `${at} `.repeat(at % 97));
    for (const text of sent) socket.send(text);
    const got = [];
    while (got.length < sent.length) got.push((await message(socket)).data.toString());
    equal(got, sent);
  });
}

async function silence(check) {
  if (!options.silence) return;
  await check("who says nothing and answers pings stays", async (open) => {
    const sockets = [await open("/echo"), await open("/play", [SUBPROTOCOL])];
    let pings = 0;
    for (const socket of sockets) socket.on("ping", () => (pings += 1));
    await sleep(options.silence * 1000);
    equal(pings >= 4, true);
    equal(sockets.map((socket) => socket.readyState), [WebSocket.OPEN, WebSocket.OPEN]);
    sockets[0].send("still here");
    equal((await message(sockets[0])).data.toString(), "still here");
  });
}

async function ends(check) {
  for (const code of [1000, 1001, 1011, 3000, 4000, 4999]) {
    await check(`close with ${code}`, async (open) => {
      const socket = await open("/echo");
      socket.close(code, "bye");
      equal(await socket.end, code);
    });
  }
  await check("close without a code", async (open) => {
    const socket = await open("/echo");
    socket.close();
    equal(await socket.end, 1005);
  });
  for (const [path, protocols] of [["/echo", []], ["/play", [SUBPROTOCOL]]]) {
    for (const { name, hex, code } of frames[path.slice(1)]) {
      await check(`${path}: ${name}`, async (open) => {
        const socket = await open(path, protocols);
        socket._socket.write(Buffer.from(hex.replaceAll(" ", ""), "hex"));
        equal(await socket.end, code);
      });
    }
  }
  if (!options.pid) return;
  await check("the server ends", async (open) => {
    const sockets = [await open("/echo"), await open("/play", [SUBPROTOCOL])];
    process.kill(Number(options.pid), "SIGTERM");
    equal(await Promise.all(sockets.map((socket) => socket.end)), [1001, 1001]);
  });
}

if (!url) {
  console.error("usage: node ws-peer.mjs --url ws://127.0.0.1:7070 [--pid PID] [--silence SECONDS]");
  process.exit(2);
}
await handshakes(check);
await echoes(check);
await silence(check);
await ends(check);
console.log(`ws: ${passed} passed, ${failed} failed`);
process.exit(failed > 0 || passed === 0 ? 1 : 0);
