"""The command line of the launcher: `serve` it, or `demo` one run from its launch to its artifacts."""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import socket
import sys
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from launcher.api.app import create_app
from launcher.domain.errors import ConfigurationError, SlipwayError
from launcher.engines.orphans import ORPHANS
from launcher.server import BoundedHttp, Server
from launcher.settings import Settings
from launcher.stores.archive import claim
from launcher.wiring import faults_at_start

_PR_SET_DUMPABLE = 4  # <linux/prctl.h>
log = logging.getLogger(__name__)
cli = typer.Typer(no_args_is_help=True, add_completion=False, help="Slipway's launcher.")


@cli.command()
def serve(
    quiet: Annotated[bool, typer.Option("--quiet", help="Print warnings and faults only.")] = False,
) -> None:
    """Serve the REST API until SIGTERM. All settings come from the environment; see .env.example."""
    logging.basicConfig(
        level=logging.WARNING if quiet else logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        for note in Settings.notes(os.environ):
            typer.echo(f"Note: {note}", err=True)
        settings = Settings.from_environment(os.environ, lambda found: faults_at_start(found, os.environ))
        local = settings.ENGINE == "local"  # on Kubernetes the operator writes the archive
        if local:
            ORPHANS.adopt()
        with claim(settings.ARCHIVE_DIR) if local else nullcontext():
            _serve(settings)
    except ConfigurationError as exc:
        typer.echo(exc.message, err=True)
        raise typer.Exit(2) from None


def _serve(settings: Settings) -> None:
    _refuse_inspection()
    _allow_many_streams()
    try:
        listener = socket.create_server((settings.HOST, settings.PORT), family=_family(settings.HOST), backlog=2048)
    except (OSError, UnicodeError) as exc:
        why = getattr(exc, "strerror", None) or "that is not a host name"
        message = f"Cannot listen on {settings.HOST}:{settings.PORT}: {why} (HOST, PORT)"
        raise ConfigurationError(message) from None
    url = f"http://{settings.HOST if ':' not in settings.HOST else f'[{settings.HOST}]'}:{listener.getsockname()[1]}"
    typer.echo(f"Slipway serves on {url}")
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


@cli.command()
def demo(
    job_id: Annotated[str, typer.Option(help="The work item to run for.")] = "4711",
    profile: Annotated[str | None, typer.Option(help="The pipeline's profile.")] = None,
    samples: Annotated[Path, typer.Option(help="Folder with postings/ and master-cv.md.")] = Path(
        "pipeline-image/samples"
    ),
) -> None:
    """Launch one run of the bundled pipeline for a sample posting, follow it, and show what it made."""
    from launcher.demo import show_one_run  # a server has no use for its client, which costs 5 MB

    raise typer.Exit(0 if show_one_run(job_id, profile, samples) else 1)


def _refuse_inspection() -> None:
    """Keep other processes of this user, such as runs, from reading this one's environment and memory.

    Linux alone has it (prctl(2), PR_SET_DUMPABLE); root is not kept out.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _allow_many_streams() -> None:
    """Lift the soft limit of open files to the hard one: each viewer of a log holds a connection."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _how_to_call(url: str, secret: bool) -> str:
    header = ' -H "Authorization: Bearer $RUNNER_API_SECRET"' if secret else ""
    return (
        f"  launch:  curl{header} -H 'Content-Type: application/json' -d '{{\"job_id\": \"4711\"}}' {url}/jobs/run\n"
        f"  follow:  curl -N{header} {url}/jobs/RUN_ID/logs\n"
        f"  list:    curl{header} {url}/jobs\n"
        f"  all calls: {url}/docs"
    )


def main() -> None:
    """Run the command line."""
    cli()


if __name__ == "__main__":
    main()
