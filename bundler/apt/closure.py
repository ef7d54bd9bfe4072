"""A closure as a lock pins it: one package on a line, and nothing that has another form is taken for one."""

from __future__ import annotations

import re
from typing import NamedTuple

from sealift.debian import ARCHITECTURE, PACKAGE, VERSION
from sealift.errors import SourceError, UsageError
from sealift.names import visible

from .root import Item

_NAME = re.compile(r"([a-z0-9][a-z0-9+.-]+)_([0-9A-Za-z.+~%-]+)_([a-z0-9-]+)\.deb")
_WRITTEN = "run `sealift-bundle lock`: it finds out which packages are needed"


class Deb(NamedTuple):
    """A package that a lock pins."""

    name: str
    version: str
    architecture: str
    size: int
    sha256: str
    url: str

    @property
    def file(self) -> str:
        """Its file's name in the artifact: without the epoch."""
        return f"{self.name}_{self.version.rpartition(':')[2]}_{self.architecture}.deb"

    def __str__(self) -> str:
        return " ".join([self.name, self.version, self.architecture, str(self.size), self.sha256, self.url])


def deb_of(item: Item) -> Deb:
    """What apt would fetch, as a package.

    Raises:
        SourceError: it is none, or its address bears credentials.
    """
    match = _NAME.fullmatch(item.name)
    if match is None or re.search(r"%(?!3a)", match[2]):
        raise SourceError(f"apt names the file {visible(item.name)[:120]!r}, which is no package's")
    if re.search(r"//[^/]*@", item.url):
        raise SourceError(
            "a repository's address bears credentials, which a lock must not hold",
            hint="write them in apt's auth.conf, and not in its sources",
        )
    return Deb(match[1], match[2].replace("%3a", ":"), match[3], item.size, item.sha256, item.url)


def debs_in(text: str) -> list[Deb]:
    """The packages of a lock.

    Raises:
        UsageError: it was not written by `pin`.
    """
    found = []
    for line in text.splitlines():
        words = line.split(" ")
        if len(words) != 6 or not re.fullmatch("[0-9]{1,15}", words[3]) or not re.fullmatch("[0-9a-f]{64}", words[4]):
            raise UsageError("source deb: the lock's `debs` is not as it was written", hint=_WRITTEN)
        deb = Deb(words[0], words[1], words[2], int(words[3]), words[4], words[5])
        forms = ((PACKAGE, deb.name), (VERSION, deb.version), (ARCHITECTURE, deb.architecture))
        if not all(form.fullmatch(each) for form, each in forms) or not deb.url.startswith(
            ("http:", "https:", "file:")
        ):
            raise UsageError("source deb: the lock's `debs` is not as it was written", hint=_WRITTEN)
        found.append(deb)
    return found
