"""What looking inside of archives gave, as commands show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sealift.cli import count, size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..archives.inflations import Counted, Inflations


def inside_document(inside: Inflations) -> dict[str, Any]:
    """For JSON: what travels inflated, which programs rebuild of it at the sites, and which could rebuild more."""
    return {
        "inflated": {
            "archives": inside.archives,
            "bytes": inside.size,
            "member_bytes": inside.members,
            "carried_bytes": inside.carried,
        },
        "rebuilders": _counted(inside.rebuilt),
        "unproved_rebuilders": _counted(inside.missed),
        "tokens": _one(inside.tokens),
        "left": _one(inside.left),
    }


def _counted(counted: Mapping[str, Counted]) -> dict[str, dict[str, int]]:
    return {name: _one(each) for name, each in counted.items()}


def _one(counted: Counted) -> dict[str, int]:
    return {"archives": counted.archives, "bytes": counted.size}


def left_line(inside: Inflations) -> str:
    """What `--small` would take apart, for people; nothing where there is none."""
    if not inside.left.archives:
        return ""
    return (
        f"{count(inside.left.archives, 'archive')} ({size(inside.left.size)} of members) cross as they are, "
        "since nothing here rebuilds them; export --small takes them apart"
    )


def inflated_line(inside: Inflations) -> str:
    """What travels inflated, for people; nothing where nothing does."""
    if not inside.archives:
        return ""
    return (
        f"{count(inside.archives, 'archive')} inflated: {size(inside.size)} of compressed content "
        f"in {size(inside.carried)}"
    )


def inside_lines(inside: Inflations) -> list[str]:
    """All of it for people."""
    lines = [line] if (line := inflated_line(inside)) else []
    lines += [
        f"{name} at the site compresses {count(each.archives, 'layer')} of them again, {size(each.size)}"
        for name, each in inside.rebuilt.items()
    ]
    if inside.tokens.archives:
        lines.append(
            f"{count(inside.tokens.archives, 'archive')} of them as tokens: {size(inside.tokens.size)} of members"
        )
    lines += [
        f"{count(each.archives, 'layer')}, {size(each.size)}, cross as they are: {name} here made such files, "
        "but no receipt says that the sites have the same "
        "(--dry-run says what that would save; export --small needs no program)"
        for name, each in inside.missed.items()
    ]
    return [*lines, line] if (line := left_line(inside)) else lines
