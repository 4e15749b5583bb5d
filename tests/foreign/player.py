"""A foreign client of Tickyard: plays `arena` with many players, or decodes a recording.

    python3 player.py --url ws://127.0.0.1:7070/play --players 50 --for 20 [--record FILE]
    python3 player.py --decode FILE

The first plays and checks what it sees; a line of JSON says what was counted, and the exit code is 1 if something
was wrong. The second applies the server's messages of a recording, and prints the world it ends with; the recording
is JSON lines {"from": "server" | "client", "hex": "…"}, from the `Welcome` on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TextIO

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

from tickyard_wire import (
    CONTROL,
    MAX_WANT,
    PONG,
    SUBPROTOCOL,
    TICK,
    DeltaApplied,
    Event,
    Kind,
    Malformed,
    Reliable,
    SnapshotApplied,
    ViewChanged,
    Welcome,
    World,
    decode_control,
    decode_pong,
    encode_ack,
    encode_hello,
    encode_input,
    encode_message,
    encode_ping,
    encode_want,
    since,
)

GAME = "arena"
CHAT_LINES = 3
ENOUGH_COMPARED = 0.8
QUIET_TICKS = 10

Entity = tuple[int, int, int, tuple[int, ...], str]
Frozen = dict[int, Entity]


# ------------------------------------------------------------------------------------ what was held, and when


@dataclass
class Version:
    """What a player held of a cell: as of `held`, and known to be current until `until`."""

    held: int
    until: int
    members: Frozen
    by_deltas: bool


@dataclass
class Claim:
    """What a snapshot said of a cell."""

    player: str
    cell: int
    tick: int
    members: Frozen


class Record:
    """What one player held of each cell while things were quiet, and what snapshots it got."""

    def __init__(self, name: str, world: World) -> None:
        self.name = name
        self.versions: dict[int, list[Version]] = {}
        self.claims: list[Claim] = []
        self.silent: list[
            tuple[int, int, int]
        ] = []  # (cell, from, to): no publication after `from`, up to `to`
        self.complete_at = world.tick  # the last tick at which the view was complete, if it ever was
        for cell in world.cells:
            self._keep(cell, world, by_deltas=True)
        self.held_at_start = set(world.cells)

    def _keep(self, cell: int, world: World, by_deltas: bool) -> Version:
        held = world.cells[cell]
        members = {
            m.slot: (m.slot, m.generation, m.kind, tuple(m.row), m.statics) for m in held.members.values()
        }
        version = Version(held.held, held.held, members, by_deltas)
        self.versions.setdefault(cell, []).append(version)
        return version

    def after(self, world: World, events: list[Event]) -> None:
        """Take down what a message did."""
        changed: dict[int, bool] = {}
        for event in events:
            if isinstance(event, DeltaApplied):
                self.silent.append((event.cell, event.base, event.tick - 1))
                changed[event.cell] = changed.get(event.cell, True)
            elif isinstance(event, SnapshotApplied):
                changed[event.cell] = False
                if world.cells[event.cell].held == event.tick:  # no delta came on top of it
                    claim = self._keep(event.cell, world, by_deltas=False)
                    self.claims.append(Claim(self.name, event.cell, event.tick, claim.members))
            elif isinstance(event, ViewChanged):
                self.held_at_start -= set(event.forgotten)
        for cell, by_deltas in changed.items():
            known = self.versions.get(cell)
            if cell in world.cells and (not known or known[-1].held != world.cells[cell].held):
                self._keep(cell, world, by_deltas)
        if world.complete:
            self.complete_at = world.tick
            for cell in world.cells:
                self.versions[cell][-1].until = world.tick


@dataclass
class Comparison:
    """What was compared, and what differed."""

    cells: int = 0
    entities: int = 0
    fields: int = 0
    comparable: int = 0
    of: int = 0
    differences: list[str] = field(default_factory=list)

    def members(self, where: str, held: Frozen, said: Frozen) -> None:
        """Compare a cell, entity by entity and field by field."""
        self.cells += 1
        for slot in sorted(held.keys() | said.keys()):
            mine, theirs = held.get(slot), said.get(slot)
            self.entities += 1
            if mine is None or theirs is None:
                self.differences.append(f"{where}: slot {slot}: held {mine}, the snapshot says {theirs}")
                continue
            for name, a, b in zip(("slot", "generation", "kind", "row", "statics"), mine, theirs):
                self.fields += len(a) if isinstance(a, tuple) else 1
                if a != b:
                    self.differences.append(f"{where}: slot {slot}: {name} {a} held, the snapshot says {b}")


def compare(old: list[Record], fresh: list[Record]) -> Comparison:
    """Compare what old players held by deltas with each snapshot of the cell, if nothing changed in between.

    A cell is silent between two ticks if any player knows it: by a delta whose base is the older one, or by
    *view complete*.
    """
    silent: dict[int, list[tuple[int, int]]] = {}
    for record in old + fresh:
        for cell, versions in record.versions.items():
            silent.setdefault(cell, []).extend((version.held, version.until) for version in versions)
        for cell, start, end in record.silent:
            silent.setdefault(cell, []).append((start, end))
    for spans in silent.values():
        spans.sort()

    def quiet(cell: int, start: int, end: int) -> bool:
        for low, high in silent.get(cell, ()):
            if low <= start < high:
                start = high
        return start >= end

    claims: dict[int, list[Claim]] = {}
    for record in old + fresh:
        for claim in record.claims:
            claims.setdefault(claim.cell, []).append(claim)

    result = Comparison()
    for record in old:
        for cell in record.held_at_start:
            compared = False
            for claim in claims.get(cell, ()):
                before = [v for v in record.versions[cell] if v.by_deltas and v.held <= claim.tick]
                if before and quiet(cell, before[-1].held, claim.tick):
                    held = before[-1].held
                    where = f"cell {cell} of {record.name} as of {held}, to {claim.player}'s of {claim.tick}"
                    result.members(where, before[-1].members, claim.members)
                    compared = True
            result.of += 1
            result.comparable += compared
    return result


# ---------------------------------------------------------------------------------------------------- players


class Player:
    """One connection, and what it saw."""

    def __init__(self, url: str, name: str, recording: TextIO | None = None) -> None:
        self.url, self.name, self.recording = url, name, recording
        self.welcome: Welcome | None = None
        self.world: World | None = None
        self.record: Record | None = None
        self.record_from_start = False
        self.moving = False
        self.moved = False
        self.scored = 0
        self.was_complete = False
        self.heard: list[Reliable] = []
        self.seq = self.acked = self.said = 0
        self.acks_in_inputs = self.acks_alone = 0
        self.pings = self.pongs = 0
        self.unknown_messages = 0
        self.still_since = 0
        self.problem: str | None = None
        self._start: list[int] | None = None
        self._last: list[int] | None = None
        self._last_row: list[int] | None = None
        self._speed = 1.0
        self._asked: set[int] = set()
        self._stamp = b""
        self._leaving = False
        self._socket: ClientConnection | None = None
        self._tasks: list[asyncio.Task[None]] = []

    # ---- the connection

    async def join(self) -> None:
        """Connect and say hello; the rest happens in the background."""
        # No library pings: the page has its own.
        self._socket = await connect(
            self.url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            ping_interval=None,
            proxy=None,
        )
        if self._socket.subprotocol != SUBPROTOCOL:
            raise RuntimeError(f"{self.name}: the server chose subprotocol {self._socket.subprotocol!r}")
        await self._send(encode_hello(GAME, self.name))
        self._tasks = [asyncio.create_task(work) for work in (self._listen(), self._ping(), self._steer())]

    async def leave(self) -> None:
        """Close the connection."""
        self._leaving = True
        for task in self._tasks[1:]:
            task.cancel()
        if self._socket:
            await self._socket.close(1000)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _send(self, message: bytes) -> None:
        if self.recording and self.welcome:
            self.recording.write(json.dumps({"from": "client", "hex": message.hex()}) + "\n")
        assert self._socket
        try:
            await self._socket.send(message)
        except ConnectionClosed:
            pass  # `_listen` tells why

    def _trouble(self, what: str) -> None:
        self.problem = self.problem or f"{self.name}: {what}"

    async def _listen(self) -> None:
        assert self._socket
        try:
            async for message in self._socket:
                if isinstance(message, str):
                    self._trouble("a text message")
                elif message:
                    if self.recording:
                        self.recording.write(json.dumps({"from": "server", "hex": message.hex()}) + "\n")
                    await self._take(message)
                if self.problem:
                    await self._socket.close(1002)
        except Malformed as error:
            self._trouble(f"malformed: {error}")
            await self._socket.close(1002)
        except ConnectionClosed:
            pass
        except Exception as error:  # a fault of ours must not pass unseen
            self._trouble(f"failed: {error!r}")
        if not self._leaving:
            self._trouble(f"closed: {self._socket.close_code} {self._socket.close_reason}")

    async def _take(self, message: bytes) -> None:
        if message[0] == CONTROL:
            control = decode_control(message)
            if not isinstance(control, Welcome) or self.welcome:
                self._trouble(f"not welcomed: {control}")
                return
            self.welcome = control
            self.world = World(control.schema)
            if self.record_from_start:
                self.record = Record(self.name, self.world)
        elif message[0] == PONG:
            if decode_pong(message).stamp != self._stamp:
                self._trouble("a pong with another stamp")
            self.pongs += 1
        elif message[0] == TICK:
            await self._tick(message)
        else:
            self.unknown_messages += 1

    async def _tick(self, message: bytes) -> None:
        world = self.world
        if not world:
            self._trouble("a tick before the welcome")
            return
        events = world.apply(message)
        if world.broken:
            self._trouble(f"broken: {world.broken}")
        if self.record:
            self.record.after(world, events)
        self.was_complete |= world.complete
        self._look_at_self(world)
        self.heard.extend(event for event in events if isinstance(event, Reliable))
        self._asked &= world.wanted
        missing = sorted(world.wanted - self._asked)
        if missing:
            await self.want(missing[:MAX_WANT])
        if world.reliable != self.acked and not self.moving:
            self.acked = world.reliable
            self.acks_alone += 1
            await self._send(encode_ack(self.acked))

    def _look_at_self(self, world: World) -> None:
        if not world.own:
            return
        row, kind = world.own.row, world.schema.kinds[world.own.kind]
        at = [row[kind.index("x")], row[kind.index("y")]]
        if self._last and at != self._last:
            self._speed = max(self._speed, math.dist(at, self._last))
        if row != self._last_row:
            self.still_since = world.tick
        self._last, self._last_row = at, list(row)
        self._start = self._start or at
        self.moved |= at != self._start
        self.scored = max(self.scored, row[kind.index("score")])

    # ---- what a player does

    async def want(self, cells: list[int]) -> None:
        """Ask for snapshots."""
        self._asked.update(cells)
        await self._send(encode_want(cells))

    async def say(self, text: str) -> None:
        """Say something to the room."""
        self.said += 1
        await self._send(encode_message(self.said, "chat", text.encode()))

    def heard_from(self, player: int) -> list[str]:
        """The chat lines heard from a player."""
        return [str(r.content[2]) for r in self.heard if r.name == "chat" and r.content[0] == player]

    async def stop(self) -> None:
        """Stop moving."""
        self.moving = False
        if self.welcome:
            await self._input(0.0, 0.0)

    async def _input(self, dx: float, dy: float) -> None:
        """Send an input: `dx` and `dy` from -1 to 1, of what the schema allows."""
        assert self.welcome and self.world
        wanted = {"dx": dx, "dy": dy}
        row = []
        for this in self.welcome.schema.input:
            part = wanted.get(this.name, 0.0)
            row.append(this.row(part * abs(this.value(this.max if part > 0 else this.min))))
        self.seq += 1
        self.acked = self.world.reliable
        self.acks_in_inputs += self.acked > 0
        await self._send(encode_input(self.seq, self.acked, self.world.tick * 16, row))

    async def _steer(self) -> None:
        """Towards the nearest coin that is to be seen, several times a second."""
        while True:
            await asyncio.sleep(0.1)
            if not self.moving or not self.world or not self.welcome:
                continue
            dx, dy = self._heading(self.world)
            if self.moving:
                await self._input(dx, dy)

    def _heading(self, world: World) -> tuple[float, float]:
        if not world.own:
            return 1.0, 0.0
        schema = world.schema
        kind, coin = schema.kinds[world.own.kind], schema.kinds[schema.kind("coin")]

        def place(row: list[int], of: Kind) -> tuple[float, float]:
            x, y = of.index("x"), of.index("y")
            return of.fields[x].value(row[x]), of.fields[y].value(row[y])

        here = place(world.own.row, kind)
        coins = [place(member.row, coin) for member in world.visible(schema.kind("coin"))]
        if not coins:
            angle = hash(self.name) % 360 * math.tau / 360
            return math.cos(angle), math.sin(angle)
        goal = min(coins, key=lambda at: math.dist(at, here))
        far = math.dist(goal, here) or 1.0
        step = self._speed * kind.fields[kind.index("x")].step
        pace = min(1.0, far / (3 * step))  # not to run past it
        return (goal[0] - here[0]) / far * pace, (goal[1] - here[1]) / far * pace

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            if self.welcome and self.pings == self.pongs:
                self._stamp = os.urandom(8)
                self.pings += 1
                await self._send(encode_ping(self._stamp))

    def still(self) -> bool:
        """Whether the last input was applied, and nothing of our own entity changed for some ticks since."""
        world = self.world
        return bool(
            world
            and world.own
            and world.complete
            and world.applied_seq == self.seq
            and world.depth == 0
            and since(world.tick, self.still_since) >= QUIET_TICKS
        )


# --------------------------------------------------------------------------------------------------- the game


class Game:
    """Many players, and the list of what went wrong."""

    def __init__(self, url: str, count: int, seconds: float, recording: TextIO | None) -> None:
        self.url, self.seconds = url, seconds
        self.players = [Player(url, f"foreign{at}", None if at else recording) for at in range(count)]
        self.fresh = [Player(url, f"fresh{at}") for at in range(3)]
        self.failures: list[str] = []
        self.result = Comparison()

    async def until(
        self, what: str, deadline: float, good: Callable[[Player], bool], those: list[Player]
    ) -> bool:
        """Wait until something is true of all these players; if it does not, that is a failure."""
        end = time.monotonic() + deadline
        while True:
            waiting = [player for player in those if not good(player)]
            if not waiting:
                return True
            lost = [player.problem for player in waiting if player.problem]
            if lost or time.monotonic() > end:
                names = ", ".join(player.name for player in waiting[:5])
                self.failures.append(f"{what}: not so for {len(waiting)} of {len(those)} players ({names} …)")
                return False
            await asyncio.sleep(0.02)

    async def play(self) -> None:
        """The whole scenario."""
        everyone = self.players
        try:
            await asyncio.gather(*(player.join() for player in everyone))
            if not await self.until("welcomed", 10, lambda p: p.welcome is not None, everyone):
                return
            await self.until("view complete", 10, lambda p: p.was_complete, everyone)
            await self.until("own entity known", 5, lambda p: bool(p.world and p.world.own), everyone)
            end = time.monotonic() + self.seconds
            for player in everyone:
                player.moving = True
            await self.chat(everyone[0], CHAT_LINES, "while all move")
            await self.until("moved", self.seconds, lambda p: p.moved, everyone)
            while time.monotonic() < end and not any(player.problem for player in everyone):
                await asyncio.sleep(0.05)
            if not any(player.scored for player in everyone):
                self.failures.append("no player collected a coin")
            await asyncio.gather(*(player.stop() for player in everyone))
            if await self.until("still after the last input", 20, Player.still, everyone):
                await self.chat(everyone[-1], 1, "while all rest")
                await self.hold_to_snapshots()
            self.judge()
        except (OSError, RuntimeError, WebSocketException) as error:
            self.failures.append(f"could not join: {error!r}")
        finally:
            everyone = self.players + self.fresh
            await asyncio.gather(*(player.leave() for player in everyone), return_exceptions=True)

    async def chat(self, speaker: Player, count: int, what: str) -> None:
        """One says some lines; all others must hear them, in order, and acknowledge."""
        assert speaker.welcome
        number = speaker.welcome.player
        lines = [f"{what}, line {at} – ÿ" for at in range(1, count + 1)]
        before = {id(player): len(player.heard_from(number)) for player in self.players}
        others = [player for player in self.players if player is not speaker]
        for line in lines:
            await speaker.say(line)
        await self.until(
            f"chat {what} heard in order", 5, lambda p: p.heard_from(number)[before[id(p)] :] == lines, others
        )
        await self.until(
            f"chat {what} taken by the room",
            5,
            lambda p: bool(p.world and p.world.heard == p.said),
            [speaker],
        )
        await self.until(
            f"chat {what} acknowledged", 5, lambda p: bool(p.world and p.acked == p.world.reliable), others
        )

    async def hold_to_snapshots(self) -> None:
        """Ask for everything afresh, join afresh, and compare."""
        players = self.players
        for player in players:
            assert player.world
            player.record = Record(player.name, player.world)
        await self.all_current("before the snapshots")
        # In two halves, so that the players of one know what is silent while those of the other are answered.
        for half in (players[::2], players[1::2]):
            await asyncio.gather(*(self.want_all(player) for player in half))
            await self.all_current("after the snapshots")
        for player in self.fresh:
            player.record_from_start = True
        await asyncio.gather(*(player.join() for player in self.fresh))
        if await self.until("fresh players see all", 10, lambda p: p.was_complete, self.fresh):
            await self.all_current("after the fresh players")
        records = [player.record for player in players if player.record]
        self.result = compare(records, [player.record for player in self.fresh if player.record])

    async def all_current(self, when: str) -> None:
        """Wait until each player knows its view to be complete at a tick none has seen yet."""
        latest = max(player.world.tick for player in self.players + self.fresh if player.world)
        await self.until(
            f"view complete {when}",
            10,
            lambda p: bool(p.record and p.record.complete_at > latest),
            self.players,
        )

    async def want_all(self, player: Player) -> None:
        """Ask for each cell that a player holds, as many at once as one may, and wait for the snapshots."""
        assert player.world and player.record
        record = player.record
        cells = sorted(player.world.cells)
        for at in range(0, len(cells), MAX_WANT):
            asked = set(cells[at : at + MAX_WANT])
            had = len(record.claims)

            def answered(_: Player, asked: set[int] = asked, had: int = had) -> bool:
                return asked <= {claim.cell for claim in record.claims[had:]}

            await player.want(sorted(asked))
            if not await self.until("snapshots of all wanted cells", 10, answered, [player]):
                return

    def judge(self) -> None:
        """What must be true at the end."""
        for player in self.players + self.fresh:
            if not player.world:
                continue
            if player.problem:
                self.failures.append(player.problem)
            world = player.world
            if world.violations or world.desyncs:
                what = "; ".join(world.trouble[:3])
                self.failures.append(
                    f"{player.name}: {world.violations} violations, {world.desyncs} desyncs: {what}"
                )
        if not all(player.pongs for player in self.players):
            self.failures.append("not every player got a pong")
        if not sum(player.world.sums_checked for player in self.players if player.world):
            self.failures.append("no sum was checked")
        result = self.result
        self.failures.extend(result.differences[:10])
        if not result.of or result.comparable < ENOUGH_COMPARED * result.of:
            self.failures.append(f"only {result.comparable} of {result.of} held cells could be compared")

    def summary(self) -> dict[str, object]:
        """What was counted."""
        worlds = [player.world for player in self.players + self.fresh if player.world]
        result = self.result
        return {
            "ok": not self.failures,
            "welcomed": sum(player.welcome is not None for player in self.players),
            "moved": sum(player.moved for player in self.players),
            "scored": sum(player.scored > 0 for player in self.players),
            "complete": sum(player.was_complete for player in self.players),
            "chats_heard": sum(r.name == "chat" for player in self.players for r in player.heard),
            "acks_in_inputs": sum(player.acks_in_inputs for player in self.players),
            "acks_alone": sum(player.acks_alone for player in self.players),
            "pongs": sum(player.pongs for player in self.players),
            "sums_checked": sum(world.sums_checked for world in worlds),
            "desyncs": sum(world.desyncs for world in worlds),
            "violations": sum(world.violations for world in worlds),
            "skipped_ticks": sum(world.skipped_messages for world in worlds),
            "held_cells": result.of,
            "held_cells_compared": result.comparable,
            "cell_comparisons": result.cells,
            "entities_compared": result.entities,
            "fields_compared": result.fields,
            "differences": len(result.differences),
            "failures": len(self.failures),
        }


# ------------------------------------------------------------------------------------------------ the command


def decode(path: str) -> int:
    """Apply the server's messages of a recording, and print the world."""
    world: World | None = None
    with open(path, encoding="utf-8") as lines:
        for line in filter(str.strip, lines):
            entry = json.loads(line)
            message = bytes.fromhex(entry["hex"])
            if entry["from"] != "server" or not message:
                continue
            if message[0] == CONTROL and world is None:
                control = decode_control(message)
                if not isinstance(control, Welcome):
                    print(f"not a welcome: {control}", file=sys.stderr)
                    return 1
                world = World(control.schema)
            elif message[0] == TICK and world is not None:
                world.apply(message)
                if world.broken:
                    break
    if world is None:
        print("no welcome in the recording", file=sys.stderr)
        return 1
    for trouble in world.trouble:
        print(trouble, file=sys.stderr)
    print(json.dumps(world.summary(), sort_keys=True, separators=(",", ":"), ensure_ascii=False))
    return 1 if world.broken else 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="A foreign client of Tickyard.")
    parser.add_argument("--url", default="ws://127.0.0.1:7070/play")
    parser.add_argument("--players", type=int, default=50)
    parser.add_argument("--for", type=float, default=20.0, dest="seconds", help="how long they move")
    parser.add_argument("--record", metavar="FILE", help="write the first player's messages, for --decode")
    parser.add_argument("--decode", metavar="FILE", help="decode a recording instead of playing")
    options = parser.parse_args()
    if options.decode:
        return decode(options.decode)
    recording = open(options.record, "w", encoding="utf-8") if options.record else None
    game = Game(options.url, options.players, options.seconds, recording)
    asyncio.run(game.play())
    if recording:
        recording.close()
    for failure in game.failures:
        print(f"FAILED {failure}", file=sys.stderr)
    print(json.dumps(game.summary()))
    return 1 if game.failures else 0


if __name__ == "__main__":
    sys.exit(main())
