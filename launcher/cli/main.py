"""The entry point: runs a command and reports a failure as one sentence or, with --json, as one problem."""

from __future__ import annotations

import json
import os
import sys

from launcher.cli.commands import cli
from launcher.cli.failures import Exit, Failure


def main() -> None:
    """Run the command line."""
    as_json = "--json" in sys.argv[1:]
    if not as_json:
        _note_typos()
    try:
        sys.exit(_for_programs() if as_json else cli())
    except Failure as failure:
        _report(failure, as_json)
        sys.exit(failure.code)
    except BrokenPipeError:  # the reader has closed the pipe, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.NO_READER)


def _for_programs() -> int:
    """Run it with usage errors and Ctrl-C as failures too, which Typer otherwise formats for people."""
    from typer import Abort, TyperException

    try:
        return int(cli(standalone_mode=False) or 0)
    except TyperException as exc:
        raise Failure(exc.format_message(), exc.exit_code) from None
    except (Abort, KeyboardInterrupt):
        raise Failure("Interrupted.", Exit.CANCELLED) from None


def _note_typos() -> None:
    from launcher.cli import output
    from launcher.domain.setting_rules import typos

    for note in typos(os.environ, ("RUNNER_URL", "RUNNER_API_SECRET")):
        output.note(f"Note: {note}")


def _report(failure: Failure, as_json: bool) -> None:
    from launcher.cli import output

    if as_json:
        print(json.dumps(failure.problem()), file=sys.stderr, flush=True)
    else:
        output.note(failure.message)


if __name__ == "__main__":
    main()
