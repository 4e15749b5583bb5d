/**
 * Smooth movement between ticks.
 *
 * Entities are shown a little in the past, between two states that are both known. While the server is silent they go on by
 * their velocities: that is what its silence says. A value without a velocity is carried on along its last line when the
 * next one is late, and not for long. It keeps a few samples per entity and reads nothing else.
 */
import type { Collection } from "./collection.js";
import type { Room } from "./room.js";
export interface InterpolateOptions {
    /** How far in the past entities are shown. Two ticks, at 100 ms at least, unless given. */
    readonly delayMs?: number;
}
/** Follows the entities of one collection. */
export declare class Interpolator {
    #private;
    readonly delayMs: number;
    /** `fields` are the values to smooth, such as `["x", "y"]`. */
    constructor(room: Room, collection: Collection<any>, fields: readonly string[], options?: InterpolateOptions);
    /**
     * The values to show of an entity at local time `now` (as of `performance.now()` and animation frames), in the order of
     * the fields. A different delay may suit your own entity.
     */
    at(id: number, now?: number, delayMs?: number): readonly number[] | undefined;
    /** Lets go of the collection. */
    stop(): void;
}
interface Sample {
    readonly tick: number;
    readonly values: readonly number[];
    /** What each value gains a tick; `undefined`: not known. */
    readonly rates: readonly (number | undefined)[];
}
/**
 * Where a path is at `tick`. `heard` is the newest tick that is known, and silence since the last sample means that it goes on
 * as it was; for `silence` ticks more that is believed without a message.
 */
export declare function valuesAt(path: readonly Sample[], tick: number, heard: number, silence: number): readonly number[];
export {};
