// The installed Chromium without a screen, which calls nobody but the page.

import { chromium } from "playwright-core";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Starts it; the caller closes it. */
export function launch(executablePath, ...args) {
  return chromium.launch({ executablePath, args: [...FLAGS, ...args], timeout: 30_000 });
}
