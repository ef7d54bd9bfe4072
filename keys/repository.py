"""Publishing: the depot's targets, snapshot and timestamp, signed anew when there is something to say.

Invariants: a target, once listed, never changes; a version number is signed once; `timestamp.json` is written
last and is the commit, so a kill at any instant leaves the old state or the new one. The files of an
unfinished publication (one version above the current) are overwritten by the next.

The depot's lock is the caller's job: hold `sealift.durable.locked(depot / "lock", …)` around `publish` and
around whatever copies the files that it names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from securesystemslib.signer import Signer
from tuf.api.metadata import Root, TargetFile, Targets

from sealift.digest import check_form
from sealift.durable import write_file
from sealift.errors import MalformedError, TrustError, UsageError
from sealift.names import check_release, check_version, folded, visible

from .depot import online_key
from .keyfile import load
from .metadata import sign_all
from .state import Entry, State, bundle_order, verify

__all__ = [
    "ROLE_DAYS",
    "Addition",
    "Entry",
    "Published",
    "State",
    "metadata_files",
    "online_signer",
    "publish",
    "verify",
]

ROLE_DAYS = 180
"""Days that targets, snapshot and timestamp live. Carriage is slow: a medium may wait weeks for an aeroplane
or a maintenance window, and what expires on the way is refused at the site."""

_PATH = re.compile(r"(releases)/([^/]+)/([^/]+)\.json|(bundles)/([^/]+)\.json")


@dataclass(frozen=True, kw_only=True)
class Addition:
    """A manifest to be listed."""

    length: int
    """Bytes."""
    sha256: str
    kind: Literal["release", "bundle"]


@dataclass(frozen=True, kw_only=True)
class Published:
    """The depot's current state after a publication."""

    root: int
    timestamp: int
    snapshot: int
    targets: int
    """The versions of the four roles."""
    files: tuple[Path, ...]
    """The metadata files in a bundle's order: every root, timestamp, snapshot, targets."""
    changed: bool
    """Whether anything was signed."""


def publish(
    depot: Path,
    additions: Mapping[str, Addition],
    *,
    signer_for: Callable[[Root], Signer],
    now: datetime,
    published: datetime,
    days: int = ROLE_DAYS,
) -> Published:
    """List `additions` in the depot's signed targets, or renew what is about to expire, or do nothing.

    Nothing is signed when every addition is listed already and more than half of `days` is left.

    Args:
        depot: the depot, whose lock the caller holds.
        additions: by target path, `releases/<name>/<version>.json` or `bundles/<sha256>.json`.
        signer_for: unlocks the online key; called once, and only when something is to be signed.
        now: the time, aware, by which expiry is judged and set.
        published: the time, aware, that the additions bear; `SOURCE_DATE_EPOCH` may have set it.
        days: how long the new metadata lives.

    Raises:
        UsageError: a release was already published with other content, there are too many, or `published`
            lies in the future.
        MalformedError: a target path or a file of the depot does not have its form.
        TrustError: the depot's metadata does not verify, the root has expired, or the key is not entitled.
        StoreError: the disk refused; the former state stays, or the new one is complete.
    """
    now = now.astimezone(UTC)
    if published > now + timedelta(days=1):
        raise UsageError(
            f"the time of publication lies in the future: {published:%Y-%m-%d}, and it is {now:%Y-%m-%d} here",
            hint="check SOURCE_DATE_EPOCH and this machine's clock",
        )
    state = verify(depot)
    if state.root.is_expired(now):
        raise TrustError(
            f"root {state.root.version} of {depot} expired on {state.root.expires:%Y-%m-%d}",
            hint="the holders of the root keys must sign a new root before anything can be published",
        )
    fresh = _fresh(state.targets, additions, published)
    earliest = min(state.timestamp.expires, state.snapshot.expires, state.targets.expires)
    if not fresh and earliest - now > timedelta(days=days) / 2:
        return Published(
            root=state.root.version,
            timestamp=state.timestamp.version,
            snapshot=state.snapshot.version,
            targets=state.targets.version,
            files=state.files,
            changed=False,
        )
    contents = sign_all(
        _renew(state, fresh, now + timedelta(days=days)),
        state.root,
        signer_for(state.root),
        others={name: meta for name, meta in state.snapshot.meta.items() if name != "targets.json"},
        snapshot_version=state.snapshot.version + 1,
        timestamp_version=state.timestamp.version + 1,
    )
    for name, content in contents.items():
        write_file(state.folder / name, content)
    return Published(
        root=state.root.version,
        timestamp=state.timestamp.version + 1,
        snapshot=state.snapshot.version + 1,
        targets=state.targets.version + 1,
        files=bundle_order(state.folder, state.root.version, state.snapshot.version + 1, state.targets.version + 1),
        changed=True,
    )


def metadata_files(depot: Path) -> list[Path]:
    """The depot's current metadata files, verified, in a bundle's order: all roots, timestamp, snapshot, targets.

    Raises:
        UsageError, MalformedError, TrustError, StoreError: as `verify`.
    """
    return list(verify(depot).files)


def online_signer(
    depot: Path, passphrase_source: Callable[[str], bytes], *, unsafe_unencrypted: bool = False
) -> Callable[[Root], Signer]:
    """What `publish` takes to unlock the depot's online key.

    Args:
        depot: the depot.
        passphrase_source: gives the passphrase for the thing that it is told, such as
            `PassphraseSource.existing`; called only when something is to be signed.
        unsafe_unencrypted: accept a key that lies in the clear.
    """

    def unlock(_: Root) -> Signer:
        path = online_key(depot)
        return load(path, lambda: passphrase_source(str(path)), unsafe_unencrypted=unsafe_unencrypted)

    return unlock


def _fresh(targets: Targets, additions: Mapping[str, Addition], published: datetime) -> dict[str, TargetFile]:
    stamp = published.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    known = {folded(path): path for path in targets.targets}
    fresh = {}
    for path, addition in additions.items():
        label = _label(path, addition)
        listed = targets.targets.get(path)
        if listed is None:
            other = known.setdefault(folded(path), path)
            if other != path:
                raise UsageError(
                    f"{label} differs only by case from {visible(other)!r}, which is already published",
                    hint="give it a version that differs in more than case",
                )
            custom = {"custom": {"sealift": {"type": addition.kind, "published": stamp}}}
            fresh[path] = TargetFile(addition.length, {"sha256": addition.sha256}, path, custom)
        elif (listed.length, listed.hashes) != (addition.length, {"sha256": addition.sha256}):
            raise UsageError(
                f"{label} was already published with other content",
                hint="a release never changes: give it a new version",
            )
    return fresh


def _label(path: str, addition: Addition) -> str:
    found = _PATH.fullmatch(path)
    check_form(addition.sha256, path)
    if found and found[1] and addition.kind == "release":
        return f"release {check_release(found[2])} {check_version(found[3])}"
    if found and found[4] and addition.kind == "bundle" and found[5] == addition.sha256:
        return f"bundle {addition.sha256[:16]}"
    raise MalformedError(f"{visible(path)[:120]!r} is no target path of a {addition.kind}")


def _renew(state: State, fresh: Mapping[str, TargetFile], expires: datetime) -> Targets:
    return Targets(
        version=state.targets.version + 1,
        expires=expires,
        targets={**state.targets.targets, **fresh},
        delegations=state.targets.delegations,
        unrecognized_fields=state.targets.unrecognized_fields,
    )
