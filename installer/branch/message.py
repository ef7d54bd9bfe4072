"""The message of a commit: what is deployed where, and by trailers from which release and by which operation."""

from __future__ import annotations

from .footprint import Footprint


def message(before: Footprint | None, goal: Footprint | None, *, environment: str, operation: str | None) -> str:
    """What a commit says.

    Args:
        before: what was there.
        goal: what is there now.
        environment: whose it is.
        operation: the identity of the operation, which its entry in the ledger bears.
    """
    about = goal or before
    assert about is not None
    what = f"Deploy {about.release} {about.version} to" if goal else f"Take {about.release} away from"
    trailers = {
        "Release": f"{about.release}@{about.version}" if goal else "none",
        "Manifest": f"sha256:{about.manifest}" if goal else None,
        "Environment": environment,
        "Operation": operation,
        "Former": before.identity if before else "none",
    }
    lines = [f"Sealift-{name}: {value}" for name, value in trailers.items() if value]
    return "\n".join([f"{what} {environment}", "", *lines, ""])
