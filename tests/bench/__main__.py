"""`python -m tests.bench`: run the named measurements and print a table.

A missed goal is not a failure; a failed measurement is.
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cluster.cluster import Cluster, ClusterError
from launching.installation import Installation
from launching.launcher import LauncherError
from servers.mongodb_server import MongodbServer
from servers.redis_server import RedisServer
from servers.server import ServerError
from tests.bench.row import Row
from tests.bench.rows import MEASUREMENTS, PIPELINES, SETTINGS, SLOTS

NAMES = ", ".join(MEASUREMENTS)


def main(
    rows: Annotated[list[str] | None, typer.Argument(help=f"What to measure: {NAMES}. Default: all.")] = None,
    repeats: Annotated[
        int, typer.Option(min=1, help="Repeats of the shortest measurement; longer ones have fewer.")
    ] = 15,
    out: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file too.")] = None,
) -> None:
    """Measure Slipway on the tests' Kubernetes against plain kubectl, side by side."""
    console = Console()
    wanted = rows or list(MEASUREMENTS)
    if unknown := [name for name in wanted if name not in MEASUREMENTS]:
        raise typer.BadParameter(f"unknown: {', '.join(unknown)}; choose from: {NAMES}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that SIGTERM cleans up too
    try:
        with _site() as site:
            failed = _measure(site, wanted, repeats, console, out)
    except (ClusterError, ServerError, LauncherError) as exc:
        console.print(f"Slipway could not be started: {exc}", markup=False)
        raise typer.Exit(1) from None
    if failed:
        raise typer.Exit(1)


def _measure(site: Installation, wanted: list[str], repeats: int, console: Console, out: Path | None) -> bool:
    """Measure and print; return whether any measurement failed."""
    machine = f"{os.cpu_count()} processors; load average {os.getloadavg()[0]:.1f} before"
    found: list[Row] = []
    failed: dict[str, str] = {}
    for n in range(3):  # warm
        site.launcher.wait(site.launcher.run(f"warm-{n}", pipeline="hello")["run_id"], seconds=120)
    for name in wanted:
        try:
            with console.status(f"measuring {name}"):
                found += MEASUREMENTS[name](site, repeats)
        except Exception as exc:  # the other measurements still run
            failed[name] = f"{type(exc).__name__}: {exc}"
    machine += f", {os.getloadavg()[0]:.1f} after"
    console.print(_table(found, machine))
    if out:
        figures = [asdict(row) | {"verdict": row.verdict} for row in found]
        out.write_text(json.dumps({"machine": machine, "rows": figures, "failed": failed}, indent=2) + "\n")
    for name, why in failed.items():
        console.print(f"{name} could not be measured: {why}", markup=False)
    return bool(failed)


def _table(rows: list[Row], caption: str) -> Table:
    table = Table("", "figure", "goal", "", "detail", caption=caption)
    for row in rows:
        bound = "" if row.goal is None else f"{'≥' if row.at_least else '≤'} {row.goal:,g}"
        table.add_row(row.name, f"{row.value:,.2f} {row.unit}", bound, row.verdict, row.detail)
    return table


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
        environment = {**SETTINGS, "REDIS_URL": redis.url, "MONGODB_URI": mongodb.url}
        site = Installation(cluster, directory / "slipway", PIPELINES, slots=SLOTS, **environment)
        stack.push(site)  # its namespace already exists, even if it fails to start
        yield site.__enter__()


if __name__ == "__main__":
    typer.run(main)
