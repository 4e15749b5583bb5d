"""The swarm's hostile peers beside players, and by themselves: what others notice of them, and what they cost.

The swarm itself judges how each of them was answered.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

from attacks import bystander
from proof import REPORTS, SWARM
from server import Server, cpu_seconds, rss_bytes, wait_until

PLAYERS, PEERS = 500, 1000
SECONDS = 60
RAMP = 2
TICK_LAG = "tickyard_tick_lag_seconds_bucket"

# What players may notice: so many of them, so much of the delivery, milliseconds, milliseconds above a run alone, bytes above it.
DELIVERED_MIN = 0.999
LATE_MAX = 5.0
P99_MORE_MAX = 5.0
RSS_MORE_MAX = 16e6


def beside_players(times: int) -> list[str]:
    """Plays alone and beside the hostile peers, so often in turn, and judges each figure; those that are not as they should be."""
    failed: list[str] = []

    def criterion(fact: bool, what: str) -> None:
        print(f"  {'ok  ' if fact else 'FAIL'}  {what}", flush=True)
        failed.extend([] if fact else [what])

    for _ in range(times):
        alone, beside = Figures(0), Figures(PEERS)
        alone.tell("alone ")
        beside.tell("beside")
        said = beside.said
        criterion(said["connected"] == PLAYERS, f"{said['connected']} of {PLAYERS} bots were in")
        criterion(said["errors"] == 0, f"{said['errors']} bots dropped {said['error_reasons'] or ''}")
        criterion(said["violations"] == 0, f"{said['violations']} violations {said['violations_spelt'][:3] or ''}")
        ratio = said["delivered_ratio"]
        criterion(ratio >= DELIVERED_MIN, f"{ratio * 100:.3f} % delivered, {DELIVERED_MIN * 100:g} wanted")
        late = beside.tick_lateness
        criterion(late <= LATE_MAX, f"99 % of the ticks are late by {late:g} ms at most, {LATE_MAX:g} allowed")
        more = beside.p99 - alone.p99
        what = f"p99 is {beside.p99:.2f} ms, {more:+.2f} against {alone.p99:.2f} alone, +{P99_MORE_MAX:g} allowed"
        criterion(more <= P99_MORE_MAX, what)
        grown = beside.peak - alone.peak
        what = f"{beside.peak / 1e6:.1f} MB, {grown / 1e6:+.1f} against alone, +{RSS_MORE_MAX / 1e6:g} allowed"
        criterion(grown <= RSS_MORE_MAX, what)
        kinds = beside.attack["kinds"]
        broken = [f"{kind['kind']}: {kind['why']}" for kind in kinds if kind["why"]]
        criterion(beside.attack["passed"], f"all of {len(kinds)} kinds were answered as they are owed {broken or ''}")
        for name, run in (("alone", alone), ("beside", beside)):
            criterion(run.said["valid"], f"the run {name} is valid {run.said['invalid_reasons'] or ''}")
        if alone.tick_lateness > LATE_MAX or not alone.said["valid"]:
            print("        the run alone was late as well: this machine does something else", flush=True)
    return failed


class Figures:
    """What a minute of players says of itself and of its server."""

    def __init__(self, peers: int) -> None:
        """Plays beside so many hostile peers."""
        self.attack: dict = {}
        with Server() as server:
            attackers = Swarm(server, "hostile", "--bots", peers, "--for", "150s", "--behaviour", "hostile") if peers else None
            try:
                accepted = lambda: server.metrics()["tickyard_connections_accepted_total"]  # noqa: E731
                if not wait_until(lambda: accepted() >= peers, 15):
                    raise RuntimeError(f"{accepted():.0f} of {peers} hostile peers were accepted")
                self._play(server, attackers)
            finally:
                if attackers:
                    attackers.kill()

    def _play(self, server: Server, attackers: Swarm | None) -> None:
        players = Swarm(server, "players", "--bots", PLAYERS, "--for", f"{SECONDS}s", "--check", 50)
        try:
            time.sleep(RAMP)
            pids = [server.pid, players.pid, *([attackers.pid] if attackers else [])]
            ticks, used, begun = lateness(server), [cpu_seconds(pid) for pid in pids], time.monotonic()
            time.sleep(SECONDS - 1)
            took = time.monotonic() - begun
            self.cpu = [(cpu_seconds(pid) - before) / took * 100 for pid, before in zip(pids, used)]
            self.late = {edge: count - ticks[edge] for edge, count in lateness(server).items()}
            self.peak = peak_rss_bytes(server.pid)
            if attackers:
                # They go a moment before the players stop, whose worlds are compared in a room at rest.
                self.attack = attackers.end()
            self.said = players.wait(60)
        finally:
            players.kill()

    @property
    def p99(self) -> float:
        """From an input to the first state that has it, in milliseconds."""
        return self.said["input_to_state_ms"]["p99"]

    @property
    def tick_lateness(self) -> float:
        """No more than this were 99 % of the ticks late, in milliseconds: the upper edge of a bucket."""
        total = self.late[float("inf")]
        return min(edge for edge, count in self.late.items() if count >= 0.99 * total) * 1000

    def tell(self, name: str) -> None:
        """Prints the figures."""
        said, cpu = self.said, " + ".join(f"{share:.0f}" for share in self.cpu)
        who = "server, players, attackers" if self.attack else "server, players"
        print(
            f"       {name}: p99 {self.p99:.2f} ms, {said['delivered_ratio'] * 100:.3f} % delivered, ticks late by"
            f" {self.tick_lateness:g} ms, {self.peak / 1e6:.1f} MB, CPU {cpu} % ({who})",
            flush=True,
        )


def kind_by_kind(wait_max: float, cost_max: float) -> list[str]:
    """A thousand peers of each kind beside somebody who pings; the kinds that were noticed, cost too much, or were not answered."""
    failed = []
    for kind in kinds():
        # Fifty segments a second each: a thousand of them would be a test of this machine's kernel.
        peers = 200 if kind == "single-bytes" else PEERS
        # Never-reading peers are dropped while we look.
        with Server("--slow-timeout=5s") as server, bystander(server.address) as waits:
            time.sleep(1)
            before = rss_bytes(server.pid)
            attackers = Swarm(server, kind, "--bots", peers, "--for", "60s", "--behaviour", kind)
            try:
                time.sleep(18)
                said = attackers.end()["kinds"][0]
            finally:
                attackers.kill()
            cost = peak_rss_bytes(server.pid) - before
        good = max(waits) <= wait_max and cost <= cost_max and said["verdict"] == "ok"
        print(
            f"  {'yes' if good else 'NO '}  {kind}: a bystander waits {max(waits) * 1000:.0f} ms at most ({len(waits)} pings),"
            f" {cost / 1e6:.1f} MB; {said['why'] or said['endings'] or said['verdict']}",
            flush=True,
        )
        failed.extend([] if good else [kind])
    return failed


def kinds() -> list[str]:
    """As the swarm lists them."""
    known = subprocess.run([str(SWARM), "--behaviour", "?"], capture_output=True, text=True).stderr
    return known.split("a mix of all that follow), ")[1].split("\n")[0].split(", ")


class Swarm:
    """A swarm that runs."""

    def __init__(self, server: Server, name: str, *flags: object) -> None:
        REPORTS.mkdir(parents=True, exist_ok=True)
        self.report = REPORTS / f"hostile-{name}.json"
        self.report.unlink(missing_ok=True)
        command = [str(word) for word in (SWARM, "--url", server.play, "--json", self.report, *flags)]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)

    @property
    def pid(self) -> int:
        """Its process."""
        return self.process.pid

    def end(self) -> dict:
        """Asks it to end; its report."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait(10)

    def wait(self, seconds: float) -> dict:
        """Its report, once it has ended."""
        self.process.wait(seconds)
        return json.loads(self.report.read_text())

    def kill(self) -> None:
        """Ends it, whatever it does."""
        self.process.kill()
        self.process.wait()


def lateness(server: Server) -> dict[float, float]:
    """How many ticks were at most so late, by the edges of the histogram in seconds."""
    buckets = {name: count for name, count in server.metrics().items() if name.startswith(TICK_LAG)}
    return {float(name.split('"')[1].replace("+Inf", "inf")): count for name, count in buckets.items()}


def peak_rss_bytes(pid: int) -> int:
    """The most memory that a process has occupied."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024
