/** As much of a WebSocket as is needed: the browser's, Node's since 22, and that of the package `ws` all fit. */
import { CLOSE } from "./close.js";
import { ProtocolError } from "./wire.js";
/** The bytes of a message event, which must be binary. */
export function bytesOf(data) {
    if (data instanceof ArrayBuffer)
        return new Uint8Array(data);
    if (ArrayBuffer.isView(data))
        return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    throw new ProtocolError("a message that is not binary");
}
/** Closes with a code, or with what comes nearest: scripts in a browser may not say 1002. */
export function shut(socket, code) {
    try {
        socket.close(code);
    }
    catch {
        if (code === CLOSE.protocol)
            socket.close(PROTOCOL_BY_SCRIPT);
        else
            socket.close();
    }
}
const PROTOCOL_BY_SCRIPT = 4000;
