"""The outlook: what a site's environments run and what would be done there, looked at without changing anything."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Literal

from sealift.errors import SealiftError, UsageError
from sealift.plugins import kinds
from sealift.progress import Progress

from .approval import Signed, approved
from .declaring import told
from .deployments import Deployed, Deployments, State
from .environments.environment import Environment, TargetWanted
from .environments.filling import NOTHING, Filling, filled
from .environments.filling import key as variant_key
from .masking import Masks
from .planning import Plan, former, goal, plan_apply, plan_rollback, wanted
from .policies.freeze import moment
from .policies.policy import NO_RULES, Facts, Verdict, judge
from .records.site import Site
from .records.state import Admitted
from .signers import signers
from .slots import Slots
from .storage.deployable import Deployable
from .storage.store import Store
from .strategies import Composed
from .target import Shared, Sight, Target, Workplace, owned_place

_CHANGED = (
    "its filled files cannot be compared: a secret is another one now, or cannot be had; "
    "apply again, so that it serves with what is so now"
)


def _owned(composed: Composed) -> set[str]:
    """The places that targets have to themselves, those in slots included."""
    owned = {owned_place(target) for _, target in composed if not isinstance(target, Shared)}
    return owned.union(*(target.places for _, target in composed if isinstance(target, Slots)))


class Outlook:
    """A site's environments, looked at."""

    def __init__(
        self,
        site: Site,
        *,
        workers: int,
        progress: Progress,
        clock: Callable[[], datetime],
        approvals: Sequence[Signed] = (),
        take_over: bool = False,
        deep: bool = False,
    ) -> None:
        """Take a site.

        Args:
            site: the site.
            workers: processes that targets may use.
            progress: told the bytes of each step.
            clock: says the time.
            approvals: signed approvals that a policy may ask for.
            take_over: whether an environment may be governed by another source from now on.
            deep: whether to compare all that serves with its release, to repair what is not as it should be.
        """
        self.site = site
        self.deployments = Deployments(site.environments)
        self._store = Store(site.store)
        self._workers = workers
        self._progress = progress
        self._clock = clock
        self._approvals = tuple(approvals)
        self._take_over = take_over
        self._deep = deep

    def targets(self, environment: Environment, operation: str | None = None) -> list[Target]:
        """The targets of an environment, as its strategy puts them together."""
        return [target for _, target in self._composed(environment, operation)]

    def _composed(self, environment: Environment, operation: str | None = None) -> Composed:
        """The targets of an environment, each with its kind.

        Args:
            environment: what is declared.
            operation: the identity of the operation that they are for.

        Raises:
            UsageError: a kind is unknown.
        """
        known = kinds("installer.targets", "sealift.targets")
        if unknown := sorted({each.kind for each in environment.targets} - known.keys()):
            raise UsageError(
                f"environment {environment.name} has a target of the unknown kind {unknown[0]!r}",
                hint="install what offered that kind when it was deployed",
            )
        workplace = Workplace(
            store=self._store,
            workers=self._workers,
            progress=self._progress,
            environment=environment.name,
            rooms=self.deployments.rooms(environment.name),
            operation=operation,
        )
        strategies = kinds("installer.strategies", "sealift.strategies")
        if (strategy := environment.strategy).kind not in strategies:
            raise UsageError(
                f"environment {environment.name} has the unknown strategy {strategy.kind!r}",
                hint="install what offered that strategy when it was deployed",
            )

        def make(wanted: TargetWanted) -> Target:
            target: Target = known[wanted.kind].target(wanted.settings, workplace)
            return target

        composed: Composed = strategies[strategy.kind].compose(strategy.settings, environment.targets, make, workplace)
        places = [(kind, target.place) for kind, target in composed]
        if twice := sorted({place for place in places if places.count(place) > 1}):
            kind, where = twice[0]
            raise UsageError(
                f"environment {environment.name} has two targets {kind} at {where}",
                hint="name what goes there in one target, or give each a place of its own",
            )
        return composed

    def plan(self, environment: Environment, *, locked: bool = False) -> Plan:
        """What `apply` of this environment would do now.

        Args:
            environment: what is declared.
            locked: whether the site's lock is held, so that what it lacks to fill templates may be made.

        Raises:
            UsageError: it cannot be done.
        """
        before = self.deployments.state(environment.name)
        if before.source not in (None, environment.source) and not self._take_over:
            raise UsageError(
                f"environment {environment.name} is governed by {told(before.source)}, and not by "
                f"{told(environment.source)}",
                hint="change what governs it; or let this govern it from now on: apply with --take-over",
            )
        admitted = wanted(environment, self.site.state)
        composed = self._composed(environment)
        self._check_apart(environment.name, composed, held=self._places(environment.name))
        rules = self._judge(environment, admitted, "apply", before)
        refused = not all(rule.passes for rule in rules)
        filling = NOTHING if refused else self._filling(environment, admitted, locked=locked)
        aim = goal(environment, admitted, before, filling, self._clock())
        deployable = replace(
            self._deployable(admitted), filled=filling.files, variant=aim.variant, revision=aim.revision
        )
        masks = Masks(before.current.declared if before.current else None, known=filling.secrets)
        seen = self._seen(composed, None if refused else deployable, masks, deep=self._deep)
        return plan_apply(environment, admitted, aim, before, seen, filling, rules)

    def _check_apart(self, own: str, composed: Composed, *, held: Collection[str] = (), hint: str = "") -> None:
        """Refuse places of `own` that another environment is deployed to as well, where they cannot share them.

        Args:
            own: the name of the environment.
            composed: its targets.
            held: places that it has already, which it keeps.
            hint: what to do, where it is not to give one of them another place.

        Raises:
            UsageError: there are some.
        """
        places = _owned(composed) - set(held)
        for name in self.deployments.names():
            if name != own and (taken := sorted(places & self._places(name))):
                raise UsageError(
                    f"environment {name} is deployed to {', '.join(taken)} as well",
                    hint=hint or f"give environment {own} targets of its own, or remove the other: env remove {name}",
                )

    def _places(self, name: str) -> set[str]:
        """Where an environment is deployed to, and no other can be; nowhere where its targets are no longer known."""
        current = self.deployments.state(name).current
        if current is None:
            return set()
        with contextlib.suppress(UsageError):
            return _owned(self._composed(current.declared))
        return set()

    def plan_rollback(self, name: str, *, locked: bool = False) -> Plan:
        """What `rollback` of this environment would do now; arguments and errors as for `plan`."""
        before = self.deployments.state(name)
        previous, admitted = former(before, self.site.state)
        filling = self._filling(previous.declared, admitted, locked=locked)
        assert before.current is not None
        rules = self._judge(before.current.declared, admitted, "rollback", before)
        composed = self._composed(previous.declared)
        self._check_apart(name, composed, held=self._places(name))
        seen = self._seen(composed, None, Masks(before.current.declared, known=filling.secrets))
        return plan_rollback(before, previous, admitted, seen, self._clock(), filling, rules)

    def _judge(
        self, environment: Environment, admitted: Admitted, action: Literal["apply", "rollback"], before: State
    ) -> tuple[Verdict, ...]:
        """What the policy of an environment says of a release; of a rollback, the policy of what serves.

        A declaration cannot do away with the policy that what serves was deployed under: both must pass, unless this
        very command says that another source, or another policy of it, is to govern from now on (`take_over`).
        """
        former = before.current.declared if before.current else None
        rules = self._verdicts(environment, admitted, action, before)
        if former is None or former.policy in ("none", environment.policy) or self._take_over:
            return rules
        return (*self._verdicts(replace(environment, policy=former.policy), admitted, action, before), *rules)

    def _verdicts(
        self, environment: Environment, admitted: Admitted, action: Literal["apply", "rollback"], before: State
    ) -> tuple[Verdict, ...]:
        if environment.policy == "none":
            return NO_RULES
        state, reference = self.site.state, self.site.reference(self._clock())
        if before.current:
            reference = max(reference, before.current.time)
        asked = environment.policy.signers
        facts = Facts(
            action=action,
            release=admitted.name,
            version=admitted.version,
            published=moment(admitted.published) if admitted.published else None,
            signers=signers(state.trust, admitted) if asked else frozenset(),
            reference=reference,
            approved=approved(self._approvals, environment, admitted, state, reference),
        )
        return judge(environment.policy, facts)

    def _filling(self, environment: Environment, admitted: Admitted, *, locked: bool) -> Filling:
        key = variant_key(self.site.path, make=locked)
        return filled(environment, self._deployable(admitted), self._store, key)

    def inspect(self, deployed: Deployed, *, deep: bool) -> list[tuple[Target, str | None]]:
        """Each target of a deployment, and what is wrong with what should serve there."""
        admitted = self.site.state.release(deployed.release, deployed.version)
        found: list[tuple[Target, str | None]] = []
        masks = Masks(deployed.declared)
        for target in self.targets(deployed.declared):
            try:
                if admitted is None:
                    found.append((target, f"the site no longer holds {deployed.label}"))
                else:
                    deployable, whole = self._as_deployed(deployed, admitted, deep=deep)
                    problem = target.check(deployable, deep=deep and whole)
                    found.append((target, masks.of(problem) if problem else None if whole else _CHANGED))
            except SealiftError as error:
                found.append((target, masks.of(error.message)))
        return found

    def _as_deployed(self, deployed: Deployed, admitted: Admitted, *, deep: bool) -> tuple[Deployable, bool]:
        """A deployment with what was filled in it, and whether that could be made again: a secret may be another."""
        deployable = replace(self._deployable(admitted), variant=deployed.variant, revision=deployed.revision)
        if not deployed.variant or not deep:
            return deployable, True
        with contextlib.suppress(UsageError):
            filling = self._filling(deployed.declared, admitted, locked=False)
            if filling.variant == deployed.variant:
                return replace(deployable, filled=filling.files), True
        return deployable, False

    def _seen(self, composed: Composed, wanted: Deployable | None, masks: Masks, *, deep: bool = False) -> list[Sight]:
        """What is seen at each target.

        Args:
            composed: the targets.
            wanted: what should serve; where it does, its target is asked what is wrong with it.
            masks: what is not to be told.
            deep: whether all that it holds is compared.

        Raises:
            SealiftError: one or more cannot be looked at; all of them are named.
        """
        sights, failed = [], []
        for kind, target in composed:
            try:
                serving = target.current()
                problem = None
                if wanted is not None and serving == wanted.identity:
                    found = target.check(wanted, deep=deep)
                    problem = masks.of(found) if found else None
                sights.append(Sight(kind=kind, place=target.place, serving=serving, problem=problem))
            except SealiftError as error:
                masks.over(error)
                failed.append(error)
        if len(failed) > 1:
            told = "; ".join(error.message for error in failed)
            raise type(failed[0])(
                f"{len(failed)} targets cannot be looked at: {told}", hint=failed[0].hint
            ) from failed[0]
        if failed:
            raise failed[0]
        return sights

    def _deployable(self, admitted: Admitted) -> Deployable:
        return Deployable(release=self._store.held(admitted.part), part=admitted.part)
