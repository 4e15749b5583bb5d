/**
 * The world as a client knows it: takes tick messages, keeps cells and entities, and tells what changed.
 *
 * No socket and no clock. {@link World.apply} reads one message whole; only then do entities show their new values, and
 * {@link World.announce} calls back. What the bytes mean is told in `protocol/PROTOCOL.md`, sections 4 to 7.
 *
 * Two things must not be mixed up. A *member* is what one cell's stream says of an entity, as of the cell's last block;
 * deltas count on its row, so nothing else may touch it. An *entity* is what the game sees as of the last message: it
 * follows the member of its home, the cell that took it in last, and goes on as predicted while that cell is silent. While
 * an entity crosses, both cells may list it.
 */
import { predict, readChanges, readLeaves, sumOf, sumOfView } from "./changes.js";
import { Collection, entityMaker } from "./collection.js";
import { BLOCK, readReliable, readTick, readTransient, } from "./messages.js";
import { mark } from "./signal.js";
import { BitReader, ProtocolError, Reader } from "./wire.js";
/** The replica of one room. */
export class World {
    /** The tick of the last message. */
    tick;
    /** Each cell of the view is held and current. */
    complete = false;
    /** Number of the last reliable message heard: what an acknowledgement says. */
    ack = 0;
    /** Your own entity, if you have one. */
    me;
    stats = {
        unknownBlocks: 0,
        unknownClasses: 0,
        violations: 0,
        sumsChecked: 0,
        checks: 0,
        desyncs: 0,
        skipped: 0,
    };
    #kinds;
    #collections = new Map();
    #view = new Set();
    /** Of the view, no others. */
    #cells = new Map();
    /** All entities that have a home, by slot. */
    #tracks = new Map();
    /** Those that left their home and did not arrive anywhere yet. Never more than there are tracks. */
    #leaving = new Set();
    #memberCount = 0;
    /** What was said of your own entity last: newer than its cell can be, and said only when it is not as predicted. */
    #self;
    /** The tick of the message that said so. */
    #selfAt = 0;
    constructor(schema, tick = 0) {
        this.tick = tick;
        this.#kinds = schema.kinds.map(planKind);
    }
    /** The entities of a kind, which need not be one of the schema: it is empty then. */
    kind(name) {
        let collection = this.#collections.get(name);
        if (!collection)
            this.#collections.set(name, (collection = new Collection()));
        return collection;
    }
    /** All entities, of every kind, in no particular order. */
    *entities() {
        for (const track of this.#tracks.values())
            yield track.entity;
    }
    /** The cells that you hear, the nearest first. */
    get view() {
        return [...this.#view];
    }
    /** What is held of each cell, as a copy, for tools and for tests. */
    cells() {
        const copy = ({ id, slot, kind, row, statics }) => ({ slot, generation: id & 255, kind, row: [...row], statics });
        return [...this.#cells].map(([cell, { held, members }]) => ({ cell, held, members: members.map(copy) }));
    }
    /**
     * Takes one tick message, without its type byte. Throws {@link ProtocolError} when it is malformed; the world is of no
     * use then.
     */
    apply(message) {
        const frame = readTick(message);
        const turn = new Turn(frame);
        for (const block of frame.blocks)
            this.#applyBlock(turn, block);
        this.tick = frame.tick;
        this.complete = frame.viewComplete;
        if (frame.skipped)
            this.stats.skipped++;
        this.#settleLeavers(turn);
        if (turn.check !== undefined)
            this.#checkView(turn, turn.check);
        const [added, changed] = this.#show(turn);
        const { removed, reliable, transients, heard, mismatch, wanted, viewTold } = turn;
        const { tick, seq, depth } = frame;
        return { tick, seq, depth, added, removed, changed, reliable, transients, heard, mismatch, wanted, viewTold };
    }
    /** Calls back for what a message did. Everything is in its new state by then. */
    announce(update) {
        const before = mark();
        for (const what of ["removed", "added", "changed"]) {
            for (const entity of update[what])
                this.kind(entity.kind).tell(what, entity, before);
        }
    }
    /** Forgets everything, tells so, and lets go of all callbacks. */
    clear() {
        const removed = [...this.entities()];
        for (const entity of removed)
            this.kind(entity.kind).drop(entity);
        const before = mark();
        for (const entity of removed)
            this.kind(entity.kind).tell("removed", entity, before);
        for (const collection of this.#collections.values())
            collection.clear();
        this.#view = new Set();
        this.#cells.clear();
        this.#tracks.clear();
        this.#leaving.clear();
        this.#memberCount = 0;
        this.me = this.#self = undefined;
    }
    #applyBlock(turn, block) {
        const reader = new Reader(block.bytes);
        switch (block.kind) {
            case BLOCK.view:
                this.#readView(turn, reader);
                break;
            case BLOCK.delta:
                this.#readDelta(turn, reader);
                break;
            case BLOCK.snapshot:
                this.#readSnapshot(turn, reader);
                break;
            case BLOCK.age:
                turn.asOf = (turn.frame.tick - reader.varint()) >>> 0;
                break;
            case BLOCK.self:
                turn.self = reader.left === 0 ? "none" : this.#readEntity(reader, false);
                break;
            case BLOCK.reliable:
                return this.#readReliable(turn, block.bytes);
            case BLOCK.heard:
                turn.heard = reader.varint();
                break;
            case BLOCK.transient:
                return void turn.transients.push(copied(readTransient(block.bytes, turn.asOf)));
            case BLOCK.check:
                turn.check = reader.u32();
                break;
            default:
                this.stats.unknownBlocks++;
                return;
        }
        reader.end();
    }
    #readReliable(turn, bytes) {
        const { number, content } = readReliable(bytes);
        const ahead = (number - this.ack) | 0;
        if (ahead <= 0)
            return;
        if (ahead > 1)
            return void this.stats.violations++;
        this.ack = number;
        if (content.type === "unknown")
            this.stats.unknownClasses++;
        else
            turn.reliable.push(content);
    }
    // Cells
    #readView(turn, reader) {
        const count = reader.varint();
        if (count > CELLS_MAX)
            throw new ProtocolError(`a view of ${count} cells`);
        const view = new Set();
        for (let i = 0; i < count; i++)
            view.add(reader.varint());
        this.#view = view;
        for (const [id, cell] of this.#cells) {
            if (!view.has(id))
                this.#forget(turn, id, cell);
        }
        turn.viewTold = true;
        for (const id of turn.wanted) {
            if (!view.has(id))
                turn.settle(id);
        }
    }
    #forget(turn, id, cell) {
        this.#cells.delete(id);
        this.#memberCount -= cell.members.length;
        for (const member of cell.members)
            this.#leave(id, member, { to: GONE, at: turn.asOf });
    }
    #readSnapshot(turn, reader) {
        const id = reader.varint();
        const sum = reader.u32();
        const members = this.#readMembers(reader);
        if (!this.#view.has(id))
            return this.#violation(turn, id);
        const old = this.#cells.get(id);
        this.#count(members.length - (old?.members.length ?? 0));
        this.#cells.set(id, { held: turn.asOf, members, moves: members.some((member) => this.#moves(member)) });
        for (const member of members)
            this.#takeIn(turn, id, member);
        // Whoever was taken in again follows its new member by now, so this removes only those that are not in the list.
        for (const member of old?.members ?? [])
            this.#leave(id, member, { to: GONE, at: turn.asOf });
        turn.settle(id);
        this.#compare(turn, id, members, sum);
    }
    #readDelta(turn, reader) {
        const id = reader.varint();
        const parts = reader.u8();
        const back = parts >>> 4 || reader.varint();
        if (back === 0)
            throw new ProtocolError("a delta based on itself");
        const sum = parts & PART.sum ? reader.u32() : undefined;
        const leaves = parts & PART.leaves ? readLeaves(reader) : [];
        const enters = parts & PART.enters ? this.#readMembers(reader) : [];
        const changes = parts & PART.changes ? reader.take(reader.left) : undefined;
        const cell = this.#cells.get(id);
        if (!cell || !follows(cell.held, turn.asOf, back))
            return this.#violation(turn, id);
        turn.work(cell.members.length);
        // What was not said moved with the old velocities up to the tick before, and into this one with the new ones.
        this.#predict(cell.members, ((turn.asOf - cell.held) | 0) - 1);
        if (changes && !this.#fits(turn, cell, changes)) {
            // The members are not those that the server means, and half changed by now.
            this.#forget(turn, id, cell);
            return this.#violation(turn, id);
        }
        this.#predict(cell.members, 1);
        const left = leaves.length === 0 || this.#applyLeaves(turn, id, cell, leaves);
        const entered = enters.length === 0 || this.#applyEnters(turn, id, cell, enters);
        if (!left || !entered)
            this.#violation(turn, id);
        cell.held = turn.asOf;
        cell.moves = cell.members.some((member) => this.#moves(member));
        if (sum !== undefined)
            this.#compare(turn, id, cell.members, sum);
    }
    #predict(members, ticks) {
        if (ticks === 0)
            return;
        for (const { kind, row } of members)
            predict(row, this.#kinds[kind], ticks);
    }
    #moves(member) {
        return this.#kinds[member.kind].moves.some(({ velocity }) => member.row[velocity] !== 0);
    }
    #fits(turn, cell, changes) {
        try {
            readChanges(new BitReader(changes), cell.members, this.#kinds, (member) => turn.touch(member));
            return true;
        }
        catch (error) {
            if (error instanceof ProtocolError)
                return false;
            throw error;
        }
    }
    /** Tells whether all of them were members. */
    #applyLeaves(turn, id, cell, leaves) {
        const leavers = new Map(leaves.map((leave) => [leave.slot, leave]));
        const stay = [];
        for (const member of cell.members) {
            const leave = leavers.get(member.slot);
            if (!leave) {
                stay.push(member);
                continue;
            }
            leavers.delete(member.slot);
            this.#leave(id, member, { to: leave.to, at: turn.asOf });
        }
        this.#count(stay.length - cell.members.length);
        cell.members = stay;
        return leavers.size === 0;
    }
    /** Tells whether none of them was a member already. Those that were are left as they are. */
    #applyEnters(turn, id, cell, enters) {
        const before = new Set(cell.members.map((member) => member.slot));
        const fresh = enters.filter((member) => !before.has(member.slot));
        this.#count(fresh.length);
        cell.members = [...cell.members, ...fresh].sort((a, b) => a.slot - b.slot);
        for (const member of fresh)
            this.#takeIn(turn, id, member);
        return fresh.length === enters.length;
    }
    #compare(turn, id, members, sum) {
        this.stats.sumsChecked++;
        if (sumOf(members) === sum)
            return;
        this.stats.desyncs++;
        this.#differs(turn, "sum", id);
    }
    #violation(turn, cell) {
        this.stats.violations++;
        this.#differs(turn, "misfit", cell);
    }
    /** What sums do not cover: a view that was not heard, and a cell whose last word was not. */
    #checkView(turn, sum) {
        this.stats.checks++;
        if (sumOfView(this.#cells) === sum)
            return;
        this.stats.desyncs++;
        turn.mismatch ??= "check";
        for (const id of this.#view) {
            if (!this.#cells.has(id))
                this.#differs(turn, "check", id);
        }
    }
    /** Names none but those of the view. */
    #differs(turn, why, cell) {
        turn.mismatch ??= why;
        if (this.#view.has(cell))
            turn.wanted.add(cell);
    }
    /** A false or broken server may name cells and entities without end; our memory has one. */
    #count(more) {
        this.#memberCount += more;
        if (this.#memberCount > MEMBERS_MAX)
            throw new ProtocolError(`more than ${MEMBERS_MAX} entities`);
    }
    #readMembers(reader) {
        const count = reader.varint();
        const members = [];
        for (let i = 0, before = -1; i < count; i++) {
            const member = this.#readEntity(reader, true);
            if (member.slot <= before)
                throw new ProtocolError("entities that do not ascend");
            before = member.slot;
            members.push(member);
        }
        return members;
    }
    #readEntity(reader, withStatics) {
        const slot = reader.varint();
        if (slot >= SLOTS)
            throw new ProtocolError(`slot ${slot}`);
        const generation = reader.u8();
        const kind = reader.varint();
        if (kind >= this.#kinds.length)
            throw new ProtocolError(`an entity of kind ${kind}`);
        const row = new Int32Array(this.#kinds[kind].fields);
        for (let field = 0; field < row.length; field++)
            row[field] = reader.zigzag();
        const statics = withStatics ? reader.str8() : "";
        return { id: slot * 256 + generation, slot, kind, row, statics, track: undefined };
    }
    // Homes
    /** A cell lists an entity: it is its home now, unless we know a home that is newer. */
    #takeIn(turn, cell, member) {
        let track = this.#tracks.get(member.slot);
        const stale = track !== undefined && track.home !== cell && ((turn.asOf - track.since) | 0) < 0;
        if (track && !isSame(track.member, member)) {
            if (stale)
                return;
            this.#remove(turn, track);
            track = undefined;
        }
        if (!track) {
            if (this.#tracks.size >= MEMBERS_MAX)
                throw new ProtocolError(`more than ${MEMBERS_MAX} entities`);
            this.#tracks.set(member.slot, (track = this.#newTrack(member)));
        }
        member.track = track;
        if (!stale)
            this.#settle(turn, track, cell, member, turn.asOf);
    }
    #newTrack(member) {
        const plan = this.#kinds[member.kind];
        // Your own entity may have been told before any cell listed it: it stays the same object.
        const known = this.me?.id === member.id && this.me.kind === plan.name ? this.me : undefined;
        const entity = known ?? new plan.Entity(member.id, plan.name, member.row.slice(), member.statics);
        entity.learn(member.statics);
        return { entity, member, home: 0, since: 0, leaving: undefined, announced: false };
    }
    #settle(turn, track, home, member, since) {
        track.home = home;
        track.since = since;
        track.member = member;
        member.track = track;
        if (track.leaving)
            this.#leaving.delete(track);
        track.leaving = undefined;
        turn.touch(member);
    }
    /** Only its home lets an entity go, and not before the whole message was read. */
    #leave(cell, member, leaving) {
        const track = member.track;
        if (!track || track.home !== cell || track.member !== member)
            return;
        track.leaving = leaving;
        this.#leaving.add(track);
    }
    #settleLeavers(turn) {
        for (const track of this.#leaving) {
            const { to, at } = track.leaving;
            const cell = to === GONE ? undefined : this.#cells.get(to);
            // On its way: the cell it went to has not told of that tick yet.
            // Who does not arrive where all is current was never on its way.
            const lost = this.complete && ((this.tick - at) | 0) > ON_ITS_WAY_TICKS_MAX;
            if (cell && !lost && ((at - cell.held) | 0) > 0)
                continue;
            const member = cell && find(cell.members, track.member);
            // A cell that publishes rarely may have listed it all along and need not say that it came back.
            if (member)
                this.#settle(turn, track, to, member, cell.held);
            else
                this.#remove(turn, track);
        }
    }
    #remove(turn, track) {
        this.#leaving.delete(track);
        if (this.#tracks.get(track.member.slot) === track)
            this.#tracks.delete(track.member.slot);
        track.member.track = undefined;
        turn.touched.delete(track);
        if (!track.announced)
            return;
        this.kind(track.entity.kind).drop(track.entity);
        turn.removed.push(track.entity);
    }
    // What the game sees
    /** Gives entities their new values, once, and sorts out for whom that is news. */
    #show(turn) {
        if (turn.self !== undefined)
            this.#learnSelf(turn, turn.self === "none" ? undefined : turn.self);
        this.#touchMoving(turn);
        const [added, changed] = [[], []];
        for (const track of turn.touched) {
            const { entity } = track;
            const differs = copyRow(this.#rowNow(track), entity.row);
            if (track.announced) {
                if (differs)
                    changed.push(entity);
                continue;
            }
            track.announced = true;
            this.kind(entity.kind).put(entity);
            added.push(entity);
        }
        if (this.me && this.#self && !this.#trackOf(this.#self))
            copyRow(this.#selfNow(), this.me.row);
        return [added, changed];
    }
    /** What moves goes on at every tick, whether or not its cell says something. */
    #touchMoving(turn) {
        for (const cell of this.#cells.values()) {
            if (!cell.moves)
                continue;
            turn.work(cell.members.length);
            for (const member of cell.members)
                if (this.#moves(member))
                    turn.touch(member);
        }
        for (const track of this.#leaving)
            turn.touched.add(track);
        const own = this.#self && this.#trackOf(this.#self);
        if (own)
            turn.touched.add(own);
    }
    /** The row to show at this tick; good until the next one is asked for. */
    #rowNow(track) {
        if (this.#self && track.entity === this.me)
            return this.#selfNow();
        const held = track.leaving ? track.leaving.at : this.#cells.get(track.home).held;
        return this.#movedOn(track.member, held);
    }
    #selfNow() {
        return this.#movedOn(this.#self, this.#selfAt);
    }
    #movedOn({ kind, row }, asOf) {
        const plan = this.#kinds[kind];
        plan.row.set(row);
        predict(plan.row, plan, (this.tick - asOf) | 0);
        return plan.row;
    }
    #learnSelf(turn, self) {
        // Whoever was yours before is shown as its cell has it again.
        const before = this.#self && this.#trackOf(this.#self);
        if (before)
            turn.touched.add(before);
        this.#self = self;
        this.#selfAt = this.tick;
        this.me = self && this.#entityOf(self);
    }
    /** One object for one entity, wherever it was told of first. */
    #entityOf(self) {
        const plan = this.#kinds[self.kind];
        const track = this.#trackOf(self);
        if (track)
            return track.entity;
        if (this.me?.id === self.id && this.me.kind === plan.name)
            return this.me;
        return new plan.Entity(self.id, plan.name, self.row.slice(), "");
    }
    #trackOf(like) {
        const track = this.#tracks.get(like.slot);
        return track && isSame(track.member, like) ? track : undefined;
    }
}
/** What has to be kept while one message is read. */
class Turn {
    frame;
    /** The tick that the next blocks are as of. */
    asOf;
    self;
    heard;
    touched = new Set();
    removed = [];
    reliable = [];
    transients = [];
    mismatch;
    wanted = new Set();
    viewTold = false;
    check;
    #rows = 0;
    constructor(frame) {
        this.frame = frame;
        this.asOf = frame.tick;
    }
    /** An empty delta is a few bytes and moves a whole cell: without a bound, a message could keep us busy for minutes. */
    work(rows) {
        this.#rows += rows;
        if (this.#rows > ROWS_MAX)
            throw new ProtocolError(`a message that moves more than ${ROWS_MAX} entities`);
    }
    /** A cell that differed was told anew, or is seen no longer. */
    settle(cell) {
        if (this.wanted.delete(cell) && this.wanted.size === 0)
            this.mismatch = undefined;
    }
    touch(member) {
        if (member.track?.member === member)
            this.touched.add(member.track);
    }
}
function planKind(kind) {
    const moves = kind.fields.flatMap((field, index) => field.velocityOf === undefined ? [] : [{ field: field.velocityOf, velocity: index }]);
    const row = new Int32Array(kind.fields.length);
    return { name: kind.name, fields: kind.fields.length, moves, row, Entity: entityMaker(kind) };
}
/** Base tick ≤ held < block tick, in ticks that wrap. */
function follows(held, tick, back) {
    const behind = (tick - held) >>> 0;
    return behind >= 1 && behind <= back;
}
/** By halves, since members ascend. */
function find(members, like) {
    let [low, high] = [0, members.length];
    while (low < high) {
        const middle = (low + high) >>> 1;
        if (members[middle].slot < like.slot)
            low = middle + 1;
        else
            high = middle;
    }
    const member = members[low];
    return member && isSame(member, like) ? member : undefined;
}
function isSame(a, b) {
    return a.id === b.id && a.kind === b.kind;
}
/** Tells whether anything was different. */
function copyRow(from, to) {
    let differs = false;
    for (let i = 0; i < to.length; i++) {
        differs ||= to[i] !== from[i];
        to[i] = from[i];
    }
    return differs;
}
/** The message a payload arrived in must not live as long as the payload may. */
function copied(transient) {
    return { ...transient, payload: transient.payload.slice() };
}
const PART = { sum: 1, leaves: 2, enters: 4, changes: 8 };
const GONE = -1;
const ON_ITS_WAY_TICKS_MAX = 16;
const SLOTS = 2 ** 24;
const CELLS_MAX = 16 * 1024;
const MEMBERS_MAX = 128 * 1024;
/** All that may be held, moved a few times: a server catches up by several deltas a cell, over some 32 KiB. */
const ROWS_MAX = 4 * MEMBERS_MAX;
