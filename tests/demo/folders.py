"""What folders hold, so that the demo can say that nothing was changed, or that all of it arrived."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from pathlib import Path


def files(folder: Path, *, without: Collection[str] = ()) -> dict[str, str]:
    """Every entry below `folder` by its path: the digest of a file, the goal of a link.

    Args:
        folder: where to look.
        without: names that do not count.
    """
    found = {}
    for base, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = Path(base, name)
            if name in without:
                continue
            if path.is_symlink():
                found[str(path.relative_to(folder))] = f"-> {path.readlink()}"
            elif path.is_file():
                found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def digest(folder: Path, *, without: Collection[str] = ()) -> str:
    """One digest of everything below `folder`."""
    return hashlib.sha256(repr(sorted(files(folder, without=without).items())).encode()).hexdigest()
