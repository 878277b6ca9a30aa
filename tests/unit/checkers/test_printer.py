"""The printer, run as a program as in a pod, prints what the log checker expects."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time

import pytest

from checkers.log_history import LogHistory
from checkers.logs import check
from checkers.printer import line
from checkers.printing import command

RUN = "4711-01kav3mq8w3n0d3k2h7f6s9x1c"
ENVIRONMENT = {**os.environ, "SLIPWAY_RUN_ID": RUN}


def printed(words: list[str], exit_code: int = 0) -> tuple[bytes, bytes]:
    process = subprocess.run(words, env=ENVIRONMENT, capture_output=True, check=False, timeout=60)
    assert process.returncode == exit_code
    return process.stdout, process.stderr


def history(output: bytes, *, expected: int | None, width: int = 120, alternating: bool = False) -> LogHistory:
    text = b"Starting pipeline default for job 4711\n" + output
    receipt = {"lines": text.count(b"\n"), "bytes": len(text), "complete": True, "gaps": []}
    return LogHistory(run_id=RUN, text=text, receipt=receipt, expected=expected, width=width, alternating=alternating)


def test_a_line_consists_of_run_id_number_hash_and_padding() -> None:
    run_id, seq, digest, padding = line(RUN, 7).decode().split(" ")
    assert (run_id, seq) == (RUN, "7")
    assert digest == hashlib.sha256(f"{RUN}:7".encode()).hexdigest()[:16]
    assert set(padding) <= set(digest)
    assert len(line(RUN, 7)) == 120
    assert len(line(RUN, 7, 300)) == 300
    assert line(RUN, 7, 1).count(b" ") == 3


@pytest.mark.parametrize("width", [1, 120, 1000])
def test_its_output_has_no_findings(width: int) -> None:
    out, err = printed(command(5001, width=width, python=sys.executable))
    assert not err
    assert not check(history(out, expected=5001, width=width))
    assert out.endswith(f"\n{RUN} END 5001\n".encode())


def test_it_alternates_between_stdout_and_stderr() -> None:
    out, err = printed(command(5001, alternate=True, python=sys.executable))
    assert (out.count(b"\n"), err.count(b"\n")) == (2502, 2500)
    assert not check(history(err + out, expected=5001, alternating=True))


def test_it_exits_with_the_given_code() -> None:
    assert printed(command(0, exit_code=3, python=sys.executable), exit_code=3) == (f"{RUN} END 0\n".encode(), b"")


def test_it_keeps_its_rate() -> None:
    started = time.monotonic()
    out, _ = printed(command(101, rate=200, python=sys.executable))
    assert time.monotonic() - started >= 0.49
    assert not check(history(out, expected=101))


@pytest.mark.parametrize("rate", [0, 100])
def test_sigterm_stops_it_at_once_even_if_nobody_reads(rate: float) -> None:
    words = command(10_000_000, rate=rate, python=sys.executable)
    with subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = process.stdout.read(1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 143
        output = first + process.stdout.read()
    torn = b"" if output.endswith(b"\n") else b"\n"  # as the launcher terminates the last line
    assert not check(history(output + torn, expected=None))


def test_it_prints_every_one_of_many_lines() -> None:
    out, _ = printed(command(140_000, python=sys.executable))
    assert out.count(b"\n") == 140_001
