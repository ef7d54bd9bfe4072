"""What the reader of a document that a person wrote says of one that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sealift.errors import UsageError


def complaints(path: Path, read: Callable[[], object]) -> list[str]:
    """The lines of the message by which `read` refuses the document at `path`, from the line number on.

    Each has its hint; every line must name the document.
    """
    with pytest.raises(UsageError) as caught:
        read()
    assert caught.value.exit_code == 2
    whole = caught.value.message + (f" ({caught.value.hint})" if caught.value.hint else "")
    assert all(line.startswith(f"{path}:") for line in whole.splitlines()), whole
    return [line.removeprefix(f"{path}:") for line in whole.splitlines()]
