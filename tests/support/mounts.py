"""Small, read-only and copy-on-write file systems for tests; each is unmounted when its test ends. Needs root."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


@contextlib.contextmanager
def tmpfs(folder: Path, options: str) -> Iterator[Path]:
    """Mount an empty tmpfs, such as `size=1m` or `nr_inodes=20`, on `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    with _mounted(folder, "-t", "tmpfs", "-o", f"{options},mode=0755", "tmpfs"):
        yield folder


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """Let nobody write below `folder`, not even root."""
    with _mounted(folder, "--bind", str(folder)):
        _run("mount", "-o", "remount,ro,bind", str(folder))
        yield folder


@contextlib.contextmanager
def xfs(folder: Path, image: Path) -> Iterator[Path]:
    """Mount a new XFS with reflinks, kept in the sparse file `image`, on `folder`, which is made."""
    if shutil.which("mkfs.xfs", path=_PATH) is None:
        _lacking("mkfs.xfs (xfsprogs) is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    with image.open("wb") as file:
        file.truncate(320 << 20)
    _run("mkfs.xfs", "-q", "-m", "reflink=1", str(image))
    with _mounted(folder, "-o", "loop", str(image)):
        yield folder
    image.unlink()


@contextlib.contextmanager
def _mounted(folder: Path, *arguments: str) -> Iterator[None]:
    if os.geteuid() != 0:
        _lacking("mounting needs root")
    _run("mount", *arguments, str(folder))
    try:
        yield
    finally:
        if _call("umount", str(folder)).returncode:
            _run("umount", "--lazy", str(folder))


def _call(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PATH": _PATH}, timeout=60, check=False
    )


def _run(*command: str) -> None:
    done = _call(*command)
    if done.returncode:
        _lacking(f"{' '.join(command)} failed: {done.stderr.strip()}")


def _lacking(what: str) -> NoReturn:
    if os.environ.get("SEALIFT_REQUIRE_ALL") == "1":
        pytest.fail(what)
    pytest.skip(what)
