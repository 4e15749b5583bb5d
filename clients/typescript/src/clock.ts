/**
 * Which tick the server is at, as far as arrivals tell.
 *
 * Messages are late by varying amounts, never early: the least late one of the last seconds is the best witness. Takes
 * local time as an argument; owns no timer.
 */

export class Clock {
  /** Milliseconds a tick. */
  readonly stepMs: number;
  /** Local time at which tick 0 would have arrived. */
  #zero = Number.NaN;
  #best = Infinity;
  #bestBefore = Infinity;
  #windowEnds = -Infinity;
  #lastHeard = 0;

  constructor(stepMs: number) {
    this.stepMs = stepMs;
  }

  /** A message of `tick` arrived at local time `now`. */
  heard(tick: number, now: number): void {
    const zero = now - tick * this.stepMs;
    if (now >= this.#windowEnds) {
      this.#bestBefore = this.#best;
      this.#best = Infinity;
      this.#windowEnds = now + WINDOW_MS;
    }
    this.#best = Math.min(this.#best, zero);
    this.#approach(Math.min(this.#best, this.#bestBefore), now);
  }

  /** The tick of the server at local time `now`, with a fraction. Not a number before the first message. */
  tickAt(now: number): number {
    return (now - this.#zero) / this.stepMs;
  }

  /** Goes to the new estimate gently, so that what is drawn by it does not jump; but a leap is a leap. */
  #approach(target: number, now: number): void {
    const most = SLEW * Math.max(0, now - this.#lastHeard);
    this.#lastHeard = now;
    const off = target - this.#zero;
    if (Math.abs(off) < LEAP_MS) this.#zero += Math.min(most, Math.max(-most, off));
    else this.#zero = target;
  }
}

const WINDOW_MS = 2000;
/** Share of the elapsed time by which the estimate may move. */
const SLEW = 0.05;
const LEAP_MS = 500;
