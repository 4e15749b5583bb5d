"""Runs what the READMEs tell people to type.

Each block of `sh` and `ts` is run as it stands, but for the ports, or has a comment on the line before it:

    <!-- not run: it is this test -->             why it is left out
    <!-- run: --for 30s => --for 2s -->           what is shortened
    <!-- in: examples/tag.rs -->                  its lines stand in that file, which has its own test

A command with `serve` has to print where it is and to end in order at Ctrl-C. TypeScript has to compile and then to
run for some seconds, without a word on stderr, and with one on stdout if it prints; what imports the client from the
server is pasted into the console of the demo page. Other blocks, such as `text`, are
to be looked at, and `rust` is always `in` a file.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from server import ROOT, Server

PAGES = ["README.md", "clients/typescript/README.md"]
SH_SECONDS = 120
TS_SECONDS = 3.0
LANGUAGES = ("sh", "ts", "rust")
WORK = ROOT / "target" / "readme"
SDK = ROOT / "clients" / "typescript"
COMMENT = re.compile(r"<!--\s*(not run|run|in):\s*(.*?)\s*-->")


class Wrong(Exception):
    """A block does not do what it promises."""


@dataclass
class Block:
    """A block of code, with what the comment before it says."""

    page: str
    line: int
    language: str
    text: str
    word: str = ""
    said: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line} ({self.language})"


def blocks(page: str, text: str) -> list[Block]:
    """The blocks of a page whose language is one that runs."""
    found, open_block, before = [], None, ""
    for number, line in enumerate(text.splitlines(), 1):
        fence = re.match(r"\s*```(\S*)", line)
        if open_block and fence:
            if open_block.language in LANGUAGES:
                found.append(open_block)
            open_block = None
        elif open_block:
            open_block.text += line + "\n"
        elif fence:
            comment = COMMENT.search(before)
            open_block = Block(page, number, fence[1], "", *(comment.groups() if comment else ("", "")))
        before = line if line.strip() else before
    if open_block:
        raise Wrong(f"{open_block} has no end")
    return found


def run(block: Block, server: Server) -> str:
    """Runs a block; what there is to say about it."""
    text = block.text
    if block.word == "not run":
        if not block.said:
            raise Wrong("no reason not to run it")
        return f"not run: {block.said}"
    if block.word == "in":
        return stands_in(text, block.said)
    if block.language == "rust":
        raise Wrong("say which file it stands in: <!-- in: FILE -->")
    if block.word == "run":
        old, arrow, new = block.said.partition(" => ")
        if not arrow or old not in text:
            raise Wrong(f"there is no {old!r} in it")
        text = text.replace(old, new)
    if block.language == "ts" and 'import("http' in text:
        return run_in_page(server, on_ports_of(server, text))
    if block.language == "ts":
        return run_ts(block, on_ports_of(server, text))
    if re.search(r"\bserve\b", text):
        return run_serve(block, text)
    return run_sh(block, on_ports_of(server, text))


def stands_in(text: str, file: str) -> str:
    """The block is part of a file."""
    source = re.sub(r"\s+", " ", (ROOT / file).read_text(encoding="utf-8"))
    if re.sub(r"\s+", " ", text).strip() not in source:
        raise Wrong(f"it does not stand in {file}")
    return f"stands in {file}"


def on_ports_of(server: Server, text: str) -> str:
    """The standard ports may be somebody else's on this machine."""
    metrics_port = re.search(r":(\d+)/", server.metrics_url)
    assert metrics_port
    text = text.replace(":7070", f":{server.address[1]}").replace(":7071", f":{metrics_port[1]}")
    # Also that of the swarm, who has it as a default.
    if "--url" not in text:
        text = re.sub(r"(--bots)", rf"--url {server.play} \1", text)
    return text


def run_sh(block: Block, text: str) -> str:
    """A command has to succeed."""
    start = time.monotonic()
    with shell(block, text) as command:
        try:
            output, _ = command.communicate(timeout=SH_SECONDS)
        except subprocess.TimeoutExpired:
            raise Wrong(f"not done after {SH_SECONDS} s") from None
        finally:
            kill(command)
    if command.returncode == 1 and re.search(r"^failed: not a valid run", output, re.MULTILINE):
        return "the swarm found this machine too busy to measure, and nothing else"
    if command.returncode != 0:
        raise Wrong(f"exit code {command.returncode}:\n{output[-3000:]}")
    return f"{time.monotonic() - start:.1f} s"


def run_serve(block: Block, text: str) -> str:
    """A server has to say where it is, and to end at Ctrl-C."""
    text = re.sub(r":707[01]\b", ":0", text)
    os.environ.update(TICKYARD_LISTEN="127.0.0.1:0", TICKYARD_ADMIN="127.0.0.1:0")
    with tempfile.TemporaryFile("w+") as log, shell(block, text, log.fileno()) as command:
        try:
            end = time.monotonic() + SH_SECONDS
            while "Ctrl-C" not in said(log):
                if command.poll() is not None or time.monotonic() > end:
                    raise Wrong(f"it does not come up:\n{said(log)[-3000:]}")
                time.sleep(0.05)
            os.killpg(command.pid, signal.SIGINT)
            command.wait(15)
        finally:
            kill(command)
        if command.returncode not in (0, 130, -signal.SIGINT) or "play" not in said(log):
            raise Wrong(f"exit code {command.returncode}:\n{said(log)[-3000:]}")
    return "comes up and ends"


def run_ts(block: Block, text: str) -> str:
    """TypeScript has to compile, strictly, and to run for a while."""
    WORK.mkdir(parents=True, exist_ok=True)
    (WORK / "package.json").write_text('{ "type": "module" }\n')
    modules = WORK / "node_modules"
    shutil.rmtree(modules, ignore_errors=True)
    modules.mkdir()
    (modules / "tickyard").symlink_to(SDK)
    # Node 20 has no WebSocket of its own; a browser has.
    socket = (ROOT / "tests/foreign/node_modules/ws/wrapper.mjs").as_uri()
    (WORK / "browser.mjs").write_text(
        f'import {{ WebSocket }} from "{socket}";\nglobalThis.WebSocket ??= WebSocket;\n'
    )
    (WORK / "block.ts").write_text(text + "\nexport {};\n")
    options = {"strict": True, "module": "nodenext", "target": "es2022", "lib": ["es2022", "dom"], "types": []}
    config = {"compilerOptions": options, "files": ["block.ts"]}
    (WORK / "tsconfig.json").write_text(json.dumps(config))
    tsc = SDK / "node_modules/.bin/tsc"
    checked = subprocess.run([tsc], cwd=WORK, capture_output=True, text=True, timeout=60)
    if checked.returncode != 0:
        raise Wrong(f"it does not compile:\n{checked.stdout}")
    with subprocess.Popen(
        ["node", "--import", "./browser.mjs", "block.js"],
        cwd=WORK, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as program:
        try:
            output, errors = program.communicate(timeout=TS_SECONDS)
        except subprocess.TimeoutExpired:
            program.kill()
            output, errors = program.communicate()
        else:
            if program.returncode != 0:
                raise Wrong(f"exit code {program.returncode}:\n{output}{errors}")
    if errors or ("console.log" in text and not output):
        raise Wrong(f"it printed {output!r}, and on stderr {errors!r}")
    return f"compiles; {len(output.splitlines())} lines in {TS_SECONDS:.0f} s"


def run_in_page(server: Server, text: str) -> str:
    """What takes the client from the server is for the console of its page."""
    # One line for each place that prints.
    command = ["node", ROOT / "tests/foreign/console.mjs", "--url", server.http, "--seconds", "15"]
    lines = len(re.findall(r"onAdd|onMessage", text)) or 1
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
    command += ["--lines", str(lines), "--chromium", chromium]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=90)
    if done.returncode != 0:
        raise Wrong(f"it printed {done.stdout!r}, and on stderr {done.stderr!r}")
    return f"prints {done.stdout.splitlines()[:3]} in the page"


def shell(block: Block, text: str, output: int = subprocess.PIPE) -> subprocess.Popen[str]:
    """`sh` in the folder of the page, in a group of its own."""
    return subprocess.Popen(
        ["sh", "-euc", text],
        cwd=(ROOT / block.page).parent,
        stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )


def kill(command: subprocess.Popen[str]) -> None:
    """The command and all that it started; asked first, so that it can end what is not in its group."""
    for which in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(command.pid, which)
            command.wait(10)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def said(log: object) -> str:
    """What is in a file by now."""
    log.seek(0)  # type: ignore[attr-defined]
    return str(log.read())  # type: ignore[attr-defined]


def main() -> int:
    """Runs all blocks of all pages."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    passed = failed = 0
    todo = [block for page in PAGES if (ROOT / page).is_file()
            for block in blocks(page, (ROOT / page).read_text(encoding="utf-8"))]
    with Server() as server:
        for block in todo:
            try:
                print(f"{block}: {run(block, server)}", flush=True)
                passed += 1
            except (Wrong, OSError, subprocess.TimeoutExpired) as error:
                failed += 1
                print(f"FAILED {block}: {error}", flush=True)
    print(f"readme: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
