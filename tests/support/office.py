"""A security team with a depot: holders who sign requests with keys in memory, quickly and without questions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from securesystemslib.signer import CryptoSigner, Key, Signer
from tuf.api.metadata import Root

from keys.ceremony import init
from keys.lineup import Lineup, Rule, lineup
from keys.proposing import next_root, next_team
from keys.publishing import Outcome, delegate, publish_request
from keys.repository import Addition, Published, publish
from keys.request import Request
from keys.state import State, verify


def rule(signers: Iterable[Signer], threshold: int) -> Rule:
    """The keys of `signers`, of which `threshold` must sign."""
    return Rule(keys=tuple(signer.public_key for signer in signers), threshold=threshold)


def release(name: str = "shop", version: str = "1.0.0", content: bytes = b"{}") -> dict[str, Addition]:
    """One release manifest to be listed."""
    digest = sha256(content).hexdigest()
    return {f"releases/{name}/{version}.json": Addition(length=len(content), sha256=digest, kind="release")}


@dataclass
class Office:
    """A depot, and every key that was ever made for it."""

    depot: Path
    now: datetime
    signers: dict[str, Signer] = field(default_factory=dict)

    @classmethod
    def open(cls, depot: Path, now: datetime, *, root_keys: int = 3, threshold: int = 2) -> Office:
        """A new depot with root keys and one online key."""
        office = cls(depot=depot, now=now)
        init(depot, root_keys=root_keys, threshold=threshold, passphrase=None, now=now, unsafe_unencrypted=True)
        from keys.keyfile import load

        for path in (depot / "keys").iterdir():
            office.know(load(path, bytes, unsafe_unencrypted=True))
        return office

    def know(self, signer: Signer) -> Signer:
        """Keep a key."""
        self.signers[signer.public_key.keyid] = signer
        return signer

    def key(self) -> Signer:
        """A new key."""
        return self.know(CryptoSigner.generate_ed25519())

    @property
    def state(self) -> State:
        """The depot's, verified."""
        return verify(self.depot)

    @property
    def line(self) -> Lineup:
        """Who may sign what, by the newest root."""
        return lineup(self.state.root)

    def of(self, keys: Iterable[Key]) -> list[Signer]:
        """The private halves of `keys`."""
        return [self.signers[key.keyid] for key in keys]

    def online(self, root: Root) -> Signer:
        """The online key that `root` names."""
        return self.signers[root.roles["timestamp"].keyids[0]]

    def propose(self, line: Lineup, *, days: int = 730) -> Request:
        """A request for the next root."""
        return next_root(self.depot, self.state, line, now=self.now, days=days)

    def signed(self, request: Request, signers: Sequence[Signer] | None = None) -> Request:
        """The request, signed by everybody who may, or by `signers`."""
        for signer in self.of(request.signers.values()) if signers is None else signers:
            request = request.sign(signer)
        return request

    def publish(self, request: Request) -> Outcome:
        """Publish what has its signatures."""
        return publish_request(self.depot, request, signer_for=self.online, now=self.now)

    def change(self, change: Callable[[Lineup], Lineup], *, days: int = 730) -> Outcome:
        """A whole ceremony: everybody signs, and it is published."""
        return self.publish(self.signed(self.propose(change(self.line), days=days)))

    def rotate_online(self) -> Outcome:
        """Replace the online key."""
        return self.change(lambda line: line.having("online", rule([self.key()], 1)))

    def delegate(self, team: str, signers: Sequence[Signer], threshold: int = 1) -> None:
        """Let a team sign."""
        delegate(self.depot, team, rule(signers, threshold), signer_for=self.online, now=self.now)

    def add(
        self, additions: dict[str, Addition], *, team_signers: Callable[[Rule], Sequence[Signer]] | None = None
    ) -> Published:
        """Publish releases; teams sign with all their keys unless told otherwise."""
        return publish(
            self.depot,
            additions,
            signer_for=self.online,
            now=self.now,
            published=self.now,
            team_signers=team_signers or (lambda rule: self.of(rule.keys)),
        )

    def renew_team(self, team: str) -> Request:
        """A request that gives a team's metadata a new expiry."""
        return next_team(self.state, team, now=self.now, days=180)

    def bundle(self) -> dict[str, bytes]:
        """The metadata that an export would put into a bundle now."""
        found = {}
        for path in self.state.files:
            actual = self.state.stamp if path.name == "timestamp.json" else path
            found[path.name] = actual.read_bytes()
        return found
