"""The arguments and options that several commands share, and how their usage is shown."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RUN = typer.Argument(metavar="RUN", help="Run id, or the beginning of one.")
Reference = Annotated[str | None, RUN]
NewestOf = Annotated[str | None, typer.Option("--job-id", help="Use the newest run of this work item instead of RUN.")]
OfCluster = Annotated[
    bool,
    typer.Option(
        "--cluster",
        help="Also start pods that try what a run can reach and which images can be pulled, and check DNS records, "
        "certificate, and clocks. Uses kubectl.",
    ),
]
Profile = Annotated[str | None, typer.Option(help="Profile for the pipeline.")]
PipelineName = Annotated[str | None, typer.Option(help="Pipeline to run. Defaults to: default.")]
Params = Annotated[
    list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="Parameter for the pipeline. Repeatable.")
]
Priority = Annotated[int, typer.Option(help="From -100 to 100. Higher runs start first.")]
Timeout = Annotated[int | None, typer.Option(help="Time limit in seconds, from the pipeline's start.")]
Key = Annotated[str | None, typer.Option(help="Idempotency key: the same key never launches a second run.")]
Follow = Annotated[
    bool, typer.Option("--follow", "-f", help="Follow the log to the end, and exit with the run's exit code.")
]


class PlainUsage(TyperCommand):
    """A command with required arguments, whose usage Typer would show in braces."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]


def print_version(wanted: bool) -> None:
    """Print the version and exit, if requested."""
    if wanted:
        from launcher.version import VERSION

        typer.echo(f"slipway {VERSION}")
        raise typer.Exit
