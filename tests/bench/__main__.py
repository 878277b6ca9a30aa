"""`python -m bench`: measures what is named, prints a table; a missed goal is no failure, a failed measurement is."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from bench.row import Row
from bench.rows import MEASUREMENTS, PIPELINES, SLOTS, settings
from cluster.cluster import Cluster
from launching.installation import Installation
from servers.mongodb_server import MongodbServer
from servers.redis_server import RedisServer

NAMES = ", ".join(MEASUREMENTS)


def main(
    rows: Annotated[list[str] | None, typer.Argument(help=f"What to measure: {NAMES}; nothing: all.")] = None,
    repeats: Annotated[
        int, typer.Option(min=1, help="Repeats of the shortest measurement; longer ones have fewer.")
    ] = 15,
    out: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file too.")] = None,
) -> None:
    """Measure Slipway on the tests' Kubernetes against plain kubectl, side by side."""
    console = Console()
    wanted = rows or list(MEASUREMENTS)
    if unknown := [name for name in wanted if name not in MEASUREMENTS]:
        raise typer.BadParameter(f"there is no {', '.join(unknown)}; there are: {NAMES}")
    found: list[Row] = []
    with _site() as site:
        for n in range(3):  # warm
            site.launcher.wait(site.launcher.run(f"warm-{n}", pipeline="hello")["run_id"])
        for name in wanted:
            with console.status(f"measuring {name}"):
                found += MEASUREMENTS[name](site, repeats)
    table = Table("", "figure", "goal", "", "detail")
    for row in found:
        bound = "" if row.goal is None else f"{'≥' if row.at_least else '≤'} {row.goal:,g}"
        table.add_row(row.name, f"{row.value:,.2f} {row.unit}", bound, row.verdict, row.detail)
    console.print(table)
    if out:
        out.write_text(json.dumps([asdict(row) | {"verdict": row.verdict} for row in found], indent=2) + "\n")


@contextmanager
def _site() -> Iterator[Installation]:
    with ExitStack() as stack:
        directory = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="slipway-bench-", ignore_cleanup_errors=True))
        )
        cluster = Cluster.take()
        stack.callback(cluster.release)
        redis, mongodb = RedisServer(directory / "redis"), MongodbServer(directory / "mongodb")
        for server in (redis, mongodb):
            server.start()
            stack.callback(server.stop)
        environment = {**settings(directory), "REDIS_URL": redis.url, "MONGODB_URI": mongodb.url}
        yield stack.enter_context(Installation(cluster, directory / "slipway", PIPELINES, slots=SLOTS, **environment))


if __name__ == "__main__":
    typer.run(main)
