"""The shim: a process between the launcher and a run's pipeline, which stops all processes of the run.

Usage: `python -I -S shim.py CHANNEL LAUNCHER GRACE [NAME=VALUE …] -- COMMAND …`, one process per run. It imports
little, so it starts in 20 ms. As a child subreaper, it stays the ancestor of everything that the pipeline starts,
daemons included. When the pipeline exits, on SIGTERM, or when the launcher dies, it stops all of that and exits. It
writes to the socket CHANNEL: `started` or `errno N`, then `exited N` with the pipeline's exit code, negative for a
signal. Its own exit code is 0 if no process is left.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # Linux, <linux/prctl.h>
_LAUNCHER_DIED = signal.SIGHUP
_HANDLED = (signal.SIGCHLD, signal.SIGTERM, _LAUNCHER_DIED)
_GRACE_WITHOUT_LAUNCHER_SECONDS = 0.5
_STOP_ROUNDS = 50
_IDLE_SECONDS = 3600.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.01, 1.0

TYPE_CHECKING = False  # importing it from typing takes 4 ms
if TYPE_CHECKING:
    from collections.abc import Collection

    Processes = dict[int, int]
    """Process ids, each with its start time, because ids are reused."""


def become_subreaper() -> None:
    """Become the parent of every descendant whose parent exits."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(ancestor: int, exempt: Collection[int] = (), since: int = 0) -> Processes:
    """Return the descendants that started at `since` or later, without `exempt` and their descendants."""
    starts: Processes = {}
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 (importing pathlib takes 7 ms)
        if name.isdigit() and (found := _parent_and_start(int(name))):
            parent, starts[int(name)] = found
            children.setdefault(parent, []).append(int(name))
    below: Processes = {}
    parents = [ancestor]
    while parents:
        for pid in children.get(parents.pop(), ()):
            if pid not in below and pid not in exempt and starts[pid] >= since:
                below[pid] = starts[pid]
                parents.append(pid)
    return below


def kill_descendants(ancestor: int, exempt: Collection[int] = (), since: int = 0) -> Processes:
    """Send SIGKILL to the descendants and return them. Call it until it returns none, because new ones can appear.

    They are all suspended first, so that none can start another or free its place in the user's process limit.
    """
    stopped: Processes = {}
    for _ in range(_STOP_ROUNDS):
        below = descendants(ancestor, exempt, since)
        running = {pid: start for pid, start in below.items() if stopped.get(pid) != start}
        if not running:
            break
        _send(signal.SIGSTOP, running)
        stopped |= running
    _send(signal.SIGKILL, stopped)
    return stopped


def _parent_and_start(pid: int) -> tuple[int, int] | None:
    try:
        file = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except OSError:
        return None
    try:
        fields = os.read(file, 4096).rpartition(b")")[2].split()  # the name before it can contain spaces and brackets
        return int(fields[1]), int(fields[19])
    except (OSError, IndexError):
        return None
    finally:
        os.close(file)


def _send(number: signal.Signals, processes: Processes) -> None:
    for pid, start in processes.items():
        found = _parent_and_start(pid)
        if found and found[1] == start:
            try:
                os.kill(pid, number)
            except OSError:
                continue  # it has exited, or belongs to another user (a setuid program)


class _Shim:
    def __init__(self, channel: int, launcher: int, grace_seconds: float) -> None:
        self._channel, self._launcher, self._grace_seconds = channel, launcher, grace_seconds
        self._pipeline = 0
        self._kill_at: float | None = None
        self._pause = _FIRST_PAUSE_SECONDS

    def run(self, command: list[str], environment: dict[str, str]) -> None:
        """Run the pipeline; return when no descendant is left."""
        self._prepare()
        try:
            self._pipeline = os.posix_spawnp(
                command[0],
                command,
                environment,
                file_actions=[(os.POSIX_SPAWN_DUP2, 1, 2)],
                setsid=True,
                setsigmask=(),
                setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),  # Python ignores them, and a program would inherit that
            )
        except OSError as exc:
            self._report(f"errno {exc.errno}")
            return
        os.dup2(0, 1)  # /dev/null, so that only the run holds the pipe for its output
        self._report("started")
        self._launcher_may_have_died()
        while self._reap():
            received = signal.sigtimedwait(_HANDLED, self._step())
            if received and received.si_signo == signal.SIGTERM:
                self._terminate(self._grace_seconds)
            elif received and received.si_signo == _LAUNCHER_DIED:
                self._launcher_may_have_died()

    def _prepare(self) -> None:
        os.set_inheritable(self._channel, False)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if it is ignored, exit codes are lost
        signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
        become_subreaper()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(_LAUNCHER_DIED), 0, 0, 0)

    def _reap(self) -> bool:
        """Reap the processes that have exited; return whether any is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._pipeline:
                self._report(f"exited {os.waitstatus_to_exitcode(status)}")
                self._terminate(self._grace_seconds)

    def _step(self) -> float:
        """Kill the remaining processes after the grace period; return how long to wait for a signal."""
        if self._kill_at is None:
            return _IDLE_SECONDS
        left = self._kill_at - time.monotonic()
        if left > 0:
            return left
        kill_descendants(os.getpid())
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
        return self._pause

    def _launcher_may_have_died(self) -> None:
        if os.getppid() != self._launcher:  # any process can send the signal
            self._terminate(min(self._grace_seconds, _GRACE_WITHOUT_LAUNCHER_SECONDS))

    def _terminate(self, grace_seconds: float) -> None:
        kill_at = time.monotonic() + grace_seconds
        if self._kill_at is not None:
            self._kill_at = min(self._kill_at, kill_at)
            return
        self._kill_at = kill_at
        below = descendants(os.getpid())
        _send(signal.SIGTERM, below)
        _send(signal.SIGCONT, below)  # a suspended process could not handle SIGTERM

    def _report(self, text: str) -> None:
        try:
            os.write(self._channel, text.encode() + b"\n")
        except OSError:
            return  # the launcher is dead


def main(arguments: list[str]) -> None:
    """Run the command after `--`, with the variables before it added to the environment."""
    channel, launcher, grace_seconds, *rest = arguments
    at = rest.index("--")
    added = dict(variable.split("=", 1) for variable in rest[:at])
    _Shim(int(channel), int(launcher), float(grace_seconds)).run(rest[at + 1 :], {**os.environ, **added})


if __name__ == "__main__":
    main(sys.argv[1:])
