"""Starts a Tickyard server for a test, on ports that the system chooses, and ends it.

with Server("--echo") as server: … server.play, server.echo, server.http, server.metrics()
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
BINARY = ROOT / "target" / "release" / "tickyard"
READY_SECONDS = 15.0
END_SECONDS = 15.0


class Server:
    """A running server. It ends with the `with` block, whatever happens there."""

    def __init__(self, *flags: str, limits: str = "") -> None:
        """`limits` is a shell command that runs before the server, such as `ulimit -n 64`."""
        serve = [str(BINARY), "serve", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", *flags]
        self.command = ["sh", "-c", f'{limits} && exec "$0" "$@"', *serve] if limits else serve
        self.log = tempfile.TemporaryFile("w+")
        self.banner = ""
        self.exit_code: int | None = None

    def __enter__(self) -> Server:
        if not BINARY.is_file():
            raise RuntimeError(f"{BINARY} is missing: cargo build --release")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("TICKYARD_")}
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=environment,
        )
        try:
            self._read_banner()
        except BaseException:
            self.end()
            raise
        return self

    def _read_banner(self) -> None:
        # A reader that waits for a line cannot be told to stop; one that is ended reads the end.
        impatience = threading.Timer(READY_SECONDS, self.process.kill)
        impatience.start()
        assert self.process.stdout
        for line in self.process.stdout:
            self.banner += line
            if line.startswith("Ctrl-C"):
                break
        impatience.cancel()
        if "Ctrl-C" not in self.banner:
            raise RuntimeError(f"the server did not start: {self.banner}{self.errors()}")
        self.http = self._place("play")
        self.play = self._place("clients")
        self.metrics_url = self._place("metrics")
        match = re.match(r"https?://([^:/]+):(\d+)/", self.http)
        assert match, self.banner
        self.address = (match[1], int(match[2]))
        self.echo = f"ws://{match[1]}:{match[2]}/echo"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        if error:
            print(f"--- the server said:\n{self.errors()}---", flush=True)
        elif self.exit_code != 0 or "panicked" in self.errors():
            raise RuntimeError(f"the server ended with {self.exit_code}: {self.errors()}")

    def _place(self, name: str) -> str:
        match = re.search(rf"^\s+{name}\s+(\S+)$", self.banner, re.MULTILINE)
        if not match:
            raise RuntimeError(f"no {name} in {self.banner}")
        return match[1]

    @property
    def pid(self) -> int:
        """Its process."""
        return self.process.pid

    def end(self) -> int:
        """Asks it to end and waits; its exit code, -9 if it had to be killed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.exit_code = self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.exit_code = self.process.wait()
        return self.exit_code

    def errors(self) -> str:
        """The end of what it wrote to stderr."""
        self.log.flush()
        self.log.seek(0)
        return self.log.read()[-4000:]

    def metrics(self) -> dict[str, float]:
        """All metrics by name, labels included, as in `tickyard_closes_total{reason="slow"}`."""
        with urllib.request.urlopen(self.metrics_url, timeout=5) as response:
            lines = response.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def cpu_seconds(self) -> float:
        """The CPU time it has used."""
        return cpu_seconds(self.pid)

    def rss_bytes(self) -> int:
        """The memory it occupies."""
        return rss_bytes(self.pid)


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_bytes(pid: int) -> int:
    """The memory that a process occupies."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def wait_until(good: object, seconds: float) -> bool:
    """Asks again and again until it is so, or the time is up."""
    assert callable(good)
    end = time.monotonic() + seconds
    while not good():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
