// The demo page in Chromium, by several ways to the same server at once: it plays, then nobody touches anything for a while, then it
// plays on, on the same connection. A second connection, to /echo, has nothing to say in between at all.
//
//     node through.mjs --way nginx=https://localhost:8443/ --way … [--idle 90] [--proxy http://127.0.0.1:3128] [--key SPKI]
//
// --key is the base64 SHA-256 of the public key that a server may show though nobody trusts it.

import { parseArgs } from "node:util";

import { launch } from "./chromium.mjs";

const STEP_MS = 20_000;

const { values: options } = parseArgs({
  options: {
    way: { type: "string", multiple: true },
    idle: { type: "string", default: "90" },
    proxy: { type: "string" },
    key: { type: "string" },
    chromium: { type: "string", default: "/usr/bin/chromium" },
  },
});
const complaints = [];
let passed = 0;

const args = [];
if (options.key) args.push(`--ignore-certificate-errors-spki-list=${options.key}`);
// Chromium asks no proxy for what is on this machine unless it is told to.
if (options.proxy) args.push(`--proxy-server=${options.proxy}`, "--proxy-bypass-list=<-loopback>");
const browser = await launch(options.chromium, ...args);
try {
  await Promise.all(options.way.map(async (way) => {
    const [name, url] = [way.slice(0, way.indexOf("=")), way.slice(way.indexOf("=") + 1)];
    await play(name, url).catch((error) => complaints.push(`${name}: ${error.message}`));
  }));
} finally {
  await browser.close();
}
for (const complaint of complaints) console.log(`FAILED ${complaint}`);
console.log(`through: ${passed} passed, ${complaints.length} failed`);
process.exit(complaints.length > 0 ? 1 : 0);

async function play(name, url) {
  const page = await (await browser.newContext({ viewport: { width: 640, height: 480 } })).newPage();
  page.setDefaultTimeout(STEP_MS);
  const complain = (what) => complaints.push(`${name}: ${what}`);
  let leaving = false;
  page.on("console", (line) => line.type() === "error" && complain(`console: ${line.text()}`));
  page.on("pageerror", (error) => complain(error.message));
  page.on("websocket", (socket) => socket.on("close", () => leaving || complain(`${socket.url()} was closed`)));
  await page.goto(new URL(`?name=${name}`, url).href);
  await until(`${name} is in`, () =>
    page.evaluate(() => Boolean(window.tickyard?.room.me && window.tickyard.room.state.complete)),
  );
  await walk(name, page);
  await page.evaluate(() => {
    window.silent = new WebSocket(new URL("/echo", location.href.replace("http", "ws")));
    window.silent.onmessage = ({ data }) => (window.heard = data);
  });
  await echo(name, page, "hello");
  await new Promise((resolve) => setTimeout(resolve, Number(options.idle) * 1000));
  await echo(name, page, `still here after ${options.idle} s`);
  await walk(name, page);
  leaving = true;
  await page.close();
}

/** A step, away from the nearer wall. */
async function walk(name, page) {
  const place = () => page.evaluate(() => window.tickyard.room.me.x);
  const before = await place();
  const key = before > 2048 ? "ArrowLeft" : "ArrowRight";
  await page.keyboard.down(key);
  await until(`${name} walks`, async () => Math.abs((await place()) - before) > 20);
  await page.keyboard.up(key);
}

async function echo(name, page, words) {
  await until(`${name} has a silent socket`, () => page.evaluate(() => window.silent.readyState === WebSocket.OPEN));
  await page.evaluate((words) => window.silent.send(words), words);
  await until(`${name} hears ${words}`, async () => (await page.evaluate(() => window.heard)) === words);
}

/** Asks until it is so; that is one thing passed. */
async function until(what, good) {
  const end = Date.now() + STEP_MS;
  while (!(await good())) {
    if (Date.now() > end) throw new Error(`${what}: not within ${STEP_MS / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  passed += 1;
}
