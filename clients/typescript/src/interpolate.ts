/**
 * Smooth movement between ticks.
 *
 * Entities are shown a little in the past, between two states that are both known; only when the next one is late are
 * they carried on along their last line, and not for long. It keeps a few samples per entity and reads nothing else.
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
    const sample = (entity: Record<string, number>, id: number) => this.#sample(entity, id);
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
    return valuesAt(path, tick, this.#room.tick);
  }

  /** Lets go of the collection. */
  stop(): void {
    for (const stop of this.#stops) stop();
    this.#paths.clear();
  }

  #sample(entity: Record<string, number>, id: number): void {
    const { tick } = this.#room;
    const sample = { tick, values: this.#fields.map((field) => entity[field]) };
    const path = this.#paths.get(id);
    if (!path) return void this.#paths.set(id, [sample]);
    const last = path[path.length - 1];
    // Silence means that nothing changed: it stood where it was until the tick before this one.
    if (tick - last.tick > GAP_TICKS_MAX) path.push({ tick: tick - 1, values: last.values });
    path.push(sample);
    if (path.length > SAMPLES_MAX) path.splice(0, path.length - SAMPLES_MAX);
  }
}

interface Sample {
  readonly tick: number;
  readonly values: readonly number[];
}

/** Where a path is at `tick`; `heard` is the newest tick that is known, and silence since the last sample means rest. */
export function valuesAt(path: readonly Sample[], tick: number, heard: number): readonly number[] {
  let next = path.length;
  while (next > 0 && path[next - 1].tick > tick) next--;
  if (next === 0) return path[0].values;
  const from = path[next - 1];
  if (next < path.length) return between(from, path[next], tick);
  if (next === 1 || heard > from.tick) return from.values;
  return between(path[next - 2], from, Math.min(tick, from.tick + CARRY_TICKS_MAX));
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
