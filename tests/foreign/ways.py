"""Ways to a server, for tests: certificates, a front that takes TLS away, an HTTP proxy that gives tunnels.

All are other people's code: certificates by openssl, TLS and the event loop by Python (OpenSSL again).
"""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import threading
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
NAMES = "DNS:localhost,IP:127.0.0.1,IP:::1"


class Certificates:
    """A CA of our own, and what it vouches for. `ca`, `chain` and `key` are PEM files."""

    def __init__(self, folder: Path, names: str = NAMES) -> None:
        self.ca, self.chain, self.key = (folder / name for name in ("ca.pem", "chain.pem", "key.pem"))
        ca_key = folder / "ca-key.pem"
        request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        openssl(*request, "-subj", "/CN=Tickyard's test CA", "-keyout", ca_key, "-out", self.ca)
        leaf = ["-subj", "/CN=Tickyard's test", "-CA", self.ca, "-CAkey", ca_key, "-addext", f"subjectAltName={names}"]
        openssl(*request, *leaf, "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", self.key, "-out", self.chain)


def openssl(*words: object) -> None:
    """Runs it."""
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {words[0]}: {done.stderr}")


class Peer:
    """A server on a port that the system chooses, in a thread of its own. It ends with the `with` block."""

    tls: ssl.SSLContext | None = None

    async def serve(self, reader: Reader, writer: Writer) -> None:
        """Talks to one client."""
        raise NotImplementedError

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls))
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def _run(self, work: Coroutine):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    async def _end(self) -> None:
        self.server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: Reader, writer: Writer) -> None:
        try:
            await self.serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


class Front(Peer):
    """Takes TLS away and passes the rest on to a server."""

    def __init__(self, address: tuple[str, int], certificates: Certificates) -> None:
        self.address = address
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(certificates.chain, certificates.key)
        self.tls.set_alpn_protocols(["http/1.1"])
        # What each session was about: the protocol that was agreed on.
        self.sessions: list[str | None] = []

    async def serve(self, reader: Reader, writer: Writer) -> None:
        self.sessions.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await splice(reader, writer, self.address)


class Proxy(Peer):
    """Gives tunnels to whoever asks by CONNECT, or says `answer` and no more."""

    def __init__(self, answer: bytes = b"") -> None:
        self.answer = answer
        self.asked: list[str] = []

    async def serve(self, reader: Reader, writer: Writer) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.asked.append(head)
        if self.answer:
            writer.write(self.answer)
            await writer.drain()
            return
        host, _, port = head.split()[1].rpartition(":")
        # In two pieces, so that nobody may count on whole heads.
        for piece in (b"HTTP/1.1 200 Conn", b"ection established\r\nVia: test\r\n\r\n"):
            writer.write(piece)
            await asyncio.sleep(0)
        await splice(reader, writer, (host.strip("[]"), int(port)))


async def splice(reader: Reader, writer: Writer, address: tuple[str, int]) -> None:
    """Passes bytes on, both ways, until both have ended."""
    there_reader, there_writer = await asyncio.open_connection(*address)
    try:
        await asyncio.gather(pass_on(reader, there_writer), pass_on(there_reader, writer))
    finally:
        there_writer.close()


async def pass_on(reader: Reader, writer: Writer) -> None:
    """Passes bytes on, one way."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    # TLS has no half-closed connections in Python.
    writer.write_eof() if writer.can_write_eof() else writer.close()
