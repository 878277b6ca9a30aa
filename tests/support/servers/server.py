"""The base of the test servers: processes on one loopback port, with their data and logs in one folder."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

START_SECONDS = 60.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.02
LOG_TAIL_BYTES = 4096
DIE_WITH_THE_TESTS = ("setpriv", "--pdeathsig", "KILL", "--") if sys.platform == "linux" else ()


class ServerError(RuntimeError):
    """A test server did not start or stop; the message ends with its last log lines."""


@dataclass(frozen=True)
class Command:
    """One program of a server. It inherits only PATH from the tests' environment."""

    name: str
    arguments: Sequence[str | Path]
    working_directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)


class Server(ABC):
    """A server that tests can stop, kill and pause; its port and `url` stay the same across restarts.

    Its processes are killed when the thread that called `start()` exits, so that a killed test run leaves none behind.
    Start it from the main thread.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.port = free_port()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL for clients."""

    @abstractmethod
    def _commands(self) -> Sequence[Command]:
        """Its programs, in start order."""

    @abstractmethod
    def _prepare_data(self) -> None:
        """Create and fill the data folder."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it serves clients."""

    @property
    def pids(self) -> list[int]:
        """All its running processes, including children."""
        return [process.pid for process in self._family()]

    @property
    def running(self) -> bool:
        """Whether it was started and all its programs are running."""
        return bool(self._processes) and not self._exited()

    def start(self, *, keep_data: bool = True) -> None:
        """Start it and wait until it answers; without `keep_data` it starts empty."""
        if self._processes:
            raise ServerError(f"{type(self).__name__} is already running: call stop() or kill() first.")
        if not keep_data and self.data.exists():
            shutil.rmtree(self.data)
        if not self.data.exists():
            self.directory.mkdir(parents=True, exist_ok=True)
            self._prepare_data()
        for command in self._commands():
            self._processes[command.name] = self._spawn(command)
        deadline = time.monotonic() + START_SECONDS
        while not (self._listens() and self._answers()):
            exited = self._exited()
            if exited or time.monotonic() > deadline:
                log = "\n".join(self._log_tail(name) for name in self._processes)
                self.kill()
                cause = f"{exited[0]} exited" if exited else f"did not answer within {START_SECONDS:.0f} seconds"
                raise ServerError(f"{type(self).__name__} on port {self.port}: {cause}.\n{log}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Stop it (SIGTERM), and kill it if it does not stop in time."""
        self.resume()
        for process in reversed(self._processes.values()):
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                break
        self.kill()

    def kill(self) -> None:
        """Kill it (SIGKILL), like a crash, and wait until all its processes have exited."""
        family = self._family()
        for member in family:
            try:
                member.kill()
            except psutil.NoSuchProcess:
                continue
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._processes.clear()
        deadline = time.monotonic() + STOP_SECONDS
        while alive := [member for member in family if is_alive(member)]:
            if time.monotonic() > deadline:
                raise ServerError(f"{type(self).__name__} cannot be killed: {alive}")
            time.sleep(POLL_SECONDS)

    def pause(self) -> None:
        """Make it hang (SIGSTOP): connections are accepted, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue after `pause()` (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def revive(self) -> None:
        """Make it work again, whatever a test did to it."""
        self.resume()
        if not self.running:
            self.kill()
            self.start()

    def _spawn(self, command: Command) -> subprocess.Popen[bytes]:
        with self._log(command.name).open("ab") as log:
            return subprocess.Popen(
                [*DIE_WITH_THE_TESTS, *command.arguments],
                cwd=command.working_directory,
                env={"PATH": os.environ["PATH"], **command.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,  # Ctrl-C should only reach pytest, which then stops its servers
            )

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes.values():
            process.send_signal(number)

    def _family(self) -> list[psutil.Process]:
        family: list[psutil.Process] = []
        for process in self._processes.values():
            try:
                parent = psutil.Process(process.pid)
                family += [parent, *parent.children(recursive=True)]
            except psutil.NoSuchProcess:
                continue
        return family

    def _listens(self) -> bool:
        """Whether this server listens on the port: another one that took it would answer, too."""
        for process in self._processes.values():
            try:
                connections = psutil.Process(process.pid).net_connections("tcp4")
            except psutil.Error:
                continue
            if any(each.status == psutil.CONN_LISTEN and each.laddr.port == self.port for each in connections):
                return True
        return False

    def _exited(self) -> list[str]:
        return [name for name, process in self._processes.items() if process.poll() is not None]

    def _log(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def _log_tail(self, name: str) -> str:
        tail = self._log(name).read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
        return f"--- {name}.log\n{tail}"


def is_alive(process: psutil.Process) -> bool:
    """Whether it is running; a zombie is not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def free_port() -> int:
    """Find an unused loopback port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
