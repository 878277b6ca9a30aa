"""The browser's only connection to the network: a proxy that resolves each name and checks the address it connects to.

It connects to the very address that it has checked, so DNS rebinding has no effect. Redirects, sub-resources and
WebSockets go through the proxy too.
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
    """An HTTP proxy on loopback, in its own thread, for ``http:`` URLs and ``CONNECT``."""

    def __init__(self, allowed: tuple[Network, ...], *, max_bytes: int, resolve: Resolve | None = None) -> None:
        """Refuse private addresses except `allowed` ones, and more than `max_bytes` between two calls of `renew()`."""
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
        """Whether the limit of bytes has been exceeded since the last `renew()`."""
        return self._received > self._max_bytes

    @property
    def refusals(self) -> list[str]:
        """The connections refused since the last `renew()`, as sentences."""
        return list(self._refusals)

    def renew(self) -> None:
        """Reset the counters for a new page."""
        self._received = 0
        self._refusals.clear()

    def check(self, host: str, port: int) -> None:
        """Check whether a destination is allowed.

        Raises:
            EgressRefusedError: The name resolves only to private addresses, or the port is not allowed.
            OSError: The name does not resolve.
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
        self._thread.join(1)  # a pending name resolution can delay it; it is a daemon

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
        task = self._loop.create_task(self._handle(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._forward(reader, writer)
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass  # one side is gone, or does not speak HTTP
        finally:
            writer.transport.abort() if self.exhausted else writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(CONNECT_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        try:
            method, host, port, forwarded = _read_head(head)
        except ValueError:
            return _answer(writer, 400, "This is not a valid proxy request.")
        try:
            upstream_reader, upstream_writer = await self._connect(host, port)
        except EgressRefusedError as error:
            self._refusals.append(str(error))
            return _answer(writer, 403, str(error))
        except (OSError, TimeoutError):
            return _answer(writer, 502, f"{host}:{port} is unreachable.")
        try:
            if method == b"CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                upstream_writer.write(forwarded)
                await self._forward_response_head(upstream_reader, writer)
            await self._relay(reader, writer, upstream_reader, upstream_writer)
        finally:
            upstream_writer.close()

    async def _connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        addresses = await self._addresses(host, port)
        for last, address in enumerate(addresses, 1 - len(addresses)):
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await asyncio.open_connection(address, port, limit=HEAD_BYTES)
            except (OSError, TimeoutError):
                if last == 0:
                    raise
        raise AssertionError  # there is at least one address

    async def _addresses(self, host: str, port: int) -> list[str]:
        async with asyncio.timeout(CONNECT_SECONDS):
            found = await self._resolve(host, port)
        addresses = permitted(found, port, self._allowed)
        if not addresses:
            msg = f"{host}:{port} is not on the public web and not in BROWSER_ALLOWED_NETWORKS"
            raise EgressRefusedError(msg)
        return addresses

    async def _forward_response_head(self, upstream_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward the response head with ``Connection: close``: the next request may be for another host."""
        while True:
            head = await upstream_reader.readuntil(b"\r\n\r\n")
            self._received += len(head)
            if not head.split(b" ", 2)[1].startswith(b"1"):  # skip 100 Continue and the like
                break
        writer.write(_for_one_request(head))

    async def _relay(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream_reader: asyncio.StreamReader,
        upstream_writer: asyncio.StreamWriter,
    ) -> None:
        """Relay bytes both ways until the server closes or the limit is exceeded."""

        async def to_server() -> None:
            while chunk := await reader.read(CHUNK_BYTES):
                upstream_writer.write(chunk)
                await upstream_writer.drain()

        async def to_browser() -> None:
            while not self.exhausted and (chunk := await upstream_reader.read(CHUNK_BYTES)):
                self._received += len(chunk)
                writer.write(chunk)
                await writer.drain()

        await _until_first_ends(to_server(), to_browser())


async def _until_first_ends(*sides: Coroutine[Any, Any, None]) -> None:
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
    """Return the method, host and port, and the request head for the server.

    Raises:
        ValueError: It is not a proxy request: another scheme, no host, an invalid port.
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
    forwarded = b" ".join((method, path.encode("ascii"), version)) + b"\r\n" + rest
    return method, parts.hostname, parts.port or 80, _for_one_request(forwarded)


def _for_one_request(head: bytes) -> bytes:
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    kept = [line for line in lines if not line.lower().startswith(_HOP_BY_HOP)]
    return b"\r\n".join([first, *kept, b"Connection: close", b"", b""])


def _answer(writer: asyncio.StreamWriter, status: int, text: str) -> None:
    body = f"{text}\n".encode()
    head = f"HTTP/1.1 {status} {_TEXTS[status]}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
    writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
