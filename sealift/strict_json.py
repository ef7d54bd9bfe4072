"""JSON (RFC 8259) read so that two readers cannot take it for two different things.

Every JSON library at hand lets duplicate keys pass, and reads `1e400`, `NaN` and a byte-order mark each in
its own way. What comes out of here is one object: valid UTF-8, no key twice at any level, no floats,
integers from 0 to 2^53, at most `DEPTH_MAX` levels deep, no lone surrogates. Time and memory are linear in
the length of the text, which the caller caps.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import Any, NoReturn

from .errors import MalformedError
from .names import visible

DEPTH_MAX = 32
INTEGER_MAX = 2**53

_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_NO_BRACKET = re.compile(r"[^\[\]{}]+")


class _Refused(ValueError):
    pass


def parse(content: bytes, what: str, *, cap: int) -> dict[str, Any]:
    """The object that `content` is.

    Args:
        content: UTF-8 text.
        what: its name, for the message.
        cap: how many bytes it may have.

    Raises:
        MalformedError: it is longer than `cap`, or not strictly one JSON object as said above.
    """
    if len(content) > cap:
        raise MalformedError(f"{what} has {len(content)} bytes, more than the {cap} that are allowed")
    if content.startswith(codecs.BOM_UTF8):
        raise MalformedError(f"{what} starts with a byte-order mark")
    try:
        text = content.decode("utf-8")
        _check_depth(text)
        tree = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_no_float,
            parse_constant=_no_float,
        )
        if "\\u" in text:
            json.dumps(tree, ensure_ascii=False).encode("utf-8")
    except UnicodeError as error:
        raise MalformedError(f"{what} is not valid utf-8") from error
    except json.JSONDecodeError as error:
        raise MalformedError(f"{what} is not valid json: {error.msg.lower()} at character {error.pos}") from error
    except _Refused as error:
        raise MalformedError(f"{what} is not acceptable json: {error}") from error
    if not isinstance(tree, dict):
        raise MalformedError(f"{what} is not a json object")
    return tree


def canonical(tree: object) -> bytes:
    """`tree` as JSON with sorted keys, no spaces and no escapes that are not needed."""
    return json.dumps(tree, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode("utf-8")


def _check_depth(text: str) -> None:
    depth = 0
    for bracket in _NO_BRACKET.sub("", _STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > DEPTH_MAX:
            raise _Refused(f"it is nested more than {DEPTH_MAX} levels deep")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Refused(f"the key {visible(key)[:80]!r} stands twice in one object")
            seen.add(key)
    return found


def _integer(digits: str) -> int:
    if digits.startswith("-") or len(digits) > 16 or (value := int(digits)) > INTEGER_MAX:
        raise _Refused(f"the number {digits[:20]} is not between 0 and 2^53")
    return value


def _no_float(digits: str) -> NoReturn:
    raise _Refused(f"the number {digits[:20]} is not an integer")
