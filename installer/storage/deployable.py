"""A release that can be deployed: what an admitted release holds, where it lies, and what values make of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from sealift.errors import UsageError
from sealift.manifest import Artifact, Part, Release


@dataclass(frozen=True, kw_only=True)
class Deployable:
    """An admitted release, and where its content lies in the store."""

    release: Release
    part: Part
    filled: Mapping[tuple[str, str], bytes] = field(default_factory=dict)
    """What values made of templates, by artifact and path: the content of these files is this, not the sealed one."""
    variant: str = ""
    """What tells it from the same release with other values; empty without any."""
    revision: str = ""
    """What tells it from the same release as it was deployed before, with other settings of its targets."""
    only: frozenset[str] | None = None
    """The names of the artifacts that a target takes; all where None."""

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """What a target takes."""
        return tuple(each for each in self.release.artifacts if self.only is None or each.name in self.only)

    @property
    def identity(self) -> str:
        """What it is called at a target."""
        return identity_of(self.release.version, self.part.release.sha256, self.variant, self.revision)

    def taking(self, names: Collection[str] | None) -> Deployable:
        """The same for a target that takes these artifacts alone; all of them where None.

        Raises:
            UsageError: the release has no artifact of a name.
        """
        if names is None:
            return self
        known = {artifact.name for artifact in self.release.artifacts}
        if unknown := sorted(set(names) - known):
            raise UsageError(
                f"{self.release.label} has no artifact {unknown[0]!r}",
                hint=f"`artifacts` may name these: {', '.join(sorted(known))}",
            )
        return replace(self, only=frozenset(names))

    @property
    def filled_paths(self) -> Mapping[str, bytes]:
        """What values made of templates, by path where a target lays out what it takes as files."""
        names = {artifact.name for artifact in self.artifacts}
        return {self.folder_of(name) + path: content for (name, path), content in self.filled.items() if name in names}

    def folder_of(self, artifact: str) -> str:
        """The prefix of an artifact's paths: none when it is the only one that is taken, else a folder of its name."""
        return "" if len(self.artifacts) == 1 else f"{artifact}/"


def identity_of(version: str, manifest: str, variant: str = "", revision: str = "") -> str:
    """What a deployed release is called at a target: version, start of its manifest's digest, variant, revision."""
    return "-".join([version, manifest[:12], *filter(None, (variant, revision))])
