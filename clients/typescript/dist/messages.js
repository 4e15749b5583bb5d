/**
 * The messages of the wire: control messages both ways, what a client sends each tick, and the frame of a tick message.
 *
 * What the blocks of a tick do to the world is `world.ts`; this file only tells them apart. All functions are pure.
 */
import { ProtocolError, Reader, Writer } from "./wire.js";
/** The subprotocol to offer when the WebSocket opens. */
export const SUBPROTOCOL = "tickyard.v1";
/** The version that `Hello` names. */
export const VERSION = 1;
/** The first byte of each message. */
export const TYPE = { control: 1, input: 2, tick: 2, ping: 3, pong: 3, ack: 4, want: 5, repair: 6 };
/** By their numbers on the wire, from 1 on. */
const REPAIR_WHY = ["misfit", "sum", "check"];
/** What a tick message consists of. */
export const BLOCK = {
    view: 1,
    delta: 2,
    snapshot: 3,
    age: 4,
    self: 5,
    reliable: 6,
    heard: 7,
    transient: 8,
    check: 9,
};
/** No message of a server is longer; what is, is not read. */
export const MESSAGE_BYTES_MAX = 1024 * 1024;
/** A server takes this many cells in one message. */
export const WANT_CELLS_MAX = 64;
// From the client
export function writeHello(hello) {
    const writer = new Writer().u8(TYPE.control).num(0).num(VERSION).string(hello.build);
    writeSeek(writer, hello.seek);
    writer.string(hello.name).bytes(hello.options).string(hello.token).bytes(hello.resume);
    return writer.num(NO_TAGS).finish();
}
export function writeMessage(number, kind, payload) {
    return new Writer().u8(TYPE.control).num(1).num(number).string(kind).bytes(payload).num(NO_TAGS).finish();
}
export function writeInput(seq, ack, renderTick, row) {
    const writer = new Writer().u8(TYPE.input).u32(seq).u32(ack).u32(renderTick);
    for (let i = 0; i < row.length; i++)
        writer.zigzag(row[i]);
    return writer.finish();
}
/** The stamp comes back in the pong. */
export function writePing(stamp) {
    return new Writer().u8(TYPE.ping).u64(stamp).finish();
}
export function writeAck(ack) {
    return new Writer().u8(TYPE.ack).u32(ack).finish();
}
/** At most {@link WANT_CELLS_MAX} cells. */
/** Your world is not the server's: it tells all of your view anew. */
export function writeRepair({ why, tick, cells }) {
    const named = cells.slice(0, WANT_CELLS_MAX);
    const writer = new Writer().u8(TYPE.repair).u8(REPAIR_WHY.indexOf(why) + 1).u32(tick).varint(named.length);
    for (const cell of named)
        writer.varint(cell);
    return writer.finish();
}
// From the server; each takes the bytes after the type
export function readControl(bytes) {
    const reader = new Reader(bytes);
    const variant = reader.num32();
    if (variant > 2)
        throw new ProtocolError(`a control message of variant ${variant}`);
    const control = variant === 0 ? readWelcome(reader) : variant === 1 ? readRedirect(reader) : readRefused(reader);
    reader.end();
    return control;
}
export function readPong(bytes) {
    const reader = new Reader(bytes);
    const pong = { stamp: reader.u64(), tick: reader.u32(), sinceTick: reader.u32() };
    reader.end();
    return pong;
}
export function readTick(bytes) {
    if (bytes.length > MESSAGE_BYTES_MAX)
        throw new ProtocolError(`a message of ${bytes.length} bytes`);
    const reader = new Reader(bytes);
    const [tick, seq, depth, flags] = [reader.u32(), reader.u32(), reader.u8(), reader.u8()];
    const blocks = [];
    while (reader.left > 0)
        blocks.push({ kind: reader.varint(), bytes: reader.take(reader.varint()) });
    return { tick, seq, depth, viewComplete: (flags & 1) !== 0, skipped: (flags & 2) !== 0, blocks };
}
/** A whole `reliable` block. */
export function readReliable(bytes) {
    const reader = new Reader(bytes);
    const number = reader.varint();
    const content = readReliableContent(reader.varint(), reader);
    reader.end();
    return { number, content };
}
/** A whole `transient` block, as of `tick`. */
export function readTransient(bytes, tick) {
    const reader = new Reader(bytes);
    return { tick, cell: reader.varint(), kind: reader.str8(), payload: reader.rest() };
}
const NO_TAGS = 0;
const KINDS_MAX = 64;
const FIELDS_MAX = 16;
function writeSeek(writer, seek) {
    switch (seek.how) {
        case "joinOrCreate":
            return void writer.num(0).string(seek.game);
        case "join":
            return void writer.num(1).string(seek.game);
        case "create":
            return void writer.num(2).string(seek.game);
        case "room":
            return void writer.num(3).string(seek.room);
    }
}
function readWelcome(reader) {
    return {
        type: "welcome",
        player: reader.num32(),
        resume: reader.bytes().slice(),
        room: reader.string(),
        game: reader.string(),
        tick: reader.num32(),
        tickRate: reader.num32(),
        step: reader.num32(),
        schema: readSchema(reader),
        unknownTags: skipTags(reader),
    };
}
function readRedirect(reader) {
    return { type: "redirect", url: reader.string(), unknownTags: skipTags(reader) };
}
function readRefused(reader) {
    return {
        type: "refused",
        code: reader.num32(),
        text: reader.string(),
        retryAfterMs: reader.option((r) => r.num()),
        unknownTags: skipTags(reader),
    };
}
function readSchema(reader) {
    const kinds = reader.list((r) => ({ name: r.string(), fields: readFields(r) }));
    if (kinds.length > KINDS_MAX)
        throw new ProtocolError(`${kinds.length} kinds`);
    return { kinds, input: readFields(reader) };
}
function readFields(reader) {
    const fields = reader.list((r) => ({
        name: r.string(),
        step: r.f64(),
        offset: r.f64(),
        min: r.int32(),
        max: r.int32(),
        velocityOf: r.option((o) => o.num32()),
    }));
    if (fields.length > FIELDS_MAX)
        throw new ProtocolError(`${fields.length} fields`);
    fields.forEach((field, index) => {
        const { name, step, min, max, velocityOf } = field;
        if (step <= 0)
            throw new ProtocolError(`field ${name} has steps of ${step}`);
        if (min > max)
            throw new ProtocolError(`field ${name} has no room between min and max`);
        if (velocityOf === undefined)
            return;
        if (velocityOf >= fields.length || velocityOf === index || fields[velocityOf].velocityOf !== undefined) {
            throw new ProtocolError(`field ${name} is the velocity of no other field, or of another velocity`);
        }
    });
    return fields;
}
/** No tag has a meaning yet. */
function skipTags(reader) {
    return reader.list((r) => {
        r.num();
        r.bytes();
    }).length;
}
function readReliableContent(kind, reader) {
    // Payloads are copied: the message that they arrived in must not live as long as they do.
    switch (kind) {
        case 0:
            return { type: "message", kind: reader.str8(), payload: reader.rest().slice() };
        case 1:
            return { type: "chat", player: reader.varint(), name: reader.str8(), text: reader.restText() };
        case 2:
            return { type: "award", points: reader.zigzag(), reason: reader.restText() };
        case 3:
            return { type: "property", owner: reader.varint(), key: reader.str8(), value: reader.rest().slice() };
        default:
            reader.rest();
            return { type: "unknown", class: kind };
    }
}
