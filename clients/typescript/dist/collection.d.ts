/**
 * What a game sees of the world: entities with named values, in one collection per kind.
 *
 * Rows arrive as integers; an entity shows `offset + row * step` under the names of the schema. Collections hold what the
 * world knows and call back when it changes. How that is found out is `world.ts`.
 */
import type { Field, Kind } from "./messages.js";
import { type Unsubscribe } from "./signal.js";
/** Values by the names of the schema. Give your own interface instead, and the compiler knows the names. */
export type Values = Readonly<Record<string, number>>;
/** Something in the world: what every kind has, and the values of its own kind. */
export type Entity<V = Values> = EntityBase & Readonly<V>;
/** What every kind of entity has. */
export declare class EntityBase {
    #private;
    /** Slot and generation in one number; no other entity of a session's lifetime nearby has the same. */
    readonly id: number;
    /** The name of its kind. */
    readonly kind: string;
    /** The integers behind the values, in the order of the schema. */
    readonly row: Int32Array;
    /** Its text that never changes, such as a name. */
    get statics(): string;
    /** The same as `statics`, unless the schema has a field of this name. */
    get name(): string;
}
/** Makes entities of one kind. */
export type EntityMaker = new (id: number, kind: string, row: Int32Array, statics: string) => Entity;
/** A class with one getter for each field. A field with a name that every entity has already is in `row` alone. */
export declare function entityMaker(kind: Kind): EntityMaker;
/** What the game means by a number of a row. */
export declare function decode(field: Field, number: number): number;
/** The number of a row that comes nearest to a value, within the bounds of its field. */
export declare function encode(field: Field, value: number): number;
/** A callback about an entity. */
export type EntityListener<V> = (entity: Entity<V>, id: number) => void;
/** All entities of one kind that are known now. Iterating gives the entities. */
export declare class Collection<V = Values> implements Iterable<Entity<V>> {
    #private;
    get size(): number;
    get(id: number): Entity<V> | undefined;
    has(id: number): boolean;
    [Symbol.iterator](): IterableIterator<Entity<V>>;
    /** Called once for each entity that appears, and at once for those that are here already. */
    onAdd(fn: EntityListener<V>): Unsubscribe;
    /** Called once for each entity that is gone, or that is no longer in view. */
    onRemove(fn: EntityListener<V>): Unsubscribe;
    /** Called at most once a message for each entity that has changed. */
    onChange(fn: EntityListener<V>): Unsubscribe;
}
