"""The container: one way to write a bundle, and nothing else is read."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealift import container
from sealift.container import BLOCK, Reader, Writer, header, padding
from sealift.errors import IntegrityError, MalformedError, StoreError
from sealift.progress import Silent

DIGEST = "ab" * 32
OTHER = "cd" * 32
MEMBERS = {
    "SEALIFT.json": b"{}\n",
    "metadata/1.root.json": b"root",
    "metadata/timestamp.json": b"timestamp",
    f"manifests/{DIGEST}.json": b"manifest",
    f"trees/{DIGEST}.zst": b"t" * 512,
    f"index/{DIGEST}.zst": b"i" * 513,
    f"packs/{DIGEST}.zst": b"p" * 3000,
    f"packs/{OTHER}.zst": b"p",
}


def bundle(path: Path, members: dict[str, bytes] | list[tuple[str, bytes]] = MEMBERS) -> Path:
    """Write a bundle of any members, in the form that a writer gives them."""
    pairs = members.items() if isinstance(members, dict) else members
    parts = [header(name, len(content), 0) + content + padding(len(content)) for name, content in pairs]
    path.write_bytes(b"".join(parts) + bytes(2 * BLOCK))
    return path


def refused(path: Path, match: str | None = None) -> None:
    """Expect that a bundle is refused."""
    with pytest.raises(MalformedError, match=match):
        Reader(path)


def test_the_writer_makes_what_the_reader_reads(tmp_path: Path) -> None:
    """Members come out in order, each with its kind, its digest and its content."""
    path = tmp_path / "b.sealift"
    source = tmp_path / "pack"
    with Writer(path, time=1_000_000_000) as writer:
        for name, content in MEMBERS.items():
            source.write_bytes(content)
            if name.startswith("packs/"):
                writer.copy([(name, source, len(content))], workers=1, progress=Silent())
            else:
                writer.add(name, content)
        size = writer.finish()
    assert size == path.stat().st_size
    with Reader(path) as reader:
        assert {member.name: reader.read(member) for member in reader.members} == MEMBERS
        assert [member.kind for member in reader.members][-3:] == ["index", "pack", "pack"]
        assert [member.digest for member in reader.of("pack")] == [DIGEST, OTHER]
        assert reader.find("metadata/1.root.json").size == 4
        with pytest.raises(MalformedError, match="lacks"):
            reader.find("metadata/9.root.json")


def test_tar_reads_what_the_writer_makes(tmp_path: Path) -> None:
    """A stranger opens a bundle with standard tools: plain files of mode 0644, each with its content."""
    with tarfile.open(bundle(tmp_path / "b.sealift"), "r:") as archive:
        for info in archive:
            assert info.isreg()
            assert (info.mode, info.uid, info.gid, info.mtime, info.uname) == (0o644, 0, 0, 0, "")
            file = archive.extractfile(info)
            assert file
            assert file.read() == MEMBERS[info.name]


@given(st.from_regex(r"[a-zA-Z0-9._-]{1,100}", fullmatch=True), st.integers(0, 8**11 - 1), st.integers(0, 8**11 - 1))
def test_the_header_is_that_of_ustar(name: str, size: int, time: int) -> None:
    """Python's own `tarfile` writes the same fields for the same member, and finds the checksum to be right."""
    info = tarfile.TarInfo(name)
    info.size, info.mtime = size, time
    expected, ours = info.tobuf(tarfile.USTAR_FORMAT), header(name, size, time)
    assert ours[:148] == expected[:148]
    assert ours[156:329] == expected[156:329]
    assert not ours[345:].strip(b"\0")
    assert tarfile.TarInfo.frombuf(ours, "ascii", "strict").size == size


def test_an_unfinished_bundle_is_not_there(tmp_path: Path) -> None:
    """What was not finished leaves neither the bundle nor its temporary file."""
    with Writer(tmp_path / "b.sealift", time=0) as writer:
        writer.add("SEALIFT.json", b"{}")
    assert not list(tmp_path.iterdir())


def test_a_pack_of_another_size_is_not_written(tmp_path: Path) -> None:
    """A member's size is said before its content is copied, and must then be true."""
    (tmp_path / "pack").write_bytes(b"12345")
    with Writer(tmp_path / "b.sealift", time=0) as writer, pytest.raises(IntegrityError):
        writer.copy([(f"packs/{DIGEST}.zst", tmp_path / "pack", 6)], workers=1, progress=Silent())


@pytest.mark.parametrize(
    "name",
    [
        "../SEALIFT.json",
        "/SEALIFT.json",
        "./SEALIFT.json",
        "SEALIFT.json/",
        "metadata/../x.json",
        "metadata/1.root.json.bak",
        "metadata/ROOT.json",
        "metadata/01.root.json",
        "metadata/a/b.json",
        f"packs/{DIGEST[:-1]}.zst",
        f"packs/{DIGEST.upper()}.zst",
        f"packs/{DIGEST}",
        f"packs/x/{DIGEST}.zst",
        "packs\\x",
        "other",
        "\x1b[2Jx",
    ],
)
def test_a_member_of_another_name_is_refused(tmp_path: Path, name: str) -> None:
    """Attack 51 and 52: names come from a fixed grammar, and an odd one is not printed raw."""
    with pytest.raises(MalformedError) as caught:
        Reader(bundle(tmp_path / "b", [("SEALIFT.json", b"{}"), (name, b"x")]))
    assert "\x1b" not in str(caught.value)


def swapped(one: int, two: int) -> list[tuple[str, bytes]]:
    """The members with two of them changed over."""
    found = list(MEMBERS.items())
    found[one], found[two] = found[two], found[one]
    return found


@pytest.mark.parametrize(
    "members",
    [
        [],
        swapped(0, 1),
        swapped(2, 3),
        swapped(4, 5),
        swapped(5, 6),
        list(MEMBERS.items())[1:],
        [*MEMBERS.items(), (f"packs/{OTHER}.zst", b"p")],
        [("SEALIFT.json", b"{}"), *MEMBERS.items()],
        [*MEMBERS.items(), ("SEALIFT.json", b"{}")],
        [("SEALIFT.json", b"")],
        [("SEALIFT.json", b" " * ((256 << 10) + 1))],
        [("SEALIFT.json", b"{}"), (f"packs/{DIGEST}.zst", b"")],
    ],
    ids=[
        "none",
        "no-hint-first",
        "kinds",
        "kinds",
        "kinds",
        "no-hint",
        "twice",
        "hint-twice",
        "hint-last",
        "empty",
        "too-large",
        "empty-pack",
    ],
)
def test_members_out_of_order_are_refused(tmp_path: Path, members: list[tuple[str, bytes]]) -> None:
    """Attack 62: members come once, in order, and within their sizes."""
    refused(bundle(tmp_path / "b", members))


def test_too_many_members_of_a_kind_are_refused(tmp_path: Path) -> None:
    """Attack 64: each kind has a bound, which is noticed before anything is read."""
    roots = [(f"metadata/{number}.root.json", b"{}") for number in range(1, 2050)]
    refused(bundle(tmp_path / "b", [("SEALIFT.json", b"{}"), *roots]), "one too many")


def in_tar(form: int, change: Callable[[tarfile.TarInfo], None]) -> bytes:
    """A tar of a hint and a pack, the pack's header changed."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, content in (("SEALIFT.json", b"{}"), (f"packs/{DIGEST}.zst", b"content")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if name.startswith("packs"):
                change(info)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def field(name: str, value: object) -> Callable[[tarfile.TarInfo], None]:
    """Sets a field of a header."""
    return lambda info: setattr(info, name, value)


CHANGES = {
    "symlink": field("type", tarfile.SYMTYPE),
    "hard link": field("type", tarfile.LNKTYPE),
    "character device": field("type", tarfile.CHRTYPE),
    "block device": field("type", tarfile.BLKTYPE),
    "fifo": field("type", tarfile.FIFOTYPE),
    "folder": field("type", tarfile.DIRTYPE),
    "contiguous": field("type", tarfile.CONTTYPE),
    "sparse": field("type", tarfile.GNUTYPE_SPARSE),
    "link name": field("linkname", "x"),
    "setuid": field("mode", 0o4644),
    "executable": field("mode", 0o755),
    "user": field("uid", 1),
    "group": field("gid", 1),
    "user name": field("uname", "root"),
    "device numbers": field("devmajor", 1),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_member_that_is_no_plain_file_is_refused(
    tmp_path: Path, form: int, change: Callable[[tarfile.TarInfo], None]
) -> None:
    """Attack 53 to 56 and 63: no links, devices, sparse files, owners or modes, whatever tar made them."""
    (tmp_path / "b").write_bytes(in_tar(form, change))
    refused(tmp_path / "b")


@pytest.mark.parametrize(
    ("form", "change"),
    [
        (tarfile.PAX_FORMAT, field("pax_headers", {"size": "3"})),
        (tarfile.PAX_FORMAT, field("pax_headers", {"path": "SEALIFT.json"})),
        (tarfile.PAX_FORMAT, field("pax_headers", {"GNU.sparse.realsize": "9999999999"})),
        (tarfile.GNU_FORMAT, field("name", f"packs/{DIGEST * 2}.zst")),
        (tarfile.GNU_FORMAT, field("mtime", -1)),
        (tarfile.GNU_FORMAT, field("uid", 1 << 40)),
        (tarfile.GNU_FORMAT, field("mtime", 1 << 40)),
    ],
    ids=["pax size", "pax path", "pax sparse", "long name", "negative time", "large uid", "large time"],
)
def test_a_size_or_name_override_is_refused(
    tmp_path: Path, form: int, change: Callable[[tarfile.TarInfo], None]
) -> None:
    """Attack 65 and 66: neither PAX nor GNU records, nor base-256 numbers, change what a header says."""
    (tmp_path / "b").write_bytes(in_tar(form, change))
    refused(tmp_path / "b")


@pytest.mark.parametrize(
    "size",
    [
        b"\x80" + bytes(9) + b"\x01\x00",
        b"\xff" * 12,
        b"-0000000001\0",
        b"0000000003 ",
        b" 0000000003\0",
        b"0o000000003\0",
    ],
)
def test_a_size_in_another_form_is_refused(tmp_path: Path, size: bytes) -> None:
    """Attack 65: a size is eleven octal digits and a NUL, and its checksum being right changes nothing."""
    block = bytearray(header("SEALIFT.json", 3, 0))
    block[124:136] = size.ljust(12, b"\0")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    (tmp_path / "b").write_bytes(bytes(block) + b"{}\n".ljust(BLOCK, b"\0") + bytes(2 * BLOCK))
    refused(tmp_path / "b")


@pytest.mark.parametrize("size", [(1 << 30) + 1, 8**11 - 1])
def test_an_oversized_member_is_refused_before_it_is_read(tmp_path: Path, size: int) -> None:
    """Attack 77: a size above its kind's limit is refused from the header alone."""
    content = header("SEALIFT.json", 2, 0) + b"{}".ljust(BLOCK, b"\0") + header(f"packs/{DIGEST}.zst", size, 0)
    (tmp_path / "b").write_bytes(content + bytes(4 * BLOCK))
    refused(tmp_path / "b", "limit")


def test_a_bundle_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    """No prefix of a bundle is a bundle."""
    whole = bundle(tmp_path / "whole").read_bytes()
    for end in [*range(0, len(whole), 256), len(whole) - 1, 1, 511, 513]:
        (tmp_path / "b").write_bytes(whole[:end])
        refused(tmp_path / "b")


@pytest.mark.parametrize("more", [b"\0", b"x", bytes(512), bytes(8192)])
def test_bytes_after_the_end_are_refused(tmp_path: Path, more: bytes) -> None:
    """Attack 70: the file ends where the bundle does, without tar's padding."""
    path = bundle(tmp_path / "b")
    path.write_bytes(path.read_bytes() + more)
    refused(path, "does not end")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 2**20), bit=st.integers(0, 7))
def test_no_bit_outside_of_a_members_content_can_change(tmp_path: Path, place: int, bit: int) -> None:
    """Attack 76: a flipped bit in a header, in the padding or at the end is noticed without any digest."""
    path = bundle(tmp_path / "whole")
    damaged = bytearray(path.read_bytes())
    place %= len(damaged)
    with Reader(path) as reader:
        spans = [(member.offset, member.offset + member.size) for member in reader.members]
    damaged[place] ^= 1 << bit
    (tmp_path / "b").write_bytes(damaged)
    if any(start <= place < end for start, end in spans):
        Reader(tmp_path / "b").close()
    else:
        try:
            with Reader(tmp_path / "b") as reader:
                named = [(member.name, member.size) for member in reader.members]
            raise AssertionError(named)
        except MalformedError:
            pass


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    """Attack 89: a FIFO or a folder in place of a bundle does not hang the reader."""
    os.mkfifo(tmp_path / "fifo")
    refused(tmp_path / "fifo", "not a regular file")
    refused(tmp_path, "not a regular file")
    with pytest.raises(StoreError):
        Reader(tmp_path / "missing")


def test_a_bundle_that_shrinks_is_noticed(tmp_path: Path) -> None:
    """Attack 87: a medium that ends early while it is read is an error, not a short member."""
    path = bundle(tmp_path / "b")
    with Reader(path) as reader:
        os.truncate(path, reader.members[-2].offset + 100)
        with pytest.raises(MalformedError, match="in the middle"):
            reader.read(reader.members[-2])


def test_a_large_member_comes_in_pieces(tmp_path: Path) -> None:
    """A pack is read with a bounded buffer."""
    content = os.urandom(300_000)
    path = bundle(tmp_path / "b", {"SEALIFT.json": b"{}", f"packs/{DIGEST}.zst": content})
    with Reader(path) as reader:
        pieces = [bytes(piece) for piece in reader.pieces(reader.members[1], 65_536)]
    assert max(map(len, pieces)) <= 65_536
    assert b"".join(pieces) == content


def test_the_limits_are_those_of_the_specification() -> None:
    """`docs/reference/format.md` and the code say the same about each kind of member."""
    page = (Path(__file__).parents[2] / "docs" / "reference" / "format.md").read_text(encoding="utf-8")
    units = {20: "MiB", 10: "KiB", 30: "GiB"}
    for kind, (_, largest, most) in container._KINDS.items():
        (row,) = [line for line in page.splitlines() if line.startswith(f"| {kind} | `")]
        shift = max(shift for shift in units if largest >= 1 << shift)
        assert f"| {largest >> shift} {units[shift]}" in row
        assert f"{most:,}" in row
