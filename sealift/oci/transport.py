"""What carries a request to a server: given to the client by whoever may open connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from .address import Address

PIECE = 1 << 20
"""Bytes that are read of a body at once."""


class Broken(Exception):
    """There was no answer, or it ended early.

    Args:
        reason: what happened, as a part of a sentence.
        hint: what helps.
        lasting: whether another attempt would meet the same.
    """

    def __init__(self, reason: str, *, hint: str | None = None, lasting: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.lasting = lasting


class Body(Protocol):
    """What is sent, and may have to be sent again."""

    length: int
    """Bytes."""

    def pieces(self, start: int = 0) -> Iterator[bytes | memoryview]:
        """The content from the byte `start` on, piece by piece."""


class Answer(Protocol):
    """What a server answers; its body is read as it comes."""

    status: int

    def header(self, name: str) -> str | None:
        """A header's value; None where it is not there."""

    def read(self) -> bytes:
        """The next bytes of the body, up to `PIECE`; none at its end.

        Raises:
            Broken: the connection did.
        """


class Transport(Protocol):
    """Sends one request, and follows no redirect. It may be used by several threads at once.

    To an address that another host led to (`Address.led`) nothing is sent where it `is_here`; through a proxy it is
    the proxy that knows.
    """

    def send(
        self, method: str, address: Address, headers: Mapping[str, str], body: Iterator[bytes | memoryview] | None
    ) -> AbstractContextManager[Answer]:
        """The answer, its body unread. A body goes with the header Content-Length.

        Raises:
            Broken: there was none.
        """


class Content:
    """A `Body` of bytes that are at hand."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.length = len(content)

    def pieces(self, start: int = 0) -> Iterator[bytes | memoryview]:
        """The content from `start` on."""
        yield memoryview(self._content)[start:]


class Streamed:
    """A `Body` that a function yields anew from any byte on."""

    def __init__(self, length: int, source: Callable[[int], Iterator[bytes | memoryview]]) -> None:
        self.length = length
        self._source = source

    def pieces(self, start: int = 0) -> Iterator[bytes | memoryview]:
        """The content from `start` on."""
        return self._source(start)
