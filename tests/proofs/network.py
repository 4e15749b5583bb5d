"""What a bad network does to 100 bots: 5 % of all packets are lost for a while, then all of them for three seconds.

    unshare --net python3 network.py SWARM

It runs as root in a network of its own, so that nobody else's packets are touched; `tests/long network` starts it. Exit
code 0: nobody was dropped, and all worlds agree in the end.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from server import Server

BOTS = 100
LOSS_SECONDS = 8
BLACKOUT_SECONDS = 3
STEADY_SECONDS = 24
TABLE = "add table inet t; add chain inet t lost { type filter hook input priority 0; }; flush chain inet t lost"


def lose(rule: str) -> None:
    """From now on packets that this rule matches are lost; none, if it is empty."""
    rules = f"{TABLE}; add rule inet t lost {rule} drop" if rule else TABLE
    subprocess.run(["nft", rules], check=True)


def dropped(server: Server) -> dict[str, float]:
    """Connections that ended, by reason."""
    return {name: value for name, value in server.metrics().items() if name.startswith("tickyard_closes_total") and value}


def main() -> int:
    """The command line."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    failed = 0

    def hold(fact: bool, what: str) -> None:
        nonlocal failed
        failed += not fact
        print(f"  {'yes' if fact else 'NO '}  {what}", flush=True)

    with tempfile.TemporaryDirectory() as place, Server("--players=100") as server:
        report = Path(place) / "swarm.json"
        command = [sys.argv[1], "--url", server.play, "--bots", str(BOTS), "--for", f"{STEADY_SECONDS}s", "--json", str(report)]
        quiet = subprocess.DEVNULL
        bots = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
        try:
            time.sleep(4)
            hold(server.metrics()["tickyard_players"] == BOTS, f"{BOTS} bots play")
            lose("numgen random mod 100 < 5")
            time.sleep(LOSS_SECONDS)
            lose("")
            hold(not dropped(server), f"none is dropped while 5 % is lost for {LOSS_SECONDS} s {dropped(server) or ''}")
            skipped = server.metrics()["tickyard_skipped_updates_total"]
            lose("meta l4proto tcp")
            time.sleep(BLACKOUT_SECONDS)
            lose("")
            time.sleep(1)
            metrics = server.metrics()
            hold(not dropped(server), f"none is dropped by a blackout of {BLACKOUT_SECONDS} s {dropped(server) or ''}")
            more = metrics["tickyard_skipped_updates_total"] - skipped
            waiting = metrics["tickyard_outbox_bytes"]
            hold(waiting == 0, f"{waiting:.0f} bytes wait a second later; {more:.0f} updates were skipped and none was queued")
            bots.wait(STEADY_SECONDS + 30)
        finally:
            bots.kill()
            bots.wait()
        said = json.loads(report.read_text())
    hold(said["connected"] == BOTS and said["errors"] == 0, f"{said['errors']} errors {said['error_reasons'] or ''}")
    wrong = {name: said[name] for name in ("violations", "desyncs", "unknown") if said[name]}
    hold(not wrong, f"nothing wrong was heard {wrong or ''}")
    agreement = said["agreement"]
    hold(
        agreement["differences"] == 0 and agreement["fields"] > 0,
        f"{agreement['fields']} fields compared with fresh snapshots, {agreement['differences']} differ",
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
