"""Pins: single values in YAML files that people write, set without touching any other byte of them.

The file is composed, not loaded: the marks of the value's node say which characters are replaced. What comes out is
read again, event by event, and must differ in that value and in nothing else.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Sequence
from typing import Any

import yaml

from sealift.errors import DeployError
from sealift.names import visible

SIZE_MAX = 1 << 20
"""Bytes of a file that has pins."""
NODES_MAX = 50_000
DEPTH_MAX = 64
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PLAIN = re.compile(r"sha256:[0-9a-f]+|(?=.*[/@]|(?:.*\.){2})[A-Za-z0-9/][A-Za-z0-9_./@:+~-]*[A-Za-z0-9]")
"""What is a string without quotes too, whatever the version of YAML."""
At = Sequence[str | int]


def shown(at: At) -> str:
    """The way to a value as a person reads it."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in at)
    return visible(text.lstrip("."))[:200]


def value_at(content: bytes, at: At, name: str) -> str:
    """The value that a pin is about, as text.

    Args:
        content: of the file.
        at: keys and indices, from the root of the one document that has them.
        name: the file's, for the message.

    Raises:
        DeployError: there is no such single value.
    """
    _, node = _found(content, at, name)
    return str(node.value)


def written_at(content: bytes, at: At, name: str) -> str:
    """The same as it is written, quotes included; raises as `value_at`."""
    text, node = _found(content, at, name)
    begin, end = _span(node)
    return text[begin:end]


def stands(content: bytes, at: At, value: str) -> bool:
    """Whether a pin still has this value."""
    with contextlib.suppress(DeployError):
        return value_at(content, at, "") == value
    return False


def pinned(content: bytes, at: At, name: str, value: str) -> bytes:
    """The file with another value, in the quotes that are there where that can be.

    Args:
        content: of the file.
        at: where the value stands.
        name: the file's, for the message.
        value: what it is to be.

    Raises:
        DeployError: there is no such single value, or it cannot be set alone.
    """
    text, node = _found(content, at, name)
    made = _replaced(text, node, at, name, _quoted(value, node.style))
    if value_at(made, at, name) != value:
        raise DeployError(f"{name}: {shown(at)} cannot be {visible(value)[:80]!r}", hint="correct `pins`")
    return made


def restored(content: bytes, at: At, name: str, written: str) -> bytes:
    """The file with a value as it was once written (`written_at`); raises as `pinned`."""
    text, node = _found(content, at, name)
    return _replaced(text, node, at, name, written)


def _replaced(text: str, node: yaml.ScalarNode, at: At, name: str, new: str) -> bytes:
    begin, end = _span(node)
    changed = text[:begin] + new + text[end:]
    before, after = _events(text, name), _events(changed, name)
    scalars = [index for index, event in enumerate(before) if isinstance(event, yaml.ScalarEvent)]
    place = next(index for index in scalars if _span(before[index]) == (begin, end))
    if getattr(before[place], "anchor", None) or _without(before, place) != _without(after, place):
        raise DeployError(
            f"{name}: {shown(at)} cannot be set without touching what stands beside it",
            hint="write that value plainly: on a line of its own, without a tag, an anchor or an alias",
        )
    return changed.encode()


def _span(what: yaml.Node | yaml.Event) -> tuple[int, int]:
    """Which characters of the text something is."""
    assert what.start_mark is not None
    assert what.end_mark is not None
    return what.start_mark.index, what.end_mark.index


def _quoted(value: str, style: str | None) -> str:
    if style == "'" and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    if not style and _PLAIN.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False)


def _without(events: Sequence[yaml.Event], place: int) -> list[tuple[Any, ...]]:
    """What events say, but for the value of the one at `place`."""
    return [
        (
            type(event),
            None if index == place else getattr(event, "value", None),
            getattr(event, "anchor", None),
            getattr(event, "tag", None),
        )
        for index, event in enumerate(events)
    ]


def _found(content: bytes, at: At, name: str) -> tuple[str, yaml.ScalarNode]:
    text = _text(content, name)
    _events(text, name)
    try:
        roots = list(yaml.compose_all(text, Loader=_LOADER))
    except yaml.YAMLError as error:
        raise _invalid(error, name) from error
    found = [node for root in roots if (node := _descend(root, at)) is not None]
    if len(found) == 1 and isinstance(found[0], yaml.ScalarNode) and found[0].style not in ("|", ">"):
        return text, found[0]
    number = "no single value" if len(found) == 1 else f"{len(found) or 'no'} values"
    raise DeployError(f"{name} has {number} at {shown(at)}", hint="correct `pins` in the environment, or that file")


def _descend(node: yaml.Node | None, at: At) -> yaml.Node | None:
    for step in at:
        if isinstance(node, yaml.MappingNode) and isinstance(step, str):
            values = [value for key, value in node.value if isinstance(key, yaml.ScalarNode) and key.value == step]
            node = values[0] if len(values) == 1 else None
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step] if step < len(node.value) else None
        else:
            return None
    return node


def _text(content: bytes, name: str) -> str:
    if len(content) > SIZE_MAX:
        raise DeployError(f"{name} has more than {SIZE_MAX} bytes", hint="pins are for small files")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise DeployError(f"{name} is not utf-8", hint="save the file as utf-8") from error
    if "\ufeff" in text:
        raise DeployError(f"{name} has a byte-order mark", hint="save the file without it")
    return text


def _events(text: str, name: str) -> list[yaml.Event]:
    """What the file says, one after the other, and no more than is allowed."""
    found: list[yaml.Event] = []
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            found.append(event)
            if len(found) > NODES_MAX or depth > DEPTH_MAX:
                raise DeployError(
                    f"{name} holds too many values, or nests them too deep", hint="pins are for small files"
                )
    except yaml.YAMLError as error:
        raise _invalid(error, name) from error
    return found


def _invalid(error: yaml.YAMLError, name: str) -> DeployError:
    mark = getattr(error, "problem_mark", None)
    where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
    return DeployError(f"{name}{where} is no valid yaml", hint="correct that file")
