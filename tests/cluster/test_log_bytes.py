"""The archive holds exactly the bytes that a pipeline printed."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytest

from checkers.collecting import tail_of
from cluster.cluster import Cluster
from cluster.verifier import RunVerifier, with_bound_volume
from launching.installation import Installation

BINARY = bytes(byte for byte in range(256) if byte != ord("\n"))
PRINTED = {
    "a line of 100 KB": (b"0123456789" * 10_000)[:100_000] + b"\n" + b"and another\n",
    "1 MB without a newline": b"".join(b"%07d," % number for number in range(125_000)),
    "1 MB of characters of three bytes": "\u20ac".encode() * 333_333 + b"\n",
    "a part's exact length": b"x" * 65536 + b"\n" + b"y" * 65537 + b"\n" + b"z" * 16384 + b"\n",
    "binary": BINARY + b"\n" + BINARY[::-1] + b"\n",
    "a NUL": b"before\0after\n",
    "ANSI colours": b"\x1b[1;31mred\x1b[0m and \x1b[2K\x1b[1G gone\n",
    "carriage returns": b"10 %\r20 %\r100 %\nnext\r \n\r.\n",
    "carriage returns before newlines": b"one\r\ntwo\r\n\r\nfour\r\r\n",
    "HTML": b"<script>alert(1)</script> &amp; <b>bold</b>\n",
    "empty lines and spaces": b"\n\n  indented\t\n \n",
    "a last line without a newline": b"first\nlast",
    "text like a timestamp": b"2026-11-24T08:00:00.000000001Z stdout F not Kubernetes\n",
    "nothing": b"",
}
WRITE = "import base64, os, sys; rest = base64.b64decode(sys.argv[1])\nwhile rest: rest = rest[os.write(1, rest):]"
BOTH = "import os\nfor n in range(2000): os.write(1 + n % 2, b'%d of %s\\n' % (n, (b'out', b'err')[n % 2]))"


def _script(printed: bytes) -> list[str]:
    """Return a command that prints this; long texts are computed in Python, as command lines are limited."""
    longs = {
        "a line of 100 KB": "b'0123456789' * 10_000 + b'\\nand another\\n'",
        "1 MB without a newline": "b''.join(b'%07d,' % n for n in range(125_000))",
        "1 MB of characters of three bytes": "chr(0x20ac).encode() * 333_333 + b'\\n'",
        "a part's exact length": "b'x' * 65536 + b'\\n' + b'y' * 65537 + b'\\n' + b'z' * 16384 + b'\\n'",
    }
    name = next(name for name, text in PRINTED.items() if text is printed)
    if name in longs:
        return ["python3", "-c", WRITE.replace("base64.b64decode(sys.argv[1])", longs[name])]
    return ["python3", "-c", WRITE, base64.b64encode(printed).decode()]


PIPELINES: dict[str, dict[str, Any]] = {
    **{f"print-{number}": {"command": _script(text), "artifacts": {}} for number, text in enumerate(PRINTED.values())},
    "both": {"command": ["python3", "-c", BOTH], "artifacts": {}},
}


@pytest.fixture(scope="module")
def installation(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, redis_server: Any
) -> Iterator[Installation]:
    redis_server.revive()
    directory = tmp_path_factory.mktemp("slipway")
    with Installation(cluster, directory, PIPELINES, slots=len(PIPELINES), REDIS_URL=redis_server.url) as running:
        yield with_bound_volume(running)


@pytest.fixture(scope="module")
def verifier(installation: Installation) -> Iterator[RunVerifier]:
    with installation.watcher() as watcher:
        yield RunVerifier(installation, watcher)


@pytest.fixture(scope="module")
def runs(installation: Installation, verifier: RunVerifier) -> dict[str, str]:
    names = dict(zip(chain(PRINTED, ["both"]), PIPELINES, strict=True))
    return {name: installation.launcher.run(pipe, pipeline=pipe)["run_id"] for name, pipe in names.items()}


def displayed(line: bytes) -> str:
    """Return a line as a viewer sees it."""
    return line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace")


@pytest.mark.parametrize("name", PRINTED)
def test_printed_bytes_are_archived_unchanged(
    name: str, installation: Installation, verifier: RunVerifier, runs: dict[str, str]
) -> None:
    run_id = runs[name]
    printed = PRINTED[name].replace(b"\r\n", b"\n")  # containerd drops the CR before a newline
    run = verifier.wait_for_outcome(run_id)
    assert (run["status"], run["log"]["complete"]) == ("completed", True), run
    newline = b"" if printed.endswith(b"\n") or not printed else b"\n"  # the log's text always ends with a newline
    assert verifier.output(run_id) == printed + newline
    assert run["log"]["bytes"] == len(installation.launcher.log(run_id))
    tail = tail_of(installation.launcher.environment["REDIS_URL"], run_id)
    assert [number for number, _ in tail] == list(range(1, run["log"]["lines"] + 1))
    assert b"".join(data for _, data in tail[1:]) == printed.replace(b"\n", b"")
    events = installation.launcher.events(run_id)
    lines = [data for number, event, data in events if event == "message" and number != "1"]
    seen = "\n".join(lines).replace(" [line continues]\n", "")
    assert seen == "\n".join(displayed(line) for line in (printed + newline).split(b"\n")[:-1])


def test_stdout_and_stderr_are_complete_and_each_in_order(verifier: RunVerifier, runs: dict[str, str]) -> None:
    run = verifier.wait(runs["both"])
    assert (run["status"], run["log"]["complete"]) == ("completed", True), run
    lines = verifier.output(runs["both"]).splitlines()
    for place, stream in enumerate((b"out", b"err")):
        own = [line for line in lines if line.endswith(stream)]
        assert own == [b"%d of %s" % (number, stream) for number in range(place, 2000, 2)]
    assert len(lines) == 2000
