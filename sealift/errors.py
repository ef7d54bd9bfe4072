"""What can go wrong, as types: one root, and one class for each exit code of a program.

A message is one lower-case sentence without a final period; a hint says what to do next.
"""

from __future__ import annotations


class SealiftError(Exception):
    """The root of every failure that a person should read.

    Args:
        message: what happened, in one sentence.
        hint: what the reader can do about it.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.hint)


def _rebuild(kind: type[SealiftError], message: str, hint: str | None) -> SealiftError:
    error = kind.__new__(kind)
    SealiftError.__init__(error, message, hint=hint)
    return error


class UsageError(SealiftError):
    """The command was called wrongly, or a document does not validate."""

    exit_code = 2


class SourceError(SealiftError):
    """A source could not be collected."""

    exit_code = 3


class MalformedError(SealiftError):
    """Input does not have the form that its format demands."""

    exit_code = 4


class IntegrityError(SealiftError):
    """A digest does not match."""

    exit_code = 5


class TrustError(SealiftError):
    """A signature, a threshold, an expiry, a version or a root is not acceptable."""

    exit_code = 6


class PolicyError(SealiftError):
    """A policy refuses."""

    exit_code = 7


class StoreError(SealiftError):
    """The store or the disk failed: full, read-only, locked, unreadable."""

    exit_code = 8


class DeployError(SealiftError):
    """A deployment failed, and the former release serves."""

    exit_code = 9


class StrandedError(SealiftError):
    """A deployment failed and could not be returned: a person is needed."""

    exit_code = 10
