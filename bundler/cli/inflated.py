"""What looking inside of archives gave, as commands show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealift.cli import count, size

if TYPE_CHECKING:
    from ..inflations import Inflations


def inflated_document(inside: Inflations) -> dict[str, int]:
    """For JSON."""
    return {
        "archives": inside.archives,
        "bytes": inside.size,
        "member_bytes": inside.members,
        "carried_bytes": inside.carried,
    }


def inflated_line(inside: dict[str, int]) -> str:
    """The same for people; nothing where nothing travels inflated."""
    if not inside["archives"]:
        return ""
    return (
        f"{count(inside['archives'], 'archive')} inflated: {size(inside['bytes'])} of compressed content "
        f"in {size(inside['carried_bytes'])}"
    )
