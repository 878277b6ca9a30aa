"""The HTTP server: uvicorn, with limits on connections, and streams that end when it stops."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, cast

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from launcher.api.problems import MEDIA_TYPE, problem
from launcher.domain.text import to_json

MAX_HEAD_BYTES = 64 << 10
MAX_WAITING = 2000
"""The most connections without a complete request. Beyond that, the oldest are closed."""
_SWEEP_TICKS = 5  # of 0.1 s


class _CountingTransport:
    """A transport that counts the bytes written to it. Its buffer alone does not show whether the client reads."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport, self.written = transport, 0

    def write(self, data: bytes) -> None:
        self.written += len(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's fast parser with limits that it lacks: on the size of the request head, on the time that a client takes
    to send a request, and on the time that it reads none of a response.
    """

    head_seconds = 10.0
    body_seconds = 35.0  # before that, the application answers 408
    stalled_seconds = 60.0

    _head_bytes = 0
    _in_head = True
    _ended = False
    _since = 0.0
    _read_at = 0.0
    _sent = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for a request."""
        self._counting = _CountingTransport(transport)
        super().connection_made(cast(asyncio.Transport, self._counting))
        self._since = self._read_at = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """Parse bytes; refuse a request head that is too large."""
        self._ended = False
        super().data_received(data)
        self._head_bytes = self._head_bytes + len(data) if self._in_head and not self._ended else 0
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The request's headers are too large.")

    def on_headers_complete(self) -> None:
        """Start waiting for the body."""
        self._in_head = False
        self._since = self.loop.time()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Wait for the next request head."""
        self._in_head = self._ended = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._since = self.loop.time()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP with a problem, and close the connection."""
        body = to_json(problem(400, f"{msg} Send a valid HTTP/1.1 request.")).encode()
        head = f"HTTP/1.1 400 Bad Request\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """Answer over HTTP/1.1 without a warning: anybody could fill the log with it."""

    @property
    def waiting_since(self) -> float | None:
        """When the server started waiting for a complete request; None while it answers one."""
        answering = self.cycle is not None and not self.cycle.response_complete
        return None if self._in_head and answering else self._since

    def timed_out(self, now: float) -> bool:
        """Whether the client took too long to send a request or to read any of a response.

        uvicorn itself closes idle connections, except while some of a response is unsent.
        """
        unsent = self.transport.get_write_buffer_size()
        sent = self._counting.written - unsent
        if unsent == 0 or sent > self._sent:
            self._read_at = now
        self._sent = sent
        if now - self._read_at > self.stalled_seconds:
            return True
        since = self.waiting_since
        return since is not None and now - since > (self.head_seconds if self._in_head else self.body_seconds)


class Server(uvicorn.Server):
    """A server that closes log streams as soon as it shuts down, so that viewers reconnect to the next one."""

    def __init__(self, app: FastAPI, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._app = app

    async def on_tick(self, counter: int) -> bool:
        """Regularly close connections that have timed out."""
        if counter % _SWEEP_TICKS == 0:
            sweep([each for each in self.server_state.connections if isinstance(each, BoundedHttp)])
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the streams, then shut down as uvicorn does."""
        if services := self._app.state.services:  # none if the start failed
            services.feeds.stop()
        await super().shutdown(sockets)


def sweep(connections: list[BoundedHttp]) -> None:
    """Close connections that have timed out, and the oldest of too many that have not sent a complete request."""
    now = asyncio.get_running_loop().time()
    waiting: list[tuple[float, BoundedHttp]] = []
    for connection in connections:
        if connection.timed_out(now):
            connection.transport.abort()
        elif (since := connection.waiting_since) is not None:
            waiting.append((since, connection))
    waiting.sort(key=lambda pair: pair[0])
    for _, connection in waiting[: max(0, len(waiting) - MAX_WAITING)]:
        connection.transport.abort()
