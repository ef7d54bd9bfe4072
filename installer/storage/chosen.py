"""What a target takes of a release: the files of some of its artifacts, or of a folder in them, and where they go.

With one artifact a file keeps its path below that folder; with several, a folder of the artifact's name comes first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sealift.errors import UsageError
from sealift.names import NAME_MAX, PATH_MAX, RELEASE, check_link

from .content import Contents, File
from .deployable import Deployable
from .store import Store

PATH: Mapping[str, Any] = {
    "type": "string",
    "pattern": r"^(?!\.\.?(/|$))[^/\u0000-\u001f\u007f\\]+(/(?!\.\.?(/|$))[^/\u0000-\u001f\u007f\\]+)*$",
    "maxLength": PATH_MAX,
}
"""The schema of a path inside something: relative, and without dot segments."""
ARTIFACTS: Mapping[str, Any] = {
    "description": "The artifacts whose files are taken, by name; where nothing is said, all that are no images.",
    "type": "array",
    "maxItems": NAME_MAX,
    "uniqueItems": True,
    "items": {"description": "An artifact's name.", "type": "string", "pattern": f"^(?:{RELEASE.pattern})$"},
}
IMAGES: Mapping[str, Any] = {
    **ARTIFACTS,
    "description": "The images that are deployed here, by the names of their artifacts; all of the release where "
    "nothing is said.",
    "minItems": 1,
}
FOLDER: Mapping[str, Any] = {**PATH, "description": "The folder in those artifacts that is taken, and nothing else."}


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Files and links by the path that they get."""

    contents: Contents
    files: Mapping[str, tuple[str, str]]
    """The artifact and the path of each file."""
    links: Mapping[str, str]
    """What each symbolic link points to."""

    @property
    def size(self) -> int:
        """The size of all files."""
        return sum(self.file(path).size for path in self.files)

    def file(self, path: str) -> File:
        """The file that gets this path."""
        artifact, name = self.files[path]
        return self.contents.files[artifact][name]

    def pieces(self, path: str) -> Iterator[bytes]:
        """The content of the file that gets this path.

        Raises:
            IntegrityError: the store is damaged.
        """
        return self.contents.pieces(*self.files[path])


def chosen(deployable: Deployable, store: Store, artifacts: Sequence[str] | None, folder: str | None) -> Chosen:
    """What is taken of a release.

    Args:
        deployable: the release.
        store: where it lies.
        artifacts: their names; by default all that are no images. An empty list takes nothing.
        folder: the folder in each of them that is taken; by default all.

    Raises:
        UsageError: an artifact is unknown, or has nothing to take.
        MalformedError: a symbolic link would lead out of what is taken.
        IntegrityError: the store is damaged.
    """
    release = deployable.release
    known = {artifact.name: artifact.kind for artifact in release.artifacts}
    names = [name for name, kind in known.items() if kind != "oci"] if artifacts is None else list(artifacts)
    if unknown := [name for name in names if name not in known]:
        raise UsageError(
            f"{release.label} has no artifact {unknown[0]!r}",
            hint=f"`artifacts` may name these: {', '.join(sorted(known))}",
        )
    if not names and artifacts is None:
        raise UsageError(
            f"{release.label} holds images and nothing else", hint="name in `artifacts` what is to be taken"
        )
    contents = Contents(deployable, store, names)
    below = f"{folder}/" if folder else ""
    files: dict[str, tuple[str, str]] = {}
    links: dict[str, str] = {}
    for name in names:
        prefix = "" if len(names) == 1 else f"{name}/"
        before = len(files) + len(links)
        for path in contents.files[name]:
            if path.startswith(below):
                files[prefix + path.removeprefix(below)] = (name, path)
        for path, target in contents.links[name].items():
            if path.startswith(below):
                place = prefix + path.removeprefix(below)
                links[place] = check_link(place, target)
        if len(files) + len(links) == before:
            raise UsageError(
                f"artifact {name} of {release.label} has nothing" + (f" in the folder {folder}" if folder else ""),
                hint="correct `artifacts` or `folder` in the environment",
            )
    return Chosen(contents=contents, files=dict(sorted(files.items())), links=dict(sorted(links.items())))
