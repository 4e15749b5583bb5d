/**
 * A room that you are in: the world as you see it, what you say, and the socket between.
 *
 * Shell around {@link World}: it owns the socket, one timer and the clock. Everything that is due by time (pings,
 * acknowledgements) is also looked at when a message arrives, because a hidden tab has its timers slowed down to one a
 * minute, but not its messages.
 */
import { Clock } from "./clock.js";
import type { Collection, Entity, Values } from "./collection.js";
import { Input } from "./input.js";
import { type Desync, type Schema, type Transient } from "./messages.js";
import { type Unsubscribe } from "./signal.js";
import { World, type WorldStats } from "./world.js";
/** Somebody said something. */
export interface Chat {
    readonly player: number;
    readonly name: string;
    readonly text: string;
}
/** You got points. */
export interface Award {
    readonly points: number;
    readonly reason: string;
}
/** A property of the room (owner 0) or of a player; an empty value means that it was removed. */
export interface Property {
    readonly owner: number;
    readonly key: string;
    readonly value: Uint8Array;
}
/** A message of the game. */
export declare class Message {
    readonly kind: string;
    readonly payload: Uint8Array;
    constructor(kind: string, payload: Uint8Array);
    /** The payload as text. Throws {@link ProtocolError} where it is none. */
    get text(): string;
}
/** Counters of one room, since you entered it. */
export interface Stats extends WorldStats {
    /** Messages of a type that this version does not know. */
    readonly unknownTypes: number;
    /** Tags that this version does not know. */
    readonly unknownTags: number;
    /** How often the whole view was asked for again, because something differed. */
    readonly repairs: number;
    readonly messagesIn: number;
    readonly bytesIn: number;
    readonly messagesOut: number;
    readonly bytesOut: number;
}
export declare class Room {
    #private;
    /** The name by which others find this room: see `Client.joinById`. */
    readonly id: string;
    readonly game: string;
    /** Your number; chats and scores name it. */
    readonly player: number;
    /** Ticks a second. */
    readonly tickRate: number;
    /** Milliseconds a tick. */
    readonly stepMs: number;
    readonly schema: Schema;
    /** The world as it is known now. */
    readonly state: World;
    readonly clock: Clock;
    /**
     * The tick that is being shown, with a fraction: goes out with each input. An `Interpolator` sets it; if you do, keep it up, since the
     * server sends less to who seems to fall behind.
     */
    renderTick: number;
    /** The tick of the last message. */
    get tick(): number;
    /** Your own entity, if the game gave you one: the same object as in its collection, once that knows it. */
    get me(): Entity | undefined;
    /** The entities of the kind `player`. */
    get players(): Collection;
    /** The entities of a kind. Give an interface of its fields, and the compiler knows them. */
    kind<V = Values>(name: string): Collection<V>;
    /** You are in. */
    get connected(): boolean;
    /** Milliseconds there and back, smoothed; 0 before the first is known. */
    get rtt(): number;
    /** A copy of the counters. */
    get stats(): Stats;
    /** How many of your chats and messages the room has not taken yet. */
    get unheard(): number;
    /** Called once for each tick that arrives, after all else that it brought. */
    onStateChange(fn: (state: World) => void): Unsubscribe;
    /**
     * Called for each reliable message of a kind: `chat`, `award` and `property` are the room's own, all others are the
     * game's. `"*"` hears them all.
     */
    onMessage(kind: "chat", fn: (chat: Chat) => void): Unsubscribe;
    onMessage(kind: "award", fn: (award: Award) => void): Unsubscribe;
    onMessage(kind: "property", fn: (property: Property) => void): Unsubscribe;
    onMessage(kind: "*", fn: (kind: string, message: Message | Chat | Award | Property) => void): Unsubscribe;
    onMessage(kind: string, fn: (message: Message) => void): Unsubscribe;
    /** Called for things that happen at one place and moment and may be lost, such as a spark. `"*"` hears them all. */
    onTransient(kind: string, fn: (transient: Transient) => void): Unsubscribe;
    /**
     * Called when what you hold turns out not to be what the server has: a fault of somebody's, never of a slow network. It is mended by
     * itself within a round trip, and the server's operator can see it too.
     */
    onDesync(fn: (desync: Desync) => void): Unsubscribe;
    /** Called once, when it is over, whoever ended it; at once if it is. `CLOSE` and `mayReconnect` explain the code. */
    onLeave(fn: (code: number, reason: string) => void): Unsubscribe;
    /** What you ask the game for; one for the room. */
    input(): Input;
    /** Says something to everybody: 1 to 200 bytes of text. */
    chat(said: string): void;
    /** Sends the game a message that arrives once, in order. Text goes as UTF-8. Returns its number, or 0 after the end. */
    send(kind: string, payload?: Uint8Array | string): number;
    /** Measures the way there and back, in milliseconds. Fails with {@link ClosedError} when the room ends first. */
    ping(): Promise<number>;
    /** Ends it from here. All entities are removed, then `onLeave` is called with 1000. */
    leave(): void;
}
