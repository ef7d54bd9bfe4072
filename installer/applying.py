"""The deployment: plan (pure) → journal → stage → switch → health → commit → ledger.

Every step that changes something is in the journal before it is taken. What fails or is killed before
the commit is returned to the former release, by this run or by the next; what was committed is finished.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec

from sealift.errors import DeployError, SealiftError, StoreError, StrandedError, UsageError
from sealift.plugins import kinds
from sealift.progress import Progress

from .deployable import Deployable
from .deployments import Deployed, Deployments, Journal, Phase, State
from .environment import Environment, TargetWanted
from .filling import Filling, filled
from .filling import key as variant_key
from .health import unhealthy
from .hooking import run_hooks, variables
from .planning import Plan, former, plan_apply, plan_rollback, wanted
from .site import Site
from .state import Admitted
from .store import Store
from .strategies import Composed
from .targets import Sight, Staged, Target, Workplace

_CHANGED = (
    "its filled files cannot be compared: a secret is another one now, or cannot be had; "
    "apply again, so that it serves with what is so now"
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an operation did."""

    plan: Plan
    recovered: str | None
    """What was found of a killed operation, and done about it."""
    changed: bool
    written: int = 0
    reused: int = 0
    """Bytes that were written, and taken from the former release."""


class Installation:
    """A site's environments, and what changes them."""

    def __init__(
        self,
        site: Site,
        *,
        workers: int,
        progress: Progress,
        clock: Callable[[], datetime],
    ) -> None:
        self.site = site
        self.deployments = Deployments(site.environments)
        self._store = Store(site.store)
        self._workers = workers
        self._progress = progress
        self._clock = clock

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
        filling = self._filling(environment, wanted(environment, self.site.state), locked=locked)
        return plan_apply(environment, before, self.site.state, self._seen(environment), self._clock(), filling)

    def plan_rollback(self, name: str, *, locked: bool = False) -> Plan:
        """What `rollback` of this environment would do now; arguments and errors as for `plan`."""
        before = self.deployments.state(name)
        previous, admitted = former(before, self.site.state)
        filling = self._filling(previous.declared, admitted, locked=locked)
        return plan_rollback(before, self.site.state, self._seen(previous.declared), self._clock(), filling)

    def _filling(self, environment: Environment, admitted: Admitted, *, locked: bool) -> Filling:
        key = variant_key(self.site.path, make=locked)
        return filled(environment, self._deployable(admitted), self._store, key)

    def apply(self, environment: Environment) -> Outcome:
        """Make the environment what it declares.

        Raises:
            UsageError: it cannot be done.
            IntegrityError, StoreError: the store or the disk fails; the former release serves.
            DeployError: a hook or a health check fails; the former release serves.
            StrandedError: and it could not be returned.
        """
        return self._operate(environment.name, lambda: self.plan(environment, locked=True))

    def rollback(self, name: str) -> Outcome:
        """Return the environment to the release that served before; raises as `apply`.

        Where this finishes a rollback that was killed, it is that rollback: it does not turn back once more.
        """
        return self._operate(name, lambda: self.plan_rollback(name, locked=True))

    def recover(self, name: str) -> str | None:
        """Finish or undo what a killed operation left, the lock being held; say what was done.

        Raises:
            StrandedError: the former release could not be returned.
        """
        self.deployments.sweep(name)
        journal = self.deployments.journal(name)
        if journal is None:
            return None
        goal = journal.after.current
        assert goal is not None
        if journal.phase == "committing" and self._serves(goal):
            self._finish(journal)
            done = f"found the {journal.action} of {goal.label} checked but not recorded, and finished it"
        else:
            if journal.phase != "staging":
                self._return(journal, self.targets(goal.declared, journal.operation), "it was interrupted")
            self.deployments.end_journal(name)
            former = journal.before.current
            done = (
                f"found the {journal.action} of {goal.label} interrupted while {journal.phase}, "
                f"and undid it: {former.label if former else 'nothing'} serves"
            )
        self.site.record(
            "recovered", {"environment": name, "operation": journal.operation, "what": done}, self._clock()
        )
        return done

    def _serves(self, goal: Deployed) -> bool:
        """Whether a release serves at all its targets: not so where a disk that failed kept it from the record."""
        with contextlib.suppress(UsageError):
            return all(target.current() == goal.identity for target in self.targets(goal.declared))
        return False

    def inspect(self, deployed: Deployed, *, deep: bool) -> list[tuple[Target, str | None]]:
        """Each target of a deployment, and what is wrong with what should serve there."""
        admitted = self.site.state.release(deployed.release, deployed.version)
        found: list[tuple[Target, str | None]] = []
        for target in self.targets(deployed.declared):
            try:
                if admitted is None:
                    found.append((target, f"the site no longer holds {deployed.label}"))
                else:
                    deployable, whole = self._as_deployed(deployed, admitted, deep=deep)
                    problem = target.check(deployable, deep=deep and whole)
                    found.append((target, problem or (None if whole else _CHANGED)))
            except SealiftError as error:
                found.append((target, error.message))
        return found

    def _as_deployed(self, deployed: Deployed, admitted: Admitted, *, deep: bool) -> tuple[Deployable, bool]:
        """A deployment with what was filled in it, and whether that could be made again: a secret may be another."""
        deployable = replace(self._deployable(admitted), variant=deployed.variant)
        if not deployed.variant or not deep:
            return deployable, True
        with contextlib.suppress(UsageError):
            filling = self._filling(deployed.declared, admitted, locked=False)
            if filling.variant == deployed.variant:
                return replace(deployable, filled=filling.files), True
        return deployable, False

    def _seen(self, environment: Environment) -> list[Sight]:
        return [
            Sight(kind=kind, place=target.place, serving=target.current())
            for kind, target in self._composed(environment)
        ]

    def _operate(self, name: str, planned: Callable[[], Plan]) -> Outcome:
        with self.site.lock():
            journal = self.deployments.journal(name)
            recovered = self.recover(name)
            state = self.deployments.state(name)
            if journal and journal.action == "rollback" and state == journal.after and state.current:
                plan = self.plan(state.current.declared, locked=True)
            else:
                plan = planned()
            if not plan.pending:
                return Outcome(plan=plan, recovered=recovered, changed=False)
            try:
                staged = self._carry_out(plan)
            except SealiftError as error:
                if recovered:
                    error.hint = f"before that, this command {recovered}" + (f"; {error.hint}" if error.hint else "")
                raise
            return Outcome(
                plan=plan,
                recovered=recovered,
                changed=True,
                written=sum(each.written for each in staged),
                reused=sum(each.reused for each in staged),
            )

    def _carry_out(self, plan: Plan) -> list[Staged]:
        journal = Journal(
            operation=secrets.token_hex(8),
            action=plan.action,
            phase="staging",
            before=plan.before,
            after=plan.after,
            served=tuple(step.before for step in plan.steps),
        )
        targets = self.targets(plan.environment, journal.operation)
        self.deployments.keep_journal(journal)
        with self._failing(journal, targets):
            deployable = replace(
                self._deployable(plan.admitted), filled=plan.filling.files, variant=plan.filling.variant
            )
            staged = self._stage(plan, deployable, targets)
            run_hooks(plan, deployable.release, staged, "before")
            journal = self._advance(journal, "switching")
        with self._failing(journal, targets):
            for step, target in zip(plan.steps, targets, strict=True):
                target.activate(step.after)
                if problem := target.check(deployable, deep=False):
                    raise DeployError(problem)
            run_hooks(plan, deployable.release, staged, "after")
            if problem := unhealthy(plan.environment.health, variables=variables(plan)):
                raise DeployError(problem)
            journal = self._advance(journal, "committing")
        try:
            self._finish(journal)
        except StoreError as error:
            raise StoreError(
                f"{plan.admitted.label} serves, but the site could not record it: {error.message}",
                hint="mend the disk or make room, then run the same command again: it records what is missing",
            ) from error
        return staged

    def _advance(self, journal: Journal, phase: Phase) -> Journal:
        journal = msgspec.structs.replace(journal, phase=phase)
        self.deployments.keep_journal(journal)
        return journal

    def _stage(self, plan: Plan, deployable: Deployable, targets: Sequence[Target]) -> list[Staged]:
        former = self._former(plan.before)
        total = sum(artifact.bytes for artifact in deployable.release.artifacts)
        staged = []
        for target in targets:
            self._progress.start(f"deploying {plan.admitted.label} to {target.place}", total)
            staged.append(target.stage(deployable, former))
            self._progress.finish()
        return staged

    def _deployable(self, admitted: Admitted) -> Deployable:
        return Deployable(release=self._store.held(admitted.part), part=admitted.part)

    def _former(self, before: State) -> Deployable | None:
        """The release that serves, if the site still holds it whole enough to take files from its folder."""
        if before.current is None:
            return None
        admitted = self.site.state.release(before.current.release, before.current.version)
        if admitted is None:
            return None
        with contextlib.suppress(SealiftError):
            return replace(self._deployable(admitted), variant=before.current.variant)
        return None

    @contextlib.contextmanager
    def _failing(self, journal: Journal, targets: Sequence[Target]) -> Iterator[None]:
        """Undo what was begun when anything fails, Ctrl-C included, and record it."""
        try:
            yield
        except BaseException as error:
            if isinstance(error, SealiftError):
                reason = error.message
            else:
                reason = "it was interrupted" if isinstance(error, KeyboardInterrupt) else repr(error)
            if journal.phase == "switching":
                self._return(journal, targets, reason)
            former = journal.before.current
            serving = f"{former.label} serves" if former else "nothing was deployed before, and nothing serves"
            with contextlib.suppress(StoreError):  # then the journal stays, and the next command records it
                self._note("returned", journal, {"reason": reason})
                self.deployments.end_journal(journal.after.environment)
            if isinstance(error, DeployError):
                again = "apply again" if journal.action == "apply" else "roll back again, or apply another version"
                raise DeployError(f"{error.message}", hint=f"{serving}; mend the cause, then {again}") from error
            raise

    def _return(self, journal: Journal, targets: Sequence[Target], reason: str) -> None:
        """Let what served before serve again at every target.

        Raises:
            StrandedError: one refuses; the journal stays, so that the next command tries again.
        """
        failed = []
        for target, identity in reversed(list(zip(targets, journal.served, strict=True))):
            try:
                if target.current() != identity:
                    target.activate(identity)
            except (DeployError, StoreError, UsageError) as error:
                failed.append(f"{target.place} should serve {identity or 'nothing'}: {error.message}")
        if failed:
            with contextlib.suppress(StoreError):
                self._note("stranded", journal, {"reason": reason, "failed": failed})
            raise StrandedError(
                f"the deployment failed ({reason}) and could not be returned: " + "; ".join(failed),
                hint="mend what is named, then run the same command again: it returns the former release first",
            )

    def _finish(self, journal: Journal) -> None:
        """Record a checked deployment; may be repeated."""
        name = journal.after.environment
        self.deployments.keep_state(journal.after)
        if not self._recorded(journal.operation):
            self._note("deployed" if journal.action == "apply" else "rolled-back", journal, {})
        self.deployments.end_journal(name)

    def _recorded(self, operation: str) -> bool:
        return any(
            entry.detail.get("operation") == operation and entry.event in ("deployed", "rolled-back")
            for entry in self.site.ledger.read()
        )

    def _note(self, event: str, journal: Journal, more: Mapping[str, object]) -> None:
        goal, former = journal.after.current, journal.before.current
        assert goal is not None
        self.site.record(
            event,
            {
                "environment": journal.after.environment,
                "operation": journal.operation,
                "action": journal.action,
                "release": goal.label,
                "manifest": goal.manifest,
                "former": former.label if former else None,
                **more,
            },
            self._clock(),
        )
