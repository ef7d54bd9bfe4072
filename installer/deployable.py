"""A release that can be deployed: what an admitted release holds, where it lies, and what values make of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sealift.manifest import Part, Release


@dataclass(frozen=True, kw_only=True)
class Deployable:
    """An admitted release, and where its content lies in the store."""

    release: Release
    part: Part
    filled: Mapping[tuple[str, str], bytes] = field(default_factory=dict)
    """What values made of templates, by artifact and path: the content of these files is this, not the sealed one."""
    variant: str = ""
    """What tells it from the same release with other values; empty without any."""

    @property
    def identity(self) -> str:
        """What it is called at a target."""
        return identity_of(self.release.version, self.part.release.sha256, self.variant)

    def folder_of(self, artifact: str) -> str:
        """The prefix of an artifact's paths: none when it is the only one, else a folder of its name."""
        return "" if len(self.release.artifacts) == 1 else f"{artifact}/"


def identity_of(version: str, manifest: str, variant: str = "") -> str:
    """What a deployed release is called at a target: its version, the start of its manifest's digest, its variant."""
    return f"{version}-{manifest[:12]}" + (f"-{variant}" if variant else "")
