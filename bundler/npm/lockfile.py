"""npm's lock file, version 2 or 3: which packages it means, and the integrity that each must have.

Only what comes from a registry is taken: packages in folders of the project, and those bundled in another one's
tarball, are not; packages from git, from local files or without a strong integrity are refused.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec

from sealift.errors import MalformedError, SourceError, UsageError
from sealift.listing import decode
from sealift.names import visible

PACKAGES_MAX = 100_000
STRONG = {"sha512": 64, "sha384": 48, "sha256": 32}
"""Bytes of the digests that identify a tarball, the strongest first."""
_NAME = re.compile(r"(@[a-z0-9~-][a-z0-9._~-]{0,99}/)?[A-Za-z0-9~_-][A-Za-z0-9._~-]{0,213}")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]{0,127}")
_REMAKE = "write it anew: npm install --package-lock-only --lockfile-version 3"
_Words = tuple[Annotated[str, msgspec.Meta(max_length=64)], ...]


@dataclass(frozen=True, kw_only=True)
class Locked:
    """A package of a registry."""

    name: str
    """With its scope."""
    version: str
    resolved: str | None
    """Where the lock file says that its tarball is."""
    algorithm: str
    digest: str
    """Of the tarball, in hexadecimal digits."""

    @property
    def path(self) -> str:
        """Of its file in an artifact."""
        return f"{self.name}/{self.file}"

    @property
    def file(self) -> str:
        """The name of its tarball."""
        return f"{self.name.rpartition('/')[2]}-{self.version}.tgz"


class _Entry(msgspec.Struct, frozen=True, rename="camel"):
    name: str | None = None
    version: str | None = None
    resolved: str | bool | None = None
    integrity: str | None = None
    link: bool = False
    in_bundle: bool = False
    dev: bool = False
    optional: bool = False
    dev_optional: bool = False
    peer: bool = False
    os: _Words = ()
    cpu: _Words = ()
    libc: _Words = ()


class _Document(msgspec.Struct, frozen=True):
    lockfile_version: int = msgspec.field(name="lockfileVersion")
    packages: dict[str, _Entry] = msgspec.field(default_factory=dict)


def parse(
    content: bytes,
    shown: str,
    *,
    omit: Sequence[str] = (),
    systems: Sequence[str] = (),
    processors: Sequence[str] = (),
) -> list[Locked]:
    """The packages of the lock file in `content`, each once, in the order of their paths.

    Args:
        content: the file.
        shown: what it is called in messages.
        omit: `dev`, `optional` or `peer`: kinds of dependencies that are left out, as by `npm ci --omit`.
        systems: of optional packages, those for these values of `os` are taken alone; all if there are none.
        processors: the same of `cpu`.

    Raises:
        UsageError: it is no lock file of these versions.
        SourceError: a package cannot be taken from a registry, or has no integrity that can be relied on.
    """
    try:
        document = decode(content, _Document, shown)
    except MalformedError as error:
        raise UsageError(error.message, hint=_REMAKE) from error
    if document.lockfile_version not in (2, 3):
        raise UsageError(f"{shown} is of version {document.lockfile_version}, and 2 and 3 are read", hint=_REMAKE)
    if len(document.packages) > PACKAGES_MAX:
        raise UsageError(f"{shown} has more than {PACKAGES_MAX} packages", hint="make several artifacts of it")
    found: dict[str, Locked] = {}
    for key, entry in document.packages.items():
        if not _counts(key, entry, omit) or (entry.optional and not _fits(entry, systems, processors)):
            continue
        locked = _locked(key, entry)
        former = found.setdefault(locked.path, locked)
        if (former.algorithm, former.digest) != (locked.algorithm, locked.digest):
            raise SourceError(f"{locked.name} {locked.version} is locked with two integrities", hint=_REMAKE)
    if not found:
        raise SourceError(f"{shown} has no packages of a registry", hint=_REMAKE)
    return [found[path] for path in sorted(found)]


def _counts(key: str, entry: _Entry, omit: Sequence[str]) -> bool:
    """Whether an entry is a package of its own that is wanted."""
    if "node_modules/" not in key or entry.link or entry.in_bundle:
        return False
    left_out = {
        "dev": entry.dev or (entry.dev_optional and "optional" in omit),
        "optional": entry.optional or (entry.dev_optional and "dev" in omit),
        "peer": entry.peer,
    }
    return not any(left_out[kind] for kind in omit)


def _fits(entry: _Entry, systems: Sequence[str], processors: Sequence[str]) -> bool:
    return _allows(entry.os, systems) and _allows(entry.cpu, processors)


def _allows(said: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether a package for `said`, where `!x` means all but x, is for one of `wanted`."""
    if not wanted or not said or "any" in said:
        return True
    refused = {each[1:] for each in said if each.startswith("!")}
    named = {each for each in said if not each.startswith("!")}
    return any(each not in refused and (not named or each in named) for each in wanted)


def _locked(key: str, entry: _Entry) -> Locked:
    name, version = entry.name or key.rpartition("node_modules/")[2], entry.version or ""
    shown = f"{visible(name)[:80]} {visible(version)[:40]}".rstrip()
    if not _NAME.fullmatch(name) or not _VERSION.fullmatch(version) or ".." in version:
        raise SourceError(f"{shown!r} is no name and version of a package in a registry", hint=_REMAKE)
    resolved = entry.resolved if isinstance(entry.resolved, str) else None
    if resolved is not None and not resolved.lower().startswith(("http://", "https://")):
        kind = "a file of this machine" if resolved.lower().startswith("file:") else "no package of a registry"
        raise SourceError(f"{shown} is locked as {kind}", hint="depend on a version that a registry has")
    for algorithm, length in STRONG.items():
        if (digest := _digest(entry.integrity or "", algorithm)) and len(digest) == length:
            return Locked(name=name, version=version, resolved=resolved, algorithm=algorithm, digest=digest.hex())
    raise SourceError(f"{shown} is locked without an integrity that can be relied on", hint=_REMAKE)


def _digest(integrity: str, algorithm: str) -> bytes | None:
    """The digest of an algorithm in a Subresource Integrity string."""
    for word in integrity.split():
        kind, dash, said = word.partition("?")[0].partition("-")
        if dash and kind == algorithm:
            try:
                return base64.b64decode(said, validate=True)
            except (binascii.Error, ValueError):
                return None
    return None
