"""What can go wrong, and the exit code that says so.

PipelineError                 exit code 1
├── PostingUnreadableError    exit code 1
├── PostingsUnreachableError  exit code 1
├── ProfileUnreadableError    exit code 2
├── PostingNotFoundError      exit code 3
├── MasterCvMissingError      exit code 4
├── ModelRefusedError         exit code 5
└── ModelUnavailableError     none: the pipeline goes on without the model, and says so
"""

from __future__ import annotations

from typing import ClassVar

EXIT_OK = 0
EXIT_FAULT = 1
EXIT_USAGE = 2
EXIT_NO_POSTING = 3
EXIT_NO_MASTER_CV = 4
EXIT_MODEL_REFUSED = 5


class PipelineError(Exception):
    """A fault that one sentence explains; the sentence is the message."""

    exit_code: ClassVar[int] = EXIT_FAULT
    explained: ClassVar[bool] = False  # True: the sentence says it all, and a traceback would only hide it


class PostingUnreadableError(PipelineError):
    """The posting was found, but what stands there is no posting."""


class PostingsUnreachableError(PipelineError):
    """MongoDB, where the postings are, does not answer or refuses."""


class ProfileUnreadableError(PipelineError):
    """The file of the profile is no YAML, or a field of it is wrong; the message names both."""

    exit_code = EXIT_USAGE
    explained = True


class PostingNotFoundError(PipelineError):
    """There is no posting with this id; the message says where it was sought and which exist."""

    exit_code = EXIT_NO_POSTING
    explained = True


class MasterCvMissingError(PipelineError):
    """The master CV is not there, or nothing is in it."""

    exit_code = EXIT_NO_MASTER_CV
    explained = True


class ModelRefusedError(PipelineError):
    """The model's provider refuses this configuration: wrong key, unknown model. Trying again changes nothing."""

    exit_code = EXIT_MODEL_REFUSED
    explained = True


class ModelUnavailableError(PipelineError):
    """The model gave no usable answer: it is down, its quota is spent, or what it says is not what was asked for."""

    explained = True
