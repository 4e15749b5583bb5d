"""Tests of the decoder: bytes made by hand from the page, and the golden vectors when they are there."""

from __future__ import annotations

import struct
import unittest

from tickyard_wire import (
    Bits,
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
    base: int | None = None,
    total: int | None = None,
    changes: bytes | None = None,
    leaves: list[tuple[int, int]] | None = None,
    enters: list[bytes] | None = None,
) -> bytes:
    """A delta block."""
    parts, out = 0, b""
    if base is not None:
        parts, out = parts | 1, out + put_varint(base)
    if total is not None:
        parts, out = parts | 2, out + struct.pack("<I", total)
    if changes is not None:
        parts, out = parts | 4, out + put_varint(len(changes)) + changes
    if leaves is not None:
        parts, out = parts | 8, out + put_varint(len(leaves))
        out += b"".join(put_varint(slot) + put_varint(where) for slot, where in leaves)
    if enters is not None:
        parts, out = parts | 16, out + put_varint(len(enters)) + b"".join(enters)
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
        for value, data in (
            (250, "fa"),
            (251, "fbfb00"),
            (65535, "fbffff"),
            (65536, "fc00000100"),
            (2**32, "fd0000000001000000"),
        ):
            self.assertEqual(put_num(value).hex(), data)
            self.assertEqual(Reader(bytes.fromhex(data)).num(), value)
        for data in ("fb00", "fe" + "00" * 16, "ff"):
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
            return h

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
        self.assertEqual(tagged.unknown_tags, 2)
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

    def breaks(self, number: int, *blocks: bytes) -> None:
        """Apply a tick message that breaks the protocol."""
        before = self.world.violations
        self.world.apply(tick(number, *blocks))
        self.assertIsNotNone(self.world.broken)
        self.assertEqual(self.world.violations, before + 1)

    def misfits(self, number: int, *blocks: bytes, cell: int) -> None:
        """Apply a tick message with a delta that does not fit; nothing but `wanted` may change."""
        before, held = self.world.violations, self.world.summary()["cells"]
        self.world.apply(tick(number, *blocks))
        self.assertEqual((self.world.violations, self.world.broken), (before + 1, None))
        self.assertEqual(self.world.summary()["cells"], held)
        self.assertIn(cell, self.world.wanted)

    def shown(self) -> set[int]:
        """The slots that are to be shown."""
        return {slot for slot, _ in self.world.shown}

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

    def test_velocity_of_velocity(self) -> None:
        kind = Kind(
            "rocket", tuple(Field(n, 1.0, 0.0, 0, 0, of) for n, of in (("x", None), ("v", 0), ("a", 1)))
        )
        self.world = World(Schema((kind,), ()))
        self.apply(10, view(1), snapshot(1, (1, [0, 5, 2], 0)))
        self.apply(12, delta(1, base=2))
        self.assertEqual(rows(self.world, 1), {1: [10, 9, 2]})

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
                1: [1, 0, -1, 0],
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
        self.assertEqual(rows(self.world, 1), {1: [0, 0, 0, -1], 2: [0] * 4, 3: [49], 4: [0] * 4})

    def test_changes_of_one(self) -> None:
        self.apply(10, view(1), snapshot(1, (3, [50], 1)))
        self.apply(
            11, delta(1, changes=bits((2, 2), (1, 1), (1, 2), (1, 5), (zigzag(1), 2)))
        )  # index of 0 bits
        self.assertEqual(rows(self.world, 1), {3: [51]})

    def test_changes_of_none(self) -> None:
        self.apply(10, view(1), snapshot(1))
        for number, mode in enumerate((0, 1, 2)):
            self.apply(11 + number, delta(1, changes=bits((mode, 2))))

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
                self.breaks(11, delta(1, changes=changes))

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
        self.assertEqual(set(self.world.shown), {(0, 0), (2, 0), (3, 1), (4, 0), (7, 0)})

    def test_misfits(self) -> None:
        self.start()
        self.misfits(11, delta(2), cell=2)
        self.misfits(12, delta(1), cell=1)  # from 11: too new
        self.misfits(12, age(2), delta(1, base=5), cell=1)  # to 10: held already
        self.misfits(12, age(3), delta(1), cell=1)
        self.misfits(13, delta(1, base=3, leaves=[(5, 0)]), cell=1)
        self.misfits(13, delta(1, base=3, enters=[entity(1, [0] * 4)]), cell=1)
        self.world.violations, self.world.trouble = 0, []
        self.apply(13, delta(1, base=3))
        self.apply(14, snapshot(1))
        self.assertNotIn(1, self.world.wanted)

    def test_desync(self) -> None:
        self.apply(10, view(1), snapshot(1, (3, [50], 1)))
        self.world.apply(tick(11, delta(1, total=1)))
        self.assertEqual((self.world.desyncs, self.world.sums_checked, self.world.violations), (1, 2, 0))
        self.assertEqual((self.world.wanted, self.world.cells[1].held), ({1}, 11))
        self.world.apply(tick(12, snapshot(1, wrong=1)))
        self.assertEqual((self.world.desyncs, self.world.wanted), (2, {1}))

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
            block(2, b"\x01\x20"),
            block(4, b""),
            block(2, b"\x01\x01\x00"),
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
        self.breaks(7, block(6, b"\x07\x02\x00"))

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
            self.assertEqual([(s.home, s.member.row) for s in self.world.shown.values()], [(2, [51])])

    def test_on_its_way(self) -> None:
        self.two()
        self.apply(11, delta(1, leaves=[(3, 3)]))
        self.assertEqual(self.shown(), {3})
        self.apply(12, age(1), delta(2, enters=[entity(3, [51], 1)]))
        self.assertEqual((self.shown(), self.world.shown[3, 0].home), ({3}, 2))

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
        self.assertEqual((self.shown(), self.world.shown[3, 0].home), ({3}, 1))

    def test_behind_cell_takes_no_home_from_one_ahead(self) -> None:
        self.apply(10, view(1, 2), snapshot(1))
        self.apply(20, snapshot(2, (3, [60], 1)))
        self.apply(20, age(6), delta(1, base=4, enters=[entity(3, [50], 1)]))
        self.assertEqual([(s.home, s.member.row) for s in self.world.shown.values()], [(2, [60])])
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
        self.assertEqual(set(self.world.shown), {(3, 1)})


if __name__ == "__main__":
    unittest.main()
