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
export class Interpolator {
  readonly delayMs: number;
  readonly #room: Room;
  readonly #fields: readonly string[];
  readonly #paths = new Map<number, Sample[]>();
  readonly #stops: (() => void)[];

  /** `fields` are the values to smooth, such as `["x", "y"]`. */
  constructor(room: Room, collection: Collection<any>, fields: readonly string[], options: InterpolateOptions = {}) {
    this.#room = room;
    this.#fields = fields;
    this.delayMs = options.delayMs ?? Math.max(100, 2 * room.stepMs);
    const sample = (entity: Moving, id: number) => this.#sample(entity, id);
    this.#stops = [
      collection.onAdd(sample as never),
      collection.onChange(sample as never),
      collection.onRemove((_, id) => void this.#paths.delete(id)),
    ];
  }

  /**
   * The values to show of an entity at local time `now` (as of `performance.now()` and animation frames), in the order of
   * the fields. A different delay may suit your own entity.
   */
  at(id: number, now = performance.now(), delayMs = this.delayMs): readonly number[] | undefined {
    const path = this.#paths.get(id);
    if (!path) return undefined;
    const { clock } = this.#room;
    const tick = clock.tickAt(now - delayMs);
    if (delayMs === this.delayMs) this.#room.renderTick = tick;
    return valuesAt(path, tick, this.#room.tick, SILENCE_MS_MAX / this.#room.stepMs);
  }

  /** Lets go of the collection. */
  stop(): void {
    for (const stop of this.#stops) stop();
    this.#paths.clear();
  }

  #sample(entity: Moving, id: number): void {
    const { tick } = this.#room;
    const values = this.#fields.map((field) => entity[field]);
    const rates = this.#fields.map((field) => entity.rateOf?.(field));
    const sample = { tick, values, rates };
    const path = this.#paths.get(id);
    if (!path) return void this.#paths.set(id, [sample]);
    const last = path[path.length - 1];
    // Silence means that all went on as it was, until the tick before this one.
    const gap = rates.includes(undefined) ? GAP_TICKS_MAX : 1;
    if (tick - last.tick > gap) path.push({ ...last, tick: tick - 1, values: movedOn(last, tick - 1 - last.tick) });
    path.push(sample);
    if (path.length > SAMPLES_MAX) path.splice(0, path.length - SAMPLES_MAX);
  }
}

type Moving = Record<string, number> & { rateOf?(field: string): number | undefined };

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
export function valuesAt(path: readonly Sample[], tick: number, heard: number, silence: number): readonly number[] {
  let next = path.length;
  while (next > 0 && path[next - 1].tick > tick) next--;
  if (next === 0) return path[0].values;
  const from = path[next - 1];
  if (next < path.length) return between(from, path[next], tick);
  const ahead = movedOn(from, Math.min(tick, heard + silence) - from.tick);
  if (next === 1 || heard > from.tick) return ahead;
  const line = between(path[next - 2], from, Math.min(tick, from.tick + CARRY_TICKS_MAX));
  return ahead.map((value, i) => (from.rates[i] === undefined ? line[i] : value));
}

function movedOn({ values, rates }: Sample, ticks: number): readonly number[] {
  return values.map((value, i) => value + (rates[i] ?? 0) * ticks);
}

/** On the line through two samples. */
function between(a: Sample, b: Sample, tick: number): readonly number[] {
  const share = b.tick === a.tick ? 1 : (tick - a.tick) / (b.tick - a.tick);
  return a.values.map((value, i) => value + (b.values[i] - value) * share);
}

const SAMPLES_MAX = 16;
/** A longer silence was rest; a shorter one may have been a lost turn, and a straight line looks best. */
const GAP_TICKS_MAX = 3;
const CARRY_TICKS_MAX = 2;
/** A server says something once a second at least. */
const SILENCE_MS_MAX = 1250;
