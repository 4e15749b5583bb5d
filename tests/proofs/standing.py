"""One server for a while: its clock, a reader that stops, no descriptor left."""

from __future__ import annotations

import time

import tickyard_wire as wire
from proof import Bots, Failed, Player, hold
from raw import Closed, Raw
from server import Server, wait_until


def the_time() -> None:
    """For a minute, ticks are elapsed time × rate, ± 1."""
    seconds = 60
    with Server() as server, Bots(server, 200):
        player = Player(server, "clock")
        rate = player.welcome.rate
        worst = last = begun = first = now = 0.0
        while now - begun < seconds or not begun:
            sent = time.monotonic()
            pong = player.ping()
            # The room answered somewhere between; the error is half of that.
            now = (sent + time.monotonic()) / 2
            ticks = pong.tick + pong.late_us / player.welcome.step_us
            if not begun:
                begun, first = now, ticks
            last = ticks - first
            worst = max(worst, abs(last - (now - begun) * rate), key=abs)
            player.read_until(lambda: False, 0.5)
        elapsed = now - begun
        hold(worst <= 1, f"{last:.2f} ticks in {elapsed:.3f} s at {rate}/s, never further off than {worst:.3f}")
        metrics = server.metrics()
        hold(metrics["tickyard_tick_overruns_total"] == 0, "no tick was skipped")
        player.raw.close()


def slow() -> None:
    """A reader that stops for ten seconds is skipped, not closed, and agrees again within a second."""
    stop = 10.0
    # An arena in which everybody sees nearly everybody: enough bytes to fill every buffer.
    with Server("--players=50") as server, Bots(server, 200):
        skipped = lambda: server.metrics()["tickyard_skipped_updates_total"]  # noqa: E731
        player = Player(server, "slow", receive_buffer=4096)
        hold(player.read_until(lambda: player.world.complete, 10), "a reader with 4 KiB of buffer sees all")
        before, start = skipped(), time.monotonic()
        turns = 0
        while time.monotonic() < start + stop:
            player.input(turns % 4)
            turns += 1
            time.sleep(0.1)
        hold(skipped() > before, f"{skipped() - before:.0f} updates were skipped while it slept {stop:.0f} s")
        world = player.world
        at, checked, bytes_before = world.tick, world.sums_checked, player.raw.bytes_in
        begun = time.monotonic()
        try:
            # All that it holds is current: complete, at a tick after the last input was applied, sums compared.
            again = player.read_until(
                lambda: world.complete and world.applied_seq == player.seq and world.sums_checked > checked, 1.0
            )
        except Closed as end:
            raise Failed(f"it was closed with {end.code}") from None
        took = (time.monotonic() - begun) * 1000
        read = player.raw.bytes_in - bytes_before
        hold(again, f"it agrees again after {took:.0f} ms, {world.tick - at} ticks later, {read} bytes")
        behind = wire.since(player.ping().tick, world.tick)
        hold(behind <= world_ticks(player, 0.5), f"it is {behind} ticks behind the room")
        player.read_until(lambda: False, 3.0)
        hold(world.skipped_messages > 0, "it was told that something was skipped")
        sums = world.sums_checked - checked
        hold(world.violations == 0 and world.desyncs == 0, f"no violation; {sums} sums agree since, none differs")
        player.raw.close()


def world_ticks(player: Player, seconds: float) -> int:
    """So many ticks are in a time."""
    return int(player.welcome.rate * seconds)


def descriptors() -> None:
    """Out of descriptors the server neither spins nor goes deaf."""
    limit = 64
    with Server(limits=f"ulimit -n {limit}") as server:
        players: list[Player] = []
        refusal = ""
        while not refusal and len(players) < limit:
            try:
                players.append(Player(server, f"p{len(players)}"))
            except (Failed, Closed, OSError) as error:
                refusal = repr(error)
        hold(len(players) > limit // 2, f"{len(players)} players of {limit} descriptors are in, then {refusal}")
        # They are answered 503 or wait; whoever waits must not make the server spin.
        answers, waiting = knock(server, 10)
        hold(set(answers) <= {503}, f"10 more: {answers.count(503)} get 503, {waiting} wait")
        before = server.cpu_seconds()
        time.sleep(5)
        share = (server.cpu_seconds() - before) / 5 * 100
        hold(share < 5, f"{share:.1f} % CPU over 5 s at the limit")
        begun = time.monotonic()
        players.pop().raw.close()
        accepted = wait_until(lambda: is_in(server, players), 1.0)
        hold(accepted, f"one leaves; another is in after {(time.monotonic() - begun) * 1000:.0f} ms")
        alive = [player for player in players if player.read(2.0)]
        hold(len(alive) == len(players), f"{len(alive)} of {len(players)} players still hear ticks")
        for player in players:
            player.raw.close()
        hold(
            wait_until(lambda: is_healthy(server), 2.0),
            "with descriptors again it serves metrics as before",
        )


def knock(server: Server, count: int) -> tuple[list[int], int]:
    """Asks to be let in: the answers, and how many got none in time."""
    answers: list[int] = []
    waiting = 0
    for _ in range(count):
        try:
            raw = Raw(server.address, "/play", wire.SUBPROTOCOL, patience=0.2)
            answers.append(raw.status)
            raw.close()
        except TimeoutError:
            waiting += 1
    return answers, waiting


def is_in(server: Server, players: list[Player]) -> bool:
    """Whether one more player gets in."""
    try:
        players.append(Player(server, "late"))
    except (Failed, Closed, OSError):
        return False
    return True


def is_healthy(server: Server) -> bool:
    """Whether the metrics can be read."""
    try:
        return server.metrics()["tickyard_closes_total" + '{reason="no_descriptors"}'] > 0
    except (KeyError, OSError):
        return False
