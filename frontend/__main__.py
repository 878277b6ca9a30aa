"""The front end's command line: serve it alone, or with a launcher of its own."""

from __future__ import annotations

import argparse
import os
import sys

from frontend.config import ConfigurationError

DESCRIPTION = "Serves Slipway's pages. All other settings come from the environment; see .env.example."


def main() -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser("python -m frontend", description=DESCRIPTION)
    environ = os.environ
    parser.add_argument("--host", default=environ.get("FRONTEND_HOST") or "127.0.0.1", help="address to listen on")
    parser.add_argument("--port", default=environ.get("FRONTEND_PORT") or "3000", help="port to listen on; 0: any")
    parser.add_argument("--with-launcher", action="store_true", help="start a launcher too, and end together with it")
    chosen = parser.parse_args()
    if not (chosen.port.isdecimal() and int(chosen.port) < 65536):
        parser.error(f"{chosen.port!r} is no port: FRONTEND_PORT or --port takes 0 to 65535.")
    if chosen.with_launcher:
        from frontend.together import serve_together

        return serve_together(chosen.host, int(chosen.port), environ)
    try:
        _serve(chosen.host, int(chosen.port))
    except ConfigurationError as exc:
        print(exc, file=sys.stderr)
        return 2
    return 0


def _serve(host: str, port: int) -> None:
    try:
        from frontend.serving import Served, listen, url_of
    except ModuleNotFoundError as exc:
        raise ConfigurationError(f"{exc.name} is missing: pip install 'slipway[frontend,serve]'.") from None
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
