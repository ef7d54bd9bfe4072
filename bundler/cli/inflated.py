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
    }


def _counted(counted: Mapping[str, Counted]) -> dict[str, dict[str, int]]:
    return {name: {"archives": each.archives, "bytes": each.size} for name, each in counted.items()}


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
    lines += [
        f"{count(each.archives, 'layer')}, {size(each.size)}, cross as they are: {name} here made such files, "
        f"but no receipt says that the sites have the same (--dry-run says what that would save)"
        for name, each in inside.missed.items()
    ]
    return lines
