// Pastes a piece of script into the console of the demo page, as a reader of the README does, and prints what comes out.
//
//     node console.mjs --url http://127.0.0.1:7070/ --seconds 3 --lines 1 < script
//
// Ends as soon as so many lines were printed; fails at an error, or when the time is up.

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

import { launch } from "./chromium.mjs";

const { values: options } = parseArgs({
  options: {
    url: { type: "string", default: "http://127.0.0.1:7070/" },
    chromium: { type: "string", default: "/usr/bin/chromium" },
    seconds: { type: "string", default: "5" },
    lines: { type: "string", default: "1" },
  },
});
const script = readFileSync(0, "utf8");
const browser = await launch(options.chromium);
const errors = [];
let lines = 0;
try {
  const page = await browser.newPage();
  await page.goto(options.url);
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (line) => {
    if (line.type() === "error") errors.push(line.text());
    console.log(line.text());
    lines += 1;
  });
  // The console takes `await` at the top.
  await page.evaluate(`(async () => { ${script}\n })()`);
  const end = Date.now() + Number(options.seconds) * 1000;
  while (lines < Number(options.lines) && Date.now() < end) await page.waitForTimeout(50);
} catch (error) {
  errors.push(error.message);
} finally {
  await browser.close();
}
for (const error of errors) console.error(error);
process.exit(errors.length > 0 || lines < Number(options.lines) ? 1 : 0);
