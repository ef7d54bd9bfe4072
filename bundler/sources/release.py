"""Source `release`: an artifact that the depot published before, so that services are released apart and combined.

Its tree is the very same, so its digest is, and what sites hold of it already does not cross again in a difference.

Invariant: nothing is taken that the depot's signed metadata does not list, under the digest that was locked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from sealift.document import Problem
from sealift.durable import make_folder, storing
from sealift.errors import MalformedError, SourceError, UsageError
from sealift.manifest import Artifact, Kind
from sealift.names import check_release, check_spaced, check_version, visible

from ..source import Found, Trace, Workshop

if TYPE_CHECKING:
    from ..depots.holding import Holding

LABEL_MAX = 200
DIGEST = "^[0-9a-f]{64}$"
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "release": {
            "type": "string",
            "minLength": 1,
            "maxLength": LABEL_MAX,
            "description": "NAME@VERSION of a release that the depot published.",
        },
        "artifact": {
            "type": "string",
            "minLength": 1,
            "maxLength": 64,
            "description": "The artifact of it; may be left out where it has one alone.",
        },
        "manifest": {
            "type": "string",
            "pattern": DIGEST,
            "description": "The digest of its manifest; `sealift-bundle lock` finds it out if left out.",
        },
        "kind": {
            "type": "string",
            "enum": ["files", "oci", "wheels", "npm", "debs"],
            "description": "The kind of the artifact; `sealift-bundle lock` finds it out if left out.",
        },
    },
    "required": ["release"],
    "additionalProperties": False,
}

_PIN = "run `sealift-bundle lock --depot DIR`: it finds out which release that is"
_FORM = "write NAME@VERSION"


class _Want(msgspec.Struct, frozen=True, kw_only=True):
    release: Annotated[str, msgspec.Meta(min_length=1, max_length=LABEL_MAX)]
    artifact: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    manifest: Annotated[str, msgspec.Meta(pattern=DIGEST[:-1] + "\\Z")] | None = None
    kind: Kind | None = None

    @property
    def label(self) -> tuple[str, str]:
        """Name and version."""
        name, _, version = self.release.partition("@")
        return name, version


def collect(want: Mapping[str, Any], workshop: Workshop) -> Iterator[Found]:
    """Yield the artifact's entries as they were sealed.

    Raises:
        UsageError: a key has the wrong form.
        SourceError: there is no depot, or it has no such release or artifact.
        TrustError: the depot's metadata does not verify.
        IntegrityError: the depot is damaged.
        StoreError: the cache cannot be written.
    """
    from ..depots.former import artifact_of

    asked = _parse(want)
    if asked.manifest is None or asked.kind is None:
        raise SourceError(f"release {visible(asked.release)} is not locked", hint=_PIN)
    holding = _holding(asked, workshop)
    yield from _found(holding, artifact_of(holding, asked.artifact), workshop)


def _found(holding: Holding, artifact: Artifact, workshop: Workshop) -> Iterator[Found]:
    """The entries of an artifact, its files in the workshop's cache."""
    from ..depots.former import Files

    make_folder(workshop.cache)
    files = Files(holding, workshop.cache)
    for entry in holding.entries(artifact):
        if entry.type == "dir":
            yield Found(entry.path, "dir")
        elif entry.type == "link":
            yield Found(entry.path, "link", target=entry.target)
        else:
            path = files.path_of(entry)
            with storing(path):
                status = os.stat(path)
            stamp = (status.st_ino, status.st_mtime_ns)
            yield Found(entry.path, "file", entry.mode == "0755", status.st_size, str(path), stamp)


def pin(want: Mapping[str, Any], workshop: Workshop) -> Mapping[str, Any]:
    """The digest of the release's manifest, and the name and the kind of the artifact.

    Raises:
        UsageError: a key has the wrong form, or the spec says another kind.
        SourceError: there is no depot, or it has no such release or artifact.
        TrustError: the depot's metadata does not verify.
        IntegrityError: the depot is damaged.
    """
    from ..depots.former import artifact_of

    asked = _parse(want)
    holding = _holding(asked, workshop)
    artifact = artifact_of(holding, asked.artifact)
    if asked.kind not in (None, artifact.kind):
        raise UsageError(
            f"artifact {artifact.name} of {holding.release.label} is of the kind {artifact.kind}",
            hint="leave `kind` out of the spec",
        )
    return {"manifest": holding.part.release.sha256, "artifact": artifact.name, "kind": artifact.kind}


def kind_of(want: Mapping[str, Any]) -> Kind:
    """The kind that the artifact had.

    Raises:
        UsageError: a key has the wrong form.
    """
    return _parse(want).kind or "files"


def traces(want: Mapping[str, Any]) -> list[Trace]:
    """The release and its manifest, whose own provenance says where it came from.

    Raises:
        UsageError: a key has the wrong form.
    """
    asked = _parse(want)
    name = f"{asked.release}/{asked.artifact}" if asked.artifact else asked.release
    return [
        Trace(
            name=name,
            uri=f"urn:sealift:release:{asked.release}",
            digest={"sha256": asked.manifest} if asked.manifest else {},
        )
    ]


def lint(want: Mapping[str, Any], base: Path, *, pinned: bool) -> list[Problem]:
    """What is wrong with the names, and whether the release is locked; the depot is not asked."""
    found = []
    release, artifact = want.get("release"), want.get("artifact")
    if isinstance(release, str) and 0 < len(release) <= LABEL_MAX:
        try:
            _check_label(release)
        except MalformedError as error:
            found.append(Problem(steps=("release",), message=error.message, hint=error.hint or _FORM))
    if isinstance(artifact, str) and 0 < len(artifact) <= 64:
        try:
            check_release(artifact)
        except MalformedError as error:
            found.append(Problem(steps=("artifact",), message=error.message, hint=error.hint))
    if pinned and ("manifest" not in want or "kind" not in want):
        found.append(Problem(steps=(), message="no lock says which release that is", hint=_PIN, missing=True))
    return found


def _check_label(label: str) -> None:
    name, at, version = label.partition("@")
    if not at:
        raise MalformedError(f"{visible(label)[:80]!r} names no release and version", hint=_FORM)
    check_spaced(name)
    check_version(version)


def _parse(want: Mapping[str, Any]) -> _Want:
    try:
        asked = msgspec.convert(want, _Want)
        _check_label(asked.release)
        if asked.artifact is not None:
            check_release(asked.artifact)
    except msgspec.ValidationError as error:
        raise UsageError(f"source release: {visible(str(error))}") from error
    except MalformedError as error:
        raise UsageError(f"source release: {error.message}", hint=error.hint) from error
    return asked


def _holding(asked: _Want, workshop: Workshop) -> Holding:
    from ..depots.former import published

    if workshop.depot is None:
        raise SourceError(f"release {visible(asked.release)} is in a depot, and none was named", hint=_PIN)
    return published(workshop.depot, *asked.label, manifest=asked.manifest)
