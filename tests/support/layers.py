"""Layers of images as programs of Go write them: tars, compressed by the real skopeo and umoci."""

from __future__ import annotations

import io
import struct
import subprocess
import tarfile
import zlib
from pathlib import Path

from registries import need


def tarred(files: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of these files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, content in files.items():
            said = tarfile.TarInfo(name)
            said.size, said.mtime = len(content), 1_700_000_000
            archive.addfile(said, io.BytesIO(content))
    return out.getvalue()


def in_blocks(layer: bytes, size: int = 50_000) -> bytes:
    """A layer as no program here compresses it: blocks of a size, each for itself."""
    deflater = zlib.compressobj(6, zlib.DEFLATED, -15)
    parts = [
        deflater.compress(layer[place : place + size]) + deflater.flush(zlib.Z_FULL_FLUSH)
        for place in range(0, len(layer), size)
    ]
    end = struct.pack("<2L", zlib.crc32(layer), len(layer))
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"".join(parts) + deflater.flush() + end


def compressed(by: str, layer: bytes, folder: Path) -> bytes:
    """A layer as a program compresses it; the test is skipped where there is none."""
    need(by)
    folder.mkdir()
    (folder / "layer.tar").write_bytes(layer)
    if by == "umoci":
        _run(folder, "umoci", "init", "--layout", "layout")
        _run(folder, "umoci", "new", "--image", "layout:it")
        _run(folder, "umoci", "raw", "add-layer", "--image", "layout:it", "layer.tar")
    else:
        _run(folder, "skopeo", "--insecure-policy", "copy", "--quiet", "tarball:layer.tar", "oci:layout:it")
    blobs = [path.read_bytes() for path in (folder / "layout" / "blobs" / "sha256").iterdir()]
    (made,) = (blob for blob in blobs if blob[:2] == b"\x1f\x8b")
    return made


def _run(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
