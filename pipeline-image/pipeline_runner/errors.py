"""The pipeline's errors and their exit codes.

PipelineError                 exit code 1
├── PostingUnreadableError    exit code 1
├── PostingsUnreachableError  exit code 1
├── PostingNotFoundError      exit code 3
├── MasterCvMissingError      exit code 4
├── ModelRefusedError         exit code 5
├── ProfileNotUsableError     exit code 6
└── ModelUnavailableError     none: the run continues without the model
"""

from __future__ import annotations

from typing import ClassVar

EXIT_OK = 0
EXIT_FAILURE = 1
# 2 is a usage error, as in Python and argparse: a wrong working directory ends with it too.
EXIT_NO_POSTING = 3
EXIT_NO_MASTER_CV = 4
EXIT_MODEL_REFUSED = 5
EXIT_PROFILE_NOT_USABLE = 6


class PipelineError(Exception):
    """An error with a sentence for people as its message."""

    exit_code: ClassVar[int] = EXIT_FAILURE
    explained: ClassVar[bool] = False  # True: the sentence is enough, so no traceback is printed


class PostingUnreadableError(PipelineError):
    """The posting was found but is invalid."""


class PostingsUnreachableError(PipelineError):
    """MongoDB, which holds the postings, does not respond or rejects the query."""


class PostingNotFoundError(PipelineError):
    """No posting has this id; the message says where it was searched for and which ids exist."""

    exit_code = EXIT_NO_POSTING
    explained = True


class MasterCvMissingError(PipelineError):
    """The master CV is missing or empty."""

    exit_code = EXIT_NO_MASTER_CV
    explained = True


class ModelRefusedError(PipelineError):
    """The model's provider rejects the configuration, such as the key or the model. Retrying does not help."""

    exit_code = EXIT_MODEL_REFUSED
    explained = True


class ProfileNotUsableError(PipelineError):
    """The profile is unknown or invalid; the message lists the available ones, or names file and field."""

    exit_code = EXIT_PROFILE_NOT_USABLE
    explained = True


class ModelUnavailableError(PipelineError):
    """The model gave no usable answer: it is down, the quota is used up, or the answer is invalid."""

    explained = True
