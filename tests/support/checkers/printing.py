"""The printer's command line, for a pipeline's entry or a container."""

from __future__ import annotations

from pathlib import Path

from checkers.printer import WIDTH_BYTES

SOURCE = Path(__file__).with_name("printer.py").read_text()


def command(
    count: int,
    *,
    rate: float = 0,
    width: int = WIDTH_BYTES,
    alternate: bool = False,
    exit_code: int = 0,
    python: str = "python3",
) -> list[str]:
    """Return a command that prints `count` lines; it needs SLIPWAY_RUN_ID in its environment."""
    options = [f"--rate={rate:g}", f"--width={width}", f"--exit-code={exit_code}", *(["--alternate"] * alternate)]
    return [python, "-c", SOURCE, str(count), *options]
