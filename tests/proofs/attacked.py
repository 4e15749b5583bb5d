"""Others attack, and nobody who plays notices."""

from __future__ import annotations

import time

from attacks import ATTACKS, attackers, bystander
from hostile import beside_players, kind_by_kind
from proof import hold
from server import Server, wait_until


def bystanders() -> None:
    """Two peers attack as fast as they can, in each way: who pings every 20 ms beside them waits at most 100 ms."""
    # What is felt is tried again, in case it was the machine.
    failed = [name for name in ATTACKS if not any(is_not_felt(name) for _ in range(3))]
    hold(not failed, f"no attack is felt for over {WAIT_MAX * 1000:.0f} ms or costs over {COST_MAX / 1e6:.0f} MB {failed or ''}")


def is_not_felt(name: str) -> bool:
    """Attacks for some seconds and says what a bystander felt, what it cost, and how the attackers ended."""
    seconds = 4.0
    # A server of its own: memory that one attack cost is not the next one's.
    with Server("--echo", "--players=200") as server, bystander(server.address) as waits:
        time.sleep(0.5)
        before = peak = server.rss_bytes()
        with attackers(ATTACKS[name], server.address, seconds, 2):
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                time.sleep(0.05)
                peak = max(peak, server.rss_bytes())
        gone = wait_until(lambda: server.metrics()["tickyard_connections"] == 1, 15)
        closes = {key.split('"')[1]: value for key, value in server.metrics().items() if "closes_total" in key and value}
    cost = peak - before
    # /echo, which is off unless asked for, takes messages of 16 MiB by itself.
    good = max(waits) <= WAIT_MAX and (cost <= COST_MAX or name.startswith("/echo")) and gone
    reasons = ", ".join(f"{value:.0f} {reason}" for reason, value in closes.items()) or "nobody closed"
    print(
        f"  {'yes' if good else 'NO '}  {name}: a bystander waits {max(waits) * 1000:.0f} ms at most ({len(waits)} pings), "
        f"{cost / 1e6:.1f} MB; {reasons}{'' if gone else '; and they stay'}",
        flush=True,
    )
    return good


def hostile(times: int = 1) -> None:
    """500 bots for a minute, alone and beside 1,000 hostile peers: they do not notice."""
    failed = beside_players(times)
    hold(not failed, f"players do not notice {failed or ''}")


def hostile_kinds() -> None:
    """1,000 hostile peers of one kind, kind by kind: answered as they should be, and a bystander notices nothing."""
    failed = kind_by_kind(WAIT_MAX, COST_MAX)
    hold(not failed, f"each kind is answered, over {WAIT_MAX * 1000:.0f} ms and {COST_MAX / 1e6:.0f} MB is none {failed or ''}")


# What an attack may make a bystander wait, in seconds, and cost in bytes.
WAIT_MAX, COST_MAX = 0.1, 16e6
