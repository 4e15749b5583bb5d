"""Many at once: at one moment, after a restart, over a bad network, for half a minute."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from attacks import connect_at_once
from proof import REPORTS, SWARM, Failed, hold
from server import Server, cpu_seconds, rss_bytes, wait_until


def connects() -> None:
    """500 connects at one moment are answered in 0.3 s."""
    count, wait_max = 500, 0.3
    with Server() as server:
        waits, others = connect_at_once(server.address, count, 10)
        hold(len(waits) == count and not others, f"{len(waits)} of {count} upgraded, {others} answered otherwise")
        hold(max(waits) <= wait_max, f"the last after {max(waits) * 1000:.0f} ms")
        hold(wait_until(lambda: server.metrics()["tickyard_connections"] == 0, 15), "and all are gone again")


def come_back() -> None:
    """5,000 players come back at one moment after a restart, and are in within 5 s."""
    count, seconds = 5000, 5.0
    with Server() as server:
        command = [str(SWARM), "--url", server.play, "--bots", str(count), "--ramp", "1s", "--for", "10s", "--check", "0"]
        quiet = subprocess.DEVNULL
        begun = time.monotonic()
        bots = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
        try:
            players = lambda: server.metrics()["tickyard_players"]  # noqa: E731
            wait_until(lambda: players() >= count, 30)
            took = time.monotonic() - begun
            hold(players() == count and took <= seconds, f"{players():.0f} of {count} are in after {took:.1f} s")
            metrics = server.metrics()
            hold(metrics["tickyard_tick_overruns_total"] == 0, f"{metrics['tickyard_tick_overruns_total']:.0f} ticks were skipped")
        finally:
            bots.kill()
            bots.wait()


def network() -> None:
    """100 bots, 5 % loss, a blackout of 3 s: none is lost (as root, with nft)."""
    missing = [name for name in ("ip", "nft", "unshare") if not shutil.which(name)]
    hold(not missing and os.geteuid() == 0, f"root and its tools are here {missing or ''}")
    inside = ["unshare", "--net", sys.executable, str(Path(__file__).with_name("network.py")), str(SWARM)]
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    hold(subprocess.run(inside, timeout=120, env=found).returncode == 0, "nobody was lost")


def swarm(*flags: str) -> tuple[dict, int]:
    """Runs server and swarm; the report, and the exit code."""
    report = REPORTS / "long-swarm.json"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    with Server() as server:
        command = [str(SWARM), "--url", server.play, *flags, "--json", str(report)]
        print(f"  $ swarm {' '.join(flags)}", flush=True)
        bots = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            peak = {"server": 0, "swarm": 0}
            used = {"server": 0.0, "swarm": 0.0}
            begun = time.monotonic()
            while bots.poll() is None and time.monotonic() < begun + 180:
                for name, pid in (("server", server.pid), ("swarm", bots.pid)):
                    try:
                        peak[name] = max(peak[name], rss_bytes(pid))
                        used[name] = cpu_seconds(pid)
                    except (OSError, IndexError):
                        pass  # it has just ended
                time.sleep(0.2)
        finally:
            bots.kill()
            bots.wait()
        elapsed = time.monotonic() - begun
        for name in peak:
            print(f"       {name}: {used[name] / elapsed * 100:.0f} % CPU, {peak[name] / 2**20:.0f} MiB at most")
    if not report.is_file():
        raise Failed(f"no report; exit code {bots.returncode}")
    return json.loads(report.read_text()), bots.returncode


def nothing_wrong(said: dict, count: int) -> None:
    """What holds for each swarm."""
    hold(said["connected"] == count, f"{said['connected']} of {count} bots were in")
    hold(said["errors"] == 0, f"{said['errors']} errors {said['error_reasons'] or ''}")
    hold(said["violations"] == 0, f"{said['violations']} violations {said['violations_spelt'][:3] or ''}")
    agreement = said["agreement"]
    hold(
        agreement["differences"] == 0 and agreement["fields"] > 0,
        f"{agreement['fields']} fields compared with fresh snapshots, {agreement['differences']} differ",
    )


def swarm_500() -> None:
    """500 bots: none lost, no violation, 99 % delivered, p99 under 100 ms."""
    said, code = swarm("--bots", "500", "--for", "30s")
    nothing_wrong(said, 500)
    hold(said["valid"], f"a valid run {said['invalid_reasons'] or ''}")
    hold(said["delivered_ratio"] >= 0.99, f"{said['delivered_ratio'] * 100:.3f} % delivered")
    p99 = said["input_to_state_ms"]["p99"]
    hold(p99 < 100, f"p99 of input to state: {p99:.1f} ms")
    hold(code == 0, f"exit code {code}")


def swarm_5000() -> None:
    """5,000 bots: all in, no error, no violation."""
    said, code = swarm("--bots", "5000", "--ramp", "20s", "--for", "30s")
    nothing_wrong(said, 5000)
    p99, ratio = said["input_to_state_ms"]["p99"], said["delivered_ratio"] * 100
    print(f"       {ratio:.3f} % delivered, p99 of input to state {p99:.1f} ms, exit code {code}")
    if not said["valid"]:
        print(f"       the swarm itself was late: {said['invalid_reasons']}")
