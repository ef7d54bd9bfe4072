r"""Source `path`: a folder of this machine, or a single file.

Patterns in `include` and `exclude` are read as the lines of a `.gitignore` in the root are:

- `*` and `?` stand for characters of one name, `[a-z]` and `[!a-z]` for one of a set, never for `/`;
  `**` stands for any characters, `/` too, and `**/` for no folder as well; `\` takes the next
  character as it is.
- A pattern without `/`, but for one at its end, is met at every depth. Any other starts at the root.
- A `/` at the end meets folders only. What meets a folder holds for everything below it.
- `!` at the start, which in a `.gitignore` takes back, is refused: `exclude` wins over `include`.

Without `include` everything is taken, empty folders too, and folders that `exclude` emptied. With
it, the folders that it meets, and those that lead to something taken.

Invariants: what is left out is not looked at, so it may bear any name and be of any type. One entry
that cannot be carried makes the whole artifact fail: from the first one on nothing more is yielded,
and the error at the end names them all. A link is carried as a link; only the root itself, where it
is one, is followed. The walk holds the entries of the folders between the root and where it is.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Annotated, Any, NamedTuple

import msgspec

from sealift.errors import MalformedError, SourceError, UsageError
from sealift.names import check_link, check_path, folded, visible

from . import Found, Workshop

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
            "maxLength": 4096,
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
_HINT = "mend these entries, or leave them out with `exclude`"
_TYPES = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


class _Want(msgspec.Struct, frozen=True, kw_only=True):
    path: Annotated[str, msgspec.Meta(min_length=1, max_length=4096, pattern="^[^\x00]*$")]
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
    taken = _Taken.of(asked)
    given = os.path.normpath(asked.path)
    shown = visible(given)
    try:
        root = os.path.realpath(workshop.base / asked.path, strict=True)
        status = os.stat(root)
    except OSError as error:
        raise SourceError(
            f"path {shown}: {_reason(error)}",
            hint="check `path`: unless it is absolute, it starts from the folder of the spec",
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
    _Taken.of(_parse(want))
    return {}


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


def _walk(root: str, taken: _Taken, complaints: _Complaints) -> Iterator[Found]:
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


def _alone(given: str, root: str, taken: _Taken, complaints: _Complaints) -> Iterator[Found]:
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


_Meets = Callable[[str], re.Match[str] | None]


class _Taken(NamedTuple):
    """Which entries are taken. Each function is asked with a path, which ends in `/` if it is a folder's."""

    patterned: bool
    excluded: _Meets
    included: _Meets
    leads: _Meets
    """Whether something that is included may lie below a folder."""

    @property
    def everything(self) -> bool:
        """Whether there is nothing that `include` narrows."""
        return self.included is _EVERYTHING

    @classmethod
    def of(cls, asked: _Want) -> _Taken:
        exclude = [_translated(pattern) for pattern in asked.exclude]
        excluded = _any([whole for whole, _ in exclude])
        if asked.include is None:
            return cls(bool(exclude), excluded, _EVERYTHING, _EVERYTHING)
        include = [_translated(pattern) for pattern in asked.include]
        return cls(True, excluded, _any([whole for whole, _ in include]), _any([leads for _, leads in include]))


def _any(expressions: Sequence[str]) -> _Meets:
    return re.compile("|".join(expressions) if expressions else r"(?!)", re.DOTALL).fullmatch


_EVERYTHING: _Meets = re.compile(".*", re.DOTALL).fullmatch


def _translated(pattern: str) -> tuple[str, str]:
    """`pattern` as two regular expressions: of what it meets, and of the folders that may hold that.

    Raises:
        UsageError: it is no valid pattern.
    """
    core = pattern.removesuffix("/")
    components = core.removeprefix("/").split("/")
    try:
        if pattern.startswith("!") or any(component in ("", ".", "..") for component in components):
            raise ValueError("`!`, `.`, `..` and empty components have no meaning")
        if "/" not in core:
            components.insert(0, "**")
        whole, leads, crossed = "", [], False
        for number, component in enumerate(components):
            last = number == len(components) - 1
            crossed = crossed or "**" in component
            if component != "**":
                expression = _component(component) + ("" if last else "/")
                if not last and not crossed:
                    leads.append(expression)
            elif last:
                expression = ".+"
            else:
                expression = "" if whole.endswith("(?:.+/)?") else "(?:.+/)?"
            whole += expression
        whole += "/" if pattern.endswith("/") else "/?"
        re.compile(whole)
    except (ValueError, re.error) as error:
        raise UsageError(
            f"source path: {visible(pattern)!r} is no valid pattern: {error}",
            hint="write it as in a .gitignore, relative to the root, for example 'docs/**' or '*.tmp'",
        ) from error
    lead = ".*" if crossed else ""
    for expression in reversed(leads):
        lead = f"(?:{expression}{lead})?"
    return whole, lead


def _component(component: str) -> str:
    """One component of a pattern as a regular expression, which no empty name meets."""
    out, at = [], 0
    while at < len(component):
        character = component[at]
        at += 1
        if character == "*":
            end = at
            while component[end : end + 1] == "*":
                end += 1
            out.append("[^/]*" if end == at else ".*")
            at = end
        elif character == "?":
            out.append("[^/]")
        elif character == "\\":
            if at == len(component):
                raise ValueError("it ends in a backslash")
            out.append(re.escape(component[at]))
            at += 1
        elif character == "[":
            negated = component[at : at + 1] in ("!", "^")
            start = at + negated
            end = component.find("]", start + 1)
            if end < 0:
                raise ValueError("a '[' is not closed")
            out.append(_set(component[start:end], negated))
            at = end + 1
        else:
            out.append(re.escape(character))
    return "(?=[^/])" + "".join(out)


def _set(members: str, negated: bool) -> str:
    out, at = [], 0
    while at < len(members):
        if at + 2 < len(members) and members[at + 1] == "-":
            out.append(f"{re.escape(members[at])}-{re.escape(members[at + 2])}")
            at += 3
        else:
            out.append(re.escape(members[at]))
            at += 1
    return f"(?!/)[{'^' if negated else ''}{''.join(out)}]"
