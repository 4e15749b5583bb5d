/**
 * Rows of a cell: how they move, what a delta's bits change, and their sum. `protocol/PROTOCOL.md`, section 5, says what
 * the bytes mean.
 */
import { type BitReader, type Reader } from "./wire.js";
/** An entity as a cell lists it. */
export interface Listed {
    /** Slot and generation. */
    readonly id: number;
    readonly slot: number;
    readonly kind: number;
    readonly row: Int32Array;
}
/** What rows of a kind look like. */
export interface Shape {
    readonly fields: number;
    /** Which field moves by which. */
    readonly moves: readonly {
        readonly field: number;
        readonly velocity: number;
    }[];
}
/** Moves a row on by its velocities. */
export declare function predict(row: Int32Array, { moves }: Shape, ticks: number): void;
/** Adds the residuals to the rows of members, and tells whose they are. */
export declare function readChanges<M extends Listed>(bits: BitReader, members: readonly M[], shapes: readonly Shape[], changed: (member: M) => void): void;
/** An entity left a cell. */
export interface Leave {
    readonly slot: number;
    readonly to: number;
}
export declare function readLeaves(reader: Reader): Leave[];
/** The sum of a cell. */
export declare function sumOf(members: readonly Listed[]): number;
/** The sum of a check: cells, and as of when each is held. */
export declare function sumOfView(cells: Iterable<[number, {
    readonly held: number;
}]>): number;
