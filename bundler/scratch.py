"""Scratch: a folder for what a run needs only while it lasts."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sealift.durable import TEMPORARY, storing


@contextlib.contextmanager
def scratch(parent: Path | None = None) -> Iterator[Path]:
    """A new folder, gone afterwards.

    Args:
        parent: where it is made; the system's place for temporary files if None.

    Raises:
        StoreError: it cannot be made.
    """
    with storing(parent or "the folder for temporary files"):
        place = parent or Path(tempfile.gettempdir())
        folder = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=place))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
