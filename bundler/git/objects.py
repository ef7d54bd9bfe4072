"""Git's objects, read one by one, each checked against its name.

`git fetch` has looked for colliding SHA-1 when the objects came; what is compared here is that the disk gave
back what came.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple

from sealift.errors import MalformedError

from ..programs import started
from .program import Git

PIECE = 1 << 20
"""Bytes that are read at once."""
LENGTHS = {40: "sha1", 64: "sha256"}
"""How objects are named, by the number of their hexadecimal digits."""
TREE_MAX = 64 << 20
"""Bytes of one folder's listing."""
MODES = {b"40000": "dir", b"100644": "file", b"100664": "file", b"100755": "program", b"120000": "link"} | {
    b"160000": "submodule"
}


class Damaged(Exception):
    """The repository of gathered objects lacks one, or gives another content for it."""


class Member(NamedTuple):
    """An entry of a folder."""

    name: bytes
    kind: str
    """One of the values of `MODES`."""
    id: str


class Objects:
    """A running `git cat-file --batch`."""

    def __init__(self, git: Git) -> None:
        self.git = git
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Objects:
        command = [self.git.program, "cat-file", "--batch"]
        self._process = self._stack.enter_context(started(command, self.git.environment(), self.git.folder))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def size(self, name: str, kind: str) -> int:
        """The bytes of an object, whose content is to be read next, by `pieces`.

        Raises:
            Damaged: it is not there.
            MalformedError: it is of another kind; nothing more can be read then.
        """
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(name.encode() + b"\n")
            self._process.stdin.flush()
            head = self._process.stdout.readline(512)
        except OSError as error:
            raise Damaged(f"{name} cannot be read") from error
        found = re.fullmatch(rb"([0-9a-f]+) (commit|tag|tree|blob) ([0-9]{1,18})\n", head)
        if found is None or found[1] != name.encode():
            raise Damaged(f"the {kind} {name} is not there")
        if found[2] != kind.encode():
            raise MalformedError(f"{name} is a {found[2].decode()}, and no {kind}")
        return int(found[3])

    def pieces(self, name: str, kind: str, size: int) -> Iterator[bytes]:
        """The content of the object that `size` was asked of. It counts only once the iterator has ended.

        Raises:
            Damaged: it has another digest than its name says.
        """
        assert self._process.stdout
        hasher = hashlib.new(LENGTHS[len(name)], usedforsecurity=False)
        hasher.update(f"{kind} {size}\0".encode())
        left = size
        while left:
            piece = self._process.stdout.read(min(left, PIECE))
            if not piece:
                raise Damaged(f"{name} breaks off")
            hasher.update(piece)
            left -= len(piece)
            yield piece
        if self._process.stdout.read(1) != b"\n" or hasher.hexdigest() != name:
            raise Damaged(f"{name} has another content than its name says")

    def read(self, name: str, kind: str, limit: int) -> bytes:
        """The content of an object of at most `limit` bytes.

        Raises:
            Damaged: it is not there, or not what its name says.
            MalformedError: it is longer.
        """
        size = self.size(name, kind)
        if size > limit:
            raise MalformedError(f"the {kind} {name} has {size} bytes, more than the {limit} that are read")
        return b"".join(self.pieces(name, kind, size))

    def tree(self, name: str) -> list[Member]:
        """The entries of a folder, in its own order.

        Raises:
            Damaged: it is not there, or not what its name says.
            MalformedError: it is no tree.
        """
        content, width, at = self.read(name, "tree", TREE_MAX), len(name) // 2, 0
        found = []
        while at < len(content):
            space, end = content.find(b" ", at, at + 8), content.find(b"\0", at)
            mode = content[at:space]
            if space < 0 or end < space or end + 1 + width > len(content) or mode not in MODES:
                raise MalformedError(f"the tree {name} holds an entry that is none")
            found.append(Member(content[space + 1 : end], MODES[mode], content[end + 1 : end + 1 + width].hex()))
            at = end + 1 + width
        return found
