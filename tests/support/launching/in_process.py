"""The launcher on a real server in a thread of this process, for tests that change its internals."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from launcher.api.app import create_app
from launcher.server import BoundedHttp, Server
from launcher.settings import Settings

START_SECONDS = 20.0
SECRET = "0123456789abcdef0123456789abcdef"


def application(directory: Path, **environment: str) -> FastAPI:
    """Create the application with its own folders."""
    folders = {"ARCHIVE_DIR": str(directory / "archive"), "APPLICATIONS_DIR": str(directory / "applications")}
    settings = Settings.from_environment({"RUNNER_API_SECRET": SECRET, **folders, **environment})
    return create_app(settings, {})


@contextmanager
def served(
    app: FastAPI, protocol: type[BoundedHttp] = BoundedHttp, graceful_seconds: int = 2
) -> Iterator[tuple[str, int]]:
    """Serve the application while the block runs; yield its address."""
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        config = uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=graceful_seconds,
        )
        server = Server(app, config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        waited = threading.Event()
        for _ in range(int(START_SECONDS / 0.02)):
            if server.started or not thread.is_alive():
                break
            waited.wait(0.02)
        assert server.started, "the application did not start"
        try:
            yield listener.getsockname()
        finally:
            server.should_exit = True
            thread.join(START_SECONDS)
            assert not thread.is_alive(), "the application did not stop"
