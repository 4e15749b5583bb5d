import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

const home = fileURLToPath(new URL("..", import.meta.url));

test("dist is what the sources compile to: the server has it inside", (t) => {
  const fresh = mkdtempSync(join(tmpdir(), "tickyard-dist-"));
  t.after(() => rmSync(fresh, { recursive: true }));
  execFileSync(process.execPath, [join(home, "node_modules/typescript/bin/tsc"), "-p", home, "--outDir", fresh]);
  const contents = (dir) => Object.fromEntries(readdirSync(dir).sort().map((file) => [file, readFileSync(join(dir, file), "utf8")]));
  const [expected, actual] = [contents(fresh), contents(join(home, "dist"))];
  const stale = [...new Set([...Object.keys(expected), ...Object.keys(actual)])].filter((f) => expected[f] !== actual[f]);
  assert.deepEqual(stale, [], "run `npm run build` and commit dist");
});

test("nothing is needed at run time but the platform", () => {
  for (const file of readdirSync(join(home, "dist")).filter((f) => f.endsWith(".js"))) {
    const from = [...readFileSync(join(home, "dist", file), "utf8").matchAll(/from "([^"]+)"/g)].map((m) => m[1]);
    assert.deepEqual(from.filter((name) => !/^\.\/[a-z]+\.js$/.test(name)), [], file);
  }
});
