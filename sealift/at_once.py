"""Doing the same with several things at once, in threads: for work that waits for disks or for the kernel."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

T = TypeVar("T")


def at_once(work: Callable[[T], None], items: tuple[T, ...], *, workers: int) -> None:
    """Do `work` on each item in `workers` threads; after a failure nothing further begins, and it is raised."""
    with ThreadPoolExecutor(max_workers=workers) as pool:
        under_way = [pool.submit(work, item) for item in items]
        try:
            for future in as_completed(under_way):
                future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
