"""Parsing: a deflate stream becomes its token form, block by block, with little of it held.

The loop follows tables: the next bits of the stream are a position in one, where it says how many of them are used,
which character that is, and which table is next. What a code does not say is a table of its own: its extra bits.
A number holds the next bits, below a bit that is always 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from .alphabet import (
    BLOCK,
    BLOCK_MIN,
    BLOCKS_FREE,
    DISTANCE_EXTRA,
    DISTANCE_STARTS,
    DISTANCES,
    DYNAMIC,
    END,
    FIXED_LENGTHS,
    LENGTH_EXTRA,
    LENGTH_STARTS,
    LITERALS,
    ORDER,
    REPEATS,
    STORED,
    TokensError,
    codes,
    repeat,
)

_STEP = 32
"""Bytes that are taken of the stream at a time."""
_FULL = 1 << (8 * _STEP)
_ENOUGH = 0xFFFF
"""What holds as many bits as any table asks for is greater."""
_BITS = 10
"""Bits that the tables of codes are asked by; longer codes have further tables."""
_MASK = (1 << _BITS) - 1
_HELD = 1 << 16
"""Tokens that are held at most."""

Entry: TypeAlias = "tuple[int, str, int, Table]"
Table: TypeAlias = "list[Entry]"


class Parser:
    """Takes deflate streams apart, one after the other."""

    def __init__(self) -> None:
        self._literals: Table = []
        self._distances: Table = []
        self._ended: Table = []
        self._lost: Table = []
        self._nothing: Entry = (0, "", 0, self._lost)
        self._extras: dict[int, Table] = {}
        self.taken = 0
        """Bytes of the stream before the block that is parsed, the last one perhaps in part."""

    def parse(self, compressed: Iterable[bytes | memoryview]) -> Iterator[bytes]:
        """Yield the token form of a raw deflate stream, in pieces; another one may be parsed when it is at its end.

        Args:
            compressed: all of the stream and nothing else, in pieces.

        Raises:
            TokensError: it is no such stream, or one of very many blocks.
        """
        try:
            yield from self._blocks(_Bits(compressed))
        finally:
            # Tables refer to each other, and nobody looks for such cycles in a worker.
            self._literals.clear()
            self._distances.clear()

    def _blocks(self, bits: _Bits) -> Iterator[bytes]:
        blocks = last = 0
        while not last:
            blocks += 1
            self.taken = bits.taken
            if blocks > BLOCKS_FREE + self.taken // BLOCK_MIN:
                raise TokensError("has more blocks than a reader takes")
            last, kind = bits.take(1), bits.take(2)
            if kind > DYNAMIC:
                raise TokensError("has a block of no known type")
            text = [chr(BLOCK + 2 * kind + last)]
            if kind == STORED:
                yield "".join([*text, *_stored(bits)]).encode()
                continue
            self._prepare(*(_lengths(bits, text) if kind == DYNAMIC else FIXED_LENGTHS))
            yield from self._tokens(bits, text)
        bits.finish()

    def _tokens(self, bits: _Bits, text: list[str]) -> Iterator[bytes]:
        """The tokens of a block behind its header."""
        table, mask = self._literals, _MASK
        held, data, place = bits.held, bits.data, bits.place
        try:
            while True:
                while held > _ENOUGH:
                    count, token, mask, table = table[held & mask]
                    held >>= count
                    text.append(token)
                if len(data) - place < _STEP:
                    data, place = bits.more(place), 0
                have = held.bit_length() - 1
                held ^= (int.from_bytes(data[place : place + _STEP], "little") | _FULL) << have ^ 1 << have
                place += _STEP
                if len(text) > _HELD:
                    yield "".join(text).encode()
                    text.clear()
        except IndexError:
            if table is self._lost:
                raise TokensError("has bits that are no code") from None
        bits.held, bits.data, bits.place = held, data, place
        yield "".join(text).encode()

    def _prepare(self, literals: Sequence[int], distances: Sequence[int]) -> None:
        self._fill(self._literals, ((bits, self._literal(symbol, len(bits))) for symbol, bits in codes(literals)))
        self._fill(self._distances, ((bits, self._distance(symbol, len(bits))) for symbol, bits in codes(distances)))

    def _fill(self, table: Table, entries: Iterable[tuple[str, Entry]]) -> None:
        table[:] = [self._nothing] * (1 << _BITS)
        longer: dict[str, list[tuple[str, Entry]]] = {}
        for bits, entry in entries:
            if len(bits) > _BITS:
                longer.setdefault(bits[:_BITS], []).append((bits[_BITS:], (len(bits) - _BITS, *entry[1:])))
            else:
                _enter(table, bits, entry)
        for bits, rest in longer.items():
            more = max(len(each) for each, _ in rest)
            further = [self._nothing] * (1 << more)
            for each, entry in rest:
                _enter(further, each, entry)
            _enter(table, bits, (_BITS, "", len(further) - 1, further))

    def _literal(self, symbol: int, length: int) -> Entry:
        if symbol < LITERALS - 1:
            return length, chr(symbol), _MASK, self._literals
        if symbol < LITERALS:
            return length, chr(END), 0, self._ended
        symbol -= LITERALS
        if symbol >= len(LENGTH_EXTRA):
            return self._nothing
        return self._said(length, LENGTH_STARTS[symbol], LENGTH_EXTRA[symbol], self._distances)

    def _distance(self, symbol: int, length: int) -> Entry:
        if symbol >= len(DISTANCE_EXTRA):
            return self._nothing
        return self._said(length, DISTANCE_STARTS[symbol], DISTANCE_EXTRA[symbol], self._literals)

    def _said(self, length: int, start: int, extra: int, following: Table) -> Entry:
        """What a code says, or the table of its extra bits, made when it is first needed."""
        if not extra:
            return length, chr(start), _MASK, following
        if start not in self._extras:
            self._extras[start] = [(extra, chr(start + more), _MASK, following) for more in range(1 << extra)]
        return length, "", (1 << extra) - 1, self._extras[start]


def _enter(table: Table, bits: str, entry: Entry) -> None:
    """Let a table have an entry wherever the lowest bits are those of a code."""
    count = 1 << len(bits)
    table[int(bits[::-1], 2) :: count] = [entry] * (len(table) // count)


def _stored(bits: _Bits) -> Iterator[str]:
    """The header and the content of a stored block."""
    bits.align()
    size, other = bits.take(16), bits.take(16)
    if size ^ other != 0xFFFF:
        raise TokensError("has a stored block of no size")
    yield chr(size & 0xFF)
    yield chr(size >> 8)
    yield bits.raw(size).decode("latin-1")


def _lengths(bits: _Bits, text: list[str]) -> tuple[list[int], list[int]]:
    """Bits of a block's codes, by its header, which is added to the text."""

    def take(count: int) -> int:
        value = bits.take(count)
        text.append(chr(value))
        return value

    literals, distances, few = take(5) + LITERALS, take(5) + DISTANCES, take(4) + 4
    coded = [0] * len(ORDER)
    for symbol in ORDER[:few]:
        coded[symbol] = take(3)
    symbols = {code: symbol for symbol, code in codes(coded)}
    lengths: list[int] = []
    while len(lengths) < literals + distances:
        code = ""
        while code not in symbols:
            code += "1" if bits.take(1) else "0"
            if len(code) > 7:
                raise TokensError("has bits that are no code")
        symbol = symbols[code]
        text.append(chr(symbol))
        repeat(lengths, symbol, take(REPEATS[symbol][0]) if symbol in REPEATS else 0, literals + distances)
    return lengths[:literals], lengths[literals:]


class _Bits:
    """The bits of a stream. Behind its end are zeros, of which no more is taken than what is looked at ahead."""

    def __init__(self, compressed: Iterable[bytes | memoryview]) -> None:
        self._pieces = iter(compressed)
        self._fed = self._padding = 0
        self.held = 1
        """The next bits, the first one lowest, and a 1 above them."""
        self.data = b""
        self.place = 0
        """Where in `data` the bits behind those begin."""

    @property
    def taken(self) -> int:
        """Bytes that are used, the last one perhaps in part."""
        return self._fed + self._padding - (len(self.data) - self.place) - (self.held.bit_length() - 1) // 8

    def more(self, place: int) -> bytes:
        """Let `data` begin at `place`, and hold enough for a step; return it.

        Raises:
            TokensError: the stream has ended long before.
        """
        held = [self.data[place:]]
        size = len(held[0])
        while size < _STEP:
            piece = next(self._pieces, None)
            if piece is None:
                if self._padding:
                    raise TokensError("ends too early")
                piece = bytes(2 * _STEP)
                self._padding = len(piece)
            else:
                self._fed += len(piece)
            held.append(bytes(piece))
            size += len(piece)
        self.data, self.place = b"".join(held), 0
        return self.data

    def take(self, count: int) -> int:
        """The number in the next bits, up to 16."""
        if self.held <= _ENOUGH:
            if len(self.data) - self.place < _STEP:
                self.more(self.place)
            have = self.held.bit_length() - 1
            step = int.from_bytes(self.data[self.place : self.place + _STEP], "little") | _FULL
            self.held ^= step << have ^ 1 << have
            self.place += _STEP
        value = self.held & ((1 << count) - 1)
        self.held >>= count
        return value

    def align(self) -> None:
        """Go to the next whole byte.

        Raises:
            TokensError: there are other bits than zeros before it.
        """
        if self.take((self.held.bit_length() - 1) % 8):
            raise TokensError("has padding that is not zero")

    def raw(self, count: int) -> bytes:
        """The next bytes, where all before is whole bytes."""
        size = min(count, (self.held.bit_length() - 1) // 8)
        parts = [(self.held & ((1 << (8 * size)) - 1)).to_bytes(size, "little")]
        self.held >>= 8 * size
        count -= size
        while count:
            if self.place == len(self.data):
                self.more(self.place)
            parts.append(self.data[self.place : self.place + count])
            self.place += len(parts[-1])
            count -= len(parts[-1])
        return b"".join(parts)

    def finish(self) -> None:
        """Refuse what is not the end of the stream.

        Raises:
            TokensError: something follows, or the stream has ended before.
        """
        self.align()
        if self.taken != self._fed or next(self._pieces, None) is not None:
            raise TokensError("does not end where its last block does")
