r"""A hashed requirements file, as `pip install --require-hashes` reads it: every line pins one version and its digests.

    anyio==4.4.0 ; python_version >= "3.8" \
        --hash=sha256:… \
        --hash=sha256:…

Of the options that stand on lines of their own, `--index-url` and `--extra-index-url` are read; `--require-hashes` and
what chooses between wheels and source distributions is passed over. All else is refused: other files, addresses, local
paths.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import InvalidVersion, Version

from sealift.errors import UsageError
from sealift.names import visible

from ..network.web import check_url

REQUIREMENTS_MAX = 50_000
_COMMENT = re.compile(r"(^|\s)#.*$")
_HASH = re.compile(r"--hash[= ]\s*(sha256|sha384|sha512):([0-9a-fA-F]{64,128})(?=\s|$)")
_OPTION = re.compile(r"(-i|--index-url|--extra-index-url)[= ]\s*(\S+)")
_PASSED = re.compile(r"(--require-hashes|--only-binary[= ].*|--no-binary[= ].*|--prefer-binary|--pre)")
_HINT = "write it with hashes: pip-compile --generate-hashes, or uv pip compile --generate-hashes"


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """One version of a project, and the digests that its files may have."""

    project: NormalizedName
    version: Version
    marker: Marker | None
    hashes: Mapping[str, frozenset[str]]
    """By algorithm."""


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """What a requirements file says."""

    pinned: tuple[Pinned, ...]
    indexes: tuple[str, ...]


def parse(text: str, shown: str) -> Requirements:
    """What is in the requirements file `text`.

    Args:
        text: its content.
        shown: what it is called in messages.

    Raises:
        UsageError: a line is none that pins a version with its digests; the message says which.
    """
    pinned, indexes = [], []
    for number, line in _lines(text):
        where = f"{shown}, line {number}"
        if found := _OPTION.fullmatch(line):
            indexes.append(check_url(found[2]))
        elif not _PASSED.fullmatch(line):
            pinned.append(_pinned(line, where))
    if not pinned:
        raise UsageError(f"{shown} has no requirements", hint=_HINT)
    if len(pinned) > REQUIREMENTS_MAX:
        raise UsageError(f"{shown} has more than {REQUIREMENTS_MAX} requirements", hint="make several artifacts of it")
    return Requirements(pinned=tuple(pinned), indexes=tuple(indexes))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Logical lines with the number of their first one, without comments."""
    waiting: list[str] = []
    start = 0
    for number, raw in enumerate(text.split("\n"), start=1):
        line = _COMMENT.sub("", raw.rstrip("\r")).rstrip()
        start = start if waiting else number
        if line.endswith("\\"):
            waiting.append(line[:-1])
            continue
        whole = " ".join([*waiting, line]).strip()
        waiting = []
        if whole:
            yield start, whole
    if whole := " ".join(waiting).strip():
        yield start, whole


def _pinned(line: str, where: str) -> Pinned:
    hashes: dict[str, set[str]] = {}
    for found in _HASH.finditer(line):
        hashes.setdefault(found[1], set()).add(found[2].lower())
    rest = _HASH.sub("", line).strip()
    if rest.startswith("-") or " -" in rest:
        raise UsageError(f"{where}: an option that is not read here: {visible(rest)[:80]!r}", hint=_HINT)
    try:
        requirement = Requirement(rest)
    except InvalidRequirement as error:
        raise UsageError(
            f"{where}: no requirement of a project and a version: {visible(_plain(rest))[:80]!r}", hint=_HINT
        ) from error
    if requirement.url is not None:
        raise UsageError(
            f"{where}: {visible(requirement.name)} is wanted from an address, which is not followed",
            hint="pin a version that an index has, or use source `url`",
        )
    specifiers = list(requirement.specifier)
    if len(specifiers) != 1 or specifiers[0].operator not in ("==", "===") or "*" in specifiers[0].version:
        raise UsageError(f"{where}: {visible(requirement.name)} is not pinned to one version by `==`", hint=_HINT)
    if not hashes:
        raise UsageError(f"{where}: {visible(requirement.name)} has no digest that can be relied on", hint=_HINT)
    try:
        version = Version(specifiers[0].version)
    except InvalidVersion as error:
        raise UsageError(f"{where}: {visible(specifiers[0].version)[:80]!r} is no version", hint=_HINT) from error
    return Pinned(
        project=canonicalize_name(requirement.name),
        version=version,
        marker=requirement.marker,
        hashes={algorithm: frozenset(digests) for algorithm, digests in hashes.items()},
    )


def _plain(text: str) -> str:
    """`text` without what may be credentials in an address."""
    return re.sub(r"//[^/\s@]*@", "//***@", text)
