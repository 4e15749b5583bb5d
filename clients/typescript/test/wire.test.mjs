import assert from "node:assert/strict";
import { test } from "node:test";
import { BitReader, ProtocolError, Reader, Writer, unzigzag, width, zigzag } from "../dist/wire.js";
import { BitWriter, bytes, hex } from "./support/write.mjs";

const rejects = (read, text, why) => assert.throws(() => read(new Reader(hex(text))), { name: "ProtocolError", ...why });

test("a varint is read as it was written, up to 32 bits", () => {
  for (const value of [0, 1, 127, 128, 300, 0x3fff, 0x4000, 0x0fff_ffff, 0x1000_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
    const reader = new Reader(bytes((w) => w.varint(value)));
    assert.equal(reader.varint(), value);
    reader.end();
  }
  assert.deepEqual(bytes((w) => w.varint(300)), hex("ac 02"));
});

test("a varint that is longer or larger than 32 bits is malformed", () => {
  rejects((r) => r.varint(), "ff ff ff ff 10");
  rejects((r) => r.varint(), "80 80 80 80 80 00");
  rejects((r) => r.varint(), "80 80");
  rejects((r) => r.varint(), "");
});

test("zigzag keeps small numbers of both signs small and reaches both ends of an i32", () => {
  assert.deepEqual([0, -1, 1, -2, 2147483647, -2147483648].map(zigzag), [0, 1, 2, 3, 0xffff_fffe, 0xffff_ffff]);
  for (const n of [0, -1, 1, -2, 2147483647, -2147483648]) assert.equal(unzigzag(zigzag(n)), n);
});

test("a bincode number takes the width that its first byte names", () => {
  for (const [text, value] of [["fa", 250], ["fb fb 00", 251], ["fb ff ff", 65535], ["fc 00 00 01 00", 65536], ["fd 00 00 00 00 01 00 00 00", 2 ** 32]]) {
    assert.equal(new Reader(hex(text)).num(), value);
    assert.deepEqual(bytes((w) => w.num(value)), hex(text));
  }
  rejects((r) => r.num(), "fd ff ff ff ff ff ff ff ff");
  rejects((r) => r.num(), "fe 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00");
  rejects((r) => r.num32(), "fd 00 00 00 00 01 00 00 00");
  rejects((r) => r.num(), "fc 00 00 01");
});

test("a false length ends at the last byte and allocates nothing", () => {
  rejects((r) => r.bytes(), "fc ff ff ff ff 00");
  rejects((r) => r.string(), "05 61");
  rejects((r) => r.list((item) => item.u8()), "fc ff ff ff ff 00");
});

test("numbers that are not finite, options of a third kind and text that is not UTF-8 are malformed", () => {
  rejects((r) => r.f64(), "00 00 00 00 00 00 f8 7f");
  rejects((r) => r.f64(), "00 00 00 00 00 00 f0 ff");
  assert.equal(new Reader(hex("00 00 00 00 00 00 f0 3f")).f64(), 1);
  rejects((r) => r.option((item) => item.u8()), "02 00");
  rejects((r) => r.str8(), "01 ff");
  assert.equal(new Reader(hex("04 ef bb bf 61")).str8(), "\ufeffa");
});

test("left over bytes are malformed", () => {
  assert.throws(() => new Reader(hex("00")).end(), ProtocolError);
});

test("bits of every width come back, across bytes", () => {
  const writer = new BitWriter();
  const values = Array.from({ length: 33 }, (_, w) => (w === 0 ? 0 : (0xdead_beef >>> (32 - w)) >>> 0));
  values.forEach((value, w) => writer.write(value, w));
  const reader = new BitReader(writer.finish());
  values.forEach((value, w) => assert.equal(reader.read(w), value));
  reader.end();
});

test("a bit stream that ends early, late or in anything but zeros is malformed", () => {
  assert.throws(() => new BitReader(hex("ff")).read(9), ProtocolError);
  assert.throws(() => new BitReader(hex("00 00")).end(), ProtocolError);
  const padded = new BitReader(hex("81"));
  padded.read(1);
  assert.throws(() => padded.end(), ProtocolError);
});

test("the width of a number is the bits that it needs", () => {
  assert.deepEqual([0, 1, 2, 3, 4, 5, 255, 256, 0xffff_ffff].map(width), [0, 1, 2, 2, 3, 3, 8, 9, 32]);
});

test("a writer grows", () => {
  const writer = new Writer();
  for (let i = 0; i < 1000; i++) writer.u32(i);
  assert.equal(writer.finish().length, 4000);
});
