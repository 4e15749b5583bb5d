"""Holds a server to RFC 6455 and to the protocol's close codes, with the Python library `websockets`.

    python3 websockets_peer.py --url ws://127.0.0.1:7070 --pid PID --silence 5

The server runs with --echo, and with few enough seats (--players=8 --capacity=8) to fill them. With --pid the last thing is a SIGTERM,
which must reach everybody as 1001. With --silence two clients say nothing for so many seconds, which should be more than the server's --idle-timeout.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import http.client
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

import tickyard_wire as wire
from judging import expect, see_all

PATIENCE = 10.0
# What a server has to say by closing, and how the loud ones of them say it.
CODES = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1013}
SEATS_MAX = 8
SIZES = (0, 1, 125, 126, 127, 65535, 65536, 1024 * 1024)
FRAMES = json.loads((Path(__file__).parent / "frames.json").read_text(encoding="utf-8"))


class Peer:
    """The checks, and what came of them."""

    def __init__(self, url: str, pid: int | None, silence: float | None) -> None:
        self.url, self.pid, self.silence = url, pid, silence
        self.address = urlsplit(url).netloc
        self.passed = self.failed = 0
        self.seated: list[ClientConnection] = []
        # Each close code that came, with the reasons that came with it.
        self.reasons: dict[int, set[str]] = {}

    async def check(self, name: str, body: Callable[[], Awaitable[None]]) -> None:
        """Runs one check and says what came of it."""
        try:
            await asyncio.wait_for(body(), PATIENCE)
        except Exception as error:  # any fault, ours too, is one failed check
            self.failed += 1
            print(f"FAILED {name}: {error!r}")
        else:
            self.passed += 1

    async def all(self) -> None:
        """Everything, in order; the end of the server last."""
        for what, headers, status, answer in REQUESTS:
            await self.check(f"request {what}", lambda: self.request(headers, status, answer))
        await self.check("the accept key", self.accept_key)
        await self.check("the health", self.health)
        await self.check("subprotocol", self.subprotocol)
        for size in SIZES:
            await self.check(f"echo of {size} bytes", lambda: self.echo(os.urandom(size)))
            await self.check(f"echo of {size} letters", lambda: self.echo("ÿ" * (size // 2) + "a" * (size % 2)))
        for size in (1, 7, 126):
            await self.check(f"echo in fragments of {size}", lambda: self.fragments(size, pings=False))
            await self.check(f"pings between fragments of {size}", lambda: self.fragments(size, pings=True))
        for size in (0, 1, 125):
            await self.check(f"pong with {size} bytes", lambda: self.pong(size))
        if self.silence:
            await self.check("silence", self.silent)
        for code in (1000, 1001, 1011, 3000, 4000, 4999):
            await self.check(f"close with {code}", lambda: self.close(code))
        for case in FRAMES["echo"]:
            await self.check(case["name"], lambda: self.broken("/echo", [], case))
        for case in FRAMES["play"]:
            await self.check(f"play: {case['name']}", lambda: self.broken("/play", [wire.SUBPROTOCOL], case))
        await self.check("welcome", self.welcome)
        await self.check("refused", self.refused)
        await self.check("a full room", self.full)
        if self.pid:
            await self.check("the server ends", self.going_away)
            await self.check("each close code and its reason", self.all_codes)

    # ---- the handshake

    def fetch(self, path: str, headers: dict[str, str], method: str = "GET") -> http.client.HTTPResponse:
        """A request by hand."""
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE)
        connection.request(method, path, headers=headers)
        return connection.getresponse()

    async def request(self, change: dict[str, str | None], status: int, answer: dict[str, str]) -> None:
        """An upgrade with a flaw gets its status and says what would be right."""
        changed = {**UPGRADE, **change}
        headers = {name: value for name, value in changed.items() if value is not None}
        method = headers.pop("method", "GET")
        response = await asyncio.to_thread(self.fetch, "/echo", headers, method)
        got = {name: response.getheader(name) for name in answer}
        expect((response.status, got), (status, answer))

    async def accept_key(self) -> None:
        """The library checks it too; here it is reckoned anew."""
        for key in ("dGhlIHNhbXBsZSBub25jZQ==", base64.b64encode(os.urandom(16)).decode()):
            response = await asyncio.to_thread(self.fetch, "/echo", {**UPGRADE, "Sec-WebSocket-Key": key})
            digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
            expect(response.status, 101)
            expect(response.getheader("Sec-WebSocket-Accept"), base64.b64encode(digest).decode())
            expect((response.getheader("Upgrade") or "").lower(), "websocket")
            expect((response.getheader("Connection") or "").lower(), "upgrade")
            expect(response.getheader("Sec-WebSocket-Extensions"), None)

    async def health(self) -> None:
        """It is up, and other paths are not there."""
        for path, status in (("/healthz", 200), ("/nothing", 404)):
            response = await asyncio.to_thread(self.fetch, path, {})
            expect(response.status, status)

    async def subprotocol(self) -> None:
        """The one that the server speaks is chosen from several, and none from others."""
        for offered, chosen in (
            ([wire.SUBPROTOCOL], wire.SUBPROTOCOL),
            (["chat", wire.SUBPROTOCOL], wire.SUBPROTOCOL),
            (["chat"], None),
        ):
            async with self.open("/play", offered) as socket:
                expect(socket.subprotocol, chosen)

    def open(self, path: str, protocols: list[str] | None = None) -> connect:
        """A connection that sends nothing by itself."""
        return connect(
            self.url + path,
            subprotocols=[Subprotocol(name) for name in protocols or []] or None,
            max_size=None,
            ping_interval=None,
            proxy=None,
        )

    # ---- messages

    async def echo(self, message: str | bytes) -> None:
        """What is sent comes back, and as what it was."""
        async with self.open("/echo") as socket:
            await socket.send(message)
            expect(await socket.recv(), message)

    async def fragments(self, size: int, pings: bool) -> None:
        """A message in pieces comes back whole, whatever control frames stand between them."""
        message = bytes(range(256)) * 2
        pongs = []

        async def pieces(socket: ClientConnection) -> AsyncIterator[bytes]:
            for at in range(0, len(message), size):
                yield message[at : at + size]
                if pings and at % (8 * size) == 0:
                    pongs.append(await socket.ping(at.to_bytes(4, "big")))

        async with self.open("/echo") as socket:
            await socket.send(pieces(socket))
            expect(await socket.recv(), message)
            for pong in pongs:
                await pong

    async def pong(self, size: int) -> None:
        """A pong has the ping's payload; the library matches them."""
        async with self.open("/echo") as socket:
            await (await socket.ping(os.urandom(size)))

    # ---- the end

    async def close(self, code: int) -> None:
        """A close is answered with its own code."""
        socket = await self.open("/echo")
        await socket.close(code, "bye")
        self.note(socket)
        expect(socket.close_code, code)
        expect(socket.protocol.close_rcvd is not None and socket.protocol.close_rcvd.code, code)

    async def broken(self, path: str, protocols: list[str], case: dict[str, object]) -> None:
        """Bytes that may not be sent are answered with a close and its code."""
        socket = await self.open(path, protocols)
        socket.transport.write(bytes.fromhex(str(case["hex"])))
        expect(await self.closed(socket), case["code"])

    async def welcome(self) -> None:
        """A hello is answered with a welcome, and ticks follow."""
        async with self.open("/play", [wire.SUBPROTOCOL]) as socket:
            await see_all(socket)

    async def refused(self) -> None:
        """An unknown game is told in words, then the connection is closed with 4001."""
        socket = await self.open("/play", [wire.SUBPROTOCOL])
        await socket.send(wire.encode_hello("chess", "judge"))
        control = wire.decode_control(bytes(await socket.recv(decode=False)))
        expect(isinstance(control, wire.Refused) and control.code, 2)
        expect(await self.closed(socket), 4001)

    async def full(self) -> None:
        """When all seats are taken, the next player is told when to come back, and closed with 1013."""
        while len(self.seated) <= SEATS_MAX:
            socket = await self.open("/play", [wire.SUBPROTOCOL])
            await socket.send(wire.encode_hello("arena", "seat"))
            control = wire.decode_control(bytes(await socket.recv(decode=False)))
            if isinstance(control, wire.Refused):
                expect(control.retry_after_ms is not None, True)
                expect(await self.closed(socket), 1013)
                return
            self.seated.append(socket)
        raise AssertionError(f"{len(self.seated)} players are in")

    async def silent(self) -> None:
        """Who says nothing and answers pings, which the library does by itself, stays."""
        sockets = [await self.open("/echo"), await self.open("/play", [wire.SUBPROTOCOL])]
        await asyncio.sleep(self.silence or 0)
        await sockets[0].send("still here")
        expect(await sockets[0].recv(), "still here")
        expect(sockets[1].state.name, "OPEN")

    async def going_away(self) -> None:
        """At its end the server tells everybody: 1001."""
        assert self.pid
        sockets = [await self.open("/echo"), await self.open("/play", [wire.SUBPROTOCOL])]
        os.kill(self.pid, signal.SIGTERM)
        for socket in [*sockets, *self.seated]:
            expect(await self.closed(socket), 1001)

    async def all_codes(self) -> None:
        """Each code that a server has to say came, and with a reason unless it answered our own close."""
        expect(CODES - self.reasons.keys(), set())
        expect({code for code, reasons in self.reasons.items() if code != 1000 and not any(reasons)} & CODES, set())

    async def closed(self, socket: ClientConnection) -> int | None:
        """The code with which the server closes."""
        try:
            while True:
                await socket.recv()
        except ConnectionClosed:
            self.note(socket)
            return socket.protocol.close_rcvd.code if socket.protocol.close_rcvd else None

    def note(self, socket: ClientConnection) -> None:
        """Keeps what the server closed with."""
        if close := socket.protocol.close_rcvd:
            self.reasons.setdefault(close.code, set()).add(close.reason)


UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}
REQUESTS: list[tuple[str, dict[str, str | None], int, dict[str, str]]] = [
    ("of version 8", {"Sec-WebSocket-Version": "8"}, 426, {"Sec-WebSocket-Version": "13"}),
    ("of no version", {"Sec-WebSocket-Version": None}, 426, {"Sec-WebSocket-Version": "13"}),
    ("without upgrade", {"Upgrade": None}, 426, {"Upgrade": "websocket"}),
    ("for another protocol", {"Upgrade": "h2c"}, 426, {"Upgrade": "websocket"}),
    ("without connection", {"Connection": "close"}, 400, {}),
    ("without a key", {"Sec-WebSocket-Key": None}, 400, {}),
    ("with half a key", {"Sec-WebSocket-Key": "dGhlIHNhbXBsZQ=="}, 400, {}),
    ("by POST", {"method": "POST"}, 405, {"Allow": "GET"}),
    ("from another page", {"Origin": "https://elsewhere.example"}, 403, {}),
    ("from a page of this machine", {"Origin": "http://localhost:8000"}, 101, {}),
]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Judges a server with the library websockets.")
    parser.add_argument("--url", required=True, help="as in ws://127.0.0.1:7070")
    parser.add_argument("--pid", type=int, help="the server's process, to end it")
    parser.add_argument("--silence", type=float, help="say nothing for so many seconds")
    options = parser.parse_args()
    peer = Peer(options.url.rstrip("/"), options.pid, options.silence)
    asyncio.run(peer.all())
    print(f"websockets: {peer.passed} passed, {peer.failed} failed")
    return 1 if peer.failed or not peer.passed else 0


if __name__ == "__main__":
    sys.exit(main())
