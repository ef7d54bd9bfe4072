"""Provenance: where the artifacts of a release came from, as an in-toto statement with a SLSA predicate.

The statement (in-toto Statement 1, SLSA provenance 1) is a file of its own in canonical JSON, and the release manifest
names it by its digest. Whoever reads it has checked that digest; it says what the bundler found, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from .errors import MalformedError
from .listing import decode
from .names import visible

BUILD_TYPE = "urn:sealift:export:1"
"""What the build was: the collection of a spec's artifacts."""
BUILDER = "urn:sealift:bundler"
DEPENDENCIES_MAX = 100_000


class Subject(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An artifact that the statement is about."""

    name: str
    digest: dict[str, str]


class Annotations(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What else is known of a dependency."""

    artifact: str
    """The artifact that it went into."""
    source: str
    """The kind of its source."""
    locked: str = ""
    """When `lock` found it, RFC 3339 in UTC; nobody knows where there is no lock."""
    signature: str = ""
    """The upstream signature that was verified, in words."""
    signers: tuple[str, ...] = ()
    """Whose it was: fingerprints of keys, or identities."""


class Dependency(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Something that was collected: an in-toto resource descriptor."""

    name: str
    uri: str = ""
    digest: dict[str, str]
    annotations: Annotations


class BuildDefinition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """What was asked for, and what was taken."""

    build_type: str
    external_parameters: dict[str, str]
    resolved_dependencies: tuple[Dependency, ...]


class Builder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who collected it."""

    id: str


class RunDetails(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How it was collected."""

    builder: Builder


class Predicate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A SLSA provenance, version 1."""

    build_definition: BuildDefinition
    run_details: RunDetails


class Statement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """An in-toto statement, version 1."""

    type_: Literal["https://in-toto.io/Statement/v1"] = msgspec.field(name="_type")
    subject: tuple[Subject, ...]
    predicate_type: Literal["https://slsa.dev/provenance/v1"]
    predicate: Predicate

    @property
    def dependencies(self) -> tuple[Dependency, ...]:
        """What the artifacts came from."""
        return self.predicate.build_definition.resolved_dependencies


def statement(
    release: str, version: str, subjects: Mapping[str, str], dependencies: tuple[Dependency, ...]
) -> Statement:
    """The statement about a release.

    Args:
        release: its name.
        version: its version.
        subjects: the digest of each artifact, by its name.
        dependencies: what they came from.
    """
    return Statement(
        type_="https://in-toto.io/Statement/v1",
        subject=tuple(Subject(name=name, digest={"sha256": digest}) for name, digest in subjects.items()),
        predicate_type="https://slsa.dev/provenance/v1",
        predicate=Predicate(
            build_definition=BuildDefinition(
                build_type=BUILD_TYPE,
                external_parameters={"release": release, "version": version},
                resolved_dependencies=dependencies,
            ),
            run_details=RunDetails(builder=Builder(id=BUILDER)),
        ),
    )


def parse(content: bytes, what: str) -> Statement:
    """The statement in `content`, whose digest the caller has checked.

    Raises:
        MalformedError: it is none that Sealift writes.
    """
    found = decode(content, Statement, what)
    if len(found.dependencies) > DEPENDENCIES_MAX:
        raise MalformedError(f"{what} names more than {DEPENDENCIES_MAX} dependencies")
    return found


def document(found: Statement) -> dict[str, Any]:
    """The statement as plain JSON values."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(found))
    return plain


def text(found: Statement | None) -> str:
    """Each dependency in words: its artifact and its name, where it came from, its digest, and what else is known."""
    if found is None or not found.dependencies:
        return "nobody says where it came from"
    return "\n".join(_line(each) for each in found.dependencies)


def _line(each: Dependency) -> str:
    said = each.annotations
    words = [f"from {said.source}" + (f" {each.uri}" if each.uri else "")]
    words += [f"{algorithm}:{value}" for algorithm, value in each.digest.items()]
    words += [f"locked {said.locked}"] if said.locked else []
    if said.signature:
        words.append(f"{said.signature} by {', '.join(said.signers) or 'somebody unnamed'}")
    return visible(f"{said.artifact}: {each.name}") + "".join(f"\n    {visible(word)}" for word in words)
