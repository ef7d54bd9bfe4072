"""Content that a broken or malicious exporter signed with a valid key is refused by the rules of the format."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from forge import CHUNKS, Forge, Spoils, canonical, compress, file, folder, honest, link, sha256
from worlds import Isolated

from installer.auditing import audit
from installer.records.state import SINCE
from sealift.errors import SealiftError
from sealift.progress import Silent

Refuses = Callable[..., SealiftError]
Lines = list[Any]
MAX = 2**63
NAMES = {
    "52 a path that climbs": ("..", "has the component '..'"),
    "52 a path that climbs inside": ("a/../../b", "component '..'"),
    "52 a dot in a path": ("a/./b", "component '.'"),
    "52 an absolute path": ("/etc/passwd", "empty or absolute"),
    "52 two slashes": ("a//b", "component ''"),
    "52 a slash at the end": ("a/", "component ''"),
    "52 a drive": ("C:\\windows", "the character '\\\\\\\\'"),
    "52 a UNC path": ("\\\\server\\share", "the character '\\\\\\\\'"),
    "an empty path": ("", "empty or absolute"),
    "51 NUL": ("a\0b", "not allowed in a name"),
    "51 a newline": ("a\nb", "not allowed in a name"),
    "51 a terminal escape": ("a\x1b[2Jb", "not allowed in a name"),
    "51 bidirectional text": ("gpj.\u202eexe", "not allowed in a name"),
    "51 an invisible character": ("a\u200bb", "not allowed in a name"),
    "42 a byte-order mark": ("\ufeffa", "not allowed in a name"),
    "60 an over-long component": ("x" * 256, "component longer than 255 bytes"),
    "60 an over-long component in bytes": ("é" * 128, "component longer than 255 bytes"),
    "60 an over-long path": ("/".join(["d" * 200] * 16), "longer than 3072 bytes"),
}


@pytest.mark.parametrize("line", [file, folder, link], ids=["file", "dir", "link"])
@pytest.mark.parametrize(("path", "said"), NAMES.values(), ids=NAMES)
def test_a_bad_path_is_refused(
    path: str, said: str, line: Callable[..., Any], forge: Forge, tmp_path: Path, refuses: Refuses
) -> None:
    """51, 52, 60: whatever bears it."""
    made = link(path, "x") if line is link else line(path)
    refuses(forge.bundle(tmp_path / "bad", {"entries": lambda _: [made]}, version=2), 4, said)


def tree(*lines: Any) -> Spoils:
    """Another tree."""
    return {"entries": lambda _: list(lines)}


def changed(number: int, **fields: Any) -> Spoils:
    """An honest tree with other fields in one line; None takes one away."""
    return {"entries": lambda lines: [_other(line, fields) if n == number else line for n, line in enumerate(lines)]}


def _other(line: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {**line, **fields}.items() if value is not None}


def raw(line: bytes) -> Spoils:
    """A tree whose only line is these bytes."""
    return {"entries": lambda _: [line]}


TREES: dict[str, tuple[Spoils, str]] = {
    "62 a path twice": (tree(file("a"), file("a")), "comes twice or out of order"),
    "62 a folder twice": (tree(folder("a"), folder("a")), "comes twice or out of order"),
    "out of order": (tree(file("b"), file("a")), "comes twice or out of order"),
    "sorted as strings, not depth first": (tree(folder("a"), file("a-b"), file("a/b")), "comes twice or out of order"),
    "58 letter case": (tree(file("README"), file("readme")), "other letter case or Unicode form"),
    "57 Unicode form": (tree(file("e\u0301"), file("\u00e9")), "other letter case or Unicode form"),
    "58 a folder and a link": (tree(folder("A"), link("a", "A")), "other letter case or Unicode form"),
    "58 in a folder": (tree(folder("d"), file("d/X"), file("d/x")), "other letter case or Unicode form"),
    "61 below a file": (tree(file("a"), file("a/b")), "lies in no folder of the tree"),
    "53 below a symlink": (tree(link("a", "b"), file("a/b")), "lies in no folder of the tree"),
    "below a folder that is not there": (tree(file("a/b")), "lies in no folder of the tree"),
    "53 a link out of the tree": (tree(link("a", "../b")), "leaves the tree"),
    "53 a link far out": (tree(folder("d"), link("d/a", "../../../etc/passwd")), "leaves the tree"),
    "53 an absolute link": (tree(link("a", "/etc/passwd")), "not inside the tree"),
    "53 out by another link": (
        tree(folder("d"), folder("d/e"), link("d/e/up", "../.."), link("out", "d/e/up/..")),
        "climbs after a name",
    ),
    "53 an empty link": (tree({"path": "a", "type": "link"}), "not inside the tree"),
    "51 a link with a newline": (tree(link("a", "b\nc")), "not inside the tree"),
    "60 an over-long link": (tree(link("a", "b/" * 1600)), "not inside the tree"),
    "52 a link with a backslash": (tree(link("a", "..\\b")), "not inside the tree"),
    "a link with a mode": (tree({"path": "a", "type": "link", "mode": "0755", "target": "b"}), "has a mode"),
    "a link with content": (tree({**file("a", b"x"), "type": "link"}), "has content"),
    "a folder with a target": (tree({**folder("a"), "target": "b"}), "lacks its mode or has a target"),
    "a folder that cannot be entered": (tree({**folder("a"), "mode": "0644"}), "lacks its mode"),
    "a folder with content": (tree({**folder("a"), "size": 1}), "has content"),
    "a file with a target": (changed(1, target="x"), "lacks a field or has one too many"),
    "a file without a mode": (changed(1, mode=None), "lacks a field or has one too many"),
    "56 setuid": (changed(1, mode="4755"), "invalid enum value"),
    "56 writable by all": (changed(1, mode="0777"), "invalid enum value"),
    "a mode as a number": (changed(1, mode=493), "expected `str`"),
    "55 a device": (changed(1, type="device"), "invalid enum value"),
    "55 a FIFO": (changed(1, type="fifo"), "invalid enum value"),
    "54 a hard link": (changed(1, type="hardlink"), "invalid enum value"),
    "an unknown field": (changed(1, xattrs={"security.capability": "x"}), "unknown field"),
    "66 an owner": (changed(1, uid=0), "unknown field"),
    "no path": (changed(1, path=None), "missing required field"),
    "pieces that are too short": (changed(3, sizes=[1, 1]), "sizes do not fit"),
    "pieces that do not sum up": (changed(3, size=1), "sizes do not fit"),
    "one size too few": (changed(3, sizes=[5]), "lacks a field"),
    "one size too many": (changed(1, sizes=[17]), "lacks a field"),
    "no chunks": (changed(1, chunks=None), "sizes do not fit"),
    "77 a negative size": (changed(1, size=-1), "sizes do not fit"),
    "77 sizes that sum up by a negative one": (changed(3, size=10, sizes=[20, -10]), "sizes do not fit"),
    "77 a size of 2^63": (changed(1, size=MAX), "sizes do not fit"),
    "77 a size of 2^64": (changed(1, size=2**64), "malformed|do not fit"),
    "77 a size of 2^200": (changed(1, size=2**200), "malformed|do not fit"),
    "77 a piece of a GiB": (changed(1, size=1 << 30), "sizes do not fit"),
    "38 a size as a float": (changed(1, size=17.5), "expected `int`"),
    "38 a whole float": (raw(b'{"path":"a","type":"file","mode":"0644","size":0.0}'), "got `float`"),
    "38 a size as a boolean": (changed(1, size=True), "expected `int`"),
    "38 a size of 1e400": (raw(b'{"path":"a","type":"file","mode":"0644","size":1e400}'), "malformed"),
    "38 a size as text": (changed(1, size="17"), "expected `int`"),
    "41 a size of NaN": (raw(b'{"path":"a","type":"file","mode":"0644","size":NaN}'), "malformed"),
    "40 a size of a million digits": (
        raw(b'{"path":"a","type":"file","mode":"0644","size":' + b"9" * 10**6 + b"}"),
        "malformed|do not fit",
    ),
    "a digest that is none": (changed(1, chunks=["x" * 64]), "names no sha-256"),
    "a digest in upper case": (changed(1, chunks=["A" * 64]), "names no sha-256"),
    "one chunk with two sizes": (
        tree(file("a", b"x"), {**file("b", b"x"), "size": 2}),
        "gives one chunk two sizes",
    ),
    "36 a key twice": (raw(b'{"path":"a","path":"b","type":"dir","mode":"0755"}'), "canonical"),
    "white space": (raw(b'{"path": "a","type":"dir","mode":"0755"}'), "canonical"),
    "keys in another order": (raw(b'{"type":"dir","path":"a","mode":"0755"}'), "canonical"),
    "a default written out": (raw(b'{"path":"a","type":"dir","mode":"0755","size":0}'), "canonical"),
    "an escape that needs none": (raw(b'{"path":"\\u0061","type":"dir","mode":"0755"}'), "canonical"),
    "39 deep nesting": (raw(b'{"path":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "malformed"),
    "39 deep nesting in an unknown field": (raw(b'{"x":' + b"[" * 10**5 + b"]" * 10**5 + b"}"), "malformed"),
    "42 overlong UTF-8": (raw(b'{"path":"\xc0\xaf","type":"dir","mode":"0755"}'), "malformed"),
    "42 a lone surrogate": (raw(b'{"path":"\\ud800","type":"dir","mode":"0755"}'), "malformed|not allowed"),
    "42 a byte-order mark": (raw(b'\xef\xbb\xbf{"path":"a","type":"dir","mode":"0755"}'), "malformed"),
    "an empty line": (raw(b""), "malformed"),
    "no JSON": (raw(b"hello"), "malformed"),
    "a list": (raw(b"[]"), "malformed"),
    "a second heading": (raw(b'{"format":1,"type":"tree"}'), "malformed"),
    "too few files in its manifest": ({"artifact": lambda a: {**a, "files": 1}}, "does not hold what its manifest"),
    "too many bytes in its manifest": (
        {"artifact": lambda a: {**a, "bytes": 10**9}},
        "does not hold what its manifest",
    ),
}


@pytest.mark.parametrize(("spoils", "said"), TREES.values(), ids=TREES)
def test_a_tree_that_breaks_a_rule_is_refused(
    spoils: Spoils, said: str, forge: Forge, tmp_path: Path, refuses: Refuses
) -> None:
    """36 to 42, 53 to 62, 77: the signature says who wrote a tree, and never that it is in order."""
    refuses(forge.bundle(tmp_path / "bad", spoils, version=2), 4, said)


def index(**fields: Any) -> Spoils:
    """An honest index with other fields in its one frame; None takes one away."""
    return {"lines": lambda lines: [_other(lines[0], fields)]}


def halves(**fields: Any) -> Spoils:
    """Two frames, the second with other fields."""
    frames = [compress(b"".join(CHUNKS[:2])), compress(CHUNKS[2])]
    first = {"size": len(CHUNKS[0] + CHUNKS[1]), "chunks": [[0, 2]]}
    second = {"size": len(CHUNKS[2]), "chunks": [[2, 1]]}
    return {
        "frames": lambda _: frames,
        "lines": lambda lines: [{**lines[0], **first}, _other({**lines[1], **second}, fields)],
    }


INDEXES: dict[str, tuple[Spoils, str]] = {
    "77 frames that overlap": (halves(offset=0), "overlaps another or leaves a gap"),
    "77 a gap between frames": (halves(offset=10**6), "overlaps another or leaves a gap"),
    "77 a gap at the start": (index(offset=1), "overlaps another or leaves a gap"),
    "77 a negative offset": (index(offset=-1), "overlaps another or leaves a gap"),
    "77 an offset of 2^63": (index(offset=MAX), "overlaps another or leaves a gap"),
    "77 an offset of 2^64": (index(offset=2**64), "malformed|overlaps"),
    "77 beyond the end of the pack": (index(length=10**6), "larger than its pack"),
    "77 short of the end of the pack": (index(length=10), "does not cover every chunk and every byte"),
    "77 a length of nothing": (index(length=0), "overlaps another or leaves a gap"),
    "77 a negative length": (index(length=-5), "overlaps another or leaves a gap"),
    "77 a length of 2^63": (index(length=MAX), "larger than its pack"),
    "a pack that is not there": (index(pack=1), "overlaps another or leaves a gap"),
    "a negative pack": (index(pack=-1), "overlaps another or leaves a gap"),
    "a pack of 2^63": (index(pack=MAX), "overlaps another or leaves a gap"),
    "a wrong size": (index(size=7), "does not have the size of its chunks"),
    "a negative size": (index(size=-7), "larger than its pack or than a frame may be"),
    "67 a size of 16 MiB": (index(size=16 << 20), "than a frame may be"),
    "67 a size of 2^63": (index(size=MAX), "than a frame may be"),
    "a digest that is none": (index(sha256="x"), "names no sha-256 digest"),
    "a chunk too many": (index(chunks=[[0, 4]]), "chunks that do not exist or that another holds"),
    "a chunk too few": (index(chunks=[[0, 2]], size=len(CHUNKS[0] + CHUNKS[1])), "does not cover every chunk"),
    "a chunk twice": (index(chunks=[[0, 2], [1, 2]]), "that another holds"),
    "a chunk in two frames": (halves(chunks=[[1, 1]], size=len(CHUNKS[1])), "that another holds"),
    "a chunk before the first": (index(chunks=[[-1, 3]]), "chunks that do not exist"),
    "an empty run": (index(chunks=[[0, 0], [0, 3]]), "chunks that do not exist"),
    "a negative run": (index(chunks=[[2, -2]]), "chunks that do not exist"),
    "77 a run of 2^63": (index(chunks=[[0, MAX]]), "chunks that do not exist"),
    "77 a run that begins at 2^63": (index(chunks=[[MAX, 1]]), "chunks that do not exist"),
    "no runs": (index(chunks=[]), "does not have the size of its chunks"),
    "a run of three numbers": (index(chunks=[[0, 1, 2]]), "malformed"),
    "38 a float in a run": (index(chunks=[[0, 3.5]]), "malformed"),
    "38 a float as an offset": (index(offset=0.5), "malformed"),
    "38 a whole float as an offset": (index(offset=0.0), "got `float`"),
    "38 a boolean as a pack": (index(pack=False), "malformed"),
    "an unknown field": (index(dictionary="x"), "unknown field"),
    "a field too few": (index(sha256=None), "missing required field"),
    "36 a key twice": ({"lines": lambda lines: [b'{"pack":1,' + canonical(lines[0])[1:]]}, "canonical"),
    "keys in another order": ({"lines": lambda lines: [canonical(lines[0])]}, "canonical"),
    "no frames": ({"lines": lambda _: []}, "does not cover every chunk"),
    "a pack that nothing is in": ({"packs": lambda packs: [*packs, compress(b"more")]}, "does not cover"),
}


@pytest.mark.parametrize(("spoils", "said"), INDEXES.values(), ids=INDEXES)
def test_an_index_that_breaks_a_rule_is_refused(
    spoils: Spoils, said: str, forge: Forge, tmp_path: Path, refuses: Refuses
) -> None:
    """36, 38, 77: every chunk lies in one frame, and every byte of a pack in one as well."""
    refuses(forge.bundle(tmp_path / "bad", spoils, version=2), 4, said)


def both(layer: str, change: Callable[[Any], Any]) -> list[Spoils]:
    """The same change in the tree and in the index."""
    return [{layer.format("tree"): change}, {layer.format("index"): change}]


LISTINGS: dict[str, tuple[list[Spoils], int, str]] = {
    "no newline at the end": (
        [{"tree_text": lambda t: t[:-1], "tree": lambda b: {**b, "size": b["size"] - 1}}],
        4,
        "does not end with a whole line",
    ),
    "69 more comes out than is said": (both("{}_text", lambda t: t + b"\n"), 5, "does not hold as much|decompressed"),
    "69 less comes out than is said": (both("{}_text", lambda t: t[:-20]), 5, "does not hold as much|decompressed"),
    "69 its size is larger": (both("{}", lambda b: {**b, "size": b["size"] + 1}), 5, "does not hold as much"),
    "69 its size is smaller": (both("{}", lambda b: {**b, "size": b["size"] - 1}), 5, "does not hold as much"),
    "69 its size is nothing": (both("{}", lambda b: {**b, "size": 0}), 4, "a listing of 0 bytes"),
    "69 its size is negative": (both("{}", lambda b: {**b, "size": -1}), 4, "a listing of -1 bytes"),
    "67 its size is 2^63": (both("{}", lambda b: {**b, "size": MAX}), 4, "the limit is"),
    "77 its length is negative": (both("{}", lambda b: {**b, "length": -1}), 4, "a file of -1 bytes"),
    "77 its length is 2^63": (both("{}", lambda b: {**b, "length": MAX}), 4, "the limit is"),
    "77 its length is another": (both("{}", lambda b: {**b, "length": b["length"] + 1}), 5, "its manifest says"),
    "76 its digest is another": (both("{}", lambda b: {**b, "sha256": "0" * 64}), 4, "lacks its member"),
    "a digest that climbs": (both("{}", lambda b: {**b, "sha256": "../../etc/passwd"}), 4, "names no sha-256"),
    "the content's digest is another": (
        [{"artifact": lambda a: {**a, "digest": "0" * 64}}],
        5,
        "the content of a tree does not match",
    ),
    "70 two frames": (both("{}_file", lambda f: f + compress(b"x")), 5, "bytes follow the end"),
    "70 a byte behind the frame": (both("{}_file", lambda f: f + b"x"), 5, "bytes follow the end"),
    "70 a skippable frame in front": (
        both("{}_file", lambda f: b"\x50\x2a\x4d\x18\4\0\0\0abcd" + f),
        5,
        "cannot be decompressed: no zstd frame",
    ),
    "71 a checksum": (both("{}_file", lambda f: _zstd(_text(f), write_checksum=True)), 5, "a checksum"),
    "72 a dictionary": (both("{}_file", lambda f: f[:4] + bytes([f[4] | 1]) + f[5:]), 5, "asks for a dictionary"),
    "73 a cut frame": (both("{}_file", lambda f: f[:-3]), 5, "cut off"),
    "not zstd": (both("{}_file", lambda f: b"PK\3\4" + f), 5, "no zstd frame starts here"),
    "nothing at all": (both("{}_file", lambda f: b"\x28\xb5\x2f\xfd"), 5, "no zstd frame starts here"),
    "another format": (
        both("{}_text", lambda t: t.replace(b'"format":1', b'"format":2', 1)),
        4,
        "has format 2, and this program reads format 1",
    ),
    "another type": (
        both("{}_text", lambda t: t.replace(b'"type":"tree"', b'"type":"plan"').replace(b'"index"', b'"trees"')),
        4,
        "says that it is a",
    ),
}


def _text(frame: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(frame)


def _zstd(text: bytes, *, write_checksum: bool) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=write_checksum).compress(text)


@pytest.mark.parametrize(
    ("spoils", "exit_code", "said"),
    [
        pytest.param(spoils, exit_code, said, id=f"{name}: {next(iter(spoils))}")
        for name, (several, exit_code, said) in LISTINGS.items()
        for spoils in several
    ],
)
def test_a_listing_that_lies_about_itself_is_refused(
    spoils: Spoils, exit_code: int, said: str, forge: Forge, tmp_path: Path, refuses: Refuses
) -> None:
    """67 to 73: trees and indexes are exactly one frame, of exactly the signed size."""
    refuses(forge.bundle(tmp_path / "bad", spoils, version=2), exit_code, said)


def release(**fields: Any) -> Spoils:
    """Another release manifest; None takes a field away."""
    return {"release": lambda manifest: _other(manifest, fields)}


def bundle(**fields: Any) -> Spoils:
    """Another bundle manifest; None takes a field away."""
    return {"bundle": lambda manifest: _other(manifest, fields)}


def part(**fields: Any) -> Spoils:
    """Another part of the bundle manifest."""
    return {"bundle": lambda manifest: {**manifest, "parts": [_other(manifest["parts"][0], fields)]}}


def said_release(**fields: Any) -> Spoils:
    """Another description of the release in the bundle manifest."""

    def change(manifest: dict[str, Any]) -> dict[str, Any]:
        only = manifest["parts"][0]
        return {**manifest, "parts": [{**only, "release": {**only["release"], **fields}}]}

    return {"bundle": change}


def spaced(content: bytes) -> bytes:
    """The same JSON with white space."""
    return json.dumps(json.loads(content), sort_keys=True).encode()


def twice(content: bytes) -> bytes:
    """The same JSON with a key twice."""
    return b'{"format":1,' + content[1:]


def unsorted(content: bytes) -> bytes:
    """The same JSON with its keys in another order."""
    return json.dumps(dict(reversed(json.loads(content).items())), separators=(",", ":")).encode()


MANIFESTS: dict[str, tuple[Spoils, int, str]] = {
    "a release of format 2": (release(format=2), 4, "has format 2, and this program reads format 1"),
    "a bundle of format 2": (bundle(format=2), 4, "has format 2, and this program reads format 1"),
    "format 2 with fields that nobody knows yet": (release(format=2, x=1), 4, "has format 2"),
    "38 a format that is no number": (release(format="1"), 4, "malformed"),
    "38 a boolean as a format": (release(format=True), 4, "malformed"),
    "38 a float as a format": ({"release_file": lambda c: c.replace(b'"format":1', b'"format":1.0')}, 4, "got `float`"),
    "a release as a bundle": (bundle(type="release"), 4, "malformed"),
    "a bundle as a release": (release(type="bundle"), 4, "malformed"),
    "an unknown field of a release": (release(scripts=["x"]), 4, "unknown field"),
    "an unknown field of a bundle": (bundle(x=1), 4, "unknown field"),
    "an unknown field of an artifact": ({"artifact": lambda a: {**a, "x": 1}}, 4, "unknown field"),
    "an unknown field of a part": (part(x=1), 4, "unknown field"),
    "a missing field": (release(artifacts=None), 4, "missing required field"),
    "no artifacts": (release(artifacts=[]), 4, "no artifacts"),
    "an artifact twice": ({"release": lambda m: {**m, "artifacts": m["artifacts"] * 2}}, 4, "not in order"),
    "another kind of artifact": ({"artifact": lambda a: {**a, "kind": "cluster"}}, 4, "invalid enum value"),
    "52 an artifact that climbs": ({"artifact": lambda a: {**a, "name": "../web"}}, 4, "no valid name"),
    "58 an artifact in capitals": ({"artifact": lambda a: {**a, "name": "Web"}}, 4, "no valid name"),
    "77 a negative count": ({"artifact": lambda a: {**a, "files": -1}}, 4, "negative size"),
    "38 a boolean as a count": ({"artifact": lambda a: {**a, "files": True}}, 4, "malformed"),
    "52 a release that climbs": (release(name="../shop"), 4, "no valid name"),
    "51 a release with an escape": (release(name="shop\x1b[2J"), 4, "no valid name"),
    "52 a version that climbs": (release(version="1..0"), 4, "no valid version"),
    "a release of another name than its target": (release(name="other"), 6, "calls itself other@1.0.0"),
    "a release of another version than its target": (release(version="9.9.9"), 6, "calls itself shop@9.9.9"),
    "a bundle that names another release": (said_release(name="other"), 6, "does not vouch for release other@1.0.0"),
    "a bundle that names another version": (said_release(version="2"), 6, "does not vouch for release shop@2"),
    "52 a bundle that names a path": (said_release(name="../../x"), 4, "no valid name"),
    "a bundle with a release twice": (
        {"bundle": lambda m: {**m, "parts": m["parts"] * 2}},
        4,
        "has a release twice",
    ),
    "a bundle without parts": (bundle(parts=[]), 4, "no parts"),
    "64 a bundle with too many parts": ({"bundle": lambda m: {**m, "parts": m["parts"] * 1025}}, 4, "too many"),
    "a root version of 0": (bundle(root_version=0), 4, "no root version"),
    "77 a root version of 2^63": (bundle(root_version=MAX), 6, "signed under root"),
    "23 another root version": (bundle(root_version=7), 6, "root 7, and its root chain leads to 1"),
    "77 a pack of no bytes": (part(packs=[{"sha256": "0" * 64, "length": 0}]), 4, "a file of 0 bytes"),
    "77 a pack of 2^63 bytes": (part(packs=[{"sha256": "0" * 64, "length": MAX}]), 4, "the limit is"),
    "a pack that is not there": (part(packs=[{"sha256": "0" * 64, "length": 9}]), 4, "lacks its member packs/"),
    "a pack twice": (
        {"bundle": lambda m: {**m, "parts": [{**m["parts"][0], "packs": m["parts"][0]["packs"] * 2}]}},
        4,
        "does not cover|twice",
    ),
    "36 a key twice in a release": ({"release_file": twice}, 4, "the release manifest is not in canonical form"),
    "36 a key twice in a bundle": ({"bundle_file": twice}, 4, "the bundle manifest is not in canonical form"),
    "white space in a release": ({"release_file": spaced}, 4, "not in canonical form"),
    "white space in a bundle": ({"bundle_file": spaced}, 4, "not in canonical form"),
    "keys in another order": ({"release_file": unsorted}, 4, "not in canonical form"),
    "42 a byte-order mark": ({"release_file": lambda c: b"\xef\xbb\xbf" + c}, 4, "malformed"),
    "42 overlong UTF-8": ({"release_file": lambda c: c.replace(b"shop", b"\xc0\xafop")}, 4, "malformed"),
    "39 deep nesting": ({"release_file": lambda c: b'{"format":' + b"[" * 10**5 + b"]" * 10**5 + b"}"}, 4, "malformed"),
    "39 deep nesting elsewhere": (
        {"release_file": lambda c: b'{"format":1,"x":' + b"[" * 10**5 + b"]" * 10**5 + b"}"},
        4,
        "malformed",
    ),
    "40 huge digits": ({"release_file": lambda c: c.replace(b'"files":3', b'"files":' + b"9" * 10**5)}, 4, "malformed"),
    "no JSON": ({"release_file": lambda c: b"hello"}, 4, "malformed"),
    "a list": ({"bundle_file": lambda c: b"[]"}, 4, "malformed"),
    "a hook that names no program": (
        release(hooks={"after-switch": [{"run": [""], "timeout": 60}]}),
        4,
        "names no program",
    ),
    "a hook without end": (release(hooks={"after-switch": [{"run": ["x"], "timeout": 10**9}]}), 4, "malformed"),
    "a hook of another moment": (release(hooks={"always": []}), 4, "unknown field"),
}


@pytest.mark.parametrize(("spoils", "exit_code", "said"), MANIFESTS.values(), ids=MANIFESTS)
def test_a_manifest_that_breaks_a_rule_is_refused(
    spoils: Spoils, exit_code: int, said: str, forge: Forge, tmp_path: Path, refuses: Refuses
) -> None:
    """23, 36 to 42, 51, 52, 77: in releases and in bundles."""
    error = refuses(forge.bundle(tmp_path / "bad", spoils, version=2), exit_code, said)
    if "format 2" in error.message:
        assert error.hint == "install a newer sealift here"


def other_targets(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The signed targets with other fields in each."""
    return lambda targets: {path: _other(file, changes) for path, file in targets.items()}


TARGETS: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], int, str]] = {
    "no targets": (lambda _: {}, 6, "does not vouch for this bundle"),
    "no target for the release": (
        lambda t: {p: f for p, f in t.items() if "bundles" in p},
        6,
        "does not vouch for rel",
    ),
    "no target for the bundle": (lambda t: {p: f for p, f in t.items() if "releases" in p}, 6, "does not vouch for th"),
    "another length": (other_targets(length=5), 6, "is not the one that was signed"),
    "another digest": (other_targets(hashes={"sha256": "0" * 64}), 6, "is not the one that was signed"),
    "no digest": (other_targets(hashes={}), 4, "gives no sha-256 digest"),
    "another digest's name": (other_targets(hashes={"md5": "0" * 32}), 4, "gives no sha-256 digest"),
    "38 a length as text": (other_targets(length="1"), 4, "not valid tuf metadata"),
    "38 a boolean as a length": (other_targets(length=True), 4, "not valid tuf metadata"),
    "52 a target that climbs": (lambda t: {**t, "../x": next(iter(t.values()))}, 4, "not safe"),
    "58 targets that collide": (
        lambda t: {**t, "a": next(iter(t.values())), "A": next(iter(t.values()))},
        4,
        "targets that collide",
    ),
}


@pytest.mark.parametrize(("change", "exit_code", "said"), TARGETS.values(), ids=TARGETS)
def test_what_is_not_signed_for_is_refused(
    change: Callable[[Any], Any], exit_code: int, said: str, forge: Forge, tmp_path: Path, refuses: Refuses
) -> None:
    """38, 52, 58: a manifest counts only where the targets list it, with its digest and its length."""
    refuses(forge.bundle(tmp_path / "bad", {"targets": change}, version=2), exit_code, said)


@pytest.mark.parametrize(
    "custom", [None, {}, {"sealift": 1}, {"sealift": {"published": 5}}, {"sealift": {"published": "\x1b[2J" * 99}}]
)
def test_a_description_of_a_target_is_only_words(
    custom: object, forge: Forge, isolated: Isolated, tmp_path: Path
) -> None:
    """51: when a release was published is shown, and decides nothing."""
    isolated.admit(forge.bundle(tmp_path / "odd", {"targets": other_targets(custom=custom)}))
    (admitted,) = isolated.site.state.admitted
    assert admitted.published == ""
    assert isolated.site.state.newest == SINCE


def frame(made: bytes) -> Spoils:
    """A pack of this one frame, which the index describes as it should."""
    return {"frames": lambda _: [made]}


def _window(content: bytes, log: int) -> bytes:
    """A frame of one raw block that asks for a window of 2^log bytes (RFC 8878, 3.1.1.1.2)."""
    size = len(content)
    return b"\x28\xb5\x2f\xfd\x40" + bytes([(log - 10) << 3]) + (size - 256).to_bytes(2, "little") + _raw(content)


def _raw(content: bytes) -> bytes:
    return (len(content) << 3 | 1).to_bytes(3, "little") + content


HONEST = b"".join(CHUNKS)
FRAMES: dict[str, tuple[Spoils, str]] = {
    "69 more than is said": (frame(compress(HONEST + b"more")), "does not hold what the signed index says"),
    "69 less than is said": (frame(compress(HONEST[:-1])), "does not hold what the signed index says"),
    "69 a lie about its size": (
        frame(b"\x28\xb5\x2f\xfd\x60" + (len(HONEST) - 256).to_bytes(2, "little") + _raw(HONEST + b"more")),
        "cannot be decompressed",
    ),
    "67 a ratio bomb": (frame(compress(bytes(64 << 20))), "does not hold what the signed index says"),
    "67 a ratio bomb that lies": (
        frame(b"\x28\xb5\x2f\xfd\x60" + (len(HONEST) - 256).to_bytes(2, "little") + b"\x0a\0\0x" * 400 + b"\x0b\0\0x"),
        "cannot be decompressed",
    ),
    "69 no size": (frame(compress(HONEST)[:4] + b"\0\x58" + _raw(HONEST)), "does not hold what the signed index says"),
    "70 two frames": (frame(compress(HONEST) + compress(b"more")), "does not hold what the signed index says"),
    "70 two frames that make the size": (
        frame(compress(HONEST[:300]) + compress(HONEST[300:])),
        "does not hold what the signed index says",
    ),
    "70 a byte behind it": (frame(compress(HONEST) + b"x"), "does not hold what the signed index says"),
    "70 a skippable frame": (frame(b"\x50\x2a\x4d\x18\4\0\0\0abcd"), "does not hold|cannot be decompressed"),
    "70 a skippable frame in front": (
        frame(b"\x50\x2a\x4d\x18\4\0\0\0abcd" + compress(HONEST)),
        "does not hold|cannot be decompressed",
    ),
    "68 a window of 2 GiB": (frame(_window(HONEST, 31)), "larger window than a reader grants"),
    "72 a dictionary": (frame(compress(HONEST)[:4] + b"\x61\7" + compress(HONEST)[5:]), "asks for a dictionary"),
    "71 a checksum": (frame(_zstd(HONEST, write_checksum=True)), "a checksum"),
    "73 cut off": (frame(compress(HONEST)[:-4]), "cut off"),
    "a reserved block": (frame(compress(HONEST)[:7] + b"\7\0\0"), "cannot be decompressed"),
    "no zstd": (frame(b"PK\3\4" + HONEST), "cannot be decompressed"),
    "nothing": (frame(b"x"), "cannot be decompressed"),
}


@pytest.mark.parametrize(("spoils", "said"), FRAMES.values(), ids=FRAMES)
def test_a_hostile_frame_stops_the_apply_and_is_found_by_the_audit(
    spoils: Spoils, said: str, forge: Forge, good: Path, isolated: Isolated, tmp_path: Path
) -> None:
    """67 to 73: an import takes packs as they are; what does not decompress to its signed size is never deployed."""
    isolated.admit(good)
    isolated.apply("1.0.0")
    isolated.admit(forge.bundle(tmp_path / "bad", spoils, version=2, release="2.0.0"))
    before = _served(isolated)
    with pytest.raises(SealiftError, match=said) as caught:
        isolated.apply("2.0.0")
    assert caught.value.exit_code in (5, 9)
    assert _served(isolated) == before
    found = audit(isolated.site, deep=True, workers=2, progress=Silent())
    assert [each.releases for each in found.damaged] == [("shop@2.0.0",)]


def test_content_that_is_not_what_its_tree_says_is_found_by_the_audit(
    forge: Forge, isolated: Isolated, tmp_path: Path
) -> None:
    """76: the right sizes and other bytes, signed: `verify --deep` names the pack."""
    isolated.admit(forge.bundle(tmp_path / "bad", frame(compress(HONEST.swapcase()))))
    found = audit(isolated.site, deep=True, workers=2, progress=Silent())
    assert [each.releases for each in found.damaged] == [("shop@1.0.0",)]
    assert audit(isolated.site, deep=False, workers=2, progress=Silent()).sound


def test_a_frame_digest_that_is_not_the_packs_stops_the_apply(forge: Forge, isolated: Isolated, tmp_path: Path) -> None:
    """76: the index speaks of other bytes than the pack has."""
    isolated.admit(forge.bundle(tmp_path / "bad", index(sha256=sha256(b"other"))))
    with pytest.raises(SealiftError, match="damaged"):
        isolated.apply("1.0.0")
    assert _served(isolated) == {}


def _served(isolated: Isolated) -> dict[str, bytes]:
    """What is reachable under `current`."""
    current = isolated.srv / "current"
    found = current.rglob("*") if current.exists() else []
    return {str(path.relative_to(current)): path.read_bytes() for path in found if path.is_file()}


def test_an_honest_tree_is_admitted(forge: Forge, isolated: Isolated, tmp_path: Path) -> None:
    """The tables above change one thing each: what they start from is in order."""
    isolated.admit(forge.bundle(tmp_path / "honest", {"entries": lambda _: honest(), **halves()}))
    isolated.apply("1.0.0")
    assert _served(isolated)["two"] == CHUNKS[1] + CHUNKS[2]
