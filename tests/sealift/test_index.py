"""Indexes: every chunk once, every byte of the packs once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sealift.errors import MalformedError
from sealift.index import Frame, checked, frames
from sealift.listing import Blob, ListingBlob, Writer

DIGEST = "ab" * 32
SIZES = [10, 20, 30, 40]
PACKS = [Blob(sha256="01" * 32, length=50), Blob(sha256="02" * 32, length=25)]


def frame(
    pack: int = 0,
    offset: int = 0,
    length: int = 50,
    size: int = 60,
    chunks: tuple[tuple[int, int], ...] = ((0, 3),),
    sha256: str = DIGEST,
) -> Frame:
    """The first of the two frames of `good`, or what the arguments make of it."""
    return Frame(pack=pack, offset=offset, length=length, size=size, sha256=sha256, chunks=chunks)


def good() -> list[Frame]:
    """Two packs with a frame each."""
    return [frame(), frame(pack=1, length=25, size=40, chunks=((3, 1),))]


def index(folder: Path, found: list[Frame]) -> tuple[bytes, ListingBlob]:
    """An index of these frames, as a file."""
    writer = Writer(folder, "index")
    for each in found:
        writer.add(each)
    blob, _ = writer.finish()
    return (folder / f"{blob.sha256}.zst").read_bytes(), blob


def test_an_index_that_covers_everything_passes(tmp_path: Path) -> None:
    """Frames come out as they went in, each with its chunk numbers."""
    made = index(tmp_path, good())
    assert list(checked(*made, PACKS, SIZES)) == list(frames(*made)) == good()
    assert list(frame(chunks=((7, 2), (0, 3))).numbers()) == [7, 8, 0, 1, 2]


def test_chunks_may_stand_in_any_order(tmp_path: Path) -> None:
    """A frame may hold chunks in runs that go back, as when what does not compress stands apart."""
    found = [frame(size=70, chunks=((3, 1), (0, 1), (1, 1))), frame(pack=1, length=25, size=30, chunks=((2, 1),))]
    assert list(checked(*index(tmp_path, found), PACKS, SIZES)) == found


def test_nothing_needs_no_frames(tmp_path: Path) -> None:
    """A release of empty files has no packs and no frames."""
    assert list(checked(*index(tmp_path, []), [], [])) == []


BIG = 1 << 62
BROKEN = {
    "no frames": [],
    "one pack missing": good()[:1],
    "wrong order": good()[::-1],
    "pack skipped": [frame(pack=1, length=25, size=40, chunks=((3, 1),))],
    "pack that does not exist": [*good(), frame(pack=2, offset=0, length=1)],
    "negative pack": [frame(pack=-1), *good()],
    "gap": [frame(offset=1, length=49), good()[1]],
    "overlap": [frame(length=30, size=30, chunks=((0, 2),)), frame(offset=29, length=21, size=30, chunks=((2, 1),))],
    "negative offset": [frame(offset=-1), good()[1]],
    "short of the pack": [frame(length=49), good()[1]],
    "beyond the pack": [frame(length=51), good()[1]],
    "overflowing length": [frame(length=BIG * 2 - 1), good()[1]],
    "no length": [frame(length=0), *good()],
    "negative length": [frame(length=-50), good()[1]],
    "larger than a frame": [frame(size=(8 << 20) + 1), good()[1]],
    "no content": [frame(size=0, chunks=()), *good()],
    "another size": [frame(size=61), good()[1]],
    "chunk twice in a frame": [frame(size=80, chunks=((0, 3), (1, 1))), good()[1]],
    "chunk twice in frames": [frame(), frame(pack=1, length=25, size=70, chunks=((2, 2),))],
    "chunk missing": [frame(size=30, chunks=((0, 2),)), good()[1]],
    "chunk that does not exist": [frame(), frame(pack=1, length=25, size=40, chunks=((3, 2),))],
    "overflowing run": [frame(chunks=((0, BIG),)), good()[1]],
    "negative chunk": [frame(chunks=((-1, 3),)), good()[1]],
    "empty run": [frame(chunks=((0, 3), (3, 0))), good()[1]],
    "negative run": [frame(chunks=((3, -3),)), good()[1]],
    "no digest": [frame(sha256="ab"), good()[1]],
    "digest in capitals": [frame(sha256="AB" * 32), good()[1]],
}


@pytest.mark.parametrize("found", BROKEN.values(), ids=BROKEN.keys())
def test_an_index_that_does_not_add_up_is_refused(tmp_path: Path, found: list[Frame]) -> None:
    """Attack 77: no offset, length or run overlaps, overflows, leaves a gap or points to nothing."""
    with pytest.raises(MalformedError):
        list(checked(*index(tmp_path, found), PACKS, SIZES))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"pack":0', '"pack":0,"pack":0'),
        lambda text: text.replace('"pack":0', '"pack": 0'),
        lambda text: text.replace('"pack":0', '"pack":0.0'),
        lambda text: text.replace('"pack":0', '"pack":false'),
        lambda text: text.replace('"pack":0,', ""),
        lambda text: text.replace('"pack":0', '"pack":0,"more":0'),
        lambda text: text.replace('"pack":0', '"pack":' + "9" * 400),
        lambda text: json.dumps(json.loads(text), sort_keys=True, separators=(",", ":")),
    ],
    ids=["doubled key", "space", "float", "boolean", "missing key", "unknown key", "huge number", "sorted"],
)
def test_a_line_has_one_form(tmp_path: Path, change: object) -> None:
    """Attack 36, 38 and 40: a line that another reader could take for something else is refused."""
    assert callable(change)
    writer = Writer(tmp_path, "index")
    text = json.dumps(
        {"pack": 0, "offset": 0, "length": 50, "size": 60, "sha256": DIGEST, "chunks": [[0, 3]]}, separators=(",", ":")
    )
    writer.add_encoded(str(change(text)).encode() + b"\n")
    blob, _ = writer.finish()
    with pytest.raises(MalformedError):
        list(checked((tmp_path / f"{blob.sha256}.zst").read_bytes(), blob, PACKS[:1], SIZES[:3]))
