"""What rooms cost in which nothing happens."""

from __future__ import annotations

import time

from memory import silent
from proof import hold
from server import Server, wait_until

ROOMS = 10_000
SECONDS = 10.0
SHARE_MAX = 2.0


def idle() -> None:
    """10,000 rooms that nobody is in take less than 2 % of a core; what one silent player each costs is told."""
    with Server(f"--rooms={ROOMS}", "--players=1", f"--max-connections={ROOMS + 100}") as server:
        gauge = lambda name: server.metrics()[f"tickyard_{name}"]  # noqa: E731
        with silent(server, "/play", ROOMS, None):
            hold(wait_until(lambda: gauge("players") == ROOMS, 60), f"{ROOMS} players are in")
            hold(gauge("rooms") == ROOMS, "each in a room of its own")
            # Each has heard its whole view by now.
            time.sleep(3)
            print(f"  {share(server):.1f} % of a core with one silent player in each", flush=True)
            print(f"  {server.rss_bytes() / ROOMS / 1024:.0f} KiB for each room", flush=True)
        hold(wait_until(lambda: gauge("players") == 0, 60), "all have left")
        hold(wait_until(lambda: gauge("rooms_awake") == 0, 5), "no room ticks")
        hold(gauge("rooms") == ROOMS, "and all are open")
        empty = share(server)
        hold(empty < SHARE_MAX, f"{empty:.2f} % of a core with all of them empty, less than {SHARE_MAX:.0f} wanted")


def share(server: Server) -> float:
    """How much of a core it takes, in percent."""
    before, begun = server.cpu_seconds(), time.monotonic()
    time.sleep(SECONDS)
    return (server.cpu_seconds() - before) / (time.monotonic() - begun) * 100
