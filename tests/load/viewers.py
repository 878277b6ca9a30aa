"""Many viewers of one stream in one process: bare sockets, each event checked as it arrives.

`python viewers.py PORT SECRET RUN_ID COUNT DROPPING SEED` prints one JSON object: how many viewers received
the whole log, the hashes of what they received, their errors, and how often they connected. A viewer reconnects with
`Last-Event-ID` when its connection closes before the `end` event, as a browser does; every DROPPINGth one also drops
its connection itself at random moments, even in the middle of an event.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
import re
import sys
from typing import Any

_EVENT = re.compile(rb"(?:event: (\w+)\n)?data: ([^\n]*)\nid: (\d+)\n\n")
_RETRY_SECONDS = 0.2
_DEADLINE_SECONDS = 240


class Viewer:
    """One browser: its position, the hash of what it has received, and its end event."""

    def __init__(self, number: int, drops: bool, seed: int) -> None:
        self.last = 0
        self.hash = hashlib.sha256()
        self.error: str | None = None
        self.end: dict[str, Any] | None = None
        self.connections = 0
        self.drops = drops
        self.random = random.Random(seed * 100_003 + number)

    async def watch(self, port: int, secret: str, run_id: str) -> None:
        """Reconnect until the run has finished."""
        while self.end is None and self.error is None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._connect(port, secret, run_id)
            if self.end is None:
                await asyncio.sleep(_RETRY_SECONDS * self.random.uniform(0.5, 1.5))

    async def _connect(self, port: int, secret: str, run_id: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        self.connections += 1
        drop_after = self.random.randrange(1 << 16, 1 << 21) if self.drops else None
        try:
            writer.write(
                f"GET /jobs/{run_id}/logs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\n"
                f"Last-Event-ID: {self.last}\r\n\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.split(b"\r\n", 1)[0]:
                return
            rest = b""
            while self.end is None:
                size = int(await reader.readline() or b"0", 16)
                if size == 0:
                    return
                body = (await reader.readexactly(size + 2))[:-2]
                if drop_after is not None and (drop_after := drop_after - size) < 0:
                    body = body[: self.random.randrange(len(body))]
                rest = self._consume(rest + body)
                if drop_after is not None and drop_after < 0:
                    return
        except ValueError:  # the connection closed inside a chunk's length
            return
        finally:
            writer.transport.abort()

    def _consume(self, body: bytes) -> bytes:
        whole, found, rest = body.rpartition(b"\n\n")
        if not found:
            return body
        whole += found
        for match in _EVENT.finditer(whole):
            number = int(match[3])
            if number != self.last + 1:
                self.error = f"after {self.last} came {number}"
                return b""
            self.last = number
            if match[1] is None:  # a line; a gap has its number too
                self.hash.update(match[2] + b"\n")
        if (at := whole.find(b"event: end\n")) >= 0:
            self.end = json.loads(whole[at:].split(b"data: ", 1)[1].split(b"\n", 1)[0])
        return rest


async def main(port: int, secret: str, run_id: str, count: int, dropping: int, seed: int) -> dict[str, Any]:
    """Run all viewers and add up their results."""
    viewers = [Viewer(number, number % dropping == 0, seed) for number in range(count)]
    async with asyncio.timeout(_DEADLINE_SECONDS):
        await asyncio.gather(*(viewer.watch(port, secret, run_id) for viewer in viewers))
    return {
        "hashes": sorted({viewer.hash.hexdigest() for viewer in viewers}),
        "last": sorted({viewer.last for viewer in viewers}),
        "errors": [viewer.error for viewer in viewers if viewer.error],
        "statuses": sorted({viewer.end["status"] for viewer in viewers if viewer.end}),
        "finished": sum(viewer.end is not None for viewer in viewers),
        "connections": sum(viewer.connections for viewer in viewers),
    }


if __name__ == "__main__":
    _port, _secret, _run_id, _count, _dropping, _seed = sys.argv[1:]
    print(json.dumps(asyncio.run(main(int(_port), _secret, _run_id, int(_count), int(_dropping), int(_seed)))))
