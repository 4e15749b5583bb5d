/**
 * Bytes in, numbers and text out, and back.
 *
 * Both encodings of the wire live here: the compact one of ticks and inputs (`varint`, `zigzag`, `bits`) and the
 * subset of bincode that control messages use (`num`, `int`, `string`, lists and options). Nothing here knows what a
 * message means. A reader never reads past its end and never allocates by a length that it was merely told.
 */
/** Bytes from the server broke the protocol. The connection that sent them is of no use any more. */
export declare class ProtocolError extends Error {
    readonly name = "ProtocolError";
}
/** Reads one message, or one part of it, from front to back. */
export declare class Reader {
    #private;
    constructor(bytes: Uint8Array);
    /** How many bytes are left. */
    get left(): number;
    /** Nothing may be left: a part that ends late is as broken as one that ends early. */
    end(): void;
    /** The next `length` bytes, not copied. */
    take(length: number): Uint8Array;
    /** All that is left, not copied. */
    rest(): Uint8Array;
    u8(): number;
    u32(): number;
    u64(): bigint;
    varint(): number;
    zigzag(): number;
    str8(): string;
    /** What is left, as text. */
    restText(): string;
    num(): number;
    /** A `num` that has to fit 32 bits. */
    num32(): number;
    /** A signed `int` that has to fit 32 bits. */
    int32(): number;
    f64(): number;
    bytes(): Uint8Array;
    string(): string;
    /** Grows with what is really there: each item takes a byte at least, so a false count ends at the last byte. */
    list<T>(item: (reader: Reader) => T): T[];
    option<T>(item: (reader: Reader) => T): T | undefined;
}
/** Reads a stream of bits, the lowest bit of each byte first. */
export declare class BitReader {
    #private;
    constructor(bytes: Uint8Array);
    /** A number of 0 to 32 bits, lowest bit first. */
    read(width: number): number;
    /** What is left must be padding: fewer than 8 bits, and zeros. */
    end(): void;
}
/** Writes one message. */
export declare class Writer {
    #private;
    /** What was written, as a copy of its own. */
    finish(): Uint8Array<ArrayBuffer>;
    put(bytes: Uint8Array): this;
    u8(value: number): this;
    u32(value: number): this;
    u64(value: bigint): this;
    varint(value: number): this;
    zigzag(value: number): this;
    num(value: number): this;
    bytes(value: Uint8Array): this;
    string(value: string): this;
}
/** How many bits `value` needs: 0 for 0, 1 for 1, 3 for 5. */
export declare function width(value: number): number;
export declare function zigzag(value: number): number;
export declare function unzigzag(value: number): number;
/** The bytes of a text. */
export declare function utf8(value: string): Uint8Array;
/** The text of bytes, which must be UTF-8. */
export declare function text(bytes: Uint8Array): string;
