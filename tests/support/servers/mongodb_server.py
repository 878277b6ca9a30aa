"""A MongoDB server for tests: FerretDB, which speaks MongoDB's protocol, on PostgreSQL with DocumentDB.

Its PostgreSQL is extracted from a newer Debian than the machine's. It is started with that Debian's dynamic loader and
libraries, so that neither a chroot nor privileges are needed. Nothing writes to the installation; each server has its
own data directory, copied from a template.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from servers.server import Command, Server, ServerError

INSTALL = Path(__file__).with_name("install")
NOBODY = 65534

# PostgreSQL refuses to run as root, so root runs it as nobody. Only root can access the cache and the tests' folders,
# so nobody gets a capability to bypass file permissions; access(2), which it uses, respects that with the secure bit.
AS_NOBODY = (
    "setpriv", "--pdeathsig", "KILL", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
    "--securebits=+no_setuid_fixup", "--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override", "--",
)  # fmt: skip


class MongodbServer(Server):
    """A MongoDB 7 without authentication. `stop()` gives connected clients three seconds to disconnect."""

    @property
    def url(self) -> str:
        """The URL for clients."""
        return f"mongodb://127.0.0.1:{self.port}/"

    @cached_property
    def _installation(self) -> Path:
        where = subprocess.run([INSTALL, "--where"], check=True, capture_output=True, text=True).stdout.strip()
        if not Path(where).is_dir():
            raise ServerError("No MongoDB is installed for the tests: run `make servers`, or set MONGODB_TEST_URI.")
        return Path(where)

    def _commands(self) -> Sequence[Command]:
        return [self._postgresql(), self._ferretdb()]

    def _postgresql(self) -> Command:
        usr = self._installation / "postgresql" / "usr"
        (home,) = (usr / "lib" / "postgresql").iterdir()
        (libraries,) = (usr / "lib").glob("*-linux-gnu")
        (loader,) = libraries.glob("ld-linux-*.so.*")
        path = [libraries, libraries / "blas", libraries / "lapack", home / "lib"]
        return Command(
            "postgresql",
            [
                *(AS_NOBODY if os.geteuid() == 0 else ()),
                *(loader, "--library-path", ":".join(map(str, path))),
                *(home / "bin" / "postgres", "-D", self.data),
            ],
            self.directory,
            {"PROJ_DATA": str(usr / "share" / "proj")},
        )

    def _ferretdb(self) -> Command:
        return Command(
            "ferretdb",
            [
                self._installation / "ferretdb",
                "--postgresql-url=postgres://postgres@/postgres?host=/proc/self/cwd",  # the socket in the data folder
                f"--listen-addr=127.0.0.1:{self.port}",
                "--debug-addr=-",
                f"--state-dir={self.directory}",
                "--no-auth",
                "--telemetry=disable",
            ],
            self.data,
        )

    def _prepare_data(self) -> None:
        shutil.copytree(self._installation / "template", self.data)
        if os.geteuid() == 0:
            for path in (self.data, *self.data.rglob("*")):
                os.chown(path, NOBODY, NOBODY)

    def _answers(self) -> bool:
        client: MongoClient[dict[str, Any]]
        with MongoClient(self.url, serverSelectionTimeoutMS=200, socketTimeoutMS=1000) as client:
            try:
                client.admin.command("ping")
            except PyMongoError:
                return False
            return True
