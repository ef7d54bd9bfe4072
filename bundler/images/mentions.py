"""Mentions: the images that Kubernetes manifests and Helm charts name, found without rendering anything.

Taken for a mention is the value of a key `image`, a mapping with `repository` (and `registry`, `tag`, `digest`) under
a key that speaks of an image, as charts have it in their values, and what a chart's annotation lists. In a template
a line `image:` that names one literally counts; one that is computed is told as unknown.

YAML is read as a stream of events: nothing is built, no alias is followed, and no depth is recursed into.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from sealift.errors import MalformedError, SourceError
from sealift.names import visible
from sealift.oci import names
from sealift.oci.names import Name

FILE_MAX = 16 << 20
"""Bytes of one file."""
FILES_MAX = 10_000
ARCHIVE_MAX = 256 << 20
"""Bytes of a packed chart, unpacked."""
_LINE = re.compile(r"""^\s*(?:-\s+)?["']?image["']?\s*:\s*(.+?)\s*$""")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CHART_LIST = "artifacthub.io/images"


@dataclass(frozen=True, kw_only=True)
class Mention:
    """A place that names an image."""

    where: str
    """File and line, as they are shown."""
    name: Name | None
    """None where it is computed, or no name of an image."""
    text: str
    """What stands there."""


@dataclass
class _Mapping:
    """A mapping whose end has not come."""

    under: str
    """The key that it stands under."""
    key: str | None = None
    found: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Its scalars by key, with their lines."""


def mentions(places: list[Path]) -> list[Mention]:
    """Every mention in files, folders and packed charts, in their order.

    Raises:
        SourceError: one cannot be read.
        MalformedError: one is no YAML and no template, or is too large.
    """
    found: list[Mention] = []
    for shown, content in (each for place in places for each in _files(place)):
        found += _of(shown, content)
    return found


def _files(place: Path) -> Iterator[tuple[str, bytes]]:
    try:
        if place.is_dir():
            paths = sorted(path for path in place.rglob("*") if _is_manifest(path.name) and path.is_file())
            if len(paths) > FILES_MAX:
                raise MalformedError(f"{visible(str(place))} has more than {FILES_MAX} manifests")
            for path in paths:
                yield visible(str(path)), _bounded(path)
            for path in sorted(place.rglob("*.tgz")):
                yield from _packed(path)
        elif place.name.endswith((".tgz", ".tar.gz")):
            yield from _packed(place)
        else:
            yield visible(str(place)), _bounded(place)
    except OSError as error:
        raise SourceError(
            f"{visible(str(place))}: {(error.strerror or str(error)).lower()}",
            hint="name a file or a folder that is there",
        ) from error


def _is_manifest(name: str) -> bool:
    return name.endswith((".yaml", ".yml", ".json"))


def _bounded(path: Path) -> bytes:
    with open(path, "rb") as file:
        content = file.read(FILE_MAX + 1)
    if len(content) > FILE_MAX:
        raise MalformedError(f"{visible(str(path))} has more than {FILE_MAX} bytes")
    return content


def _packed(path: Path) -> Iterator[tuple[str, bytes]]:
    """The manifests in a packed chart."""
    total = count = 0
    try:
        with tarfile.open(path, "r|gz") as tar:
            for member in tar:
                total, count = total + member.size, count + 1
                if total > ARCHIVE_MAX or count > FILES_MAX:
                    raise MalformedError(f"{visible(str(path))} is larger than a chart may be")
                if member.isreg() and _is_manifest(os.path.basename(member.name)) and member.size <= FILE_MAX:
                    file = tar.extractfile(member)
                    assert file is not None
                    yield f"{visible(str(path))}: {visible(member.name)}", file.read()
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise MalformedError(f"{visible(str(path))} is no packed chart", hint="give the folder of the chart") from error


def _of(shown: str, content: bytes) -> list[Mention]:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise MalformedError(f"{shown} is not utf-8") from error
    if "{{" in text:
        return list(_lines(shown, text))
    try:
        return list(_events(shown, text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise MalformedError(f"{shown}{line}: is no yaml", hint="leave it out, or mend it") from error


def _lines(shown: str, text: str) -> Iterator[Mention]:
    """Of a template, what stands literally in its lines."""
    for number, line in enumerate(text.splitlines(), 1):
        if found := _LINE.match(line):
            value = found[1].strip("\"'")
            yield _mention(f"{shown}:{number}", value)


def _events(shown: str, text: str) -> Iterator[Mention]:
    stack: list[_Mapping | None] = []
    """The mappings that are open; None for a list."""
    for event in yaml.parse(text, Loader=_LOADER):
        top = stack[-1] if stack else None
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            under = top.key if top and top.key else next((each.under for each in reversed(stack) if each), "")
            if top:
                top.key = None
            stack.append(_Mapping(under or "") if isinstance(event, yaml.MappingStartEvent) else None)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            ended = stack.pop()
            if ended:
                yield from _ended(shown, ended)
        elif isinstance(event, yaml.ScalarEvent) and top:
            if top.key is None:
                top.key = event.value
            else:
                line = event.start_mark.line + 1 if event.start_mark else 0
                top.found[top.key] = (event.value, line)
                top.key = None
        elif isinstance(event, yaml.AliasEvent) and top:
            top.key = None if top.key is not None else ""


def _ended(shown: str, mapping: _Mapping) -> Iterator[Mention]:
    found = mapping.found
    image = found.get("image")
    if image and image[0]:
        yield _mention(f"{shown}:{image[1]}", image[0])
    repository = found.get("repository")
    if repository and repository[0] and "image" in mapping.under.lower():
        registry, tag, digest = (found.get(key, ("", 0))[0] for key in ("registry", "tag", "digest"))
        text = f"{registry + '/' if registry else ''}{repository[0]}{':' + tag if tag else ''}"
        yield _mention(f"{shown}:{repository[1]}", text + (f"@{digest}" if digest else ""))
    if _CHART_LIST in found:
        text, line = found[_CHART_LIST]
        for each in re.findall(r"^\s*(?:-\s+)?image:\s*[\"']?([^\s\"']+)", text, re.MULTILINE):
            yield _mention(f"{shown}:{line}", each)


def _mention(where: str, text: str) -> Mention:
    try:
        return Mention(where=where, name=names.parse(text), text=visible(text)[:200])
    except MalformedError:
        return Mention(where=where, name=None, text=visible(text)[:200])
