"""The Tickyard wire, version 1, for Python: messages to and from bytes, and `World`, which applies ticks.

Written from `protocol/PROTOCOL.md` alone. There is no input or output in here: bytes go in, values come out.
Section numbers in comments are those of that page.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Union

SUBPROTOCOL = "tickyard.v1"
VERSION = 1

CONTROL, TICK, PING, ACK, WANT, REPAIR = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
INPUT, PONG = TICK, PING  # the same bytes the other way round

FLAG_COMPLETE, FLAG_SKIPPED = 1, 2
U32 = 0xFFFF_FFFF
MAX_STATICS = 32
MAX_WANT = 64
MISFIT, SUM, CHECK = 1, 2, 3  # how it was found that a world differs
ON_ITS_WAY_TICKS = 16
REPAIR_TICKS = 64  # how long the answer to a repair is waited for
MAX_KINDS = 64
MAX_FIELDS = 16


Tags = tuple[tuple[int, bytes], ...]
"""Of a control message: pairs of tag and value."""


class Malformed(Exception):
    """Bytes that break the protocol: the connection is to be closed with 1002."""


# ---------------------------------------------------------------------------------------- numbers (section 2)


def wrap_i32(value: int) -> int:
    """`value` wrapped to 32 bits, signed."""
    return ((value + 0x8000_0000) & U32) - 0x8000_0000


def zigzag(value: int) -> int:
    """An i32 as the u32 0, -1, 1, -2 … → 0, 1, 2, 3 …"""
    return ((value << 1) ^ (value >> 31)) & U32


def unzigzag(value: int) -> int:
    """The i32 that `zigzag` made `value` from."""
    return (value >> 1) ^ -(value & 1)


def since(later: int, earlier: int) -> int:
    """How many ticks `later` is after `earlier`; negative if before. Ticks wrap at 32 bits."""
    return wrap_i32(later - earlier)


def put_varint(value: int) -> bytes:
    """LEB128."""
    if not 0 <= value <= U32:
        raise ValueError(f"no varint: {value}")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def put_zigzag(value: int) -> bytes:
    """An i32 as zigzag varint."""
    return put_varint(zigzag(value))


def put_num(value: int) -> bytes:
    """An unsigned integer of a control message."""
    if value <= 250:
        return struct.pack("<B", value)
    if value <= 0xFFFF:
        return struct.pack("<BH", 251, value)
    if value <= U32:
        return struct.pack("<BI", 252, value)
    return struct.pack("<BQ", 253, value)


def put_bytes(value: bytes) -> bytes:
    """`bytes` of a control message."""
    return put_num(len(value)) + value


def put_string(value: str) -> bytes:
    """`string` of a control message."""
    return put_bytes(value.encode())


def put_tags(tags: Tags) -> bytes:
    """The tags at the end of a control message."""
    return put_num(len(tags)) + b"".join(put_num(tag) + put_bytes(value) for tag, value in tags)


class Reader:
    """Reads the primitives of section 2 from some bytes; whatever does not fit is `Malformed`."""

    __slots__ = ("data", "pos", "end")

    def __init__(self, data: bytes, pos: int = 0, end: int | None = None) -> None:
        self.data = data
        self.pos = pos
        self.end = len(data) if end is None else end

    def left(self) -> int:
        """How many bytes are left."""
        return self.end - self.pos

    def raw(self, count: int) -> bytes:
        """The next `count` bytes."""
        start, stop = self.pos, self.pos + count
        if stop > self.end:
            raise Malformed(f"{count} bytes wanted, {self.left()} left")
        self.pos = stop
        return self.data[start:stop]

    def rest(self) -> bytes:
        """All that is left."""
        return self.raw(self.left())

    def finish(self, what: str) -> None:
        """Nothing may be left now."""
        if self.pos != self.end:
            raise Malformed(f"{self.left()} bytes left over after {what}")

    def u8(self) -> int:
        """One byte."""
        pos = self.pos
        if pos >= self.end:
            raise Malformed("a byte wanted, none left")
        self.pos = pos + 1
        return self.data[pos]

    def u32(self) -> int:
        """Four bytes, little-endian."""
        return int.from_bytes(self.raw(4), "little")

    def f64(self) -> float:
        """Eight bytes; must be finite."""
        value: float = struct.unpack("<d", self.raw(8))[0]
        if not math.isfinite(value):
            raise Malformed("a number that is not finite")
        return value

    def varint(self) -> int:
        """LEB128, at most 5 bytes, below 2^32."""
        data, pos, end = self.data, self.pos, self.end
        value = shift = 0
        while True:
            if pos >= end:
                raise Malformed("a varint ends early")
            byte = data[pos]
            pos += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 28:
                raise Malformed("a varint of more than 5 bytes")
        if value > U32:
            raise Malformed("a varint of 2^32 or more")
        self.pos = pos
        return value

    def zigzag(self) -> int:
        """An i32."""
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def row(self, count: int) -> list[int]:
        """`count` zigzags."""
        return [self.zigzag() for _ in range(count)]

    def utf8(self, raw: bytes) -> str:
        """Text from bytes."""
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise Malformed(f"invalid UTF-8: {error}") from None

    def str8(self) -> str:
        """Text with one byte of length."""
        return self.utf8(self.raw(self.u8()))

    # Control messages.

    def num(self) -> int:
        """An unsigned integer of a control message; each of version 1 is below 2^32."""
        first = self.u8()
        if first <= 250:
            return first
        size = {251: 2, 252: 4, 253: 8}.get(first)
        if size is None:
            raise Malformed(f"a number cannot start with {first}")
        value = int.from_bytes(self.raw(size), "little")
        if value > U32:
            raise Malformed("a number of 2^32 or more")
        return value

    def int_(self) -> int:
        """A signed integer of a control message."""
        return unzigzag(self.num())

    def bytes_(self) -> bytes:
        """Bytes with their length."""
        return self.raw(self.num())

    def string(self) -> str:
        """Text with its length."""
        return self.utf8(self.bytes_())

    def option_num(self) -> int | None:
        """Nothing, or a number."""
        has = self.u8()
        if has > 1:
            raise Malformed(f"an option cannot start with {has}")
        return self.num() if has else None

    def count(self, least: int) -> int:
        """The `num` length of a list whose items need `least` bytes each."""
        value = self.num()
        if value * least > self.left():
            raise Malformed(f"a list of {value} in {self.left()} bytes")
        return value

    def tags(self) -> Tags:
        """The tags at the end of a control message; none has a meaning yet."""
        return tuple((self.num(), self.bytes_()) for _ in range(self.count(2)))


class Bits:
    """Reads a bit stream: bit 0 is the lowest bit of the first byte."""

    __slots__ = ("value", "pos", "end")

    def __init__(self, data: bytes) -> None:
        self.value = int.from_bytes(data, "little")
        self.pos = 0
        self.end = 8 * len(data)

    def take(self, width: int) -> int:
        """The next number of `width` bits."""
        pos = self.pos
        if pos + width > self.end:
            raise Malformed("a bit stream ends early")
        self.pos = pos + width
        return self.value >> pos & (1 << width) - 1

    def finish(self) -> None:
        """Only padding may be left: fewer than 8 bits, all zero."""
        if self.end - self.pos >= 8:
            raise Malformed("a bit stream has bytes left over")
        if self.value >> self.pos:
            raise Malformed("a bit stream is padded with ones")


# ------------------------------------------------------------------------------- control messages (section 3)


@dataclass(frozen=True)
class Field:
    """A field of a row or of the input; what the game means is `offset + row * step`."""

    name: str
    step: float
    offset: float
    min: int
    max: int
    velocity_of: int | None

    def value(self, row: int) -> float:
        """What the game means by this row value."""
        return self.offset + row * self.step

    def row(self, value: float) -> int:
        """The row value nearest to what the game means."""
        return max(self.min, min(self.max, round((value - self.offset) / self.step)))


@dataclass(frozen=True)
class Kind:
    """What rows of a kind of entity have in them."""

    name: str
    fields: tuple[Field, ...]

    def index(self, name: str) -> int:
        """Where in the row the field of this name is."""
        return next(at for at, this in enumerate(self.fields) if this.name == name)

    def predictions(self) -> list[tuple[int, int]]:
        """Pairs (v, f): field v is the velocity of field f."""
        return [(at, this.velocity_of) for at, this in enumerate(self.fields) if this.velocity_of is not None]


@dataclass(frozen=True)
class Schema:
    """The kinds of entities, and the fields of an input."""

    kinds: tuple[Kind, ...]
    input: tuple[Field, ...]

    def kind(self, name: str) -> int:
        """The number of the kind of this name."""
        return next(at for at, this in enumerate(self.kinds) if this.name == name)


@dataclass(frozen=True)
class Welcome:
    """You are in."""

    player: int
    resume: bytes
    room: str
    game: str
    tick: int
    rate: int
    step_us: int
    schema: Schema
    tags: Tags = ()


@dataclass(frozen=True)
class Redirect:
    """Connect there instead."""

    url: str
    tags: Tags = ()


@dataclass(frozen=True)
class Refused:
    """You are not let in."""

    code: int
    text: str
    retry_after_ms: int | None
    tags: Tags = ()


Control = Union[Welcome, Redirect, Refused]


def _fields(reader: Reader) -> tuple[Field, ...]:
    fields = []
    for _ in range(reader.count(20)):
        name, step, offset = reader.string(), reader.f64(), reader.f64()
        fields.append(Field(name, step, offset, reader.int_(), reader.int_(), reader.option_num()))
    if len(fields) > MAX_FIELDS:
        raise Malformed(f"a row of {len(fields)} fields")
    for at, this in enumerate(fields):
        if this.step <= 0:
            raise Malformed(f"field {this.name} has a step of {this.step}")
        if this.min > this.max:
            raise Malformed(f"field {this.name} is at least {this.min} and at most {this.max}")
        moved = this.velocity_of
        if moved is None:
            continue
        if moved == at or moved >= len(fields) or fields[moved].velocity_of is not None:
            raise Malformed(f"field {this.name} is the velocity of field {this.velocity_of}: no other one")
    return tuple(fields)


def _schema(reader: Reader) -> Schema:
    kinds = []
    for _ in range(reader.count(2)):
        name = reader.string()
        kinds.append(Kind(name, _fields(reader)))
    if len(kinds) > MAX_KINDS:
        raise Malformed(f"a schema of {len(kinds)} kinds")
    return Schema(tuple(kinds), _fields(reader))


def decode_control(message: bytes) -> Control:
    """A control message of the server, with its type byte."""
    reader = Reader(message)
    if reader.u8() != CONTROL:
        raise Malformed("not a control message")
    variant = reader.num()
    control: Control
    if variant == 0:
        control = Welcome(
            reader.num(),
            reader.bytes_(),
            reader.string(),
            reader.string(),
            reader.num(),
            reader.num(),
            reader.num(),
            _schema(reader),
            reader.tags(),
        )
    elif variant == 1:
        control = Redirect(reader.string(), reader.tags())
    elif variant == 2:
        control = Refused(reader.num(), reader.string(), reader.option_num(), reader.tags())
    else:
        raise Malformed(f"control message of unknown variant {variant}")
    reader.finish("a control message")
    return control


JOIN_OR_CREATE, JOIN, CREATE, ROOM = range(4)


def encode_hello(
    game: str,
    name: str = "",
    *,
    seek: int = JOIN_OR_CREATE,
    build: str = "",
    options: bytes = b"",
    token: str = "",
    resume: bytes = b"",
    version: int = VERSION,
    tags: Tags = (),
) -> bytes:
    """`Hello`; `game` is a room's id when `seek` is `ROOM`."""
    return b"".join(
        (
            bytes((CONTROL,)),
            put_num(0),
            put_num(version),
            put_string(build),
            put_num(seek),
            put_string(game),
            put_string(name),
            put_bytes(options),
            put_string(token),
            put_bytes(resume),
            put_tags(tags),
        )
    )


def encode_message(number: int, kind: str, payload: bytes, tags: Tags = ()) -> bytes:
    """`Message`."""
    head = bytes((CONTROL,)) + put_num(1) + put_num(number)
    return head + put_string(kind) + put_bytes(payload) + put_tags(tags)


def encode_input(seq: int, ack: int, render: int, row: Iterable[int]) -> bytes:
    """`input`."""
    return struct.pack("<BIII", INPUT, seq & U32, ack & U32, render & U32) + b"".join(map(put_zigzag, row))


def encode_ping(stamp: bytes) -> bytes:
    """`ping` with 8 bytes."""
    if len(stamp) != 8:
        raise ValueError("a ping has 8 bytes")
    return bytes((PING,)) + stamp


def encode_ack(ack: int) -> bytes:
    """`ack`."""
    return struct.pack("<BI", ACK, ack & U32)


def encode_want(cells: list[int]) -> bytes:
    """`want` for up to 64 cells."""
    if not 1 <= len(cells) <= MAX_WANT:
        raise ValueError("1 to 64 cells")
    return bytes((WANT,)) + put_varint(len(cells)) + b"".join(map(put_varint, cells))


def encode_repair(why: int, tick: int, cells: list[int]) -> bytes:
    """`repair`, naming up to 64 cells."""
    if why not in (MISFIT, SUM, CHECK) or len(cells) > MAX_WANT:
        raise ValueError("why is 1 to 3, and at most 64 cells are named")
    head = bytes((REPAIR, why)) + struct.pack("<I", tick & U32)
    return head + put_varint(len(cells)) + b"".join(map(put_varint, cells))


@dataclass(frozen=True)
class Pong:
    """The answer to a ping."""

    stamp: bytes
    tick: int
    late_us: int


def decode_pong(message: bytes) -> Pong:
    """A pong, with its type byte."""
    reader = Reader(message, 1)
    pong = Pong(reader.raw(8), reader.u32(), reader.u32())
    reader.finish("a pong")
    return pong


# ------------------------------------------------------------------------------------------ cells (section 5)


@dataclass(slots=True)
class Member:
    """An entity as one cell's list has it. Each list has its own copy of the row."""

    slot: int
    generation: int
    kind: int
    row: list[int]
    statics: str

    def same_entity(self, other: Member) -> bool:
        """Whether both are the same entity."""
        return self.slot == other.slot and self.generation == other.generation


@dataclass(slots=True)
class Cell:
    """A cell that is held: as of a tick, its members by slot ascending."""

    held: int
    members: dict[int, Member]

    def sum(self) -> int:
        """The wrapping sum over the members."""
        return cell_sum(self.members.values())


@dataclass(frozen=True, slots=True)
class Home:
    """The cell that took the entity of a slot in, and the tick of the block that said so."""

    cell: int
    generation: int
    taken: int


@dataclass(frozen=True, slots=True)
class Left:
    """An entity that left its home, as it was then: at which tick, and to which cell if it is not gone."""

    member: Member
    cell: int
    tick: int
    to: int | None


@dataclass(frozen=True, slots=True)
class Shown:
    """An entity to be shown: as its home cell has it, or as it was when it left."""

    home: int
    member: Member


def _hash(words: Iterable[int]) -> int:
    h = 0x811C9DC5
    for word in words:
        h = ((h ^ (word & U32)) * 0x01000193) & U32
        h ^= h >> 15
    h = ((h ^ h >> 16) * 0x7FEB352D) & U32
    h = ((h ^ h >> 15) * 0x846CA68B) & U32
    return h ^ h >> 16


def cell_sum(members: Iterable[Member]) -> int:
    """The sum of section 5."""
    return (
        sum(_hash((m.slot + (m.generation << 24), m.kind, *m.row)) for m in members) & U32
    )


def view_sum(held: Iterable[tuple[int, int]]) -> int:
    """The sum of a `check`: cells, and as of when each is held."""
    return sum(map(_hash, held)) & U32


# --------------------------------------------------------------------------------- what a tick message brings


@dataclass(frozen=True, slots=True)
class ViewChanged:
    """The view is this now; these of the cells were held and are forgotten."""

    cells: tuple[int, ...]
    forgotten: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DeltaApplied:
    """A delta was applied: its cell published at `base` and at `tick`, and not between."""

    cell: int
    base: int
    tick: int


@dataclass(frozen=True, slots=True)
class SnapshotApplied:
    """A cell was replaced; `before` is what was held of it until then."""

    cell: int
    tick: int
    before: Cell | None


@dataclass(frozen=True, slots=True)
class Transient:
    """Something happened in a cell."""

    cell: int
    tick: int
    kind: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Reliable:
    """A reliable message, in order: its content as the class has it."""

    number: int
    cls: int
    name: str
    content: tuple[object, ...]


Event = Union[ViewChanged, DeltaApplied, SnapshotApplied, Transient, Reliable]


@dataclass(slots=True)
class _Delta:
    """A delta, read and not yet applied."""

    cell: int
    back: int  # ticks from the stream's previous publication
    sum: int | None = None
    changes: bytes | None = None
    leaves: list[tuple[int, int]] = field(default_factory=list)
    enters: list[Member] = field(default_factory=list)


class World:
    """What one session knows, made of the messages the server sent, in order.

    `apply` takes a whole tick message. Two kinds of trouble are told apart: bytes that break the protocol set
    `broken` (the connection is to be closed with 1002), and what does not fit what is known counts as a
    violation and is skipped. A delta that does not fit, or a sum that differs (a desync), puts its cell into
    `wants`, to be named in a repair, and how it was found into `mismatch`; a snapshot takes it out again, and
    so does `take_repair`, which asks once until the answer is there.
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._widths = [len(kind.fields) for kind in schema.kinds]
        self._predictions = [kind.predictions() for kind in schema.kinds]
        self.tick = 0
        self.applied_seq = 0
        self.depth = 0
        self.complete = False
        self.skipped = False
        self.view: dict[int, None] = {}  # in the order heard
        self.cells: dict[int, Cell] = {}
        self.homes: dict[int, Home] = {}  # by slot
        self.travelling: dict[int, Left] = {}  # by slot: on its way to a cell that is behind
        self._said: tuple[Member, int] | None = None  # our own entity, as of a tick
        self.reliable = 0  # the last one heard
        self.heard = 0  # the last of our messages that the room took
        self.wants: set[int] = set()
        self.mismatch: int | None = None
        self.checks = 0
        self.repairs = 0
        self._view_told = False
        self._asked: int | None = None  # the tick at which a repair was asked for
        self._answered = False
        self.broken: str | None = None
        self.violations = 0
        self.desyncs = 0
        self.sums_checked = 0
        self.skipped_messages = 0
        self.unknown_blocks = 0
        self.unknown_classes = 0
        self.trouble: list[str] = []
        self._left: dict[int, Left] = {}  # by slot: to be judged at the end of the message

    # ---- one message

    def apply(self, message: bytes) -> list[Event]:
        """Apply a tick message (with its type byte)."""
        events: list[Event] = []
        try:
            self._apply(message, events)
        except Malformed as error:
            self._violation(str(error))
            self.broken = self.broken or str(error)
        self._settle()
        return events

    def _apply(self, message: bytes, events: list[Event]) -> None:
        reader = Reader(message)
        if reader.u8() != TICK:
            raise Malformed("not a tick message")
        self.tick, self.applied_seq = reader.u32(), reader.u32()
        self.depth, flags = reader.u8(), reader.u8()
        self.complete, self.skipped = bool(flags & FLAG_COMPLETE), bool(flags & FLAG_SKIPPED)
        self.skipped_messages += self.skipped
        self._view_told = False
        at, check = self.tick, None
        while reader.left():
            kind, length = reader.varint(), reader.varint()
            if length > reader.left():
                raise Malformed(f"block of kind {kind} ends early: {length} bytes, {reader.left()} left")
            block = Reader(message, reader.pos, reader.pos + length)
            reader.pos += length
            if kind == 1:
                self._view(block, events)
            elif kind == 2:
                self._delta(block, at, events)
            elif kind == 3:
                self._snapshot(block, at, events)
            elif kind == 4:
                at = (self.tick - block.varint()) & U32
            elif kind == 5:
                self._said = (self._own(block), self.tick) if length else None
            elif kind == 6:
                self._reliable(block, events)
            elif kind == 7:
                self.heard = block.varint()
            elif kind == 8:
                events.append(Transient(block.varint(), at, block.str8(), block.rest()))
            elif kind == 9:
                check = block.u32()
            else:
                self.unknown_blocks += 1
                continue
            block.finish(f"block of kind {kind}")
        if check is not None:
            self._check_view(check)

    def _violation(self, what: str) -> None:
        self.violations += 1
        self.trouble.append(f"tick {self.tick}: {what}")

    # ---- reading

    def _kind(self, reader: Reader) -> int:
        kind = reader.varint()
        if kind >= len(self._widths):
            raise Malformed(f"an entity of unknown kind {kind}")
        return kind

    def _slot(self, reader: Reader) -> int:
        slot = reader.varint()
        if slot >= 1 << 24:
            raise Malformed(f"slot {slot} is too large")
        return slot

    def _own(self, reader: Reader) -> Member:
        slot, generation, kind = self._slot(reader), reader.u8(), self._kind(reader)
        return Member(slot, generation, kind, reader.row(self._widths[kind]), "")

    def _entity(self, reader: Reader) -> Member:
        member = self._own(reader)
        member.statics = reader.str8()
        if len(member.statics.encode()) > MAX_STATICS:
            raise Malformed("statics of more than 32 bytes")
        return member

    def _entities(self, reader: Reader) -> list[Member]:
        members = [self._entity(reader) for _ in range(reader.varint())]
        self._ascending([member.slot for member in members])
        return members

    @staticmethod
    def _ascending(slots: list[int]) -> None:
        if any(a >= b for a, b in zip(slots, slots[1:], strict=False)):
            raise Malformed("slots are not ascending")

    def _read_delta(self, block: Reader, at: int) -> _Delta:
        cell, parts = block.varint(), block.u8()
        back = parts >> 4 or block.varint()
        if not back:
            raise Malformed("a delta on itself")
        delta = _Delta(cell, back)
        if parts & 1:
            delta.sum = block.u32()
        if parts & 2:
            # A slot that no entity can have is no member: that is for `_delta` to say.
            delta.leaves = [(block.varint(), block.varint()) for _ in range(block.varint())]
            self._ascending([slot for slot, _ in delta.leaves])
        if parts & 4:
            delta.enters = self._entities(block)
        if parts & 8:
            delta.changes = block.rest()
        block.finish("a delta")
        return delta

    def _read_changes(self, data: bytes, members: list[Member]) -> list[tuple[Member, int, int]]:
        """The residuals in a delta's changes: (member, field, residual)."""
        bits = Bits(data)
        take = bits.take
        mode = take(2)
        if mode == 0:
            selected = members
        elif mode == 1:
            mask = take(len(members))
            selected = [member for at, member in enumerate(members) if mask >> at & 1]
        elif mode == 2 and members:
            count = take(len(members).bit_length())
            if count > len(members):
                raise Malformed(f"{count} of {len(members)} members selected")
            width = (len(members) - 1).bit_length()
            indices = [take(width) for _ in range(count)]
            if any(a >= b for a, b in zip(indices, indices[1:], strict=False)):
                raise Malformed("selected members are not ascending")
            if indices and indices[-1] >= len(members):
                raise Malformed(f"member {indices[-1]} of {len(members)} is selected")
            selected = [members[at] for at in indices]
        else:
            raise Malformed(f"changes of mode {mode} for {len(members)} members")
        by_kind: dict[int, list[Member]] = {}
        for member in selected:
            by_kind.setdefault(member.kind, []).append(member)
        residuals: list[tuple[Member, int, int]] = []
        for kind in sorted(by_kind):
            those = by_kind[kind]
            for at in range(self._widths[kind]):
                how = take(2)
                if how == 0:
                    continue
                if how == 1:
                    having = those
                elif how == 2:
                    mask = take(len(those))
                    having = [member for index, member in enumerate(those) if mask >> index & 1]
                else:
                    raise Malformed("residuals of how 3")
                width = take(5) + 1
                residuals.extend((member, at, unzigzag(take(width))) for member in having)
        bits.finish()
        return residuals

    # ---- blocks

    def _view(self, block: Reader, events: list[Event]) -> None:
        cells = [block.varint() for _ in range(block.varint())]
        block.finish("a view")
        self.view = dict.fromkeys(cells)
        forgotten = [cell for cell in self.cells if cell not in self.view]
        for cell in forgotten:
            for member in self.cells.pop(cell).members.values():
                self._leave(member, cell, self.tick, None)
        self._view_told = True
        self._settle_wants(self.wants.intersection(self.view))
        events.append(ViewChanged(tuple(cells), tuple(forgotten)))

    def _snapshot(self, block: Reader, at: int, events: list[Event]) -> None:
        number, total = block.varint(), block.u32()
        members = self._entities(block)
        block.finish("a snapshot")
        if number not in self.view:
            return self._misfit(number, "a snapshot, and it is not in the view")
        before = self.cells.get(number)
        cell = self.cells[number] = Cell(at, {member.slot: member for member in members})
        if before:
            for member in before.members.values():
                now = cell.members.get(member.slot)
                if not now or not now.same_entity(member):
                    self._leave(member, number, at, None)
        for member in members:
            self._take_in(member, number, at)
        self._settle_wants(self.wants - {number})
        self._check(number, cell, total)
        events.append(SnapshotApplied(number, at, before))

    def _delta(self, block: Reader, at: int, events: list[Event]) -> None:
        delta = self._read_delta(block, at)
        cell = self.cells.get(delta.cell)
        if cell is None:
            return self._misfit(delta.cell, "a delta for a cell that is not held")
        ticks = since(at, cell.held)
        if not 1 <= ticks <= delta.back:
            return self._misfit(delta.cell, f"a delta of {delta.back} to {at}, held as of {cell.held}")
        members = list(cell.members.values())
        try:
            residuals = self._read_changes(delta.changes, members) if delta.changes is not None else []
        except Malformed as error:
            # The members are not those that the server means: the cell is not held any more.
            for member in self.cells.pop(delta.cell).members.values():
                self._leave(member, delta.cell, at, None)
            return self._misfit(delta.cell, f"changes that do not fit: {error}")
        for member in members:
            self._predict(member, ticks - 1)
        for member, index, residual in residuals:
            member.row[index] = wrap_i32(member.row[index] + residual)
        for member in members:
            self._predict(member, 1)
        wrong = []
        for slot, where in delta.leaves:
            if slot in cell.members:
                self._leave(cell.members.pop(slot), delta.cell, at, where - 1 if where else None)
            else:
                wrong.append(f"slot {slot} leaves, and is no member")
        for member in delta.enters:
            if member.slot in cell.members:
                wrong.append(f"slot {member.slot} enters, and is a member")
            else:
                cell.members[member.slot] = member
                self._take_in(member, delta.cell, at)
        if delta.enters:
            cell.members = dict(sorted(cell.members.items()))
        cell.held = at
        if wrong:
            self._misfit(delta.cell, ", ".join(wrong))
        if delta.sum is not None:
            self._check(delta.cell, cell, delta.sum)
        events.append(DeltaApplied(delta.cell, (at - delta.back) & U32, at))

    def _predict(self, member: Member, ticks: int) -> None:
        """Move a row on; no velocity is moved itself."""
        for velocity, index in self._predictions[member.kind]:
            member.row[index] = wrap_i32(member.row[index] + ticks * member.row[velocity])

    def _misfit(self, cell: int, what: str) -> None:
        """A block of which something does not fit."""
        self._violation(f"cell {cell}: {what}")
        self._differs(MISFIT, cell)

    def _differs(self, why: int, cell: int) -> None:
        self.mismatch = self.mismatch or why
        if cell in self.view:
            self.wants.add(cell)

    def _settle_wants(self, wants: set[int]) -> None:
        if self.wants and not wants:
            self.mismatch = None
        self.wants = wants

    def take_wants(self) -> list[int]:
        """The cells that were found to differ since this was called last."""
        wants, self.wants, self.mismatch = sorted(self.wants), set(), None
        return wants

    def take_repair(self) -> bytes | None:
        """After each message: the repair to send, once until it was answered or waited for in vain."""
        why, cells = self.mismatch, self.take_wants()
        self._answered |= self._view_told
        if self._asked is not None and since(self.tick, self._asked) < REPAIR_TICKS:
            if not (self._answered and self.complete):
                return None
            self._asked = None
        if why is None:
            return None
        self._asked, self._answered = self.tick, False
        self.repairs += 1
        return encode_repair(why, self.tick, cells[:MAX_WANT])

    def _check_view(self, expected: int) -> None:
        self.checks += 1
        if view_sum((number, cell.held) for number, cell in self.cells.items()) != expected:
            self.desyncs += 1
            self.trouble.append(f"tick {self.tick}: the check of the view differs")
            self.mismatch = self.mismatch or CHECK
            self.wants.update(cell for cell in self.view if cell not in self.cells)

    def _check(self, number: int, cell: Cell, expected: int) -> None:
        self.sums_checked += 1
        if cell.sum() != expected:
            self.desyncs += 1
            self.trouble.append(f"tick {self.tick}: cell {number}: the sum differs")
            self._differs(SUM, number)

    def _reliable(self, block: Reader, events: list[Event]) -> None:
        number, cls = block.varint(), block.varint()
        content: tuple[object, ...]
        if cls == 0:
            name, content = "message", (block.str8(), block.rest())
        elif cls == 1:
            name, content = "chat", (block.varint(), block.str8(), block.utf8(block.rest()))
        elif cls == 2:
            name, content = "award", (block.zigzag(), block.utf8(block.rest()))
        elif cls == 3:
            name, content = "property", (block.varint(), block.str8(), block.rest())
        else:
            name, content = "unknown", (block.rest(),)
        ahead = wrap_i32(number - self.reliable)
        if ahead <= 0:
            return
        if ahead > 1:
            return self._violation(f"reliable message {number} after {self.reliable}")
        self.reliable = number
        self.unknown_classes += name == "unknown"
        events.append(Reliable(number, cls, name, content))

    # ---- home and removal

    def _take_in(self, member: Member, cell: int, at: int) -> None:
        """`cell` took the entity in: it is the slot's home, unless another cell was at a later tick."""
        home = self.homes.get(member.slot)
        if home and home.cell != cell and since(at, home.taken) < 0:
            return
        self.homes[member.slot] = Home(cell, member.generation, at)
        self._left.pop(member.slot, None)
        self.travelling.pop(member.slot, None)

    def _at_home(self, member: Member, cell: int) -> bool:
        home = self.homes.get(member.slot)
        return home is not None and home.cell == cell and home.generation == member.generation

    def _leave(self, member: Member, cell: int, at: int, to: int | None) -> None:
        """The entity left `cell`; if that is its home it may have to be removed, once the message is read."""
        if self._at_home(member, cell):
            self._left[member.slot] = Left(member, cell, at, to)

    def _settle(self) -> None:
        """Judge the entities that left their home, now or before: gone, on their way, or there."""
        self.travelling.update(self._left)
        self._left.clear()
        for slot, left in list(self.travelling.items()):
            target = self.cells.get(left.to) if left.to is not None else None
            # Who does not arrive where all is current was never on its way.
            lost = self.complete and since(self.tick, left.tick) > ON_ITS_WAY_TICKS
            if target and not lost and since(target.held, left.tick) < 0:
                continue  # on its way
            del self.travelling[slot]
            there = target.members.get(slot) if target else None
            if target and there and there.same_entity(left.member):
                assert left.to is not None
                self.homes[slot] = Home(left.to, there.generation, target.held)
            else:
                del self.homes[slot]

    # ---- looking at it

    def _now(self, member: Member, held: int) -> Member:
        """A member as of the last message: what was not said goes on as predicted."""
        now = replace(member, row=list(member.row))
        self._predict(now, since(self.tick, held))
        return now

    @property
    def own(self) -> Member | None:
        """Our own entity."""
        return self._now(*self._said) if self._said else None

    def shown(self) -> Iterator[Shown]:
        """What is to be shown, each entity once."""
        for number, cell in self.cells.items():
            for member in cell.members.values():
                if self._at_home(member, number):
                    yield Shown(number, self._now(member, cell.held))
        for left in self.travelling.values():
            yield Shown(left.cell, self._now(left.member, left.tick))

    def visible(self, kind: int) -> Iterator[Member]:
        """The entities of a kind that are to be shown."""
        return (shown.member for shown in self.shown() if shown.member.kind == kind)

    def summary(self) -> dict[str, object]:
        """The world in a form that can be compared with another implementation's."""
        cells = {
            str(number): {
                "held": cell.held,
                "members": [
                    {
                        "slot": m.slot,
                        "generation": m.generation,
                        "kind": m.kind,
                        "row": m.row,
                        "statics": m.statics,
                    }
                    for m in cell.members.values()
                ],
            }
            for number, cell in self.cells.items()
        }
        return {
            "tick": self.tick,
            "cells": cells,
            "violations": self.violations,
            "desyncs": self.desyncs,
            "sums_checked": self.sums_checked,
        }
