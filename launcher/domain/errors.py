"""Everything Slipway refuses or fails at, as one tree.

SlipwayError
├── InvalidRequest            the caller asked for something that cannot be
│   ├── UnknownPipeline
│   └── IdempotencyConflict   the same key came with another request
├── NotFound
│   ├── RunNotFound
│   └── ArtifactNotFound
├── ArtifactForbidden         the file is another user's, or its mode denies reading
├── OutsideFolder             a path that leaves the run's artifacts
├── NotAuthenticated
├── NotAllowed                authenticated, but without the scope
├── QueueFull
├── TooManyCalls
│   └── TooManyStreams        one ticket has its streams open already
├── StreamsFull               all streams that there may be are open
├── ArchiveUnavailable        the archive's disk does not answer
├── StoreUnavailable          Redis or MongoDB does not answer; always retried
├── ClusterError              what Kubernetes answered is not what was asked for
│   ├── ClusterUnavailable    it does not answer, or cannot now; always retried
│   ├── ObjectMissing
│   ├── ObjectExists
│   └── ObjectChanged         somebody else was faster: look again
├── ConfigurationError        the settings are wrong; the launcher does not start
└── IllegalTransition         a fault in Slipway itself: a state change that cannot be

A class's docstring is its default message, written for the person who meets it. The HTTP status of each is chosen in
one table, in `launcher.api.problems`.
"""

from __future__ import annotations


class SlipwayError(Exception):
    """Something went wrong in Slipway."""

    def __init__(self, message: str | None = None) -> None:
        self.message = message or (self.__doc__ or "").strip()
        super().__init__(self.message)


class InvalidRequest(SlipwayError):
    """The request cannot be carried out as it is."""


class UnknownPipeline(InvalidRequest):
    """There is no such pipeline."""


class IdempotencyConflict(InvalidRequest):
    """This Idempotency-Key was used with another request: send a new key for a new run."""


class NotFound(SlipwayError):
    """There is no such thing."""


class RunNotFound(NotFound):
    """There is no such run: it may be mistyped, or older than the retention. GET /jobs lists those there are."""


class ArtifactNotFound(NotFound):
    """This run has no such artifact."""


class ArtifactForbidden(SlipwayError):
    """The launcher has no permission to read this file. Let the pipeline make it readable for its own user."""


class OutsideFolder(SlipwayError):
    """This path leads out of the run's artifacts."""


class NotAuthenticated(SlipwayError):
    """Send 'Authorization: Bearer' with RUNNER_API_SECRET or a token signed with it."""


class NotAllowed(SlipwayError):
    """This token does not carry the scope that the call needs."""


class QueueFull(SlipwayError):
    """The queue is full: try again when runs have ended, or raise MAX_QUEUED."""


class TooManyCalls(SlipwayError):
    """Too many calls with this credential: slow down, or raise RATE_LIMIT_PER_MINUTE."""


class TooManyStreams(TooManyCalls):
    """This ticket has as many streams open as it may: close one, or ask for another ticket."""


class StreamsFull(SlipwayError):
    """As many streams are open as the launcher serves: try again soon, or raise MAX_STREAMS."""


class ArchiveUnavailable(SlipwayError):
    """The archive's disk does not answer: try again soon, and check ARCHIVE_DIR."""


class StoreUnavailable(SlipwayError):
    """A store does not answer."""


class ClusterError(SlipwayError):
    """Kubernetes refused the request."""


class ClusterUnavailable(ClusterError):
    """Kubernetes does not answer: try again soon. Runs that are there go on meanwhile."""


class ObjectMissing(ClusterError):
    """Kubernetes has no such object."""


class ObjectExists(ClusterError):
    """Kubernetes has an object of this name already."""


class ObjectChanged(ClusterError):
    """The Kubernetes object has changed meanwhile."""


class ConfigurationError(SlipwayError):
    """The settings are wrong."""


class IllegalTransition(SlipwayError):
    """A run cannot change like this."""
