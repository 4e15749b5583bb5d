"""Long runs with bots that come and go, and bots that read slowly."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from crowds import nothing_wrong
from proof import REPORTS, SWARM, Failed, Player, hold
from server import Server, cpu_seconds, rss_bytes, wait_until

OUTBOX_BYTES_MAX = 64 * 1024
GROWTH_BYTES_MAX = 1_000_000  # a minute
RAMP = 20
# The first two minutes fill caches and the longest queues that will be.
SETTLING = 120
# Seats and connections that the soak leaves unused: what is not given back is missed soon.
SPARE = 100
# What two runs of the same on one machine differ by.
P99_APART_MAX_MS = 5.0


def soak(seconds: int = 600) -> None:
    """3,000 bots for 10 minutes, 50 come and go a second, 5 % read slowly: nothing is wrong, nothing grows, nothing is left."""
    count = 3000
    flags = ["--bots", str(count), "--ramp", f"{RAMP}s", "--for", f"{seconds}s", "--behaviour", "slow-reader=5%", "--churn", "50/s"]
    most = count + SPARE
    limits = [f"--capacity={most}", f"--max-connections={most}", "--limit-loopback", f"--max-connections-per-address={most}"]
    with Server(*limits) as server:
        first_slot = empty_room(server)
        files = open_files(server)
        begun = time.monotonic()
        memory: list[tuple[float, int]] = []
        watch = lambda: memory.append((time.monotonic() - begun, rss_bytes(server.pid)))  # noqa: E731
        said = swarm(server, flags, seconds + 120, watch)
        nothing_wrong(said, count)
        hold(said["desyncs"] == 0, f"{said['sums_checked']} sums compared, {said['desyncs']} differed")
        hold(said["valid"], f"a valid run {said['invalid_reasons'] or ''}")
        hold(said["left"] >= 45 * seconds, f"{said['left']} left, and others came for them")
        slow = said["slow_readers"]
        hold(
            slow["late_again"] == 0,
            f"{slow['bots']} slow readers stopped {slow['stops']} times and agreed again after {slow['again_ms']['max']:.0f} ms at most",
        )
        nothing_left(server, files)
        slot = empty_room(server)
        most_slots = first_slot + count + SPARE
        hold(slot < most_slots, f"its entity has slot {slot}; the first one's was {first_slot}, and {count} bots played")
        is_short = seconds < 2 * SETTLING
        grows(memory, RAMP + seconds / 2 if is_short else SETTLING, RAMP + seconds, is_held=not is_short)


def grows(memory: list[tuple[float, int]], since: float, until: float, is_held: bool) -> None:
    """By so much a minute, as a straight line through the samples says; only told of a run in which memory has not settled."""
    samples = [(at / 60, bytes_) for at, bytes_ in memory if since <= at <= until]
    slope = statistics.linear_regression([at for at, _ in samples], [bytes_ for _, bytes_ in samples]).slope
    first, last = samples[0][1] / 2**20, samples[-1][1] / 2**20
    found = f"from {first:.1f} MiB after {since:.0f} s to {last:.1f} MiB after {until:.0f} s"
    text = f"the server's memory grows by {slope / 1e6:.3f} MB a minute, {found}"
    if is_held:
        hold(slope < GROWTH_BYTES_MAX, text)
    else:
        print(f"       {text}: too short a run to judge it")


def nothing_left(server: Server, files: int) -> None:
    """All have left: nobody is counted, nothing waits, and each who came ended once."""
    names = ["tickyard_connections", "tickyard_players", "tickyard_outbox_bytes", "tickyard_rooms_awake"]
    left = lambda: {name: value for name in names if (value := server.metrics()[name])}  # noqa: E731
    hold(wait_until(lambda: not left(), 15), f"connections, seats and outboxes are at zero, and no room ticks {left() or ''}")
    metrics = server.metrics()
    came = metrics["tickyard_connections_accepted_total"]
    ended = sum(value for name, value in metrics.items() if name.startswith("tickyard_closes_total"))
    hold(came == ended, f"{came:.0f} connections came, {ended:.0f} ended")
    stale = metrics["tickyard_commands_stale_total"]
    print(f"       {stale:.0f} commands came for players who had left, {metrics['tickyard_wants_total']:.0f} snapshots were asked for")
    now = lambda: open_files(server) == files  # noqa: E731
    hold(wait_until(now, 15), f"{open_files(server)} files are open, as at the beginning")


def empty_room(server: Server) -> int:
    """A newcomer sees no other player; the slot of its entity."""
    player = Player(server, "newcomer")
    hold(player.read_until(lambda: player.world.complete, 5), "a newcomer is in, and sees all of its view")
    hold(server.metrics()["tickyard_players"] == 1, "it is the only player")
    kind = player.welcome.schema.kind("player")
    cells = player.world.cells.values()
    seen = [member for cell in cells for member in cell.members.values() if member.kind == kind]
    hold(len(seen) == 1, f"and sees {len(seen)} player, itself")
    player.raw.close()
    hold(wait_until(lambda: server.metrics()["tickyard_connections"] == 0, 15), "it has left")
    return seen[0].slot


def open_files(server: Server) -> int:
    """How many descriptors it has."""
    return len(os.listdir(f"/proc/{server.pid}/fd"))


def slow_readers(seconds: int = 60) -> None:
    """Bots that stop reading for 5 to 25 s, or read half: they stay, agree again or stay fresh, and cost the others nothing."""
    bots = 400
    common = ["--bots", str(bots), "--ramp", "5s", "--for", f"{seconds}s"]
    # Half of the world in view: enough bytes to fill every buffer.
    room = ["--players=200"]
    with Server(*room) as server:
        alone = swarm(server, common, seconds + 60)
        all_see_all(server)
    nothing_wrong(alone, bots)

    most = [0.0]

    def watch() -> None:
        most[0] = max(most[0], server.metrics()["tickyard_outbox_bytes"])

    with Server(*room) as server:
        beside = swarm(server, [*common, "--behaviour", "slow-reader=10%"], seconds + 60, watch)
        all_see_all(server)
    nothing_wrong(beside, bots)
    slow = beside["slow_readers"]
    count = slow["bots"]
    hold(slow["never_skipped"] == 0, f"each of {count} slow readers was skipped; {slow['stops']} stops")
    hold(slow["late_again"] == 0, f"they agree again after {slow['again_ms']['p50']:.0f} ms (median), {slow['again_ms']['max']:.0f} ms at most")
    hold(most[0] <= OUTBOX_BYTES_MAX * count, f"{most[0] / 1024:.0f} KiB in all outboxes at most, that is {most[0] / 1024 / count:.1f} KiB each")
    costs_nothing(beside, alone)
    least = beside["delivered_per_bot"]["min"]
    hold(least >= 0.99, f"the others were delivered {least * 100:.2f} % at least, each")

    thin = [0.0]

    def watch_thin() -> None:
        thin[0] = max(thin[0], server.metrics()["tickyard_thin_connections"])

    with Server(*room) as server:
        halves = swarm(server, [*common, "--behaviour", "half-reader=10%"], seconds + 60, watch_thin)
        found = server.metrics()["tickyard_found_thin_total"]
        hold(wait_until(lambda: server.metrics()["tickyard_thin_connections"] == 0, 15), "nobody is thin when all have left")
    nothing_wrong(halves, bots)
    hold(halves["desyncs"] == 0, f"{halves['sums_checked']} sums compared, {halves['desyncs']} differed")
    half = halves["half_readers"]
    hold(half["never_skipped"] == 0, f"each of {half['bots']} half readers was skipped")
    p50, p95 = (half["staleness_ms"][name] for name in ("p50", "p95"))
    hold(p95 < 500, f"what half readers hold is {p95:.0f} ms old (p95; median {p50:.0f}), others' {halves['staleness_ms']['p95']:.0f} ms")
    hold(thin[0] == half["bots"], f"{thin[0]:.0f} players saw less at a time, at most; found {found:.0f} times")
    costs_nothing(halves, alone)


def all_see_all(server: Server) -> None:
    """Nobody was taken for a player with a thin connection."""
    found = server.metrics()["tickyard_found_thin_total"]
    hold(found == 0, f"{found:.0f} views were made smaller")


def costs_nothing(beside: dict, alone: dict) -> None:
    """Those who read all have it as without the others."""
    after, before = (run["input_to_state_ms"]["p99"] for run in (beside, alone))
    hold(after - before <= P99_APART_MAX_MS, f"the others' p99 is {after:.1f} ms beside them and {before:.1f} ms without")


def swarm(
    server: Server, flags: list[str], seconds: float, watch: Callable[[], None] = lambda: None, pinned: bool = True
) -> dict:
    """Runs a swarm, server and swarm on a core each if there are two and it is `pinned`; `watch` is called each second. The report."""
    report = REPORTS / "long-endurance.json"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    cores = sorted(os.sched_getaffinity(0)) if pinned else []
    if len(cores) > 1:
        for task in os.listdir(f"/proc/{server.pid}/task"):
            os.sched_setaffinity(int(task), cores[:1])
    pin = ["taskset", "-c", ",".join(map(str, cores[1:]))] if len(cores) > 1 else []
    print(f"  $ swarm {' '.join(flags)}", flush=True)
    command = [*pin, str(SWARM), "--url", server.play, *flags, "--json", str(report)]
    before, begun = server.cpu_seconds(), time.monotonic()
    bots = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    used = waited = 0.0
    try:
        while bots.poll() is None and time.monotonic() < begun + seconds:
            watch()
            try:
                used, waited = cpu_seconds(bots.pid), waited_seconds(bots.pid)
            except (OSError, IndexError):
                pass  # it has just ended
            time.sleep(1)
    finally:
        bots.kill()
        bots.wait()
    elapsed = time.monotonic() - begun
    share = (server.cpu_seconds() - before) / elapsed * 100
    stolen = waited / elapsed * 100
    print(f"       server {share:.0f} % of a core, swarm {used / elapsed * 100:.0f} %, which waited for its core for {stolen:.1f} % of the time")
    if not report.is_file():
        raise Failed(f"no report; exit code {bots.returncode}")
    return json.loads(report.read_text())


def waited_seconds(pid: int) -> float:
    """How long a process was ready to run and others were on its core."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
