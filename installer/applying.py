"""The deployment: plan (pure) → journal → stage → switch → health → commit → ledger; `returning` has what undoes it."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sealift.errors import DeployError, PolicyError, SealiftError, StoreError, UsageError

from .deployments import Deployed, Journal, State
from .environments.environment import Environment
from .health import unhealthy
from .hooking import run_hooks, variables
from .planning import Plan
from .returning import Returning, masks_in, masks_of
from .storage.deployable import Deployable
from .target import Repairable, Staged, Target


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


@dataclass(frozen=True, kw_only=True)
class Removed:
    """What a removal did."""

    environment: str
    label: str | None
    """What it ran; None where that was nothing any more."""
    places: tuple[str, ...]
    """Where nothing of it serves now."""
    recovered: str | None
    """What was found of a killed operation, and done about it."""


def _again(state: State, current: Deployed) -> Environment:
    """What an environment runs, as what is declared: the very version, by what governs it."""
    declared = current.declared
    return replace(declared, version=current.version, source=state.source or declared.source, expires=state.expires)


class Installation(Returning):
    """A site's environments, and what changes them."""

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

    def remove(self, name: str) -> Removed:
        """Let nothing of an environment serve any more, and forget it; raises as `apply`.

        What was staged at its targets is removed as far as they can let go of it. The release stays at the site.
        """
        with self.site.lock():
            known = name in self.deployments.names()
            recovered = self.recover(name)
            state = self.deployments.state(name)
            if state.current is None:
                if not known:
                    raise UsageError(f"there is no environment {name}", hint="see which there are: env list")
                if name in self.deployments.names():
                    self.deployments.remove(name)
                return Removed(environment=name, label=None, places=(), recovered=recovered)
            composed = self._composed(state.current.declared)
            self._check_apart(name, composed, hint="apply one of them with a place of its own first, then remove it")
            targets = [target for _, target in composed]
            masks = masks_in(state)
            with masks.upon():
                served = tuple(target.current() for target in targets)
            journal = Journal(
                operation=secrets.token_hex(8),
                action="remove",
                phase="switching",
                before=state,
                after=State(environment=name),
                served=served,
            )
            self.deployments.keep_journal(journal)
            with self._failing(journal, targets, masks):
                for target in reversed(targets):
                    if target.current() is not None:
                        target.activate(None)
                journal = self._advance(journal, "committing")
            self._finish(journal)
            places = tuple(target.place for target in targets)
            return Removed(environment=name, label=state.current.label, places=places, recovered=recovered)

    def _operate(self, name: str, planned: Callable[[], Plan]) -> Outcome:
        with self.site.lock():
            journal = self.deployments.journal(name)
            recovered = self.recover(name)
            state = self.deployments.state(name)
            if journal and journal.action == "rollback" and state == journal.after and state.current:
                plan = self.plan(_again(state, state.current), locked=True)
            else:
                plan = planned()
            if not plan.pending:
                return Outcome(plan=plan, recovered=recovered, changed=False)
            if plan.refused:
                raise self._withheld(plan)
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

    def _withheld(self, plan: Plan) -> PolicyError:
        """The error of a deployment that the policy refuses, once the ledger says so."""
        reasons = [str(rule) for rule in plan.refused]
        self.site.record(
            "withheld",
            {
                "environment": plan.environment.name,
                "action": plan.action,
                "release": plan.admitted.label,
                "rules": reasons,
            },
            self._clock(),
        )
        return PolicyError(
            f"the policy of environment {plan.environment.name} refuses {plan.admitted.label}: " + "; ".join(reasons),
            hint="see each rule with sealift-install plan; nothing was changed",
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
        goal = journal.goal
        masks = masks_of(journal, plan.filling.secrets)
        with self._failing(journal, targets, masks):
            deployable = replace(
                self._deployable(plan.admitted), filled=plan.filling.files, variant=goal.variant, revision=goal.revision
            )
            staged = self._stage(plan, deployable, targets)
            run_hooks(plan, deployable.release, staged, "before")
            journal = self._advance(journal, "switching")
        with self._failing(journal, targets, masks):
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

    def _stage(self, plan: Plan, deployable: Deployable, targets: Sequence[Target]) -> list[Staged]:
        former = self._former(plan.before)
        total = sum(artifact.bytes for artifact in deployable.release.artifacts)
        staged = []
        for step, target in zip(plan.steps, targets, strict=True):
            self._progress.start(f"deploying {plan.admitted.label} to {target.place}", total)
            if step.action == "repair" and isinstance(target, Repairable):
                staged.append(target.repair(deployable))
            else:
                staged.append(target.stage(deployable, former))
            self._progress.finish()
        return staged

    def _former(self, before: State) -> Deployable | None:
        """The release that serves, if the site still holds it whole enough to take files from its folder."""
        if before.current is None:
            return None
        admitted = self.site.state.release(before.current.release, before.current.version)
        if admitted is None:
            return None
        with contextlib.suppress(SealiftError):
            return replace(self._deployable(admitted), variant=before.current.variant, revision=before.current.revision)
        return None
