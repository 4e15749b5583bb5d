import { Room } from "./room.js";
import { type SocketConstructor } from "./socket.js";
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
export declare class Client {
    #private;
    /** Where the server listens for players. */
    readonly url: string;
    /**
     * Takes the address of the server (`ws:` or `http:`, with TLS or without; no path means `/play`) or the location of a
     * page that it served.
     */
    constructor(server: string | URL | Location, options?: ClientOptions);
    /** Enters a room of this game, which is made if there is none. */
    joinOrCreate(game: string, options?: JoinOptions): Promise<Room>;
    /** Enters a room of this game if there is one. */
    join(game: string, options?: JoinOptions): Promise<Room>;
    /** Enters the room with this id. */
    joinById(room: string, options?: JoinOptions): Promise<Room>;
}
