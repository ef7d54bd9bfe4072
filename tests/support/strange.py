"""Spoils that make a forge's bundle one of a team, or one for certain sites."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from forge import Forge
from teams import Team, offer

from tests.tufmaker import Tree, load


def for_sites(*names: str) -> dict[str, Callable[[Any], Any]]:
    """Spoils that give a bundle an audience."""
    return {"bundle": lambda manifest: {**manifest, "audience": list(names)}}


def spaced(forge: Forge, team: Team, *, name: str | None = None, signer_of: Team | None = None) -> dict[str, Any]:
    """Spoils that make the release one of a team: `team-a/shop`, signed by its role."""
    label = name or f"{team.name}/shop"
    held: dict[str, Tree] = {}

    def named(manifest: Tree) -> Tree:
        part = {**manifest["parts"][0]}
        part["release"] = {**part["release"], "name": label}
        return {**manifest, "parts": [part]}

    def split(targets: dict[str, Tree]) -> dict[str, Tree]:
        for path, found in targets.items():
            if path.startswith("releases/"):
                held[path.replace("releases/shop/", f"releases/{label}/")] = found
        return {path: found for path, found in targets.items() if path not in held and path.startswith("bundles/")}

    def signed(metadata: dict[str, bytes]) -> dict[str, bytes]:
        listed = load(next(content for name, content in metadata.items() if name.endswith("targets.json")))
        keys = (signer_of or team).keys
        roots = {1: forge.root}
        return offer(
            forge.depot, teams={team: team.targets(1, held, keys=keys)}, files=listed["signed"]["targets"], roots=roots
        )

    return {
        "release": lambda manifest: {**manifest, "name": label},
        "bundle": named,
        "targets": split,
        "metadata": signed,
    }
