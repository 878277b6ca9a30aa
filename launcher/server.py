"""The HTTP server: uvicorn, with streams that end when it stops, and bounds on what a connection may use up."""

from __future__ import annotations

import asyncio
import socket

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 << 10
MAX_WAITING = 2000
"""Connections that have sent no whole request; beyond that, those that have been longest at it are closed."""
_SWEEP_TICKS = 5  # of 0.1 s


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's fast parser, with bounds that it has not by itself: on a header's length, and on how long a client may
    take to send a request, or take nothing of an answer.
    """

    head_seconds = 10.0
    body_seconds = 35.0  # the application answers 408 before
    stalled_seconds = 60.0

    _head_bytes = 0
    _in_head = True
    _ended = False
    _since = 0.0
    _taken_at = 0.0
    _unsent = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._since = self._taken_at = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """Take bytes; hang up on a head that does not end."""
        self._ended = False
        super().data_received(data)
        self._head_bytes = self._head_bytes + len(data) if self._in_head and not self._ended else 0
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The request's head is too large.")

    def on_headers_complete(self) -> None:
        """Note the end of the head."""
        self._in_head = False
        self._since = self.loop.time()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Wait for the next head."""
        self._in_head = self._ended = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._since = self.loop.time()
        super().on_response_complete()

    @property
    def waiting_since(self) -> float | None:
        """Since when a whole request is waited for; None while one is answered."""
        answering = self.cycle is not None and not self.cycle.response_complete
        return None if self._in_head and answering else self._since

    def lapsed(self, now: float) -> bool:
        """Say whether this client has used up its time: for a request, or with an answer of which it takes nothing.

        uvicorn itself closes idle connections, and none of whose answer something is left unsent.
        """
        unsent = self.transport.get_write_buffer_size()
        if unsent == 0 or unsent < self._unsent:
            self._taken_at = now
        self._unsent = unsent
        if now - self._taken_at > self.stalled_seconds:
            return True
        since = self.waiting_since
        return since is not None and now - since > (self.head_seconds if self._in_head else self.body_seconds)


class Server(uvicorn.Server):
    """A server that closes the log streams as soon as it is told to stop: their viewers come back to the next one."""

    def __init__(self, app: FastAPI, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._app = app

    async def on_tick(self, counter: int) -> bool:
        """Close connections whose time is used up, now and then."""
        if counter % _SWEEP_TICKS == 0:
            sweep([each for each in self.server_state.connections if isinstance(each, BoundedHttp)])
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the streams, then stop as uvicorn does."""
        services = getattr(self._app.state, "services", None)
        if services is not None:
            services.hub.stop()
        await super().shutdown(sockets)


def sweep(connections: list[BoundedHttp]) -> None:
    """Close the connections whose time is used up, and of those that wait for a request the oldest beyond the bound."""
    now = asyncio.get_running_loop().time()
    waiting: list[tuple[float, BoundedHttp]] = []
    for connection in connections:
        if connection.lapsed(now):
            connection.transport.abort()
        elif (since := connection.waiting_since) is not None:
            waiting.append((since, connection))
    waiting.sort(key=lambda pair: pair[0])
    for _, connection in waiting[: max(0, len(waiting) - MAX_WAITING)]:
        connection.transport.abort()
