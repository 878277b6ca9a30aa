"""Runs the launcher: reads the settings, opens the listening socket, and serves until SIGTERM."""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import socket
import sys
from contextlib import nullcontext, suppress

import typer
import uvicorn

from launcher.api.app import create_app
from launcher.domain.errors import ConfigurationError, SlipwayError
from launcher.engines.orphans import ORPHANS
from launcher.launcher_process import READY
from launcher.server import BoundedHttp, Server
from launcher.settings import Settings
from launcher.stores.archive_lock import lock_archive
from launcher.wiring import startup_faults

_PR_SET_DUMPABLE = 4  # <linux/prctl.h>
log = logging.getLogger(__name__)


def serve_until_stopped() -> None:
    """Serve the REST API until SIGTERM. Raises `ConfigurationError`."""
    for note in Settings.notes(os.environ):
        typer.echo(f"Note: {note}", err=True)
    settings = Settings.from_environment(os.environ, lambda found: startup_faults(found, os.environ))
    local = settings.ENGINE == "local"  # on Kubernetes, the operator writes the archive
    if local:
        ORPHANS.adopt()
    with lock_archive(settings.ARCHIVE_DIR) if local else nullcontext():
        _serve(settings)


def refuse_inspection() -> None:
    """Prevent other processes of the same user, such as runs, from reading this process's environment and memory.

    Linux only (prctl(2), PR_SET_DUMPABLE); root can still do so.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _serve(settings: Settings) -> None:
    refuse_inspection()
    _allow_many_streams()
    listener = _listen(settings.HOST, settings.PORT)
    url = f"http://{settings.HOST if ':' not in settings.HOST else f'[{settings.HOST}]'}:{listener.getsockname()[1]}"
    typer.echo(f"{READY}{url}")
    if settings.SLIPWAY_ENV == "development":
        typer.echo(_how_to_call(url, bool(settings.secrets)))
    sys.stdout.flush()
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        http=BoundedHttp,
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
        server_header=False,
    )
    # the error is reported below, so uvicorn must not print a traceback too
    logging.getLogger("uvicorn.error").addFilter(lambda _: app.state.start_fault is None)
    with suppress(SystemExit):  # uvicorn's exit code has no information
        Server(app, config).run(sockets=[listener])
    if (fault := app.state.start_fault) is not None:
        if not isinstance(fault, SlipwayError):
            log.error("the launcher cannot start", exc_info=fault)
        raise ConfigurationError(f"The launcher cannot start: {fault}")


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, UnicodeError) as exc:
        why = getattr(exc, "strerror", None) or "not a valid host name"
        raise ConfigurationError(f"Cannot listen on {host}:{port}: {why} (HOST, PORT)") from None


def _allow_many_streams() -> None:
    """Raise the soft limit of open files to the hard limit, because each viewer of a log holds a connection."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _how_to_call(url: str, secret: bool) -> str:
    header = ' -H "Authorization: Bearer $RUNNER_API_SECRET"' if secret else ""
    return (
        f"  launch:  curl{header} -H 'Content-Type: application/json' -d '{{\"job_id\": \"4711\"}}' {url}/jobs/run\n"
        f"  follow:  curl -N{header} {url}/jobs/RUN_ID/logs\n"
        f"  list:    curl{header} {url}/jobs\n"
        f"  all calls: {url}/docs"
    )
