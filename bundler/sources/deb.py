"""Source `deb`: Debian packages and all that they need, from apt's repositories, found by apt's own solver.

`lock` asks: the signatures of the repositories are checked, the solver says which packages of which version are
needed, and each is pinned by address and SHA-256. What is collected later is fetched by that, and nobody is asked
again what is needed.

Invariant: nothing is collected whose SHA-256 the lock does not say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from sealift.document import Problem
from sealift.durable import locked, make_folder, storing
from sealift.errors import MalformedError, SourceError, UsageError
from sealift.names import visible

from ..source import Found, Trace, Workshop

if TYPE_CHECKING:
    from ..apt.asking import Archive, Asked
    from ..apt.closure import Deb

KIND = "debs"
DEBS_MAX = 8 << 20
DEBS = "^[!-~]+( [!-~]+){5}(\\n[!-~]+( [!-~]+){5})*$"
WORD = "^[A-Za-z0-9][A-Za-z0-9._/+~-]*$"
ARCHITECTURE = "^[a-z0-9][a-z0-9-]*$"
_PATH = {"type": "string", "minLength": 1, "maxLength": 4096, "pattern": "^[^\\u0000\\n]*$"}
_WORDS = {
    "type": "array",
    "minItems": 1,
    "maxItems": 64,
    "uniqueItems": True,
    "items": {"type": "string", "maxLength": 255, "pattern": WORD},
}
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "packages": {
            "type": "array",
            "minItems": 1,
            "maxItems": 10_000,
            "items": {"type": "string", "minLength": 2, "maxLength": 300},
            "description": "The packages, each as NAME or NAME=VERSION.",
        },
        "list": {**_PATH, "description": "A file of further packages, one on a line."},
        "architecture": {
            "type": "string",
            "minLength": 1,
            "maxLength": 32,
            "pattern": ARCHITECTURE,
            "description": "The architecture of the machines that they are for, such as amd64 or arm64.",
        },
        "repositories": {
            "type": "array",
            "minItems": 1,
            "maxItems": 64,
            "items": {
                "type": "object",
                "properties": {
                    "url": {**_PATH, "description": "https://…, http://…, or a folder; without credentials."},
                    "suites": {**_WORDS, "description": "The suites, such as bookworm and bookworm-updates."},
                    "components": {**_WORDS, "description": "The components; main if left out."},
                    "keyring": {**_PATH, "description": "A file of the keys that sign it; this machine's if left out."},
                },
                "required": ["url", "suites"],
                "additionalProperties": False,
            },
            "description": "Where they come from; what this machine's own apt asks if left out.",
        },
        "recommends": {
            "type": "boolean",
            "description": "Whether recommended packages are taken too; false if left out.",
        },
        "installed": {
            **_PATH,
            "description": "A status file of dpkg, of a base image: what it has is left out.",
        },
        "debs": {
            "type": "string",
            "maxLength": DEBS_MAX,
            "pattern": DEBS,
            "description": "What is needed, a package on each line; `sealift-bundle lock` finds it out.",
        },
    },
    "required": ["packages", "architecture"],
    "additionalProperties": False,
}

_PIN = "run `sealift-bundle lock`: it finds out which packages are needed"
_Path = Annotated[str, msgspec.Meta(min_length=1, max_length=4096, pattern="^[^\x00\n]*\\Z")]
_Word = Annotated[str, msgspec.Meta(max_length=255, pattern=WORD[:-1] + "\\Z")]
_Words = Annotated[tuple[_Word, ...], msgspec.Meta(min_length=1, max_length=64)]


class _Repository(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    url: _Path
    suites: _Words
    components: _Words | None = None
    keyring: _Path | None = None


class _Want(msgspec.Struct, frozen=True, kw_only=True):
    packages: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=10_000)]
    architecture: Annotated[str, msgspec.Meta(min_length=1, max_length=32, pattern=ARCHITECTURE[:-1] + "\\Z")]
    list: _Path | None = None
    repositories: Annotated[tuple[_Repository, ...], msgspec.Meta(min_length=1, max_length=64)] | None = None
    recommends: bool = False
    installed: _Path | None = None
    debs: Annotated[str, msgspec.Meta(max_length=DEBS_MAX)] | None = None
    """What is needed: name, version, architecture, bytes, SHA-256 and address of a package on each line."""
    asked: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    """The digest of what was asked for; only a lock says it."""
    signers: Annotated[str, msgspec.Meta(max_length=1 << 16)] = ""


def collect(want: Mapping[str, Any], workshop: Workshop) -> Iterator[Found]:
    """Yield the packages that the lock pins, fetched unless the workshop's cache holds them.

    Raises:
        UsageError: a key has the wrong form, or the spec asks for something else than the lock.
        SourceError: nothing is pinned, or a package cannot be had any more.
        IntegrityError: one is not what it was.
        MalformedError: one is no Debian package.
        StoreError: the cache cannot be written.
    """
    from sealift.debian import control
    from sealift.debian_paths import check_paths

    from ..apt.fetching import fetched

    asked = _parse(want)
    debs = _pinned(asked, workshop.base)
    make_folder(workshop.cache)
    found = []
    with locked(workshop.cache / "lock", what=f"the cache {workshop.cache}"):
        paths = fetched(debs, _asked(asked, workshop.base), workshop)
    for deb in debs:
        with storing(paths[deb.sha256]), paths[deb.sha256].open("rb") as file:
            says = control(file, deb.file)
            check_paths(file, deb.file)
        if (says.package, says.version, says.architecture) != (deb.name, deb.version, deb.architecture):
            raise MalformedError(
                f"{deb.file} is {visible(says.package)} {visible(says.version)} for {says.architecture}, and not what "
                "the repository's list says",
                hint="ask who keeps the repository",
            )
        status = paths[deb.sha256].stat()
        stamp = status.st_ino, status.st_mtime_ns
        found.append(Found(deb.file, "file", False, status.st_size, str(paths[deb.sha256]), stamp))
    yield from sorted(found)


def pin(want: Mapping[str, Any], workshop: Workshop) -> Mapping[str, Any]:
    """What is needed as `debs`, who signed the repositories as `signers`, and what was asked for as `asked`.

    Raises:
        UsageError: a key has the wrong form.
        SourceError: a repository cannot be asked, or a package or what it needs is not there.
        TrustError: a repository is not signed by a known key.
        IntegrityError: a repository's list is not what was signed.
    """
    from ..apt.closure import deb_of
    from ..apt.root import Root
    from ..scratch import scratch

    asked = _asked(_parse(want), workshop.base)
    with scratch() as folder:
        root = Root(folder, asked, workshop.base)
        workshop.progress.start("ask the repositories")
        try:
            signers = root.update()
            debs = sorted(deb_of(item) for item in root.closure())
        finally:
            workshop.progress.finish()
    _check_asked(asked, debs)
    lines = "\n".join(map(str, debs))
    return {"debs": lines, "signers": " ".join(signers), "asked": asked.digest}


def traces(want: Mapping[str, Any]) -> Iterable[Trace]:
    """Each package, its address and digest, and who signed the repositories' lists.

    Raises:
        UsageError: a key has the wrong form.
    """
    from ..apt.closure import debs_in

    asked = _parse(want)
    signers = tuple(asked.signers.split())
    return [
        Trace(
            name=deb.file,
            uri=deb.url if deb.url.startswith("http") else "",
            digest={"sha256": deb.sha256},
            signature="OpenPGP signature of the repository's InRelease" if signers else "",
            signers=signers,
        )
        for deb in debs_in(asked.debs or "")
    ]


def lint(want: Mapping[str, Any], base: Path, *, pinned: bool) -> list[Problem]:
    """What is wrong with names and addresses, and whether files are there; nobody is asked."""
    from ..apt.asking import address, check_package

    found = []
    packages, repositories = want.get("packages"), want.get("repositories")
    for index, name in enumerate(packages if isinstance(packages, list) else ()):
        try:
            if isinstance(name, str) and 1 < len(name) <= 300:
                check_package(name)
        except MalformedError as error:
            found.append(Problem(steps=("packages", index), message=error.message, hint=error.hint))
    for index, each in enumerate(repositories if isinstance(repositories, list) else ()):
        url = each.get("url") if isinstance(each, dict) else None
        try:
            if isinstance(url, str) and url:
                address(url, base)
        except UsageError as error:
            found.append(Problem(steps=("repositories", index, "url"), message=error.message, hint=error.hint))
        keyring = each.get("keyring") if isinstance(each, dict) else None
        if isinstance(keyring, str) and keyring and "\0" not in keyring and not (base / keyring).is_file():
            message = f"{visible(keyring)!r}: no such file"
            found.append(Problem(steps=("repositories", index, "keyring"), message=message, hint="check `keyring`"))
    for key in ("list", "installed"):
        place = want.get(key)
        if isinstance(place, str) and place and "\0" not in place and not (base / place).is_file():
            found.append(Problem(steps=(key,), message=f"{visible(place)!r}: no such file", hint=f"check `{key}`"))
    if pinned and "debs" not in want:
        found.append(Problem(steps=(), message="no lock says which packages are needed", hint=_PIN, missing=True))
    return found


def _parse(want: Mapping[str, Any]) -> _Want:
    try:
        return msgspec.convert(want, _Want)
    except msgspec.ValidationError as error:
        raise UsageError(f"source deb: {visible(str(error))}") from error


def _asked(want: _Want, base: Path) -> Asked:
    from ..apt.asking import Asked, check_package, listed, status

    try:
        packages = tuple(check_package(name) for name in want.packages)
    except MalformedError as error:
        raise UsageError(f"source deb: {error.message}", hint=error.hint) from error
    packages += listed(base / want.list) if want.list else ()
    return Asked(
        packages=tuple(dict.fromkeys(packages)),
        archives=tuple(_archive(each, base) for each in want.repositories or ()),
        architecture=want.architecture,
        recommends=want.recommends,
        installed=status(base / want.installed) if want.installed else b"",
    )


def _archive(repository: _Repository, base: Path) -> Archive:
    from ..apt.asking import Archive, address

    components = repository.components or ("main",)
    if any(suite.endswith("/") for suite in repository.suites):
        raise UsageError("source deb: a suite ends in a slash, which is a flat repository", hint="name a suite")
    return Archive(
        url=address(repository.url, base),
        suites=repository.suites,
        components=components,
        keyring=repository.keyring,
    )


def _check_asked(asked: Asked, debs: list[Deb]) -> None:
    """Refuse what apt took for a pattern, and two packages of one file name."""
    names = {deb.name for deb in debs}
    for package in asked.packages:
        name = package.partition("=")[0]
        if "." in name and name not in names and f"\nPackage: {name}\n".encode() not in b"\n" + asked.installed:
            raise SourceError(f"there is no package {name}", hint="check the names, suites and components")
    if not debs:
        raise SourceError("there is nothing to collect: all of it is installed", hint="check `installed`")
    if len({deb.file for deb in debs}) < len(debs):
        raise SourceError("two packages that are needed have one file name")


def _pinned(want: _Want, base: Path) -> list[Deb]:
    """The packages that the lock pins, if it was made for what the spec says."""
    from ..apt.closure import debs_in

    if want.debs is None:
        raise SourceError("no lock says which packages are needed", hint=_PIN)
    if want.asked not in (None, _asked(want, base).digest):
        raise UsageError(
            "source deb: the spec asks for other packages, repositories or installed ones than the lock was made for",
            hint="run `sealift-bundle lock`",
        )
    return debs_in(want.debs)
