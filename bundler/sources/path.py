"""Source `path`: a folder of this machine, or a single file.

Patterns in `include` and `exclude` are those of `bundler.patterns`. Without `include` everything is
taken, empty folders too, and folders that `exclude` emptied. With it, the folders that it meets, and
those that lead to something taken.

Invariants: what is left out is not looked at, so it may bear any name and be of any type. One entry
that cannot be carried makes the whole artifact fail: from the first one on nothing more is yielded,
and the error at the end names them all. A link is carried as a link; only the root itself, where it
is one, is followed. The walk holds the entries of the folders between the root and where it is.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec

from sealift.document import Problem
from sealift.errors import MalformedError, SourceError, UsageError
from sealift.hooks import ARGUMENT
from sealift.names import check_link, check_path, folded, visible

from ..patterns import Taken, translated
from ..source import Found, Workshop

PATH_LENGTH_MAX = 4096
PATTERNS_MAX = 1000
PATTERN_LENGTH_MAX = 1024
SHOWN_MAX = 20
"""How many of the entries that cannot be carried are named."""

_PATTERNS = {
    "type": "array",
    "maxItems": PATTERNS_MAX,
    "items": {"type": "string", "minLength": 1, "maxLength": PATTERN_LENGTH_MAX, "pattern": "^[^!]"},
}
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "path": {
            "type": "string",
            "minLength": 1,
            "maxLength": PATH_LENGTH_MAX,
            "pattern": ARGUMENT,
            "description": "A folder or a file: absolute, or relative to the folder of this spec.",
        },
        "include": {
            **_PATTERNS,
            "minItems": 1,
            "description": "Patterns of what to take, as in a .gitignore; everything if left out.",
        },
        "exclude": {
            **_PATTERNS,
            "description": "Patterns of what to leave out, as in a .gitignore; wins over include.",
        },
    },
    "required": ["path"],
    "additionalProperties": False,
}

_Pattern = Annotated[str, msgspec.Meta(min_length=1, max_length=PATTERN_LENGTH_MAX)]
_by_name = attrgetter("name")
_START = "check `path`: unless it is absolute, it starts from the folder of the spec"
_HINT = "mend these entries, or leave them out with `exclude`"
_TYPES = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


class _Want(msgspec.Struct, frozen=True, kw_only=True):
    path: Annotated[str, msgspec.Meta(min_length=1, max_length=PATH_LENGTH_MAX, pattern="^[^\x00]*$")]
    include: Annotated[tuple[_Pattern, ...], msgspec.Meta(min_length=1, max_length=PATTERNS_MAX)] | None = None
    exclude: Annotated[tuple[_Pattern, ...], msgspec.Meta(max_length=PATTERNS_MAX)] = ()


def collect(want: Mapping[str, Any], workshop: Workshop) -> Iterator[Found]:
    """Yield the entries of the folder, or the one file, in canonical order.

    Raises:
        UsageError: a key or a pattern has the wrong form.
        SourceError: the folder is missing or unreadable, nothing of it is taken, or entries of it
            cannot be carried: all of them are named, up to `SHOWN_MAX`.
    """
    asked = _parse(want)
    taken = _taken(asked)
    given = os.path.normpath(asked.path)
    shown = visible(given)
    try:
        root = os.path.realpath(workshop.base / asked.path, strict=True)
        status = os.stat(root)
    except OSError as error:
        raise SourceError(
            f"path {shown}: {_reason(error)}",
            hint=_START,
        ) from error
    complaints = _Complaints()
    entries = _walk(root, taken, complaints) if stat.S_ISDIR(status.st_mode) else _alone(given, root, taken, complaints)
    empty = True
    for found in entries:
        empty = False
        yield found
    complaints.report(shown)
    if empty:
        raise SourceError(
            f"path {shown}: nothing is in it" + (" that the patterns take" if taken.patterned else ""),
            hint="check `path`, `include` and `exclude`",
        )


def pin(want: Mapping[str, Any], workshop: Workshop) -> Mapping[str, Any]:
    """No keys: the digest of the tree, which a lock holds for every artifact, says all.

    Raises:
        UsageError: a key or a pattern has the wrong form.
    """
    _taken(_parse(want))
    return {}


def lint(want: Mapping[str, Any], base: Path, *, pinned: bool) -> list[Problem]:
    """What is wrong with the folder's name and the patterns; the folder is looked for and not read."""
    found = []
    place = want.get("path")
    if isinstance(place, str) and 0 < len(place) <= PATH_LENGTH_MAX:
        try:
            if "\0" in place:
                raise OSError("a path holds no NUL")
            os.stat(base / place)
        except OSError as error:
            found.append(Problem(steps=("path",), message=f"{visible(place)!r}: {_reason(error)}", hint=_START))
    for key in ("include", "exclude"):
        patterns = want.get(key)
        for index, pattern in enumerate(patterns if isinstance(patterns, list) else ()):
            if isinstance(pattern, str) and 0 < len(pattern) <= PATTERN_LENGTH_MAX:
                try:
                    translated(pattern)
                except UsageError as error:
                    found.append(Problem(steps=(key, index), message=error.message, hint=error.hint))
    return found


def reaches(want: Mapping[str, Any], base: Path, place: Path) -> bool:
    """Whether something of `place`, a file or a folder, would be collected.

    Raises:
        UsageError: a key or a pattern has the wrong form.
    """
    asked = _parse(want)
    root, real = Path(os.path.realpath(base / asked.path)), Path(os.path.realpath(place))
    if root == real or real in root.parents:
        return True
    if root not in real.parents:
        return False
    return _taken(asked).reaches(real.relative_to(root).parts, folder=real.is_dir())


def _taken(asked: _Want) -> Taken:
    try:
        return Taken.of(asked.include, asked.exclude)
    except UsageError as error:
        raise UsageError(f"source path: {error.message}", hint=error.hint) from error


def _parse(want: Mapping[str, Any]) -> _Want:
    try:
        return msgspec.convert(want, _Want)
    except msgspec.ValidationError as error:
        raise UsageError(f"source path: {visible(str(error))}") from error


class _Complaints:
    """The entries that cannot be carried, the first of them in words."""

    def __init__(self) -> None:
        self.count = 0
        self._shown: list[str] = []

    def add(self, complaint: str) -> None:
        self.count += 1
        if self.count <= SHOWN_MAX:
            self._shown.append(complaint)

    def report(self, shown: str) -> None:
        """Raise a `SourceError` that lists them, if there is any."""
        if not self.count:
            return
        if self.count == 1:
            raise SourceError(f"path {shown}: {self._shown[0]}", hint=_HINT)
        lines = [f"path {shown}: {self.count} entries cannot be carried", *self._shown]
        if self.count > SHOWN_MAX:
            lines.append(f"and {self.count - SHOWN_MAX} more")
        raise SourceError("\n  ".join(lines), hint=_HINT)


class _Level(NamedTuple):
    """A folder that the walk is in."""

    entries: Iterator[os.DirEntry[str]]
    prefix: str
    """What the paths of its entries start with: empty or ending in `/`."""
    wanted: bool
    """Everything in it is taken, unless excluded."""
    names: dict[str, str]
    """Its names that were taken so far, by their folded form."""


def _walk(root: str, taken: Taken, complaints: _Complaints) -> Iterator[Found]:
    patterned, excluded, included, leads = taken
    waiting: list[tuple[str, str, dict[str, str]]] = []
    """The innermost folders that are entered but taken only if something in them is."""
    try:
        levels = [_Level(_entries(root), "", taken.everything, {})]
    except OSError as error:
        complaints.add(_reason(error))
        return
    while levels:
        entries, prefix, inherited, names = levels[-1]
        for entry in entries:
            name = entry.name
            path = prefix + name
            try:
                folder = entry.is_dir(follow_symlinks=False)
                wanted = inherited
                if patterned:
                    subject = path + "/" if folder else path
                    if excluded(subject):
                        continue
                    if not (wanted or (wanted := included(subject) is not None)):
                        if folder and leads(subject):
                            below = _Level(_entries(entry.path), subject, False, {})
                            waiting.append((name, path, names))
                            levels.append(below)
                            break
                        continue
                    if waiting:
                        for found in _lead(waiting, complaints):
                            if not complaints.count:
                                yield found
                check_path(path)
                if (other := names.setdefault(folded(name), name)) is not name:
                    raise _collision(path, other)
                if folder:
                    levels.append(_Level(_entries(entry.path), path + "/", True, {}))
                    found = Found(path, "dir")
                elif entry.is_symlink():
                    found = Found(path, "link", target=check_link(path, os.readlink(entry.path)))
                else:
                    found = _file(path, entry.path, entry.stat(follow_symlinks=False))
            except MalformedError as error:
                complaints.add(_worded(error, path))
                continue
            except OSError as error:
                complaints.add(f"{visible(path)!r}: {_reason(error)}")
                continue
            if not complaints.count:
                yield found
            if folder:
                break
        else:
            levels.pop()
            if waiting and waiting[-1][1] + "/" == prefix:
                waiting.pop()


def _lead(waiting: list[tuple[str, str, dict[str, str]]], complaints: _Complaints) -> Iterator[Found]:
    """The folders that lead to the entry that is taken next."""
    for name, path, names in waiting:
        try:
            check_path(path)
            if (other := names.setdefault(folded(name), name)) is not name:
                raise _collision(path, other)
        except MalformedError as error:
            complaints.add(_worded(error, path))
        else:
            yield Found(path, "dir")
    waiting.clear()


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    """What is in `folder`, in canonical order: code points sort as their UTF-8 bytes do."""
    with os.scandir(folder) as entries:
        return iter(sorted(entries, key=_by_name))


def _collision(path: str, other: str) -> MalformedError:
    return MalformedError(
        f"{visible(path)!r} and {visible(other)!r} beside it are one name where case or Unicode form is folded"
    )


def _worded(error: MalformedError, path: str) -> str:
    """What is wrong with `path`; bytes that are not UTF-8 reach Python as lone surrogates."""
    if any("\udc80" <= character <= "\udcff" for character in path):
        return f"the name of {visible(path)!r} is not UTF-8"
    return error.message


def _file(path: str, origin: str, status: os.stat_result) -> Found:
    mode = status.st_mode
    if mode & 0o177000 != stat.S_IFREG:
        if not stat.S_ISREG(mode):
            raise MalformedError(f"{visible(path)!r} is {_TYPES.get(stat.S_IFMT(mode), 'no regular file')}")
        raise MalformedError(f"{visible(path)!r} is setuid, setgid or sticky (mode {stat.S_IMODE(mode):04o})")
    if mode & 0o444 != 0o444 and not os.access(origin, os.R_OK, effective_ids=True):
        raise MalformedError(f"{visible(path)!r} may not be read by this user (mode {stat.S_IMODE(mode):04o})")
    return Found(path, "file", mode & 0o111 != 0, status.st_size, origin, (status.st_ino, status.st_mtime_ns))


def _alone(given: str, root: str, taken: Taken, complaints: _Complaints) -> Iterator[Found]:
    """The tree of the one file `root`, under the name that the spec gives it."""
    name = os.path.basename(given)
    if taken.excluded(name) or not (taken.everything or taken.included(name)):
        return
    try:
        found = _file(check_path(name), root, os.stat(root))
    except MalformedError as error:
        complaints.add(error.message)
    except OSError as error:
        complaints.add(_reason(error))
    else:
        yield found


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
