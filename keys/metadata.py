"""TUF metadata (specification 1.0) as one file: read strictly, signed with every signature checked.

Formats and signatures are `tuf`'s and `securesystemslib`'s; `sealift.tuf_rules` refuses what they let pass, here
as at a site. The signing side adds one rule: a root key signs roots and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, T, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from sealift import tuf_rules
from sealift.durable import storing
from sealift.errors import MalformedError, TrustError, UsageError
from sealift.hybrid import register
from sealift.root_terms import terms

from . import signing
from .reading import read_bounded

_RESTORE = "restore the depot's metadata folder from its newest backup"


def read(path: Path, role: type[T]) -> bytes:
    """The unverified bytes of a role's metadata file.

    Raises:
        TrustError: it is missing, over-long, or no regular file.
        StoreError: it cannot be read.
    """
    with storing(path):
        if not path.exists():
            raise TrustError(f"{path} is missing", hint=_RESTORE)
    return read_bounded(path, limit=tuf_rules.CAPS[role.type])


def parse(content: bytes, role: type[T], where: Path | str, *, name: str | None = None) -> Metadata[T]:
    """What `content` says; its signatures are for the caller to verify.

    Args:
        content: the file.
        role: what it must be.
        where: its place, for messages.
        name: the name of a delegated role.

    Raises:
        MalformedError: it is not the strict JSON form of that role's metadata.
        TrustError: it is a root whose keys or thresholds do not mean what they say.
    """
    tuf_rules.read(name or role.type, content, str(where))
    register()
    try:
        metadata: Metadata[T] = Metadata.from_bytes(content)
    except DeserializationError as error:
        reason = str(error.__cause__)[:200]
        raise MalformedError(f"{where} is no {role.type} metadata: {reason}", hint=_RESTORE) from error
    if isinstance(metadata.signed, Root):
        _check_separation(metadata.signed, where)
    return metadata


def sign(payload: T, delegator: Root, signers: Sequence[Signer]) -> bytes:
    """The file of `payload`, signed by each of `signers`; each signature was verified, and so was the result.

    Args:
        payload: what to sign; nothing in it is changed.
        delegator: the root that says who may sign it (the payload itself for a first root).
        signers: as many as the role's threshold asks for, or more.

    Raises:
        TrustError: a signer is not entitled, made a signature that is not its key's, or they are too few.
        UsageError: the file would be longer than a site accepts.
    """
    role = delegator.roles[payload.type]
    metadata = Metadata(payload)
    message = metadata.signed_bytes
    for signer in signers:
        key = signer.public_key
        if key.keyid not in role.keyids or delegator.keys.get(key.keyid) != key:
            raise TrustError(
                f"key {key.keyid[:8]} may not sign {payload.type}: root {delegator.version} does not name it",
                hint="use the key that sealift-keys show lists for that role",
            )
        metadata.signatures[key.keyid] = signing.sign(signer, message, payload.type)
    if len(metadata.signatures) < role.threshold:
        raise TrustError(
            f"{payload.type} needs {role.threshold} signatures, and {len(metadata.signatures)} could be made",
            hint="sign with as many different keys as the role's threshold says",
        )
    content = metadata.to_bytes()
    if len(content) > tuf_rules.CAPS[payload.type]:
        raise UsageError(
            f"the depot would list more than the {tuf_rules.CAPS[payload.type]} bytes of {payload.type} metadata "
            "that a site reads",
            hint="begin a new depot for further releases",
        )
    again = parse(content, type(payload), payload.type)
    delegator.verify_delegate(payload.type, again.signed_bytes, again.signatures)
    return content


def sign_all(
    targets: Targets,
    root: Root,
    signer: Signer,
    *,
    others: Mapping[str, MetaFile],
    snapshot_version: int,
    timestamp_version: int,
) -> dict[str, bytes]:
    """The signed files of `targets` and of a snapshot and a timestamp that lead to it and expire with it.

    Args:
        targets: the new targets metadata.
        root: who may sign.
        signer: signs all three.
        others: what the snapshot lists beside `targets.json`.
        snapshot_version: the new snapshot's.
        timestamp_version: the new timestamp's.

    Returns:
        The files' contents by name, in the order in which they must be written: the last is the commit.

    Raises:
        TrustError: the signer is not entitled, or made a signature that is not its key's.
        UsageError: the targets are more than a site accepts.
    """
    targets_content = sign(targets, root, [signer])
    meta = {**others, "targets.json": MetaFile.from_data(targets.version, targets_content, ["sha256"])}
    snapshot = Snapshot(version=snapshot_version, expires=targets.expires, meta=meta)
    snapshot_content = sign(snapshot, root, [signer])
    timestamp = Timestamp(
        version=timestamp_version,
        expires=targets.expires,
        snapshot_meta=MetaFile.from_data(snapshot_version, snapshot_content, ["sha256"]),
    )
    return {
        f"{targets.version}.targets.json": targets_content,
        f"{snapshot_version}.snapshot.json": snapshot_content,
        "timestamp.json": sign(timestamp, root, [signer]),
    }


def _check_separation(root: Root, where: Path | str) -> None:
    apart = set(root.roles[Root.type].keyids)
    for name, role in root.roles.items():
        if name != Root.type and apart & set(role.keyids):
            raise TrustError(f"{where}: a root key also signs {name}", hint="root keys sign nothing but roots")
    waiver = terms(root.to_dict()).waiver
    if waiver is not None and set(waiver.keyids) & {keyid for role in root.roles.values() for keyid in role.keyids}:
        raise TrustError(f"{where}: a key of the waiver role has another role", hint="waiver keys sign nothing else")
