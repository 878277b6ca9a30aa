"""What a server of the tests is: a few processes on one loopback port, with their data and logs in one folder."""

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
    """A server of the tests does not do what it was told; the message says what its log said last."""


@dataclass(frozen=True)
class Command:
    """One program of a server. Of the tests' own environment it sees PATH alone."""

    name: str
    arguments: Sequence[str | Path]
    working_directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)


class Server(ABC):
    """A server that tests may stop, kill and pause; its port, and so its `url`, stay the same over restarts.

    Its processes die with the thread that called `start()`, so that a killed test run leaves none behind. Start it
    from the main thread.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.port = free_port()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find it."""

    @abstractmethod
    def _commands(self) -> Sequence[Command]:
        """Its programs, in the order in which they start."""

    @abstractmethod
    def _prepare_data(self) -> None:
        """Fill the data folder, which does not exist yet."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it serves clients by now."""

    @property
    def pids(self) -> list[int]:
        """Every process of it that is there, children included."""
        return [process.pid for process in self._family()]

    @property
    def running(self) -> bool:
        """Whether it was started and nothing of it has ended since."""
        return bool(self._processes) and not self._ended()

    def start(self, *, keep_data: bool = True) -> None:
        """Start it and wait until it answers; without `keep_data` it starts empty."""
        if self._processes:
            raise ServerError(f"{type(self).__name__} is started already: call stop() or kill() first.")
        if not keep_data and self.data.exists():
            shutil.rmtree(self.data)
        if not self.data.exists():
            self.directory.mkdir(parents=True, exist_ok=True)
            self._prepare_data()
        for command in self._commands():
            self._processes[command.name] = self._spawn(command)
        deadline = time.monotonic() + START_SECONDS
        while not (self._listens() and self._answers()):
            ended = self._ended()
            if ended or time.monotonic() > deadline:
                log = "\n".join(self._log_tail(name) for name in self._processes)
                self.kill()
                happened = f"{ended[0]} ended" if ended else f"did not answer within {START_SECONDS:.0f} seconds"
                raise ServerError(f"{type(self).__name__} on port {self.port}: {happened}.\n{log}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Ask it to end (SIGTERM), and end it (SIGKILL) if it does not."""
        self.resume()
        for process in reversed(self._processes.values()):
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                break
        self.kill()

    def kill(self) -> None:
        """End it as a crash would (SIGKILL), and wait until nothing of it is left."""
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
        """Let it go on after `pause()` (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def revive(self) -> None:
        """Bring it back to work, whatever a test did to it."""
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
                process_group=0,  # Ctrl-C is for pytest, which then stops its servers itself
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
        """Whether it is this server that has the port: another one that took it would answer just as well."""
        for process in self._processes.values():
            try:
                connections = psutil.Process(process.pid).net_connections("tcp4")
            except psutil.Error:
                continue
            if any(each.status == psutil.CONN_LISTEN and each.laddr.port == self.port for each in connections):
                return True
        return False

    def _ended(self) -> list[str]:
        return [name for name, process in self._processes.items() if process.poll() is not None]

    def _log(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def _log_tail(self, name: str) -> str:
        tail = self._log(name).read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
        return f"--- {name}.log\n{tail}"


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs: an ended process that its parent has not asked about (a zombie) does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def free_port() -> int:
    """Find a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
