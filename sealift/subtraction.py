"""Subtractions: content that is an old content at other places, with bytes added to some of what is there.

It is what programs are that were built anew: code moves, and the addresses in it change (Percival, Naive
differences of executable code, 2003). Four streams say it: which ranges of the old content to take and how many
literal bytes come before each, where bytes differ, by how much, and the literals. Every count is checked before
anything is made of it, and the work is bounded by the streams' lengths.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .addition import LONG, Addition, one_by_one
from .errors import IntegrityError, MalformedError

INSTRUCTIONS_MAX = 1 << 20
"""Bytes of instructions at most."""
_NUMBER_MAX = 4
"""Bytes of a number at most."""


def check_sizes(sizes: Sequence[int], size: int) -> None:
    """Refuse sizes of streams that no subtraction has which gives `size` bytes.

    Raises:
        MalformedError: there are not four, or one is out of its bounds.
    """
    if len(sizes) != 4:
        raise MalformedError("a subtraction does not have four streams")
    instructions, gaps, values, literals = sizes
    if not (0 < instructions <= INSTRUCTIONS_MAX and 0 <= values <= gaps <= size and 0 <= literals <= size):
        raise MalformedError("a stream of a subtraction is longer than one may be")


def restore(streams: Sequence[bytes], reference: bytes, size: int, add: Addition = one_by_one) -> bytes:
    """The content that a subtraction gives.

    Args:
        streams: instructions, gaps, values and literals, of sizes that `check_sizes` lets pass.
        reference: the old content.
        size: bytes that must come out.
        add: how values are added.

    Raises:
        IntegrityError: the streams do not fit together, or to the old content.
    """
    instructions, gaps, values, literals = streams
    content = bytearray().join((b"\0", *_pieces(instructions, memoryview(literals), memoryview(reference), size)))
    if gaps.count(LONG) + len(values) != len(gaps):
        raise _unfit("does not have a value for each gap")
    add(content, gaps, values)
    return bytes(memoryview(content)[1:])


def _pieces(instructions: bytes, literals: memoryview, reference: memoryview, size: int) -> Iterator[memoryview]:
    """Yield `size` bytes as ranges of the literals and of the old content."""
    done = taken = shift = 0
    numbers = _numbers(instructions)
    for literal in numbers:
        count, move = next(numbers, 0), next(numbers, None)
        if move is None:
            raise _unfit("ends inside of an instruction")
        shift += -(move >> 1) - 1 if move & 1 else move >> 1
        done += literal
        start = done + shift
        done += count
        if taken + literal > len(literals) or count < 1 or done > size or start < 0 or start + count > len(reference):
            raise _unfit("takes what is not there")
        if literal:
            yield literals[taken : taken + literal]
            taken += literal
        yield reference[start : start + count]
    if done + len(literals) - taken != size:
        raise _unfit("gives more or less than the signed difference says")
    yield literals[taken:]


def _numbers(content: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in content:
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            yield number
            number = shift = 0
        elif shift < 7 * (_NUMBER_MAX - 1):
            shift += 7
        else:
            raise _unfit("has a number that is too long")
    if shift:
        raise _unfit("ends inside of a number")


def _unfit(what: str) -> IntegrityError:
    return IntegrityError(f"a subtraction {what}", hint="ask for a whole bundle")
