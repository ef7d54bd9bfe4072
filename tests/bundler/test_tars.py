"""Members of tars: found where they lie, and each beside its own old version, in the order of both."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layers import tarred

from bundler.archives.tars import Member, members, pairs

FORMS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
OLD, NEW = [b"a", b"b1", b"b2", b"c0123456789", b"d"], [b"a", b"b2", b"b3", b"c9876543210", b"d"]
TAR = tarred({"a": b"x"})
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=120)


@settings(max_examples=40, deadline=None)
@given(
    files=st.dictionaries(NAMES, st.binary(max_size=2000), max_size=6),
    form=st.sampled_from(FORMS[1:]),
    piece=st.integers(1, 5000),
)
def test_members_are_where_they_are_said_to_be(files: dict[str, bytes], form: int, piece: int) -> None:
    """With long names, names of other scripts and pax headers, however the tar comes in pieces."""
    content = tarred(files, form)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        said = [(each.name, each.offset, each.offset_data, each.size) for each in archive.getmembers()]
    found = members(content[place : place + piece] for place in range(0, len(content), piece))
    assert [each.name.decode() for each in found] == [name for name, *_ in said]
    assert [each.start for each in found] == [offset for _, offset, *_ in said]
    assert [each.end for each in found] == [data + -(-size // 512) * 512 for *_, data, size in said]


def test_links_have_no_content() -> None:
    """A size that a header of a link has counts for nothing."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        said = tarfile.TarInfo("link")
        said.type, said.linkname = tarfile.SYMTYPE, "file"
        archive.addfile(said)
    content = bytearray(out.getvalue() + tarred({"file": b"x"}))
    content[124:136] = b"00000001000\0"
    assert [each.name for each in members([bytes(content)[:512] + tarred({"file": b"x"})])] == [b"link", b"file"]


@pytest.mark.parametrize(
    "content",
    [b"", b"x" * 600, bytes(1024), TAR[:300], TAR.replace(b"00000000001", b"0000000000x")],
    ids=["nothing", "text", "zeros", "a part of a header", "no number"],
)  # fmt: skip
def test_what_is_no_tar_has_no_members(content: bytes) -> None:
    """77: what cannot be read as a header ends the list."""
    assert members([content]) == []


def test_a_size_that_reaches_beyond_the_end() -> None:
    """77: a member that is cut off ends where the content does."""
    content = tarred({"a": b"x" * 5000})[:1024]
    assert members([content]) == [Member(b"a", 0, 1024)]


def test_a_size_without_bound() -> None:
    """67: what a header says is skipped, not held, and there is nothing behind the end."""
    content = TAR.replace(b"00000000001\0", b"77777777777\0")
    assert [each.name for each in members([content])] == [b"a"]


def listed(*names: bytes) -> list[Member]:
    """Members of ten bytes each."""
    return [Member(name, 10 * number, 10 * number + 10) for number, name in enumerate(names)]


@pytest.mark.parametrize(
    ("new", "old", "beside"),
    [
        ([b"a", b"b", b"c"], [b"a", b"x", b"c"], {0: 0, 2: 2}),
        ([b"a", b"new", b"b"], [b"a", b"b"], {0: 0, 2: 1}),
        ([b"pkg-1.3/a", b"pkg-1.3/b"], [b"pkg-1.2/a", b"pkg-1.2/b"], {0: 0, 1: 1}),
        ([b"1.js", b"core.0123456789ab.js", b"2.js"], [b"1.js", b"core.ba9876543210.js", b"2.js"], {0: 0, 1: 1, 2: 2}),
        ([b"7.aa11bb22cc.js", b"8.dd33ee44ff.js"], [b"6.0f0f0f0f0f.js", b"8.dd33ee44ff.js"], {0: 0, 1: 1}),
        ([b"b", b"a", b"c", b"d"], [b"a", b"b", b"c", b"d"], {1: 0, 2: 2, 3: 3}),
        ([], [b"a"], {}),
    ],
    ids=["same names", "one more", "digits", "a digest", "a digest beside its own", "moved", "nothing"],
)  # fmt: skip
def test_each_member_is_beside_its_old_version(new: list[bytes], old: list[bytes], beside: dict[int, int]) -> None:
    """By its name, else by one that differs in digits or in a digest, and never behind the one that follows."""
    expected = [(10 * left, 10, 10 * right, 10) for left, right in beside.items()]
    assert pairs(listed(*new), listed(*old)) == expected


@given(st.lists(st.sampled_from(OLD)), st.lists(st.sampled_from(NEW)))
def test_any_two_lists_are_walked_forwards(new: list[bytes], old: list[bytes]) -> None:
    """77: no window that comes of them runs back."""
    found = pairs(listed(*new), listed(*old))
    assert [pair[0] for pair in found] == sorted({pair[0] for pair in found})
    assert [pair[2] for pair in found] == sorted({pair[2] for pair in found})


def test_a_long_name_is_kept_as_its_digest() -> None:
    """73: a small archive with very many long names takes no more memory than one with short ones."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for number in range(3):
            archive.addfile(tarfile.TarInfo(f"{number}/" + "long/" * 5000))
    found = members([file.getvalue()])
    assert len({each.name for each in found}) == 3
    assert max(len(each.name) for each in found) <= 512
