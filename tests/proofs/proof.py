"""What a proof says, and who takes part in it: a player who reads when told to, and bots that play beside it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable

import tickyard_wire as wire
from raw import Raw
from server import ROOT, Server, wait_until

SWARM = ROOT / "target" / "release" / "swarm"
REPORTS = ROOT / "target" / "tests"


class Failed(Exception):
    """A promise was not kept."""


def hold(fact: bool, what: str) -> None:
    """Says what was found; ends the proof if it is not what was promised."""
    print(f"  {'yes' if fact else 'NO '}  {what}", flush=True)
    if not fact:
        raise Failed(what)


class Bots:
    """A swarm that plays beside a proof and ends with it."""

    def __init__(self, server: Server, count: int) -> None:
        command = [str(SWARM), "--url", server.play, "--bots", str(count), "--for", "120s", "--check", "0"]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
        self.server, self.count = server, count

    def __enter__(self) -> None:
        hold(
            wait_until(lambda: self.server.metrics().get("tickyard_players", 0) >= self.count, 15),
            f"{self.count} bots play",
        )

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


class Player:
    """A player who reads when told to, and keeps a world."""

    def __init__(self, server: Server, name: str, receive_buffer: int = 0) -> None:
        self.raw = Raw(server.address, "/play", wire.SUBPROTOCOL, receive_buffer)
        if self.raw.status != 101:
            self.raw.close()
            raise Failed(f"status {self.raw.status}")
        self.raw.send(wire.encode_hello("arena", name))
        first = self.raw.message(5.0) or b""
        control = wire.decode_control(first)
        if not isinstance(control, wire.Welcome):
            raise Failed(f"not welcomed: {control}")
        self.welcome = control
        self.world = wire.World(control.schema)
        self.pong: wire.Pong | None = None
        self.seq = 0

    def read(self, within: float) -> bool:
        """Takes one message; False: none came."""
        message = self.raw.message(within)
        if message is None:
            return False
        if message[0] == wire.TICK:
            self.world.apply(message)
            repair = self.world.take_repair()
            if repair:
                self.raw.send(repair)
        elif message[0] == wire.PONG:
            self.pong = wire.decode_pong(message)
        return True

    def read_until(self, good: Callable[[], bool], seconds: float) -> bool:
        """Reads until it is so, or the time is up."""
        end = time.monotonic() + seconds
        while not good():
            left = end - time.monotonic()
            if left <= 0 or not self.read(left):
                return good()
        return True

    def ping(self) -> wire.Pong:
        """Asks for the time of the room."""
        stamp = os.urandom(8)
        self.raw.send(wire.encode_ping(stamp))
        if not self.read_until(lambda: self.pong is not None and self.pong.stamp == stamp, 5.0):
            raise Failed("no pong in 5 s")
        assert self.pong
        return self.pong

    def input(self, heading: int) -> None:
        """Sends an input: a direction, as far as it goes."""
        self.seq += 1
        row = [(field.min, field.max)[heading >> at & 1] for at, field in enumerate(self.welcome.schema.input)]
        self.raw.send(wire.encode_input(self.seq, self.world.reliable, 0, row))
