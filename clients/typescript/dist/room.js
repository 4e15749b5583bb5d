/**
 * A room that you are in: the world as you see it, what you say, and the socket between.
 *
 * Shell around {@link World}: it owns the socket, one timer and the clock. Everything that is due by time (pings,
 * acknowledgements) is also looked at when a message arrives, because a hidden tab has its timers slowed down to one a
 * minute, but not its messages.
 */
import { Clock } from "./clock.js";
import { Input } from "./input.js";
import { MESSAGE_BYTES_MAX, readPong, TYPE, writeAck, writeInput, writeMessage, writePing, writeRepair, } from "./messages.js";
import { CLOSE, ClosedError } from "./close.js";
import { mark, Signal } from "./signal.js";
import { bytesOf, shut } from "./socket.js";
import { ProtocolError, text, utf8 } from "./wire.js";
import { World } from "./world.js";
/** A message of the game. */
export class Message {
    kind;
    payload;
    constructor(kind, payload) {
        this.kind = kind;
        this.payload = payload;
    }
    /** The payload as text. Throws {@link ProtocolError} where it is none. */
    get text() {
        return text(this.payload);
    }
}
export class Room {
    /** The name by which others find this room: see `Client.joinById`. */
    id;
    game;
    /** Your number; chats and scores name it. */
    player;
    /** Ticks a second. */
    tickRate;
    /** Milliseconds a tick. */
    stepMs;
    schema;
    /** The world as it is known now. */
    state;
    clock;
    /**
     * The tick that is being shown, with a fraction: goes out with each input. An `Interpolator` sets it; if you do, keep it up, since the
     * server sends less to who seems to fall behind.
     */
    renderTick = 0;
    #socket;
    #input;
    #timer;
    #stateChanged = new Signal();
    #left = new Signal();
    #messages = new Map();
    #allMessages = new Signal();
    #desynced = new Signal();
    #transients = new Map();
    #pings = new Map();
    #own = { unknownTypes: 0, unknownTags: 0, repairs: 0, messagesIn: 0, bytesIn: 0, messagesOut: 0, bytesOut: 0 };
    #end;
    /** What came in before whoever entered had a turn to register callbacks; none once it has been delivered. */
    #early = [];
    /** The tick at which a repair was asked for that has not been answered. */
    #askedAt;
    #answered = false;
    #sent = 0;
    #heard = 0;
    #ackSent = 0;
    #ackDue = Infinity;
    #lastPing = -Infinity;
    #lastPoll;
    #lastByte;
    #stamp = 0n;
    #rtt = 0;
    /** @internal Use a `Client`. The socket is open and has said `welcome`. */
    constructor(socket, welcome, now = performance.now()) {
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
        socket.onerror = () => { };
        this.#timer = setInterval(() => this.poll(), POLL_MS);
        setTimeout(() => this.#begin());
    }
    /** The tick of the last message. */
    get tick() {
        return this.state.tick;
    }
    /** Your own entity, if the game gave you one: the same object as in its collection, once that knows it. */
    get me() {
        return this.state.me;
    }
    /** The entities of the kind `player`. */
    get players() {
        return this.state.kind("player");
    }
    /** The entities of a kind. Give an interface of its fields, and the compiler knows them. */
    kind(name) {
        return this.state.kind(name);
    }
    /** You are in. */
    get connected() {
        return this.#end === undefined;
    }
    /** Milliseconds there and back, smoothed; 0 before the first is known. */
    get rtt() {
        return this.#rtt;
    }
    /** A copy of the counters. */
    get stats() {
        return { ...this.state.stats, ...this.#own };
    }
    /** How many of your chats and messages the room has not taken yet. */
    get unheard() {
        return this.#sent - this.#heard;
    }
    /** Called once for each tick that arrives, after all else that it brought. */
    onStateChange(fn) {
        return this.#stateChanged.on(fn);
    }
    onMessage(kind, fn) {
        if (kind === "*")
            return this.#allMessages.on(fn);
        // The room's own kinds stand as they are; the game's are kept apart from them.
        return signalOf(this.#messages, OWN_KINDS.has(kind) ? kind : GAME + kind).on(fn);
    }
    /** Called for things that happen at one place and moment and may be lost, such as a spark. `"*"` hears them all. */
    onTransient(kind, fn) {
        return signalOf(this.#transients, kind).on(fn);
    }
    /**
     * Called when what you hold turns out not to be what the server has: a fault of somebody's, never of a slow network. It is mended by
     * itself within a round trip, and the server's operator can see it too.
     */
    onDesync(fn) {
        return this.#desynced.on(fn);
    }
    /** Called once, when it is over, whoever ended it; at once if it is. `CLOSE` and `mayReconnect` explain the code. */
    onLeave(fn) {
        if (this.#end)
            fn(this.#end.code, this.#end.reason);
        return this.#left.on(fn);
    }
    /** What you ask the game for; one for the room. */
    input() {
        return this.#input;
    }
    /** Says something to everybody: 1 to 200 bytes of text. */
    chat(said) {
        const payload = utf8(said);
        if (payload.length < 1 || payload.length > CHAT_BYTES_MAX) {
            throw new RangeError(`a chat has 1 to ${CHAT_BYTES_MAX} bytes, not ${payload.length}`);
        }
        this.send("chat", payload);
    }
    /** Sends the game a message that arrives once, in order. Text goes as UTF-8. Returns its number, or 0 after the end. */
    send(kind, payload = "") {
        const bytes = typeof payload === "string" ? utf8(payload) : payload;
        const kindBytes = utf8(kind).length;
        if (kindBytes < 1 || kindBytes > KIND_BYTES_MAX) {
            throw new RangeError(`the kind of a message has 1 to ${KIND_BYTES_MAX} bytes, not ${kindBytes}`);
        }
        if (bytes.length > PAYLOAD_BYTES_MAX) {
            throw new RangeError(`a message has at most ${PAYLOAD_BYTES_MAX} bytes, not ${bytes.length}`);
        }
        if (!this.connected)
            return 0;
        this.#transmit(writeMessage(++this.#sent, kind, bytes));
        return this.#sent;
    }
    /** Measures the way there and back, in milliseconds. Fails with {@link ClosedError} when the room ends first. */
    ping() {
        if (this.#end)
            return Promise.reject(new ClosedError(this.#end.code, this.#end.reason));
        return new Promise((resolve, reject) => this.#ping(performance.now(), { resolve, reject }));
    }
    /** Ends it from here. All entities are removed, then `onLeave` is called with 1000. */
    leave() {
        if (!this.connected)
            return;
        shut(this.#socket, CLOSE.left);
        this.#finish(CLOSE.left, "");
    }
    /** @internal Does what is due. Called by the timer and by each message. */
    poll(now = performance.now()) {
        if (!this.connected)
            return;
        // The machine slept, or the tab was frozen: what the server sent meanwhile has not been read yet, so wait for it.
        if (now - this.#lastPoll > FROZEN_MS)
            this.#lastByte = now;
        this.#lastPoll = now;
        if (now - this.#lastByte > SILENCE_MS)
            return this.#abandon(CLOSE.lost, "the server has been silent");
        if (now - this.#lastPing >= PING_MS)
            this.#ping(now);
        if (now >= this.#ackDue)
            this.#transmit(writeAck(this.#acked()));
    }
    /**
     * Delivers what the socket has, but not before `#begin`: outside of browsers, one turn of the event loop can bring the
     * welcome and what follows it, and the promise of this room settles only at the end of that turn.
     */
    #arrive(deliver) {
        if (!this.#early)
            return deliver();
        this.#early.push(deliver);
        if (this.#early.length >= EARLY_MAX)
            this.#begin();
    }
    #begin() {
        const early = this.#early ?? [];
        this.#early = undefined;
        for (const deliver of early)
            deliver();
    }
    #receive(data, now) {
        if (!this.connected)
            return;
        this.#lastByte = now;
        try {
            this.#handle(bytesOf(data), now);
        }
        catch (error) {
            if (!(error instanceof ProtocolError))
                throw error;
            return this.#abandon(CLOSE.protocol, error.message);
        }
        this.poll(now);
    }
    #handle(bytes, now) {
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
    #handleTick(content, now) {
        const update = this.state.apply(content);
        this.clock.heard(update.tick, now);
        this.#input.heard(update.seq, update.depth);
        if (update.heard !== undefined)
            this.#heard = update.heard;
        if (this.state.ack !== this.#ackSent)
            this.#ackDue = Math.min(this.#ackDue, now + ACK_MS);
        const desync = this.#mend(update);
        // Whoever is called may leave: then nobody else is called any more.
        if (desync)
            this.#desynced.emit(mark(), desync);
        this.state.announce(update);
        for (const transient of update.transients)
            this.#tellTransient(transient);
        for (const reliable of update.reliable)
            this.#tellReliable(reliable);
        this.#stateChanged.emit(mark(), this.state);
    }
    #handlePong(content, now) {
        const { stamp } = readPong(content);
        const ping = this.#pings.get(stamp);
        if (!ping)
            return;
        this.#pings.delete(stamp);
        const rtt = now - ping.sentAt;
        this.#rtt = this.#rtt === 0 ? rtt : this.#rtt + (rtt - this.#rtt) / 4;
        ping.asked?.resolve(rtt);
    }
    #tellReliable(reliable) {
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
    #tell(key, kind, message) {
        const before = mark();
        this.#messages.get(key)?.emit(before, message);
        this.#allMessages.emit(before, kind, message);
    }
    #tellTransient(transient) {
        const before = mark();
        this.#transients.get(transient.kind)?.emit(before, transient);
        this.#transients.get("*")?.emit(before, transient);
    }
    #sendInput(seq, row) {
        // What would only wait here is stale when it goes: the server wants the newest input, not all of them.
        if (!this.connected || this.#socket.bufferedAmount > BUFFERED_BYTES_MAX)
            return false;
        this.#transmit(writeInput(seq, this.#acked(), this.#shown(), row));
        return true;
    }
    /** In 1/16 ticks. The server takes from it how far this client is behind: never ahead of what has come, and 0 when nobody keeps it up. */
    #shown() {
        const behind = this.tick - this.renderTick;
        if (!(this.renderTick > 0 && behind < this.tickRate))
            return 0;
        return Math.round(Math.min(this.renderTick, this.tick) * 16) >>> 0;
    }
    /** The acknowledgement to send now. */
    #acked() {
        this.#ackDue = Infinity;
        this.#ackSent = this.state.ack;
        return this.#ackSent;
    }
    /** Asks to be told all of the view anew: once, until it was or has been waited for in vain. */
    #mend({ tick, mismatch, wanted, viewTold }) {
        this.#answered ||= viewTold;
        if (this.#askedAt !== undefined && (tick - this.#askedAt) >>> 0 < REPAIR_TICKS) {
            if (!this.#answered || !this.state.complete)
                return undefined;
            this.#askedAt = undefined;
        }
        if (!mismatch)
            return undefined;
        this.#askedAt = tick;
        this.#answered = false;
        this.#own.repairs++;
        const desync = { why: mismatch, tick, cells: [...wanted] };
        this.#transmit(writeRepair(desync));
        return desync;
    }
    #ping(now, asked) {
        this.#lastPing = now;
        this.#pings.set(++this.#stamp, { sentAt: now, asked });
        if (this.#pings.size > PINGS_MAX)
            this.#forgetPing();
        this.#transmit(writePing(this.#stamp));
    }
    #forgetPing() {
        const [[stamp, ping]] = this.#pings;
        this.#pings.delete(stamp);
        ping.asked?.reject(new Error("too many pings without an answer"));
    }
    #transmit(bytes) {
        this.#own.messagesOut++;
        this.#own.bytesOut += bytes.length;
        this.#socket.send(bytes);
    }
    #abandon(code, reason) {
        shut(this.#socket, code);
        this.#finish(code, reason);
    }
    /** Over. Nothing is called afterwards, and nothing is held. */
    #finish(code, reason) {
        if (this.#end)
            return;
        this.#end = { code, reason };
        clearInterval(this.#timer);
        this.#early = undefined;
        this.#socket.onmessage = this.#socket.onclose = null;
        for (const ping of this.#pings.values())
            ping.asked?.reject(new ClosedError(code, reason));
        this.#pings.clear();
        this.state.clear();
        this.#left.emit(mark(), code, reason);
        const signals = [...this.#messages.values(), ...this.#transients.values()];
        for (const signal of [...signals, this.#stateChanged, this.#allMessages, this.#desynced, this.#left])
            signal.clear();
    }
}
function signalOf(signals, key) {
    let signal = signals.get(key);
    if (!signal)
        signals.set(key, (signal = new Signal()));
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
