"""Bases: which releases a difference refers to, as it is asked for or as receipts allow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sealift.errors import UsageError
from sealift.manifest import Release

from .depots.depot import Depot
from .depots.holding import Holding, of_depot
from .depots.published import Reference, published_release, require

if TYPE_CHECKING:
    from keys.repository import State

    from .depots.sites import Known

FROM_RECEIPTS = 3
"""Releases that receipts make a base at most, the newest ones: each is read, and older ones add little."""


def bases_for(
    release: Release, depot: Depot, state: State, *, since: Sequence[Reference], sites: Sequence[Known]
) -> tuple[Holding, ...]:
    """What a release is made a difference to; nothing, where it must travel whole.

    Args:
        release: what is wanted.
        depot: where the bases lie.
        state: its signed state.
        since: what the sites hold, as their operators say. Those of the release's own name come first: where several
            have an artifact or a path, the first one's is the former one.
        sites: what the sites hold, as they signed it. Only what all of them hold counts.

    Raises:
        UsageError: a release is unknown, or the sites hold what is wanted already.
    """
    bases = []
    for each in sorted(since, key=lambda each: each.name != release.name):
        blob = require(state, depot, each.name, each.version)
        if (each.name, each.version) == (release.name, release.version):
            raise _held(release)
        bases.append(of_depot(depot, depot.release(blob), depot.part(each.name, each.version)))
    if not sites:
        return tuple(bases)
    common = [each for each in sites[0].releases if all(each in site.releases for site in sites[1:])]
    if any((each.name, each.version) == (release.name, release.version) for each in common):
        raise _held(release)
    found = 0
    for said in reversed(common):
        known = published_release(state, said.name, said.version) if said.name == release.name else None
        if known and (known.sha256, known.length) == (said.sha256, said.length) and found < FROM_RECEIPTS:
            bases.append(of_depot(depot, depot.release(known), depot.part(said.name, said.version)))
            found += 1
    return tuple(bases)


def _held(release: Release) -> UsageError:
    return UsageError(
        f"the sites that this bundle is for hold {release.label} already", hint="name a release that they lack"
    )
