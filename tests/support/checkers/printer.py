"""A pipeline whose lines reveal when one is lost, duplicated, reordered or changed.

A line is `RUN_ID SEQ HASH PADDING`; HASH is the first 16 hexadecimal digits of sha256("RUN_ID:SEQ"), PADDING repeats it
up to the width. The last line is `RUN_ID END COUNT`. The run id comes from SLIPWAY_RUN_ID. Pods run the text of this
file with `python3 -c`: one file, only the standard library, Python 3.11.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import sys
import time

WIDTH_BYTES = 120
STDOUT, STDERR = 1, 2
BLOCK_LINES = 2000
BATCH_SECONDS = 0.005  # lines due within this time are written together
SIGTERM_EXIT_CODE = 143


def line(run_id: str, seq: int, width: int = WIDTH_BYTES) -> bytes:
    """Return a line without its newline: `width` bytes, or more if that leaves no byte for padding."""
    digest = hashlib.sha256(f"{run_id}:{seq}".encode()).hexdigest()[:16]
    head = f"{run_id} {seq} {digest} "
    return (head + (digest * (width // 16 + 1))[: max(1, width - len(head))]).encode()


def end_line(run_id: str, count: int) -> bytes:
    """Return the last line, without its newline."""
    return f"{run_id} END {count}".encode()


def stream_of(seq: int, alternating: bool) -> int:
    """Return the file of a line: stdout, or stderr for even lines if the streams alternate."""
    return STDERR if alternating and seq % 2 == 0 else STDOUT


def write(file: int, data: bytes) -> None:
    """Write all data, bypassing Python's buffers."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def print_lines(run_id: str, count: int, rate: float, width: int, alternating: bool) -> None:
    """Print all lines and the end line, `rate` per second; 0 means in large blocks as fast as possible."""
    start, done = time.monotonic(), 0
    while done < count:
        due = done + BLOCK_LINES
        if rate:
            time.sleep(max(0.0, start + done / rate - time.monotonic()))
            due = int((time.monotonic() - start + BATCH_SECONDS) * rate) + 1
        due = min(count, max(due, done + 1), done + BLOCK_LINES)
        for file in (STDOUT, STDERR):
            seqs = [seq for seq in range(done + 1, due + 1) if stream_of(seq, alternating) == file]
            write(file, b"".join(line(run_id, seq, width) + b"\n" for seq in seqs))
        done = due
    write(STDOUT, end_line(run_id, count) + b"\n")


def main() -> int:
    """Print as the command line says; exit at once on SIGTERM, which PID 1 would otherwise ignore."""
    parser = argparse.ArgumentParser()
    parser.add_argument("count", type=int)
    parser.add_argument("--rate", type=float, default=0, help="lines per second; 0: as fast as possible")
    parser.add_argument("--width", type=int, default=WIDTH_BYTES, help="bytes per line, without its newline")
    parser.add_argument("--alternate", action="store_true", help="even lines go to stderr")
    parser.add_argument("--exit-code", type=int, default=0)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(SIGTERM_EXIT_CODE))
    print_lines(os.environ["SLIPWAY_RUN_ID"], options.count, options.rate, options.width, options.alternate)
    return int(options.exit_code)


if __name__ == "__main__":
    sys.exit(main())
