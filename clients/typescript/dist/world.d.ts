import { Collection, type Entity } from "./collection.js";
import { type DesyncWhy, type Reliable, type Schema, type Transient } from "./messages.js";
/** What went otherwise than planned, counted. */
export interface WorldStats {
    /** Blocks of a kind that this version does not know. */
    unknownBlocks: number;
    /** Reliable messages of a class that this version does not know. */
    unknownClasses: number;
    /** Things a server must not send, such as a delta that does not follow from what we hold. */
    violations: number;
    /** Sums of cells that were compared. */
    sumsChecked: number;
    /** Checks of the view that were compared. */
    checks: number;
    /** Sums and checks that were not what the server has. */
    desyncs: number;
    /** Ticks that said that earlier updates were not sent because this connection was slow. */
    skipped: number;
}
/** What one message did. */
export interface Update {
    readonly tick: number;
    /** Your last applied input. */
    readonly seq: number;
    /** How many inputs of yours wait in the room. */
    readonly depth: number;
    readonly added: readonly Entity[];
    readonly removed: readonly Entity[];
    readonly changed: readonly Entity[];
    readonly reliable: readonly Reliable[];
    readonly transients: readonly Transient[];
    /** Number of your last message that the room took, if it said so. */
    readonly heard: number | undefined;
    /** How it was found that this world is not the server's, if it was: the answer to a repair makes it right. */
    readonly mismatch: DesyncWhy | undefined;
    /** The cells that differ, as far as that is known. */
    readonly wanted: ReadonlySet<number>;
    /** It said the view. */
    readonly viewTold: boolean;
}
/** A cell as a client holds it. */
export interface HeldCell {
    readonly cell: number;
    /** As of which tick. */
    readonly held: number;
    readonly members: readonly HeldMember[];
}
/** What a cell's stream says of an entity. */
export interface HeldMember {
    readonly slot: number;
    readonly generation: number;
    /** The index of its kind in the schema. */
    readonly kind: number;
    readonly row: readonly number[];
    readonly statics: string;
}
/** The replica of one room. */
export declare class World {
    #private;
    /** The tick of the last message. */
    tick: number;
    /** Each cell of the view is held and current. */
    complete: boolean;
    /** Number of the last reliable message heard: what an acknowledgement says. */
    ack: number;
    /** Your own entity, if you have one. */
    me: Entity | undefined;
    readonly stats: WorldStats;
    constructor(schema: Schema, tick?: number);
    /** The entities of a kind, which need not be one of the schema: it is empty then. */
    kind(name: string): Collection;
    /** All entities, of every kind, in no particular order. */
    entities(): IterableIterator<Entity>;
    /** The cells that you hear, the nearest first. */
    get view(): readonly number[];
    /** What is held of each cell, as a copy, for tools and for tests. */
    cells(): HeldCell[];
    /**
     * Takes one tick message, without its type byte. Throws {@link ProtocolError} when it is malformed; the world is of no
     * use then.
     */
    apply(message: Uint8Array): Update;
    /** Calls back for what a message did. Everything is in its new state by then. */
    announce(update: Update): void;
    /** Forgets everything, tells so, and lets go of all callbacks. */
    clear(): void;
}
