"""Who signed for a release: the keys whose signatures on the metadata that lists it are valid."""

from __future__ import annotations

from sealift.manifest import target_of_release
from sealift.trust import Trust

from .records.state import Admitted


def signers(trust: Trust, admitted: Admitted) -> frozenset[str]:
    """The ids of the keys that signed the trusted metadata which lists a release; none where nothing lists it.

    Only keys that the root, or the top-level targets for a team, name for that role are counted, each once.
    """
    from tuf.api.metadata import Metadata, Root, Targets

    from sealift.hybrid import register

    register()
    team, slash, _ = admitted.name.rpartition("/")
    content = trust.delegated.get(team) if slash else trust.targets
    if content is None or trust.targets is None:
        return frozenset()
    listing: Metadata[Targets] = Metadata.from_bytes(content)
    file = listing.signed.targets.get(target_of_release(admitted.name, admitted.version))
    if file is None or file.hashes.get("sha256") != admitted.part.release.sha256:
        return frozenset()
    delegator: Root | Targets
    if slash:
        delegator = Metadata[Targets].from_bytes(trust.targets).signed
    else:
        delegator = Metadata[Root].from_bytes(trust.roots[-1]).signed
    found = delegator.get_verification_result(team if slash else "targets", listing.signed_bytes, listing.signatures)
    return frozenset(found.signed)
