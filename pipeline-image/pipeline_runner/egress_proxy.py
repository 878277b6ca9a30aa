"""The browser's only way out: a proxy that resolves each name itself, checks the address, and connects to no other.

As the address checked is the address connected to, a name that resolves to something else a moment later gains nothing.
Redirects, sub-resources and WebSockets come through here like the page itself.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from pipeline_runner.egress import EgressRefusedError, Network, permitted

Resolve = Callable[[str, int], Awaitable[list[str]]]

LOOPBACK = "127.0.0.1"
CONNECT_SECONDS = 10.0
HEAD_BYTES = 64 << 10
CHUNK_BYTES = 64 << 10
_HOP_BY_HOP = (b"connection:", b"keep-alive:", b"proxy-")
_TEXTS = {400: "Bad Request", 403: "Forbidden", 502: "Bad Gateway"}


class EgressProxy:
    """An HTTP proxy on loopback, in a thread of its own, for ``http:`` and for ``CONNECT``."""

    def __init__(self, allowed: tuple[Network, ...], *, max_bytes: int, resolve: Resolve | None = None) -> None:
        """Let nobody to private addresses but those `allowed`, nor more than `max_bytes` in between two `renew()`."""
        self._allowed, self._max_bytes, self._resolve = allowed, max_bytes, resolve or _resolve
        self._received = 0
        self._refusals: list[str] = []
        self._thread = threading.Thread(target=self._serve, name="egress proxy", daemon=True)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def exhausted(self) -> bool:
        """Whether more bytes came than are allowed, since the last `renew()`."""
        return self._received > self._max_bytes

    @property
    def refusals(self) -> list[str]:
        """Which places were refused since the last `renew()`, as sentences."""
        return list(self._refusals)

    def renew(self) -> None:
        """Count from nothing again: a new page begins."""
        self._received = 0
        self._refusals.clear()

    def check(self, host: str, port: int) -> None:
        """Ask beforehand whether somebody may go there.

        Raises:
            EgressRefusedError: The name leads only to private addresses, or the port is none for pages.
            OSError: The name cannot be resolved, or not in time.
        """
        asyncio.run_coroutine_threadsafe(self._addresses(host, port), self._loop).result(CONNECT_SECONDS + 1)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(CONNECT_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(1)  # a name that is still being resolved holds it; it is a daemon

    def _serve(self) -> None:
        asyncio.run(self._listen())

    async def _listen(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._accept, LOOPBACK, 0, limit=HEAD_BYTES)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._attend(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._pass_on(reader, writer)
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass  # one of the two sides is gone, or talks no HTTP
        finally:
            writer.transport.abort() if self.exhausted else writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(CONNECT_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        try:
            method, host, port, onward = _read_head(head)
        except ValueError:
            return _answer(writer, 400, "This is no request that a proxy can pass on.")
        try:
            far_reader, far_writer = await self._connect(host, port)
        except EgressRefusedError as error:
            self._refusals.append(str(error))
            return _answer(writer, 403, str(error))
        except (OSError, TimeoutError):
            return _answer(writer, 502, f"{host}:{port} cannot be reached.")
        try:
            if method == b"CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                far_writer.write(onward)
                await self._pass_answer_head(far_reader, writer)
            await self._relay(reader, writer, far_reader, far_writer)
        finally:
            far_writer.close()

    async def _connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        addresses = await self._addresses(host, port)
        for last, address in enumerate(addresses, 1 - len(addresses)):
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await asyncio.open_connection(address, port, limit=HEAD_BYTES)
            except (OSError, TimeoutError):
                if last == 0:
                    raise
        raise AssertionError  # there is always one address

    async def _addresses(self, host: str, port: int) -> list[str]:
        async with asyncio.timeout(CONNECT_SECONDS):
            found = await self._resolve(host, port)
        addresses = permitted(found, port, self._allowed)
        if not addresses:
            msg = f"{host}:{port} is no place on the public web, and BROWSER_ALLOWED_NETWORKS does not name it"
            raise EgressRefusedError(msg)
        return addresses

    async def _pass_answer_head(self, far_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass the answer's head on, saying that the connection ends with it: the next request may go elsewhere."""
        while True:
            head = await far_reader.readuntil(b"\r\n\r\n")
            self._received += len(head)
            if not head.split(b" ", 2)[1].startswith(b"1"):  # 100 Continue and its like: the answer comes yet
                break
        writer.write(_for_one_request(head))

    async def _relay(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        far_reader: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
    ) -> None:
        """Pass bytes both ways until the far side ends, or too many came."""

        async def upward() -> None:
            while chunk := await reader.read(CHUNK_BYTES):
                far_writer.write(chunk)
                await far_writer.drain()

        async def downward() -> None:
            while not self.exhausted and (chunk := await far_reader.read(CHUNK_BYTES)):
                self._received += len(chunk)
                writer.write(chunk)
                await writer.drain()

        await _first_to_end(upward(), downward())


async def _first_to_end(*sides: Coroutine[Any, Any, None]) -> None:
    tasks = [asyncio.ensure_future(side) for side in sides]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _resolve(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def _read_head(head: bytes) -> tuple[bytes, str, int, bytes]:
    """Return the method, where it goes, and the request as that server wants it.

    Raises:
        ValueError: It is no request for a proxy: another scheme, no host, a port that is no number.
    """
    line, _, rest = head.partition(b"\r\n")
    method, target, version = line.split(b" ")
    if method == b"CONNECT":
        parts = urlsplit(f"//{target.decode('ascii')}")
        if parts.port is None or not parts.hostname:
            raise ValueError
        return method, parts.hostname, parts.port, b""
    parts = urlsplit(target.decode("ascii"))
    if parts.scheme != "http" or not parts.hostname or parts.username is not None:
        raise ValueError
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    onward = b" ".join((method, path.encode("ascii"), version)) + b"\r\n" + rest
    return method, parts.hostname, parts.port or 80, _for_one_request(onward)


def _for_one_request(head: bytes) -> bytes:
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    kept = [line for line in lines if not line.lower().startswith(_HOP_BY_HOP)]
    return b"\r\n".join([first, *kept, b"Connection: close", b"", b""])


def _answer(writer: asyncio.StreamWriter, status: int, text: str) -> None:
    body = f"{text}\n".encode()
    head = f"HTTP/1.1 {status} {_TEXTS[status]}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
    writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
