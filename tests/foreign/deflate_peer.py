"""Holds a server to RFC 7692 (permessage-deflate), with the Python library `websockets`.

    python3 deflate_peer.py --url ws://127.0.0.1:7070 --swarm target/release/swarm

The server runs with --echo and --deflate state. The swarm meets a server of that library that does not compress.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_on
from websockets.extensions import permessage_deflate as deflate
from websockets.typing import Subprotocol

import tickyard_wire as wire
from judging import expect, see_all

PATIENCE = 20.0
SIZES = (0, 1, 63, 64, 125, 1000, 65535, 65536, 200_000, 250_000)
PIECES = (1, 7, 1000)
BITS = (None, 9, 15)


class Peer:
    """The checks, and what came of them."""

    def __init__(self, url: str, swarm: str | None) -> None:
        self.url, self.swarm = url, swarm
        self.passed = self.failed = 0

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
        """Everything."""
        for ours, theirs, server, client in itertools.product((False, True), (False, True), BITS, (*BITS, True)):
            offer = deflate.ClientPerMessageDeflateFactory(
                server_no_context_takeover=theirs,
                client_no_context_takeover=ours,
                server_max_window_bits=server,
                client_max_window_bits=client,
            )
            name = f"{theirs=} {ours=} {server=} {client=}"
            await self.check(f"echo, {name}", lambda: self.echo(offer))
        for kind in ("plain", "deflated"):
            await self.check(f"a bomb on /play, {kind}", lambda: self.bomb(kind))
        await self.check("a broken message", self.broken)
        await self.check("text that is not UTF-8", self.no_text)
        await self.check("RSV1 without an agreement", self.not_agreed)
        await self.check("a player", self.player)
        await self.check("a window of 2^8 is declined", self.declined)
        if self.swarm:
            await self.check("the swarm without compression", self.swarm_without)

    def open(self, path: str, offer: object = None, protocols: list[str] | None = None) -> connect:
        """A connection with this offer of compression."""
        return connect(
            self.url + path,
            subprotocols=[Subprotocol(name) for name in protocols or []] or None,
            max_size=None,
            ping_interval=None,
            proxy=None,
            compression=None,
            extensions=[offer] if offer else None,
        )

    async def echo(self, offer: object) -> None:
        """What is sent comes back, however it is cut, and on top of what came before."""
        async with self.open("/echo", offer) as socket:
            expect([extension.name for extension in socket.protocol.extensions], ["permessage-deflate"])
            for size in SIZES:
                for message in (os.urandom(size), text(size), "ÿ" * (size // 2)):
                    await socket.send(message)
                    expect(await socket.recv(), message)
            message = text(2000)
            for size in PIECES:
                await socket.send(pieces(message, size))
                expect(await socket.recv(), message)

    async def bomb(self, kind: str) -> None:
        """A MiB of zeros, in a kB or as it is, is too much for a player."""
        offer = deflate.ClientPerMessageDeflateFactory() if kind == "deflated" else None
        async with self.open("/play", offer, [wire.SUBPROTOCOL]) as socket:
            await socket.send(bytes(1024 * 1024))
            expect(await closed(socket), 1009)

    async def broken(self) -> None:
        """Bytes that are no deflate."""
        async with self.open("/echo", deflate.ClientPerMessageDeflateFactory()) as socket:
            raw(socket, 0xC2, b"\xff\xff\xff\xff")
            expect(await closed(socket), 1007)

    async def no_text(self) -> None:
        """A stored block with a byte that is no UTF-8."""
        async with self.open("/echo", deflate.ClientPerMessageDeflateFactory()) as socket:
            raw(socket, 0xC1, b"\x00\x01\x00\xfe\xff\xff\x00")
            expect(await closed(socket), 1007)

    async def not_agreed(self) -> None:
        """A compressed message where nothing was agreed on, and compressed control frames and continuations."""
        async with self.open("/echo") as socket:
            raw(socket, 0xC1, b"\x00")
            expect(await closed(socket), 1002)
        for first in (0xC9, 0xC8, 0xC0, 0xA1, 0x91):
            async with self.open("/echo", deflate.ClientPerMessageDeflateFactory()) as socket:
                if first == 0xC0:
                    raw(socket, 0x41, b"\x00")
                raw(socket, first, b"")
                expect(await closed(socket), 1002)

    async def player(self) -> None:
        """A player's session is agreed on without takeover, and its state can be read."""
        offer = deflate.ClientPerMessageDeflateFactory()
        async with self.open("/play", offer, [wire.SUBPROTOCOL]) as socket:
            answer = socket.response.headers["Sec-WebSocket-Extensions"]
            expect(answer, "permessage-deflate; server_no_context_takeover; client_no_context_takeover")
            await see_all(socket)

    async def declined(self) -> None:
        """No agreement, and yet a connection."""
        offer = deflate.ClientPerMessageDeflateFactory(server_max_window_bits=8)
        async with self.open("/echo", offer) as socket:
            expect(socket.response.headers.get("Sec-WebSocket-Extensions"), None)
            await socket.send("x" * 1000)
            expect(await socket.recv(), "x" * 1000)


    async def swarm_without(self) -> None:
        """RFC 6455, 7.4.1: a client that needs an extension and does not get it closes with 1010 and says which."""
        assert self.swarm
        ends: list[tuple[int | None, str | None]] = []
        offers: list[str | None] = []

        async def serve(socket: ServerConnection) -> None:
            offers.append(socket.request.headers.get("Sec-WebSocket-Extensions") if socket.request else None)
            await socket.wait_closed()
            ends.append((socket.close_code, socket.close_reason))

        protocols = [Subprotocol(wire.SUBPROTOCOL)]
        async with serve_on(serve, "127.0.0.1", 0, compression=None, subprotocols=protocols) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            command = ["--deflate", "--bots", "1", "--for", "1s", "--url", f"ws://127.0.0.1:{port}/play"]
            swarm = await asyncio.create_subprocess_exec(self.swarm, *command, stdout=PIPE, stderr=PIPE)
            said, _ = await swarm.communicate()
        expect((offers, ends), (["permessage-deflate"], [(1010, "permessage-deflate")]))
        expect(swarm.returncode, 1)
        expect("the server does not compress" in said.decode(), True)


TEXT = "".join(f"{at * at % 997} " for at in range(50_000))


def text(size: int) -> str:
    """Letters that compress somewhat, and repeat from message to message."""
    return (TEXT * (size // len(TEXT) + 1))[:size]


async def pieces(message: str, size: int) -> AsyncIterator[str]:
    """A message in fragments."""
    for at in range(0, len(message), size):
        yield message[at : at + size]


def raw(socket: ClientConnection, first: int, payload: bytes) -> None:
    """A frame past the library, masked with zeros."""
    socket.transport.write(bytes([first, 0x80 | len(payload), 0, 0, 0, 0]) + payload)


async def closed(socket: ClientConnection) -> int | None:
    """The code with which the server closes."""
    await asyncio.wait_for(socket.wait_closed(), PATIENCE)
    return socket.protocol.close_rcvd.code if socket.protocol.close_rcvd else None


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Judges a server's compression with the library websockets.")
    parser.add_argument("--url", required=True, help="as in ws://127.0.0.1:7070")
    parser.add_argument("--swarm", help="the swarm's binary, to see what it does where nothing is compressed")
    options = parser.parse_args()
    peer = Peer(options.url.rstrip("/"), options.swarm)
    asyncio.run(peer.all())
    print(f"deflate: {peer.passed} passed, {peer.failed} failed")
    return 1 if peer.failed or not peer.passed else 0


if __name__ == "__main__":
    sys.exit(main())
