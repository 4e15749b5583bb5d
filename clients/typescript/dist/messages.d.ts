/** The subprotocol to offer when the WebSocket opens. */
export declare const SUBPROTOCOL = "tickyard.v1";
/** The version that `Hello` names. */
export declare const VERSION = 1;
/** The first byte of each message. */
export declare const TYPE: {
    readonly control: 1;
    readonly input: 2;
    readonly tick: 2;
    readonly ping: 3;
    readonly pong: 3;
    readonly ack: 4;
    readonly want: 5;
    readonly repair: 6;
};
/** What a tick message consists of. */
export declare const BLOCK: {
    readonly view: 1;
    readonly delta: 2;
    readonly snapshot: 3;
    readonly age: 4;
    readonly self: 5;
    readonly reliable: 6;
    readonly heard: 7;
    readonly transient: 8;
    readonly check: 9;
};
/** No message of a server is longer; what is, is not read. */
export declare const MESSAGE_BYTES_MAX: number;
/** A server takes this many cells in one message. */
export declare const WANT_CELLS_MAX = 64;
/** One number of a row: what the game means is `offset + row * step`. */
export interface Field {
    readonly name: string;
    readonly step: number;
    readonly offset: number;
    /** Bounds of the number in the row, not of the value. */
    readonly min: number;
    readonly max: number;
    /** The field of the same row that this one moves each tick, by its index. */
    readonly velocityOf: number | undefined;
}
/** A sort of entity and what its rows hold. */
export interface Kind {
    readonly name: string;
    readonly fields: readonly Field[];
}
/** What can be seen in a room, and what can be asked for. */
export interface Schema {
    readonly kinds: readonly Kind[];
    readonly input: readonly Field[];
}
/** How a client finds that its world is not the server's: a block does not fit, a sum of a cell differs, or a check of the view. */
export type DesyncWhy = "misfit" | "sum" | "check";
/** A client's world is not the server's. */
export interface Desync {
    /** How it was found first. */
    readonly why: DesyncWhy;
    /** The tick of the message in which it was found. */
    readonly tick: number;
    /** The cells that differ, as far as that is known. */
    readonly cells: readonly number[];
}
/** Where a `Hello` wants to go. */
export type Seek = {
    readonly how: "joinOrCreate";
    readonly game: string;
} | {
    readonly how: "join";
    readonly game: string;
} | {
    readonly how: "create";
    readonly game: string;
} | {
    readonly how: "room";
    readonly room: string;
};
/** The first message of a client. */
export interface Hello {
    readonly build: string;
    readonly seek: Seek;
    readonly name: string;
    readonly options: Uint8Array;
    readonly token: string;
    readonly resume: Uint8Array;
}
/** The answer of a server that lets one in. */
export interface Welcome {
    readonly type: "welcome";
    readonly player: number;
    readonly resume: Uint8Array;
    readonly room: string;
    readonly game: string;
    readonly tick: number;
    readonly tickRate: number;
    /** Microseconds a tick. */
    readonly step: number;
    readonly schema: Schema;
    /** How many tags this version has no meaning for. */
    readonly unknownTags: number;
}
/** The answer of a server that knows a better one. */
export interface Redirect {
    readonly type: "redirect";
    readonly url: string;
    readonly unknownTags: number;
}
/** The answer of a server that says no. */
export interface Refused {
    readonly type: "refused";
    readonly code: number;
    readonly text: string;
    readonly retryAfterMs: number | undefined;
    readonly unknownTags: number;
}
/** A control message from a server. */
export type Control = Welcome | Redirect | Refused;
/** A tick message, its blocks still closed. */
export interface TickFrame {
    readonly tick: number;
    /** Your last applied input. */
    readonly seq: number;
    /** How many inputs of yours wait in the room; 255 is 255 or more. */
    readonly depth: number;
    readonly viewComplete: boolean;
    readonly skipped: boolean;
    readonly blocks: readonly Block[];
}
/** One part of a tick message. */
export interface Block {
    readonly kind: number;
    readonly bytes: Uint8Array;
}
/** What a reliable message says. */
export type Reliable = {
    readonly type: "message";
    readonly kind: string;
    readonly payload: Uint8Array;
} | {
    readonly type: "chat";
    readonly player: number;
    readonly name: string;
    readonly text: string;
} | {
    readonly type: "award";
    readonly points: number;
    readonly reason: string;
} | {
    readonly type: "property";
    readonly owner: number;
    readonly key: string;
    readonly value: Uint8Array;
} | {
    readonly type: "unknown";
    readonly class: number;
};
/** Something that happened in a cell at a tick. */
export interface Transient {
    readonly tick: number;
    readonly cell: number;
    readonly kind: string;
    readonly payload: Uint8Array;
}
/** The answer to a ping. */
export interface Pong {
    readonly stamp: bigint;
    readonly tick: number;
    /** Microseconds since that tick was due. */
    readonly sinceTick: number;
}
export declare function writeHello(hello: Hello): Uint8Array<ArrayBuffer>;
export declare function writeMessage(number: number, kind: string, payload: Uint8Array): Uint8Array<ArrayBuffer>;
export declare function writeInput(seq: number, ack: number, renderTick: number, row: ArrayLike<number>): Uint8Array<ArrayBuffer>;
/** The stamp comes back in the pong. */
export declare function writePing(stamp: bigint): Uint8Array<ArrayBuffer>;
export declare function writeAck(ack: number): Uint8Array<ArrayBuffer>;
/** At most {@link WANT_CELLS_MAX} cells. */
/** Your world is not the server's: it tells all of your view anew. */
export declare function writeRepair({ why, tick, cells }: Desync): Uint8Array<ArrayBuffer>;
export declare function readControl(bytes: Uint8Array): Control;
export declare function readPong(bytes: Uint8Array): Pong;
export declare function readTick(bytes: Uint8Array): TickFrame;
/** A whole `reliable` block. */
export declare function readReliable(bytes: Uint8Array): {
    readonly number: number;
    readonly content: Reliable;
};
/** A whole `transient` block, as of `tick`. */
export declare function readTransient(bytes: Uint8Array, tick: number): Transient;
