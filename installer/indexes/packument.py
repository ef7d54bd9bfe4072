"""A registry of npm packages, as files that any web server can give.

    <name>/index.html               the packument: what `GET /<name>` leads to, in JSON whatever it is called
    <name>/-/<file>.tgz             the tarballs, where npm's own registry has them

A name with a scope is two folders, `@scope/name`; npm asks for `/@scope%2fname`, which web servers take for the same.
npm wants absolute addresses of tarballs, so that the index must know where it is served.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sealift.errors import MalformedError
from sealift.manifest import Kind
from sealift.names import visible

from .record import Record, record_of
from .side import Page
from .tarball import small_files

PACKAGE_MAX = 1 << 20
"""Bytes of a `package.json`."""
PACKUMENT, TARBALLS = "index.html", "-"
_NAME = re.compile(r"(?:@[A-Za-z0-9~-][A-Za-z0-9._~-]*/)?[A-Za-z0-9~-][A-Za-z0-9._~-]*")
_NAME_MAX = 214
_PART = r"(?:0|[1-9][0-9]{0,15})"
_PRE = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = re.compile(
    rf"({_PART})\.({_PART})\.({_PART})(?:-({_PRE}(?:\.{_PRE})*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
_MAPS = (
    "dependencies",
    "optionalDependencies",
    "peerDependencies",
    "peerDependenciesMeta",
    "engines",
    "directories",
)
_OTHERS: Mapping[str, type | tuple[type, ...]] = {
    "bin": (str, dict),
    "bundleDependencies": (list, bool),
    "os": (str, list),
    "cpu": (str, list),
    "libc": (str, list),
}
_INSTALLING = ("preinstall", "install", "postinstall")
_HINT = "ask who exported it: the package is damaged, or was made to do harm"
_MANIFEST, _INTEGRITY = "manifest", "integrity"
_Version = tuple[int, int, int, int, tuple[tuple[int, int, str], ...]]


class Packuments:
    """What the registry of a site's npm packages looks like."""

    kind: Kind = "npm"

    def __init__(self, base_url: str) -> None:
        """Take the address that it is served at."""
        self._base = base_url.rstrip("/")
        self.name = f"npm-registry {self._base}/"

    def examine(self, path: str, file: Path, sha256: str, key: str) -> tuple[Record, Mapping[str, bytes]]:
        """What a tarball's `package.json` says; nothing lies beside it.

        Raises:
            MalformedError: it is not what its name says.
        """
        shown = visible(path)[:160]
        files, names = small_files(file, shown, _is_package, PACKAGE_MAX)
        if len(files) != 1:
            raise MalformedError(f"{shown} does not hold one package.json in its folder", hint=_HINT)
        ((place, content),) = files.items()
        package = _parsed(content, shown)
        name, version = package.get("name"), package.get("version")
        folder, _, tarball = path.rpartition("/")
        if name != folder or not _NAME.fullmatch(folder) or len(folder) > _NAME_MAX:
            raise MalformedError(f"{shown} says that it is {visible(str(name))[:80]!r}, another package", hint=_HINT)
        cleaned = version.strip().lstrip("v=").strip() if isinstance(version, str) else ""
        if len(cleaned) > 256 or not _VERSION.fullmatch(cleaned):
            raise MalformedError(f"{shown} has no version that npm takes: {visible(str(version))[:80]!r}", hint=_HINT)
        plain = cleaned.partition("+")[0]
        if tarball not in (f"{folder.rpartition('/')[2]}-{each}.tgz" for each in (plain, cleaned)):
            raise MalformedError(f"{shown} says that it is version {plain}, as which it is not named", hint=_HINT)
        root = place.rpartition("/")[0]
        manifest = _manifest(package, {each.removeprefix(f"{root}/") for each in names}, shown)
        manifest |= {"name": folder, "version": cleaned}
        about = {
            _MANIFEST: json.dumps(manifest, sort_keys=True, separators=(",", ":")),
            _INTEGRITY: _integrity(file),
        }
        return record_of(path, file, sha256, key, page=folder, slot=f"{folder}@{plain}", about=about, beside={}), {}

    def page(self, name: str, records: Sequence[Record]) -> tuple[str, Page]:
        """The packument and the tarballs of one name."""
        if not records:
            return name, Page()
        versions: dict[str, Any] = {}
        for record in records:
            manifest = json.loads(record.about[_MANIFEST])
            manifest["dist"] = {
                "integrity": record.about[_INTEGRITY],
                "tarball": f"{self._base}/{name}/{TARBALLS}/{_file(record)}",
            }
            versions[manifest["version"]] = manifest
        latest = max(versions, key=lambda version: (not _order(version)[3], _order(version)))
        packument = {"name": name, "dist-tags": {"latest": latest}, "versions": versions}
        taken = {f"{TARBALLS}/{_file(record)}": record.sha256 for record in records}
        return name, Page(written={PACKUMENT: _encoded(packument)}, taken=taken)

    def cover(self, listed: Mapping[str, Sequence[Record]], live: Path | None) -> Mapping[str, bytes]:
        """Nothing: npm asks for packages by their names alone."""
        return {}


def _is_package(path: str) -> bool:
    return path.count("/") == 1 and path.endswith("/package.json")


def _file(record: Record) -> str:
    return record.name.rpartition("/")[2]


def _integrity(file: Path) -> str:
    with open(file, "rb") as opened:
        return "sha512-" + base64.b64encode(hashlib.file_digest(opened, "sha512").digest()).decode()


def _parsed(content: bytes, shown: str) -> dict[str, Any]:
    try:
        package = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"{shown}: package.json cannot be read", hint=_HINT) from error
    if not isinstance(package, dict):
        raise MalformedError(f"{shown}: package.json is no object", hint=_HINT)
    return package


def _manifest(package: Mapping[str, Any], names: set[str], shown: str) -> dict[str, Any]:
    """What npm needs to know of a version before it fetches it."""
    found: dict[str, Any] = {}
    for key in _MAPS:
        if isinstance(package.get(key), dict):
            found[key] = package[key]
    for key, kinds in _OTHERS.items():
        value = package.get(key, package.get("bundledDependencies") if key == "bundleDependencies" else None)
        if isinstance(value, kinds):
            found[key] = value
    scripts = package.get("scripts")
    if (isinstance(scripts, dict) and any(scripts.get(each) for each in _INSTALLING)) or "binding.gyp" in names:
        found["hasInstallScript"] = True
    if "npm-shrinkwrap.json" in names:
        found["_hasShrinkwrap"] = True
    try:
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:
        raise MalformedError(f"{shown}: package.json holds what no json is", hint=_HINT) from error
    return found


def _order(version: str) -> _Version:
    """By what semantic versions are compared (2.0.0, section 11); the fourth tells a release from what precedes it."""
    match = _VERSION.fullmatch(version)
    assert match is not None
    before = match[4]
    parts = before.split(".") if before else []
    keys = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)
    return int(match[1]), int(match[2]), int(match[3]), bool(before), keys


def _encoded(tree: Any) -> bytes:
    """JSON that stays JSON where a browser takes it for a page."""
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").encode()
