"""Tests of the decoder: bytes made by hand from the page, and all of the golden vectors.

Of the vectors everything is taken out as it is checked, and nothing may be left over: a file, a section, a
case or a value that nobody looked at fails.
"""

from __future__ import annotations

import json
import struct
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tickyard_wire import (
    CREATE,
    FLAG_COMPLETE,
    JOIN,
    JOIN_OR_CREATE,
    MAX_WANT,
    ROOM,
    Bits,
    Control,
    DeltaApplied,
    Field,
    Kind,
    Malformed,
    Member,
    Reader,
    Redirect,
    Refused,
    Reliable,
    Schema,
    SnapshotApplied,
    Transient,
    Welcome,
    World,
    cell_sum,
    decode_control,
    decode_pong,
    encode_ack,
    encode_hello,
    encode_input,
    encode_message,
    encode_ping,
    encode_repair,
    encode_want,
    put_num,
    put_string,
    put_varint,
    put_zigzag,
    unzigzag,
    wrap_i32,
    zigzag,
)

# Kind 0: a thing that moves (x, y, vx, vy); kind 1: a thing that lies there (x).
SCHEMA = Schema(
    (
        Kind(
            "mover",
            (
                Field("x", 1.0, 0.0, -1000, 1000, None),
                Field("y", 1.0, 0.0, -1000, 1000, None),
                Field("vx", 1.0, 0.0, -9, 9, 0),
                Field("vy", 1.0, 0.0, -9, 9, 1),
            ),
        ),
        Kind("coin", (Field("x", 1.0, 0.0, 0, 100, None),)),
    ),
    (Field("dx", 0.5, 0.0, -2, 2, None),),
)


def block(kind: int, content: bytes) -> bytes:
    """A block of a tick message."""
    return put_varint(kind) + put_varint(len(content)) + content


def tick(number: int, *blocks: bytes, flags: int = 0) -> bytes:
    """A tick message."""
    return struct.pack("<BIIBB", 2, number, 0, 0, flags) + b"".join(blocks)


def entity(slot: int, row: list[int], kind: int = 0, generation: int = 0, statics: str = "") -> bytes:
    """An entity."""
    text = statics.encode()
    return b"".join(
        (
            put_varint(slot),
            bytes((generation,)),
            put_varint(kind),
            *map(put_zigzag, row),
            bytes((len(text),)),
            text,
        )
    )


def view(*cells: int) -> bytes:
    """A view block."""
    return block(1, put_varint(len(cells)) + b"".join(map(put_varint, cells)))


def age(ticks: int) -> bytes:
    """An age block."""
    return block(4, put_varint(ticks))


def members(*those: tuple[int, list[int], int]) -> list[Member]:
    """Members as (slot, row, kind)."""
    return [Member(slot, 0, kind, row, "") for slot, row, kind in those]


def snapshot(cell: int, *those: tuple[int, list[int], int], wrong: int = 0) -> bytes:
    """A snapshot block of members of generation 0."""
    total = cell_sum(members(*those)) + wrong
    entities = [entity(slot, row, kind) for slot, row, kind in those]
    return block(3, put_varint(cell) + struct.pack("<I", total) + put_varint(len(those)) + b"".join(entities))


def delta(
    cell: int,
    *,
    base: int = 1,
    total: int | None = None,
    changes: bytes | None = None,
    leaves: list[tuple[int, int]] | None = None,
    enters: list[bytes] | None = None,
) -> bytes:
    """A delta block."""
    parts, out = (base << 4, b"") if base < 16 else (0, put_varint(base))
    if total is not None:
        parts, out = parts | 1, out + struct.pack("<I", total)
    if leaves is not None:
        parts, out = parts | 2, out + put_varint(len(leaves))
        out += b"".join(put_varint(slot) + put_varint(where) for slot, where in leaves)
    if enters is not None:
        parts, out = parts | 4, out + put_varint(len(enters)) + b"".join(enters)
    if changes is not None:
        parts, out = parts | 8, out + changes
    return block(2, put_varint(cell) + bytes((parts,)) + out)


def bits(*numbers: tuple[int, int]) -> bytes:
    """A bit stream of (number, width)."""
    value = at = 0
    for number, width in numbers:
        assert number < 1 << width
        value |= number << at
        at += width
    return value.to_bytes((at + 7) // 8, "little")


def rows(world: World, cell: int) -> dict[int, list[int]]:
    """The rows of a cell by slot."""
    return {slot: member.row for slot, member in world.cells[cell].members.items()}


class Primitives(unittest.TestCase):
    def test_varint(self) -> None:
        for value, data in ((0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"), (2**32 - 1, "ffffffff0f")):
            self.assertEqual(put_varint(value).hex(), data)
            reader = Reader(bytes.fromhex(data))
            self.assertEqual(reader.varint(), value)
            reader.finish("it")
        for data in ("", "80", "ffffffff10", "8080808080", "808080808000", "ffffffffff01"):
            with self.assertRaises(Malformed, msg=data):
                Reader(bytes.fromhex(data)).varint()

    def test_zigzag(self) -> None:
        for value, coded in ((0, 0), (-1, 1), (1, 2), (-2, 3), (2**31 - 1, 2**32 - 2), (-(2**31), 2**32 - 1)):
            self.assertEqual(zigzag(value), coded)
            self.assertEqual(unzigzag(coded), value)
            self.assertEqual(Reader(put_zigzag(value)).zigzag(), value)

    def test_wrap(self) -> None:
        self.assertEqual(wrap_i32(2**31), -(2**31))
        self.assertEqual(wrap_i32(-(2**31) - 1), 2**31 - 1)
        self.assertEqual(wrap_i32(2**32 + 5), 5)

    def test_num(self) -> None:
        for value, data in ((250, "fa"), (251, "fbfb00"), (65535, "fbffff"), (65536, "fc00000100")):
            self.assertEqual(put_num(value).hex(), data)
            self.assertEqual(Reader(bytes.fromhex(data)).num(), value)
        for data in ("fb00", "fe" + "00" * 16, "ff", "fd0000000001000000"):
            with self.assertRaises(Malformed):
                Reader(bytes.fromhex(data)).num()

    def test_bits(self) -> None:
        stream = Bits(b"\x8d\x01")  # 1, 01 1 0, then 0b11000 = 24 …
        self.assertEqual([stream.take(1), stream.take(2), stream.take(1), stream.take(5)], [1, 2, 1, 24])
        stream.finish()
        with self.assertRaises(Malformed):
            stream.take(8)
        for data in (b"\x02", b"\x00\x00"):
            stream = Bits(data)
            stream.take(1)
            with self.assertRaises(Malformed, msg=data.hex()):
                stream.finish()

    def test_sum(self) -> None:
        def slow(words: list[int]) -> int:
            h = 0x811C9DC5
            for word in words:
                h = ((h ^ (word % 2**32)) * 0x01000193) % 2**32
                h = h ^ (h // 2**15)
            h = (h ^ h // 2**16) * 0x7FEB352D % 2**32
            h = (h ^ h // 2**15) * 0x846CA68B % 2**32
            return h ^ h // 2**16

        one = Member(7, 3, 1, [-5], "is not in it")
        other = Member(9, 255, 0, [1, -2, 3, -4], "")
        expected = slow([7 + 3 * 2**24, 1, -5]) + slow([9 + 255 * 2**24, 0, 1, -2, 3, -4])
        self.assertEqual(cell_sum([one, other]), expected % 2**32)
        self.assertEqual(cell_sum([]), 0)


class Messages(unittest.TestCase):
    def test_client_messages(self) -> None:
        self.assertEqual(
            encode_hello("arena", "Ada").hex(),
            "010001000005" + b"arena".hex() + "03" + b"Ada".hex() + "00000000",
        )
        self.assertEqual(encode_message(300, "chat", b"hi").hex(), "0101fb2c01046368617402686900")
        self.assertEqual(encode_input(1, 2, 48, [-1, 64]).hex(), "02010000000200000030000000018001")
        self.assertEqual(encode_ping(b"12345678"), b"\x0312345678")
        self.assertEqual(encode_ack(258).hex(), "0402010000")
        self.assertEqual(encode_want([3, 300]).hex(), "050203ac02")
        for cells in ([], list(range(65))):
            with self.assertRaises(ValueError):
                encode_want(cells)

    def welcome(self, tags: bytes = b"\0") -> bytes:
        """A `Welcome` with a schema of one kind, and an input of one field."""

        def fields(*those: tuple[str, float, float, int, int, bytes]) -> bytes:
            return put_num(len(those)) + b"".join(
                put_string(name)
                + struct.pack("<dd", step, offset)
                + put_num(zigzag(low))
                + put_num(zigzag(high))
                + last
                for name, step, offset, low, high, last in those
            )

        return b"".join(
            (
                b"\x01\x00",
                put_num(7),
                b"\x00",
                put_string("r1"),
                put_string("arena"),
                put_num(70000),
                put_num(20),
                put_num(50000),
                b"\x01",
                put_string("mover"),
                fields(("x", 0.25, 1.5, -1000, 1000, b"\0"), ("vx", 0.25, 0.0, -9, 9, b"\x01\x00")),
                fields(("dx", 0.5, 0.0, -2, 2, b"\0")),
                tags,
            )
        )

    def test_welcome(self) -> None:
        schema = Schema(
            (Kind("mover", (Field("x", 0.25, 1.5, -1000, 1000, None), Field("vx", 0.25, 0.0, -9, 9, 0))),),
            (Field("dx", 0.5, 0.0, -2, 2, None),),
        )
        expected = Welcome(7, b"", "r1", "arena", 70000, 20, 50000, schema)
        self.assertEqual(decode_control(self.welcome()), expected)
        tagged = decode_control(self.welcome(b"\x02\x05\x02ab\xfb\x00\x01\x00"))
        self.assertEqual(tagged.tags, ((5, b"ab"), (256, b"")))
        self.assertEqual(schema.kinds[0].predictions(), [(1, 0)])
        field = schema.kinds[0].fields[0]
        self.assertEqual((field.value(4), field.row(2.5), field.row(1e9)), (2.5, 4, 1000))

    def test_bad_welcome(self) -> None:
        good = self.welcome()
        for end in range(1, len(good)):
            with self.assertRaises(Malformed, msg=str(end)):
                decode_control(good[:end])
        with self.assertRaises(Malformed):
            decode_control(good + b"\0")
        with self.assertRaises(Malformed):
            decode_control(good.replace(struct.pack("<d", 1.5), struct.pack("<d", float("nan"))))

    def test_refused_and_redirect(self) -> None:
        full = b"\x01\x02\x04" + put_string("full") + b"\x01" + put_num(5000) + b"\0"
        self.assertEqual(decode_control(full), Refused(4, "full", 5000))
        self.assertEqual(decode_control(b"\x01\x02\x02\x00\x00\x00"), Refused(2, "", None))
        self.assertEqual(decode_control(b"\x01\x01" + put_string("ws://x/") + b"\0"), Redirect("ws://x/"))
        for data in (b"\x01\x03", b"\x01\x02\x02\x00\x02\x00"):
            with self.assertRaises(Malformed):
                decode_control(data)

    def test_pong(self) -> None:
        pong = decode_pong(b"\x03abcdefgh" + struct.pack("<II", 9, 1234))
        self.assertEqual((pong.stamp, pong.tick, pong.late_us), (b"abcdefgh", 9, 1234))


class Ticks(unittest.TestCase):
    def setUp(self) -> None:
        self.world = World(SCHEMA)

    def apply(self, number: int, *blocks: bytes, flags: int = 0) -> list[object]:
        """Apply a tick message; nothing may go wrong."""
        events = self.world.apply(tick(number, *blocks, flags=flags))
        self.assertEqual((self.world.trouble, self.world.broken, self.world.violations), ([], None, 0))
        return list(events)

    def misreads(self, number: int, *blocks: bytes, cell: int) -> None:
        """Apply a tick message with changes that do not fit the members: the cell is lost, and no more."""
        before = self.world.violations
        self.world.apply(tick(number, *blocks))
        self.assertEqual((self.world.violations, self.world.broken), (before + 1, None))
        self.assertEqual((cell in self.world.cells, self.world.take_wants()), (False, [cell]))

    def breaks(self, number: int, *blocks: bytes) -> None:
        """Apply a tick message that breaks the protocol."""
        before = self.world.violations
        self.world.apply(tick(number, *blocks))
        self.assertIsNotNone(self.world.broken)
        self.assertEqual(self.world.violations, before + 1)

    def misfits(self, number: int, *blocks: bytes, cell: int) -> None:
        """Apply a tick message with a delta that does not fit; nothing but `wants` may change."""
        before, held = self.world.violations, self.world.summary()["cells"]
        self.world.apply(tick(number, *blocks))
        self.assertEqual((self.world.violations, self.world.broken), (before + 1, None))
        self.assertEqual(self.world.summary()["cells"], held)
        self.assertEqual(self.world.take_wants(), [cell])

    def shown(self) -> set[int]:
        """The slots that are to be shown."""
        return {shown.member.slot for shown in self.world.shown()}

    def homes(self) -> list[tuple[int, int, list[int]]]:
        """What is shown: (slot, home, row)."""
        return [(shown.member.slot, shown.home, shown.member.row) for shown in self.world.shown()]

    def test_head(self) -> None:
        self.world.apply(struct.pack("<BIIBB", 2, 70000, 5, 255, 0b1111_1101))
        world = self.world
        self.assertEqual((world.tick, world.applied_seq, world.depth), (70000, 5, 255))
        self.assertEqual((world.complete, world.skipped, world.violations), (True, False, 0))

    def test_snapshot(self) -> None:
        data = put_varint(300) + struct.pack("<I", cell_sum([Member(5, 2, 1, [-3], "")])) + b"\x01"
        events = self.apply(9, view(300), block(3, data + entity(5, [-3], 1, 2, "Zoë")))
        cell = self.world.cells[300]
        self.assertEqual((cell.held, cell.members), (9, {5: Member(5, 2, 1, [-3], "Zoë")}))
        self.assertEqual((self.world.sums_checked, self.world.desyncs), (1, 0))
        self.assertEqual(events[1], SnapshotApplied(300, 9, None))

    def test_predict(self) -> None:
        self.apply(10, view(1), snapshot(1, (1, [0, 0, 2, -3], 0), (4, [7], 1)))
        after = members((1, [10, -15, 2, -3], 0), (4, [7], 1))
        events = self.apply(15, delta(1, base=5, total=cell_sum(after)))
        self.assertEqual(rows(self.world, 1), {1: [10, -15, 2, -3], 4: [7]})
        self.assertEqual((self.world.desyncs, events), (0, [DeltaApplied(1, 10, 15)]))

    def test_predict_counts_from_held(self) -> None:
        self.apply(12, view(1), snapshot(1, (1, [0, 0, 2, 0], 0)))
        self.apply(15, delta(1, base=5))
        self.assertEqual(rows(self.world, 1), {1: [6, 0, 2, 0]})

    def test_predict_wraps(self) -> None:
        self.apply(10, view(1), snapshot(1, (1, [2**31 - 1, -(2**31), 1, -1], 0)))
        self.apply(11, delta(1))
        self.assertEqual(rows(self.world, 1), {1: [-(2**31), 2**31 - 1, 1, -1]})

    def test_two_velocities(self) -> None:
        kind = Kind(
            "kite", tuple(Field(n, 1.0, 0.0, 0, 0, of) for n, of in (("x", None), ("v", 0), ("wind", 0)))
        )
        self.world = World(Schema((kind,), ()))
        self.apply(10, view(1), snapshot(1, (1, [0, 5, 2], 0)))
        self.apply(12, delta(1, base=2))
        self.assertEqual(rows(self.world, 1), {1: [14, 5, 2]})

    def test_silence(self) -> None:
        self.apply(10, view(1), snapshot(1, (1, [0, 0, 2, -3], 0)))
        self.apply(40)
        (shown,) = self.world.shown()
        self.assertEqual((shown.member.row, rows(self.world, 1)), ([60, -90, 2, -3], {1: [0, 0, 2, -3]}))
        # The last of the ticks is one of the new velocity.
        turned = bits((0, 2), (0, 2), (0, 2), (1, 2), (1, 5), (3, 2), (0, 2))
        self.apply(50, delta(1, base=40, changes=turned))
        self.assertEqual(rows(self.world, 1), {1: [78, -120, 0, -3]})

    def start(self) -> None:
        """Three movers and a coin in cell 1 as of tick 10, none moving."""
        self.apply(10, view(1), snapshot(1, (1, [0] * 4, 0), (2, [0] * 4, 0), (3, [50], 1), (4, [0] * 4, 0)))

    def test_changes_all(self) -> None:
        self.start()
        changes = bits(
            (0, 2),  # all
            (1, 2),
            (2, 5),
            (zigzag(1), 3),
            (zigzag(-4), 3),
            (zigzag(3), 3),  # x of all three movers
            (0, 2),
            (2, 2),
            (0b101, 3),
            (0, 5),
            (1, 1),
            (0, 1),
            (0, 2),  # vx of the first (-1) and the third (0)
            (1, 2),
            (31, 5),
            (zigzag(-(2**31)), 32),  # x of the coin
        )
        self.apply(11, delta(1, changes=changes))
        self.assertEqual(
            rows(self.world, 1),
            {
                1: [0, 0, -1, 0],
                2: [-4, 0, 0, 0],
                3: [50 - 2**31],
                4: [3, 0, 0, 0],
            },
        )

    def test_changes_mask(self) -> None:
        self.start()
        changes = bits(
            (1, 2), (0b1010, 4), (0, 2), (1, 2), (3, 5), (zigzag(7), 4), (zigzag(-8), 4), (0, 2), (0, 2)
        )
        self.apply(11, delta(1, changes=changes))
        self.assertEqual(rows(self.world, 1), {1: [0] * 4, 2: [0, 7, 0, 0], 3: [50], 4: [0, -8, 0, 0]})

    def test_changes_indices(self) -> None:
        self.start()
        changes = bits(
            (2, 2),
            (2, 3),
            (0, 2),
            (2, 2),
            (0, 2),
            (0, 2),
            (0, 2),
            (1, 2),
            (0, 5),
            (1, 1),
            (1, 2),
            (0, 5),
            (1, 1),
        )
        self.apply(11, delta(1, changes=changes))
        self.assertEqual(rows(self.world, 1), {1: [0, -1, 0, -1], 2: [0] * 4, 3: [49], 4: [0] * 4})

    def test_changes_of_one(self) -> None:
        self.apply(10, view(1), snapshot(1, (3, [50], 1)))
        self.apply(
            11, delta(1, changes=bits((2, 2), (1, 1), (1, 2), (1, 5), (zigzag(1), 2)))
        )  # index of 0 bits
        self.assertEqual(rows(self.world, 1), {3: [51]})

    def test_changes_of_none(self) -> None:
        self.apply(10, view(1), snapshot(1))
        for number, mode in enumerate((0, 1)):
            self.apply(11 + number, delta(1, changes=bits((mode, 2))))
        self.misreads(13, delta(1, changes=bits((2, 2))), cell=1)

    def test_bad_changes(self) -> None:
        for changes in (
            bits((3, 2)),
            b"",
            bits((2, 2), (5, 3)),
            bits((2, 2), (2, 3), (1, 2), (1, 2), (0, 8)),
            bits((2, 2), (2, 3), (1, 2), (0, 2), (0, 8)),
            bits((2, 2), (1, 3), (2, 2), (3, 2)),
            bits((1, 2), (0, 4), (1, 1)),
            bits((1, 2), (0, 4), (0, 10)),
            bits((1, 2), (4, 4), (1, 2), (31, 5)),
        ):
            with self.subTest(changes=changes.hex()):
                self.setUp()
                self.start()
                self.misreads(11, delta(1, changes=changes), cell=1)

    def test_leaves_and_enters(self) -> None:
        self.start()
        again = entity(3, [9], 1, 1)
        self.apply(
            11, delta(1, leaves=[(1, 0), (3, 0)], enters=[entity(0, [5], 1), again, entity(7, [6], 1)])
        )
        self.assertEqual(
            list(rows(self.world, 1).items()),
            [
                (0, [5]),
                (2, [0] * 4),
                (3, [9]),
                (4, [0] * 4),
                (7, [6]),
            ],
        )
        those = {(shown.member.slot, shown.member.generation) for shown in self.world.shown()}
        self.assertEqual(those, {(0, 0), (2, 0), (3, 1), (4, 0), (7, 0)})

    def test_misfits(self) -> None:
        self.start()
        self.apply(10, view(1, 2))
        self.misfits(11, delta(2), cell=2)
        self.misfits(12, delta(1), cell=1)  # from 11: too new
        self.misfits(12, age(2), delta(1, base=5), cell=1)  # to 10: held already
        self.misfits(12, age(3), delta(1), cell=1)
        self.world.violations, self.world.trouble = 0, []
        self.apply(13, delta(1, base=3))
        self.world.apply(tick(14, delta(1, base=3, leaves=[(9, 0)]), snapshot(1)))
        self.assertEqual((self.world.violations, self.world.take_wants()), (1, []))
        self.world.apply(tick(15, delta(3), snapshot(3)))  # not in the view
        self.assertEqual((self.world.violations, self.world.take_wants()), (3, []))
        self.assertEqual(list(self.world.cells), [1])

    def test_misfits_in_part(self) -> None:
        self.start()
        enters = [entity(2, [8] * 4), entity(7, [6], 1)]
        self.world.apply(tick(11, delta(1, leaves=[(1, 0), (5, 0), (2**24, 0)], enters=enters)))
        self.assertEqual(rows(self.world, 1), {2: [0] * 4, 3: [50], 4: [0] * 4, 7: [6]})
        self.assertEqual((self.world.violations, self.world.broken, self.world.take_wants()), (1, None, [1]))

    def test_desync(self) -> None:
        self.apply(10, view(1), snapshot(1, (3, [50], 1)))
        self.world.apply(tick(11, delta(1, total=1)))
        self.assertEqual((self.world.desyncs, self.world.sums_checked, self.world.violations), (1, 2, 0))
        self.assertEqual((self.world.take_wants(), self.world.cells[1].held), ([1], 11))
        self.world.apply(tick(12, snapshot(1, wrong=1)))
        self.assertEqual((self.world.desyncs, self.world.take_wants()), (2, [1]))

    def test_age(self) -> None:
        self.start()
        blocks = [
            age(3),
            delta(1, base=7),
            age(1),
            delta(1, base=2),
            block(8, b"\x01\x04boom!"),
            age(0),
            delta(1),
        ]
        events = self.apply(20, *blocks)
        self.assertEqual([event.tick for event in events], [17, 19, 19, 20])  # type: ignore[attr-defined]
        self.assertEqual(events[2], Transient(1, 19, "boom", b"!"))

    def test_ticks_wrap(self) -> None:
        self.apply(2**32 - 2, view(1), snapshot(1, (1, [0, 0, 1, 0], 0)))
        self.apply(3, delta(1, base=5))
        self.assertEqual((rows(self.world, 1), self.world.cells[1].held), ({1: [5, 0, 1, 0]}, 3))

    def test_malformed_blocks(self) -> None:
        good = snapshot(1, (3, [50], 1))
        for bad in (
            b"\x01",
            b"\x01\x05\x00",
            block(1, b"\x01"),
            block(1, b"\x00\x00"),
            block(2, b"\x01\x00"),
            block(4, b""),
            block(2, b"\x01\x00\x00"),
            block(3, good[2:-1]),
            block(3, good[2:] + b"\0"),
            block(5, b"\x01\x00\x09"),
            block(3, b"\x01" + bytes(4) + b"\x02" + entity(3, [0], 1) * 2),
            block(7, b"\x01\x01"),
            block(8, b"\x01\x02a"),
            block(3, b"\x01" + bytes(4) + b"\x01" + entity(1 << 24, [0], 1)),
            block(3, b"\x01" + bytes(4) + b"\x01" + entity(3, [0], 1, 0, "a" * 33)),
            block(3, b"\x01" + bytes(4) + b"\x01" + entity(3, [0], 1)[:-1] + b"\x01\xff"),
            delta(1, leaves=[(4, 0), (1, 0)]),
            b"\x80",
        ):
            with self.subTest(bad=bad.hex()):
                self.setUp()
                self.start()
                self.breaks(11, bad)
        for end in range(1, 11):
            self.setUp()
            self.world.apply(tick(5)[:end])
            self.assertEqual(self.world.broken is None, end == 11)

    def test_unknown_block(self) -> None:
        self.apply(5, block(200, b"\xff\xff\xff"), view(1), snapshot(1))
        self.assertEqual((self.world.unknown_blocks, list(self.world.cells)), (1, [1]))

    def test_self_and_heard(self) -> None:
        self.apply(
            5,
            block(5, put_varint(300) + b"\x02\x00" + b"".join(map(put_zigzag, [1, -2, 3, -4]))),
            block(7, b"\x03"),
        )
        self.assertEqual((self.world.own, self.world.heard), (Member(300, 2, 0, [1, -2, 3, -4], ""), 3))
        self.apply(6, block(5, b""))
        self.assertIsNone(self.world.own)

    def test_reliable(self) -> None:
        chat = block(6, b"\x01\x01\x07\x03Adahello")
        award = block(6, b"\x02\x02\x09for it")
        unknown = block(6, b"\x03\x63anything")
        prop = block(6, b"\x04\x03\x00\x03keyvalue")
        message = block(6, b"\x05\x00\x04kind\xff")
        events = self.apply(5, chat, chat, award, unknown)
        self.assertEqual(
            events,
            [
                Reliable(1, 1, "chat", (7, "Ada", "hello")),
                Reliable(2, 2, "award", (-5, "for it")),
                Reliable(3, 99, "unknown", (b"anything",)),
            ],
        )
        self.assertEqual(
            self.apply(6, award, prop, message),
            [
                Reliable(4, 3, "property", (0, "key", b"value")),
                Reliable(5, 0, "message", ("kind", b"\xff")),
            ],
        )
        self.assertEqual((self.world.reliable, self.world.unknown_classes), (5, 1))
        self.world.apply(tick(7, block(6, b"\x07\x02\x00")))
        self.assertEqual((self.world.reliable, self.world.violations, self.world.broken), (5, 1, None))

    # ---- home and removal

    def two(self) -> None:
        """Cells 1 and 2 as of tick 10; a coin in cell 1."""
        self.apply(10, view(1, 2), snapshot(1, (3, [50], 1)), snapshot(2))

    def test_cross_in_one_message(self) -> None:
        for leave_first in (True, False):
            self.setUp()
            self.two()
            blocks = [delta(1, leaves=[(3, 3)]), delta(2, enters=[entity(3, [51], 1)])]
            self.apply(11, *(blocks if leave_first else blocks[::-1]))
            self.assertEqual(self.homes(), [(3, 2, [51])])

    def test_on_its_way(self) -> None:
        self.two()
        self.apply(11, delta(1, leaves=[(3, 3)]))
        self.assertEqual(self.shown(), {3})
        self.apply(12, age(1), delta(2, enters=[entity(3, [51], 1)]))
        self.assertEqual(self.homes(), [(3, 2, [51])])

    def test_never_arrives(self) -> None:
        self.two()
        self.apply(11, delta(1, leaves=[(3, 3)]))
        self.apply(12, age(1), delta(2))
        self.assertEqual(self.shown(), set())

    def test_leaves_for_a_cell_not_held(self) -> None:
        self.two()
        self.apply(11, delta(1, leaves=[(3, 9)]))
        self.assertEqual(self.shown(), set())

    def test_target_is_forgotten(self) -> None:
        self.two()
        self.apply(11, delta(1, leaves=[(3, 3)]))
        self.apply(12, view(1))
        self.assertEqual(self.shown(), set())

    def test_there_and_back(self) -> None:
        self.two()
        self.apply(11, delta(1, leaves=[(3, 3)]), delta(2, enters=[entity(3, [51], 1)]))
        self.apply(12, delta(1, enters=[entity(3, [50], 1)]))
        self.apply(13, age(1), delta(2, leaves=[(3, 2)]))
        self.assertEqual(self.homes(), [(3, 1, [50])])

    def test_behind_cell_takes_no_home_from_one_ahead(self) -> None:
        self.apply(10, view(1, 2), snapshot(1))
        self.apply(20, snapshot(2, (3, [60], 1)))
        self.apply(20, age(6), delta(1, base=4, enters=[entity(3, [50], 1)]))
        self.assertEqual(self.homes(), [(3, 2, [60])])
        self.apply(20, age(3), delta(1, base=3, leaves=[(3, 3)]))
        self.assertEqual(self.shown(), {3})

    def test_snapshot_and_view_remove(self) -> None:
        self.two()
        self.apply(11, snapshot(1, (4, [1], 1)))
        self.assertEqual(self.shown(), {4})
        self.apply(12, view(2))
        self.assertEqual((self.shown(), set(self.world.cells)), (set(), {2}))

    def test_new_generation(self) -> None:
        self.two()
        data = (
            put_varint(1)
            + struct.pack("<I", cell_sum([Member(3, 1, 1, [1], "")]))
            + b"\x01"
            + entity(3, [1], 1, 1)
        )
        self.apply(11, block(3, data))
        self.assertEqual([shown.member.generation for shown in self.world.shown()], [1])


# ---------------------------------------------------------------------------------------- the golden vectors

VECTORS = Path(__file__).resolve().parents[2] / "protocol" / "vectors"
Case = dict[str, Any]


def has_about(case: Case) -> str:
    """The words that a case is described with."""
    return str(case.pop("about", ""))


def read_all(reader: Reader, read: Callable[[], Any]) -> Any:
    """A value that must fill its bytes."""
    value = read()
    reader.finish("the value")
    return value


def cut_and_longer(message: bytes) -> list[bytes]:
    """The message, cut anywhere after its type byte, and with a byte more."""
    return [message[:end] for end in range(1, len(message))] + [message + b"\0"]


# What a client writes and the server reads. Only the vectors need it read here.


def read_client_control(message: bytes) -> Any:
    """`Hello` or `Message`, in the form of the vectors."""
    if len(message) > 4096:
        raise Malformed("over the limit of a client's first message")
    reader = Reader(message, 1)
    variant = reader.num()
    value: Any
    if variant == 0:
        hello: dict[str, Any] = {"version": reader.num(), "build": reader.string()}
        seek = reader.num()
        if seek > ROOM:
            raise Malformed(f"a seek of variant {seek}")
        hello["seek"] = {("join_or_create", "join", "create", "room")[seek]: reader.string()}
        hello |= {"name": reader.string(), "options": reader.bytes_().hex(), "token": reader.string()}
        value = {"hello": hello | {"resume": reader.bytes_().hex(), "tags": tags_value(reader.tags())}}
    elif variant == 1:
        said = {"number": reader.num(), "kind": reader.string(), "payload": reader.bytes_().hex()}
        value = {"message": said | {"tags": tags_value(reader.tags())}}
    else:
        raise Malformed(f"a control message of variant {variant}")
    reader.finish("a control message")
    return value


def read_input(message: bytes, fields: tuple[Field, ...]) -> Case:
    """`input`: as the server reads it, clamped."""
    reader = Reader(message, 1)
    seq, ack, render = reader.u32(), reader.u32(), reader.u32()
    row = [max(field.min, min(field.max, reader.zigzag())) for field in fields]
    reader.finish("an input")
    return {"seq": seq, "ack": ack, "render_tick": render, "row": row}


def read_ack(message: bytes) -> Case:
    """`ack`."""
    reader = Reader(message, 1)
    return {"ack": read_all(reader, reader.u32)}


def read_ping(message: bytes) -> Case:
    """`ping`."""
    reader = Reader(message, 1)
    return {"stamp": read_all(reader, lambda: reader.raw(8)).hex()}


def read_want(message: bytes) -> Case:
    """`want`."""
    reader = Reader(message, 1)
    count = reader.varint()
    if not 1 <= count <= MAX_WANT:
        raise Malformed(f"{count} cells are wanted")
    return {"cells": read_all(reader, lambda: [reader.varint() for _ in range(count)])}


def read_repair(message: bytes) -> Case:
    """`repair`."""
    reader = Reader(message, 1)
    why, at, count = reader.u8(), reader.u32(), reader.varint()
    if why not in (1, 2, 3) or count > MAX_WANT:
        raise Malformed(f"why {why}, and {count} cells")
    cells = read_all(reader, lambda: [reader.varint() for _ in range(count)])
    return {"why": why, "tick": at, "cells": cells}


def tags_value(tags: tuple[tuple[int, bytes], ...]) -> Any:
    """Tags in the form of the vectors."""
    return [{"tag": tag, "value": value.hex()} for tag, value in tags]


def fields_value(fields: tuple[Field, ...]) -> Any:
    """Fields in the form of the vectors."""
    return [
        {
            "name": field.name,
            "step": field.step,
            "offset": field.offset,
            "min": field.min,
            "max": field.max,
            "velocity_of": field.velocity_of,
        }
        for field in fields
    ]


def schema_value(schema: Schema) -> Any:
    """A schema in the form of the vectors."""
    kinds = [{"name": kind.name, "fields": fields_value(kind.fields)} for kind in schema.kinds]
    return {"kinds": kinds, "input": fields_value(schema.input)}


def schema_of(value: Any) -> Schema:
    """A schema from the form of the vectors."""

    def fields(those: Any) -> tuple[Field, ...]:
        return tuple(Field(**this) for this in those)

    kinds = (Kind(this["name"], fields(this["fields"])) for this in value["kinds"])
    return Schema(tuple(kinds), fields(value["input"]))


def control_value(control: Control) -> Any:
    """A control message of the server in the form of the vectors."""
    tags = tags_value(control.tags)
    if isinstance(control, Welcome):
        welcome = {
            "player": control.player,
            "resume": control.resume.hex(),
            "room": control.room,
            "game": control.game,
            "tick": control.tick,
            "tick_rate": control.rate,
            "step_micros": control.step_us,
            "schema": schema_value(control.schema),
            "tags": tags,
        }
        return {"welcome": welcome}
    if isinstance(control, Redirect):
        return {"redirect": {"url": control.url, "tags": tags}}
    retry = control.retry_after_ms
    return {
        "refused": {"code": control.code, "text": control.text, "retry_after_millis": retry, "tags": tags}
    }


def member_value(member: Member, *, statics: bool = True) -> Case:
    """An entity in the form of the vectors."""
    value = {"slot": member.slot, "generation": member.generation, "kind": member.kind, "row": member.row}
    return {**value, "statics": member.statics} if statics else value


def reliable_value(heard: Reliable) -> Case:
    """A reliable message in the form of the vectors."""
    content: list[Any] = [part.hex() if isinstance(part, bytes) else part for part in heard.content]
    names = {
        "message": ("kind", "payload"),
        "chat": ("player", "name", "text"),
        "award": ("points", "reason"),
        "property": ("owner", "key", "value"),
    }.get(heard.name)
    if names is None:
        return {"number": heard.number, "unknown": {"class": heard.cls}}
    return {"number": heard.number, heard.name: dict(zip(names, content, strict=True))}


class Vectors(unittest.TestCase):
    """Each file of vectors, to its last value."""

    maxDiff = None

    def setUp(self) -> None:
        self.checked = 0

    def load(self, name: str) -> Case:
        """The vectors of a file."""
        value: Case = json.loads((VECTORS / name).read_text(encoding="utf-8"))
        self.assertTrue(has_about(value), "the file does not say how to read it")
        return value

    def every(self, where: str, section: Case, name: str, check: Callable[[Case], None]) -> None:
        """Take a list of cases out of a section; each must be used up by its check."""
        cases = section.pop(name)
        self.assertTrue(cases, f"{where} {name}: empty")
        for at, case in enumerate(cases):
            with self.subTest(f"{where} {name} {at}", about=case.get("about")):
                has_about(case)
                check(case)
                self.assertEqual(case, {}, "not looked at")
                self.checked += 1

    def malformed(self, read: Callable[[bytes], Any]) -> Callable[[Case], None]:
        """A check that bytes are refused."""

        def check(case: Case) -> None:
            with self.assertRaises(Malformed):
                read(bytes.fromhex(case.pop("hex")))

        return check

    def done(self, vectors: Case, least: int) -> None:
        """Nothing may be left of the file, and there must have been something in it."""
        self.assertEqual(vectors, {}, "not looked at")
        self.assertGreaterEqual(self.checked, least)

    def test_files(self) -> None:
        names = {path.name for path in VECTORS.iterdir()}
        self.assertEqual(names, {"primitives.json", "control.json", "input.json", "stream.json"})

    def test_a_case_not_looked_at_fails(self) -> None:
        class Inner(Vectors):
            """Is run by hand below."""

            def load(self, name: str) -> Case:
                value = super().load(name)
                spoil(value)
                return value

        def spoil_case(vectors: Case) -> None:
            vectors["varint"]["valid"][0]["new"] = 1

        def spoil_list(vectors: Case) -> None:
            vectors["varint"]["new"] = []

        def spoil_section(vectors: Case) -> None:
            vectors["new"] = {}

        for spoil in (spoil_case, spoil_list, spoil_section):
            result = unittest.TestResult()
            Inner("test_primitives").run(result)
            self.assertFalse(result.wasSuccessful(), spoil.__name__)

    def test_primitives(self) -> None:
        vectors = self.load("primitives.json")

        def bits_of(data: bytes, widths: list[int]) -> list[int]:
            stream = Bits(data)
            values = [stream.take(width) for width in widths]
            stream.finish()
            return values

        def good_bits(case: Case) -> None:
            data, widths, values = bytes.fromhex(case.pop("hex")), case.pop("widths"), case.pop("values")
            self.assertEqual(bits_of(data, widths), values)
            self.assertEqual(bits(*zip(values, widths, strict=True)), data)

        def bad_bits(case: Case) -> None:
            with self.assertRaises(Malformed):
                bits_of(bytes.fromhex(case.pop("hex")), case.pop("widths"))

        def good_hash(case: Case) -> None:
            member = Member(case.pop("slot"), case.pop("generation"), case.pop("kind"), case.pop("row"), "")
            self.assertEqual(cell_sum([member]), case.pop("hash"))

        section = vectors.pop("bits")
        self.every("bits", section, "valid", good_bits)
        self.every("bits", section, "malformed", bad_bits)
        self.assertEqual(section, {}, "not looked at")
        self.every("sum", vectors, "entity_hash", good_hash)

        def f64(value: float) -> bytes:
            return struct.pack("<d", value)

        def option(value: int | None) -> bytes:
            return b"\0" if value is None else b"\1" + put_num(value)

        def str8(value: str) -> bytes:
            return bytes((len(value.encode()),)) + value.encode()

        def int_(value: int) -> bytes:
            return put_num(zigzag(value))

        codecs: dict[str, tuple[Callable[[Reader], Any], Callable[[Any], bytes], str]] = {
            "f64": (Reader.f64, f64, "valid malformed"),
            "int": (Reader.int_, int_, "valid"),
            "num": (Reader.num, put_num, "valid longer malformed"),
            "option": (Reader.option_num, option, "valid malformed"),
            "str8": (Reader.str8, str8, "valid malformed"),
            "string": (Reader.string, put_string, "valid malformed"),
            "varint": (Reader.varint, put_varint, "valid longer malformed"),
            "zigzag": (Reader.zigzag, put_zigzag, "valid"),
        }
        for name, (read, write, lists) in codecs.items():

            def whole(data: bytes, read: Callable[[Reader], Any] = read) -> Any:
                reader = Reader(data)
                return read_all(reader, lambda: read(reader))

            def longer(case: Case, whole: Callable[[bytes], Any] = whole) -> None:
                self.assertEqual(whole(bytes.fromhex(case.pop("hex"))), case.pop("value"))

            def valid(
                case: Case,
                whole: Callable[[bytes], Any] = whole,
                write: Callable[[Any], bytes] = write,
            ) -> None:
                data, value = bytes.fromhex(case.pop("hex")), case.pop("value")
                self.assertEqual(whole(data), value)
                self.assertEqual(write(value).hex(), data.hex())

            section = vectors.pop(name)
            has_about(section)
            checks = {"valid": valid, "longer": longer, "malformed": self.malformed(whole)}
            for which in lists.split():
                self.every(name, section, which, checks[which])
            self.assertEqual(section, {}, "not looked at")
        self.done(vectors, 90)

    def test_control(self) -> None:
        vectors = self.load("control.json")

        def refuse_all(read: Callable[[bytes], Any], message: bytes) -> None:
            for bad in cut_and_longer(message):
                with self.assertRaises(Malformed, msg=bad.hex()):
                    read(bad)

        def client(case: Case) -> None:
            data, value = bytes.fromhex(case.pop("hex")), case.pop("value")
            self.assertEqual(read_client_control(data), value)
            refuse_all(read_client_control, data)
            ((variant, content),) = value.items()
            tags = tuple((this["tag"], bytes.fromhex(this["value"])) for this in content["tags"])
            if variant == "message":
                payload = bytes.fromhex(content["payload"])
                written = encode_message(content["number"], content["kind"], payload, tags)
            else:
                self.assertEqual(variant, "hello")
                ((seek, game),) = content["seek"].items()
                seeks = {"join_or_create": JOIN_OR_CREATE, "join": JOIN, "create": CREATE, "room": ROOM}
                written = encode_hello(
                    game,
                    content["name"],
                    seek=seeks[seek],
                    build=content["build"],
                    options=bytes.fromhex(content["options"]),
                    token=content["token"],
                    resume=bytes.fromhex(content["resume"]),
                    version=content["version"],
                    tags=tags,
                )
            self.assertEqual(written.hex(), data.hex())

        def server(case: Case) -> None:
            data = bytes.fromhex(case.pop("hex"))
            self.assertEqual(control_value(decode_control(data)), case.pop("value"))
            refuse_all(decode_control, data)

        self.every("control", vectors, "client", client)
        self.every("control", vectors, "client_malformed", self.malformed(read_client_control))
        self.every("control", vectors, "server", server)
        self.every("control", vectors, "server_malformed", self.malformed(decode_control))
        self.done(vectors, 50)

    def test_input(self) -> None:
        vectors = self.load("input.json")
        fields = schema_of(vectors.pop("schema")).input

        def read_row(message: bytes) -> Case:
            return read_input(message, fields)

        def read_pong(message: bytes) -> Case:
            pong = decode_pong(message)
            return {"stamp": pong.stamp.hex(), "tick": pong.tick, "micros": pong.late_us}

        def write_pong(value: Case) -> bytes:
            return b"\3" + bytes.fromhex(value["stamp"]) + struct.pack("<II", value["tick"], value["micros"])

        def write_input(value: Case) -> bytes:
            return encode_input(value["seq"], value["ack"], value["render_tick"], value["row"])

        def clamped(case: Case) -> None:
            data = bytes.fromhex(case.pop("hex"))
            value = read_row(data)
            self.assertEqual(value["row"], case.pop("row"))
            value["row"] = case.pop("sent")
            self.assertEqual(write_input(value).hex(), data.hex())

        def valid(read: Callable[[bytes], Case], write: Callable[[Case], bytes]) -> Callable[[Case], None]:
            def check(case: Case) -> None:
                data = bytes.fromhex(case.pop("hex"))
                value = {name: case.pop(name) for name in list(case)}
                self.assertEqual(read(data), value)
                self.assertEqual(write(value).hex(), data.hex())
                for bad in cut_and_longer(data):
                    with self.assertRaises(Malformed, msg=bad.hex()):
                        read(bad)

            return check

        codecs: dict[str, tuple[Callable[[bytes], Case], Callable[[Case], bytes], str]] = {
            "input": (read_row, write_input, "valid clamped malformed"),
            "ack": (read_ack, lambda value: encode_ack(value["ack"]), "valid"),
            "ping": (read_ping, lambda value: encode_ping(bytes.fromhex(value["stamp"])), "valid"),
            "pong": (read_pong, write_pong, "valid malformed"),
            "want": (read_want, lambda value: encode_want(value["cells"]), "valid malformed"),
            "repair": (
                read_repair,
                lambda value: encode_repair(value["why"], value["tick"], value["cells"]),
                "valid malformed",
            ),
        }
        for name, (read, write, lists) in codecs.items():
            section = vectors.pop(name)
            checks = {"valid": valid(read, write), "clamped": clamped, "malformed": self.malformed(read)}
            for which in lists.split():
                self.every(name, section, which, checks[which])
            self.assertEqual(section, {}, "not looked at")
        self.done(vectors, 25)

    def test_stream(self) -> None:
        vectors = self.load("stream.json")
        value = vectors.pop("schema")
        schema = schema_of(value)
        self.assertEqual(schema_value(schema), value)

        def message(world: World, case: Case) -> None:
            data, expected = bytes.fromhex(case.pop("hex")), case.pop("expect")
            events = world.apply(data)
            self.assertIsNone(world.broken)
            cells = [
                {"cell": number, "held": cell.held, "members": list(map(member_value, cell.members.values()))}
                for number, cell in sorted(world.cells.items())
            ]
            counts = {
                "blocks_unknown": world.unknown_blocks,
                "desyncs": world.desyncs,
                "reliable_unknown": world.unknown_classes,
                "sums_checked": world.sums_checked,
                "violations": world.violations,
            }
            header = {"tick": world.tick, "seq": world.applied_seq, "depth": world.depth, "flags": data[10]}
            transients = (event for event in events if isinstance(event, Transient))
            shown = sorted((shown.member for shown in world.shown()), key=lambda member: member.slot)
            found = {
                "cells": cells,
                "counts": counts,
                "header": header,
                "message_heard": world.heard,
                "own": member_value(world.own, statics=False) if world.own else None,
                "reliable": [reliable_value(event) for event in events if isinstance(event, Reliable)],
                "reliable_heard": world.reliable,
                "transient": [
                    {"cell": this.cell, "kind": this.kind, "payload": this.payload.hex()}
                    for this in transients
                ],
                "view": list(world.view),
                "view_complete": world.complete,
                "visible": list(map(member_value, shown)),
                "mismatch": world.mismatch,
                "wants": world.take_wants(),
            }
            self.assertEqual(world.complete, bool(data[10] & FLAG_COMPLETE))
            self.assertEqual(found, expected)

        def script(case: Case) -> None:
            world = World(schema)
            self.every("script", case, "messages", lambda this: message(world, this))

        def malformed(case: Case) -> None:
            world = World(schema)
            for before in case.pop("before"):
                world.apply(bytes.fromhex(before))
                self.assertEqual((world.broken, world.violations), (None, 0))
            world.apply(bytes.fromhex(case.pop("hex")))
            self.assertIsNotNone(world.broken)

        self.every("stream", vectors, "scripts", script)
        self.every("stream", vectors, "malformed", malformed)
        self.done(vectors, 200)


if __name__ == "__main__":
    unittest.main()
