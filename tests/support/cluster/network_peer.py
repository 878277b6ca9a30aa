"""A peer on the network, as a program. It needs only the standard library: pods run this file as it is.

python network_peer.py FOLDER NAME serve PORT…   answers on these TCP ports (on 53 also UDP), and makes the attempts
                                                 in each FOLDER/attempts-N.json, with results in FOLDER/NAME-N.json
python network_peer.py FOLDER NAME rush          tries all of FOLDER/targets.json at once, from its first moment
                                                 until it reaches none for a while, with results in FOLDER/NAME.json
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

ATTEMPT_SECONDS = 3.0  # a blocked connection is refused or, as the kernel limits ICMP messages, not answered
RUSH_ATTEMPT_SECONDS = 0.3
RUSH_QUIET_SECONDS = 3.0
RUSH_SECONDS = 60.0
POLL_SECONDS = 0.02

Target = tuple[str, int, str]
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Datagrams(asyncio.DatagramProtocol):
    """Answers datagrams, or waits for an answer."""

    def __init__(self, answered: asyncio.Future[bool] | None = None) -> None:
        self._answered, self._transport = answered, asyncio.DatagramTransport()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self._answered is None:
            self._transport.sendto(data, addr)
        elif not self._answered.done():
            self._answered.set_result(True)

    def error_received(self, exc: Exception) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(False)


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1024):
            writer.write(data)
            await writer.drain()
    writer.close()


async def attempt(target: Target) -> bool:
    """Whether a connection is accepted, or a datagram answered."""
    address, port, protocol = target
    try:
        async with asyncio.timeout(ATTEMPT_SECONDS):
            if protocol == "TCP":
                (await asyncio.open_connection(address, port))[1].close()
                return True
            loop = asyncio.get_running_loop()
            answered: asyncio.Future[bool] = loop.create_future()
            transport, _ = await loop.create_datagram_endpoint(
                lambda: _Datagrams(answered), remote_addr=(address, port)
            )
            transport.sendto(b"?")
            try:
                return await answered
            finally:
                transport.close()
    except OSError:
        return False


async def serve(folder: Path, name: str, ports: list[int]) -> None:
    """Answer on the ports, and make the attempts of each round."""
    for port in ports:
        with contextlib.suppress(OSError):  # on the node, the API server and the kubelet have theirs
            await asyncio.start_server(_echo, "0.0.0.0", port)
        if port == 53:
            loop = asyncio.get_running_loop()
            await loop.create_datagram_endpoint(_Datagrams, local_addr=("0.0.0.0", port))
    write(folder / f"{name}-ready.json", os.environ.get("ADDRESS", ""))
    for number in itertools.count():
        wanted = folder / f"attempts-{number}.json"
        while not wanted.exists():
            await asyncio.sleep(POLL_SECONDS)
        attempts = json.loads(wanted.read_text()).get(name, [])
        write(folder / f"{name}-{number}.json", await asyncio.gather(*map(attempt, attempts)))


class _Rush:
    """Presses all targets at once, and keeps the first connection to each."""

    def __init__(self) -> None:
        self._began = self._latest = time.monotonic()
        self.reached: dict[str, list[float]] = {}  # first and last time, in seconds after the start
        self._first: dict[str, Stream] = {}

    async def press(self, target: Target) -> None:
        address, port, _ = target
        key = f"{address}:{port}"
        while time.monotonic() < min(self._latest + RUSH_QUIET_SECONDS, self._began + RUSH_SECONDS):
            tried = time.monotonic()
            try:
                async with asyncio.timeout(RUSH_ATTEMPT_SECONDS):
                    stream = await asyncio.open_connection(address, port)
            except OSError:
                await asyncio.sleep(POLL_SECONDS)
                continue
            self._latest = time.monotonic()
            self.reached.setdefault(key, [tried - self._began, 0])[1] = tried - self._began
            if key in self._first:
                stream[1].close()
            else:
                self._first[key] = stream
            await asyncio.sleep(POLL_SECONDS)

    async def still_open(self) -> list[str]:
        """Return the targets whose first connection still answers."""
        found = []
        for key, (reader, writer) in self._first.items():
            with contextlib.suppress(OSError):
                writer.write(b"?\n")
                async with asyncio.timeout(RUSH_ATTEMPT_SECONDS):
                    if await reader.read(1):
                        found.append(key)
        return found


async def rush(folder: Path, name: str) -> None:
    """Try all forbidden targets until none was reached for a while, then the allowed one, which shows the network."""
    run, targets = _Rush(), json.loads((folder / "targets.json").read_text())
    await asyncio.gather(*map(run.press, targets["forbidden"]))
    results = {"reached": run.reached, "still_open": await run.still_open()}
    write(folder / f"{name}.json", {**results, "has_network": await attempt(targets["allowed"])})


def write(path: Path, content: Any) -> None:
    """Write JSON in one step: others wait for the file to appear."""
    unfinished = path.with_suffix(".new")
    unfinished.write_text(json.dumps(content))
    unfinished.rename(path)


if __name__ == "__main__":
    folder, name, does, *ports = sys.argv[1:]
    asyncio.run(rush(Path(folder), name) if does == "rush" else serve(Path(folder), name, list(map(int, ports))))
