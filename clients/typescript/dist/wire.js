/**
 * Bytes in, numbers and text out, and back.
 *
 * Both encodings of the wire live here: the compact one of ticks and inputs (`varint`, `zigzag`, `bits`) and the
 * subset of bincode that control messages use (`num`, `int`, `string`, lists and options). Nothing here knows what a
 * message means. A reader never reads past its end and never allocates by a length that it was merely told.
 */
/** Bytes from the server broke the protocol. The connection that sent them is of no use any more. */
export class ProtocolError extends Error {
    name = "ProtocolError";
}
/** Reads one message, or one part of it, from front to back. */
export class Reader {
    #bytes;
    #view;
    #at = 0;
    constructor(bytes) {
        this.#bytes = bytes;
        this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    }
    /** How many bytes are left. */
    get left() {
        return this.#bytes.length - this.#at;
    }
    /** Nothing may be left: a part that ends late is as broken as one that ends early. */
    end() {
        if (this.left !== 0)
            throw new ProtocolError(`${this.left} bytes left over`);
    }
    /** The next `length` bytes, not copied. */
    take(length) {
        const from = this.#skip(length);
        return this.#bytes.subarray(from, this.#at);
    }
    /** All that is left, not copied. */
    rest() {
        return this.take(this.left);
    }
    u8() {
        return this.#view.getUint8(this.#skip(1));
    }
    u32() {
        return this.#view.getUint32(this.#skip(4), true);
    }
    u64() {
        return this.#view.getBigUint64(this.#skip(8), true);
    }
    varint() {
        let value = 0;
        for (let shift = 0; shift < 35; shift += 7) {
            const byte = this.u8();
            // The fifth byte has room for the four bits that a u32 still lacks, and for no sixth byte.
            if (shift === 28 && byte > 0x0f)
                throw new ProtocolError("a varint of more than 32 bits");
            value = (value | ((byte & 0x7f) << shift)) >>> 0;
            if (byte < 0x80)
                return value;
        }
        throw new ProtocolError("a varint of more than 5 bytes");
    }
    zigzag() {
        return unzigzag(this.varint());
    }
    str8() {
        return text(this.take(this.u8()));
    }
    /** What is left, as text. */
    restText() {
        return text(this.rest());
    }
    // bincode 2, `standard()`
    num() {
        const first = this.u8();
        if (first <= 250)
            return first;
        if (first === 251)
            return this.#view.getUint16(this.#skip(2), true);
        if (first === 252)
            return this.u32();
        if (first !== 253)
            throw new ProtocolError("a number of more than 64 bits");
        const low = this.u32();
        const value = this.u32() * 2 ** 32 + low;
        if (value > Number.MAX_SAFE_INTEGER)
            throw new ProtocolError("a number of more than 53 bits");
        return value;
    }
    /** A `num` that has to fit 32 bits. */
    num32() {
        const value = this.num();
        if (value > 0xffff_ffff)
            throw new ProtocolError("a number of more than 32 bits");
        return value;
    }
    /** A signed `int` that has to fit 32 bits. */
    int32() {
        return unzigzag(this.num32());
    }
    f64() {
        const value = this.#view.getFloat64(this.#skip(8), true);
        if (!Number.isFinite(value))
            throw new ProtocolError("a number that is not finite");
        return value;
    }
    bytes() {
        return this.take(this.num());
    }
    string() {
        return text(this.bytes());
    }
    /** Grows with what is really there: each item takes a byte at least, so a false count ends at the last byte. */
    list(item) {
        const count = this.num();
        if (count > this.left)
            throw new ProtocolError(`a list of ${count} in ${this.left} bytes`);
        const items = [];
        for (let i = 0; i < count; i++)
            items.push(item(this));
        return items;
    }
    option(item) {
        const there = this.u8();
        if (there > 1)
            throw new ProtocolError("an option that is neither there nor not");
        return there === 1 ? item(this) : undefined;
    }
    #skip(length) {
        const from = this.#at;
        if (length > this.left)
            throw new ProtocolError(`ends early: ${length} bytes wanted, ${this.left} left`);
        this.#at = from + length;
        return from;
    }
}
/** Reads a stream of bits, the lowest bit of each byte first. */
export class BitReader {
    #bytes;
    /** Bits read so far. */
    #at = 0;
    constructor(bytes) {
        this.#bytes = bytes;
    }
    /** A number of 0 to 32 bits, lowest bit first. */
    read(width) {
        if (this.#at + width > this.#bytes.length * 8)
            throw new ProtocolError("a bit stream ends early");
        let value = 0;
        for (let got = 0; got < width;) {
            const used = this.#at & 7;
            const count = Math.min(8 - used, width - got);
            const part = (this.#bytes[this.#at >>> 3] >>> used) & ((1 << count) - 1);
            value |= part << got;
            got += count;
            this.#at += count;
        }
        return value >>> 0;
    }
    /** What is left must be padding: fewer than 8 bits, and zeros. */
    end() {
        const left = this.#bytes.length * 8 - this.#at;
        if (left >= 8 || this.read(left) !== 0)
            throw new ProtocolError("a bit stream ends late");
    }
}
/** Writes one message. */
export class Writer {
    #bytes = new Uint8Array(64);
    #view = new DataView(this.#bytes.buffer);
    #length = 0;
    /** What was written, as a copy of its own. */
    finish() {
        return this.#bytes.slice(0, this.#length);
    }
    put(bytes) {
        const at = this.#grow(bytes.length);
        this.#bytes.set(bytes, at);
        return this;
    }
    u8(value) {
        const at = this.#grow(1);
        this.#view.setUint8(at, value);
        return this;
    }
    u32(value) {
        const at = this.#grow(4);
        this.#view.setUint32(at, value, true);
        return this;
    }
    u64(value) {
        const at = this.#grow(8);
        this.#view.setBigUint64(at, value, true);
        return this;
    }
    varint(value) {
        let left = value >>> 0;
        while (left > 0x7f) {
            this.u8((left & 0x7f) | 0x80);
            left >>>= 7;
        }
        return this.u8(left);
    }
    zigzag(value) {
        return this.varint(zigzag(value));
    }
    // bincode 2, `standard()`
    num(value) {
        if (value <= 250)
            return this.u8(value);
        if (value <= 0xffff)
            return this.u8(251).u8(value & 0xff).u8(value >>> 8);
        if (value <= 0xffff_ffff)
            return this.u8(252).u32(value);
        return this.u8(253).u32(value % 2 ** 32).u32(Math.floor(value / 2 ** 32));
    }
    bytes(value) {
        return this.num(value.length).put(value);
    }
    string(value) {
        return this.bytes(utf8(value));
    }
    /** Makes room for `more` bytes and tells where they go. */
    #grow(more) {
        const at = this.#length;
        this.#length += more;
        if (this.#length > this.#bytes.length) {
            const bytes = new Uint8Array(Math.max(this.#length, this.#bytes.length * 2));
            bytes.set(this.#bytes.subarray(0, at));
            this.#bytes = bytes;
            this.#view = new DataView(bytes.buffer);
        }
        return at;
    }
}
/** How many bits `value` needs: 0 for 0, 1 for 1, 3 for 5. */
export function width(value) {
    return 32 - Math.clz32(value);
}
export function zigzag(value) {
    return ((value << 1) ^ (value >> 31)) >>> 0;
}
export function unzigzag(value) {
    return (value >>> 1) ^ -(value & 1);
}
/** The bytes of a text. */
export function utf8(value) {
    return encoder.encode(value);
}
/** The text of bytes, which must be UTF-8. */
export function text(bytes) {
    try {
        return decoder.decode(bytes);
    }
    catch {
        throw new ProtocolError("a text that is not UTF-8");
    }
}
const encoder = new TextEncoder();
// A byte order mark is a character like any other.
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
