"""A depot's TUF metadata, made by hand from plain trees, so that a test can also make what no honest depot would."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from securesystemslib.formats import encode_canonical
from securesystemslib.signer import CryptoSigner, Signer

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
FUTURE = "2027-05-01T00:00:00Z"
PAST = "2026-05-01T00:00:00Z"
ROLES = ("root", "timestamp", "snapshot", "targets")

Tree = dict[str, Any]


def signer() -> CryptoSigner:
    """A new Ed25519 key."""
    return CryptoSigner.generate_ed25519()


def ecdsa_signer() -> CryptoSigner:
    """A new ECDSA key on P-256."""
    return CryptoSigner.generate_ecdsa()


def key_tree(key: Signer) -> Tree:
    """The public part of `key` as root metadata holds it."""
    public = key.public_key
    return {"keytype": public.keytype, "scheme": public.scheme, "keyval": dict(public.keyval)}


def key_id(key: Signer) -> str:
    """The key id of `key`."""
    return str(key.public_key.keyid)


def signature(signed: Tree, key: Signer, *, keyid: str | None = None) -> Tree:
    """The signature of `key` over `signed`."""
    made = key.sign((encode_canonical(signed) or "").encode())
    return {"keyid": keyid or made.keyid, "sig": made.signature}


def seal(signed: Tree, keys: Sequence[Signer]) -> bytes:
    """Metadata signed by `keys`."""
    return dump({"signatures": [signature(signed, key) for key in keys], "signed": signed})


def dump(tree: object) -> bytes:
    """`tree` as JSON."""
    return json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()


def load(content: bytes) -> Tree:
    """The tree of metadata."""
    tree: Tree = json.loads(content)
    return tree


def target(content: bytes = b"content", **more: object) -> Tree:
    """What targets metadata says about a file."""
    return {"length": len(content), "hashes": {"sha256": hashlib.sha256(content).hexdigest()}, **more}


@dataclass(frozen=True, kw_only=True)
class Depot:
    """The keys of a depot, and the metadata that they sign."""

    keys: Mapping[str, Sequence[Signer]] = field(default_factory=lambda: {role: [signer()] for role in ROLES})
    thresholds: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(ROLES, 1))

    @classmethod
    def with_root_keys(cls, count: int, threshold: int) -> Depot:
        """A depot of which `threshold` of `count` root keys must sign."""
        depot = cls()
        return replace(
            depot,
            keys={**depot.keys, "root": [signer() for _ in range(count)]},
            thresholds={**depot.thresholds, "root": threshold},
        )

    def rotated(self, *roles: str) -> Depot:
        """The same depot with new keys for `roles`."""
        return replace(self, keys={**self.keys, **{role: [signer() for _ in self.keys[role]] for role in roles}})

    def root_tree(self, version: int = 1, *, expires: str = FUTURE) -> Tree:
        """The signed part of a root."""
        return {
            "_type": "root",
            "spec_version": "1.0.31",
            "version": version,
            "expires": expires,
            "consistent_snapshot": True,
            "keys": {key_id(key): key_tree(key) for role in ROLES for key in self.keys[role]},
            "roles": {
                role: {"keyids": [key_id(key) for key in self.keys[role]], "threshold": self.thresholds[role]}
                for role in ROLES
            },
        }

    def root(self, version: int = 1, *, former: Depot | None = None, expires: str = FUTURE) -> bytes:
        """A root, signed by its own keys and by those of the `former` one."""
        keys = {key_id(key): key for depot in (former, self) if depot for key in depot.keys["root"]}
        return seal(self.root_tree(version, expires=expires), list(keys.values()))

    def targets(
        self, version: int = 1, files: Mapping[str, Tree] | None = None, *, expires: str = FUTURE, **more: object
    ) -> bytes:
        """Targets metadata that lists `files`."""
        return self._seal("targets", version, expires, targets=dict(files or {}), **more)

    def snapshot(self, version: int, targets: bytes, *, expires: str = FUTURE) -> bytes:
        """A snapshot of `targets`."""
        return self._seal("snapshot", version, expires, meta={"targets.json": _meta(targets)})

    def timestamp(self, version: int, snapshot: bytes, *, expires: str = FUTURE) -> bytes:
        """A timestamp of `snapshot`."""
        return self._seal("timestamp", version, expires, meta={"snapshot.json": _meta(snapshot)})

    def offer(
        self,
        version: int = 1,
        *,
        files: Mapping[str, Tree] | None = None,
        roots: Mapping[int, bytes] | None = None,
        versions: Mapping[str, int] | None = None,
        expires: Mapping[str, str] | None = None,
    ) -> dict[str, bytes]:
        """The metadata of a bundle: every role at `version`, unless `versions` says otherwise."""
        number = {**dict.fromkeys(ROLES, version), **(versions or {})}
        until = {**dict.fromkeys(ROLES, FUTURE), **(expires or {})}
        targets = self.targets(number["targets"], files, expires=until["targets"])
        snapshot = self.snapshot(number["snapshot"], targets, expires=until["snapshot"])
        return {
            **{f"{each}.root.json": content for each, content in (roots or {}).items()},
            "timestamp.json": self.timestamp(number["timestamp"], snapshot, expires=until["timestamp"]),
            f"{number['snapshot']}.snapshot.json": snapshot,
            f"{number['targets']}.targets.json": targets,
        }

    def _seal(self, role: str, version: int, expires: str, **more: object) -> bytes:
        signed = {"_type": role, "spec_version": "1.0.31", "version": version, "expires": expires, **more}
        return seal(signed, self.keys[role])


def _meta(content: bytes) -> Tree:
    return {
        "version": load(content)["signed"]["version"],
        "length": len(content),
        "hashes": {"sha256": hashlib.sha256(content).hexdigest()},
    }
