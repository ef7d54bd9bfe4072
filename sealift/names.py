"""Which names may cross the gap: releases, versions, artifacts, and the paths inside a tree.

A path is relative POSIX, UTF-8, `/` between its components. What a file system, a terminal or a
case-insensitive disk could take for something else is refused here, at export and again at the site.
"""

from __future__ import annotations

import re
import unicodedata

from .errors import MalformedError

RELEASE = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
NAMESPACE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
"""What may stand before a slash in a release's name: a team, and the TUF role that signs for it."""
SPACED = re.compile(f"(?:{NAMESPACE.pattern}/)?{RELEASE.pattern}")
"""A release's name, with or without a namespace."""
VERSION = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z.+_~-]{0,62}[0-9A-Za-z])?")
NAME_MAX = 255
"""Bytes of one path component (POSIX NAME_MAX on Linux)."""
PATH_MAX = 3072
"""Bytes of a whole path: Linux's 4096, less room for the folder that it is deployed into."""

_FORBIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\\\\\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb]"
)
_COMPONENT = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._+@,=~#%&()\[\] -]{1,64}"
_PLAIN = re.compile(f"{_COMPONENT}(?:/{_COMPONENT}){{0,31}}")
"""What most paths are, and what needs no further look."""


def visible(text: str) -> str:
    """`text` with control, bidirectional and surrogate characters escaped, safe to print on a terminal."""
    return _FORBIDDEN.sub(lambda match: match[0] if match[0] == "\\" else ascii(match[0])[1:-1], text)


def check_release(name: str) -> str:
    """Return `name` if an artifact, an environment, a site, or a release without a namespace may bear it.

    Raises:
        MalformedError: it may not.
    """
    if not RELEASE.fullmatch(name) or ".." in name:
        raise MalformedError(
            f"{visible(name)[:80]!r} is no valid name",
            hint="use up to 64 lower-case letters, digits, '.', '_' and '-', a letter or digit first and last",
        )
    return name


def check_spaced(name: str) -> str:
    """Return `name` if a release may bear it, with a namespace before a slash or without one.

    Raises:
        MalformedError: it may not.
    """
    namespace, slash, own = name.rpartition("/")
    if slash and not NAMESPACE.fullmatch(namespace):
        raise MalformedError(
            f"{visible(name)[:80]!r} is no valid name",
            hint="before the slash use up to 32 lower-case letters, digits and '-', a letter or digit first and last",
        )
    check_release(own)
    return name


def label_in(text: str) -> tuple[str, str] | None:
    """Name and version in `name@version`; None where `text` is no such label."""
    name, at, version = text.partition("@")
    return (name, version) if at and SPACED.fullmatch(name) and VERSION.fullmatch(version) else None


def file_stem(name: str) -> str:
    """What stands for a release's name in the name of a file: never a folder, and no other name's."""
    return name.replace("/", "~")


def check_version(version: str) -> str:
    """Return `version` if a release may bear it.

    Raises:
        MalformedError: it may not.
    """
    if not VERSION.fullmatch(version) or ".." in version:
        raise MalformedError(
            f"{visible(version)[:80]!r} is no valid version",
            hint="use up to 64 letters, digits, '.', '+', '_', '~' and '-', a letter or digit first and last",
        )
    return version


def check_path(path: str) -> str:
    """Return `path` if an entry of a tree may bear it.

    Raises:
        MalformedError: it is empty, absolute, over-long, climbs (`..`), or holds a character that
            is not allowed.
    """
    if _PLAIN.fullmatch(path):
        return path
    shown = visible(path)[:120]
    if not path or path.startswith("/"):
        raise MalformedError(f"path {shown!r} is empty or absolute")
    if found := _FORBIDDEN.search(path):
        raise MalformedError(f"path {shown!r} holds the character {found[0]!a}, which is not allowed in a name")
    if len(path.encode()) > PATH_MAX:
        raise MalformedError(f"path {shown!r}… is longer than {PATH_MAX} bytes")
    for component in path.split("/"):
        if component in ("", ".", ".."):
            raise MalformedError(f"path {shown!r} has the component {component!r}")
        if len(component.encode()) > NAME_MAX:
            raise MalformedError(f"path {shown!r} has a component longer than {NAME_MAX} bytes")
    return path


def folded(name: str) -> str:
    """The form under which two names collide on a disk that folds case or normalises Unicode."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def check_link(path: str, target: str) -> str:
    """Return the symbolic link's `target` if it stays inside the tree, seen from the link's own `path`.

    `..` may only lead: after a named component it could climb out through another link.

    Raises:
        MalformedError: it is absolute, leaves the tree, or is not a valid path.
    """
    shown = f"symbolic link {visible(path)!r} points to {visible(target)[:120]!r}"
    if not target or target.startswith("/") or _FORBIDDEN.search(target) or len(target.encode()) > PATH_MAX:
        raise MalformedError(f"{shown}, which is not inside the tree")
    depth, named = path.count("/"), False
    for component in target.split("/"):
        if component == "..":
            depth -= 1
            if named or depth < 0:
                raise MalformedError(f"{shown}, which leaves the tree or climbs after a name")
        elif component not in ("", "."):
            named = True
    return target
