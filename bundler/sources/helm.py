"""Source `helm`: a chart from a classic chart repository, with its provenance file where that is checked.

Charts in registries come by source `oci`.

Invariant: nothing is collected whose digest neither the spec nor its lock says; where keys are named, nothing that none
of them signed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urljoin, urlsplit

import msgspec

from sealift.document import Problem
from sealift.errors import SourceError, UsageError
from sealift.names import visible

from ..source import Found, Trace, Workshop

if TYPE_CHECKING:
    from ..network.line import Line
    from ..parcels import Parcel

URL_LENGTH_MAX = 2048
INDEX_MAX = 48 << 20
"""Bytes of the index of a repository at most."""
CHART_MAX = 256 << 20
CHART = "^[a-z0-9][a-z0-9-]{0,127}$"
VERSION = r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,127}$"
DIGEST = "^[0-9a-f]{64}$"
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "repository": {
            "type": "string",
            "minLength": 1,
            "maxLength": URL_LENGTH_MAX,
            "description": "The address of the chart repository, where its index.yaml is, without credentials.",
        },
        "chart": {"type": "string", "pattern": CHART, "description": "The chart's name."},
        "version": {"type": "string", "pattern": VERSION, "description": "Its version, in full."},
        "keyring": {
            "type": "string",
            "minLength": 1,
            "maxLength": 4096,
            "description": "A file of OpenPGP public keys, one of which must have signed the chart; its provenance "
            "file is taken too.",
        },
        "files": {
            "type": "array",
            "minItems": 1,
            "maxItems": 2,
            "items": {"type": "string", "minLength": 1},
            "description": "What is taken, each as its SHA-256, bytes, name and address; `sealift-bundle lock` finds "
            "it out.",
        },
        "signers": {
            "type": "array",
            "minItems": 1,
            "maxItems": 16,
            "items": {"type": "string", "pattern": "^[0-9A-F]{40,64}$"},
            "description": "The fingerprints of the keys that signed it; `sealift-bundle lock` finds them out.",
        },
    },
    "required": ["repository", "chart", "version"],
    "additionalProperties": False,
}

_PIN = "run `sealift-bundle lock`: it finds out the digest of the chart"
_Digest = Annotated[str, msgspec.Meta(pattern="^[0-9A-F]{40,64}\\Z")]


class _Want(msgspec.Struct, frozen=True, kw_only=True):
    repository: Annotated[str, msgspec.Meta(min_length=1, max_length=URL_LENGTH_MAX)]
    chart: Annotated[str, msgspec.Meta(pattern=CHART[:-1] + "\\Z")]
    version: Annotated[str, msgspec.Meta(pattern=VERSION[:-1] + "\\Z")]
    keyring: Annotated[str, msgspec.Meta(min_length=1, max_length=4096, pattern="^[^\x00]*\\Z")] | None = None
    files: Annotated[tuple[str, ...], msgspec.Meta(max_length=2)] = ()
    signers: Annotated[tuple[_Digest, ...], msgspec.Meta(max_length=16)] = ()

    @property
    def file(self) -> str:
        """What the chart's file is called in the artifact."""
        return f"{self.chart}-{self.version}.tgz"


def collect(want: Mapping[str, Any], workshop: Workshop) -> Iterator[Found]:
    """Yield the chart, and its provenance file where keys are named, whose signature is checked again.

    Raises:
        UsageError: a key has the wrong form, or a keyring or a configuration cannot be read.
        SourceError: nothing is locked, or a file cannot be fetched.
        TrustError: no key of the keyring signed it, or others than were locked.
        IntegrityError: a file has another digest than was locked or signed.
        StoreError: the cache cannot be written.
    """
    from ..charts.settings import line_to
    from ..parcels import found

    asked = _parse(want)
    if not asked.files:
        raise SourceError(f"the digest of chart {asked.chart} {asked.version} is not known", hint=_PIN)
    parcels = _parcels(asked)
    if (asked.keyring is None) != (len(parcels) == 1) or parcels[0].path != asked.file:
        raise UsageError(f"source helm: what is locked of {asked.file} is not what the spec wants", hint=_PIN)
    with line_to(asked.repository, os.environ) as line:
        entries = list(found(parcels, workshop, line, label=f"fetch {asked.file}"))
    if asked.keyring is not None:
        signed = _signers(asked, workshop, Path(entries[1].origin), parcels[0].sha256)
        if signed != asked.signers:
            raise SourceError(
                f"{asked.file} is signed by other keys than when it was locked", hint="run `sealift-bundle lock` again"
            )
    yield from entries


def pin(want: Mapping[str, Any], workshop: Workshop) -> Mapping[str, Any]:
    """The files as the repository has them now, and whose signature the chart bears, where keys are named.

    Raises:
        UsageError: a key has the wrong form, or a keyring or a configuration cannot be read.
        SourceError: the repository has no such chart, or it cannot be fetched.
        MalformedError: its index or the provenance is none.
        TrustError: no key of the keyring signed it.
        IntegrityError: the chart is not what the index or the signature says.
        StoreError: the cache cannot be written.
    """
    from ..charts.settings import line_to
    from ..hauling import haul
    from ..network.fetch import Wanted
    from ..network.web import public
    from ..parcels import Parcel

    asked = _parse(want)
    with line_to(asked.repository, os.environ) as line:
        url, digest = _listed(asked, line)
        wanted = [Wanted(url=url, sha256=digest, max_bytes=CHART_MAX)]
        if asked.keyring is not None:
            wanted.append(Wanted(url=f"{url}.prov", max_bytes=1 << 20))
        fetched = haul(wanted, workshop, line, label=f"fetch {asked.file}")
    names = (asked.file, f"{asked.file}.prov")
    parcels = [
        Parcel(path=name, sha256=each.sha256, length=each.length, url=public(where.url))
        for name, each, where in zip(names, fetched, wanted, strict=False)
    ]
    pins: dict[str, Any] = {"files": [parcel.line for parcel in parcels]}
    if asked.keyring is not None:
        pins["signers"] = list(_signers(asked, workshop, fetched[1].path, fetched[0].sha256))
    return pins


def traces(want: Mapping[str, Any]) -> list[Trace]:
    """The address and the digest of the chart, and who signed it.

    Raises:
        UsageError: a key has the wrong form.
    """
    asked = _parse(want)
    signature = "OpenPGP signature of the chart's provenance file" if asked.signers else ""
    return [
        Trace(name=each.path, uri=each.url, digest={"sha256": each.sha256}, signature=signature, signers=asked.signers)
        for each in _parcels(asked)
    ]


def lint(want: Mapping[str, Any], base: Path, *, pinned: bool) -> list[Problem]:
    """What is wrong with the address, whether the keyring is there, and whether a digest is known; nobody is asked."""
    from ..network.web import check_url

    found = []
    repository, keyring = want.get("repository"), want.get("keyring")
    if isinstance(repository, str) and 0 < len(repository) <= URL_LENGTH_MAX:
        try:
            _check_repository(check_url(repository))
        except UsageError as error:
            found.append(Problem(steps=("repository",), message=error.message, hint=error.hint))
    if isinstance(keyring, str) and 0 < len(keyring) <= 4096:
        try:
            if "\0" in keyring:
                raise OSError("a path holds no NUL")
            os.stat(base / keyring)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            hint = "name a file of OpenPGP public keys; unless it is absolute, it starts from the folder of the spec"
            found.append(Problem(steps=("keyring",), message=f"{visible(keyring)!r}: {reason}", hint=hint))
    if pinned and "files" not in want:
        found.append(Problem(steps=(), message="no lock says the digest of the chart", hint=_PIN, missing=True))
    return found


def _parse(want: Mapping[str, Any]) -> _Want:
    from ..network.web import check_url

    try:
        asked = msgspec.convert(want, _Want)
    except msgspec.ValidationError as error:
        raise UsageError(f"source helm: {visible(str(error))}") from error
    _check_repository(check_url(asked.repository))
    return asked


def _check_repository(url: str) -> None:
    if urlsplit(url).query or urlsplit(url).fragment:
        raise UsageError("the address of a chart repository has no query", hint="write what `helm repo add` takes")


def _parcels(asked: _Want) -> list[Parcel]:
    from ..parcels import parse

    return parse(asked.files, "helm")


def _listed(asked: _Want, line: Line) -> tuple[str, str | None]:
    """Where the index says that the chart is, and its digest, where it says one."""
    from sealift.patience import Patience

    from ..charts.index import versions
    from ..network.pages import page
    from ..network.web import check_url, redacted

    base = asked.repository.rstrip("/") + "/"
    shown = f"{redacted(base)}index.yaml"
    found = page(f"{base}index.yaml", line, Patience(), limit=INDEX_MAX)
    if found is None:
        raise SourceError(
            f"{shown}: there is none", hint="check `repository`; a chart in a registry comes by source `oci`"
        )
    fitting = [each for each in versions(found.content, asked.chart, shown) if each.version == asked.version]
    if not fitting or not fitting[0].urls:
        raise SourceError(
            f"{redacted(base)} has no chart {asked.chart} {asked.version}", hint="check `chart` and `version`"
        )
    if len({each.digest for each in fitting}) > 1:
        raise SourceError(f"{shown} lists {asked.chart} {asked.version} with two digests", hint="ask whoever keeps it")
    try:
        url = check_url(urljoin(base, fitting[0].urls[0]).partition("#")[0])
    except (UsageError, ValueError) as error:
        raise SourceError(
            f"{shown} leads to an address of {asked.chart} {asked.version} that is not followed",
            hint="a chart in a registry comes by source `oci`",
        ) from error
    if base.startswith("https:") and not url.startswith("https:"):
        raise SourceError(f"{shown} leads from https to http: not followed", hint="ask whoever keeps the repository")
    digest = fitting[0].digest
    if digest is not None and (len(digest) != 64 or set(digest) - set("0123456789abcdef")):
        raise SourceError(f"{shown} has no SHA-256 of {asked.chart} {asked.version}", hint="ask whoever keeps it")
    return url, digest


def _signers(asked: _Want, workshop: Workshop, provenance: Path, sha256: str) -> tuple[str, ...]:
    from ..charts.provenance import signers

    keys = [workshop.base / (asked.keyring or "")]
    return signers(provenance, keys, file=asked.file, sha256=sha256, chart=asked.chart, version=asked.version)
