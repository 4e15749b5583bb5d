"""A foreign client of Tickyard: plays `arena` with many players, or decodes a recording.

    python3 player.py --url ws://127.0.0.1:7070/play --players 50 --for 8 [--busy] [--record FILE]
    python3 player.py --decode FILE

The first plays and checks what it sees; a line of JSON says what was counted, and the exit code is 1 if
something was wrong. The second applies the server's messages of a recording, and prints the world it ends
with; the recording is JSON lines {"from": "server" | "client", "hex": "…"}, from the `Welcome` on.

At the end all players stop, and what they hold is compared with fresh snapshots, field by field:

- Without `--busy` nobody else may play in the room. Once nobody has heard of a change for some ticks, every
  player asks for each cell that it holds, and each snapshot must be what was held until then. If it is not,
  and another player heard that the cell published in between, the cell is asked for again; if nobody did,
  that is a difference. All held cells must have been compared. Newcomers join, and once it is quiet again
  all copies of a cell must be the same, and each player must show just the members of the cells it holds.
  If it does not get quiet, that fails, and the line that says so names `--busy`.
- With `--busy` others play meanwhile, and it never gets quiet. Then copies of a cell are compared that
  different players hold as of the same tick; some must have grown by deltas alone, and others from a
  snapshot asked for just now. How many cells have such copies depends on who stands where: the share is
  told, not demanded.
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
    Cell,
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
DEADLINE = 30.0  # seconds, for anything that is waited for: generous, for a slow machine
STILL_TICKS = 10
QUIET_TICKS = 40  # nobody has heard of a change for so long; more than the slowest cell takes to publish one
ROUNDS = 5  # how often a cell is asked for, if it changes while it is asked for
TOLD = 10  # how many differences are told in full

Entity = tuple[int, int, int, tuple[int, ...], str]
Frozen = dict[int, Entity]


class Stop(Exception):
    """The rest of the scenario makes no sense."""


# ------------------------------------------------------------------------------------ what was held, and when


def frozen(cell: Cell) -> Frozen:
    """What a cell has in it, to be kept."""
    return {m.slot: (m.slot, m.generation, m.kind, tuple(m.row), m.statics) for m in cell.members.values()}


@dataclass(slots=True)
class Answer:
    """A snapshot, and what was held of the cell until then."""

    tick: int
    said: Frozen
    held: int
    before: Frozen


@dataclass(slots=True)
class Copy:
    """What somebody held of a cell as of some tick, and whether it grew from a new snapshot."""

    name: str
    fresh: bool
    members: Frozen


class Record:
    """What one player heard of its cells."""

    def __init__(self) -> None:
        self.changed_at = 0  # the last tick with news
        self.complete_at = 0  # the last tick at which the view was complete
        self.grown: set[int] = set()  # cells to which a delta was applied since their snapshot
        self.published: dict[int, list[int]] = {}  # the ticks of deltas, by cell
        self.answers: dict[int, Answer] = {}  # the last snapshots, by cell
        self.copies: dict[tuple[int, int], Copy] | None = None  # by cell and tick, if kept
        self.fresh: set[int] = set()  # cells whose copies are from a snapshot since copies are kept

    def keep_copies(self) -> None:
        """From now on, keep a copy of each cell for each tick."""
        self.copies, self.fresh = {}, set()

    def after(self, name: str, world: World, events: list[Event]) -> None:
        """Take down what a message did."""
        changed: dict[int, SnapshotApplied | None] = {}
        for event in events:
            if isinstance(event, DeltaApplied):
                self.published.setdefault(event.cell, []).append(event.tick)
                self.grown.add(event.cell)
                changed.setdefault(event.cell, None)
            elif isinstance(event, SnapshotApplied):
                self.grown.discard(event.cell)
                self.fresh.add(event.cell)
                changed[event.cell] = event
            elif isinstance(event, ViewChanged):
                self.changed_at = world.tick
                for number in event.forgotten:
                    self.answers.pop(number, None)
                    changed.pop(number, None)
        if changed:
            self.changed_at = world.tick
        if world.complete:
            self.complete_at = world.tick
        for number, snapshot in changed.items():
            cell = world.cells.get(number)
            if not cell:
                continue
            # If a delta came on top of the snapshot at once, what it said is not known any more.
            if snapshot and snapshot.before and snapshot.tick == cell.held:
                before = snapshot.before
                self.answers[number] = Answer(cell.held, frozen(cell), before.held, frozen(before))
            if self.copies is not None:
                self.copies[number, cell.held] = Copy(name, number in self.fresh, frozen(cell))


@dataclass
class Comparison:
    """What was compared, and what differed."""

    held: int = 0  # cells of all players
    compared: int = 0  # of those
    by_deltas: int = 0  # of those: deltas had been applied since the cell's snapshot before
    again: int = 0  # how often a cell had to be asked for again
    copies: int = 0  # pairs of copies of a cell
    entities: int = 0
    fields: int = 0
    newcomers: int = 0  # newcomers of whom a cell could be compared
    differences: list[str] = field(default_factory=list)

    def members(self, where: str, held: Frozen, said: Frozen) -> None:
        """Compare a cell, entity by entity and field by field."""
        for slot in sorted(held.keys() | said.keys()):
            mine, theirs = held.get(slot), said.get(slot)
            self.entities += 1
            if mine is None or theirs is None:
                self.differences.append(f"{where}: slot {slot}: {mine} is not {theirs}")
                continue
            for name, a, b in zip(
                ("slot", "generation", "kind", "row", "statics"), mine, theirs, strict=True
            ):
                self.fields += len(a) if isinstance(a, tuple) else 1
                if a != b:
                    self.differences.append(f"{where}: slot {slot}: {name}: {a} is not {b}")


# ---------------------------------------------------------------------------------------------------- players


class Player:
    """One connection, and what it saw."""

    def __init__(self, url: str, name: str, recording: TextIO | None = None) -> None:
        self.url, self.name, self.recording = url, name, recording
        self.welcome: Welcome | None = None
        self.world: World | None = None
        self.record = Record()
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
        self._last_tick = 0
        self._speed = 1.0
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
            open_timeout=DEADLINE,
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
        self.record.after(self.name, world, events)
        self.was_complete |= world.complete
        self._look_at_self(world)
        self.heard.extend(event for event in events if isinstance(event, Reliable))
        repair = world.take_repair()
        if repair:
            await self._send(repair)
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
            ticks = max(1, since(world.tick, self._last_tick))
            self._speed = max(self._speed, math.dist(at, self._last) / ticks)
        if row != self._last_row:
            self.still_since = world.tick
        self._last, self._last_row, self._last_tick = at, list(row), world.tick
        self._start = self._start or at
        self.moved |= at != self._start
        self.scored = max(self.scored, row[kind.index("score")])

    # ---- what a player does

    async def want(self, cells: list[int]) -> None:
        """Ask for snapshots."""
        for at in range(0, len(cells), MAX_WANT):
            await self._send(encode_want(cells[at : at + MAX_WANT]))

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
            and since(world.tick, self.still_since) >= STILL_TICKS
        )


# --------------------------------------------------------------------------------------------------- the game


class Game:
    """Many players, and the list of what went wrong."""

    def __init__(self, url: str, count: int, seconds: float, busy: bool, recording: TextIO | None) -> None:
        self.url, self.seconds, self.busy = url, seconds, busy
        self.players = [Player(url, f"foreign{at}", None if at else recording) for at in range(count)]
        self.fresh = [Player(url, f"fresh{at}") for at in range(3)]
        self.failures: list[str] = []
        self.result = Comparison()
        self.started = time.monotonic()

    async def until(
        self, what: str, good: Callable[[Player], bool], those: list[Player], deadline: float = DEADLINE
    ) -> None:
        """Wait until something is true of all these players; if it never is, stop."""
        end = time.monotonic() + deadline
        while True:
            waiting = [player for player in those if not good(player)]
            if not waiting:
                return
            lost = any(player.problem for player in those)
            if lost or time.monotonic() > end:
                why = "a connection is lost" if lost else f"waited {deadline:g} s"
                names = ", ".join(player.name for player in waiting[:5])
                self.failures.append(
                    f"{what}: not so for {len(waiting)} of {len(those)} players ({names} …): {why}"
                )
                raise Stop
            await asyncio.sleep(0.02)

    async def play(self) -> None:
        """The whole scenario."""
        everyone = self.players
        try:
            await asyncio.gather(*(player.join() for player in everyone))
            await self.until("welcomed", lambda p: p.welcome is not None, everyone)
            await self.until("view complete", lambda p: p.was_complete, everyone)
            await self.until("own entity known", lambda p: bool(p.world and p.world.own), everyone)
            end = time.monotonic() + self.seconds
            for player in everyone:
                player.moving = True
            await self.chat(everyone[0], CHAT_LINES, "while all move")
            await self.until("moved", lambda p: p.moved, everyone)
            while time.monotonic() < end and not any(player.problem for player in everyone):
                await asyncio.sleep(0.05)
            await self.until(
                "a coin collected by anybody", lambda _: any(p.scored for p in everyone), everyone
            )
            await asyncio.gather(*(player.stop() for player in everyone))
            await self.until("still after the last input", Player.still, everyone)
            await self.chat(everyone[-1], 1, "while all rest")
            await (self.compare_busy() if self.busy else self.compare_quiet())
        except Stop:
            pass
        except (OSError, RuntimeError, WebSocketException) as error:
            self.failures.append(f"could not join: {error!r}")
        finally:
            self.judge()
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
            f"chat {what} heard in order", lambda p: p.heard_from(number)[before[id(p)] :] == lines, others
        )
        await self.until(
            f"chat {what} taken by the room", lambda p: bool(p.world and p.world.heard == p.said), [speaker]
        )
        await self.until(
            f"chat {what} acknowledged", lambda p: bool(p.world and p.acked == p.world.reliable), others
        )

    # ---- comparing

    async def join_fresh(self) -> None:
        """Newcomers join, and see all."""
        await asyncio.gather(*(player.join() for player in self.fresh))
        await self.until("newcomers see all", lambda p: p.was_complete, self.fresh)

    async def all_current(self, when: str, ticks: int = 0) -> None:
        """Wait until each player knows its view to be complete at a tick that none has seen yet, or later."""
        those = [player for player in self.players + self.fresh if player.world]
        latest = max(player.world.tick for player in those if player.world) + ticks
        await self.until(f"view complete {when}", lambda p: p.record.complete_at > latest, those)

    async def quiet(self, when: str) -> None:
        """Wait until nobody has heard of a change for some ticks, and everybody is known to be up to date."""
        end = time.monotonic() + DEADLINE
        those = [player for player in self.players + self.fresh if player.world]
        while True:
            changed = max(player.record.changed_at for player in those)
            if min(player.record.complete_at for player in those) - changed >= QUIET_TICKS:
                return
            if any(player.problem for player in those) or time.monotonic() > end:
                self.failures.append(
                    f"not quiet within {DEADLINE:g} s {when}: the last news is of tick {changed};"
                    " if others play in this room, use --busy"
                )
                raise Stop
            await asyncio.sleep(0.02)

    async def ask(self, wanted: dict[int, set[int]], those: range) -> None:
        """These players ask for their wanted cells, and are answered."""
        players = {id(self.players[at]): wanted[at] for at in those}

        def answered(player: Player) -> bool:
            assert player.world
            held = player.world.cells.keys()  # what is not held any more will not be answered
            return players[id(player)] & held <= player.record.answers.keys()

        for at in those:
            self.players[at].record.answers.clear()
        await asyncio.gather(*(self.players[at].want(sorted(wanted[at])) for at in those))
        await self.until("snapshots of wanted cells", answered, [self.players[at] for at in those])

    def halves(self) -> tuple[range, range]:
        """The players in two halves: while one is answered, the other can tell which cells publish."""
        return range(0, len(self.players), 2), range(1, len(self.players), 2)

    async def compare_quiet(self) -> None:
        """All that is held must be what a snapshot says, and all copies of a cell must be the same."""
        result = self.result
        await self.quiet("before the snapshots")
        wanted = {at: set(player.world.cells) for at, player in enumerate(self.players) if player.world}
        grown = {at: set(player.record.grown) for at, player in enumerate(self.players)}
        result.held = sum(map(len, wanted.values()))
        for round_ in range(ROUNDS):
            if round_:
                await self.quiet("before the snapshots are asked for again")
            for half in self.halves():
                await self.ask(wanted, half)
            await self.all_current("after the snapshots")
            for at, cells in wanted.items():
                done = {cell for cell in cells if self.compare_answer(self.players[at], cell)}
                result.compared += len(done)
                result.by_deltas += len(done & grown[at])
                cells -= done
            if not any(wanted.values()):
                break
            result.again += sum(map(len, wanted.values()))
        await self.join_fresh()
        await self.quiet("after newcomers joined")
        self.compare_copies()
        if not result.held or result.compared != result.held:
            self.failures.append(f"only {result.compared} of {result.held} held cells could be compared")
        if not result.by_deltas or not result.entities:
            self.failures.append("nothing that grew by deltas was compared")

    def compare_answer(self, player: Player, cell: int) -> bool:
        """Compare a snapshot with what was held; False if the cell has to be asked for again."""
        answer = player.record.answers.get(cell)
        if not answer:
            return False
        if answer.before != answer.said and self.published(cell, answer.held, answer.tick):
            return False
        where = f"cell {cell} of {player.name}, held as of {answer.held}, and its snapshot of {answer.tick}"
        self.result.members(where, answer.before, answer.said)
        return True

    def published(self, cell: int, after: int, until: int) -> bool:
        """Whether somebody heard a delta of the cell after one tick, up to another."""
        return any(
            after < tick <= until
            for player in self.players
            for tick in reversed(player.record.published.get(cell, ()))
        )

    def compare_copies(self) -> None:
        """Everybody is up to date, and it is quiet: all copies of a cell are the same, and are shown."""
        result = self.result
        first: dict[int, tuple[str, Frozen]] = {}
        for player in self.players + self.fresh:
            world, shared = player.world, False
            assert world
            for number, cell in world.cells.items():
                mine = frozen(cell)
                name, theirs = first.setdefault(number, (player.name, mine))
                if name != player.name:
                    shared = True
                    result.copies += 1
                    result.members(f"cell {number} of {player.name} and of {name}", mine, theirs)
            if player in self.fresh:
                result.newcomers += shared
            there = {(m.slot, m.generation) for cell in world.cells.values() for m in cell.members.values()}
            shown = [(this.member.slot, this.member.generation) for this in world.shown()]
            if sorted(shown) != sorted(there):
                odd = sorted(set(shown) ^ there)[:TOLD]
                result.differences.append(f"{player.name} does not show what its cells list: {odd}")
            own = world.own
            if own and not any(
                own.same_entity(this.member) and own.row == this.member.row for this in world.shown()
            ):
                result.differences.append(f"{player.name}: its own entity is not what a cell lists: {own}")
        if result.newcomers != len(self.fresh):
            self.failures.append(f"only {result.newcomers} newcomers shared a cell with others")

    async def compare_busy(self) -> None:
        """Copies of a cell as of the same tick must be the same; some must be old, and others fresh."""
        result = self.result
        everyone = self.players + self.fresh
        for player in everyone:
            player.record.keep_copies()
        wanted = {at: set(player.world.cells) for at, player in enumerate(self.players) if player.world}
        result.held = sum(map(len, wanted.values()))
        for half in self.halves():
            await self.ask(wanted, half)
            await self.all_current("after the snapshots", QUIET_TICKS)
        await self.join_fresh()
        await self.all_current("after newcomers joined", QUIET_TICKS)
        by_tick: dict[tuple[int, int], list[Copy]] = {}
        for player in everyone:
            for at, copy in (player.record.copies or {}).items():
                by_tick.setdefault(at, []).append(copy)
        compared: set[tuple[str, int]] = set()
        newcomers: set[str] = set()
        for (cell, tick), copies in by_tick.items():
            one = copies[0]
            for other in copies[1:]:
                result.copies += 1
                where = f"cell {cell} of {one.name} and of {other.name}, both as of {tick}"
                result.members(where, one.members, other.members)
            if any(copy.fresh for copy in copies):
                compared |= {(copy.name, cell) for copy in copies if not copy.fresh}
            if len(copies) > 1:
                newcomers |= {copy.name for copy in copies} & {player.name for player in self.fresh}
        cells = {(player.name, cell) for at, player in enumerate(self.players) for cell in wanted[at]}
        result.compared = result.by_deltas = len(compared & cells)
        result.newcomers = len(newcomers)
        if not result.compared or not result.entities:
            self.failures.append("no cell was held by deltas and as a snapshot as of the same tick")

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
        if not self.failures and not all(player.pongs for player in self.players):
            self.failures.append("not every player got a pong")
        if not self.failures and not sum(
            player.world.sums_checked for player in self.players if player.world
        ):
            self.failures.append("no sum was checked")
        self.failures.extend(self.result.differences[:TOLD])

    def summary(self) -> dict[str, object]:
        """What was counted."""
        worlds = [player.world for player in self.players + self.fresh if player.world]
        result = self.result
        return {
            "ok": not self.failures,
            "mode": "busy" if self.busy else "quiet",
            "seconds": round(time.monotonic() - self.started, 1),
            "welcomed": sum(player.welcome is not None for player in self.players),
            "moved": sum(player.moved for player in self.players),
            "scored": sum(player.scored > 0 for player in self.players),
            "complete": sum(player.was_complete for player in self.players),
            "chats_heard": sum(r.name == "chat" for player in self.players for r in player.heard),
            "acks_in_inputs": sum(player.acks_in_inputs for player in self.players),
            "acks_alone": sum(player.acks_alone for player in self.players),
            "pongs": sum(player.pongs for player in self.players),
            "sums_checked": sum(world.sums_checked for world in worlds),
            "checks": sum(world.checks for world in worlds),
            "desyncs": sum(world.desyncs for world in worlds),
            "repairs": sum(world.repairs for world in worlds),
            "violations": sum(world.violations for world in worlds),
            "skipped_ticks": sum(world.skipped_messages for world in worlds),
            "held_cells": result.held,
            "held_cells_compared": result.compared,
            "held_cells_by_deltas": result.by_deltas,
            "held_cells_asked_again": result.again,
            "copies_compared": result.copies,
            "newcomers_compared": result.newcomers,
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
    parser.add_argument("--for", type=float, default=8.0, dest="seconds", help="seconds for which they move")
    parser.add_argument(
        "--busy", action="store_true", help="others play as well: compare copies as of the same tick only"
    )
    parser.add_argument("--record", metavar="FILE", help="write the first player's messages, for --decode")
    parser.add_argument("--decode", metavar="FILE", help="decode a recording instead of playing")
    options = parser.parse_args()
    if options.decode:
        return decode(options.decode)
    recording = open(options.record, "w", encoding="utf-8") if options.record else None
    game = Game(options.url, options.players, options.seconds, options.busy, recording)
    asyncio.run(game.play())
    if recording:
        recording.close()
    for failure in game.failures:
        print(f"FAILED {failure}", file=sys.stderr)
    print(json.dumps(game.summary()))
    return 1 if game.failures else 0


if __name__ == "__main__":
    sys.exit(main())
