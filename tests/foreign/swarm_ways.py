"""Holds the swarm to the ways to a server: TLS and tunnels that others wrote, and the client's side of RFC 6455.

    python3 swarm_ways.py

Python's ssl (OpenSSL) takes TLS away in front of a Tickyard server, a proxy of a few lines gives tunnels, and the library
`websockets` plays a server that is not one of ours.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

import tickyard_wire as wire
from server import ROOT, Server
from ways import Certificates, Front, Peer, Proxy, Reader, Writer

SWARM = ROOT / "target" / "release" / "swarm"
PATIENCE = 40
SHORT = ("--bots", "3", "--ramp", "100ms", "--for", "1s", "--check", "0")


class Says(Peer):
    """Says something as soon as somebody comes, and closes."""

    def __init__(self, words: bytes) -> None:
        self.words = words

    async def serve(self, reader: Reader, writer: Writer) -> None:
        await reader.read(1)
        writer.write(self.words)
        await writer.drain()


class Swarm:
    """The checks, and what came of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificates = Certificates(folder)
        self.passed = self.failed = 0

    def check(self, name: str, body: Callable[[], None]) -> None:
        """Runs one check and says what came of it."""
        try:
            body()
        except Exception as error:  # any fault, ours too, is one failed check
            self.failed += 1
            print(f"FAILED {name}: {error!r}", flush=True)
        else:
            self.passed += 1

    def run(self, url: str, *flags: object) -> tuple[int, dict, str]:
        """Runs the swarm: its exit code, its report, and what it wrote to stderr."""
        report = self.folder / "report.json"
        report.unlink(missing_ok=True)
        command = [SWARM, "--url", url, "--json", report, *flags]
        done = subprocess.run(
            [*map(str, command)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        said = json.loads(report.read_text()) if report.is_file() else {}
        return done.returncode, said, done.stderr

    def all(self) -> None:
        """Everything."""
        trusted = ("--ca", self.certificates.ca)
        with Server() as server, Front(server.address, self.certificates) as front, Proxy() as proxy:
            by_proxy = ("--proxy", f"http://127.0.0.1:{proxy.port}")
            for url, flags in [
                (f"wss://localhost:{front.port}/play", trusted),
                (f"wss://127.0.0.1:{front.port}/play", (*trusted, *by_proxy)),
                (server.play, by_proxy),
            ]:
                self.check(f"plays at {url} {flags}", lambda: self.plays(url, flags))
            assert set(front.sessions) == {"http/1.1"}, set(front.sessions)
            to = [f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n" for place in
                  (f"127.0.0.1:{front.port}", f"{server.address[0]}:{server.address[1]}")]
            assert set(proxy.asked) == set(to), set(proxy.asked)
            with Server(f"--tls-cert={self.certificates.chain}", f"--tls-key={self.certificates.key}") as secure:
                self.check("plays with the server's own TLS", lambda: self.plays(secure.play, trusted))
                self.check("... through a tunnel", lambda: self.plays(secure.play, (*trusted, *by_proxy)))
                self.check("TLS at a plain URL", lambda: self.fails(secure.play.replace("wss:", "ws:"), (),
                    "handshake: HTTP status 400 instead of 101"))
            self.check("a CA that is not known", lambda: self.fails(f"wss://localhost:{front.port}", (),
                "connect: the server's certificate is from nobody who is trusted here: name its CA with --ca FILE"
                " (a self-signed one is its own)"))
            self.check("no TLS there", lambda: self.fails(f"wss://{server.address[0]}:{server.address[1]}", trusted,
                "connect: the connection was closed in the TLS handshake"))
            # Takes the place of the CA that the swarm is told of.
            elsewhere = Certificates(self.folder, "DNS:elsewhere.invalid")
            with Front(server.address, elsewhere) as front:
                self.check("another name", lambda: self.fails(f"wss://127.0.0.1:{front.port}", trusted,
                    'connect: the server\'s certificate is not for 127.0.0.1, but for DnsName("elsewhere.invalid"):'
                    " connect to a name that is in it"))
        with Says(b"HTTP/1.1 400 Bad Request\r\n\r\n") as peer:
            self.check("HTTP in place of TLS", lambda: self.fails(f"wss://localhost:{peer.port}", trusted,
                "connect: the server does not speak TLS there: is it ws://?"))
        for answer, error in PROXIES:
            with Proxy(answer) as proxy:
                by_proxy = ("--proxy", f"http://127.0.0.1:{proxy.port}")
                self.check(f"a proxy that says {answer[:20]!r}",
                    lambda: self.fails("ws://tickyard.invalid/play", by_proxy, f"connect: {error}"))
        self.check("bad usage", self.bad_usage)
        self.check("a foreign server", self.foreign_server)

    def plays(self, url: str, flags: tuple) -> None:
        """All get in and stay, and their worlds agree."""
        code, said, errors = self.run(url, "--bots", "50", "--for", "3s", *flags)
        assert code in (0, 1) and said, errors
        assert said["connected"] == 50 and said["errors"] == said["violations"] == 0, said
        assert said["agreement"]["fields"] > 0 and said["agreement"]["differences"] == 0, said
        assert said["passed"] or not said["valid"], said

    def fails(self, url: str, flags: tuple, error: str) -> None:
        """Nobody gets in, for this reason."""
        code, said, errors = self.run(url, *flags, *SHORT)
        assert code == 1, (code, errors)
        assert said["error_reasons"] == {error: 3}, (said["error_reasons"], error)

    def bad_usage(self) -> None:
        """Exit code 2, and what to do."""
        for url, flags, words in [
            ("wss://localhost", ("--ca", "/nowhere"), "--ca /nowhere: "),
            ("ws://localhost", ("--ca", self.certificates.ca), "--ca is for servers that are asked by wss://"),
            ("ws://localhost", ("--proxy", "socks5://127.0.0.1:1080"), "a proxy's URL begins with http://"),
            ("https://localhost", (), "a URL begins with ws:// or wss://"),
        ]:
            code, said, errors = self.run(url, *flags)
            assert code == 2 and not said and words in errors, (code, errors)

    def foreign_server(self) -> None:
        """A server of the library's lets bots in, pings them, and closes; each answers as a client has to."""
        with Foreign() as server:
            code, said, errors = self.run(f"ws://127.0.0.1:{server.port}/play", *SHORT)
        assert code == 1 and said["error_reasons"] == {"hello: closed with 1001 (that is all)": 3}, (said, errors)
        assert server.complaints == [], server.complaints
        assert sorted(server.heard) == [(f"bot {number}", 1001) for number in range(3)], server.heard


PROXIES = [
    (b"HTTP/1.1 403 Forbidden\r\n\r\n", "the proxy allows no tunnel to this server (403)"),
    (
        b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n",
        "the proxy wants to know who asks (407), which the swarm does not tell",
    ),
    (b"HTTP/1.0 502 Bad Gateway\r\n\r\n", "the proxy answered with 502 instead of a tunnel"),
    (b"\x05\x00\x00", "the proxy does not speak HTTP"),
    (b"HTTP/1.1 200 OK\r\n" + b"X-Filler: " + b"x" * 200_000, "the proxy answered with a head with too many bytes or fields"),
    (b"HTTP/1.1 200 O", "the connection was closed before the proxy's answer"),
]


class Foreign:
    """A WebSocket server of the library `websockets`, which fails whoever breaks a rule."""

    def __init__(self) -> None:
        self.heard: list[tuple] = []
        self.complaints: list[str] = []

    def __enter__(self) -> Foreign:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.server = self._run(self._start())
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        async def end() -> None:
            self.server.close()
            await self.server.wait_closed()

        self._run(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def _run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    async def _start(self):
        names = [Subprotocol(wire.SUBPROTOCOL)]
        return await serve(self._talk, "127.0.0.1", 0, subprotocols=names, compression=None)

    async def _talk(self, socket: ServerConnection) -> None:
        try:
            hello = bytes(await asyncio.wait_for(socket.recv(), 5))
            name = f"bot {hello.partition(b'bot ')[2][:1].decode()}"
            if hello != wire.encode_hello("arena", name):
                self.complaints.append(f"a hello of {name} that is none: {hello!r}")
            await asyncio.wait_for(await socket.ping(b"are you there"), 5)
            await socket.close(1001, "that is all")
        except (ConnectionClosed, TimeoutError) as error:
            self.complaints.append(repr(error))
            return
        received = socket.protocol.close_rcvd
        self.heard.append((name, received and received.code))


def main() -> int:
    """All checks."""
    with tempfile.TemporaryDirectory() as folder:
        swarm = Swarm(Path(folder))
        swarm.all()
    print(f"swarm: {swarm.passed} passed, {swarm.failed} failed")
    return 1 if swarm.failed or not swarm.passed else 0


if __name__ == "__main__":
    sys.exit(main())
