"""A disk that fails: the n-th call that changes it raises an error, in this process and in workers that it forks."""

from __future__ import annotations

import mmap
import os
import stat
import struct
from collections.abc import Callable
from typing import Any

import pytest

from sealift.durable import disk_error

SPACE = ("write", "pwrite", "writev", "copy_file_range")
"""The functions of `os` that need room for content."""
NAMES = ("fsync", "replace", "rename", "mkdir", "symlink", "link", "open")
"""Further ones that change a disk; `open` counts where it is for writing."""


class Faults:
    """Counts the calls that change the disk, and lets one of them, or all from it on, fail."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._shared = mmap.mmap(-1, 8)
        self._at = self._code = 0
        self._lasting = False
        for name in (*SPACE, *NAMES):
            patch.setattr(os, name, self._failing(name, getattr(os, name)))
        import installer.folders.writing

        patch.setattr(
            installer.folders.writing,
            "sync_file_system",
            self._failing("syncfs", installer.folders.writing.sync_file_system),
        )

    def begin(self, at: int, code: int, *, lasting: bool = False) -> None:
        """From now on, let the `at`-th call fail with the error number `code`.

        With `lasting`, every later call of `SPACE` fails as well, as on a disk that is full.
        """
        self._shared[:] = struct.pack("<q", 0)
        self._at, self._code, self._lasting = at, code, lasting

    def end(self) -> bool:
        """Let nothing fail any more; whether the call was reached."""
        reached = self._at > 0 and self._count() >= self._at
        self._at = 0
        return reached

    def _count(self) -> int:
        return int(struct.unpack("<q", self._shared[:])[0])

    def _failing(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if self._at and _counts(name, args) and (not self._lasting or name in SPACE):
                count = self._count() + 1
                self._shared[:] = struct.pack("<q", count)
                if count == self._at or (self._lasting and count > self._at):
                    error = OSError(self._code, os.strerror(self._code))
                    raise disk_error(error, args[0]) if name == "syncfs" else error
            return call(*args, **kwargs)

        return wrapper


def _counts(name: str, args: tuple[Any, ...]) -> bool:
    if name == "open":
        return bool(args[1] & (os.O_WRONLY | os.O_RDWR)) and not str(args[0]).endswith("lock")
    return name not in SPACE or stat.S_ISREG(os.fstat(args[1 if name == "copy_file_range" else 0]).st_mode)
