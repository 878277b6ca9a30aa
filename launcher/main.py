"""The command line of the launcher: `serve` it, or `demo` one run from its launch to its artifacts.

What a command needs is imported in that command: `--help` answers at once, and a server does not load its client.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from launcher.domain.errors import ConfigurationError
from launcher.extras import needs_extra

cli = typer.Typer(no_args_is_help=True, add_completion=False, help="Slipway's launcher.")


@cli.command()
def serve(
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only warnings and errors.")] = False,
) -> None:
    """Serve the REST API until SIGTERM. All settings come from the environment; see .env.example."""
    from launcher.serving import serve_until_stopped

    logging.basicConfig(
        level=logging.WARNING if quiet else logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        serve_until_stopped()
    except ConfigurationError as exc:
        typer.echo(exc.message, err=True)
        raise typer.Exit(2) from None


@cli.command()
def demo(
    job_id: Annotated[str, typer.Option(help="Work item to process.")] = "4711",
    profile: Annotated[str | None, typer.Option(help="Profile for the pipeline.")] = None,
    samples: Annotated[Path, typer.Option(help="Folder with postings/ and master-cv.md.")] = Path(
        "pipeline-image/samples"
    ),
) -> None:
    """Launch one run of the bundled pipeline for a sample posting, follow it, and show where its artifacts are."""
    from launcher.demo import run_demo

    raise typer.Exit(run_demo(job_id, profile, samples))


def main() -> None:
    """Run the command line."""
    with needs_extra("launcher"):
        cli()


if __name__ == "__main__":
    main()
