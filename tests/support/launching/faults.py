"""Raises one unexpected exception at one call of a method."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any


class UnexpectedFault(Exception):
    """An exception that no code expects."""


class Faults:
    """Fails the `nth` call of the method `target`, such as `archive.put`, and counts all calls."""

    def __init__(self, target: str, nth: int = 1) -> None:
        self.calls: Counter[str] = Counter()
        self._target, self._nth = target, nth

    def watch(self, owner: Any, name: str, methods: Sequence[str]) -> None:
        """Count the calls of an object's methods, and fail the chosen one."""
        for method in methods:
            setattr(owner, method, self._counted(getattr(owner, method), f"{name}.{method}"))

    @property
    def happened(self) -> bool:
        """Whether the call has failed."""
        return self.calls[self._target] >= self._nth

    def _counted(self, method: Callable[..., Any], label: str) -> Callable[..., Any]:
        def count() -> None:
            self.calls[label] += 1
            if label == self._target and self.calls[label] == self._nth:
                raise UnexpectedFault(f"{label}, call {self._nth}")

        if inspect.iscoroutinefunction(method):

            async def counted_async(*args: Any, **kwargs: Any) -> Any:
                count()
                return await method(*args, **kwargs)

            return counted_async

        def counted(*args: Any, **kwargs: Any) -> Any:
            count()
            return method(*args, **kwargs)

        return counted
