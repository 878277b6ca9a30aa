"""The HTTP server outside Vercel: gunicorn, one process, one thread per active request."""

from __future__ import annotations

import socket
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication

THREADS = 200  # each viewer of a log uses one
WORKER_TIMEOUT_SECONDS = 60
GRACEFUL_TIMEOUT_SECONDS = 2


class Served(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """Gunicorn on a socket that already listens, so that a port in use is reported before anything starts."""

    def __init__(self, app: Flask, listener: socket.socket) -> None:
        self._app, self._listener = app, listener
        super().__init__()

    def load_config(self) -> None:
        """Use these settings only: no configuration file, no GUNICORN_CMD_ARGS."""
        settings: dict[str, Any] = {
            "bind": f"fd://{self._listener.fileno()}",
            "worker_class": "gthread",
            "workers": 1,  # without MongoDB, sign-in attempts are counted in this process
            "threads": THREADS,
            "timeout": WORKER_TIMEOUT_SECONDS,
            "graceful_timeout": GRACEFUL_TIMEOUT_SECONDS,
            "loglevel": "warning",
            "limit_request_line": 8190,  # a poll of the jobs page lists every row
            "control_socket_disable": True,
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Return the application."""
        return self._app


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; OSError if the address is unavailable."""
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=512)


def url_of(host: str, listener: socket.socket) -> str:
    """The URL to open in a browser."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{listener.getsockname()[1]}"
