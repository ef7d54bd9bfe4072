"""Deflate streams come back from their tokens to the last bit, whoever wrote them; what is none is refused."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterable
from pathlib import Path

import pytest
from archives import prose
from hypothesis import given, settings
from hypothesis import strategies as st

from sealift.tokens.alphabet import BLOCK, END, RATIO, TokensError, codes
from sealift.tokens.parsing import Parsing
from sealift.tokens.writing import Tokens


def parsed(stream: bytes, size: int = 1000) -> bytes:
    """The token form of a stream that comes in pieces."""
    return b"".join(Parsing(stream[place : place + size] for place in range(0, len(stream), size)))


def written(form: bytes, size: int = 1000) -> bytes:
    """The stream of a form that comes in pieces."""
    pieces = (memoryview(form)[place : place + size] for place in range(0, len(form), size))
    return b"".join(Tokens().deflate(pieces, 0, Path()))


def deflated(contents: Iterable[bytes], level: int = 6, memory: int = 8, strategy: int = 0, flush: int = 0) -> bytes:
    """A stream, flushed in some way behind each content."""
    deflater = zlib.compressobj(level, zlib.DEFLATED, -15, memory, strategy)
    parts = [deflater.compress(content) + (deflater.flush(flush) if flush else b"") for content in contents]
    return b"".join([*parts, deflater.flush()])


def bits(*numbers: tuple[int, int]) -> bytes:
    """A stream of numbers of so many bits each, the lowest bit first."""
    value = place = 0
    for number, count in numbers:
        value |= number << place
        place += count
    return value.to_bytes((place + 7) // 8, "little")


CONTENT = st.one_of(
    st.binary(max_size=300),
    st.builds(prose, st.integers(0, 3), st.integers(1, 10_000)),
    st.builds(lambda seed, size: random.Random(seed).randbytes(size), st.integers(0, 3), st.integers(1, 70_000)),
    st.builds(bytes, st.integers(1, 100_000)),
)
FLUSHES = [0, zlib.Z_PARTIAL_FLUSH, zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_BLOCK]


@settings(max_examples=40)
@given(
    contents=st.lists(CONTENT, max_size=4),
    level=st.integers(0, 9),
    memory=st.integers(1, 9),
    strategy=st.integers(0, 4),
    flush=st.sampled_from(FLUSHES),
    size=st.integers(1, 70_000),
)
def test_any_stream_comes_back(
    contents: list[bytes], level: int, memory: int, strategy: int, flush: int, size: int
) -> None:
    """Whatever the level, the strategy and the blocks, every bit is that of the stream, and the form is bounded."""
    stream = deflated(contents, level, memory, strategy, flush)
    try:
        form = parsed(stream, size)
    except TokensError as error:
        if "more blocks" not in error.message:
            raise
        return
    assert written(form, size) == stream
    assert len(form) <= RATIO * len(stream)


@settings(max_examples=100)
@given(stream=st.binary(max_size=300), size=st.integers(1, 400))
def test_any_bytes_come_back_or_are_refused(stream: bytes, size: int) -> None:
    """What happens to be a stream comes back; all else is refused, and nothing else happens."""
    try:
        form = parsed(stream, size)
    except TokensError:
        return
    assert written(form) == stream
    assert len(form) <= RATIO * len(stream)


PLAIN = deflated([prose(1, 20_000)])


@settings(max_examples=40)
@given(place=st.integers(0, len(PLAIN) - 1), bit=st.integers(0, 7))
def test_a_damaged_stream_comes_back_or_is_refused(place: int, bit: int) -> None:
    """A stream of which one bit is another gives its own bytes again, or none."""
    damaged = bytearray(PLAIN)
    damaged[place] ^= 1 << bit
    try:
        form = parsed(bytes(damaged))
    except TokensError:
        return
    assert written(form) == damaged


@settings(max_examples=40)
@given(data=st.data())
def test_a_damaged_form_gives_bytes_or_is_refused(data: st.DataObject) -> None:
    """A form of which some characters are others gives no more than what its characters may, or is refused."""
    text = list(parsed(PLAIN).decode())
    tokens = st.one_of(st.integers(0, BLOCK + 20), st.integers(0, 300), st.integers(BLOCK, BLOCK + 5))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text) - 1) | st.integers(0, 200))
        text[place] = chr(data.draw(tokens))
    form = "".join(text).encode(errors="replace")
    try:
        out = written(form)
    except TokensError:
        return
    assert len(out) <= 4 * len(form)


@pytest.mark.parametrize("cut", [0, 1, 5, 60, 1000, len(PLAIN) - 1])
def test_a_stream_that_is_cut_off(cut: int) -> None:
    """A stream that ends too early is refused, wherever it ends."""
    with pytest.raises(TokensError):
        parsed(PLAIN[:cut])


def test_a_form_that_is_cut_off() -> None:
    """A form without its last block is refused."""
    form = parsed(deflated([prose(1, 3000)], flush=zlib.Z_FULL_FLUSH))
    for cut in (0, 2, 30, 500):
        with pytest.raises(TokensError, match=r"ends too early|no text"):
            written(form[:cut])


@pytest.mark.parametrize("size", [1, 40, 1000, 1 << 20])
def test_what_follows_the_end(size: int) -> None:
    """Bytes behind the last block are no part of the stream, however it comes."""
    for more in (b"\0", b"x", bytes(100)):
        with pytest.raises(TokensError, match="does not end where its last block does"):
            parsed(PLAIN + more, size)
    with pytest.raises(TokensError, match="one behind the last"):
        written(parsed(PLAIN) * 2)


DYNAMIC = [(1, 1), (2, 2)]
FEW = [(0, 5), (0, 5), (14, 4)]
"""257 and 1 codes, and the lengths of 18 codes for those."""
ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1)


def header(coded: dict[int, int]) -> list[tuple[int, int]]:
    """The beginning of a block with these lengths of the codes of its header."""
    return [*DYNAMIC, *FEW, *((coded.get(symbol, 0), 3) for symbol in ORDER)]


@pytest.mark.parametrize(
    ("stream", "match"),
    [
        (bits((1, 1), (3, 2)), "no known type"),
        (bits((1, 1), (0, 2), (1, 5), (0, 16), (0xFFFF, 16)), "padding"),
        (bits((1, 1), (0, 2), (0, 5), (1, 16), (0xFFFF, 16)), "no size"),
        (bits((1, 1), (1, 2), (0, 7), (1, 6)), "padding"),
        (bits((1, 1), (1, 2), (0b01100011, 8), (0, 40)), "no code"),
        (bits((1, 1), (1, 2), (0b1000000, 7), (0b01111, 5), (0, 40)), "no code"),
        (bits(*header({1: 1, 18: 1, 0: 1})), "more codes than bits"),
        (bits(*header({16: 1, 18: 1}), (0, 1)), "before the first"),
        (bits(*header({1: 1, 18: 1}), (1, 1), (127, 7), (1, 1), (127, 7), (0, 40)), "more codes than its header"),
        (bits(*header({1: 1, 18: 1}), *[(0, 1)] * 258, (0, 40)), "more codes than bits"),
        (bits(*header({1: 2, 18: 2}), (3, 2), (0, 80)), "no code"),
        (bits(*[(0, 1), (1, 2), (0, 7)] * 100), "more blocks"),
    ],
    ids=[
        "a type", "stored padding", "a stored size", "padding at the end", "a length of no code",
        "a distance of no code", "codes of the header", "a repeat of nothing", "too many lengths", "codes of tokens",
        "a symbol of the header", "many small blocks",
    ],
)  # fmt: skip
def test_no_stream(stream: bytes, match: str) -> None:
    """What deflate does not know, or nobody has to write, is refused in one sentence."""
    with pytest.raises(TokensError, match=match):
        parsed(stream)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("x", "begin a block"),
        (chr(BLOCK + 6), "begin a block"),
        (chr(BLOCK + 1) + "\5\0ab" + chr(300) * 3, "among stored bytes"),
        (chr(BLOCK + 1) + "\5\0ab", "ends too early"),
        (chr(BLOCK + 1) + chr(300), "in a header"),
        (chr(BLOCK + 5) + "\40", "does not fit"),
        (chr(BLOCK + 5) + "\0\0\0\0\0\1\1\1", "header"),
        (chr(BLOCK + 3) + chr(BLOCK - 1) + "\ud7ff", "without a code"),
        (chr(BLOCK + 3) + "\U0001f6a2", "without a code"),
        (chr(BLOCK + 2) + chr(END), "ends too early"),
        ("".join([chr(BLOCK + 2) + chr(END)] * 1000), "more blocks"),
        (chr(BLOCK + 2) + chr(BLOCK + 3) + chr(END), "a block without an end"),
    ],
)
def test_no_form(text: str, match: str) -> None:
    """67: a form that no stream has is refused in one sentence, and so is one of very many blocks."""
    with pytest.raises(TokensError, match=match):
        written(text.encode())


def test_a_begun_byte_counts_for_both() -> None:
    """A stream of as many blocks as its bytes just allow is parsed, and written again."""
    empty, eight, nine = "0" + "10" + "0000000", "00110000", "110010000"
    text = empty * 63 + "0" + "10" + eight * 429 + nine * 2 + "0000000" + "1" + "10" + "0000000"
    stream = int(text[::-1], 2).to_bytes((len(text) + 7) // 8, "little")
    assert written(parsed(stream)) == stream


@pytest.mark.parametrize("form", [b"\xff", b"\xe8\x88", b"\xed\xa0\x80", b"\xc0\x80"])
def test_no_text(form: bytes) -> None:
    """Bytes that are no UTF-8, or UTF-8 that nobody should write, are refused."""
    with pytest.raises(TokensError, match="no text"):
        written(form)


def test_the_two_ways_to_write_the_longest_match() -> None:
    """A length of 258 has two codes; which one was written stands in the form."""
    for code, extra in ((0b1100_0101, []), (0b1100_0100, [(31, 5)])):
        reversed_code = int(f"{code:08b}"[::-1], 2)
        literal = int(f"{0x30 + 97:08b}"[::-1], 2)
        stream = bits((1, 1), (1, 2), (literal, 8), (reversed_code, 8), *extra, (0, 5), (0, 7))
        assert zlib.decompress(stream, -15) == b"a" * 259
        assert written(parsed(stream)) == stream


def test_codes_are_those_of_the_standard() -> None:
    """The example of RFC 1951, 3.2.2."""
    found = dict(codes((3, 3, 3, 3, 3, 2, 4, 4)))
    assert list(found.values()) == ["010", "011", "100", "101", "110", "00", "1110", "1111"]


def test_tokens_flow() -> None:
    """Neither way holds a stream, whatever the size of its blocks: what comes first comes before the last is read."""
    stream = deflated([random.Random(1).randbytes(400_000)], strategy=zlib.Z_HUFFMAN_ONLY, memory=9)
    read = 0

    def pieces() -> Iterable[bytes]:
        nonlocal read
        for place in range(0, len(stream), 1000):
            read += 1000
            yield stream[place : place + 1000]

    form = iter(Parsing(pieces()))
    next(form)
    assert read < len(stream) / 2
    out = Tokens().deflate(form, len(stream), Path())
    next(out)
    assert read < len(stream) / 2
