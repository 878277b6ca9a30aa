"""A Redis server for tests."""

import shutil
from collections.abc import Sequence

import redis

from servers.server import Command, Server, ServerError


class RedisServer(Server):
    """A Redis that persists data as in production: an append-only file, flushed to disk every second.

    Acknowledged writes survive `kill()`, unless the disk is so slow that a flush is still in progress: Redis then
    delays up to two seconds of writes.
    """

    @property
    def url(self) -> str:
        """The URL for clients: database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    def _commands(self) -> Sequence[Command]:
        program = shutil.which("redis-server")
        if program is None:
            raise ServerError("redis-server is not installed: run `make servers`.")
        options = {
            "--bind": "127.0.0.1",
            "--port": str(self.port),
            "--dir": str(self.data),
            "--appendonly": "yes",
            "--appendfsync": "everysec",
            "--save": "",
        }
        return [Command("redis", [program, *(word for option in options.items() for word in option)], self.directory)]

    def _prepare_data(self) -> None:
        self.data.mkdir()

    def _answers(self) -> bool:
        with redis.Redis.from_url(self.url, socket_timeout=1, socket_connect_timeout=1) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False
