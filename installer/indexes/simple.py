"""A simple repository of Python packages, as files: PEP 503 (HTML), PEP 691 (JSON) and PEP 658 (metadata).

    simple/index.html  index.json            the projects
    simple/<project>/index.html  index.json  the files of one
    simple/<project>/<file>  <file>.metadata

All links are relative, so that it can be served from anywhere, or read by `file://`.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from sealift.errors import MalformedError
from sealift.manifest import Kind

from .record import Record, record_of
from .side import Page
from .wheels import package

FOLDER = "simple"
HTML, JSON = "index.html", "index.json"
METADATA = "metadata"
_VERSION, _REQUIRES = "version", "requires-python"
_HTML = (
    '<!DOCTYPE html>\n<html><head><meta charset="utf-8"><meta name="pypi:repository-version" content="1.1">'
    "<title>{0}</title></head>\n<body>\n{1}</body></html>\n"
)


class Simple:
    """What the index of a site's Python packages looks like."""

    name = "pypi-index"
    kind: Kind = "wheels"

    def examine(self, path: str, file: Path, sha256: str, key: str) -> tuple[Record, Mapping[str, bytes]]:
        """What a wheel or a source distribution says of itself; beside it, a wheel's metadata.

        Raises:
            MalformedError: it is not what its name says.
        """
        if "/" in path:
            raise MalformedError(
                f"{path} lies in a folder, where wheels lie beside each other",
                hint="it was made by a faulty program: ask who exported it",
            )
        found = package(path, file)
        about = {_VERSION: found.version}
        if found.requires_python:
            about[_REQUIRES] = found.requires_python
        beside = {} if found.metadata is None else {METADATA: found.metadata}
        return record_of(
            path, file, sha256, key, page=found.project, slot=found.slot, about=about, beside=beside
        ), beside

    def page(self, name: str, records: Sequence[Record]) -> tuple[str, Page]:
        """The files of one project."""
        if not records:
            return f"{FOLDER}/{name}", Page()
        taken = {record.name: record.sha256 for record in records}
        taken |= {f"{each.name}.{METADATA}": each.beside[METADATA] for each in records if METADATA in each.beside}
        written = {
            HTML: _HTML.format(f"Links for {name}", "".join(map(_link, records))).encode(),
            JSON: _encoded(
                {
                    "meta": {"api-version": "1.1"},
                    "name": name,
                    "versions": sorted({record.about[_VERSION] for record in records}),
                    "files": list(map(_file, records)),
                }
            ),
        }
        return f"{FOLDER}/{name}", Page(written=written, taken=taken)

    def cover(self, listed: Mapping[str, Sequence[Record]], live: Path | None) -> Mapping[str, bytes]:
        """The list of projects."""
        links = "".join(f'<a href="{name}/">{name}</a><br>\n' for name in listed)
        projects = {"meta": {"api-version": "1.1"}, "projects": [{"name": name} for name in listed]}
        return {
            f"{FOLDER}/{HTML}": _HTML.format("Projects", links).encode(),
            f"{FOLDER}/{JSON}": _encoded(projects),
        }


def _link(record: Record) -> str:
    said = ""
    if required := record.about.get(_REQUIRES):
        said += f' data-requires-python="{html.escape(required)}"'
    if metadata := record.beside.get(METADATA):
        said += f' data-core-metadata="sha256={metadata}" data-dist-info-metadata="sha256={metadata}"'
    return f'<a href="{_url(record)}#sha256={record.sha256}"{said}>{record.name}</a><br>\n'


def _file(record: Record) -> dict[str, Any]:
    found: dict[str, Any] = {
        "filename": record.name,
        "url": _url(record),
        "hashes": {"sha256": record.sha256},
        "size": record.size,
        "yanked": False,
    }
    if required := record.about.get(_REQUIRES):
        found["requires-python"] = required
    if metadata := record.beside.get(METADATA):
        found["core-metadata"] = {"sha256": metadata}
    return found


def _url(record: Record) -> str:
    """Of what a file's name may hold, these two are escaped in a URL."""
    return record.name.replace("+", "%2B").replace("!", "%21")


def _encoded(tree: Any) -> bytes:
    return msgspec.json.encode(tree, order="sorted")
