/** What you ask the game for, by the names of the schema. */
import { encode } from "./collection.js";
import type { Field } from "./messages.js";

export class Input {
  /** Set these, then `send`. They start at 0, or as near as their field allows. */
  readonly data: Record<string, number> = {};
  /** Milliseconds a tick: the server applies one input a tick, so sending more often gains nothing. */
  readonly stepMs: number;
  readonly #fields: readonly Field[];
  readonly #transmit: (seq: number, row: Int32Array) => boolean;
  #lastSent = 0;
  #lastProcessed = 0;
  #waiting = 0;

  /** @internal */
  constructor(fields: readonly Field[], stepMs: number, transmit: (seq: number, row: Int32Array) => boolean) {
    this.#fields = fields;
    this.stepMs = stepMs;
    this.#transmit = transmit;
    for (const field of fields) this.data[field.name] = 0;
  }

  /** Number of the last input that was sent. */
  get lastSent(): number {
    return this.#lastSent;
  }

  /** Number of the last input that the world you see has in it. */
  get lastProcessed(): number {
    return this.#lastProcessed;
  }

  /** How many inputs of yours wait in the room. */
  get waiting(): number {
    return this.#waiting;
  }

  /**
   * Sends the data as it is now; it stays in force until the next one. Returns its number, or 0 when it was dropped
   * because the connection is gone or takes nothing.
   */
  send(): number {
    const row = Int32Array.from(this.#fields, (field) => encode(field, this.data[field.name]));
    const seq = (this.#lastSent + 1) >>> 0;
    if (!this.#transmit(seq, row)) return 0;
    this.#lastSent = seq;
    return seq;
  }

  /** @internal */
  heard(seq: number, waiting: number): void {
    this.#lastProcessed = seq;
    this.#waiting = waiting;
  }
}
