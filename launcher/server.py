"""The HTTP server: uvicorn, with streams that end when it stops, and a bound on what an anonymous caller may send."""

from __future__ import annotations

import socket

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 << 10


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's fast parser, which by itself keeps a header of any length from anybody, with a bound on it.

    Can go when uvicorn bounds heads for httptools as it does for h11 (`h11_max_incomplete_event_size`).
    """

    _head_bytes = 0
    _in_head = True
    _ended = False

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
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Wait for the next head."""
        self._in_head = self._ended = True
        super().on_message_complete()


class Server(uvicorn.Server):
    """A server that closes the log streams as soon as it is told to stop: their viewers come back to the next one."""

    def __init__(self, app: FastAPI, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the streams, then stop as uvicorn does."""
        parts = getattr(self._app.state, "parts", None)
        if parts is not None:
            parts.hub.stop()
        await super().shutdown(sockets)
