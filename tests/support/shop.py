"""The smallest releases that show which one is deployed, and the look at what serves."""

from __future__ import annotations

from archives import Packed, prose, zipped
from molds import Molded
from worlds import Connected, Isolated

SAME = {
    "a/same.txt": b"the same in every version\n" * 20,
    "bin/check": b"#!/bin/sh\nexit 0\n",
    "empty": b"",
}


def shop(version: str) -> dict[str, bytes]:
    """The files of the release `shop` in a version: some are the same in all, some are its own."""
    wheel = zipped([Packed(name="shop.py", content=prose(1, 3000) + version.encode())])
    return {**SAME, "lib.whl": wheel, "version.txt": f"{version}\n".encode(), f"a/only-{version}.txt": b"new\n"}


def hold(molded: Molded, connected: Connected, isolated: Isolated, *versions: str) -> None:
    """Let the site hold these versions, and the depot have published them."""
    releases = {version: shop(version) for version in versions}
    molded(" ".join(("shop", *versions)), lambda: isolated.bring(connected, releases))


def serving(site: Isolated) -> str | None:
    """The version that serves at a site's target, every file of it; None where nothing does."""
    current = site.srv / "current"
    if not current.is_symlink():
        return None
    version = (current / "version.txt").read_text().strip()
    found = {str(path.relative_to(current)): path.read_bytes() for path in current.rglob("*") if path.is_file()}
    assert found == shop(version), f"{version} serves, and not all of it"
    return version


def runs(site: Isolated) -> tuple[str | None, str | None]:
    """The versions that the site says its environment runs, and ran before."""
    state = site.installation.deployments.state("plant-7")
    return (
        state.current.version if state.current else None,
        state.previous.version if state.previous else None,
    )


def interrupted(site: Isolated) -> bool:
    """Whether an operation was left undone."""
    return site.installation.deployments.journal("plant-7") is not None


def events(site: Isolated, name: str, version: str | None = None) -> int:
    """How many events of a kind the site's ledger holds, of one version or of all."""
    return sum(
        entry.event == name and (version is None or entry.detail.get("release") == f"shop@{version}")
        for entry in site.site.ledger.read()
    )


def admitted(site: Isolated) -> list[str]:
    """The versions that the site holds."""
    return [each.version for each in site.site.state.admitted]
