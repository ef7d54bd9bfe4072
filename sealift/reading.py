"""Reading a file of bounded size whose name somebody else may have taken: what is judged is what was opened."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from .durable import storing
from .errors import TrustError


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
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    with storing(path):
        try:
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            return None
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise TrustError(f"{path} is not a regular file", hint="find out who put it there")
            return file.read(limit + 1)
