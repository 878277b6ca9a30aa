"""Slipway's errors, as one tree.

SlipwayError
├── InvalidRequest            the request cannot be carried out
│   ├── UnknownPipeline
│   └── IdempotencyConflict   the key was used with a different request
├── NotFound
│   ├── RunNotFound
│   └── ArtifactNotFound
├── ArtifactForbidden         the file's owner or mode denies the launcher access
├── OutsideFolder             the path leads outside the run's folder
├── NotAuthenticated
├── NotAllowed                authenticated, but without the required scope
├── QueueFull
├── TooManyCalls
│   └── TooManyStreams        the ticket has reached its limit of open streams
├── StreamsFull               the launcher has reached its limit of open streams
├── ArchiveUnavailable        the archive's disk does not answer
├── StoreUnavailable          Redis or MongoDB does not answer; always retried
├── ClusterError              Kubernetes refused a request
│   ├── ClusterUnavailable    Kubernetes does not answer or is overloaded; always retried
│   ├── ObjectMissing
│   ├── ObjectExists
│   └── ObjectChanged         a conflict: read the object again
├── ConfigurationError        the settings are not valid; the launcher does not start
└── IllegalTransition         a bug in Slipway: a change of state that a run cannot make

A class's docstring is its default message to users. One table in `launcher.api.problems` maps each class to its HTTP
status.
"""

from __future__ import annotations


class SlipwayError(Exception):
    """Slipway failed."""

    def __init__(self, message: str | None = None) -> None:
        self.message = message or (self.__doc__ or "").strip()
        super().__init__(self.message)


class InvalidRequest(SlipwayError):
    """The request is not valid."""


class UnknownPipeline(InvalidRequest):
    """Pipeline not found."""


class IdempotencyConflict(InvalidRequest):
    """This Idempotency-Key was used with a different request. Use a new key for a new run."""


class NotFound(SlipwayError):
    """Not found."""


class RunNotFound(NotFound):
    """Run not found. `GET /jobs` lists the runs that exist."""


class ArtifactNotFound(NotFound):
    """Artifact not found. `GET /jobs/{run_id}/status` lists the run's artifacts."""


class ArtifactForbidden(SlipwayError):
    """The launcher has no permission to read this file. Let the pipeline make the file readable by its own user."""


class OutsideFolder(SlipwayError):
    """This path leads outside the run's artifacts."""


class NotAuthenticated(SlipwayError):
    """The credential is missing or not valid. Send RUNNER_API_SECRET, or a token signed with it, as a bearer token."""


class NotAllowed(SlipwayError):
    """This token does not have the required scope."""


class QueueFull(SlipwayError):
    """The queue is full. Try again when runs have finished, or raise MAX_QUEUED."""


class TooManyCalls(SlipwayError):
    """Too many requests with this credential. Slow down, or raise RATE_LIMIT_PER_MINUTE."""


class TooManyStreams(TooManyCalls):
    """Too many open streams with this ticket. Close one, or request another ticket."""


class StreamsFull(SlipwayError):
    """Too many open streams. Try again later, or raise MAX_STREAMS."""


class ArchiveUnavailable(SlipwayError):
    """The archive's disk does not answer. Try again later, and check ARCHIVE_DIR."""


class StoreUnavailable(SlipwayError):
    """A store does not answer."""


class ClusterError(SlipwayError):
    """Kubernetes refused the request."""


class ClusterUnavailable(ClusterError):
    """Kubernetes does not answer. Try again later; existing runs continue."""


class ObjectMissing(ClusterError):
    """The Kubernetes object does not exist."""


class ObjectExists(ClusterError):
    """A Kubernetes object with this name already exists."""


class ObjectChanged(ClusterError):
    """The Kubernetes object was changed in the meantime."""


class ConfigurationError(SlipwayError):
    """The settings are not valid."""


class IllegalTransition(SlipwayError):
    """A run cannot make this change of state."""
