export declare class Input {
    #private;
    /** Set these, then `send`. They start at 0, or as near as their field allows. */
    readonly data: Record<string, number>;
    /** Milliseconds a tick: the server applies one input a tick, so sending more often gains nothing. */
    readonly stepMs: number;
    /** Number of the last input that was sent. */
    get lastSent(): number;
    /** Number of the last input that the world you see has in it. */
    get lastProcessed(): number;
    /** How many inputs of yours wait in the room. */
    get waiting(): number;
    /**
     * Sends the data as it is now; it stays in force until the next one. Returns its number, or 0 when it was dropped
     * because the connection is gone or takes nothing.
     */
    send(): number;
}
