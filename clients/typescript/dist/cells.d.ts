/** What a cell's bytes are made of (`protocol/PROTOCOL.md`, section 5): who leaves, who has changed, and the sums. */
import { type BitReader, type Reader } from "./wire.js";
/** An entity left a cell. */
export interface Leave {
    readonly slot: number;
    readonly to: number;
}
/** What a sum is made of. */
interface Summed {
    readonly id: number;
    readonly slot: number;
    readonly kind: number;
    readonly row: Int32Array;
}
export declare function readLeaves(reader: Reader): Leave[];
/** Which members have residuals, in member order. */
export declare function readSelection<T>(bits: BitReader, members: readonly T[]): readonly T[];
/** Kinds ascending, and the members of each in member order. */
export declare function byKind<T extends {
    readonly kind: number;
}>(members: readonly T[]): [kind: number, members: T[]][];
/** The sum of a cell. */
export declare function sumOf(members: readonly Summed[]): number;
/** The sum of a check: cells, and as of when each is held. */
export declare function sumOfView(cells: Iterable<[number, {
    readonly held: number;
}]>): number;
export {};
