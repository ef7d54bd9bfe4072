"""The policy: which rules a release must meet before it is deployed, judged from facts, without touching anything.

Each rule says why it passes or not. All must pass. An unknown fact is a refusal.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from sealift import names
from sealift.document import Document, Problem
from sealift.errors import MalformedError
from sealift.subset import NAME_FORM, VERSION_FORM, name

from . import freeze
from .duration import FORM, duration
from .freeze import Freeze
from .versions import at_least, key

RULES_MAX = 64
KEYS_MAX = 64
_GLOB = r"^[a-z0-9*][a-z0-9._*-]*(?:/[a-z0-9._*-]+)?(?:@[0-9A-Za-z.+_~*-]+)?$"


@dataclass(frozen=True, kw_only=True)
class Signers:
    """Some keys, of which so many must have signed for the release."""

    keys: tuple[str, ...]
    """Key ids, or their first 16 digits at least."""
    threshold: int


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What a release must meet."""

    releases: tuple[str, ...] = ()
    """Patterns of `name` or `name@version`, of which one must fit; any release where there are none."""
    signers: tuple[Signers, ...] = ()
    minimum: str | None = None
    """The oldest version that may be deployed."""
    age: timedelta | None = None
    """How long ago it may have been published."""
    freezes: tuple[Freeze, ...] = ()
    approvals: Mapping[str, int] = field(default_factory=dict)
    """How many of the approvers of each role must approve."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known when a policy is judged."""

    action: Literal["apply", "rollback"]
    release: str
    version: str
    published: datetime | None
    """When it was published, as signed."""
    signers: frozenset[str]
    """The key ids whose signatures on the metadata that lists the release are valid."""
    reference: datetime
    """The site's time."""
    approved: Mapping[str, Collection[str]]
    """Who of each role has approved this deployment."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one rule says."""

    rule: str
    passes: bool
    why: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.why}"


NO_RULES = (Verdict(rule="none", passes=True, why="whatever this site has admitted may be deployed"),)


def judge(policy: Policy | Literal["none"], facts: Facts) -> tuple[Verdict, ...]:
    """What each rule says of a deployment.

    A rollback is judged by what the release is (`releases`, `signers`, `minimum-version`), and not by when it is done
    or who approved it: what served before must be able to serve again.
    """
    if policy == "none":
        return NO_RULES
    rules = [*_what(policy, facts)]
    if facts.action == "apply":
        rules += _when(policy, facts)
    return tuple(rules)


def _what(policy: Policy, facts: Facts) -> Iterator[Verdict]:
    label = f"{facts.release}@{facts.version}"
    if policy.releases:
        fits = next((each for each in policy.releases if _fits(each, facts)), None)
        why = f"{label} is one of {fits}" if fits else f"{label} is none of {', '.join(policy.releases)}"
        yield Verdict(rule="releases", passes=fits is not None, why=why)
    for wanted in policy.signers:
        signed = sorted(each for each in facts.signers if each.startswith(wanted.keys))
        told = ", ".join(f"{each[:16]}…" for each in signed) or "none"
        yield Verdict(
            rule="signers",
            passes=len(signed) >= wanted.threshold,
            why=f"{len(signed)} of the {len(wanted.keys)} keys signed ({told}), {wanted.threshold} must have",
        )
    if policy.minimum is not None:
        passes = at_least(facts.version, policy.minimum)
        ordered = "" if key(facts.version) else ", as it has no order"
        why = f"{facts.version} is {'' if passes else 'not '}{policy.minimum} or newer{ordered}"
        yield Verdict(rule="minimum-version", passes=passes, why=why)


def _when(policy: Policy, facts: Facts) -> Iterator[Verdict]:
    if policy.age is not None:
        if facts.published is None:
            yield Verdict(rule="maximum-age", passes=False, why="nothing says when it was published")
        else:
            old = facts.reference - facts.published
            yield Verdict(
                rule="maximum-age",
                passes=old <= policy.age,
                why=f"it was published {max(old.days, 0)} days ago, {_days(policy.age)} may have passed",
            )
    if policy.freezes:
        frozen = next((each for each in policy.freezes if each.holds(facts.reference)), None)
        why = f"nothing is changed {frozen}" if frozen else f"none at {facts.reference:%Y-%m-%d %H:%M} UTC"
        yield Verdict(rule="freeze", passes=frozen is None, why=why)
    for role, threshold in sorted(policy.approvals.items()):
        who = sorted(facts.approved.get(role, ()))
        told = f" ({', '.join(who)})" if who else ""
        yield Verdict(
            rule="approvals",
            passes=len(who) >= threshold,
            why=f"{len(who)} of the role {role} approved{told}, {threshold} must have",
        )


def _days(length: timedelta) -> str:
    return f"{length.days} days" if length >= timedelta(days=1) else f"{int(length.total_seconds()) // 60} minutes"


def _fits(pattern: str, facts: Facts) -> bool:
    """Whether a pattern meets a release: `*` stands for any characters of a name or a version, never for a `/`."""
    release, _, version = pattern.partition("@")
    return _met(release, facts.release) and _met(version or "*", facts.version)


def _met(pattern: str, text: str) -> bool:
    return re.fullmatch("[^/]*".join(map(re.escape, pattern.split("*"))), text) is not None


def of(value: Any) -> Policy | Literal["none"]:
    """The policy that `value` says, which the schema and `problems` have accepted."""
    if value == "none":
        return "none"
    return Policy(
        releases=tuple(value.get("releases", ())),
        signers=tuple(
            Signers(keys=tuple(each["keys"]), threshold=int(each["threshold"])) for each in value.get("signers", ())
        ),
        minimum=value.get("minimum-version"),
        age=duration(value["maximum-age"]) if "maximum-age" in value else None,
        freezes=tuple(freeze.of(each) for each in value.get("freeze", ())),
        approvals={role: int(threshold) for role, threshold in value.get("approvals", {}).items()},
    )


def problems(document: Document) -> Iterator[Problem]:
    """What is wrong with the policy of an environment beyond its schema."""
    value = document.value.get("policy") if isinstance(document.value, dict) else None
    if not isinstance(value, dict):
        return
    least = value.get("minimum-version")
    if isinstance(least, str) and names.VERSION.fullmatch(least) and key(least) is None:
        yield Problem(steps=("policy", "minimum-version"), message=f"{least!r} has no order among versions")
    freezes = value.get("freeze")
    for number, entry in enumerate(freezes if isinstance(freezes, list) else ()):
        try:
            freeze.of(entry)
        except MalformedError as error:
            yield Problem(steps=("policy", "freeze", number), message=error.message, hint=error.hint)
        except (KeyError, TypeError, ValueError, AttributeError):
            continue  # the schema tells what is wrong with it
    signers = value.get("signers")
    for number, entry in enumerate(signers if isinstance(signers, list) else ()):
        keys, threshold = (entry.get("keys"), entry.get("threshold")) if isinstance(entry, dict) else (None, None)
        if isinstance(keys, list) and isinstance(threshold, int) and threshold > len(keys):
            steps = ("policy", "signers", number, "threshold")
            yield Problem(steps=steps, message=f"is more than the {len(keys)} keys that may sign")


def schema() -> dict[str, Any]:
    """The JSON Schema of a policy."""
    threshold = {"type": "integer", "minimum": 1, "maximum": KEYS_MAX}
    rules: dict[str, Any] = {
        "releases": {
            "description": "Which releases may be deployed: patterns of name or name@version, with '*'.",
            "type": "array",
            "minItems": 1,
            "maxItems": RULES_MAX,
            "items": {"description": "One pattern.", "type": "string", "maxLength": 200, "pattern": _GLOB},
        },
        "signers": {
            "description": "Which keys must have signed the metadata that lists the release, beyond what TUF demands.",
            "type": "array",
            "minItems": 1,
            "maxItems": RULES_MAX,
            "items": {
                "description": "Some keys, and how many of them must have signed.",
                "type": "object",
                "properties": {
                    "keys": {
                        "description": "Key ids, or at least their first 16 digits.",
                        "type": "array",
                        "minItems": 1,
                        "maxItems": KEYS_MAX,
                        "uniqueItems": True,
                        "items": {"description": "A key id.", "type": "string", "pattern": "^[0-9a-f]{16,64}$"},
                    },
                    "threshold": {"description": "How many of them.", **threshold},
                },
                "required": ["keys", "threshold"],
                "additionalProperties": False,
            },
        },
        "minimum-version": name(names.VERSION, f"The oldest version that may be deployed: {VERSION_FORM}."),
        "maximum-age": {
            "description": "How long ago the release may have been published, such as 30d.",
            "type": "string",
            "pattern": FORM,
        },
        "freeze": {
            "description": "When nothing is changed, by the site's time.",
            "type": "array",
            "minItems": 1,
            "maxItems": RULES_MAX,
            "items": freeze.schema(),
        },
        "approvals": {
            "description": "How many approvers of each role must have signed an approval of this deployment.",
            "type": "object",
            "minProperties": 1,
            "maxProperties": RULES_MAX,
            "propertyNames": name(names.RELEASE, f"A role of the site: {NAME_FORM}."),
            "additionalProperties": {"description": "How many.", **threshold},
        },
    }
    return {
        "description": "Which rules a release must meet before it is deployed: at least one, or 'none', written out so "
        "that nothing is left open by oversight.",
        "type": ["object", "string"],
        "pattern": "^none$",
        "properties": rules,
        "minProperties": 1,
        "additionalProperties": False,
    }
