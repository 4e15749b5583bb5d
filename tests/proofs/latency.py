"""Two clients measure the same server at the same time: the swarm, and this one in Python, which knows nothing of it.

Both take the time from when an input was due to the first state that has it. In Python:

- an input that is due is waited for by looking at the clock, and what is left of lateness is told;
- a state is stamped by the kernel when it comes in (SO_TIMESTAMPNS), so it does not matter how late Python gets to read it.

The wait for the next tick is most of what is measured, so who sends when matters more than anything else. Both send ten times a second,
a fifth earlier or later, from moments that are spread evenly over the tenth of a second.
"""

from __future__ import annotations

import json
import random
import select
import socket
import statistics
import struct
import subprocess
import time
from collections import deque
from pathlib import Path

import tickyard_wire as wire
from proof import REPORTS, SWARM, Failed, hold
from raw import CLOSE, PING, Closed, Raw
from server import Server

PLAYERS = 20
EVERY = 0.1
JITTER = 0.02
# Before this long, the clock is not looked at without a pause.
SPIN = 0.002
# The kernel's SO_TIMESTAMPNS, which Python has no name for.
SO_TIMESTAMPNS = 35
# Of a tick message: its type, the tick, the last input applied. No more is read: who keeps 20 worlds in Python takes the time from
# the others on this machine.
HEADER = struct.Struct("<xII")
GOLDEN = 0.6180339887498949
APART_MAX_MS = 1.0
OWN_LAG_MAX_MS = 0.3


def latency(seconds: int = 30) -> None:
    """20 bots and 20 players in Python measure the same latency, to a millisecond."""
    report = REPORTS / "long-latency.json"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    with Server() as server:
        players = [Timed(server, number) for number in range(PLAYERS)]
        command = [str(SWARM), "--url", server.play, "--bots", str(PLAYERS), "--ramp", "1s", "--for", f"{seconds}s"]
        quiet = subprocess.DEVNULL
        # Others play, so no world comes to rest: it is not checked.
        swarm = subprocess.Popen([*command, "--check", "0", "--json", str(report)], stdin=quiet, stdout=quiet, stderr=quiet)
        try:
            play(players, 1.0, seconds)
            swarm.wait(15)
        finally:
            swarm.kill()
            swarm.wait()
        for player in players:
            player.raw.close()
    compare(players, report)


def compare(players: list[Timed], report: Path) -> None:
    """What both found."""
    said = json.loads(report.read_text())
    hold(said["valid"] and said["errors"] == said["violations"] == 0, f"the swarm's run is good {said['invalid_reasons'] or ''}")
    found = [delay for player in players for delay in player.delays]
    theirs = said["input_to_state_ms"]
    lag = statistics.median(delay for player in players for delay in player.lags) * 1000
    hold(lag <= OWN_LAG_MAX_MS, f"Python sends {lag:.3f} ms late (median)")
    least = min(len(found), theirs["count"])
    hold(least > 0.8 * PLAYERS / EVERY * said["seconds"], f"{len(found)} samples in Python, {theirs['count']} of the swarm")
    median = statistics.median(found) * 1000
    apart = theirs["p50"] - median
    quantiles = statistics.quantiles(found, n=100)
    print(f"       p95 {quantiles[94] * 1000:.2f} and {theirs['p95']:.2f} ms, p99 {quantiles[98] * 1000:.2f} and {theirs['p99']:.2f} ms")
    hold(abs(apart) <= APART_MAX_MS, f"median {median:.2f} ms in Python, {theirs['p50']:.2f} ms in the swarm: {apart:+.2f} ms")


def play(players: list[Timed], warm: float, seconds: float) -> None:
    """Sends when it is due, and reads between."""
    poll = select.epoll()
    by_descriptor = {player.raw.socket.fileno(): player for player in players}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.EPOLLIN)
    start = time.monotonic()
    for player in players:
        player.begin(start)
    opens, ends = start + warm, start + warm + seconds
    while (now := time.monotonic()) < ends:
        next_one = min(players, key=lambda player: player.due)
        wait = next_one.due - now
        if wait <= 0:
            next_one.send(now, opens)
            continue
        for descriptor, _ in poll.poll(wait - SPIN if wait > SPIN else 0):
            by_descriptor[descriptor].read()


class Timed:
    """A player who wanders, and knows when what it hears came in."""

    def __init__(self, server: Server, number: int) -> None:
        self.raw = Raw(server.address, "/play", wire.SUBPROTOCOL)
        self.raw.send(wire.encode_hello("arena", f"timed {number}"))
        welcome = wire.decode_control(self.raw.message(5.0) or b"")
        if not isinstance(welcome, wire.Welcome):
            raise Failed(f"not welcomed: {welcome}")
        self.fields = welcome.schema.input
        self.number, self.random = number, random.Random(number)
        self.slot = self.due = self.turn_at = 0.0
        self.heading = [0] * len(self.fields)
        self.seq = 0
        self.waiting: deque[tuple[int, float]] = deque()
        self.delays: list[float] = []
        self.lags: list[float] = []
        self.raw.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.raw.socket.setblocking(False)

    def begin(self, start: float) -> None:
        """From now on it sends."""
        self.slot = start + EVERY + EVERY * self.number / PLAYERS
        self.due = self.slot

    def send(self, now: float, opens: float) -> None:
        """An input is due."""
        if now >= self.turn_at:
            self.turn_at = now + 1
            self.heading = [self.random.randint(field.min, field.max) for field in self.fields]
        self.seq += 1
        message = wire.encode_input(self.seq, 0, 0, self.heading)
        sent = time.monotonic()
        self.raw.send(message)
        if self.due >= opens:
            self.waiting.append((self.seq, self.due))
            self.lags.append(sent - self.due)
        self.slot += EVERY
        # Of all moments alike, and not by chance: what is left of chance is the swarm's.
        self.due = self.slot + JITTER * (2 * (self.seq * GOLDEN % 1) - 1)

    def read(self) -> None:
        """Takes what came, with the kernel's stamp."""
        data, others, _, _ = self.raw.socket.recvmsg(1 << 16, 64)
        if not data:
            raise Closed(None)
        stamps = [bytes_ for level, kind, bytes_ in others if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS)]
        seconds, nanos = struct.unpack("qq", stamps[0])
        # How long ago that was, by the clock that the kernel uses.
        ago = time.time() - (seconds + nanos / 1e9)
        came = time.monotonic() - ago
        self.raw.received += data
        while frame := self.raw.frame():
            opcode, payload = frame
            if opcode == CLOSE:
                raise Closed(None)
            if opcode == PING:
                self.raw.send(payload, 10)
            elif payload[0] == wire.TICK:
                self.hear(payload, came)

    def hear(self, message: bytes, came: float) -> None:
        """A state."""
        _, applied = HEADER.unpack_from(message)
        while self.waiting and wire.since(applied, self.waiting[0][0]) >= 0:
            self.delays.append(came - self.waiting.popleft()[1])
