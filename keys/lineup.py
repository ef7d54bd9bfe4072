"""Who may sign what, as a root of trust says it: the values that a ceremony changes.

A `Lineup` is the whole of a root in the terms of `sealift-keys`: the root keys, the online keys (which sign targets,
snapshot and timestamp), the waiver keys, each with a threshold, and what the root is for. Pure: a root becomes a
lineup, a change gives another one, and that becomes the next root.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from securesystemslib.signer import Key
from tuf.api.metadata import Role, Root

from sealift import root_terms
from sealift.errors import PolicyError, TrustError, UsageError
from sealift.root_terms import Purpose, Terms

ROOT = "root"
ONLINE = "online"
WAIVER = root_terms.WAIVER
ROLES = (ROOT, ONLINE, WAIVER)
"""The roles of a root, as a person names them."""
ONLINE_ROLES = ("targets", "snapshot", "timestamp")
"""The roles of TUF that the online keys sign."""
KEYS_MAX = 16
"""Keys of one role at most: a ceremony with more people does not happen."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """The keys of a role, and how many of them must sign."""

    keys: tuple[Key, ...]
    threshold: int

    @property
    def ids(self) -> tuple[str, ...]:
        """The key ids."""
        return tuple(key.keyid for key in self.keys)

    def find(self, keyid: str) -> Key | None:
        """The key of that id, if it counts for this role."""
        return next((key for key in self.keys if key.keyid == keyid), None)


@dataclass(frozen=True, kw_only=True)
class Lineup:
    """A root, without its version and expiry."""

    root: Rule
    online: Rule
    waiver: Rule | None = None
    purpose: Purpose = "production"

    def rule(self, role: str) -> Rule | None:
        """The rule of one of `ROLES`; None for a waiver role that is not there."""
        return {ROOT: self.root, ONLINE: self.online, WAIVER: self.waiver}[role]

    def having(self, role: str, rule: Rule | None) -> Lineup:
        """The same with another rule for `role`.

        Raises:
            UsageError: a role that must be there would be gone.
        """
        if role == WAIVER:
            return replace(self, waiver=rule)
        if rule is None:
            raise UsageError(f"a root needs keys of {role}", hint="name the keys that take over")
        return replace(self, root=rule) if role == ROOT else replace(self, online=rule)

    @property
    def keys(self) -> dict[str, Key]:
        """All keys by id."""
        rules = [rule for rule in (self.root, self.online, self.waiver) if rule]
        return {key.keyid: key for rule in rules for key in rule.keys}

    def roles_of(self, keyid: str) -> tuple[str, ...]:
        """Which of `ROLES` a key counts for."""
        return tuple(role for role in ROLES if (rule := self.rule(role)) and rule.find(keyid))


def lineup(root: Root) -> Lineup:
    """What `root` says.

    Raises:
        MalformedError: its terms do not have their form.
        TrustError: its online roles differ from one another, which `sealift-keys` never makes.
    """
    terms = root_terms.terms(root.to_dict())
    rules = {_rule(root, root.roles[role].keyids, root.roles[role].threshold) for role in ONLINE_ROLES}
    if len(rules) != 1:
        raise TrustError(
            f"root {root.version} has different keys for {', '.join(ONLINE_ROLES)}",
            hint="sealift-keys keeps one rule for all three: this root was made by other means",
        )
    return Lineup(
        root=_rule(root, root.roles[ROOT].keyids, root.roles[ROOT].threshold),
        online=rules.pop(),
        waiver=None if terms.waiver is None else _rule(root, terms.waiver.keyids, terms.waiver.threshold),
        purpose=terms.purpose,
    )


def make_root(line: Lineup, *, version: int, expires: datetime) -> Root:
    """The root that says `line`.

    Raises:
        UsageError, PolicyError: as `check`.
    """
    check(line)
    roles = {ROOT: Role(list(line.root.ids), line.root.threshold)}
    roles |= {role: Role(list(line.online.ids), line.online.threshold) for role in ONLINE_ROLES}
    said = Terms(
        purpose=line.purpose,
        waiver=root_terms.Role(keyids=line.waiver.ids, threshold=line.waiver.threshold) if line.waiver else None,
    )
    fields = {} if said == Terms() else {root_terms.FIELD: _plain(said)}
    return Root(version, None, expires, dict(line.keys), roles, True, fields)


def changed(rule: Rule | None, *, add: Sequence[Key], remove: Sequence[str], threshold: int | None, role: str) -> Rule:
    """`rule` with keys added and removed, and another threshold.

    Args:
        rule: the rule until now; None where there is none.
        add: keys that it gets.
        remove: the beginnings of key ids that it loses.
        threshold: how many must sign; as before where None, or the majority of a new rule.
        role: its name, for messages.

    Raises:
        UsageError: a key is there already or is not there, or the numbers are out of range.
    """
    former = rule.keys if rule else ()
    gone = {find_key(former, prefix, role).keyid for prefix in remove}
    for key in add:
        if key.keyid in {each.keyid for each in former}:
            raise UsageError(f"key {key.keyid[:8]} is a key of {role} already", hint="name another key to add")
    keys = tuple(key for key in former if key.keyid not in gone) + tuple(add)
    if threshold is None:
        threshold = rule.threshold if rule else len(keys) // 2 + 1
    check_rule(Rule(keys=keys, threshold=threshold), role)
    return Rule(keys=keys, threshold=threshold)


def find_key(keys: Iterable[Key], prefix: str, role: str) -> Key:
    """The one of `keys` whose id begins with `prefix`.

    Raises:
        UsageError: none does, or several do.
    """
    found = [key for key in keys if key.keyid.startswith(prefix.lower())] if len(prefix) >= 4 else []
    if len(found) != 1:
        what = "several keys" if found else "no key"
        raise UsageError(
            f"{what} of {role} {'have' if found else 'has'} an id that begins with {prefix[:70]!r}",
            hint="sealift-keys show lists the key ids: give at least four digits, or the whole id",
        )
    return found[0]


def check_rule(rule: Rule, role: str) -> None:
    """Refuse numbers that no ceremony can use.

    Raises:
        UsageError: they are out of range, or a key is named twice.
    """
    if len(set(rule.ids)) != len(rule.keys):
        raise UsageError(f"a key is named twice for {role}", hint="each holder has a key of their own")
    if not 1 <= len(rule.keys) <= KEYS_MAX:
        raise UsageError(f"{len(rule.keys)} keys of {role} are out of range", hint=f"keep 1 to {KEYS_MAX}")
    if not 1 <= rule.threshold <= len(rule.keys):
        raise UsageError(
            f"a threshold of {rule.threshold} is out of range for {len(rule.keys)} keys of {role}",
            hint=f"give --threshold 1 to {len(rule.keys)}",
        )


def check(line: Lineup) -> None:
    """Refuse a lineup that breaks the policy of this project.

    Raises:
        UsageError: a number is out of range.
        PolicyError: a key has two roles, or several online keys would have to sign together.
    """
    for role in ROLES:
        if rule := line.rule(role):
            check_rule(rule, role)
    for keyid in line.keys:
        if len(roles := line.roles_of(keyid)) > 1:
            raise PolicyError(
                f"key {keyid[:8]} would be a key of {' and of '.join(roles)}",
                hint="give each role keys of its own: one stolen key must not do two things",
            )
    if line.online.threshold != 1:
        raise PolicyError(
            "the online keys would have to sign together",
            hint="they lie on one machine: keep their threshold 1, and let a team sign (sealift-keys delegate)",
        )


def check_apart(line: Lineup, teams: Mapping[str, Rule]) -> None:
    """Refuse a team's key that is also a key of the root, of the online machine or of the waiver role.

    Raises:
        PolicyError: there is one.
    """
    for team, rule in teams.items():
        for keyid in rule.ids:
            if roles := line.roles_of(keyid):
                raise PolicyError(
                    f"key {keyid[:8]} would be a key of {team} and of {roles[0]}",
                    hint="give each role keys of its own: one stolen key must not do two things",
                )


def _rule(root: Root, keyids: Iterable[str], threshold: int) -> Rule:
    return Rule(keys=tuple(root.keys[keyid] for keyid in keyids), threshold=threshold)


def _plain(terms: Terms) -> dict[str, object]:
    import msgspec

    return dict(msgspec.to_builtins(terms))
