"""Frames: content goes in and comes out, and nothing else comes out."""

from __future__ import annotations

import contextlib
import itertools
import random
import struct
import tracemalloc

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from sealift.errors import IntegrityError, MalformedError
from sealift.frame import FRAME_MAX, compressible, pour, seal, span, store, unseal

NOISE = random.Random(7).randbytes(300_000)
CONTENT = st.one_of(
    st.binary(max_size=2000),
    st.builds(lambda piece, times: piece * times, st.binary(min_size=1, max_size=50), st.integers(1, 9000)),
    st.integers(0, 300_000).map(lambda size: NOISE[:size]),
)
LEVELS = st.sampled_from([1, 3, 9])


def compressor(level: int = 3, *, checksum: bool = False, sized: bool = True) -> zstandard.ZstdCompressor:
    """A compressor such as the exporter's."""
    return zstandard.ZstdCompressor(level=level, write_checksum=checksum, write_content_size=sized, threads=0)


def sealed(content: bytes, level: int = 3) -> bytes:
    """One frame of `content`."""
    return seal([memoryview(content)], compressor(level))


@settings(max_examples=60, deadline=None)
@given(content=CONTENT.filter(len), level=LEVELS)
def test_what_was_sealed_comes_out(content: bytes, level: int) -> None:
    """`unseal` undoes `seal` at any level."""
    assert unseal(sealed(content, level), len(content)) == content


@settings(max_examples=60, deadline=None)
@given(content=CONTENT.filter(len), cuts=st.lists(st.integers(0, 300_000), max_size=4))
def test_what_was_stored_comes_out(content: bytes, cuts: list[int]) -> None:
    """`unseal` undoes `store`, whatever pieces the content is in, and so does zstd itself."""
    ends = sorted({*(min(cut, len(content)) for cut in cuts), 0, len(content)})
    frame = store([memoryview(content)[one:two] for one, two in itertools.pairwise(ends)])
    assert unseal(frame, len(content)) == content
    assert zstandard.ZstdDecompressor().decompress(frame) == content


@settings(max_examples=60, deadline=None)
@given(content=CONTENT, level=LEVELS, stored=st.booleans(), more=st.binary(max_size=20))
def test_a_frame_spans_its_own_bytes(content: bytes, level: int, stored: bool, more: bytes) -> None:
    """`span` finds the end of a frame, whatever follows it."""
    frame = store([memoryview(content)]) if stored else sealed(content, level)
    assert span(frame + more) == len(frame)


@pytest.mark.parametrize("size", [1, 131_071, 131_072, 131_073, 262_144, 1 << 20])
def test_stored_content_grows_little(size: int) -> None:
    """Content that does not compress costs 13 bytes, and 3 for each 128 KiB."""
    frame = store([memoryview(bytes(size))])
    assert len(frame) <= size + 13 + 3 * -(-size // 131_072)


def test_nothing_is_stored_as_a_frame_too() -> None:
    """A frame of no content is a valid frame of zstd's."""
    assert zstandard.ZstdDecompressor().decompress(store([])) == b""


@pytest.mark.parametrize("size", [0, 1, 999, 1001, 5000, 1 << 40])
def test_a_lying_size_is_refused(size: int) -> None:
    """Attack 69: a frame that gives more or less than the signed index says is refused."""
    with pytest.raises(IntegrityError):
        unseal(sealed(bytes(1000)), size)


def test_a_lying_header_is_refused() -> None:
    """Attack 69: a frame whose own header states the signed size, and whose blocks hold less, is refused."""
    frame = bytearray(store([memoryview(b"x" * 100)]))
    frame[5:13] = struct.pack("<Q", 200)
    with pytest.raises(IntegrityError):
        unseal(bytes(frame), 200)


def test_a_frame_that_does_not_state_its_size_is_refused() -> None:
    """A frame of a pack declares what comes out."""
    with pytest.raises(IntegrityError):
        unseal(compressor(sized=False).compress(b"content" * 9), 63)


def test_a_ratio_bomb_costs_no_memory() -> None:
    """Attack 67: a frame of a gibibyte of zeros is refused before anything is decompressed."""
    zeros = bytes(1 << 17)
    rle = struct.pack("<IBQ", 0xFD2FB528, 0xE0, 1 << 30)
    block = struct.pack("<I", len(zeros) << 3 | 1 << 1)[:3] + b"\0"
    last = struct.pack("<I", len(zeros) << 3 | 1 << 1 | 1)[:3] + b"\0"
    bomb = rle + block * 8191 + last
    assert zstandard.frame_content_size(bomb) == 1 << 30
    tracemalloc.start()
    with pytest.raises(IntegrityError):
        unseal(bomb, 4 << 20)
    with pytest.raises(IntegrityError):
        sum(map(len, pour(bomb, 1 << 20)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_a_large_window_is_refused() -> None:
    """Attack 68: a frame that needs a window above the cap is refused, small as its content may be."""
    parameters = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True, write_content_size=False)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    frame = stream.compress(b"content") + stream.flush()
    with pytest.raises(IntegrityError, match="listing"):
        list(pour(frame, 7))


def test_a_two_gibibyte_window_is_refused() -> None:
    """Attack 68: the header asks for 2 GiB; nothing is allocated."""
    frame = struct.pack("<IBB", 0xFD2FB528, 0x00, 21 << 3) + struct.pack("<I", 7 << 3 | 1)[:3] + b"content"
    assert span(frame) == len(frame)
    with pytest.raises(IntegrityError):
        list(pour(frame, 7))


@pytest.mark.parametrize(
    "more",
    [
        b"\0",
        sealed(b"second"),
        struct.pack("<II", 0x184D2A50, 4) + b"skip",
    ],
    ids=["byte", "second frame", "skippable frame"],
)
def test_bytes_after_a_frame_are_refused(more: bytes) -> None:
    """Attack 70: neither a second frame, nor a skippable one, nor a stray byte may follow."""
    frame = sealed(b"content")
    with pytest.raises(IntegrityError):
        unseal(frame + more, 7)
    with pytest.raises(IntegrityError):
        list(pour(frame + more, 7))


def test_a_skippable_frame_before_a_frame_is_refused() -> None:
    """Attack 70: the first bytes are those of the one frame."""
    frame = struct.pack("<II", 0x184D2A50, 0) + sealed(b"content")
    with pytest.raises(IntegrityError):
        unseal(frame, 7)
    with pytest.raises(IntegrityError):
        list(pour(frame, 7))


def test_a_checksum_is_refused() -> None:
    """A frame has one form: its digest is signed, so that it bears no checksum of its own."""
    with pytest.raises(IntegrityError):
        unseal(compressor(checksum=True).compress(b"content"), 7)


def test_a_dictionary_is_refused() -> None:
    """Attack 72: a frame that asks for a dictionary is refused, whether it could be found or not."""
    words = zstandard.ZstdCompressionDict(
        zstandard.train_dictionary(
            2000, [b"%d the words of a dictionary %d" % (n, n * n) for n in range(2000)]
        ).as_bytes()
    )
    frame = zstandard.ZstdCompressor(dict_data=words, write_content_size=True).compress(b"the words of a dictionary")
    assert zstandard.get_frame_parameters(frame).dict_id
    with pytest.raises(IntegrityError):
        unseal(frame, 25)


@pytest.mark.parametrize("stored", [True, False])
def test_a_frame_that_was_cut_off_is_refused(stored: bool) -> None:
    """Attack 73: no prefix of a frame is taken for a frame."""
    content = b"some content, some content " * 20
    frame = store([memoryview(content)]) if stored else sealed(content)
    for end in range(len(frame)):
        with pytest.raises((IntegrityError, MalformedError)):
            unseal(frame[:end], len(content))


@settings(max_examples=100, deadline=None)
@given(frame=st.binary(max_size=60).map(lambda rest: b"\x28\xb5\x2f\xfd" + rest), size=st.integers(0, 1000))
def test_random_bytes_are_no_crash(frame: bytes, size: int) -> None:
    """Whatever stands after the magic number, the answer is content of the right size or a refusal."""
    with contextlib.suppress(IntegrityError):
        assert len(unseal(frame, size)) == size
    with contextlib.suppress(IntegrityError):
        assert sum(map(len, pour(frame, size))) == size


def test_pouring_gives_pieces() -> None:
    """A large listing comes in pieces of bounded size that make up the whole."""
    content = b"".join(b"%d line\n" % number for number in range(200_000))
    pieces = list(pour(sealed(content), len(content)))
    assert b"".join(pieces) == content
    assert max(map(len, pieces)) <= 1 << 18


def test_noise_is_not_worth_compressing() -> None:
    """Samples tell noise from text, and a small piece is always given a chance."""
    probe = zstandard.ZstdCompressor(level=1)
    assert not compressible(memoryview(NOISE), probe)
    assert compressible(memoryview(b"some text " * 20_000), probe)
    assert compressible(memoryview(NOISE[:100]), probe)


def test_a_frame_may_be_as_large_as_the_cap() -> None:
    """Content of the largest allowed size passes at a level that uses a large window."""
    content = b"0123456789abcdef" * (FRAME_MAX // 16)
    assert unseal(sealed(content, 19), FRAME_MAX) == content
