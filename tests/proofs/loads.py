"""Many players of one world: on one spot, all over it, and more than the cores can serve."""

from __future__ import annotations

import time

from crowds import nothing_wrong
from endurance import swarm
from proof import Failed, hold
from server import Server

RAMP = 10
# So long they run until all are there.
GATHERING = 15
# When all stand in a few cells: those and their neighbours, each as one delta and, since somebody always comes from elsewhere, one snapshot.
CELLS_MAX = 16
# What a bit more or less than a whole measurement may be.
MARGIN = 3


def crowd(seconds: int = 60) -> None:
    """2,000 players on one spot: nobody is dropped, p99 under 150 ms, encoded as if one listened."""
    if seconds < GATHERING + 10:
        raise Failed(f"they need {GATHERING} s to come together: --seconds {GATHERING + 10}, at least")
    bots = 2000
    # Who keeps a world of 2,000 looks at all of them, each tick.
    checked = ["--check", "50"]
    flags = ["--bots", str(bots), "--ramp", f"{RAMP}s", "--for", f"{seconds}s", "--behaviour", "crowd", *checked]
    with Server() as server:
        encoded = Encoded(server)
        said = swarm(server, flags, seconds + 60, encoded.look)
    nothing_wrong(said, bots)
    hold(said["valid"], f"a valid run {said['invalid_reasons'] or ''}")
    print(f"       {said['entities_in_view']:.0f} entities in view, {said['bytes_in_per_s'] / bots:,.0f} bytes a second and player")
    deltas, snapshots = encoded.a_tick(RAMP + max(GATHERING, seconds / 2), RAMP + seconds - MARGIN)
    text = f"{deltas:.1f} deltas and {snapshots:.1f} snapshots a tick are encoded, for {bots} who listen"
    hold(max(deltas, snapshots) <= CELLS_MAX, text)
    in_time(said, 150, 0.0)


def one_world(bots: int = 5000, seconds: int = 30) -> None:
    """5,000 players of one world, a view of about 50, the server alone on a core: p99 under 100 ms, 99.9 % delivered."""
    flags = ["--bots", str(bots), "--ramp", "20s", "--for", f"{seconds}s"]
    with Server(*world(bots)) as server:
        said = swarm(server, flags, seconds + 100)
    nothing_wrong(said, bots)
    hold(said["valid"], f"a valid run {said['invalid_reasons'] or ''}")
    hold(40 <= said["entities_in_view"] <= 70, f"{said['entities_in_view']:.0f} entities in view")
    in_time(said, 100, 0.999)


def ten_thousand(bots: int = 10_000, seconds: int = 30) -> None:
    """10,000 players of one world, both cores for server and swarm together: all get in and nobody is lost; what they hear is told."""
    flags = ["--bots", str(bots), "--ramp", "40s", "--for", f"{seconds}s", "--check", "100"]
    with Server(*world(bots)) as server:
        said = swarm(server, flags, seconds + 120, pinned=False)
    nothing_wrong(said, bots)
    told(said)
    if not said["valid"]:
        print(f"       the swarm itself was late: {said['invalid_reasons']}")


def world(bots: int) -> list[str]:
    """One room, laid out for so many, in which a few more may look on."""
    return [f"--players={bots}", f"--capacity={bots + 10}", f"--max-connections={bots + 10}"]


def in_time(said: dict, p99_max: float, ratio_min: float) -> None:
    """What reached the players, and when."""
    told(said)
    p99, ratio = said["input_to_state_ms"]["p99"], said["delivered_ratio"]
    hold(p99 < p99_max, f"p99 from input to state is {p99:.1f} ms, less than {p99_max} wanted")
    hold(ratio >= ratio_min, f"{ratio * 100:.3f} % delivered, {ratio_min * 100:.1f} % wanted")


def told(said: dict) -> None:
    """What is measured and not judged."""
    delay, age = said["input_to_state_ms"], said["staleness_ms"]
    print(f"       input to state p50 {delay['p50']:.1f}, p99 {delay['p99']:.1f}, p99.9 {delay['p999']:.1f} ms; staleness p99 {age['p99']:.1f} ms")
    each = said["delivered_per_bot"]
    print(f"       delivered {said['delivered_ratio'] * 100:.3f} %, least {each['min'] * 100:.2f} %; {said['ticks_per_s']:.2f} ticks a second")


class Encoded:
    """How many segments a server encodes in a tick, looked at each second."""

    def __init__(self, server: Server) -> None:
        self.server, self.begun = server, time.monotonic()
        self.samples: list[tuple[float, dict[str, float]]] = []

    def look(self) -> None:
        """Takes a sample."""
        self.samples.append((time.monotonic() - self.begun, self.server.metrics()))

    def a_tick(self, since: float, until: float) -> tuple[float, float]:
        """Deltas and snapshots a tick, between two times."""
        inside = [metrics for at, metrics in self.samples if since <= at <= until]
        grown = lambda name: inside[-1][name] - inside[0][name]  # noqa: E731
        kinds = ("delta", "snapshot")
        deltas, snapshots = (grown(f'tickyard_segments_encoded_total{{kind="{kind}"}}') for kind in kinds)
        ticks = grown("tickyard_ticks_total")
        return deltas / ticks, snapshots / ticks
