/** Why a connection ended, and what to do then: section 8 of the protocol page, as values and errors. */

/** The close codes that a client meets. */
export const CLOSE = {
  /** You left. */
  left: 1000,
  /** The server is going away. */
  away: 1001,
  /** Somebody broke the protocol. */
  protocol: 1002,
  /** The connection broke, or nothing came through it any more. */
  lost: 1006,
  /** Against the rules: too much, too late, or not understood. */
  policy: 1008,
  /** The server failed. */
  failed: 1011,
  /** Full, or you did not take what was sent to you. */
  later: 1013,
  /** Refused; see {@link RefusedError}. */
  refused: 4001,
  /** The room ended: its game failed. */
  ended: 4002,
} as const;

/** Whether it makes sense to join again, with a growing pause between tries. */
export function mayReconnect(code: number): boolean {
  return RECONNECT.has(code);
}

/** The codes by which a server refuses. */
export const REFUSED = {
  outdated: 1,
  unknownGame: 2,
  unknownRoom: 3,
  full: 4,
  token: 5,
  name: 6,
  game: 7,
  draining: 8,
  seatGone: 9,
} as const;

/** The server said no, and why. */
export class RefusedError extends Error {
  override readonly name = "RefusedError";

  /** `text` is for people, `code` is one of {@link REFUSED}. */
  constructor(
    readonly code: number,
    readonly text: string,
    /** When a next try may succeed, if the server knows. */
    readonly retryAfterMs: number | undefined,
  ) {
    super(text || `refused with code ${code}`);
  }

  /** The same try may succeed later. */
  get mayRetry(): boolean {
    return this.code === REFUSED.full || this.code === REFUSED.draining;
  }
}

/** The connection closed before there was a room, or while something was waited for. */
export class ClosedError extends Error {
  override readonly name = "ClosedError";

  constructor(
    readonly code: number,
    readonly reason: string,
  ) {
    super(reason ? `closed with ${code}: ${reason}` : `closed with ${code}`);
  }
}

const RECONNECT: ReadonlySet<number> = new Set([CLOSE.away, CLOSE.lost, CLOSE.failed, CLOSE.later, CLOSE.ended]);
