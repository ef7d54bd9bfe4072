"""The corpora of the benchmark: real files from pinned wheels, at two dates, built once.

A is many small files, B is large binaries, both unpacked; C is a wheelhouse of files that are already compressed.
D is an image of three layers, whose base Debian's own updates change, so it is other bytes on another day.
A corpus is `<folder>/<letter>/<version>`. It appears under that name only when it is whole, and it is accepted only
with the number of files and bytes that its pins have always given.

Run by itself it builds what is named, or all eight: `corpora.py FOLDER [A/v1 …]`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

PINS = Path(__file__).parent / "pins"
PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "any")
ABIS = ("cp312", "abi3", "none")
SALT_EVERY = 16 << 10
"""Bytes between two salts, below the smallest piece that any tool here cuts a large file into."""

Say = Callable[[str], None]


class CorpusError(Exception):
    """A corpus could not be built, or is not what its pins give."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """One real tree at one of two dates."""

    letter: str
    version: str
    what: str
    unpacked: bool
    """Whether the wheels are unpacked, one folder each, or kept as they are."""
    files: int
    size: int
    """The sum of the lengths of all files, in bytes; 0 where that is not the same everywhere."""

    @property
    def name(self) -> str:
        return f"{self.letter}/{self.version}"


SMALL, LARGE, WHEELS, IMAGE = "many small files", "large binaries", "a wheelhouse", "layers of an image"
CORPORA = {
    corpus.name: corpus
    for corpus in (
        Corpus(letter="A", version="v1", what=SMALL, unpacked=True, files=48703, size=462871996),
        Corpus(letter="A", version="v2", what=SMALL, unpacked=True, files=50133, size=471343678),
        Corpus(letter="B", version="v1", what=LARGE, unpacked=True, files=3358, size=602362978),
        Corpus(letter="B", version="v2", what=LARGE, unpacked=True, files=3371, size=603355115),
        Corpus(letter="C", version="v1", what=WHEELS, unpacked=False, files=108, size=232314560),
        Corpus(letter="C", version="v2", what=WHEELS, unpacked=False, files=108, size=233091937),
        Corpus(letter="D", version="v1", what=IMAGE, unpacked=False, files=7, size=0),
        Corpus(letter="D", version="v2", what=IMAGE, unpacked=False, files=7, size=0),
    )
}


def ensure(corpus: Corpus, folder: Path, say: Say) -> Path:
    """Return the corpus's tree under `folder`, built first if it is not there.

    Raises:
        CorpusError: the wheels could not be fetched, or the tree is not the one that the pins give.
    """
    tree = folder / corpus.letter / corpus.version
    if not tree.is_dir() and corpus.what == IMAGE:
        _build_image(folder, say)
    elif not tree.is_dir():
        _build(corpus, folder, tree, say)
    files, size = measure(tree)
    if (files, size) != (corpus.files, corpus.size or size):
        raise CorpusError(
            f"{tree} holds {files} files of {size} bytes, not {corpus.files} of {corpus.size}: "
            "delete it, and it is built again"
        )
    return tree


def measure(tree: Path) -> tuple[int, int]:
    """Return how many files are below a folder (or 1 for a file), and the sum of their lengths in bytes."""
    sizes = [path.lstat().st_size for path in walk(tree)] if tree.is_dir() else [tree.stat().st_size]
    return len(sizes), sum(sizes)


def walk(tree: Path) -> Iterator[Path]:
    """Yield every file below a folder, in an order that does not change."""
    for folder, folders, files in os.walk(tree):
        folders.sort()
        for name in sorted(files):
            yield Path(folder, name)


def salted(tree: Path, to: Path, copies: int) -> None:
    """Write `copies` of a tree below `to`, each with its own salt, so that no tool finds content twice.

    Sixteen bytes in every 16 KiB are replaced, so compression is as it was, but for a tenth of a percent.
    """
    for copy in range(copies):
        for source in walk(tree):
            path = source.relative_to(tree)
            target = to / f"copy-{copy:02}" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with source.open("rb") as reader, target.open("wb") as writer:
                for number, piece in enumerate(iter(lambda: reader.read(SALT_EVERY), b"")):
                    salt = hashlib.blake2b(f"{copy}\0{path}\0{number}".encode(), digest_size=16).digest()
                    writer.write(salt[: len(piece)] + piece[len(salt) :])


def _build(corpus: Corpus, folder: Path, tree: Path, say: Say) -> None:
    """Fetch the wheels of a corpus and unpack them, if it is an unpacked one, beside its final name."""
    say(f"building corpus {corpus.name} ({corpus.what}, {corpus.size / 1e6:.0f} MB) in {folder}, once")
    partial = tree.with_name(f"{tree.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    wheels = folder / "wheels" / f"{corpus.letter}-{corpus.version}" if corpus.unpacked else partial
    wheels.mkdir(parents=True, exist_ok=True)
    _fetch(PINS / f"{corpus.letter}-{corpus.version}.txt", wheels, newer_platforms=corpus.unpacked)
    if corpus.unpacked:
        for wheel in sorted(wheels.glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(partial / wheel.name.split("-")[0].lower())
    partial.rename(tree)


def _build_image(folder: Path, say: Say) -> None:
    """Make both layouts, of corpora that are built first if they are not there."""
    say(f"building corpus D ({IMAGE}) in {folder}, once: as root, with debootstrap and umoci")
    for name in ("A/v1", "A/v2", "B/v1"):
        ensure(CORPORA[name], folder, say)
    script = Path(__file__).with_name("make-image.sh")
    if subprocess.run([script, folder], stdout=subprocess.DEVNULL, check=False).returncode:
        raise CorpusError("could not make an image: the output above says why")


def _fetch(pins: Path, wheels: Path, *, newer_platforms: bool) -> None:
    """Download the one wheel of each pin, for Python 3.12 on Linux, whatever runs this."""
    platforms = (*PLATFORMS, "manylinux_2_34_x86_64") if newer_platforms else PLATFORMS
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--python-version=3.12", "--implementation=cp"]
    command += [f"--platform={platform}" for platform in platforms] + [f"--abi={abi}" for abi in ABIS]
    if subprocess.run([*command, f"--dest={wheels}", f"--requirement={pins}"], check=False).returncode:
        raise CorpusError(f"could not fetch the wheels of {pins.name}: the output of pip above says why")


def main() -> None:
    """Build the corpora that the command line names."""
    if len(sys.argv) < 2 or not set(sys.argv[2:]) <= CORPORA.keys():
        raise SystemExit(f"usage: corpora.py FOLDER [{' | '.join(CORPORA)}]…")
    try:
        for name in sys.argv[2:] or CORPORA:
            print(ensure(CORPORA[name], Path(sys.argv[1]), lambda line: print(line, file=sys.stderr)))
    except CorpusError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
