"""Bounded reads of files that somebody else may have changed, and of files that must stay private.

Invariant: what is judged (type, owner, mode, length) is the opened file itself, so that nothing can
be exchanged between the check and the read.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from sealift.durable import storing
from sealift.errors import TrustError
from sealift.reading import opened


def read_bounded(path: Path, *, limit: int, private: bool = False) -> bytes:
    """The content of the regular file `path`, of at most `limit` bytes.

    Args:
        path: the file; the last component may be a symbolic link.
        limit: bytes.
        private: also demand that the caller's user or root owns it and that nobody else may use it.

    Raises:
        TrustError: it is no regular file, it is longer than `limit`, or it is private and not kept so.
        StoreError: it cannot be read.
    """
    with storing(path):
        file = opened(path, follow=True)
        if file is None:
            raise TrustError(f"{path} is no regular file", hint="name the file itself, not a folder or a device")
        with file:
            if private:
                _check_private(path, os.fstat(file.fileno()))
            content = file.read(limit + 1)
    if len(content) > limit:
        raise TrustError(f"{path} is longer than {limit} bytes", hint="this is not the file that it should be")
    return content


def _check_private(path: Path, status: os.stat_result) -> None:
    if status.st_uid not in (0, os.geteuid()):
        raise TrustError(
            f"{path} belongs to another user (uid {status.st_uid}), who can read and replace it",
            hint=f"take it over, then make it private: chown {os.geteuid()} {path} && chmod 600 {path}",
        )
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise TrustError(
            f"{path} is open to other users (mode {mode:04o})",
            hint=f"chmod 600 {path}, and if others could have read it, replace what it holds",
        )
