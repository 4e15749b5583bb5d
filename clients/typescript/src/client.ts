/** The way in: opens a socket, says hello, and hands back a room or the reason why not. */
import { CLOSE, ClosedError, RefusedError } from "./close.js";
import { type Hello, readControl, type Seek, SUBPROTOCOL, TYPE, writeHello } from "./messages.js";
import { Room } from "./room.js";
import { bytesOf, shut, type SocketConstructor, type SocketLike } from "./socket.js";
import { ProtocolError, utf8 } from "./wire.js";

export interface ClientOptions {
  /** The WebSocket to use where there is none built in, as in Node 20: that of the package `ws` fits. */
  readonly WebSocket?: SocketConstructor;
  /** How long the server may take to let you in. 10 seconds unless given. */
  readonly timeoutMs?: number;
}

export interface JoinOptions {
  /** What others call you, 32 bytes at most, without invisible characters. The server chooses one unless given. */
  readonly name?: string;
  /** The build of your game, where the server has to run the same. */
  readonly build?: string;
  /** For the game; text goes as UTF-8. 1,024 bytes at most. */
  readonly options?: Uint8Array | string;
  /** A token that lets you in, where the server asks for one. */
  readonly token?: string;
  /** Gives up when it fires. */
  readonly signal?: AbortSignal;
}

/** A server that you can enter rooms of. Holds no connection itself. */
export class Client {
  /** Where the server listens for players. */
  readonly url: string;
  readonly #options: ClientOptions;

  /**
   * Takes the address of the server (`ws:` or `http:`, with TLS or without; no path means `/play`) or the location of a
   * page that it served.
   */
  constructor(server: string | URL | Location, options: ClientOptions = {}) {
    this.url = playUrl(server);
    this.#options = options;
  }

  /** Enters a room of this game, which is made if there is none. */
  joinOrCreate(game: string, options?: JoinOptions): Promise<Room> {
    return this.#enter({ how: "joinOrCreate", game }, options);
  }

  /** Enters a room of this game if there is one. */
  join(game: string, options?: JoinOptions): Promise<Room> {
    return this.#enter({ how: "join", game }, options);
  }

  /** Enters the room with this id. */
  joinById(room: string, options?: JoinOptions): Promise<Room> {
    return this.#enter({ how: "room", room }, options);
  }

  async #enter(seek: Seek, options: JoinOptions = {}): Promise<Room> {
    const WebSocket = this.#options.WebSocket ?? (globalThis.WebSocket as SocketConstructor | undefined);
    if (!WebSocket) throw new Error("there is no WebSocket here: give one, new Client(url, { WebSocket })");
    const door: Door = {
      WebSocket,
      hello: writeHello(helloOf(seek, options)),
      timeoutMs: this.#options.timeoutMs ?? TIMEOUT_MS,
      signal: options.signal,
    };
    let answer: Answer = { redirect: this.url };
    for (let hops = 0; hops <= REDIRECTS_MAX; hops++) {
      answer = await knock(door, answer.redirect);
      if ("room" in answer) return answer.room;
    }
    throw new ProtocolError(`more than ${REDIRECTS_MAX} redirects`);
  }
}

/** What is the same for each server that is asked. */
interface Door {
  readonly WebSocket: SocketConstructor;
  readonly hello: Uint8Array<ArrayBuffer>;
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
}

type Answer = { readonly room: Room } | { readonly redirect: string };

/** Asks one server. The socket is closed unless it became a room's. */
async function knock(door: Door, url: string): Promise<Answer> {
  door.signal?.throwIfAborted();
  const socket = new door.WebSocket(url, SUBPROTOCOL);
  socket.binaryType = "arraybuffer";
  const stop = new AbortController();
  try {
    return await new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new ClosedError(CLOSE.lost, "no answer in time")), door.timeoutMs);
      stop.signal.addEventListener("abort", () => clearTimeout(late));
      door.signal?.addEventListener("abort", () => reject(door.signal!.reason), { signal: stop.signal });
      socket.onopen = () => socket.send(door.hello);
      socket.onclose = (event) => reject(new ClosedError(event.code, event.reason));
      socket.onerror = () => {}; // A close always follows, and has the code.
      socket.onmessage = (event) => {
        try {
          const answer = answerOf(socket, bytesOf(event.data));
          if (answer) resolve(answer);
        } catch (error) {
          reject(error);
        }
      };
    });
  } catch (error) {
    release(socket, error instanceof ProtocolError ? CLOSE.protocol : CLOSE.left);
    throw error;
  } finally {
    stop.abort();
  }
}

/** What the server's first words mean; nothing if they mean nothing to us. */
function answerOf(socket: SocketLike, bytes: Uint8Array): Answer | undefined {
  if (bytes.length === 0) throw new ProtocolError("an empty message");
  if (bytes[0] === TYPE.tick || bytes[0] === TYPE.pong) throw new ProtocolError("a message before the welcome");
  if (bytes[0] !== TYPE.control) return undefined;
  const control = readControl(bytes.subarray(1));
  switch (control.type) {
    case "welcome":
      return { room: new Room(socket, control) };
    case "redirect": {
      const redirect = redirectUrl(control.url);
      release(socket, CLOSE.left);
      return { redirect };
    }
    case "refused":
      throw new RefusedError(control.code, control.text, control.retryAfterMs);
  }
}

/** Done with this one: whatever it still says is not heard. */
function release(socket: SocketLike, code: number): void {
  socket.onopen = socket.onmessage = socket.onclose = null;
  shut(socket, code);
}

function helloOf(seek: Seek, options: JoinOptions): Hello {
  const { name = "", build = "", token = "", options: forGame = "" } = options;
  const bytes = typeof forGame === "string" ? utf8(forGame) : forGame;
  return { seek, name, build, token, options: bytes, resume: new Uint8Array() };
}

/** Where players connect, from whatever names the server. */
function playUrl(server: string | URL | Location): string {
  const isPage = typeof server === "object" && !(server instanceof URL);
  const url = new URL(typeof server === "string" ? server : server.href);
  url.protocol = url.protocol === "https:" || url.protocol === "wss:" ? "wss:" : "ws:";
  if (isPage || url.pathname === "/") url.pathname = "/play";
  if (isPage) url.search = "";
  url.hash = "";
  return url.href;
}

function redirectUrl(url: string): string {
  try {
    return playUrl(url);
  } catch {
    throw new ProtocolError("a redirect to nowhere");
  }
}

const TIMEOUT_MS = 10_000;
const REDIRECTS_MAX = 3;
