/** The golden bytes that every implementation of the wire is held to. Each file says what it holds. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import {
  readControl, readPong, writeAck, writeHello, writeInput, writeMessage, writePing, writeRepair,
} from "../dist/messages.js";
import { BitReader, ProtocolError, Reader } from "../dist/wire.js";
import { World } from "../dist/world.js";
import { bytes, hex, sumOf } from "./support/write.mjs";

const home = new URL("../../../protocol/vectors/", import.meta.url);
const load = (file) => JSON.parse(readFileSync(new URL(file, home), "utf8"));
const toHex = (b) => Buffer.from(b).toString("hex");
const refuses = (read, why) => assert.throws(read, ProtocolError, why);

/** Cut anywhere after its type byte, or with a byte more, a message is malformed. */
function refusesCut(read, whole) {
  for (let length = 1; length < whole.length; length++) refuses(() => read(whole.subarray(1, length)), `cut to ${length}`);
  refuses(() => read(Uint8Array.of(...whole.subarray(1), 0)), "a byte more");
}

const WHY = ["misfit", "sum", "check"];

// What each file's tests do with it; a file that is not here fails.
const HOLDS = {
  "primitives.json": primitives,
  "control.json": control,
  "input.json": input,
  "stream.json": stream,
};

for (const file of readdirSync(home).filter((name) => name.endsWith(".json"))) {
  if (HOLDS[file]) HOLDS[file](load(file));
  else test(`${file} is held to`, () => assert.fail("nobody reads this file"));
}

function primitives(vectors) {
  const whole = (read) => (text) => {
    const reader = new Reader(hex(text));
    const value = read(reader);
    reader.end();
    return value ?? null;
  };
  const readers = {
    varint: whole((r) => r.varint()),
    zigzag: whole((r) => r.zigzag()),
    num: whole((r) => r.num32()),
    int: whole((r) => r.int32()),
    f64: whole((r) => r.f64()),
    str8: whole((r) => r.str8()),
    string: whole((r) => r.string()),
    option: whole((r) => r.option((o) => o.num32())),
  };
  const writers = {
    varint: (w, value) => w.varint(value),
    zigzag: (w, value) => w.zigzag(value),
    num: (w, value) => w.num(value),
    string: (w, value) => w.string(value),
  };
  for (const [name, cases] of Object.entries(vectors)) {
    if (name === "about" || name === "bits" || name === "entity_hash") continue;
    test(`vectors: ${name}`, () => {
      const read = readers[name];
      assert.ok(read, `nobody reads ${name}`);
      for (const { hex, value } of [...cases.valid, ...(cases.longer ?? [])]) assert.equal(read(hex), value, hex);
      for (const { hex, value } of writers[name] ? cases.valid : []) {
        assert.equal(toHex(bytes((w) => writers[name](w, value))), hex);
      }
      for (const { hex, about } of cases.malformed ?? []) refuses(() => read(hex), about);
    });
  }
  test("vectors: bits", () => {
    const read = (text, widths) => {
      const reader = new BitReader(hex(text));
      const values = widths.map((w) => reader.read(w));
      reader.end();
      return values;
    };
    for (const { hex, widths, values } of vectors.bits.valid) assert.deepEqual(read(hex, widths), values);
    for (const { hex, widths, about } of vectors.bits.malformed) refuses(() => read(hex, widths), about);
  });
  test("vectors: entity_hash", () => {
    // Of the naive twin in these tests; that of the client is checked by the sums of the scripts.
    for (const { hash, ...entity } of vectors.entity_hash) assert.equal(sumOf(entity), hash);
  });
}

function control(vectors) {
  const SEEKS = { join_or_create: "joinOrCreate", join: "join", create: "create", room: "room" };
  const write = ({ hello, message }) => {
    if (message) return writeMessage(message.number, message.kind, hex(message.payload));
    const [[how, where]] = Object.entries(hello.seek);
    const seek = { how: SEEKS[how], [how === "room" ? "room" : "game"]: where };
    return writeHello({ ...hello, seek, options: hex(hello.options), resume: hex(hello.resume) });
  };
  test("vectors: control messages of the client", () => {
    const ours = vectors.client.filter(({ value }) => (value.hello ?? value.message).tags.length === 0);
    assert.ok(ours.length >= 5);
    for (const { hex, value, about } of ours) assert.equal(toHex(write(value)), hex, about);
  });

  const field = ({ velocity_of, ...rest }) => ({ ...rest, velocityOf: velocity_of ?? undefined });
  const expected = {
    welcome: ({ resume, step_micros, tick_rate, schema, tags, ...rest }) => ({
      type: "welcome", ...rest, resume: hex(resume), step: step_micros, tickRate: tick_rate, unknownTags: tags.length,
      schema: { kinds: schema.kinds.map((k) => ({ ...k, fields: k.fields.map(field) })), input: schema.input.map(field) },
    }),
    redirect: ({ tags, url }) => ({ type: "redirect", url, unknownTags: tags.length }),
    refused: ({ code, text, retry_after_millis, tags }) => ({
      type: "refused", code, text, retryAfterMs: retry_after_millis ?? undefined, unknownTags: tags.length,
    }),
  };
  test("vectors: control messages of the server", () => {
    for (const { hex: text, value, about } of vectors.server) {
      const [[name, content]] = Object.entries(value);
      assert.deepEqual(readControl(hex(text).subarray(1)), expected[name](content), about);
      refusesCut(readControl, hex(text));
    }
  });
  test("vectors: control messages of the server that are malformed", () => {
    for (const { hex: text, about } of vectors.server_malformed) refuses(() => readControl(hex(text).subarray(1)), about);
  });
}

function input(vectors) {
  const stampOf = (text) => new DataView(hex(text).buffer).getBigUint64(0, true);
  const writers = {
    input: ({ seq, ack, render_tick, row }) => writeInput(seq, ack, render_tick, row),
    ack: ({ ack }) => writeAck(ack),
    ping: ({ stamp }) => writePing(stampOf(stamp)),
    repair: ({ why, tick, cells }) => writeRepair({ why: WHY[why - 1], tick, cells }),
  };
  for (const [name, cases] of Object.entries(vectors)) {
    if (name === "about" || name === "schema" || name === "pong" || name === "want") continue; // This client never wants.
    test(`vectors: ${name}`, () => {
      for (const c of cases.valid) assert.equal(toHex(writers[name](c)), c.hex);
    });
  }
  test("vectors: pong", () => {
    for (const { hex: text, stamp, tick, micros } of vectors.pong.valid) {
      assert.deepEqual(readPong(hex(text).subarray(1)), { stamp: stampOf(stamp), tick, sinceTick: micros });
      refusesCut(readPong, hex(text));
    }
    for (const { hex: text, about } of vectors.pong.malformed) refuses(() => readPong(hex(text).subarray(1)), about);
  });
}

function stream(vectors) {
  const field = ({ velocity_of, ...rest }) => ({ ...rest, velocityOf: velocity_of ?? undefined });
  const kinds = vectors.schema.kinds.map((kind) => ({ ...kind, fields: kind.fields.map(field) }));
  const schema = { kinds, input: vectors.schema.input.map(field) };
  const kindOf = (name) => kinds.findIndex((kind) => kind.name === name);
  const shown = ({ id, kind, row, statics }) => ({
    generation: id % 256, kind: kindOf(kind), row: [...row], slot: Math.floor(id / 256), statics,
  });

  const reliable = (number, message) => {
    const { type, ...content } = message;
    for (const key of ["payload", "value"]) if (content[key]) content[key] = toHex(content[key]);
    return { number, [type]: content };
  };
  const known = (world, update) => {
    const { violations, desyncs, sumsChecked, unknownBlocks, unknownClasses } = world.stats;
    const own = world.me && shown(world.me);
    if (own) delete own.statics;
    return {
      cells: world.cells().sort((a, b) => a.cell - b.cell),
      counts: { blocks_unknown: unknownBlocks, desyncs, reliable_unknown: unknownClasses, sums_checked: sumsChecked, violations },
      own: own ?? null,
      reliable_heard: world.ack,
      transient: update.transients.map(({ cell, kind, payload }) => ({ cell, kind, payload: toHex(payload) })),
      view: world.view,
      view_complete: world.complete,
      visible: [...world.entities()].map(shown).sort((a, b) => a.slot - b.slot),
      mismatch: update.mismatch ? WHY.indexOf(update.mismatch) + 1 : null,
      wants: [...update.wanted].sort((a, b) => a - b),
    };
  };
  /** What the collections tell must add up to what is visible: nobody twice, nobody left behind. */
  const follow = (world) => {
    const here = new Map();
    for (const { name } of kinds) {
      world.kind(name).onAdd((entity, id) => {
        assert.ok(!here.has(id), "added once");
        here.set(id, entity);
      });
      world.kind(name).onRemove((_, id) => assert.ok(here.delete(id), "removed once"));
      world.kind(name).onChange((_, id) => assert.ok(here.has(id), "changed while here"));
    }
    return here;
  };

  for (const script of vectors.scripts) {
    test(`vectors: ${script.about}`, () => {
      const world = new World(schema);
      const here = follow(world);
      let heard = 0;
      let ack = 0;
      for (const { about, hex: text, expect } of script.messages) {
        const { header, message_heard, reliable: told, ...rest } = expect;
        const update = world.apply(hex(text).subarray(1));
        world.announce(update);
        assert.deepEqual(known(world, update), rest, about);
        assert.deepEqual([...here.values()].sort((a, b) => a.id - b.id).map(shown), expect.visible, about);
        assert.deepEqual({ tick: update.tick, seq: update.seq, depth: update.depth }, { tick: header.tick, seq: header.seq, depth: header.depth });
        assert.equal((heard = update.heard ?? heard), message_heard, about);
        const ours = told.filter((message) => !("unknown" in message));
        assert.deepEqual(update.reliable.map((message, i) => reliable(ours[i]?.number, message)), ours, about);
        assert.equal(world.ack - ack, told.length, about);
        ack = world.ack;
      }
    });
  }
  test("vectors: malformed tick messages", () => {
    for (const { about, before, hex: text } of vectors.malformed) {
      const world = new World(schema);
      for (const message of before) world.apply(hex(message).subarray(1));
      refuses(() => world.apply(hex(text).subarray(1)), about);
    }
  });
}
