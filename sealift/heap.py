"""The heap of a process: how much of what was freed it keeps for what it asks for next."""

from __future__ import annotations

import ctypes

_TRIM, _MAPPED = -1, -3
"""M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc (malloc.h)."""


def retain(size: int) -> None:
    """Keep up to `size` bytes, and take pieces of up to half of that from what is kept.

    Else each large piece comes from the kernel, which clears every page of it, and goes back at once. Where the C
    library has no such setting nothing is done.
    """
    libc = ctypes.CDLL(None)
    if mallopt := getattr(libc, "mallopt", None):
        mallopt(_TRIM, size)
        mallopt(_MAPPED, size // 2)
