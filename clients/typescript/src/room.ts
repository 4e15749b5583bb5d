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
import {
  type Desync,
  MESSAGE_BYTES_MAX,
  readPong,
  type Reliable,
  type Schema,
  TYPE,
  type Transient,
  writeAck,
  writeInput,
  writeMessage,
  writePing,
  writeRepair,
  type Welcome,
} from "./messages.js";
import { CLOSE, ClosedError } from "./close.js";
import { mark, Signal, type Unsubscribe } from "./signal.js";
import { bytesOf, shut, type SocketLike } from "./socket.js";
import { ProtocolError, text, utf8 } from "./wire.js";
import { type Update, World, type WorldStats } from "./world.js";

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
export class Message {
  constructor(
    readonly kind: string,
    readonly payload: Uint8Array,
  ) {}

  /** The payload as text. Throws {@link ProtocolError} where it is none. */
  get text(): string {
    return text(this.payload);
  }
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

export class Room {
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
  renderTick = 0;

  readonly #socket: SocketLike;
  readonly #input: Input;
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #stateChanged = new Signal<[World]>();
  readonly #left = new Signal<[number, string]>();
  readonly #messages = new Map<string, Signal<[any]>>();
  readonly #allMessages = new Signal<[string, Message | Chat | Award | Property]>();
  readonly #desynced = new Signal<[Desync]>();
  readonly #transients = new Map<string, Signal<[Transient]>>();
  readonly #pings = new Map<bigint, Ping>();
  readonly #own = { unknownTypes: 0, unknownTags: 0, repairs: 0, messagesIn: 0, bytesIn: 0, messagesOut: 0, bytesOut: 0 };
  #end: { readonly code: number; readonly reason: string } | undefined;
  /** What came in before whoever entered had a turn to register callbacks; none once it has been delivered. */
  #early: (() => void)[] | undefined = [];
  /** The tick at which a repair was asked for that has not been answered. */
  #askedAt: number | undefined;
  #answered = false;
  #sent = 0;
  #heard = 0;
  #ackSent = 0;
  #ackDue = Infinity;
  #lastPing = -Infinity;
  #lastPoll: number;
  #lastByte: number;
  #stamp = 0n;
  #rtt = 0;

  /** @internal Use a `Client`. The socket is open and has said `welcome`. */
  constructor(socket: SocketLike, welcome: Welcome, now = performance.now()) {
    this.id = welcome.room;
    this.game = welcome.game;
    this.player = welcome.player;
    this.tickRate = welcome.tickRate;
    this.stepMs = welcome.step / 1000;
    this.schema = welcome.schema;
    this.state = new World(welcome.schema, welcome.tick);
    this.clock = new Clock(this.stepMs);
    this.#own.unknownTags = welcome.unknownTags;
    this.#input = new Input(welcome.schema.input, this.stepMs, (seq, row) => this.#sendInput(seq, row));
    this.#lastPoll = this.#lastByte = now;
    this.#socket = socket;
    socket.onmessage = ({ data }) => {
      const at = performance.now();
      this.#arrive(() => this.#receive(data, at));
    };
    socket.onclose = ({ code, reason }) => this.#arrive(() => this.#finish(code, reason));
    // A close always follows. Left without a listener, an error would be thrown by some implementations.
    socket.onerror = () => {};
    this.#timer = setInterval(() => this.poll(), POLL_MS);
    setTimeout(() => this.#begin());
  }

  /** The tick of the last message. */
  get tick(): number {
    return this.state.tick;
  }

  /** Your own entity, if the game gave you one: the same object as in its collection, once that knows it. */
  get me(): Entity | undefined {
    return this.state.me;
  }

  /** The entities of the kind `player`. */
  get players(): Collection {
    return this.state.kind("player");
  }

  /** The entities of a kind. Give an interface of its fields, and the compiler knows them. */
  kind<V = Values>(name: string): Collection<V> {
    return this.state.kind(name) as unknown as Collection<V>;
  }

  /** You are in. */
  get connected(): boolean {
    return this.#end === undefined;
  }

  /** Milliseconds there and back, smoothed; 0 before the first is known. */
  get rtt(): number {
    return this.#rtt;
  }

  /** A copy of the counters. */
  get stats(): Stats {
    return { ...this.state.stats, ...this.#own };
  }

  /** How many of your chats and messages the room has not taken yet. */
  get unheard(): number {
    return this.#sent - this.#heard;
  }

  /** Called once for each tick that arrives, after all else that it brought. */
  onStateChange(fn: (state: World) => void): Unsubscribe {
    return this.#stateChanged.on(fn);
  }

  /**
   * Called for each reliable message of a kind: `chat`, `award` and `property` are the room's own, all others are the
   * game's. `"*"` hears them all.
   */
  onMessage(kind: "chat", fn: (chat: Chat) => void): Unsubscribe;
  onMessage(kind: "award", fn: (award: Award) => void): Unsubscribe;
  onMessage(kind: "property", fn: (property: Property) => void): Unsubscribe;
  onMessage(kind: "*", fn: (kind: string, message: Message | Chat | Award | Property) => void): Unsubscribe;
  onMessage(kind: string, fn: (message: Message) => void): Unsubscribe;
  onMessage(kind: string, fn: (...args: any[]) => void): Unsubscribe {
    if (kind === "*") return this.#allMessages.on(fn);
    // The room's own kinds stand as they are; the game's are kept apart from them.
    return signalOf(this.#messages, OWN_KINDS.has(kind) ? kind : GAME + kind).on(fn);
  }

  /** Called for things that happen at one place and moment and may be lost, such as a spark. `"*"` hears them all. */
  onTransient(kind: string, fn: (transient: Transient) => void): Unsubscribe {
    return signalOf(this.#transients, kind).on(fn);
  }

  /**
   * Called when what you hold turns out not to be what the server has: a fault of somebody's, never of a slow network. It is mended by
   * itself within a round trip, and the server's operator can see it too.
   */
  onDesync(fn: (desync: Desync) => void): Unsubscribe {
    return this.#desynced.on(fn);
  }

  /** Called once, when it is over, whoever ended it; at once if it is. `CLOSE` and `mayReconnect` explain the code. */
  onLeave(fn: (code: number, reason: string) => void): Unsubscribe {
    if (this.#end) fn(this.#end.code, this.#end.reason);
    return this.#left.on(fn);
  }

  /** What you ask the game for; one for the room. */
  input(): Input {
    return this.#input;
  }

  /** Says something to everybody: 1 to 200 bytes of text. */
  chat(said: string): void {
    const payload = utf8(said);
    if (payload.length < 1 || payload.length > CHAT_BYTES_MAX) {
      throw new RangeError(`a chat has 1 to ${CHAT_BYTES_MAX} bytes, not ${payload.length}`);
    }
    this.send("chat", payload);
  }

  /** Sends the game a message that arrives once, in order. Text goes as UTF-8. Returns its number, or 0 after the end. */
  send(kind: string, payload: Uint8Array | string = ""): number {
    const bytes = typeof payload === "string" ? utf8(payload) : payload;
    const kindBytes = utf8(kind).length;
    if (kindBytes < 1 || kindBytes > KIND_BYTES_MAX) {
      throw new RangeError(`the kind of a message has 1 to ${KIND_BYTES_MAX} bytes, not ${kindBytes}`);
    }
    if (bytes.length > PAYLOAD_BYTES_MAX) {
      throw new RangeError(`a message has at most ${PAYLOAD_BYTES_MAX} bytes, not ${bytes.length}`);
    }
    if (!this.connected) return 0;
    this.#transmit(writeMessage(++this.#sent, kind, bytes));
    return this.#sent;
  }

  /** Measures the way there and back, in milliseconds. Fails with {@link ClosedError} when the room ends first. */
  ping(): Promise<number> {
    if (this.#end) return Promise.reject(new ClosedError(this.#end.code, this.#end.reason));
    return new Promise((resolve, reject) => this.#ping(performance.now(), { resolve, reject }));
  }

  /** Ends it from here. All entities are removed, then `onLeave` is called with 1000. */
  leave(): void {
    if (!this.connected) return;
    shut(this.#socket, CLOSE.left);
    this.#finish(CLOSE.left, "");
  }

  /** @internal Does what is due. Called by the timer and by each message. */
  poll(now = performance.now()): void {
    if (!this.connected) return;
    // The machine slept, or the tab was frozen: what the server sent meanwhile has not been read yet, so wait for it.
    if (now - this.#lastPoll > FROZEN_MS) this.#lastByte = now;
    this.#lastPoll = now;
    if (now - this.#lastByte > SILENCE_MS) return this.#abandon(CLOSE.lost, "the server has been silent");
    if (now - this.#lastPing >= PING_MS) this.#ping(now);
    if (now >= this.#ackDue) this.#transmit(writeAck(this.#acked()));
  }

  /**
   * Delivers what the socket has, but not before `#begin`: outside of browsers, one turn of the event loop can bring the
   * welcome and what follows it, and the promise of this room settles only at the end of that turn.
   */
  #arrive(deliver: () => void): void {
    if (!this.#early) return deliver();
    this.#early.push(deliver);
    if (this.#early.length >= EARLY_MAX) this.#begin();
  }

  #begin(): void {
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const deliver of early) deliver();
  }

  #receive(data: unknown, now: number): void {
    if (!this.connected) return;
    this.#lastByte = now;
    try {
      this.#handle(bytesOf(data), now);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      return this.#abandon(CLOSE.protocol, error.message);
    }
    this.poll(now);
  }

  #handle(bytes: Uint8Array, now: number): void {
    this.#own.messagesIn++;
    this.#own.bytesIn += bytes.length;
    if (bytes.length === 0 || bytes.length > MESSAGE_BYTES_MAX) {
      throw new ProtocolError(`a message of ${bytes.length} bytes`);
    }
    const content = bytes.subarray(1);
    switch (bytes[0]) {
      case TYPE.tick:
        return this.#handleTick(content, now);
      case TYPE.pong:
        return this.#handlePong(content, now);
      case TYPE.control:
        throw new ProtocolError("a control message after the welcome");
      default:
        this.#own.unknownTypes++;
    }
  }

  #handleTick(content: Uint8Array, now: number): void {
    const update = this.state.apply(content);
    this.clock.heard(update.tick, now);
    this.#input.heard(update.seq, update.depth);
    if (update.heard !== undefined) this.#heard = update.heard;
    if (this.state.ack !== this.#ackSent) this.#ackDue = Math.min(this.#ackDue, now + ACK_MS);
    const desync = this.#mend(update);
    // Whoever is called may leave: then nobody else is called any more.
    if (desync) this.#desynced.emit(mark(), desync);
    this.state.announce(update);
    for (const transient of update.transients) this.#tellTransient(transient);
    for (const reliable of update.reliable) this.#tellReliable(reliable);
    this.#stateChanged.emit(mark(), this.state);
  }

  #handlePong(content: Uint8Array, now: number): void {
    const { stamp } = readPong(content);
    const ping = this.#pings.get(stamp);
    if (!ping) return;
    this.#pings.delete(stamp);
    const rtt = now - ping.sentAt;
    this.#rtt = this.#rtt === 0 ? rtt : this.#rtt + (rtt - this.#rtt) / 4;
    ping.asked?.resolve(rtt);
  }

  #tellReliable(reliable: Reliable): void {
    switch (reliable.type) {
      case "message":
        return this.#tell(GAME + reliable.kind, reliable.kind, new Message(reliable.kind, reliable.payload));
      case "chat":
      case "award":
      case "property": {
        const { type, ...message } = reliable;
        return this.#tell(type, type, message);
      }
    }
  }

  #tell(key: string, kind: string, message: Message | Chat | Award | Property): void {
    const before = mark();
    this.#messages.get(key)?.emit(before, message);
    this.#allMessages.emit(before, kind, message);
  }

  #tellTransient(transient: Transient): void {
    const before = mark();
    this.#transients.get(transient.kind)?.emit(before, transient);
    this.#transients.get("*")?.emit(before, transient);
  }

  #sendInput(seq: number, row: Int32Array): boolean {
    // What would only wait here is stale when it goes: the server wants the newest input, not all of them.
    if (!this.connected || this.#socket.bufferedAmount > BUFFERED_BYTES_MAX) return false;
    this.#transmit(writeInput(seq, this.#acked(), this.#shown(), row));
    return true;
  }

  /** In 1/16 ticks. The server takes from it how far this client is behind: never ahead of what has come, and 0 when nobody keeps it up. */
  #shown(): number {
    const behind = this.tick - this.renderTick;
    if (!(this.renderTick > 0 && behind < this.tickRate)) return 0;
    return Math.round(Math.min(this.renderTick, this.tick) * 16) >>> 0;
  }

  /** The acknowledgement to send now. */
  #acked(): number {
    this.#ackDue = Infinity;
    this.#ackSent = this.state.ack;
    return this.#ackSent;
  }

  /** Asks to be told all of the view anew: once, until it was or has been waited for in vain. */
  #mend({ tick, mismatch, wanted, viewTold }: Update): Desync | undefined {
    this.#answered ||= viewTold;
    if (this.#askedAt !== undefined && (tick - this.#askedAt) >>> 0 < REPAIR_TICKS) {
      if (!this.#answered || !this.state.complete) return undefined;
      this.#askedAt = undefined;
    }
    if (!mismatch) return undefined;
    this.#askedAt = tick;
    this.#answered = false;
    this.#own.repairs++;
    const desync = { why: mismatch, tick, cells: [...wanted] };
    this.#transmit(writeRepair(desync));
    return desync;
  }

  #ping(now: number, asked?: Asked): void {
    this.#lastPing = now;
    this.#pings.set(++this.#stamp, { sentAt: now, asked });
    if (this.#pings.size > PINGS_MAX) this.#forgetPing();
    this.#transmit(writePing(this.#stamp));
  }

  #forgetPing(): void {
    const [[stamp, ping]] = this.#pings;
    this.#pings.delete(stamp);
    ping.asked?.reject(new Error("too many pings without an answer"));
  }

  #transmit(bytes: Uint8Array<ArrayBuffer>): void {
    this.#own.messagesOut++;
    this.#own.bytesOut += bytes.length;
    this.#socket.send(bytes);
  }

  #abandon(code: number, reason: string): void {
    shut(this.#socket, code);
    this.#finish(code, reason);
  }

  /** Over. Nothing is called afterwards, and nothing is held. */
  #finish(code: number, reason: string): void {
    if (this.#end) return;
    this.#end = { code, reason };
    clearInterval(this.#timer);
    this.#early = undefined;
    this.#socket.onmessage = this.#socket.onclose = null;
    for (const ping of this.#pings.values()) ping.asked?.reject(new ClosedError(code, reason));
    this.#pings.clear();
    this.state.clear();
    this.#left.emit(mark(), code, reason);
    const signals = [...this.#messages.values(), ...this.#transients.values()];
    for (const signal of [...signals, this.#stateChanged, this.#allMessages, this.#desynced, this.#left]) signal.clear();
  }
}

interface Asked {
  readonly resolve: (rtt: number) => void;
  readonly reject: (error: Error) => void;
}

interface Ping {
  readonly sentAt: number;
  readonly asked: Asked | undefined;
}

function signalOf<T extends unknown[]>(signals: Map<string, Signal<T>>, key: string): Signal<T> {
  let signal = signals.get(key);
  if (!signal) signals.set(key, (signal = new Signal()));
  return signal;
}

const OWN_KINDS = new Set(["chat", "award", "property"]);
const GAME = "game:";
/** More than an honest server says within a turn, or within the second that the timer of a hidden tab may be late. */
const EARLY_MAX = 256;
const POLL_MS = 250;
const PING_MS = 1000;
const PINGS_MAX = 32;
const ACK_MS = 250;
/** How long the answer to a repair is waited for, in ticks. */
const REPAIR_TICKS = 64;
/** A server says something once a second at least. */
const SILENCE_MS = 10_000;
const FROZEN_MS = 3_000;
const BUFFERED_BYTES_MAX = 16 * 1024;
const CHAT_BYTES_MAX = 200;
const KIND_BYTES_MAX = 32;
const PAYLOAD_BYTES_MAX = 1024;
