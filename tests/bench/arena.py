"""Fresh ground for each pair of runs, so that no run pays for what another left behind.

Best is a tmpfs of its own for each pair, which needs root: nothing is ever deleted, it is unmounted. Without root it
is a new folder in /dev/shm, deleted after the pair, never between its runs. Failing both it is a folder on disk.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")


class ArenaError(Exception):
    """There is not enough room for what a pair writes."""


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Where arenas are made."""

    base: Path
    mounted: bool
    """Whether each arena is a tmpfs of its own."""

    @property
    def description(self) -> str:
        if self.mounted:
            return "tmpfs, a fresh one for each pair"
        if self.base == SHARED_MEMORY:
            return "tmpfs (/dev/shm), a new folder for each pair"
        return f"a new folder for each pair in {file_system(self.base)}"

    @contextmanager
    def arena(self, need: int) -> Iterator[Path]:
        """Make a folder with room for `need` bytes, and take it away at the end.

        Raises:
            ArenaError: there is not enough memory or disk for it.
        """
        room = available_memory() if self.mounted else shutil.disk_usage(self.base).free
        if need > room:
            raise ArenaError(f"this needs {need / 1e9:.1f} GB of room, and there are {room / 1e9:.1f} GB")
        folder = Path(tempfile.mkdtemp(prefix="sealift-bench-", dir=self.base))
        try:
            if self.mounted:
                _mount(folder)
            yield folder
        finally:
            with _uninterrupted():
                if self.mounted:
                    _unmount(folder)
                shutil.rmtree(folder, ignore_errors=True)


def choose(disk: Path) -> Ground:
    """Return the best ground that this machine allows, `disk` being the last resort."""
    if os.geteuid() == 0:
        ground = Ground(base=Path(tempfile.gettempdir()), mounted=True)
        try:
            with ground.arena(0):
                return ground
        except subprocess.CalledProcessError:
            pass
    if SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK):
        return Ground(base=SHARED_MEMORY, mounted=False)
    return on_disk(disk)


def on_disk(folder: Path) -> Ground:
    """Return ground in a folder, for what is large and not timed."""
    folder.mkdir(parents=True, exist_ok=True)
    return Ground(base=folder, mounted=False)


def available_memory() -> int:
    """Return how many bytes a tmpfs could take now."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def file_system(folder: Path) -> str:
    """Return the type of the file system that a folder is on."""
    found = subprocess.run(
        ["stat", "--file-system", "--format=%T", folder], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "an unknown file system"


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C and its like back until the arena is gone."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _mount(folder: Path) -> None:
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=90%,mode=700,noatime", "tmpfs", folder], check=True, capture_output=True
    )


def _unmount(folder: Path) -> None:
    """Unmount a folder: at once, or when the last process has left it."""
    for _ in range(10):
        if not os.path.ismount(folder):
            return
        if subprocess.run(["umount", folder], check=False, capture_output=True).returncode == 0:
            return
        time.sleep(0.2)
    subprocess.run(["umount", "--lazy", folder], check=False, capture_output=True)
