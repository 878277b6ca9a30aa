"""The entry: the commands put together, and every failure as one sentence."""

from __future__ import annotations

import os
import sys

from launcher.cli.commands import cli
from launcher.cli.failures import Exit, Failure


def main() -> None:
    """Run the command line."""
    try:
        cli()
    except Failure as failure:
        from launcher.cli import output

        output.note(failure.message)
        sys.exit(failure.code)
    except BrokenPipeError:  # who read us has enough, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.NO_READER)


if __name__ == "__main__":
    main()
