/** Why a connection ended, and what to do then: section 8 of the protocol page, as values and errors. */
/** The close codes that a client meets. */
export declare const CLOSE: {
    /** You left. */
    readonly left: 1000;
    /** The server is going away. */
    readonly away: 1001;
    /** Somebody broke the protocol. */
    readonly protocol: 1002;
    /** The connection broke, or nothing came through it any more. */
    readonly lost: 1006;
    /** Against the rules: too much, too late, or not understood. */
    readonly policy: 1008;
    /** The server failed. */
    readonly failed: 1011;
    /** Full, or you did not take what was sent to you. */
    readonly later: 1013;
    /** Refused; see {@link RefusedError}. */
    readonly refused: 4001;
    /** The room ended: its game failed. */
    readonly ended: 4002;
};
/** Whether it makes sense to join again, with a growing pause between tries. */
export declare function mayReconnect(code: number): boolean;
/** The codes by which a server refuses. */
export declare const REFUSED: {
    readonly outdated: 1;
    readonly unknownGame: 2;
    readonly unknownRoom: 3;
    readonly full: 4;
    readonly token: 5;
    readonly name: 6;
    readonly game: 7;
    readonly draining: 8;
    readonly seatGone: 9;
};
/** The server said no, and why. */
export declare class RefusedError extends Error {
    readonly code: number;
    readonly text: string;
    /** When a next try may succeed, if the server knows. */
    readonly retryAfterMs: number | undefined;
    readonly name = "RefusedError";
    /** `text` is for people, `code` is one of {@link REFUSED}. */
    constructor(code: number, text: string, 
    /** When a next try may succeed, if the server knows. */
    retryAfterMs: number | undefined);
    /** The same try may succeed later. */
    get mayRetry(): boolean;
}
/** The connection closed before there was a room, or while something was waited for. */
export declare class ClosedError extends Error {
    readonly code: number;
    readonly reason: string;
    readonly name = "ClosedError";
    constructor(code: number, reason: string);
}
