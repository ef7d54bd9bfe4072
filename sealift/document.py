"""A YAML document that a person wrote, as plain JSON values that remember where they stand.

Scalars follow the YAML 1.2 core schema, as editors do: `no` and `2026-01-01` are strings, `1.0` is a number.
Invariants: every mapping key is a string and stands once; numbers are finite and at most 18 digits
long; no tag makes anything but a JSON value; depth, size and the number of values (aliases expanded)
are bounded before anything is built.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .errors import UsageError
from .names import visible
from .reading import opened

Steps = tuple[str | int, ...]
"""The way from the root to a value: keys of mappings and indices of lists."""
Place = tuple[int, int]
"""Line and column, both from 1."""

SIZE_MAX = 1 << 20
"""Bytes of one document."""
DEPTH_MAX = 32
NODES_MAX = 20_000
DIGITS_MAX = 18

_TAG = "tag:yaml.org,2002:"
_NULL = re.compile(r"(?:~|null|Null|NULL|)\Z")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
_INT = re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z")
_FLOAT = re.compile(
    r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
)
_UNPRINTABLE = re.compile(r"[^\t\n\r -~]")
_UNPRINTABLE_WIDE = "[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
"""The same where not all is ASCII; it takes a while to compile."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_SIMPLE = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]*\Z")

_LOADER: Any = type(
    "CoreLoader",
    (getattr(yaml, "CSafeLoader", yaml.SafeLoader),),
    {
        "yaml_implicit_resolvers": {
            None: [
                (_TAG + "null", _NULL),
                (_TAG + "bool", _BOOL),
                (_TAG + "int", _INT),
                (_TAG + "float", _FLOAT),
            ]
        }
    },
)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong with a document."""

    steps: Steps
    message: str
    hint: str | None = None
    at_key: bool = False
    """The key is at fault, and not its value."""
    missing: bool = False
    """Something is missing in the value, and not the value itself at fault."""
    place: Place | None = None
    """Where it stands, if the steps alone do not say so."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """What a file says, and where it says it."""

    name: str
    """The file, as it is shown in messages."""
    value: Any
    values: Mapping[Steps, Place]
    """Where each value begins."""
    keys: Mapping[Steps, Place]
    """Where the key of each entry of a mapping begins."""
    written: Mapping[Steps, str]
    """The text of each scalar that is no string, as it was written: `1.10` and not 1.1."""
    faults: tuple[Problem, ...] = ()
    """What `load` refuses it for."""

    def place(self, steps: Steps, *, key: bool = False) -> Place:
        """The line and column of the value at `steps`, or of its key; of the nearest parent where there is none."""
        if key and steps in self.keys:
            return self.keys[steps]
        while steps not in self.values and steps:
            steps = steps[:-1]
        return self.values.get(steps, (1, 1))

    def refusal(self, problems: Iterable[Problem]) -> UsageError:
        """The error that lists `problems`, one a line, in the order of the document."""
        placed = sorted(
            ((problem.place or self.place(problem.steps, key=problem.at_key), problem) for problem in problems),
            key=lambda pair: pair[0],
        )
        lines = [
            f"{self.name}:{line}:{column}: {shown(problem.steps)}{': ' if problem.steps else ''}{problem.message}"
            for (line, column), problem in placed
        ]
        if len(placed) == 1:
            return UsageError(lines[0], hint=placed[0][1].hint)
        hints = [f" ({problem.hint})" if problem.hint else "" for _, problem in placed]
        return UsageError("\n".join(line + hint for line, hint in zip(lines, hints, strict=True)))


def shown(steps: Steps) -> str:
    """`steps` as a person reads them: `targets[0].path`."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        elif len(step) <= 80 and _SIMPLE.match(step):
            text += f".{step}" if text else step
        else:
            text += f"[{quoted(step)}]"
    return text


def quoted(text: str) -> str:
    """`text` in quotes, safe to print, cut where it is long."""
    return f"'{visible(text[:80])}{'…' if len(text) > 80 else ''}'"


def load(path: Path) -> Document:
    """Read the document in the file `path`.

    Raises:
        UsageError: it cannot be read, is no YAML, or breaks an invariant of this module.
    """
    document = parse(path)
    if document.faults:
        raise document.refusal(document.faults)
    return document


def parse(path: Path) -> Document:
    """As `load`, but duplicate keys and unfit values are left in `faults`, so that `schema.check` can
    report them together with all else.

    Raises:
        UsageError: it cannot be read, or is no single bounded YAML document.
    """
    name = visible(str(path))
    return parse_content(name, _read(path, name))


def parse_content(name: str, content: bytes) -> Document:
    """As `parse`, of content that came from elsewhere.

    Args:
        name: what it is called in messages.
        content: up to `SIZE_MAX` bytes.

    Raises:
        UsageError: it is no single bounded YAML document.
    """
    text = _text(name, content)
    try:
        _survey(name, text)
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        raise _refusal(name, _place(mark) if mark else (1, 1), f"no valid yaml: {visible(reason)}") from error
    builder = _Builder(name=name)
    value = builder.build(root, ()) if root is not None else None
    if value is None and not builder.faults:
        raise _refusal(name, (1, 1), "the document is empty")
    return Document(
        name=name,
        value=value,
        values=builder.values,
        keys=builder.keys,
        written=builder.written,
        faults=tuple(builder.faults),
    )


def _refusal(name: str, place: Place, message: str, hint: str | None = None) -> UsageError:
    return UsageError(f"{name}:{place[0]}:{place[1]}: {message}", hint=hint)


def _place(mark: Any) -> Place:
    return mark.line + 1, mark.column + 1


def _read(path: Path, name: str) -> bytes:
    try:
        file = opened(path, follow=True)
        if file is None:
            raise UsageError(f"{name}: is no regular file", hint="name a yaml file")
        with file:
            content = file.read(SIZE_MAX + 1)
    except (OSError, ValueError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        raise UsageError(f"{name}: {reason.lower()}", hint="check the name and the mode of the file") from error
    if len(content) > SIZE_MAX:
        raise UsageError(f"{name}: is larger than {SIZE_MAX} bytes")
    return content


def _text(name: str, content: bytes) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start].decode()
        raise _refusal(name, _end(before), "is not utf-8", "save the file as utf-8") from error
    text = text.removeprefix("\ufeff")
    if found := _UNPRINTABLE.search(text) if text.isascii() else re.search(_UNPRINTABLE_WIDE, text):
        raise _refusal(name, _end(text[: found.start()]), f"the character {found[0]!a} is not allowed")
    return text


def _end(text: str) -> Place:
    return text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1


def _survey(name: str, text: str) -> None:
    """Bound what the composer will build, before it builds it."""
    depth = nodes = documents = 0
    for event in yaml.parse(text, Loader=_LOADER):
        place = _place(event.start_mark)
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _refusal(name, place, "a second document begins here", "write one document into one file")
        elif isinstance(event, yaml.NodeEvent):
            nodes += 1
            depth += isinstance(event, yaml.CollectionStartEvent)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH_MAX:
            raise _refusal(name, place, f"is nested deeper than {DEPTH_MAX} levels")
        if nodes > NODES_MAX:
            raise _refusal(name, place, f"the document holds more than {NODES_MAX} values")


@dataclass(kw_only=True)
class _Builder:
    """Turns composed nodes into values; notes places, and what does not fit."""

    name: str
    values: dict[Steps, Place] = field(default_factory=dict)
    keys: dict[Steps, Place] = field(default_factory=dict)
    written: dict[Steps, str] = field(default_factory=dict)
    faults: list[Problem] = field(default_factory=list)

    def build(self, node: yaml.Node, steps: Steps) -> Any:
        place = _place(node.start_mark)
        if len(steps) > DEPTH_MAX:
            raise _refusal(self.name, place, f"aliases nest deeper than {DEPTH_MAX} levels, or without end")
        if len(self.values) >= NODES_MAX:
            raise _refusal(self.name, place, f"aliases make the document hold more than {NODES_MAX} values")
        self.values[steps] = place
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, steps)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self.build(item, (*steps, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, steps)
        return self._tag(node, steps)

    def _mapping(self, node: yaml.MappingNode, steps: Steps) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key, value in node.value:
            place = _place(key.start_mark)
            text = key.value if isinstance(key, yaml.ScalarNode) else "?"
            here = (*steps, text)
            if not isinstance(key, yaml.ScalarNode) or key.tag != _TAG + "str" or _SURROGATE.search(text):
                self._fault(here, "a key must be a string", "write the key in quotes", place)
            elif text in mapping:
                line, column = self.keys[here]
                self._fault(here, f"duplicate key, first at {line}:{column}", "keep one of them", place)
            else:
                self.keys[here] = place
                mapping[text] = self.build(value, here)
        return mapping

    def _scalar(self, node: yaml.ScalarNode, steps: Steps) -> Any:
        text: str = node.value
        kind = node.tag.removeprefix(_TAG)
        if kind == "str":
            if _SURROGATE.search(text):
                self._fault(steps, "holds half of a surrogate pair", None)
            return text
        self.written[steps] = text
        if kind == "null" and _NULL.match(text):
            return None
        if kind == "bool" and _BOOL.match(text):
            return text.lower() == "true"
        if kind == "int" and _INT.match(text):
            return self._integer(text, steps)
        if kind == "float" and _FLOAT.match(text):
            return self._float(text, steps)
        return self._tag(node, steps)

    def _integer(self, text: str, steps: Steps) -> int | None:
        if len(text.lstrip("+-")) > DIGITS_MAX:
            message = f"a number has at most {DIGITS_MAX} digits"
            self._fault(steps, message, "write it in quotes if it is meant as text")
            return None
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))

    def _float(self, text: str, steps: Steps) -> float | None:
        number = math.inf if text[-1] in "fFnN" else float(text)
        if not math.isfinite(number):
            self._fault(steps, "a number must be finite", "write it in quotes if it is meant as text")
            return None
        return number

    def _tag(self, node: yaml.Node, steps: Steps) -> None:
        tag = node.tag.replace(_TAG, "!!", 1)
        self._fault(steps, f"the tag {quoted(tag)} is not allowed here", "leave it out: a document holds plain values")

    def _fault(self, steps: Steps, message: str, hint: str | None, place: Place | None = None) -> None:
        self.faults.append(Problem(steps=steps, message=message, hint=hint, at_key=place is not None, place=place))
