"""Listings: lines in one frame, written durably and read strictly."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealift import listing
from sealift.digest import sha256
from sealift.errors import IntegrityError, MalformedError, StoreError
from sealift.listing import Blob, ListingBlob, Writer, file_name, lines, sound


class Line(msgspec.Struct):
    text: str


def packed(content: bytes) -> tuple[bytes, ListingBlob]:
    """A listing's file of any content."""
    compressed = zstandard.ZstdCompressor().compress(content)
    return compressed, ListingBlob(sha256=sha256(compressed), length=len(compressed), size=len(content))


HEADING = b'{"format":1,"type":"tree"}\n'


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.one_of(st.text(max_size=30), st.integers(0, 400_000).map(lambda size: "x" * size)), max_size=8)
)
def test_lines_come_out_as_they_went_in(tmp_path: Path, texts: list[str]) -> None:
    """Short lines, long lines, and lines over the edges of the pieces that are read."""
    writer = Writer(tmp_path, "tree")
    for text in texts:
        writer.add(Line(text))
    blob, digest = writer.finish()
    compressed = (tmp_path / file_name(blob)).read_bytes()
    found = [msgspec.json.decode(line, type=Line).text for line in lines(compressed, blob, "tree", digest)]
    assert found == texts
    assert blob.length == len(compressed)


def test_the_same_lines_give_the_same_file(tmp_path: Path) -> None:
    """A listing depends on its lines alone."""
    blobs = []
    for _ in range(2):
        writer = Writer(tmp_path, "index")
        for number in range(20_000):
            writer.add(Line(f"line {number}"))
        blobs.append(writer.finish())
    assert blobs[0] == blobs[1]


def test_an_abandoned_listing_leaves_nothing(tmp_path: Path) -> None:
    """Neither the file nor its temporary name remains."""
    writer = Writer(tmp_path, "tree")
    writer.add(Line("a"))
    writer.abandon()
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_a_store_error(tmp_path: Path) -> None:
    """The disk's refusal is said in Sealift's terms."""
    with pytest.raises(StoreError):
        Writer(tmp_path / "missing", "tree")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"format":2,"type":"tree"}\n', "format 2"),
        (b'{"format":1,"type":"index"}\n', "'index'"),
        (b'{"format":1}\n', "malformed"),
        (b'{"format":1,"type":"tree","more":1}\n', "malformed"),
        (b'{"type":"tree","format":1}\n', "canonical"),
        (b'{"format":1,"format":1,"type":"tree"}\n', "canonical"),
        (b'{"format":1,"type":"tree"}', "whole line"),
        (HEADING + b"{}", "whole line"),
        (b"\n", "malformed"),
        (b"\xff\n", "malformed"),
    ],
)
def test_a_listing_of_another_form_is_refused(content: bytes, problem: str) -> None:
    """The heading says format and type in their one form, and the last line is whole."""
    with pytest.raises(MalformedError, match=problem):
        list(lines(*packed(content), "tree"))


def test_a_newer_format_is_named_before_anything_else_is_read() -> None:
    """Attack 101, for the format: what an old program does not know, it says so."""
    with pytest.raises(MalformedError) as caught:
        list(lines(*packed(b'{"format":7,"type":"tree"}\nwhatever\n'), "tree"))
    assert caught.value.hint == "install a newer sealift here"


def test_no_line_is_yielded_before_the_digest_is_checked() -> None:
    """Nothing is decompressed of a file that is not the signed one."""
    compressed, blob = packed(HEADING + b"{}\n")
    changed = bytearray(compressed)
    changed[-1] ^= 1
    with pytest.raises(IntegrityError, match="digest"):
        next(lines(bytes(changed), blob, "tree"))


@pytest.mark.parametrize("size", [1, 29, 31, 4 << 30])
def test_a_lying_size_is_refused(size: int) -> None:
    """Attack 69: the listing must give exactly as much as its manifest says."""
    compressed, blob = packed(HEADING + b"{}\n")
    assert blob.size == 30
    with pytest.raises((IntegrityError, MalformedError)):
        list(lines(compressed, ListingBlob(sha256=blob.sha256, length=blob.length, size=size), "tree"))


def test_a_second_frame_is_refused() -> None:
    """Attack 70: a listing is one frame, though zstd would read on or stop in silence."""
    one, _ = packed(HEADING)
    two, _ = packed(b"{}\n")
    both = one + two
    with pytest.raises(IntegrityError):
        list(lines(both, ListingBlob(sha256=sha256(both), length=len(both), size=30), "tree"))


def test_an_endless_line_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line is bounded, so that reading one needs bounded memory."""
    monkeypatch.setattr(listing, "LINE_MAX", 1 << 20)
    with pytest.raises(MalformedError, match="longer than"):
        list(lines(*packed(HEADING + b"x" * (3 << 20) + b"\n"), "tree"))


def test_a_file_is_sound_only_with_its_size_and_digest(tmp_path: Path) -> None:
    """Missing, shortened, changed, or behind a link: none of them is sound."""
    path = tmp_path / "file"
    blob = Blob(sha256=sha256(b"content"), length=7)
    assert not sound(path, blob)
    path.write_bytes(b"content")
    assert sound(path, blob)
    assert not sound(path, Blob(sha256=blob.sha256, length=8))
    (tmp_path / "link").symlink_to(path)
    assert not sound(tmp_path / "link", blob)
    path.write_bytes(b"c0ntent")
    assert not sound(path, blob)
