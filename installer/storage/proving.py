"""Proving: what deflates at this site, found out by doing it, for a receipt."""

from __future__ import annotations

from sealift.deflating import probe_of_all
from sealift.rebuilder import RebuilderError, all_here
from sealift.receipt import Proof


def proofs() -> tuple[Proof, ...]:
    """What zlib and each rebuilder that works here make of the content of the probe, by name.

    Raises:
        StoreError: the disk refuses a rebuilder's files.
    """
    found = [Proof(name="zlib", probe=probe_of_all())]
    for rebuilder in all_here():
        try:
            found.append(Proof(name=rebuilder.name, probe=rebuilder.probe()))
        except RebuilderError:
            continue
    return tuple(sorted(found, key=lambda proof: proof.name))
