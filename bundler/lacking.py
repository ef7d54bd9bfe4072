"""What a release lacks of the images that its manifests name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sealift.errors import MalformedError
from sealift.oci import names
from sealift.oci.names import Name

from .images.mentions import Mention
from .lock import Lock
from .spec import Spec


@dataclass(frozen=True, kw_only=True)
class Held:
    """An image that a release holds, or will hold."""

    artifact: str
    name: Name
    digests: frozenset[str]
    """Those that its name and its lock say."""


def held(spec: Spec, lock: Lock | None) -> list[Held]:
    """The images of a spec, as sites will know them; those of local layouts only by their `as`."""
    found = []
    for wanted in spec.artifacts:
        if wanted.source != "oci":
            continue
        text = wanted.want.get("as") or str(wanted.want["image"]).removeprefix("docker://")
        try:
            name = names.parse(text)
        except MalformedError:
            continue
        entry = lock.artifacts.get(wanted.name) if lock else None
        pinned = (wanted.want.get("manifest"), name.digest, entry.pins.get("manifest") if entry else None)
        digests = frozenset(each for each in pinned if isinstance(each, str))
        found.append(Held(artifact=wanted.name, name=name, digests=digests))
    return found


def holder(mention: Mention, images: Iterable[Held]) -> str | None:
    """The artifact that holds the image of a mention; None where none does."""
    name = mention.name
    for each in images:
        if name is None or name.place != each.name.place:
            continue
        if name.digest in each.digests if name.digest else name.tag == each.name.tag:
            return each.artifact
    return None
