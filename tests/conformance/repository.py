"""A repository at the other end of HTTP, followed by `sealift.workflow`: the driver of the conformance client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import urlopen

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Targets

from sealift.errors import SealiftError, TrustError
from sealift.strict_json import parse
from sealift.trust import ROTATIONS_MAX
from sealift.tuf_rules import CAPS, Document
from sealift.workflow import Reading, Workflow

ROLES_MAX = 32
"""Delegated roles that are asked for one target."""
FILE_MAX = 64 << 20
"""Bytes of a target."""


class Repository:
    """What a folder trusts, and the address that newer metadata comes from."""

    def __init__(
        self, folder: Path, address: str | None, *, read: Reading, known_is_final: bool, now: datetime
    ) -> None:
        self._folder = folder
        self._address = address
        self._read = read
        self._known_is_final = known_is_final
        self._now = now
        self._walk: Workflow | None = None
        self._listed: dict[str, int] = {}

    def init(self, root: bytes) -> None:
        """Trust `root`; nobody is asked."""
        self._begin(root)
        self._keep("root", root)

    def refresh(self) -> None:
        """Follow the roots, then timestamp, snapshot and targets, keeping each as soon as it was verified."""
        walk = self._walk = self._begin((self._folder / "root.json").read_bytes())
        for _ in range(ROTATIONS_MAX):
            content = self._fetch(f"{walk.root.version + 1}.root.json", "root")
            if content is None:
                break
            self._forget(walk.root, walk.next_root(content))
            self._keep("root", content)
        walk.check_root()

        timestamp = walk.timestamp(self._must("timestamp.json", "timestamp"), self._held("timestamp"))
        self._keep("timestamp", timestamp.content)
        held = self._held("snapshot")
        snapshot = self._newest(
            "snapshot",
            timestamp.listed["snapshot.json"],
            lambda content, version: walk.snapshot(content, version, held),
        )
        self._listed = dict(snapshot.listed)
        self._newest(
            "targets",
            self._listed["targets.json"],
            lambda content, version: walk.targets(content, version, self._held("targets")),
        )

    def download(self, name: str, address: str, folder: Path) -> None:
        """Fetch the target `name` into `folder`, unless it is there already."""
        for targets in self._responsible(name):
            if found := targets.targets.get(name):
                path = folder / quote(name, safe="")
                try:
                    if path.exists() and not _differs(found.verify_length_and_hashes, path.read_bytes()):
                        return
                    prefix = next(iter(found.hashes.values()))
                    above, slash, own = name.rpartition("/")
                    content = _get(f"{address.rstrip('/')}/{quote(f'{above}{slash}{prefix}.{own}')}", FILE_MAX)
                    if content is None:
                        raise TrustError(f"{name} is not there")
                    found.verify_length_and_hashes(content)
                except RepositoryError as error:
                    raise TrustError(f"{name} is not the target that was signed") from error
                path.write_bytes(content)
                return
        raise TrustError(f"nobody vouches for {name}")

    def _begin(self, root: bytes) -> Workflow:
        document = self._read("root", root, "root.json")
        return Workflow(document, reference=self._now, read=self._read, known_is_final=self._known_is_final)

    def _forget(self, before: Document, after: Document) -> None:
        """Drop what new keys replaced (section 5.3.11): a later run would not know that they were rotated."""
        rules = [tuple(_rule(root, role) for role in ("timestamp", "snapshot")) for root in (before, after)]
        if rules[0] != rules[1]:
            for role in ("timestamp", "snapshot"):
                (self._folder / f"{role}.json").unlink(missing_ok=True)

    def _newest(self, role: str, version: int, take: Callable[[bytes, int], Document]) -> Document:
        """What is held where it is the wanted version and in order, what is offered otherwise."""
        held = self._held(role)
        if held is not None:
            try:
                if self._read(role, held, role).version == version:
                    return take(held, version)
            except SealiftError:
                pass
        document = take(self._must(f"{version}.{quote(role, safe='')}.json", role), version)
        self._keep(role, document.content)
        return document

    def _responsible(self, name: str) -> Iterator[Targets]:
        """The targets metadata to ask for `name`, depth first (section 5.6.7), each verified by its delegator."""
        walk = self._walk
        assert walk is not None
        waiting: list[tuple[str, str]] = [("targets", "root")]
        seen: set[tuple[str, str]] = set()
        while waiting and len(seen) <= ROLES_MAX:
            role, by = waiting.pop()
            if (role, by) in seen:
                continue
            seen.add((role, by))
            if by == "root":
                content = self._held(role) or b""
            elif version := self._listed.get(f"{role}.json"):
                content = self._newest(role, version, self._taker(walk, role, by)).content
            else:
                raise TrustError(f"the snapshot does not name {role}")
            targets = Metadata[Targets].from_bytes(content).signed
            yield targets
            below = []
            for child, terminating in targets.delegations.get_roles_for_target(name) if targets.delegations else ():
                below.append((child, role))
                if terminating:
                    waiting = []
                    break
            waiting += reversed(below)

    def _taker(self, walk: Workflow, role: str, by: str) -> Callable[[bytes, int], Document]:
        held = self._held(role)
        return lambda content, version: walk.delegated(role, content, version, held, by=by)

    def _held(self, role: str) -> bytes | None:
        path = self._folder / f"{quote(role, safe='')}.json"
        return path.read_bytes() if path.exists() else None

    def _keep(self, role: str, content: bytes) -> None:
        (self._folder / f"{quote(role, safe='')}.json").write_bytes(content)

    def _fetch(self, name: str, role: str) -> bytes | None:
        assert self._address is not None
        return _get(f"{self._address.rstrip('/')}/{name}", CAPS.get(role, CAPS["targets"]))

    def _must(self, name: str, role: str) -> bytes:
        content = self._fetch(name, role)
        if content is None:
            raise TrustError(f"{name} is not there")
        return content


def plain(role: str, content: bytes, name: str) -> Document:
    """Metadata as TUF has it, without what Sealift asks beyond: the gate of `client --plain`."""
    signed = parse(content, name, cap=CAPS.get(role, CAPS["targets"]))["signed"]
    try:
        metadata = Metadata.from_bytes(content).signed
        meta = signed.get("meta", {})
        return Document(
            name=name,
            role=role,
            content=content,
            version=metadata.version,
            expires=metadata.expires.replace(tzinfo=UTC),
            signed=signed,
            listed={path: each["version"] for path, each in meta.items()},
            targets={},
        )
    except (RepositoryError, ValueError, KeyError, TypeError) as error:
        raise TrustError(f"{name} is no metadata") from error


def _rule(root: Document, role: str) -> object:
    return root.signed["roles"][role]


def _differs(check: Callable[[bytes], None], content: bytes) -> bool:
    try:
        check(content)
    except RepositoryError:
        return True
    return False


def _get(address: str, limit: int) -> bytes | None:
    """The file at an address; None where there is none."""
    try:
        with urlopen(address, timeout=30) as answer:  # noqa: S310 - the suite's own server
            content: bytes = answer.read(limit + 1)
    except HTTPError:
        return None
    except URLError as error:
        raise TrustError(f"{address} cannot be read") from error
    if len(content) > limit:
        raise TrustError(f"{address} is longer than {limit} bytes")
    return content
