"""A receipt: the site says what it holds, and signs it."""

from __future__ import annotations

from datetime import UTC, datetime

from sealift import FORMAT
from sealift.digest import sha256
from sealift.receipt import Running, Statement, content_of, sealed

from .deployments import Deployments
from .records.identity import public_key, site_key
from .records.site import Site
from .storage.proving import proofs
from .storage.rebuilding import there
from .storage.store import Store


def receipt(site: Site, now: datetime) -> tuple[Statement, bytes]:
    """What the site holds, and the signed file that says so.

    A release whose packs are not all there is left out: a difference to it could not be read.

    Raises:
        TrustError: the site's key cannot be used.
        StoreError: the disk refuses, or another command is at work.
    """
    deflating = proofs()
    with site.lock():
        key = site_key(site.path)
        state, store = site.state, Store(site.store)
        deployments = Deployments(site.environments)
        running = [(name, deployments.state(name).current) for name in deployments.names()]
        statement = Statement(
            format=FORMAT,
            type="receipt",
            site=state.name,
            key=public_key(key).hex(),
            root=sha256(state.trust.roots[0]),
            made=f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
            generation=state.generation,
            releases=tuple(each.part.release for each in state.admitted if there(store, each.part)),
            environments=tuple(
                Running(environment=name, release=each.release, version=each.version) for name, each in running if each
            ),
            rebuilders=deflating,
        )
        return statement, sealed(statement, key.sign(content_of(statement)))
