/** As much of a WebSocket as is needed: the browser's, Node's since 22, and that of the package `ws` all fit. */
import { CLOSE } from "./close.js";
import { ProtocolError } from "./wire.js";

export interface SocketLike {
  binaryType: string;
  readonly bufferedAmount: number;
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
}

export type SocketConstructor = new (url: string, protocols: string) => SocketLike;

/** The bytes of a message event, which must be binary. */
export function bytesOf(data: unknown): Uint8Array {
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  throw new ProtocolError("a message that is not binary");
}

/** Closes with a code, or with what comes nearest: scripts in a browser may not say 1002. */
export function shut(socket: SocketLike, code: number): void {
  try {
    socket.close(code);
  } catch {
    if (code === CLOSE.protocol) socket.close(PROTOCOL_BY_SCRIPT);
    else socket.close();
  }
}

const PROTOCOL_BY_SCRIPT = 4000;
