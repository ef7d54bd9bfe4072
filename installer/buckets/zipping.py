"""A function's package: the files of an artifact as a zip (APPNOTE 6.3), the same, byte for byte, whenever it is made.

Entries are sorted by the UTF-8 bytes of their paths, all of 1980-01-01, with mode 0644 or 0755; links are links;
folders have no entry. Nothing is compressed, since what a compressor gives changes with its version.
"""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable
from typing import BinaryIO

from sealift.errors import UsageError

from ..storage.content import Contents

_TIME = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_BIG = 2 << 30
"""Bytes from which on an entry says its size in 64 bits."""


def pack(contents: Contents, artifact: str, to: BinaryIO, *, limit: int, progress: Callable[[int], None]) -> None:
    """Write the files of an artifact as a zip.

    Args:
        contents: what the artifact's files are read from.
        artifact: its name.
        to: an empty file.
        limit: bytes that all the files may have together.
        progress: told the bytes.

    Raises:
        UsageError: it holds nothing, or more than `limit`.
        IntegrityError: the store is damaged.
    """
    files, links = contents.files[artifact], contents.links[artifact]
    size = sum(file.size for file in files.values())
    if not files:
        raise UsageError(f"artifact {artifact} has no file, so it is no function", hint="name another artifact")
    if size > limit:
        raise UsageError(
            f"artifact {artifact} has {size} bytes, more than the {limit} that a function may have unpacked",
            hint="make it smaller, or raise `unpacked_max` if the platform allows it",
        )
    reader = contents.reader()
    with zipfile.ZipFile(to, "w", zipfile.ZIP_STORED, allowZip64=True) as made:
        for path in sorted([*files, *links], key=str.encode):
            entry = zipfile.ZipInfo(path, _TIME)
            entry.create_system = _UNIX
            if path in links:
                entry.external_attr = (stat.S_IFLNK | 0o777) << 16
                made.writestr(entry, links[path].encode())
                continue
            entry.external_attr = (stat.S_IFREG | (0o755 if files[path].executable else 0o644)) << 16
            entry.file_size = files[path].size
            with made.open(entry, "w", force_zip64=files[path].size >= _BIG) as stream:
                for piece in reader.pieces(artifact, path):
                    stream.write(piece)
                    progress(len(piece))
