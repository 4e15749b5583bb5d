"""What a connection costs that says nothing: the server's memory with thousands of them, less its memory before.

The clients live in processes of their own: they take descriptors, and TLS in Python takes more memory than in the server. Each does what
its path demands (an upgrade, a hello), then only reads, and answers pings.
"""

from __future__ import annotations

import multiprocessing
import select
import socket
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import tickyard_wire as wire
from proof import hold
from raw import CLOSE, PING, Raw
from server import Server, rss_bytes
from ways import Certificates

PROCESSES = 8
OPENING_SECONDS = 300.0
# Until everybody was pinged once: 10 s of silence, and 5 s because not all are asked at once. It is read all the while.
IDLE_SECONDS = 25.0
# The server pages in code as it goes, and makes its buffers: that is no connection's.
FIRST = 50


@dataclass(frozen=True)
class Crowd:
    """So many silent connections, and what each may cost."""

    what: str
    path: str
    count: int
    bytes_max: int
    tls: bool = False


CROWDS = [
    Crowd("upgraded on /echo", "/echo", 10_000, 1024),
    Crowd("joined and silent on /play", "/play", 10_000, 2 * 1024),
    Crowd("upgraded on /echo over TLS", "/echo", 5_000, 16 * 1024, tls=True),
    Crowd("joined and silent on /play over TLS", "/play", 5_000, 16 * 1024, tls=True),
]


def silence() -> None:
    """10,000 connections that say nothing cost less than 1 KiB each, with a seat 2 KiB; 5,000 over TLS less than 16 KiB."""
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        certificates = Certificates(Path(folder))
        for crowd in CROWDS:
            cost = cost_bytes(crowd, certificates)
            good = cost < crowd.bytes_max
            found = f"{crowd.count} {crowd.what}: {cost:.0f} bytes each, less than {crowd.bytes_max} wanted"
            print(f"  {'ok  ' if good else 'FAIL'}  {found}", flush=True)
            failed += [] if good else [crowd.what]
    hold(not failed, f"silence is cheap {failed or ''}")


def cost_bytes(crowd: Crowd, certificates: Certificates) -> float:
    """What each connection costs, at the most that was seen once all of them were in."""
    seats = crowd.count + FIRST
    flags = [f"--capacity={seats}", f"--max-connections={seats}"]
    flags += ["--echo"] if crowd.path == "/echo" else []
    flags += [f"--tls-cert={certificates.chain}", f"--tls-key={certificates.key}"] if crowd.tls else []
    ca = certificates.ca if crowd.tls else None
    with Server(*flags) as server, silent(server, crowd.path, FIRST, ca):
        time.sleep(3)
        before = rss_bytes(server.pid)
        with silent(server, crowd.path, crowd.count, ca):
            most, end = 0, time.monotonic() + IDLE_SECONDS
            while time.monotonic() < end:
                time.sleep(1)
                most = max(most, rss_bytes(server.pid))
            check_all_are_there(server, crowd.path, seats)
    return (most - before) / crowd.count


def check_all_are_there(server: Server, path: str, count: int) -> None:
    """Nobody was lost meanwhile, or it would be no measurement."""
    metrics = server.metrics()
    names = ["tickyard_connections", *(["tickyard_players"] if path == "/play" else [])]
    for name in names:
        if metrics[name] != count:
            raise RuntimeError(f"{name} is {metrics[name]:.0f}, not {count}")
    if metrics["tickyard_pings_total"] < count:
        raise RuntimeError(f"{metrics['tickyard_pings_total']:.0f} pings were sent: not everybody was asked")


@contextmanager
def silent(server: Server, path: str, count: int, ca: Path | None) -> Iterator[None]:
    """So many silent connections, all of them in; they end with the block."""
    pipes, processes = [], []
    for at in range(PROCESSES):
        ours, theirs = multiprocessing.Pipe()
        share = (count + at) // PROCESSES
        # An address of its own: the ports of one would not do for many crowds, one after the other.
        args = (server.address, path, share, f"127.0.0.{at + 2}", ca, theirs)
        process = multiprocessing.Process(target=_be_silent, args=args, daemon=True)
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    try:
        for pipe in pipes:
            if not pipe.poll(OPENING_SECONDS) or pipe.recv() != "in":
                raise RuntimeError("they did not get in")
        yield
        for process in processes:
            if not process.is_alive():
                raise RuntimeError("connections were closed")
    finally:
        for process in processes:
            process.kill()
            process.join()


def _be_silent(address: tuple[str, int], path: str, count: int, source: str, ca: Path | None, told: Connection) -> None:
    tls = ssl.create_default_context(cafile=ca) if ca else None
    poll = select.epoll()
    crowd: dict[int, Silent] = {}
    are_in = False
    while True:
        # Some more, then what came for all: who opens them all at once lets the first ones wait.
        until = time.monotonic() + 0.02
        while len(crowd) < count and time.monotonic() < until:
            one = Silent(address, path, source, tls)
            crowd[one.socket.fileno()] = one
            poll.register(one.socket.fileno(), select.EPOLLIN)
        for descriptor, _ in poll.poll(0 if len(crowd) < count else 0.1):
            crowd[descriptor].read()
        if not are_in and len(crowd) == count and (path == "/echo" or all(one.heard for one in crowd.values())):
            are_in = True
            told.send("in")


class Silent:
    """A connection that is in, and only listens."""

    def __init__(self, address: tuple[str, int], path: str, source: str, tls: ssl.SSLContext | None) -> None:
        raw = Raw(address, path, wire.SUBPROTOCOL if path == "/play" else "", source=source, tls=tls, patience=20.0)
        if raw.status != 101:
            raise RuntimeError(f"status {raw.status}")
        if path == "/play":
            raw.send(wire.encode_hello("arena"))
        self.socket, self.received, self.heard = raw.socket, bytes(raw.received), 0
        self.socket.setblocking(False)

    def read(self) -> None:
        """Takes what came, and answers pings."""
        data = self.received
        while True:
            try:
                more = self.socket.recv(1 << 16)
            except (BlockingIOError, ssl.SSLWantReadError):
                break
            if not more:
                raise RuntimeError("the server is gone")
            data += more
        at = 0
        while len(data) >= at + 2:
            opcode, length, start = data[at] & 15, data[at + 1], at + 2
            if length >= 126:
                start += 2 if length == 126 else 8
                if len(data) < start:
                    break
                length = int.from_bytes(data[at + 2 : start], "big")
            if len(data) < start + length:
                break
            at = start + length
            if opcode == CLOSE:
                raise RuntimeError(f"closed: {data[start:at]!r}")
            if opcode == PING:
                self.socket.sendall(bytes((0x8A, 0x80 | length, 0, 0, 0, 0)) + data[start:at])
            else:
                self.heard += 1
        self.received = data[at:]

