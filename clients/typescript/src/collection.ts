/**
 * What a game sees of the world: entities with named values, in one collection per kind.
 *
 * Rows arrive as integers; an entity shows `offset + row * step` under the names of the schema. Collections hold what the
 * world knows and call back when it changes. How that is found out is `world.ts`.
 */
import type { Field, Kind } from "./messages.js";
import { Signal, type Unsubscribe } from "./signal.js";

/** Values by the names of the schema. Give your own interface instead, and the compiler knows the names. */
export type Values = Readonly<Record<string, number>>;

/** Something in the world: what every kind has, and the values of its own kind. */
export type Entity<V = Values> = EntityBase & Readonly<V>;

/** What every kind of entity has. */
export class EntityBase {
  /** Slot and generation in one number; no other entity of a session's lifetime nearby has the same. */
  readonly id: number;
  /** The name of its kind. */
  readonly kind: string;
  /** The integers behind the values, in the order of the schema. */
  readonly row: Int32Array;
  #statics: string;

  /** @internal */
  constructor(id: number, kind: string, row: Int32Array, statics: string) {
    this.id = id;
    this.kind = kind;
    this.row = row;
    this.#statics = statics;
  }

  /** Its text that never changes, such as a name. */
  get statics(): string {
    return this.#statics;
  }

  /** The same as `statics`, unless the schema has a field of this name. */
  get name(): string {
    return this.#statics;
  }

  /** @internal What a field gains each tick while it goes on as predicted; `undefined`: the schema has no velocity of it. */
  rateOf(_field: string): number | undefined {
    return undefined;
  }

  /** @internal Your own entity may be known before its text is. */
  learn(statics: string): void {
    this.#statics = statics;
  }
}

/** Makes entities of one kind. */
export type EntityMaker = new (id: number, kind: string, row: Int32Array, statics: string) => Entity;

/** A class with one getter for each field. A field with a name that every entity has already is in `row` alone. */
export function entityMaker(kind: Kind): EntityMaker {
  const velocities = velocitiesOf(kind);
  class KindEntity extends EntityBase {
    override rateOf(field: string): number | undefined {
      return velocities.get(field)?.reduce((rate, { index, step }) => rate + this.row[index] * step, 0);
    }
  }
  kind.fields.forEach((field, index) => {
    if (TAKEN.has(field.name)) return;
    const get = function (this: EntityBase): number {
      return decode(field, this.row[index]);
    };
    Object.defineProperty(KindEntity.prototype, field.name, { get, enumerable: true, configurable: true });
  });
  return KindEntity as unknown as EntityMaker;
}

/** By the names of fields, which numbers of a row move them, and by how much each. */
function velocitiesOf(kind: Kind): Map<string, { index: number; step: number }[]> {
  const velocities = new Map<string, { index: number; step: number }[]>();
  kind.fields.forEach(({ velocityOf }, index) => {
    if (velocityOf === undefined) return;
    const { name, step } = kind.fields[velocityOf];
    velocities.set(name, [...(velocities.get(name) ?? []), { index, step }]);
  });
  return velocities;
}

/** What the game means by a number of a row. */
export function decode(field: Field, number: number): number {
  return field.offset + number * field.step;
}

/** The number of a row that comes nearest to a value, within the bounds of its field. */
export function encode(field: Field, value: number): number {
  const number = Math.round((value - field.offset) / field.step);
  // Not a number, as from an empty text field, is as near as anything: rest.
  const sound = Number.isNaN(number) ? 0 : number;
  return Math.min(field.max, Math.max(field.min, sound)) | 0;
}

/** A callback about an entity. */
export type EntityListener<V> = (entity: Entity<V>, id: number) => void;

/** All entities of one kind that are known now. Iterating gives the entities. */
export class Collection<V = Values> implements Iterable<Entity<V>> {
  readonly #entities = new Map<number, Entity<V>>();
  readonly #added = new Signal<[Entity<V>, number]>();
  readonly #removed = new Signal<[Entity<V>, number]>();
  readonly #changed = new Signal<[Entity<V>, number]>();

  get size(): number {
    return this.#entities.size;
  }

  get(id: number): Entity<V> | undefined {
    return this.#entities.get(id);
  }

  has(id: number): boolean {
    return this.#entities.has(id);
  }

  [Symbol.iterator](): IterableIterator<Entity<V>> {
    return this.#entities.values();
  }

  /** Called once for each entity that appears, and at once for those that are here already. */
  onAdd(fn: EntityListener<V>): Unsubscribe {
    const unsubscribe = this.#added.on(fn);
    for (const entity of [...this]) fn(entity, entity.id);
    return unsubscribe;
  }

  /** Called once for each entity that is gone, or that is no longer in view. */
  onRemove(fn: EntityListener<V>): Unsubscribe {
    return this.#removed.on(fn);
  }

  /** Called at most once a message for each entity that has changed. */
  onChange(fn: EntityListener<V>): Unsubscribe {
    return this.#changed.on(fn);
  }

  /** @internal */
  put(entity: Entity<V>): void {
    this.#entities.set(entity.id, entity);
  }

  /** @internal */
  drop(entity: Entity<V>): void {
    if (this.#entities.get(entity.id) === entity) this.#entities.delete(entity.id);
  }

  /** @internal */
  tell(what: "added" | "removed" | "changed", entity: Entity<V>, before: number): void {
    const signal = what === "added" ? this.#added : what === "removed" ? this.#removed : this.#changed;
    signal.emit(before, entity, entity.id);
  }

  /** @internal Lets go of entities and callbacks. */
  clear(): void {
    this.#entities.clear();
    for (const signal of [this.#added, this.#removed, this.#changed]) signal.clear();
  }
}

/** Names that a field cannot have on an entity. `name` is not among them: there the field wins. */
const TAKEN = new Set(["id", "kind", "row", "statics", "rateOf", "learn", "constructor", "__proto__", "then"]);
