"""The plan: what an apply or a rollback will do, decided from what is known, without touching anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec

from sealift import strict_json
from sealift.digest import sha256
from sealift.errors import UsageError

from .deployments import Deployed, State
from .environments.environment import Environment
from .environments.filling import NOTHING, Filling
from .policies import versions
from .policies.policy import NO_RULES, Verdict
from .records.state import Admitted
from .records.state import State as SiteState
from .target import Sight

_REVISION = 12
"""Hexadecimal digits of a revision."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What happens at one target."""

    kind: str
    place: str
    action: Literal["switch", "repair", "none"]
    before: str | None
    """What serves there."""
    after: str
    """What will serve there."""
    problem: str | None = None
    """What is to be repaired."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that an operation will do, in order."""

    action: Literal["apply", "rollback"]
    environment: Environment
    admitted: Admitted
    before: State
    after: State
    steps: tuple[Step, ...]
    rules: tuple[Verdict, ...]
    """Each rule of the policy, and why it passes or not."""
    filling: Filling = NOTHING
    """What the values make of the release's templates."""

    @property
    def refused(self) -> tuple[Verdict, ...]:
        """The rules that do not pass."""
        return tuple(rule for rule in self.rules if not rule.passes)

    @property
    def pending(self) -> bool:
        """Whether anything is to be changed."""
        return any(step.action != "none" for step in self.steps) or self._record_differs

    @property
    def _record_differs(self) -> bool:
        current, goal = self.before.current, self.after.current
        return (
            current is None
            or goal is None
            or current.identity != goal.identity
            or current.environment != self.environment.declared
            or (self.before.source or self.after.source, self.before.expires) != (self.after.source, self.after.expires)
        )

    def document(self) -> dict[str, Any]:
        """The plan as plain values."""
        former = self.before.current
        return {
            "action": self.action,
            "environment": self.environment.name,
            "pending": self.pending,
            "from": former.label if former else None,
            "to": self.admitted.label,
            "manifest": self.admitted.part.release.sha256,
            "targets": [
                {
                    "kind": step.kind,
                    "place": step.place,
                    "action": step.action,
                    "from": step.before,
                    "to": step.after,
                    **({"problem": step.problem} if step.problem else {}),
                }
                for step in self.steps
            ],
            **({"filled": sorted("/".join(place) for place in self.filling.files)} if self.filling.files else {}),
            "policy": [str(rule) for rule in self.rules],
            "refused": [str(rule) for rule in self.refused],
        }


def wanted(environment: Environment, site: SiteState) -> Admitted:
    """The admitted release that an environment declares.

    Raises:
        UsageError: the site has not admitted it.
    """
    asked = versions.wanted(environment.version)
    there = [each for each in site.admitted if each.name == environment.release]
    if isinstance(asked, str):
        admitted = site.release(environment.release, asked)
        missing = f"{environment.release}@{asked} is not at this site"
    else:
        inside = [each for each in there if asked.holds(each.version)]
        admitted = max(inside, key=lambda each: versions.key(each.version) or (), default=None)
        missing = f"no release {environment.release} at this site is in the range {asked.text}"
    if admitted is None:
        has = sorted(each.version for each in there)
        raise UsageError(
            missing,
            hint=f"it has {', '.join(has)}: correct {environment.path}, or import a bundle that holds it"
            if has
            else "import a bundle that holds it: sealift-install import",
        )
    return admitted


def former(before: State, site: SiteState) -> tuple[Deployed, Admitted]:
    """What an environment returns to.

    Raises:
        UsageError: there is nothing, or the site no longer holds it.
    """
    previous = before.previous
    if previous is None or before.current is None:
        raise UsageError(
            f"environment {before.environment} has no former release to return to"
            if before.current
            else f"nothing was deployed as environment {before.environment}, so there is no former release",
            hint="see which environments there are: sealift-install status; and what was deployed: "
            "sealift-install history",
        )
    admitted = site.release(previous.release, previous.version)
    if admitted is None:
        raise UsageError(
            f"{previous.label} is no longer at this site", hint="import a bundle that holds it, then roll back again"
        )
    return previous, admitted


def goal(environment: Environment, admitted: Admitted, before: State, filling: Filling, now: datetime) -> Deployed:
    """What an apply leads to.

    The same release at targets whose settings are others is a revision of its own: it is staged beside the one that
    serves, which stays what a return leads to.
    """
    deployed = Deployed(
        release=admitted.name,
        version=admitted.version,
        manifest=admitted.part.release.sha256,
        environment=dict(environment.declared),
        time=now,
        variant=filling.variant,
    )
    current = before.current
    if current is None or msgspec.structs.replace(current, revision="").identity != deployed.identity:
        return deployed
    revision = current.revision
    old, new = (_targets(each) for each in (current.environment, environment.declared))
    if old - new and new - old:
        revision = sha256(b"\n".join([revision.encode(), *sorted(new)]))[:_REVISION]
    return msgspec.structs.replace(deployed, revision=revision)


def _targets(declared: Mapping[str, Any]) -> set[bytes]:
    return {strict_json.canonical(target) for target in declared.get("targets", ())}


def plan_apply(
    environment: Environment,
    admitted: Admitted,
    deployed: Deployed,
    before: State,
    seen: Sequence[Sight],
    filling: Filling = NOTHING,
    rules: tuple[Verdict, ...] = NO_RULES,
) -> Plan:
    """What makes the environment what is declared.

    Args:
        environment: what is declared.
        admitted: the release of it (`wanted`).
        deployed: what it leads to (`goal`).
        before: what it runs.
        seen: what is seen at each of the declared targets.
        filling: what its values make of the release's templates.
        rules: what its policy says.
    """
    serving = before.current
    again = serving is not None and serving.identity == deployed.identity
    after = State(
        environment=environment.name,
        current=deployed,
        previous=before.previous if again else before.current,
        source=environment.source,
        expires=environment.expires,
    )
    return Plan(
        action="apply",
        environment=environment,
        admitted=admitted,
        before=before,
        after=after,
        steps=_steps(deployed, seen),
        rules=rules,
        filling=filling,
    )


def plan_rollback(
    before: State,
    previous: Deployed,
    admitted: Admitted,
    seen: Sequence[Sight],
    now: datetime,
    filling: Filling = NOTHING,
    rules: tuple[Verdict, ...] = NO_RULES,
) -> Plan:
    """What returns the environment to the release that served before.

    Args:
        before: what it runs.
        previous: what it returns to, and
        admitted: the release of that (both `former`).
        seen: what is seen at each of its targets.
        now: the time of the return.
        filling: what its values make of the release's templates now.
        rules: what the policy of what serves says.
    """
    environment = previous.declared
    deployed = Deployed(
        release=previous.release,
        version=previous.version,
        manifest=previous.manifest,
        environment=previous.environment,
        time=now,
        variant=filling.variant,
        revision=previous.revision,
    )
    return Plan(
        action="rollback",
        environment=environment,
        admitted=admitted,
        before=before,
        after=State(
            environment=before.environment,
            current=deployed,
            previous=before.current,
            source=before.source,
            expires=before.expires,
        ),
        steps=_steps(deployed, seen),
        rules=rules,
        filling=filling,
    )


def _steps(deployed: Deployed, seen: Sequence[Sight]) -> tuple[Step, ...]:
    identity = deployed.identity
    return tuple(
        Step(
            kind=sight.kind,
            place=sight.place,
            action="switch" if sight.serving != identity else "repair" if sight.problem else "none",
            before=sight.serving,
            after=identity,
            problem=sight.problem if sight.serving == identity else None,
        )
        for sight in seen
    )
