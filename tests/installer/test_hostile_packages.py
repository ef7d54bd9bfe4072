"""Packages that are not what they say: each is refused before anything of an index changes."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import random
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from distributions import npm, sdist, tarred, wheel
from distributions import zipped as packed
from worlds import Connected, Isolated

from installer.indexes import tarball, zipped
from installer.indexes.packument import Packuments
from installer.indexes.simple import Simple
from sealift.errors import MalformedError

KEY = "0" * 64
Files = dict[str, bytes]


@pytest.fixture
def refused(tmp_path: Path) -> Callable[[Files, str], None]:
    """Sees that the one package of these files is refused, for a reason."""

    def see(files: Files, why: str) -> None:
        ((name, content),) = files.items()
        file = tmp_path / "package"
        file.write_bytes(content)
        form = Packuments("http://npm.site.local/") if name.endswith(".tgz") else Simple()
        with pytest.raises(MalformedError, match=why) as caught:
            form.examine(name, file, KEY, KEY)
        assert caught.value.hint

    return see


def _renamed(files: Files, name: str) -> Files:
    (content,) = files.values()
    return {name: content}


METADATA = b"Metadata-Version: 2.1\nName: %s\nVersion: 1.0\n%s\n"
WHEELS = {
    "an absolute path": (wheel("x", more={"/etc/passwd": b""}), "would not stay in its folder"),
    "a path that climbs": (wheel("x", more={"x/../../evil.py": b""}), "would not stay in its folder"),
    "a backslash": (wheel("x", more={"x\\evil.py": b""}), "would not stay in its folder"),
    "another project": (wheel("x", metadata=METADATA % (b"y", b"")), "another project"),
    "no name": (wheel("x", metadata=b"Metadata-Version: 2.1\n\n"), "another project"),
    "two names": (wheel("x", metadata=METADATA % (b"x", b"Name: y\n")), "twice in its metadata"),
    "metadata of another": (_renamed(wheel("y"), "x-1.0-py3-none-any.whl"), "lacks the METADATA of x"),
    "no metadata": ({"x-1.0-py3-none-any.whl": packed({"x.py": b""})}, "lacks the METADATA"),
    "metadata of two": (
        wheel("x", more={"x-2.0.dist-info/METADATA": METADATA % (b"x", b"")}),
        "lacks the METADATA",
    ),
    "metadata too large": (wheel("x", metadata=METADATA % (b"x", b"A" * (5 << 20))), "more than"),
    "markup as a requirement": (
        wheel("x", metadata=METADATA % (b"x", b'Requires-Python: ">&<script>\n')),
        "requires a python that cannot be read",
    ),
    "no zip": ({"x-1.0-py3-none-any.whl": b"PK\x03\x04 no"}, "no zip file"),
    "a cut zip": ({name: content[:-30] for name, content in wheel("x").items()}, "no zip file"),
    "no such name": (_renamed(wheel("x"), "x-1.0.whl"), "no name of a wheel"),
    "another type": ({"x-1.0.exe": b"MZ"}, "no wheel and no source distribution"),
    "a folder": ({"deep/x-1.0-py3-none-any.whl": b""}, "lies in a folder"),
    "a source of another": (_renamed(sdist("y"), "x-1.0.tar.gz"), "another project"),
    "a source without its name": ({"x-1.0.tar.gz": tarred({"x-1.0/setup.py": b""})}, "lacks PKG-INFO"),
    "a source that climbs": ({"x-1.0.tar.gz": tarred({"x-1.0/../../evil": b""})}, "leaves its folder"),
    "a source that is no gzip": ({"x-1.0.tar.gz": b"no"}, "no gzip file"),
    "a source of a zip without its name": ({"x-1.0.zip": packed({"x-1.0/setup.py": b""})}, "lacks PKG-INFO"),
}


@pytest.mark.parametrize(("files", "why"), WHEELS.values(), ids=WHEELS)
def test_a_hostile_python_package_is_refused(refused: Callable[[Files, str], None], files: Files, why: str) -> None:
    """52, 62: names that leave the folder, metadata of another project, too large, missing or twice."""
    refused(files, why)


def test_a_wheel_with_a_doubled_entry_is_refused(refused: Callable[[Files, str], None]) -> None:
    """62: one installer would take the first, another the last."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("x.py", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x.py", b"2")
    refused({"x-1.0-py3-none-any.whl": made.getvalue()}, "twice")


def test_a_zip64_wheel_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is made of more than 4 GiB, or 65,535 files."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    ((name, content),) = wheel("x").items()
    assert b"PK\6\6" in content
    (tmp_path / name).write_bytes(content)
    record, _ = Simple().examine(name, tmp_path / name, KEY, KEY)
    assert record.page == "x"


def test_a_wheel_behind_another_is_refused(refused: Callable[[Files, str], None]) -> None:
    """70: readers differ in what they see where two zip files are one."""
    ((name, content),) = wheel("x").items()
    refused({name: packed({"evil": b""}) + content}, "damaged")
    refused({name: content + b"more"}, "damaged")


def test_a_wheel_with_a_lying_size_is_refused(refused: Callable[[Files, str], None]) -> None:
    """67, 69: the metadata decompresses to more than its directory says."""
    metadata = METADATA % (b"x", b"\n" + b"A" * (6 << 20))
    ((name, content),) = wheel("x", metadata=metadata).items()
    lying = content.replace(len(metadata).to_bytes(4, "little"), (99).to_bytes(4, "little"))
    assert lying != content
    refused({name: lying}, "damaged")


def test_a_wheel_with_a_huge_directory_takes_no_memory(
    refused: Callable[[Files, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """64: what a reader of zip files holds is bounded."""
    monkeypatch.setattr(zipped, "DIRECTORY_MAX", 70_000)
    many = {f"x/{number:040}.py": b"" for number in range(2_000)}
    refused(wheel("x", more=many), "directory of more than")


TARBALLS = {
    "another name": (_renamed(npm("y"), "x/x-1.0.0.tgz"), "another package"),
    "another scope": (_renamed(npm("@a/x"), "@b/x/x-1.0.0.tgz"), "another package"),
    "another version": (_renamed(npm("x", "2.0.0"), "x/x-1.0.0.tgz"), "as which it is not named"),
    "no version": (npm("x", package={"version": None}), "no version that npm takes"),
    "a strange version": (npm("x", package={"version": "1.0"}), "no version that npm takes"),
    "no package.json": ({"x/x-1.0.0.tgz": tarred({"package/index.js": b""})}, "does not hold one package.json"),
    "two package.json": (
        {"x/x-1.0.0.tgz": tarred({"package/package.json": b"{}", "other/package.json": b"{}"})},
        "does not hold one package.json",
    ),
    "no json": ({"x/x-1.0.0.tgz": tarred({"package/package.json": b"no"})}, "cannot be read"),
    "no object": ({"x/x-1.0.0.tgz": tarred({"package/package.json": b"[]"})}, "no object"),
    "nested json": ({"x/x-1.0.0.tgz": tarred({"package/package.json": b'{"a":' + b"[" * 200_000})}, "cannot be read"),
    "no number": (npm("x", package={"engines": {"node": float("nan")}}), "holds what no json is"),
    "large json": (npm("x", package={"readme": "A" * (2 << 20)}), "more than"),
    "a path that climbs": (
        {"x/x-1.0.0.tgz": tarred({"package/package.json": b"{}", "package/../../evil": b""})},
        "leaves its folder",
    ),
    "an absolute path": ({"x/x-1.0.0.tgz": tarred({"/etc/passwd": b""})}, "leaves its folder"),
    "a strange name": (npm("x y"), "another package"),
    "cut": ({name: content[:-40] for name, content in npm("x").items()}, "ends too early"),
    "more behind it": ({name: content + b"more" for name, content in npm("x").items()}, "behind its end"),
}


@pytest.mark.parametrize(("files", "why"), TARBALLS.values(), ids=TARBALLS)
def test_a_hostile_npm_package_is_refused(refused: Callable[[Files, str], None], files: Files, why: str) -> None:
    """39, 41, 52: names, versions and JSON that are not what they should be."""
    refused(files, why)


def test_a_doubled_package_json_is_refused(refused: Callable[[Files, str], None]) -> None:
    """62: npm would take the last."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for content in (b'{"name": "x", "version": "1.0.0"}', b'{"name": "y", "version": "1.0.0"}'):
            member = tarfile.TarInfo("package/package.json")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    refused({"x/x-1.0.0.tgz": gzip.compress(made.getvalue())}, "twice")


def _raw(kind: bytes, size: int, name: bytes = b"package/a") -> bytes:
    member = tarfile.TarInfo(name.decode())
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (_raw(b"x", 2 << 20) + bytes(2 << 20), "header of more than"),
        (_raw(b"L", 2 << 20) + bytes(2 << 20), "header of more than"),
        (_raw(b"x", 512) + b"99 path=x\n".ljust(512, b"\0"), "damaged pax header"),
        (_raw(b"0", 1 << 50), "ends too early"),
        (bytes(1024), "does not hold one package.json"),
        (bytes(512) + _raw(b"0", 0), "behind its end"),
        (b"\xff" * 512, "header is damaged"),
        (_raw(b"0", 0).replace(b"package/a", b"package/\xff"), "header is damaged"),
    ],
    ids=[
        "a pax header",
        "a long name",
        "a damaged pax header",
        "a large size",
        "nothing",
        "hidden",
        "noise",
        "a checksum",
    ],
)
def test_a_hostile_tar_is_refused(refused: Callable[[Files, str], None], content: bytes, why: str) -> None:
    """65: sizes and headers that cannot be."""
    refused({"x/x-1.0.0.tgz": gzip.compress(content)}, why)


def test_a_bomb_is_cut_off(refused: Callable[[Files, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """67: what a tarball decompresses to is bounded, and never held."""
    monkeypatch.setattr(tarball, "BYTES_MAX", 64 << 20)
    content = gzip.compress(_raw(b"0", 200 << 20) + bytes(200 << 20), 1)
    tracemalloc.start()
    refused({"x/x-1.0.0.tgz": content}, "decompresses to more than")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_too_many_members_are_refused(refused: Callable[[Files, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """64: the names of a tarball are held, so there is a bound."""
    monkeypatch.setattr(tarball, "MEMBERS_MAX", 100)
    refused({"x/x-1.0.0.tgz": tarred({f"package/{number}": b"" for number in range(101)})}, "more than 100 members")


@pytest.mark.parametrize("files", [wheel("x"), sdist("x"), npm("x")], ids=["wheel", "sdist", "npm"])
def test_damage_is_refused_or_harmless(tmp_path: Path, files: Files) -> None:
    """76: whatever byte is another, it is a refusal and no crash."""
    ((name, content),) = files.items()
    form = Packuments("http://npm.site.local/") if name.endswith(".tgz") else Simple()
    chance, file = random.Random(1), tmp_path / "package"
    for _ in range(600):
        damaged = bytearray(content)
        for _ in range(chance.choice((1, 1, 3, 20))):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        file.write_bytes(damaged)
        with contextlib.suppress(MalformedError):
            form.examine(name, file, KEY, KEY)


def test_long_names_of_both_kinds_are_read(tmp_path: Path) -> None:
    """As pax and GNU tar write them; else a second package.json could hide behind one."""
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w", format=form) as tar:
            for path in ("package/" + "a" * 200, "package/" + "b/" * 60 + "c" * 90):
                tar.addfile(tarfile.TarInfo(path))
        (tmp_path / "it.tgz").write_bytes(gzip.compress(made.getvalue()))
        _, names = tarball.small_files(tmp_path / "it.tgz", "it", lambda _: False, 1)
        assert names == {"package/" + "a" * 200, "package/" + "b/" * 60 + "c" * 90}


@pytest.mark.parametrize("kind", ["wheels", "npm"])
def test_a_refused_package_leaves_the_index_as_it_was(
    connected: Connected, isolated: Isolated, tmp_path: Path, kind: str
) -> None:
    """An honest package beside it is not kept either; the release before is served."""
    good, evil = (
        (wheel("a"), WHEELS["another project"][0]) if kind == "wheels" else (npm("a"), TARBALLS["no version"][0])
    )
    isolated.admit(connected.packages("1.0", good, kind=kind))
    isolated.admit(
        connected.packages("1.1", {**good, **(wheel("b") if kind == "wheels" else npm("b")), **evil}, kind=kind)
    )
    root = tmp_path / "index"
    settings = (
        f"kind: pypi-index, path: {root}"
        if kind == "wheels"
        else f"kind: npm-registry, path: {root}, base_url: 'http://n/'"
    )
    isolated.deploy("1.0", f"{{{settings}}}")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    with pytest.raises(MalformedError):
        isolated.deploy("1.1", f"{{{settings}}}")
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_json_in_a_packument_is_no_markup(connected: Connected, isolated: Isolated, tmp_path: Path) -> None:
    """A browser that is led there by a plain web server runs nothing."""
    said = {"bin": {"x": "</script><script>alert(1)</script>"}}
    isolated.admit(connected.packages("1.0", npm("x", package=said), kind="npm"))
    isolated.deploy("1.0", f"{{kind: npm-registry, path: {tmp_path / 'npm'}, base_url: 'http://n/'}}")
    content = (tmp_path / "npm/current/x/index.html").read_bytes()
    assert b"<" not in content
    assert json.loads(content)["versions"]["1.0.0"]["bin"] == said["bin"]
