"""Choosing: which file of each locked project every environment gets, as the lock file's own rules say.

A lock file (PEP 751) says that itself, and `packaging` reads it. A requirements file is made one first, of what the
indexes have of each of its versions. What is chosen has a digest that the file of the person says.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.pylock import (
    Package,
    PackageArchive,
    PackageDirectory,
    PackageSdist,
    PackageVcs,
    PackageWheel,
    Pylock,
    PylockSelectError,
    PylockUnsupportedVersionError,
    PylockValidationError,
)
from packaging.utils import NormalizedName, parse_wheel_filename
from packaging.version import Version

from sealift.errors import SourceError, UsageError
from sealift.names import folded, visible

from ..network.web import check_url, redacted
from .environments import Environment
from .requirements import Pinned, Requirements
from .simple import STRONG, Link, parsed

PACKAGES_MAX = 50_000
_STALE = "make the lock file anew, or ask an index that has what it pins"


@dataclass(frozen=True, kw_only=True)
class File:
    """A wheel or a source distribution that is taken."""

    filename: str
    url: str
    hashes: Mapping[str, str]
    """By algorithm, of `STRONG`; at least one."""
    size: int | None
    """Bytes, where somebody says."""


def pylock(content: bytes, shown: str) -> Pylock:
    """The lock file in `content`.

    Raises:
        UsageError: it is none of version 1.
    """
    try:
        lock = Pylock.from_dict(tomllib.loads(content.decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{shown} is no TOML: {visible(str(error))[:200]}", hint="name a pylock.toml") from error
    except (PylockValidationError, PylockUnsupportedVersionError) as error:
        raise UsageError(
            f"{shown} is no lock file of PEP 751: {visible(str(error))[:300]}", hint="make it anew, as `pip lock` does"
        ) from error
    if len(lock.packages) > PACKAGES_MAX:
        raise UsageError(f"{shown} has more than {PACKAGES_MAX} packages", hint="make several artifacts of it")
    return lock


def as_pylock(requirements: Requirements, offered: Callable[[Pinned], Sequence[Link]]) -> Pylock:
    """A requirements file as a lock file.

    Args:
        requirements: what it says.
        offered: the files that the indexes have of a project's version with a digest that is pinned.
    """
    return Pylock(
        lock_version=Version("1.0"),
        created_by="sealift",
        packages=[_package(pinned, offered(pinned)) for pinned in requirements.pinned],
    )


def _package(pinned: Pinned, links: Sequence[Link]) -> Package:
    wheels = [
        PackageWheel(name=link.filename, url=link.url, size=link.size, hashes=link.hashes)
        for link in links
        if link.wheel
    ]
    sdists = [
        PackageSdist(name=link.filename, url=link.url, size=link.size, hashes=link.hashes)
        for link in links
        if not link.wheel
    ]
    return Package(
        name=pinned.project,
        version=pinned.version,
        marker=pinned.marker,
        wheels=wheels or None,
        sdist=sdists[0] if sdists else None,
    )


def choose(
    lock: Pylock,
    environments: Sequence[Environment],
    *,
    sdists: bool,
    extras: Sequence[str] = (),
    groups: Sequence[str] | None = None,
) -> list[File]:
    """The files that the environments get, each once, in the order of their names.

    Args:
        lock: what is locked.
        environments: what for.
        sdists: whether a source distribution is taken where no wheel fits.
        extras: of the project that was locked.
        groups: its dependency groups; its default ones if None.

    Raises:
        SourceError: an environment gets nothing of a package, or what is locked may not be taken.
    """
    found: dict[str, File] = {}
    for environment in environments:
        for package, taken in _selected(lock, environment, extras, groups):
            if isinstance(taken, PackageSdist) and not sdists:
                raise SourceError(
                    f"{package.name} {package.version} has no wheel for {environment.shown}",
                    hint="name another platform, or write `sdists: true` to take its source distribution",
                )
            file = _file(package, taken)
            if found.setdefault(file.filename, file).hashes != file.hashes:
                raise SourceError(f"{visible(file.filename)} is locked with two digests", hint=_STALE)
    _check_distinct(found.values())
    return [found[name] for name in sorted(found)]


_Taken = PackageVcs | PackageDirectory | PackageArchive | PackageWheel | PackageSdist


def _selected(
    lock: Pylock, environment: Environment, extras: Sequence[str], groups: Sequence[str] | None
) -> list[tuple[Package, _Taken]]:
    try:
        return list(
            lock.select(
                environment=environment.marks(), tags=environment.tags(), extras=extras, dependency_groups=groups
            )
        )
    except (PylockSelectError, UndefinedComparison, UndefinedEnvironmentName) as error:
        message = visible(str(error)).rstrip(".")[:300]
        raise SourceError(
            f"for {environment.shown}: {message[:1].lower()}{message[1:]}",
            hint="check `python` and `platforms` against what the lock file was made for",
        ) from error
    except NotImplementedError as error:
        raise SourceError(
            f"for {environment.shown}: the indexes have no file with a pinned digest of a package", hint=_STALE
        ) from error


def _file(package: Package, taken: _Taken) -> File:
    """What is taken of a package, if it is something that an index serves."""
    shown = visible(package.name)
    if not isinstance(taken, (PackageWheel, PackageSdist)):
        kind = {PackageVcs: "a repository", PackageDirectory: "a folder", PackageArchive: "an archive"}[type(taken)]
        raise SourceError(f"{shown} is locked as {kind}, which is not taken", hint="lock a version that an index has")
    if taken.url is None:
        raise SourceError(f"{shown} is locked as a file of this machine", hint="lock a version that an index has")
    try:
        url = check_url(taken.url.partition("#")[0])
    except UsageError as error:
        scheme = taken.url.partition(":")[0].lower()
        raise SourceError(
            f"{shown} is locked with an address that is not followed"
            + (": it is a file of this machine" if scheme == "file" else ""),
            hint=error.hint or "lock a version that an index has",
        ) from error
    try:
        filename = taken.filename
    except (PylockValidationError, ValueError) as error:
        raise SourceError(f"{shown} is locked without a file name", hint=_STALE) from error
    named = parsed(filename)
    if named is None or named[0] != package.name or (package.version and named[1] != package.version):
        raise SourceError(f"{redacted(url)} is no file of {shown} {package.version or ''}".rstrip(), hint=_STALE)
    hashes = {name: value.lower() for name, value in taken.hashes.items() if name in STRONG}
    if not hashes:
        raise SourceError(
            f"{visible(filename)} is locked without a digest that can be relied on", hint="lock it with sha256"
        )
    return File(filename=filename, url=url, hashes=hashes, size=taken.size)


def _check_distinct(files: Iterable[File]) -> None:
    """Refuse two files that an installer takes for the same one."""
    seen: dict[object, str] = {}
    for file in files:
        same: list[object] = [folded(file.filename)]
        if file.filename.endswith(".whl"):
            name, version, build, tags = parse_wheel_filename(file.filename)
            same.append((name, version, build, tags))
        elif named := parsed(file.filename):
            same.append(named)
        for key in same:
            if (other := seen.setdefault(key, file.filename)) != file.filename:
                raise SourceError(
                    f"{visible(other)} and {visible(file.filename)} are one name to an installer", hint=_STALE
                )


def fitting(pinned: Pinned, links: Sequence[Link]) -> list[Link]:
    """Those links that are of the version, with a digest that is pinned."""
    return [
        link
        for link in links
        if link.version == pinned.version
        and any(link.hashes.get(algorithm) in digests for algorithm, digests in pinned.hashes.items())
    ]


def no_file(project: NormalizedName, version: Version) -> SourceError:
    """That no index has a file that is pinned."""
    return SourceError(f"no index has a file of {project} {version} with a pinned digest", hint=_STALE)
