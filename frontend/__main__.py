"""The front end's command line: serve the pages alone, or together with a launcher."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from frontend.config import NAMES, ConfigurationError
from frontend.setting_rules import RULES, Unusable, typos, usable
from frontend.setting_rules.env_file import not_loaded

KNOWN = frozenset((*NAMES, *RULES, "FRONTEND_HOST", "SLIPWAY_ENV", "POSTINGS_DIR"))

DESCRIPTION = "Serve Slipway's pages. All other settings come from the environment; see .env.example."


def main() -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser("slipway-frontend", description=DESCRIPTION)
    environ = os.environ
    parser.add_argument("--host", default=environ.get("FRONTEND_HOST") or "127.0.0.1", help="address to listen on")
    parser.add_argument(
        "--port", default=environ.get("FRONTEND_PORT") or "3000", help="port to listen on; 0 picks a free one"
    )
    parser.add_argument(
        "--with-launcher", action="store_true", help="start a launcher too; when one of them ends, so does the other"
    )
    chosen = parser.parse_args()
    try:
        usable("FRONTEND_PORT", chosen.port)
    except Unusable as exc:
        parser.error(f"{exc} (or --port)")
    if chosen.with_launcher:
        from frontend.dev_server import serve_together

        return serve_together(chosen.host, int(chosen.port), environ)
    for note in typos(environ, KNOWN):
        print(f"Note: {note}", file=sys.stderr)
    try:
        _check_loaded(environ)
        _serve(chosen.host, int(chosen.port))
    except ConfigurationError as exc:
        print(exc, file=sys.stderr)
        return 2
    return 0


def _check_loaded(environ: Mapping[str, str]) -> None:
    """Refuse an environment in which a shell misread a value of `.env`."""
    text = ""
    with suppress(OSError, ValueError):
        text = Path(".env").read_text()
    if faults := not_loaded(text, environ):
        raise ConfigurationError("\n".join(faults.values()))


def _serve(host: str, port: int) -> None:
    try:
        from frontend.serving import Served, listen, url_of
    except ModuleNotFoundError as exc:
        raise ConfigurationError(
            f"{exc.name} is not installed. Install the front end: pip install 'slipway-runs[frontend,serve]'."
        ) from None
    from frontend.app import create_app

    app = create_app(os.environ, host)
    try:
        listener = listen(host, port)
    except (OSError, UnicodeError) as exc:
        why = getattr(exc, "strerror", None) or exc
        raise ConfigurationError(f"Cannot listen on {host}:{port}: {why} (FRONTEND_HOST, FRONTEND_PORT)") from None
    print(f"Slipway's pages are on {url_of(host, listener)}", flush=True)
    Served(app, listener).run()


if __name__ == "__main__":
    sys.exit(main())
