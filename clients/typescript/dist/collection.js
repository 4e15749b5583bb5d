import { Signal } from "./signal.js";
/** What every kind of entity has. */
export class EntityBase {
    /** Slot and generation in one number; no other entity of a session's lifetime nearby has the same. */
    id;
    /** The name of its kind. */
    kind;
    /** The integers behind the values, in the order of the schema. */
    row;
    #statics;
    /** @internal */
    constructor(id, kind, row, statics) {
        this.id = id;
        this.kind = kind;
        this.row = row;
        this.#statics = statics;
    }
    /** Its text that never changes, such as a name. */
    get statics() {
        return this.#statics;
    }
    /** The same as `statics`, unless the schema has a field of this name. */
    get name() {
        return this.#statics;
    }
    /** @internal What a field gains each tick while it goes on as predicted; `undefined`: the schema has no velocity of it. */
    rateOf(_field) {
        return undefined;
    }
    /** @internal Your own entity may be known before its text is. */
    learn(statics) {
        this.#statics = statics;
    }
}
/** A class with one getter for each field. A field with a name that every entity has already is in `row` alone. */
export function entityMaker(kind) {
    const velocities = velocitiesOf(kind);
    class KindEntity extends EntityBase {
        rateOf(field) {
            return velocities.get(field)?.reduce((rate, { index, step }) => rate + this.row[index] * step, 0);
        }
    }
    kind.fields.forEach((field, index) => {
        if (TAKEN.has(field.name))
            return;
        const get = function () {
            return decode(field, this.row[index]);
        };
        Object.defineProperty(KindEntity.prototype, field.name, { get, enumerable: true, configurable: true });
    });
    return KindEntity;
}
/** By the names of fields, which numbers of a row move them, and by how much each. */
function velocitiesOf(kind) {
    const velocities = new Map();
    kind.fields.forEach(({ velocityOf }, index) => {
        if (velocityOf === undefined)
            return;
        const { name, step } = kind.fields[velocityOf];
        velocities.set(name, [...(velocities.get(name) ?? []), { index, step }]);
    });
    return velocities;
}
/** What the game means by a number of a row. */
export function decode(field, number) {
    return field.offset + number * field.step;
}
/** The number of a row that comes nearest to a value, within the bounds of its field. */
export function encode(field, value) {
    const number = Math.round((value - field.offset) / field.step);
    // Not a number, as from an empty text field, is as near as anything: rest.
    const sound = Number.isNaN(number) ? 0 : number;
    return Math.min(field.max, Math.max(field.min, sound)) | 0;
}
/** All entities of one kind that are known now. Iterating gives the entities. */
export class Collection {
    #entities = new Map();
    #added = new Signal();
    #removed = new Signal();
    #changed = new Signal();
    get size() {
        return this.#entities.size;
    }
    get(id) {
        return this.#entities.get(id);
    }
    has(id) {
        return this.#entities.has(id);
    }
    [Symbol.iterator]() {
        return this.#entities.values();
    }
    /** Called once for each entity that appears, and at once for those that are here already. */
    onAdd(fn) {
        const unsubscribe = this.#added.on(fn);
        for (const entity of [...this])
            fn(entity, entity.id);
        return unsubscribe;
    }
    /** Called once for each entity that is gone, or that is no longer in view. */
    onRemove(fn) {
        return this.#removed.on(fn);
    }
    /** Called at most once a message for each entity that has changed. */
    onChange(fn) {
        return this.#changed.on(fn);
    }
    /** @internal */
    put(entity) {
        this.#entities.set(entity.id, entity);
    }
    /** @internal */
    drop(entity) {
        if (this.#entities.get(entity.id) === entity)
            this.#entities.delete(entity.id);
    }
    /** @internal */
    tell(what, entity, before) {
        const signal = what === "added" ? this.#added : what === "removed" ? this.#removed : this.#changed;
        signal.emit(before, entity, entity.id);
    }
    /** @internal Lets go of entities and callbacks. */
    clear() {
        this.#entities.clear();
        for (const signal of [this.#added, this.#removed, this.#changed])
            signal.clear();
    }
}
/** Names that a field cannot have on an entity. `name` is not among them: there the field wins. */
const TAKEN = new Set(["id", "kind", "row", "statics", "rateOf", "learn", "constructor", "__proto__", "then"]);
