/**
 * Which tick the server is at, as far as arrivals tell.
 *
 * Messages are late by varying amounts, never early: the least late one of the last seconds is the best witness. Takes
 * local time as an argument; owns no timer.
 */
export declare class Clock {
    #private;
    /** Milliseconds a tick. */
    readonly stepMs: number;
    constructor(stepMs: number);
    /** A message of `tick` arrived at local time `now`. */
    heard(tick: number, now: number): void;
    /** The tick of the server at local time `now`, with a fraction. Not a number before the first message. */
    tickAt(now: number): number;
}
