"""Small packages that tests make themselves: wheels, source distributions, npm tarballs; the same bytes each time."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

_DATE = (1980, 1, 1, 0, 0, 0)
TAG = "py3-none-any"


def wheel(
    name: str,
    version: str = "1.0",
    *,
    requires: Sequence[str] = (),
    python: str = "",
    says: str = "",
    more: Mapping[str, bytes] | None = None,
    metadata: bytes | None = None,
) -> dict[str, bytes]:
    """A wheel with one module, by its file name.

    Args:
        name: of the project.
        version: of it.
        requires: what it needs.
        python: which Python it needs.
        says: what the module says: other words, other bytes.
        more: further files.
        metadata: METADATA, where it is another than the true one.
    """
    module = name.lower().replace("-", "_").replace(".", "_")
    info = f"{module}-{version}.dist-info"
    fields = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    fields += [f"Requires-Dist: {each}" for each in requires] + ([f"Requires-Python: {python}"] if python else [])
    files = {
        f"{module}.py": f"VERSION = {version!r}\nSAYS = {says!r}\n".encode(),
        f"{info}/METADATA": "\n".join([*fields, "", "A test.\n"]).encode() if metadata is None else metadata,
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {TAG}\n".encode(),
        **(more or {}),
    }
    record = "".join(f"{path},sha256={_urlsafe(content)},{len(content)}\n" for path, content in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    return {f"{module}-{version}-{TAG}.whl": zipped(files)}


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip file."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(zipfile.ZipInfo(path, _DATE), content)
    return made.getvalue()


def _urlsafe(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def sdist(name: str, version: str = "1.0", *, info: bytes | None = None) -> dict[str, bytes]:
    """A source distribution that nothing can build, by its file name."""
    module = name.lower().replace("-", "_")
    said = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Python: >=3.8\n\n".encode()
    return {
        f"{module}-{version}.tar.gz": tarred(
            {f"{module}-{version}/setup.py": b"", f"{module}-{version}/PKG-INFO": said if info is None else info}
        )
    }


def tarred(files: Mapping[str, bytes]) -> bytes:
    """A gzip-compressed tar."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), 0o644
            tar.addfile(member, io.BytesIO(content))
    return gzip.compress(made.getvalue(), 6, mtime=0)


def npm(
    name: str, version: str = "1.0.0", *, says: str = "", package: Mapping[str, Any] | None = None
) -> dict[str, bytes]:
    """An npm tarball with one module, by its path in an artifact."""
    said = {"name": name, "version": version, "main": "index.js", **(package or {})}
    files = {
        "package/package.json": json.dumps(said).encode(),
        "package/index.js": f"module.exports = {json.dumps(says or version)}\n".encode(),
    }
    return {f"{name}/{name.rpartition('/')[2]}-{version}.tgz": tarred(files)}
