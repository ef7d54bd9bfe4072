"""Python packages: what their file names say, and what their metadata says of them.

The name of a wheel or of a source distribution says which project and version it is (binary and source distribution
formats), and `METADATA` or `PKG-INFO` in it says so again (core metadata). Where the two differ, or where a wheel
would write outside of its folder, it is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sealift.errors import MalformedError
from sealift.names import NAME_MAX, visible

from .tarball import small_files
from .zipped import small_file

METADATA_MAX = 4 << 20
"""Bytes of `METADATA` and `PKG-INFO`."""
_WHEEL = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._]*[A-Za-z0-9])?)-(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_]*)"
    r"(?P<build>-[0-9][A-Za-z0-9_.]*)?(?P<tags>(?:-[A-Za-z0-9_.]+){3})\.whl"
)
_SDIST = re.compile(r"(?P<stem>[A-Za-z0-9][A-Za-z0-9._-]*-[A-Za-z0-9][A-Za-z0-9.!+_]*)(?P<suffix>\.tar\.gz|\.zip)")
_FIELD = re.compile(r"([A-Za-z-]+):[ \t]*(.*)")
_REQUIRES_PYTHON = re.compile(r"[0-9A-Za-z.*+!<>=~, ()_-]{1,256}")
_HINT = "ask who exported it: the package is damaged, or was made to do harm"


@dataclass(frozen=True, kw_only=True)
class Package:
    """What a package says of itself."""

    project: str
    """Its normalised name."""
    version: str
    """As its file's name has it."""
    slot: str
    """The same for two files that installers would take for one."""
    requires_python: str
    """Empty where it says nothing."""
    metadata: bytes | None
    """Of a wheel, the whole of its metadata."""


def normalised(name: str) -> str:
    """A project's name as an index has it (names and normalisation)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def package(name: str, file: Path) -> Package:
    """What the package in `file`, which is called `name`, says of itself.

    Raises:
        MalformedError: it is no wheel or source distribution, or not the one that its name says.
    """
    shown = visible(name)[:120]
    if len(name) > NAME_MAX or not name.endswith((".whl", ".tar.gz", ".zip")):
        raise MalformedError(f"{shown} is no wheel and no source distribution", hint=_HINT)
    if wheel := _WHEEL.fullmatch(name):
        return _wheel(shown, wheel, file)
    if sdist := _SDIST.fullmatch(name):
        return _sdist(shown, sdist, file)
    raise MalformedError(f"{shown} is no name of a wheel or a source distribution", hint=_HINT)


def _wheel(shown: str, parts: re.Match[str], file: Path) -> Package:
    project = normalised(parts["name"])
    found = small_file(file, shown, _is_metadata, METADATA_MAX)
    folder = found[0].partition("/")[0].removesuffix(".dist-info") if found else ""
    if found is None or normalised(folder.rpartition("-")[0]) != project:
        raise MalformedError(f"{shown} lacks the METADATA of {project}", hint=_HINT)
    fields = _fields(found[1], shown)
    _same(shown, project, fields)
    return Package(
        project=project,
        version=parts["version"],
        slot=f"{project}-{parts['version']}{parts['build'] or ''}{parts['tags']}.whl".lower(),
        requires_python=_requires_python(shown, fields),
        metadata=found[1],
    )


def _sdist(shown: str, parts: re.Match[str], file: Path) -> Package:
    if parts["suffix"] == ".zip":
        found = small_file(file, shown, _is_info, METADATA_MAX)
        info = found[1] if found else None
    else:
        files, _ = small_files(file, shown, _is_info, METADATA_MAX)
        info = next(iter(files.values()), None)
    if info is None:
        raise MalformedError(f"{shown} lacks PKG-INFO", hint=_HINT)
    fields = _fields(info, shown)
    project = normalised(fields.get("name", ""))
    stem: str = parts["stem"]
    versions = [stem[at + 1 :] for at, letter in enumerate(stem) if letter == "-" and normalised(stem[:at]) == project]
    if not versions:
        _same(shown, normalised(stem.rpartition("-")[0]), fields)
        raise MalformedError(f"{shown} is not named after its PKG-INFO", hint=_HINT)
    return Package(
        project=project,
        version=versions[0],
        slot=f"{project}-{versions[0]}{parts['suffix']}".lower(),
        requires_python=_requires_python(shown, fields),
        metadata=None,
    )


def _is_metadata(path: str) -> bool:
    return path.endswith(".dist-info/METADATA") and path.count("/") == 1


def _is_info(path: str) -> bool:
    return path.endswith("/PKG-INFO") and path.count("/") == 1


def _same(shown: str, project: str, fields: dict[str, str]) -> None:
    said = fields.get("name", "")
    if normalised(said) != project:
        raise MalformedError(
            f"{shown} says in its metadata that it is {visible(said)[:80]!r}, which is another project", hint=_HINT
        )


def _requires_python(shown: str, fields: dict[str, str]) -> str:
    value = fields.get("requires-python", "")
    if value and not _REQUIRES_PYTHON.fullmatch(value):
        raise MalformedError(f"{shown} requires a python that cannot be read: {visible(value)[:80]!r}", hint=_HINT)
    return value


def _fields(content: bytes, shown: str) -> dict[str, str]:
    """The fields `Name` and `Requires-Python` of core metadata, in lower case."""
    fields: dict[str, str] = {}
    for line in content.replace(b"\r\n", b"\n").partition(b"\n\n")[0].decode("utf-8", "replace").split("\n"):
        match = _FIELD.fullmatch(line)
        key = match[1].lower() if match else ""
        if match and key in ("name", "requires-python"):
            if key in fields:
                raise MalformedError(f"{shown} has the field {match[1]} twice in its metadata", hint=_HINT)
            fields[key] = match[2].strip()
    return fields
