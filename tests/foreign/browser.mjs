// Two people in two tabs of the demo page, in the installed Chromium: one walks to the other and is seen moving, a line
// of chat arrives, the board changes, and nothing is wrong on the console. And a stranger's script on the page gets nowhere.
//
//     node browser.mjs --url http://127.0.0.1:7070/ [--chromium /usr/bin/chromium] [--screenshot FILE]

import { parseArgs } from "node:util";

import { launch } from "./chromium.mjs";

const WALK_MS = 60_000;
const STEP_MS = 15_000;
const VIEWPORT = { width: 1280, height: 800 };

const { values: options } = parseArgs({
  options: {
    url: { type: "string", default: "http://127.0.0.1:7070/" },
    chromium: { type: "string", default: "/usr/bin/chromium" },
    screenshot: { type: "string" },
  },
});
const complaints = [];
let passed = 0;

const browser = await launch(options.chromium);
try {
  await meet(await person("Ada"), await person("Grace"));
  await strangers();
} catch (error) {
  complaints.push(error.message);
} finally {
  await browser.close();
}
for (const complaint of complaints) console.log(`FAILED ${complaint}`);
console.log(`browser: ${passed} passed, ${complaints.length} failed`);
process.exit(complaints.length > 0 ? 1 : 0);

async function meet(ada, grace) {
  const id = await ada.page.evaluate(() => window.tickyard.room.me.id);
  const seen = () => grace.page.evaluate((id) => {
    const entity = window.tickyard.room.players.get(id);
    return entity && { x: entity.x, y: entity.y, name: entity.name ?? entity.statics };
  }, id);

  await until("one walks until the other sees her", WALK_MS, async () => {
    const [from, to] = [await place(ada), await place(grace)];
    await hold(ada, [
      ["ArrowRight", to.x - from.x > 100],
      ["ArrowLeft", from.x - to.x > 100],
      ["ArrowDown", to.y - from.y > 100],
      ["ArrowUp", from.y - to.y > 100],
    ]);
    return (await seen()) !== undefined && Math.hypot(to.x - from.x, to.y - from.y) < 250;
  });
  await hold(ada, []);

  const before = await seen();
  const key = before.x > 2048 ? "ArrowLeft" : "ArrowRight";
  await hold(ada, [[key, true]]);
  await until("the other sees her move", STEP_MS, async () => Math.abs((await seen()).x - before.x) > 60);
  await hold(ada, []);
  await until("both agree where she stands", STEP_MS, async () => {
    const [mine, hers] = [await place(ada), await seen()];
    return mine.x === hers.x && mine.y === hers.y;
  });

  const board = await text(grace, "#board");
  await say(ada, "Hello from the first tab");
  await until("a line of chat arrives", STEP_MS, async () =>
    (await text(grace, "#log")).includes("Ada Hello from the first tab"),
  );
  await until("the board changes", STEP_MS, async () => (await text(grace, "#board")) !== board);
  if (options.screenshot) {
    await grace.page.screenshot({ path: options.screenshot });
    console.log(`a picture of it: ${options.screenshot}`);
  }
  await ada.page.close();
  await until("who has left is not seen any longer", STEP_MS, async () => (await seen()) === undefined);
}

/** What the page's own server did not send neither runs nor loads nor connects on it. */
async function strangers() {
  const page = await browser.newPage();
  await page.goto(options.url);
  await page.evaluate(() => {
    window.refused = [];
    document.addEventListener("securitypolicyviolation", (event) => window.refused.push(event.effectiveDirective));
    const add = (tag, properties) => document.body.append(Object.assign(document.createElement(tag), properties));
    add("script", { textContent: "window.stranger = true" });
    add("script", { src: "http://127.0.0.1:1/script.js" });
    add("img", { src: "http://127.0.0.1:1/picture.png" });
    add("iframe", { src: "http://127.0.0.1:1/" });
    document.body.setAttribute("style", "opacity: 0");
    fetch("http://127.0.0.1:1/").catch(() => {});
    try {
      new WebSocket("ws://127.0.0.1:1/");
    } catch {
      // A browser may throw, or let it fail later.
    }
  });
  const owed = "connect-src connect-src frame-src img-src script-src-elem script-src-elem style-src-attr";
  await until("a stranger's script gets nowhere", STEP_MS, () =>
    page.evaluate((owed) => window.refused.sort().join(" ") === owed && !window.stranger, owed),
  );
  await page.close();
}

/** A tab of its own, in the game. */
async function person(name) {
  const context = await browser.newContext({ viewport: VIEWPORT });
  const page = await context.newPage();
  page.setDefaultTimeout(STEP_MS);
  const complain = (what) => complaints.push(`${name}'s page: ${what}`);
  page.on("console", (line) => line.type() === "error" && complain(`console: ${line.text()}`));
  page.on("pageerror", (error) => complain(error.message));
  page.on("requestfailed", (request) => complain(`${request.url()}: ${request.failure()?.errorText}`));
  page.on("response", (answer) => answer.status() >= 400 && complain(`${answer.url()}: ${answer.status()}`));
  await page.goto(new URL(`?name=${name}`, options.url).href);
  const them = { page, held: new Set() };
  await until(`${name} is in`, STEP_MS, () =>
    page.evaluate(() => Boolean(window.tickyard?.room.me && window.tickyard.room.state.complete)),
  );
  return them;
}

function place({ page }) {
  return page.evaluate(() => ({ x: window.tickyard.room.me.x, y: window.tickyard.room.me.y }));
}

function text({ page }, selector) {
  return page.evaluate((selector) => document.querySelector(selector).textContent, selector);
}

/** Presses and releases keys until exactly the wanted ones are down. */
async function hold({ page, held }, wanted) {
  const down = new Set(wanted.filter(([, is]) => is).map(([key]) => key));
  for (const key of held) if (!down.has(key)) await page.keyboard.up(key);
  for (const key of down) if (!held.has(key)) await page.keyboard.down(key);
  held.clear();
  for (const key of down) held.add(key);
}

async function say({ page }, line) {
  await page.keyboard.press("Enter");
  await page.keyboard.type(line);
  await page.keyboard.press("Enter");
}

/** Asks until it is so; that is one thing passed. */
async function until(what, patienceMs, good) {
  const end = Date.now() + patienceMs;
  while (!(await good())) {
    if (Date.now() > end) throw new Error(`${what}: not within ${patienceMs / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  passed += 1;
}
