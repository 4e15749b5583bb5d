/** A server without a network: sockets in this process, and a list of what each one was told. */
import { Client } from "../../dist/index.js";
import { welcome } from "./write.mjs";

/** A WebSocket class whose sockets are kept in `sockets`. `greet` is called with each one once it is open. */
export function fakeServer(greet = (socket) => socket.deliver(welcome())) {
  const sockets = [];
  class FakeWebSocket {
    binaryType = "blob";
    bufferedAmount = 0;
    onopen = this.onmessage = this.onclose = this.onerror = null;
    sent = [];
    closed = undefined;

    constructor(url, protocols) {
      Object.assign(this, { url, protocols });
      sockets.push(this);
      queueMicrotask(() => {
        if (this.closed !== undefined) return;
        this.onopen?.({});
        greet(this);
      });
    }

    send(data) {
      this.sent.push(data);
    }

    close(code) {
      // As browsers have it.
      if (code !== undefined && code !== 1000 && !(code >= 3000 && code <= 4999)) throw new Error("InvalidAccessError");
      this.closed ??= code ?? 1005;
    }

    // What the server does

    deliver(bytes) {
      const copy = bytes.slice();
      this.onmessage?.({ data: copy.buffer });
    }

    hangUp(code, reason = "") {
      this.onclose?.({ code, reason });
    }

    /** Messages that were sent, of one type. */
    sentOf(type) {
      return this.sent.filter((bytes) => bytes[0] === type);
    }
  }
  const client = new Client("ws://localhost:7070", { WebSocket: FakeWebSocket });
  return { client, sockets, WebSocket: FakeWebSocket };
}
