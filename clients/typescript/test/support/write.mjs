/** What a server writes, for tests: the other half of the wire, kept apart from the code that it proves. */
import { Writer, utf8, width, zigzag } from "../../dist/wire.js";

/** A stream of bits, the lowest bit first. */
export class BitWriter {
  #bits = [];
  write(value, count) {
    for (let i = 0; i < count; i++) this.#bits.push((value >>> i) & 1);
    return this;
  }
  finish() {
    const bytes = new Uint8Array(Math.ceil(this.#bits.length / 8));
    this.#bits.forEach((bit, i) => (bytes[i >>> 3] |= bit << (i & 7)));
    return bytes;
  }
}

export const bytes = (fill) => {
  const writer = new Writer();
  fill(writer);
  return writer.finish();
};

export const hex = (text) => Uint8Array.from(text.replace(/\s/g, "").match(/../g) ?? [], (b) => parseInt(b, 16));

const str8 = (w, text) => w.u8(utf8(text).length).put(utf8(text));
const entity = (w, e) => {
  w.varint(e.slot).u8(e.generation ?? 0).varint(e.kind ?? 0);
  for (const n of e.row) w.zigzag(n);
  str8(w, e.statics ?? "");
};

/** A tick message without its type. */
export const tick = (number, blocks = [], { seq = 0, depth = 0, flags = 0 } = {}) =>
  bytes((w) => {
    w.u32(number).u32(seq).u8(depth).u8(flags);
    for (const [kind, content] of blocks) w.varint(kind).varint(content.length).put(content);
  });

export const view = (...cells) => [1, bytes((w) => cells.reduce((w, c) => w.varint(c), w.varint(cells.length)))];

export const snapshot = (cell, sum, ...entities) => [
  3,
  bytes((w) => {
    w.varint(cell).u32(sum).varint(entities.length);
    for (const e of entities) entity(w, e);
  }),
];

export const delta = (cell, { base = 1, sum, changes, leaves, enters } = {}) => [
  2,
  bytes((w) => {
    const parts = [sum, leaves, enters, changes];
    const short = base < 16 ? base << 4 : 0;
    w.varint(cell).u8(parts.reduce((bits, part, i) => bits | (part === undefined ? 0 : 1 << i), short));
    if (short === 0) w.varint(base);
    if (sum !== undefined) w.u32(sum);
    if (leaves !== undefined) {
      w.varint(leaves.length);
      for (const [slot, where] of leaves) w.varint(slot).varint(where);
    }
    if (enters !== undefined) {
      w.varint(enters.length);
      for (const e of enters) entity(w, e);
    }
    if (changes !== undefined) w.put(changes);
  }),
];

/** Changes to all members of one kind: the residuals of each field in member order, undefined where a field has none. */
export const changesToAll = (...fields) => {
  const bits = new BitWriter().write(0, 2);
  for (const residuals of fields) {
    if (!residuals) {
      bits.write(0, 2);
      continue;
    }
    const coded = residuals.map(zigzag);
    const each = Math.max(1, ...coded.map(width));
    bits.write(1, 2).write(each - 1, 5);
    for (const r of coded) bits.write(r, each);
  }
  return bits.finish();
};

export const age = (a) => [4, bytes((w) => w.varint(a))];
export const self = (e) => [
  5,
  bytes((w) => {
    w.varint(e.slot).u8(e.generation ?? 0).varint(e.kind ?? 0);
    for (const n of e.row) w.zigzag(n);
  }),
];
export const reliable = (number, cls, fill) => [6, bytes((w) => fill(w.varint(number).varint(cls)))];
export const chat = (number, player, name, text) =>
  reliable(number, 1, (w) => str8(w.varint(player), name).put(utf8(text)));
export const message = (number, kind, text) => reliable(number, 0, (w) => str8(w, kind).put(utf8(text)));
export const award = (number, points, reason) => reliable(number, 2, (w) => w.zigzag(points).put(utf8(reason)));
export const property = (number, owner, key, value) =>
  reliable(number, 3, (w) => str8(w.varint(owner), key).put(utf8(value)));
export const heard = (number) => [7, bytes((w) => w.varint(number))];
export const transient = (cell, kind, text) => [8, bytes((w) => str8(w.varint(cell), kind).put(utf8(text)))];

/** A field for a schema. */
export const field = (name, { step = 1, offset = 0, min = -(2 ** 31), max = 2 ** 31 - 1, velocityOf } = {}) => ({
  name, step, offset, min, max, velocityOf,
});

/** The schema of the arena, nearly. */
export const SCHEMA = {
  kinds: [
    {
      name: "player",
      fields: [
        field("x", { step: 1 / 16 }),
        field("y", { step: 1 / 16 }),
        field("vx", { velocityOf: 0 }),
        field("vy", { velocityOf: 1 }),
        field("score"),
      ],
    },
    { name: "coin", fields: [field("x", { step: 1 / 16 }), field("y", { step: 1 / 16 })] },
  ],
  input: [field("dx", { step: 1 / 127, min: -127, max: 127 }), field("dy", { step: 1 / 127, min: -127, max: 127 })],
};

const f64 = (w, value) => w.put(new Uint8Array(Float64Array.of(value).buffer));
const list = (w, items, item) => {
  w.num(items.length);
  for (const i of items) item(w, i);
};
const putField = (w, f) => {
  f64(f64(w.string(f.name), f.step), f.offset).num(zigzag(f.min)).num(zigzag(f.max));
  if (f.velocityOf === undefined) w.u8(0);
  else w.u8(1).num(f.velocityOf);
};
const putTags = (w, tags) => list(w, tags, (w, [tag, value]) => w.num(tag).bytes(value));

export const welcome = ({ player = 7, schema = SCHEMA, tick = 100, tags = [] } = {}) =>
  bytes((w) => {
    w.u8(1).num(0).num(player).bytes(new Uint8Array()).string("arena-1").string("arena").num(tick).num(20).num(50_000);
    list(w, schema.kinds, (w, kind) => list(w.string(kind.name), kind.fields, putField));
    list(w, schema.input, putField);
    putTags(w, tags);
  });
export const redirect = (url) => bytes((w) => w.u8(1).num(1).string(url).num(0));
export const refused = (code, text, retryAfterMs) =>
  bytes((w) => {
    w.u8(1).num(2).num(code).string(text);
    if (retryAfterMs === undefined) w.u8(0);
    else w.u8(1).num(retryAfterMs);
    w.num(0);
  });
export const pong = (stamp, tick = 0, since = 0) => bytes((w) => w.u8(3).put(stamp).u32(tick).u32(since));
/** A whole tick message, as it comes out of the socket. */
export const tickMessage = (...args) => bytes((w) => w.u8(2).put(tick(...args)));

const sumOfWords = (lists) => {
  let sum = 0n;
  for (const words of lists) {
    let h = 0x811c9dc5n;
    for (const w of words) {
      h = BigInt.asUintN(32, (h ^ BigInt.asUintN(32, BigInt(w))) * 0x01000193n);
      h ^= h >> 15n;
    }
    h = BigInt.asUintN(32, (h ^ (h >> 16n)) * 0x7feb352dn);
    h = BigInt.asUintN(32, (h ^ (h >> 15n)) * 0x846ca68bn);
    h ^= h >> 16n;
    sum = BigInt.asUintN(32, sum + h);
  }
  return Number(sum);
};

/** The sum of section 5, the naive way. */
export const sumOf = (...entities) =>
  sumOfWords(entities.map((e) => [e.slot + (e.generation ?? 0) * 2 ** 24, e.kind ?? 0, ...e.row]));

/** What a check says of cells and as of when each is held, the naive way. */
export const viewSumOf = (...held) => sumOfWords(held);
