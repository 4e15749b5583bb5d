"""Attacks on a server, each for as long as it is asked to, and a bystander who measures what others feel of them.

Every attack runs in a process of its own, so that the bystander's clock is not held up by its attackers. An attack that is
thrown out comes back at once.
"""

from __future__ import annotations

import multiprocessing
import os
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import tickyard_wire as wire
from raw import Closed, Raw, request

Address = tuple[str, int]
Attack = Callable[[Address, float], None]
PING_EVERY = 0.02
CLOSED = (Closed, OSError, ValueError, IndexError)


# ---------------------------------------------------------------------------------------------- the bystander


@contextmanager
def bystander(address: Address) -> Iterator[list[float]]:
    """Somebody who sits on a seat and pings every 20 ms; afterwards the list has each wait, in seconds."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_ping_until_told, args=(address, theirs), daemon=True)
    process.start()
    waits: list[float] = []
    try:
        if ours.recv() != "seated":
            raise RuntimeError("the bystander has no seat")
        yield waits
        ours.send("enough")
        waits += ours.recv()
    finally:
        process.kill()
        process.join()


def _ping_until_told(address: Address, told: Connection) -> None:
    raw = Raw(address, "/play", wire.SUBPROTOCOL)
    raw.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    raw.send(wire.encode_hello("arena", "bystander"))
    raw.message(5.0)
    told.send("seated")
    waits: list[float] = []
    while not told.poll():
        stamp = os.urandom(8)
        sent = time.monotonic()
        raw.send(wire.encode_ping(stamp))
        while True:
            message = raw.message(5.0)
            if message is None:
                raise RuntimeError("no pong in 5 s")
            if message[0] == wire.PONG and wire.decode_pong(message).stamp == stamp:
                break
        waits.append(time.monotonic() - sent)
        time.sleep(max(0.0, sent + PING_EVERY - time.monotonic()))
    told.send(waits)


@contextmanager
def attackers(attack: Attack, address: Address, seconds: float, count: int) -> Iterator[None]:
    """So many processes at the same attack; they end by themselves, at the latest with the block."""
    until = time.monotonic() + seconds
    processes = [multiprocessing.Process(target=_attack, args=(attack, address, until), daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def _attack(attack: Attack, address: Address, until: float) -> None:
    # In life they have machines of their own; here they must not take the server's.
    os.nice(15)
    attack(address, until)


# ------------------------------------------------------------------------------------------------ the attacks


def _flood(address: Address, path: str, protocol: str, payload: bytes, until: float, reads: bool) -> None:
    """Sends the same bytes as fast as they are taken; comes back when it is thrown out."""
    while time.monotonic() < until:
        try:
            raw = Raw(address, path, protocol, 0 if reads else 4096)
        except CLOSED:
            time.sleep(0.01)
            continue
        raw.socket.settimeout(0.2)
        try:
            while time.monotonic() < until:
                raw.socket.sendall(payload)
                if reads:
                    raw.socket.recv(1 << 20)
        except CLOSED:
            pass
        raw.close()


def _send_requests(address: Address, payload: bytes, until: float, reset: bool = False) -> None:
    """Connects, says this, is answered or resets, and connects again."""
    while time.monotonic() < until:
        with socket.socket() as stranger:
            stranger.settimeout(2.0)
            try:
                stranger.connect(address)
                if reset:
                    stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                stranger.sendall(payload)
                if not reset:
                    stranger.recv(4096)
            except OSError:
                pass


def _hold(address: Address, count: int, until: float, drip: bytes) -> None:
    """Many connections that say one byte now and then, and read nothing."""
    said: dict[socket.socket, int] = {}
    while time.monotonic() < until:
        if len(said) < count:
            try:
                said[socket.create_connection(address, 2.0)] = 0
            except OSError:
                pass
        else:
            time.sleep(0.02)
        for stranger, at in list(said.items()):
            try:
                stranger.send(drip[at : at + 1])
                said[stranger] += 1
            except OSError:
                del said[stranger]


def _frame(first: int, payload: bytes = b"") -> bytes:
    """A frame with the key 0."""
    length = len(payload)
    head = struct.pack(">BBH", first, 0xFE, length) if length > 125 else bytes((first, 0x80 | length))
    return head + bytes(4) + payload


def _sit_and_read_nothing(address: Address, until: float) -> None:
    """Players with tiny buffers who never read."""
    sitting = []
    while time.monotonic() < until:
        if len(sitting) < 100:
            try:
                raw = Raw(address, "/play", wire.SUBPROTOCOL, 4096)
                raw.send(wire.encode_hello("arena", "deaf"))
                sitting.append(raw)
            except CLOSED:
                pass
        else:
            for raw in sitting:
                try:
                    raw.send(wire.encode_ping(bytes(8)))
                except OSError:
                    pass
            time.sleep(0.02)


PLAY = ("/play", wire.SUBPROTOCOL)
ECHO = ("/echo", "")
START = b"GET /play HTTP/1.1\r\nHost: x\r\n"

# What each does until its time is up.
ATTACKS: dict[str, Attack] = {
    "nothing": lambda address, until: time.sleep(max(0.0, until - time.monotonic())),
    "noise": lambda address, until: _send_requests(address, os.urandom(512), until),
    "resets": lambda address, until: _send_requests(address, START, until, reset=True),
    "requests without a key": lambda address, until: _send_requests(address, START + b"\r\n", until),
    "a header of 20 MB": lambda address, until: _send_requests(address, START + b"X: " + b"y" * 20_000_000, until),
    "50,000 headers": lambda address, until: _send_requests(address, START + b"X: y\r\n" * 50_000, until),
    "a target of 200 KB": lambda address, until: _send_requests(address, b"GET /" + b"x" * 200_000, until),
    "400 slow handshakes": lambda address, until: _hold(address, 400, until, START + b"X: " + b"y" * 8000),
    "pings, read": lambda address, until: _flood(address, *PLAY, _frame(0x89, b"12345678") * 4000, until, True),
    "pings, unread": lambda address, until: _flood(address, *PLAY, _frame(0x89, b"12345678") * 4000, until, False),
    "/echo: pings, unread": lambda address, until: _flood(address, *ECHO, _frame(0x89) * 4000, until, False),
    "tiny messages": lambda address, until: _flood(address, *PLAY, _frame(0x82, b"\x03") * 4000, until, True),
    "/echo: tiny messages": lambda address, until: _flood(address, *ECHO, _frame(0x82) * 4000, until, True),
    "/echo: 130,000 fragments": lambda address, until: _flood(
        address, *ECHO, _frame(0x02) + _frame(0x00, b"x") * 130_000, until, False
    ),
    "/echo: announced lengths": lambda address, until: _flood(
        address, *ECHO, b"\x82\xff" + (15 << 20).to_bytes(8, "big") + bytes(4), until, False
    ),
    "/echo: messages of 15 MiB": lambda address, until: _flood(
        address, *ECHO, b"\x82\xff" + (15 << 20).to_bytes(8, "big") + bytes(4) + bytes(15 << 20), until, False
    ),
    "messages of 16 KiB": lambda address, until: _flood(address, *PLAY, _frame(0x82, bytes(16384)) * 60, until, True),
    "100 players who never read": _sit_and_read_nothing,
}


def connect_at_once(address: Address, count: int, patience: float) -> tuple[list[float], int]:
    """So many upgrades asked for at one moment: after how long each got its 101, and how many other answers came."""
    began = time.monotonic()
    strangers = []
    with selectors.DefaultSelector() as ready:
        for _ in range(count):
            stranger = socket.socket()
            stranger.setblocking(False)
            stranger.connect_ex(address)
            ready.register(stranger, selectors.EVENT_WRITE)
            strangers.append(stranger)
        upgraded: list[float] = []
        others = 0
        while len(upgraded) + others < count and time.monotonic() < began + patience:
            for key, events in ready.select(0.05):
                stranger = key.fileobj
                assert isinstance(stranger, socket.socket)
                if events & selectors.EVENT_WRITE:
                    try:
                        stranger.send(request(address, *PLAY))
                        ready.modify(stranger, selectors.EVENT_READ)
                        continue
                    except OSError:
                        pass
                try:
                    answer = stranger.recv(4096)
                except OSError:
                    answer = b""
                ready.unregister(stranger)
                if answer.startswith(b"HTTP/1.1 101 "):
                    upgraded.append(time.monotonic() - began)
                else:
                    others += 1
    for stranger in strangers:
        stranger.close()
    return upgraded, others
