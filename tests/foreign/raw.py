"""A WebSocket client on a bare, blocking socket: for tests that decide themselves when to read, and how little.

It knows just enough of RFC 6455 for a server that keeps to it; whether it does is for the other peers here to judge.
"""

from __future__ import annotations

import base64
import os
import socket
import ssl
import struct
import time

CLOSE, PING = 8, 9


class Closed(Exception):
    """The server closed the connection, with this code if it said one."""

    def __init__(self, code: int | None) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


class Raw:
    """A connection. `status` is the answer to its request: 101, or why not."""

    def __init__(
        self,
        address: tuple[str, int],
        path: str,
        protocol: str = "",
        receive_buffer: int = 0,
        patience: float = 5.0,
        *,
        source: str = "",
        tls: ssl.SSLContext | None = None,
        headers: tuple[str, ...] = (),
    ) -> None:
        """`source`: the address to come from; `headers`: more lines of the request."""
        self.socket = socket.socket()
        self.socket.settimeout(patience)
        if receive_buffer:
            # Before the connect, which tells the server how much we take.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.received = bytearray()
        self.bytes_in = 0
        try:
            if source:
                self.socket.bind((source, 0))
            self.socket.connect(address)
            if tls:
                self.socket = tls.wrap_socket(self.socket, server_hostname=address[0])
            self.socket.sendall(request(address, path, protocol, headers))
            while b"\r\n\r\n" not in self.received:
                self._receive()
        except BaseException:
            self.socket.close()
            raise
        end = self.received.index(b"\r\n\r\n") + 4
        self.status = int(self.received[:end].split(b" ")[1])
        del self.received[:end]

    def send(self, payload: bytes, opcode: int = 2) -> None:
        """Sends a message of less than 64 KiB, masked with the key 0."""
        length = len(payload)
        head = bytes((0x80 | opcode, 0x80 | min(length, 126)))
        head += struct.pack(">H", length) if length > 125 else b""
        self.socket.sendall(head + bytes(4) + payload)

    def message(self, within: float) -> bytes | None:
        """The next message, if it comes within so many seconds. Pings are answered."""
        end = time.monotonic() + within
        while True:
            frame = self.frame()
            if frame is None:
                self.socket.settimeout(max(0.001, end - time.monotonic()))
                try:
                    self._receive()
                except TimeoutError:
                    return None
                continue
            opcode, payload = frame
            if opcode == CLOSE:
                raise Closed(struct.unpack(">H", payload[:2])[0] if payload else None)
            if opcode == PING:
                self.send(payload, 10)
            elif opcode in (1, 2):
                return payload

    def close(self) -> None:
        """Ends the connection without a word."""
        self.socket.close()

    def _receive(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise Closed(None)
        self.bytes_in += len(data)
        self.received += data

    def frame(self) -> tuple[int, bytes] | None:
        data = self.received
        if len(data) < 2:
            return None
        at, length = 2, data[1]
        if length >= 126:
            size = 2 if length == 126 else 8
            if len(data) < 2 + size:
                return None
            at, length = 2 + size, int.from_bytes(data[2 : 2 + size], "big")
        if len(data) < at + length:
            return None
        opcode, payload = data[0] & 0x0F, bytes(data[at : at + length])
        del data[: at + length]
        return opcode, payload


def request(address: tuple[str, int], path: str, protocol: str, headers: tuple[str, ...] = ()) -> bytes:
    """An upgrade."""
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {address[0]}:{address[1]}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        *headers,
    ]
    if protocol:
        lines.append(f"Sec-WebSocket-Protocol: {protocol}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()

