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
export declare function bytesOf(data: unknown): Uint8Array;
/** Closes with a code, or with what comes nearest: scripts in a browser may not say 1002. */
export declare function shut(socket: SocketLike, code: number): void;
