"""Writing: a token form becomes the very deflate stream that it was parsed from.

What each token is in bits stands in one table for each block, so that no loop goes over the tokens: their bits are
joined as text, and the text is read as a number. A form that nobody parsed gives some other bytes, or is refused.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from .alphabet import (
    BLOCK,
    BLOCK_MIN,
    BLOCKS_FREE,
    DISTANCE,
    DISTANCE_EXTRA,
    DISTANCES,
    DYNAMIC,
    END,
    FIXED_LENGTHS,
    LENGTH_EXTRA,
    LENGTH_STARTS,
    LITERALS,
    NUMBERS,
    ORDER,
    REPEATS,
    STORED,
    TokensError,
    codes,
    repeat,
)

VERSION = 1
"""Of the alphabet."""
_BEGINS = re.compile(f"[{chr(BLOCK)}-{chr(BLOCK + 2 * DYNAMIC + 1)}]")
"""What a block begins with."""
_PIECE = 64 << 10
"""Tokens that are written at a time."""


class Tokens(NamedTuple):
    """The way of a member that travels as tokens."""

    version: int = VERSION

    @property
    def name(self) -> str:
        """What deflates."""
        return "sealift"

    @property
    def known(self) -> bool:
        """Whether this reader knows the alphabet."""
        return self.version == VERSION

    def deflate(self, content: Iterable[bytes | memoryview], size: int, room: Path) -> Iterator[bytes]:
        """Yield the raw deflate stream of a token form, in pieces. It needs neither its size nor a room.

        Raises:
            TokensError: it is no token form.
        """
        text = _Text(content)
        rest = ""
        blocks = written = last = 0
        while begin := text.begin():
            blocks += 1
            if last or blocks > BLOCKS_FREE + (written + bool(rest)) // BLOCK_MIN:
                raise TokensError("has more blocks than a reader takes, or one behind the last")
            kind, last = divmod(ord(begin) - BLOCK, 2)
            rest += f"{last}{_bits(kind, 2)}"
            if kind == STORED:
                out = _stored(text, rest)
                rest = ""
                written += len(out)
                yield out
                continue
            head, table = _header(text) if kind == DYNAMIC else ("", _Table(*FIXED_LENGTHS))
            rest += head
            if not (tokens := text.tokens()):
                raise TokensError("has a block without an end")
            while tokens:
                numbers = memoryview(tokens.encode(NUMBERS)).cast("H")
                rest += "".join(map(table.__getitem__, numbers))
                whole = len(rest) & ~7
                out = _bytes(rest[:whole])
                rest = rest[whole:]
                written += len(out)
                yield out
                tokens = text.tokens()
        if not last:
            raise TokensError("ends too early")
        yield _bytes(rest)


def _bits(value: int, count: int) -> str:
    """A number in bits, the lowest first."""
    return f"{value:0{count}b}"[::-1] if count else ""


def _bytes(bits: str) -> bytes:
    """Bits, the first one the lowest of its byte, filled up with zeros."""
    return int(bits[::-1] or "0", 2).to_bytes((len(bits) + 7) // 8, "little")


def _stored(text: _Text, bits: str) -> bytes:
    """A stored block, behind the first bits of its header and those of the block before."""
    size = text.take_byte() | text.take_byte() << 8
    head = _bytes(bits) + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little")
    try:
        return head + text.take(size).encode("latin-1")
    except UnicodeEncodeError as error:
        raise TokensError("has a token among stored bytes") from error


def _header(text: _Text) -> tuple[str, _Table]:
    """What a block's header says in bits, and the codes of its tokens."""
    said: list[str] = []

    def take(count: int) -> int:
        value = text.take_byte()
        if value >> count:
            raise TokensError("has a number in a header that does not fit there")
        said.append(_bits(value, count))
        return value

    literals, distances, few = take(5) + LITERALS, take(5) + DISTANCES, take(4) + 4
    coded = [0] * len(ORDER)
    for symbol in ORDER[:few]:
        coded[symbol] = take(3)
    known = dict(codes(coded))
    lengths: list[int] = []
    while len(lengths) < literals + distances:
        symbol = text.take_byte()
        if symbol not in known:
            raise TokensError("has a symbol in a header that has no code")
        said.append(known[symbol])
        repeat(lengths, symbol, take(REPEATS[symbol][0]) if symbol in REPEATS else 0, literals + distances)
    return "".join(said), _Table(lengths[:literals], lengths[literals:])


class _Table(dict[int, str]):
    """The bits of each token of a block. Those of distances are made when they are asked for: there are many."""

    def __init__(self, literals: Iterable[int], distances: Iterable[int]) -> None:
        super().__init__()
        self._known = _distances()
        self._distances = dict(codes(tuple(distances)))
        for symbol, bits in codes(tuple(literals)):
            length = symbol - LITERALS
            if length < 0:
                self[symbol if length < -1 else END] = bits
            elif length < len(LENGTH_EXTRA):
                start, extra = LENGTH_STARTS[length], LENGTH_EXTRA[length]
                self.update((start + more, bits + said) for more, said in enumerate(_extra(extra)))

    def __missing__(self, token: int) -> str:
        try:
            symbol, extra = self._known[token]
            bits = self[token] = self._distances[symbol] + extra
        except (IndexError, KeyError):
            raise TokensError("has a token without a code") from None
        return bits


@cache
def _extra(count: int) -> tuple[str, ...]:
    return tuple(_bits(more, count) for more in range(1 << count))


@cache
def _distances() -> tuple[tuple[int, str], ...]:
    """The symbol of each token that is a distance, and its extra bits, by the token; of others, a symbol of no code."""
    each = ((symbol, said) for symbol, extra in enumerate(DISTANCE_EXTRA) for said in _extra(extra))
    return (*[(-1, "")] * (DISTANCE + 1), *each)


class _Text:
    """The characters of a form, as it flows by."""

    def __init__(self, form: Iterable[bytes | memoryview]) -> None:
        self._form = iter(form)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._held = ""
        self._place = 0

    def begin(self) -> str:
        """What the next block begins with; nothing at the end.

        Raises:
            TokensError: it is something else.
        """
        if not self._reach(1):
            return ""
        begin = self.take(1)
        if not _BEGINS.match(begin):
            raise TokensError("does not begin a block where it has to")
        return begin

    def take(self, count: int) -> str:
        """The next characters.

        Raises:
            TokensError: there are no more.
        """
        if not self._reach(count):
            raise TokensError("ends too early")
        taken = self._held[self._place : self._place + count]
        self._place += count
        return taken

    def take_byte(self) -> int:
        """The next character as a number below 256.

        Raises:
            TokensError: it is none, or there are no more.
        """
        value = ord(self.take(1))
        if value > 0xFF:
            raise TokensError("has a token in a header")
        return value

    def tokens(self) -> str:
        """The next tokens of the block; none at its end."""
        if not self._reach(1):
            return ""
        end = min(len(self._held), self._place + _PIECE)
        behind = _BEGINS.search(self._held, self._place, end)
        return self.take((behind.start() if behind else end) - self._place)

    def _reach(self, count: int) -> bool:
        """Whether so many characters are held, or come."""
        while len(self._held) - self._place < count:
            piece = next(self._form, None)
            try:
                more = self._decoder.decode(bytes(piece or b""), final=piece is None)
            except UnicodeDecodeError as error:
                raise TokensError("is no text") from error
            self._held = self._held[self._place :] + more
            self._place = 0
            if piece is None:
                return len(self._held) >= count
        return True
