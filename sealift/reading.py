"""Reading a file of bounded size whose name somebody else may have taken: what is judged is what was opened."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from .durable import storing
from .errors import TrustError


def opened(path: Path, *, follow: bool = False) -> BinaryIO | None:
    """The regular file `path`, open for reading; None where it is none. It waits for no FIFO and no terminal.

    Args:
        path: the file.
        follow: whether the last component may be a symbolic link.

    Raises:
        OSError: it cannot be opened.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return open(descriptor, "rb")
    os.close(descriptor)
    return None


def bounded(path: Path, limit: int, *, follow: bool = False) -> bytes | None:
    """The content of the regular file `path`, cut off behind `limit` + 1 bytes; None where there is no such name.

    Args:
        path: the file.
        limit: bytes; a caller that gets more of them refuses the file.
        follow: whether the last component may be a symbolic link.

    Raises:
        TrustError: it is no regular file.
        StoreError: it cannot be read.
    """
    with storing(path):
        try:
            file = opened(path, follow=follow)
        except FileNotFoundError:
            return None
        if file is None:
            raise TrustError(f"{path} is not a regular file", hint="find out who put it there")
        with file:
            return file.read(limit + 1)
