"""A repository of Debian packages, as files that any web server can give, or that apt reads by `file:`.

    dists/<suite>/InRelease                           what is signed
    dists/<suite>/main/binary-<architecture>/Packages{,.gz}
    dists/<suite>/main/binary-<architecture>/by-hash/SHA256/<digest>
    pool/<package>/<package>_<version>_<architecture>.deb
    key.asc                                           the public key

The lists of the index before are kept under their digests, so that a client who read the former `InRelease` right
before a switch still finds what it names.
"""

from __future__ import annotations

import gzip
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from sealift import debian
from sealift.debian_paths import check_paths
from sealift.digest import sha256 as digest_of
from sealift.errors import MalformedError
from sealift.manifest import Kind
from sealift.names import visible
from sealift.reading import bounded

from .record import Record, record_of
from .side import Page

COMPONENT = "main"
KEY = "key.asc"
POOL = "pool"
LIST_MAX = 1 << 30
"""Bytes of a list."""
RELEASE_MAX = 1 << 20
_CONTROL, _ARCHITECTURE = "control", "architecture"
_OURS = {"filename", "size", "md5sum", "sha1", "sha256", "sha512", "status"}
"""What the index says of a package, and not the package itself."""
_LISTED = re.compile(r"^ ([0-9a-f]{64}) +[0-9]+ ([a-z0-9/-]+/Packages(?:\.gz)?)$", re.MULTILINE)


class Signer(Protocol):
    """Who signs an index."""

    identity: str
    """Which key it is."""

    def sign(self, release: bytes) -> bytes:
        """The document with a signature around it.

        Raises:
            DeployError: it cannot be signed.
        """

    def public(self) -> bytes:
        """The public key, armoured.

        Raises:
            DeployError: it cannot be had.
        """


class Archive:
    """What the repository of a site's Debian packages looks like."""

    kind: Kind = "debs"

    def __init__(self, suite: str, signer: Signer, clock: Callable[[], datetime]) -> None:
        self.name = f"apt-repository {suite} {signer.identity}"
        self._suite = suite
        self._signer = signer
        self._clock = clock

    def examine(self, path: str, file: Path, sha256: str, key: str) -> tuple[Record, Mapping[str, bytes]]:
        """What a package's control file says; nothing lies beside it.

        Raises:
            MalformedError: it is no package, or not what its name says.
        """
        shown = visible(path)[:160]
        with open(file, "rb") as content:
            found = debian.control(content, path)
            check_paths(content, path)
        if path != found.file:
            raise MalformedError(
                f"{shown} is {found.package} {found.version} for {found.architecture}, as which it is not named",
                hint="it was made by a faulty program: ask who exported it",
            )
        text = "\n".join(
            f"{name}: {value}" if value[:1] != "\n" else f"{name}:{value}"
            for name, value in found.fields.items()
            if name.lower() not in _OURS
        )
        about = {_CONTROL: text, _ARCHITECTURE: found.architecture}
        slot = f"{found.package} {found.version} {found.architecture}"
        name = f"{epoch}/{path}" if (epoch := found.version.rpartition(":")[0]) else path
        return record_of(name, file, sha256, key, page=found.package, slot=slot, about=about, beside={}), {}

    def page(self, name: str, records: Sequence[Record]) -> tuple[str, Page]:
        """The files of one package."""
        return f"{POOL}/{name}", Page(taken={record.name: record.sha256 for record in records})

    def cover(self, listed: Mapping[str, Sequence[Record]], live: Path | None) -> Mapping[str, bytes]:
        """The lists, what signs them, and the key.

        Raises:
            DeployError: they cannot be signed.
        """
        base = f"dists/{self._suite}"
        lists = dict(_lists(listed))
        found = {f"{base}/{path}": content for path, content in lists.items()}
        lines = [f" {digest_of(content)} {len(content)} {path}" for path, content in lists.items()]
        architectures = sorted({path.split("/")[1].removeprefix("binary-") for path in lists})
        release = "\n".join(
            [
                "Origin: sealift",
                "Label: sealift",
                f"Suite: {self._suite}",
                f"Codename: {self._suite}",
                f"Date: {self._clock():%a, %d %b %Y %H:%M:%S} UTC",
                "Acquire-By-Hash: yes",
                f"Architectures: {' '.join(architectures)}",
                f"Components: {COMPONENT}",
                "SHA256:",
                *lines,
                "",
            ]
        ).encode()
        found |= _former(live / base, base) if live else {}
        for path, content in lists.items():
            found[_by_hash(f"{base}/{path}", digest_of(content))] = content
        return {**found, f"{base}/InRelease": self._signer.sign(release), KEY: self._signer.public()}


def _lists(listed: Mapping[str, Sequence[Record]]) -> Iterator[tuple[str, bytes]]:
    """The lists, by their paths below the suite's folder: of `all` always, so that an empty index is one too."""
    stanzas: dict[str, list[str]] = defaultdict(list)
    for package, records in listed.items():
        for record in records:
            place = f"Filename: {POOL}/{package}/{record.name}\nSize: {record.size}\nSHA256: {record.sha256}\n"
            stanzas[record.about[_ARCHITECTURE]].append(f"{record.about[_CONTROL]}\n{place}")
    for architecture in sorted({"all", *stanzas}):
        content = "\n".join(stanzas[architecture]).encode()
        yield f"{COMPONENT}/binary-{architecture}/Packages", content
        yield f"{COMPONENT}/binary-{architecture}/Packages.gz", gzip.compress(content, 6, mtime=0)


def _by_hash(path: str, digest: str) -> str:
    return f"{path.rpartition('/')[0]}/by-hash/SHA256/{digest}"


def _former(folder: Path, base: str) -> dict[str, bytes]:
    """The lists that the index which is served names, under their digests; those that are damaged are left out."""
    release = bounded(folder / "InRelease", RELEASE_MAX) or b""
    found = {}
    for digest, path in _LISTED.findall(release.decode("utf-8", "replace")):
        content = bounded(folder / path, LIST_MAX)
        if content is not None and digest_of(content) == digest:
            found[_by_hash(f"{base}/{path}", digest)] = content
    return found
