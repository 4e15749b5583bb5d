/** What you ask the game for, by the names of the schema. */
import { encode } from "./collection.js";
export class Input {
    /** Set these, then `send`. They start at 0, or as near as their field allows. */
    data = {};
    /** Milliseconds a tick: the server applies one input a tick, so sending more often gains nothing. */
    stepMs;
    #fields;
    #transmit;
    #lastSent = 0;
    #lastProcessed = 0;
    #waiting = 0;
    /** @internal */
    constructor(fields, stepMs, transmit) {
        this.#fields = fields;
        this.stepMs = stepMs;
        this.#transmit = transmit;
        for (const field of fields)
            this.data[field.name] = 0;
    }
    /** Number of the last input that was sent. */
    get lastSent() {
        return this.#lastSent;
    }
    /** Number of the last input that the world you see has in it. */
    get lastProcessed() {
        return this.#lastProcessed;
    }
    /** How many inputs of yours wait in the room. */
    get waiting() {
        return this.#waiting;
    }
    /**
     * Sends the data as it is now; it stays in force until the next one. Returns its number, or 0 when it was dropped
     * because the connection is gone or takes nothing.
     */
    send() {
        const row = Int32Array.from(this.#fields, (field) => encode(field, this.data[field.name]));
        const seq = (this.#lastSent + 1) >>> 0;
        if (!this.#transmit(seq, row))
            return 0;
        this.#lastSent = seq;
        return seq;
    }
    /** @internal */
    heard(seq, waiting) {
        this.#lastProcessed = seq;
        this.#waiting = waiting;
    }
}
