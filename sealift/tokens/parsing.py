"""Parsing: a deflate stream becomes its token form, block by block, with little of it held.

The next bits of the stream are a position in a table, where it says how many of them are used, which token that is,
and how many extra bits follow. A number holds the next bits, below a bit that is always 1.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias, TypeVar

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
    NUMBERS,
    ORDER,
    REPEATS,
    STORED,
    TokensError,
    codes,
    repeat,
)

_STEP = 48
"""Bytes that are taken of the stream at a time."""
_FULL = 1 << (8 * _STEP)
_ENOUGH, _MANY = (1 << 16) - 1, (1 << 49) - 1
"""What holds 16 bits, or the most that a length and a distance have, is greater."""
_MASKS = tuple((1 << extra) - 1 for extra in range(max(DISTANCE_EXTRA) + 1))
"""What so many extra bits are cut out by."""
_BITS = 10
"""Bits that the codes of literals and lengths are looked up by; longer ones have further tables."""
_HELD = 1 << 16
"""Tokens that are held at most."""
_END, _LONGER, _LOST = -1, -2, -3
"""Instead of extra bits: the end of a block, a longer code, and bits that are no code."""

Entry: TypeAlias = tuple[int, int, int | None]
"""Bits that are used, the token, or the first one of those with these extra bits; None for a literal."""
Table: TypeAlias = list[Entry]
_T = TypeVar("_T")


class Parsing:
    """The token form of a raw deflate stream, in pieces."""

    def __init__(self, compressed: Iterable[bytes | memoryview]) -> None:
        """Take all of the stream and nothing else, in pieces."""
        self._bits = _Bits(compressed)
        self.taken = 0
        """Bytes of the stream before the block that is parsed, the last one perhaps in part."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield the form.

        Raises:
            TokensError: it is no such stream, or one of very many blocks.
        """
        bits = self._bits
        blocks = last = 0
        while not last:
            blocks += 1
            self.taken = bits.taken
            if blocks > BLOCKS_FREE + self.taken // BLOCK_MIN:
                raise TokensError("has more blocks than a reader takes")
            last, kind = bits.take(1), bits.take(2)
            if kind > DYNAMIC:
                raise TokensError("has a block of no known type")
            numbers = [BLOCK + 2 * kind + last]
            if kind == STORED:
                yield _form(numbers) + _stored(bits).decode("latin-1").encode()
            else:
                yield from _tokens(bits, numbers, *(_lengths(bits, numbers) if kind == DYNAMIC else FIXED_LENGTHS))
        bits.finish()


def _form(numbers: list[int]) -> bytes:
    return array("H", numbers).tobytes().decode(NUMBERS).encode()


def _tokens(bits: _Bits, numbers: list[int], literals: Sequence[int], distances: Sequence[int]) -> Iterator[bytes]:
    """The tokens of a block behind its header, whose codes have these lengths."""
    tables = _literals(literals)
    short, mask = tables[0], len(tables[0]) - 1
    far = _distances(distances)
    far_mask = len(far) - 1
    held, data, place = bits.held, bits.data, bits.place
    many, masks = _MANY, _MASKS
    extra: int | None = 0
    while extra != _END:
        while held > many:
            count, token, extra = short[held & mask]
            held >>= count
            if extra is None:
                numbers.append(token)
                continue
            if extra == _LONGER:
                further = tables[token]
                count, token, extra = further[held & (len(further) - 1)]
                held >>= count
                if extra is None:
                    numbers.append(token)
                    continue
            if extra < 0:
                break
            numbers.append(token + (held & masks[extra]))
            held >>= extra
            count, token, more = far[held & far_mask]
            held >>= count
            if more < 0:
                raise TokensError("has bits that are no code")
            numbers.append(token + (held & masks[more]))
            held >>= more
        else:
            if len(data) - place < _STEP:
                data, place = bits.more(place), 0
            have = held.bit_length() - 1
            held ^= (int.from_bytes(data[place : place + _STEP], "little") | _FULL) << have ^ 1 << have
            place += _STEP
            if len(numbers) > _HELD:
                yield _form(numbers)
                numbers.clear()
            continue
        if extra == _LOST:
            raise TokensError("has bits that are no code")
    bits.held, bits.data, bits.place = held, data, place
    numbers.append(END)
    yield _form(numbers)


def _literals(lengths: Sequence[int]) -> list[Table]:
    """The table of literals and lengths, and further ones for codes that are longer than its positions have bits."""
    tables: list[Table] = [[(0, 0, _LOST)] * (1 << _BITS)]
    longer: dict[str, list[tuple[str, Entry]]] = {}
    for symbol, bits in codes(lengths):
        length = symbol - LITERALS
        entry: Entry
        if length < 0:
            entry = len(bits), symbol, None if length < -1 else _END
        elif length < len(LENGTH_EXTRA):
            entry = len(bits), LENGTH_STARTS[length], LENGTH_EXTRA[length]
        else:
            continue
        if len(bits) > _BITS:
            longer.setdefault(bits[:_BITS], []).append((bits[_BITS:], (len(bits) - _BITS, *entry[1:])))
        else:
            _enter(tables[0], bits, entry)
    for bits, rest in longer.items():
        further: Table = [(0, 0, _LOST)] * (1 << max(len(each) for each, _ in rest))
        for each, entry in rest:
            _enter(further, each, entry)
        _enter(tables[0], bits, (_BITS, len(tables), _LONGER))
        tables.append(further)
    return tables


def _distances(lengths: Sequence[int]) -> list[tuple[int, int, int]]:
    """The table of distances."""
    table = [(0, 0, _LOST)] * (1 << max(lengths))
    for symbol, bits in codes(lengths):
        if symbol < len(DISTANCE_EXTRA):
            _enter(table, bits, (len(bits), DISTANCE_STARTS[symbol], DISTANCE_EXTRA[symbol]))
    return table


def _enter(table: list[_T], bits: str, entry: _T) -> None:
    """Let a table have an entry wherever the lowest bits are those of a code."""
    count = 1 << len(bits)
    table[int(bits[::-1], 2) :: count] = [entry] * (len(table) // count)


def _stored(bits: _Bits) -> bytes:
    """The size and the content of a stored block."""
    bits.align()
    size, other = bits.take(16), bits.take(16)
    if size ^ other != 0xFFFF:
        raise TokensError("has a stored block of no size")
    return size.to_bytes(2, "little") + bits.raw(size)


def _lengths(bits: _Bits, numbers: list[int]) -> tuple[list[int], list[int]]:
    """Bits of a block's codes, by its header, which is added to the numbers."""

    def take(count: int) -> int:
        value = bits.take(count)
        numbers.append(value)
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
        numbers.append(symbol)
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
