"""The operator's command line. Imports are inside the command, so `--help` answers at once."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from launcher.domain.errors import ConfigurationError
from launcher.extras import needs_extra

cli = typer.Typer(add_completion=False)


@cli.command()
def run(
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only warnings and errors.")] = False,
) -> None:
    """Run the operator for one namespace until SIGTERM. All settings come from the environment; see .env.example."""
    from pipeline_operator.serving import run_until_stopped

    logging.basicConfig(
        level=logging.WARNING if quiet else logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        run_until_stopped()
    except ConfigurationError as exc:
        typer.echo(exc.message, err=True)
        raise typer.Exit(2) from None


def main() -> None:
    """Run the command line."""
    with needs_extra("operator"):
        cli()


if __name__ == "__main__":
    main()
