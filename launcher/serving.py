"""The launcher's process: settings, listening socket, and the server until it stops."""

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
from launcher.stores.archive import claim
from launcher.wiring import faults_at_start

_PR_SET_DUMPABLE = 4  # <linux/prctl.h>
log = logging.getLogger(__name__)


def serve_until_stopped() -> None:
    """Serve the REST API until SIGTERM. Raises `ConfigurationError`."""
    for note in Settings.notes(os.environ):
        typer.echo(f"Note: {note}", err=True)
    settings = Settings.from_environment(os.environ, lambda found: faults_at_start(found, os.environ))
    local = settings.ENGINE == "local"  # on Kubernetes the operator writes the archive
    if local:
        ORPHANS.adopt()
    with claim(settings.ARCHIVE_DIR) if local else nullcontext():
        _serve(settings)


def refuse_inspection() -> None:
    """Keep other processes of this user, such as runs, from reading this one's environment and memory.

    Linux only (prctl(2), PR_SET_DUMPABLE); root can still read them.
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
    # uvicorn would print a traceback of its own
    logging.getLogger("uvicorn.error").addFilter(lambda _: app.state.start_fault is None)
    with suppress(SystemExit):  # its exit code says nothing
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
        why = getattr(exc, "strerror", None) or "that is not a host name"
        raise ConfigurationError(f"Cannot listen on {host}:{port}: {why} (HOST, PORT)") from None


def _allow_many_streams() -> None:
    """Raise the soft limit of open files to the hard one: each viewer of a log holds a connection."""
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
