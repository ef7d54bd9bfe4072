"""The demo's content: two published versions of a real package, fetched once, pinned by SHA-256, and unpacked."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

NAME = "Django"


@dataclass(frozen=True, kw_only=True)
class Package:
    """One published version."""

    version: str
    sha256: str
    """Digest of its wheel."""

    @property
    def wheel(self) -> str:
        """The wheel's file name."""
        return f"{NAME}-{self.version}-py3-none-any.whl"


FORMER = Package(version="5.1.4", sha256="236e023f021f5ce7dee5779de7b286565fdea5f4ab86bae5338e3f7b69896cf0")
LATER = Package(version="5.1.5", sha256="c46eb936111fffe6ec4bc9930035524a8be98ec2f74d8a0ff351226a3e52f459")


class PackageError(Exception):
    """A package could not be fetched, or is not the one that is pinned."""


def ensure(package: Package, folder: Path) -> tuple[Path, bool]:
    """The wheel of `package` in `folder`, and whether it had to be fetched.

    Raises:
        PackageError: it cannot be fetched, or has another digest.
    """
    wheel = folder / package.wheel
    fetched = not (wheel.is_file() and _digest(wheel) == package.sha256)
    if fetched:
        folder.mkdir(parents=True, exist_ok=True)
        wheel.unlink(missing_ok=True)
        pins = folder / f"{package.version}.txt"
        pins.write_text(f"{NAME}=={package.version} --hash=sha256:{package.sha256}\n")
        _download(pins, folder)
    if not wheel.is_file() or _digest(wheel) != package.sha256:
        raise PackageError(f"{wheel} is not the wheel that is pinned")
    return wheel, fetched


def unpack(wheel: Path, folder: Path) -> None:
    """Unpack a wheel, whose digest was checked, into the new folder `folder`."""
    folder.mkdir(parents=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)


def _download(pins: Path, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    command += ["--require-hashes", "--only-binary", ":all:", "--dest", str(folder), "--requirement", str(pins)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise PackageError(f"pip cannot fetch {pins.read_text().split()[0]}:\n{ended.stderr.strip()}")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
