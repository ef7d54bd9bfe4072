"""Staged releases: a commit of our own for each, with its files and the footprint that they will have.

refs/sealift/staged/<…>: files/deployment.yaml, staged.json
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator

import msgspec

from sealift.digest import sha256
from sealift.errors import StoreError
from sealift.progress import Progress

from ..storage.chosen import Chosen
from ..storage.content import File
from . import footprint
from .footprint import Footprint
from .repository import Repository

_STAGED = "refs/sealift/staged/"


def stage(repository: Repository, wanted: Footprint, taken: Chosen, progress: Progress) -> None:
    """Keep a release's files, in place of what was staged under the same identity.

    Args:
        repository: where.
        wanted: its footprint, but for the files.
        taken: the files.
        progress: advances by their bytes.

    Raises:
        IntegrityError: the store is damaged.
        StoreError: the disk refuses.
    """
    stream = _stream(_reference(wanted.identity), wanted, taken, progress)
    repository.git("fast-import", "--quiet", "--force", content=stream, failure=StoreError)


def staged(repository: Repository, identity: str, path: str) -> Footprint:
    """What a staged release will have at a path of the branch.

    Raises:
        StoreError: it is not staged.
    """
    reference = _reference(identity)
    if not repository.git("for-each-ref", reference, failure=StoreError):
        raise StoreError(
            f"{identity} is not staged for {repository.url}", hint="apply another version, and then this one again"
        )
    content = repository.git("cat-file", "blob", f"{reference}:staged.json", failure=StoreError)
    files = {
        f"{path}/{name.removeprefix('files/')}": spot.text
        for name, spot in repository.listed(reference, "files").items()
    }
    return msgspec.structs.replace(msgspec.json.decode(content, type=Footprint), files=files)


def spots(taken: Chosen) -> dict[str, str]:
    """Mode and blob of each file, as git would have them.

    Raises:
        IntegrityError: the store is damaged.
    """
    found = {}
    for path in taken.files:
        file = taken.file(path)
        found[path] = f"{_mode(file)} {_blob(taken.pieces(path), file.size)}"
    for path, target in taken.links.items():
        found[path] = f"120000 {_blob([target.encode()], len(target.encode()))}"
    return found


def _mode(file: File) -> str:
    return "100755" if file.executable else "100644"


def _blob(pieces: Iterable[bytes], size: int) -> str:
    running = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    for piece in pieces:
        running.update(piece)
    return running.hexdigest()


def prune(repository: Repository, keep: Collection[str]) -> int:
    """Forget staged releases other than these identities; return how many.

    Raises:
        StoreError: the disk refuses.
    """
    stay = {_reference(identity) for identity in keep}
    listed = repository.git("for-each-ref", "--format=%(refname)", _STAGED, failure=StoreError).decode().split()
    gone = [reference for reference in listed if reference not in stay]
    for reference in gone:
        repository.git("update-ref", "-d", reference, failure=StoreError)
    if gone:
        repository.git("gc", "--quiet", "--prune=now", failure=StoreError)
    return len(gone)


def _reference(identity: str) -> str:
    """Where a staged release is kept: an identity may hold what git's names may not."""
    return f"{_STAGED}{sha256(identity.encode())[:32]}"


def _stream(reference: str, wanted: Footprint, taken: Chosen, progress: Progress) -> Iterator[bytes]:
    """The staged commit, as `git fast-import` reads it."""
    yield f"commit {reference}\ncommitter Sealift <sealift@localhost> 0 +0000\ndata 0\n\ndeleteall\n".encode()
    yield from _file("100644", "staged.json", footprint.encode(wanted))
    for path in taken.files:
        file = taken.file(path)
        yield _head(_mode(file), f"files/{path}", file.size)
        for piece in taken.pieces(path):
            progress.advance(len(piece))
            yield piece
        yield b"\n"
    for path, target in taken.links.items():
        yield from _file("120000", f"files/{path}", target.encode())


def _head(mode: str, path: str, size: int) -> bytes:
    quoted = path.replace('"', '\\"')
    return f'M {mode} inline "{quoted}"\ndata {size}\n'.encode()


def _file(mode: str, path: str, content: bytes) -> Iterator[bytes]:
    yield _head(mode, path, len(content))
    yield content + b"\n"
