"""The front end served anywhere but on Vercel: gunicorn, one process, a thread for each answer that is under way."""

from __future__ import annotations

import socket
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication

THREADS = 200  # each viewer of a log holds one
SILENT_WORKER_SECONDS = 60
LAST_ANSWERS_SECONDS = 2


class Served(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """One application on one socket that listens already, so that a port in use is told before anything starts."""

    def __init__(self, app: Flask, listener: socket.socket) -> None:
        self._app, self._listener = app, listener
        super().__init__()

    def load_config(self) -> None:
        """Take the settings from here alone: no file, no GUNICORN_CMD_ARGS."""
        settings: dict[str, Any] = {
            "bind": f"fd://{self._listener.fileno()}",
            "worker_class": "gthread",
            "workers": 1,  # attempts to sign in are counted in this process where there is no MongoDB
            "threads": THREADS,
            "timeout": SILENT_WORKER_SECONDS,
            "graceful_timeout": LAST_ANSWERS_SECONDS,
            "loglevel": "warning",
            "limit_request_line": 8190,  # a page's poll names each posting that it shows
            "control_socket_disable": True,
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Return what is served."""
        return self._app


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; OSError when the address cannot be had."""
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=512)


def url_of(host: str, listener: socket.socket) -> str:
    """The address to open in a browser."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{listener.getsockname()[1]}"
