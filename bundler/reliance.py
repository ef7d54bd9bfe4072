"""Reliance: which programs an export may count on to compress at its sites, by what their receipts say."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sealift.deflating import probe_of_all
from sealift.rebuilder import Rebuilder, RebuilderError, all_here

from .depots.sites import Known

ZLIB = "zlib"


@dataclass(frozen=True, kw_only=True)
class Reliance:
    """What deflates at all the sites as it does here."""

    zlib: bool = True
    """Whether zlib does. Where no receipt speaks of it, the probe in the bundle finds out."""
    rebuilders: Mapping[str, str] = field(default_factory=dict)
    """The rebuilders that do, each with its probe."""


def probes_of(names: Iterable[str]) -> dict[str, str]:
    """What rebuilders of this machine make of the content of the probe, by name; nothing of those that fail.

    Raises:
        StoreError: the disk refuses a rebuilder's files.
    """
    found = {}
    for name in names:
        with contextlib.suppress(RebuilderError):
            found[name] = Rebuilder(name).probe()
    return found


def reliance(sites: Sequence[Known]) -> Reliance:
    """Compare what all receipts say with what this machine does; without receipts, nothing but zlib counts.

    Raises:
        StoreError: the disk refuses a rebuilder's files.
    """
    if not sites:
        return Reliance()
    said = [{proof.name: proof.probe for proof in site.rebuilders} for site in sites]
    zlibs = {each[ZLIB] for each in said if ZLIB in each}
    everywhere = [each.name for each in all_here() if all(each.name in site for site in said)]
    here = probes_of(everywhere)
    return Reliance(
        zlib=not zlibs or zlibs == {probe_of_all()},
        rebuilders={name: probe for name, probe in here.items() if all(site[name] == probe for site in said)},
    )
