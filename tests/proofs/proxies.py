"""Proxies, really: nginx and HAProxy as docs/operations.md says, and tinyproxy on the player's side.

They run as plain processes in a folder of their own, on ports of loopback. What differs from the page is ports, paths and the user.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from proof import SWARM, hold
from raw import Raw
from server import ROOT, Server, wait_until
from ways import Certificates

PAGE = ROOT / "docs" / "operations.md"
# Longer than the 60 s after which nginx ends a connection on which nothing is said.
IDLE_SECONDS = 90
# Whom the proxies see; they themselves come from 127.0.0.1.
CLIENT = "127.0.0.42"


class Unready(Exception):
    """A tool is missing or does not start."""


def blocks(language: str) -> list[str]:
    """The blocks of the page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def changed(text: str, *pairs: tuple[str, str]) -> str:
    """The text with some words replaced, each of which has to be there."""
    for old, new in pairs:
        if old not in text:
            raise Unready(f"{PAGE.name} does not say {old!r} any longer")
        text = text.replace(old, new)
    return text


def free_port() -> int:
    """A port that was free a moment ago, on both kinds of loopback."""
    with socket.socket(socket.AF_INET6) as six:
        six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        six.bind(("::1", 0))
        port = six.getsockname()[1]
        with socket.socket() as four:
            four.bind(("127.0.0.1", port))
        return port


def need(name: str, package: str) -> str:
    """The path of a tool, installed if it is not there and we may."""
    path = f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"
    if not shutil.which(name, path=path) and os.geteuid() == 0 and shutil.which("apt-get"):
        install = ["apt-get", "-q", "-y", "install", "--no-install-recommends", package]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(install, env=environment, stdout=subprocess.DEVNULL, check=False, timeout=300)
    found = shutil.which(name, path=path)
    if not found:
        raise Unready(f"{name} is missing: apt-get install {package}")
    return found


@contextmanager
def running(name: str, command: list[object], folder: Path, *ports: int) -> Iterator[subprocess.Popen]:
    """A proxy, from when it listens until the end of the block; ended by its process."""
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen([*map(str, command)], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        if not wait_until(lambda: process.poll() is not None or all(map(answers, ports)), 10) or process.poll() is not None:
            raise Unready(f"{name} does not start: {(folder / f'{name}.log').read_text()}")
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextmanager
def nginx(folder: Path, certificates: Certificates, server: Server) -> Iterator[tuple[int, int]]:
    """nginx before a server: its ports for ws and wss."""
    plain, secure = free_port(), free_port()
    (site,) = blocks("nginx")
    site = changed(
        site,
        ("listen 80;", f"listen 127.0.0.1:{plain}; listen [::1]:{plain};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{secure} ssl; listen [::1]:{secure} ssl;"),
        ("/etc/tickyard/chain.pem", str(certificates.chain)),
        ("/etc/tickyard/key.pem", str(certificates.key)),
        ("127.0.0.1:7070", place(server)),
    )
    (folder / "site.conf").write_text(site)
    temporary = "".join(
        f"  {kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"{'user root;' if os.geteuid() == 0 else ''}\ndaemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\nevents {{ worker_connections 768; }}\n"
        f"http {{\n  access_log off;\n{temporary}  include {folder}/site.conf;\n}}\n"
    )
    command = [need("nginx", "nginx-light"), "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "nginx.log"]
    with running("nginx", command, folder, plain, secure):
        yield plain, secure


@contextmanager
def haproxy(folder: Path, certificates: Certificates, server: Server) -> Iterator[tuple[int, int]]:
    """HAProxy with the certificate: its ports for ws and wss."""
    plain, secure = free_port(), free_port()
    both = folder / "both.pem"
    both.write_text(certificates.chain.read_text() + certificates.key.read_text())
    text = changed(
        blocks("haproxy")[0],
        ("bind :80\n", f"bind 127.0.0.1:{plain}\n    bind ::1:{plain}\n"),
        ("bind :443 ", f"bind 127.0.0.1:{secure},::1:{secure} "),
        ("/etc/tickyard/both.pem", str(both)),
        ("127.0.0.1:7070", place(server)),
    )
    with run_haproxy("haproxy", text, folder, plain, secure):
        yield plain, secure


@contextmanager
def passthrough(folder: Path, server: Server) -> Iterator[int]:
    """HAProxy before a server with TLS of its own: its port."""
    port = free_port()
    text = changed(
        blocks("haproxy")[1],
        ("bind :443\n", f"bind 127.0.0.1:{port}\n    bind ::1:{port}\n"),
        ("127.0.0.1:7443", place(server)),
    )
    with run_haproxy("passthrough", text, folder, port):
        yield port


@contextmanager
def run_haproxy(name: str, text: str, folder: Path, *ports: int) -> Iterator[None]:
    """HAProxy with this configuration."""
    if os.geteuid() != 0:
        text = changed(text, ("    user  haproxy\n", ""), ("    group haproxy\n", ""))
    path = folder / f"{name}.cfg"
    path.write_text(text)
    with running(name, [need("haproxy", "haproxy"), "-db", "-f", path], folder, *ports):
        yield


@contextmanager
def tinyproxy(folder: Path) -> Iterator[int]:
    """A forward proxy that gives tunnels to any port, as if they were all 443: its own port."""
    port = free_port()
    path = folder / "tinyproxy.conf"
    path.write_text(f"Port {port}\nListen 127.0.0.1\nTimeout 600\nMaxClients 1000\nLogLevel Connect\n")
    with running("tinyproxy", [need("tinyproxy", "tinyproxy-bin"), "-d", "-c", path], folder, port):
        yield port


def place(server: Server) -> str:
    """Where a server listens."""
    return f"{server.address[0]}:{server.address[1]}"


def key_hash(certificates: Certificates) -> str:
    """What Chromium is told, so that it believes this key and no other."""
    show = ["openssl", "x509", "-in", certificates.chain, "-pubkey", "-noout"]
    lines = subprocess.run(show, capture_output=True, text=True, check=True).stdout.splitlines()
    return base64.b64encode(hashlib.sha256(base64.b64decode("".join(lines[1:-1]))).digest()).decode()


def all_ways() -> None:
    """nginx, HAProxy as docs/operations.md says, a forward proxy: Chromium plays, sits idle for 90 s, plays on."""
    modules = ROOT / "tests" / "foreign"
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=modules, check=True)
    with ExitStack() as stack:
        enter = stack.enter_context
        folder = Path(enter(tempfile.TemporaryDirectory()))
        certificates = Certificates(folder)
        server = enter(Server(*FLAGS))
        secure = enter(Server(*FLAGS, f"--tls-cert={certificates.chain}", f"--tls-key={certificates.key}"))
        ways = Ways(certificates, enter(tinyproxy(folder)))
        for name, start in (("nginx", nginx), ("haproxy", haproxy)):
            plain_port, secure_port = enter(start(folder, certificates, server))
            ways.add(f"{name}-ws", plain_port, server)
            ways.add(f"{name}-wss", secure_port, server, tls=True)
        ways.add("passthrough", enter(passthrough(folder, secure)), secure, tls=True)
        for way in ways.all:
            ways.knock(way)
        browsers = [ways.browser([*ways.all]), ways.browser([way for way in ways.all if way.tls], tunnel=True)]
        for way in ways.all:
            ways.swarm(folder, way)
        for browser in browsers:
            output, _ = browser.communicate(timeout=IDLE_SECONDS + 120)
            hold(browser.returncode == 0, f"Chromium, {IDLE_SECONDS} s idle: {output.strip()}")
        for which in (server, secure):
            hold(f"::1 through {which.address[0]}" in log(which), f"{which.http}: the log has Chromium's own address")


FLAGS = ("--echo", "--trusted-proxy=127.0.0.1/32", "--log=debug")


@dataclass
class Way:
    """A proxy's port, and the server behind it."""

    name: str
    port: int
    server: Server
    tls: bool

    def url(self, scheme: str, host: str) -> str:
        """Where to go, by this way."""
        return f"{scheme}{'s' if self.tls else ''}://{host}:{self.port}/"


class Ways:
    """All ways to a server, and who takes them."""

    def __init__(self, certificates: Certificates, tunnel_port: int) -> None:
        self.certificates = certificates
        self.tunnel = f"http://127.0.0.1:{tunnel_port}"
        self.all: list[Way] = []

    def add(self, name: str, port: int, server: Server, tls: bool = False) -> None:
        """One more."""
        self.all.append(Way(name, port, server, tls))

    def knock(self, way: Way) -> None:
        """A client that claims to be another one is known for who it is."""
        before = len(log(way.server))
        said = lambda: log(way.server)[before:]  # noqa: E731
        tls = ssl.create_default_context(cafile=self.certificates.ca) if way.tls else None
        lies = ("X-Forwarded-For: 192.0.2.1",)
        client = Raw(("127.0.0.1", way.port), "/echo", source=CLIENT, tls=tls, headers=lies)
        client.send(b"hello")
        heard = client.message(5.0) if client.status == 101 else client.status
        client.close()
        hold(heard == b"hello", f"{way.name}: {CLIENT} is let in and hears {heard!r}")
        known = f"{CLIENT} through 127.0.0.1"
        hold(wait_until(lambda: known in said(), 5), f'{way.name}: the log says "{known}:…"')
        hold("192.0.2.1" not in said(), f"{way.name}: and not the address that it made up")

    def browser(self, ways: list[Way], tunnel: bool = False) -> subprocess.Popen[str]:
        """Starts Chromium, which goes all these ways at once."""
        command = ["node", ROOT / "tests/foreign/through.mjs", "--idle", IDLE_SECONDS, "--key", key_hash(self.certificates)]
        command += ["--chromium", need("chromium", "chromium")]
        if tunnel:
            command += ["--proxy", self.tunnel]
        for way in ways:
            command += ["--way", f"{way.name}{'-tunnel' if tunnel else ''}={way.url('http', '[::1]')}"]
        return subprocess.Popen([*map(str, command)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

    def swarm(self, folder: Path, way: Way) -> None:
        """Bots play by this way, those with TLS through a tunnel."""
        report = folder / "swarm.json"
        report.unlink(missing_ok=True)
        command = [SWARM, "--url", f"{way.url('ws', 'localhost')}play", "--bots", 50, "--for", "5s", "--json", report]
        # Worlds are compared elsewhere, in rooms where nobody else walks.
        command += ["--check", 0]
        if way.tls:
            command += ["--ca", self.certificates.ca, "--proxy", self.tunnel]
        quiet = subprocess.DEVNULL
        subprocess.run([*map(str, command)], stdin=quiet, stdout=quiet, stderr=quiet, timeout=60, check=False)
        said = json.loads(report.read_text()) if report.is_file() else {}
        right = said.get("connected") == 50 and said["errors"] == said["violations"] == 0
        by = f"{way.name}{' through a tunnel' if way.tls else ''}"
        wrong = {**said.get("error_reasons", {"no report": 1}), "violations": said.get("violations_spelt")}
        hold(right, f"{by}: {said.get('connected', 0)} of 50 bots play, {wrong}")


def log(server: Server) -> str:
    """All that a server wrote to stderr."""
    server.log.flush()
    server.log.seek(0)
    return server.log.read()
