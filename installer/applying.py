"""The deployment: plan (pure) → journal → stage → switch → health → commit → ledger.

Every step that changes something is in the journal before it is taken. What fails or is killed before
the commit is returned to the former release, by this run or by the next; what was committed is finished.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from sealift.errors import DeployError, PolicyError, SealiftError, StoreError, StrandedError, UsageError

from .deployments import Deployed, Journal, Phase, State
from .environments.environment import Environment
from .health import unhealthy
from .hooking import run_hooks, variables
from .masking import Masks
from .outlook import Outlook
from .planning import Plan
from .storage.deployable import Deployable
from .target import Prunable, Repairable, Staged, Target

_EVENTS = {"apply": "deployed", "rollback": "rolled-back", "remove": "undeployed"}
_AGAIN = {
    "apply": "apply again",
    "rollback": "roll back again, or apply another version",
    "remove": "remove it again",
}


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


def _masks(journal: Journal, known: Mapping[str, str] | None = None) -> Masks:
    """The masks of what an operation deploys and of what served before, with the secrets that were filled in."""
    former = journal.before.current
    return Masks(journal.goal.declared if known is None else None, former.declared if former else None, known=known)


class Installation(Outlook):
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

    def recover(self, name: str) -> str | None:
        """Finish or undo what a killed operation left, the lock being held; say what was done.

        Raises:
            StrandedError: the former release could not be returned.
        """
        self.deployments.sweep(name)
        journal = self.deployments.journal(name)
        if journal is None:
            return None
        goal = journal.goal
        if journal.phase == "committing" and self._serves(journal):
            self._finish(journal)
            done = f"found the {journal.noun} of {goal.label} checked but not recorded, and finished it"
        else:
            if journal.phase != "staging":
                targets = self.targets(goal.declared, journal.operation)
                if failed := _returned(journal, targets):
                    masks = _masks(journal)
                    raise self._stranded(journal, "it was interrupted", [masks.of(each) for each in failed])
            self.deployments.end_journal(name)
            former = journal.before.current
            done = (
                f"found the {journal.noun} of {goal.label} interrupted while {journal.phase}, "
                f"and undid it: {former.label if former else 'nothing'} serves"
            )
        self.site.record(
            "recovered", {"environment": name, "operation": journal.operation, "what": done}, self._clock()
        )
        return done

    def _serves(self, journal: Journal) -> bool:
        """Whether all its targets are as it leaves them: not so where a disk that failed kept it from the record."""
        wanted = journal.after.current.identity if journal.after.current else None
        with contextlib.suppress(UsageError), _masks(journal).upon():
            return all(target.current() == wanted for target in self.targets(journal.goal.declared))
        return False

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
            masks = Masks(state.current.declared)
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

    def prune(self, environment: Environment, keep: Collection[str]) -> int:
        """Remove what is staged at an environment's targets, but these identities and what serves; how many those were.

        Raises:
            StoreError: a disk refuses.
            DeployError: a target does.
        """
        with Masks(environment).upon():
            return sum(target.prune(keep) for target in self.targets(environment) if isinstance(target, Prunable))

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
        masks = _masks(journal, plan.filling.secrets)
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

    def _advance(self, journal: Journal, phase: Phase) -> Journal:
        journal = msgspec.structs.replace(journal, phase=phase)
        self.deployments.keep_journal(journal)
        return journal

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

    @contextlib.contextmanager
    def _failing(self, journal: Journal, targets: Sequence[Target], masks: Masks) -> Iterator[None]:
        """Undo what was begun when anything fails, Ctrl-C included, and record it."""
        try:
            yield
        except BaseException as error:
            failed = _returned(journal, targets) if journal.phase == "switching" else []
            if isinstance(error, SealiftError):
                masks.over(error)
                reason = error.message
            else:
                reason = "it was interrupted" if isinstance(error, KeyboardInterrupt) else masks.of(repr(error))
            if failed:
                raise self._stranded(journal, reason, [masks.of(each) for each in failed]) from error
            former = journal.before.current
            serving = f"{former.label} serves" if former else "nothing was deployed before, and nothing serves"
            with contextlib.suppress(StoreError):  # then the journal stays, and the next command records it
                self._note("returned", journal, {"reason": reason})
                self.deployments.end_journal(journal.after.environment)
            if isinstance(error, DeployError):
                again = _AGAIN[journal.action]
                raise DeployError(f"{error.message}", hint=f"{serving}; mend the cause, then {again}") from error
            raise

    def _stranded(self, journal: Journal, reason: str, failed: Sequence[str]) -> StrandedError:
        """The error of a return that failed; the journal stays, so that the next command tries again."""
        with contextlib.suppress(StoreError):
            self._note("stranded", journal, {"reason": reason, "failed": list(failed)})
        return StrandedError(
            f"the deployment failed ({reason}) and could not be returned: " + "; ".join(failed),
            hint="mend what is named, then run the same command again: it returns the former release first",
        )

    def _finish(self, journal: Journal) -> None:
        """Record a checked deployment, or a removal; may be repeated."""
        name = journal.after.environment
        if journal.action == "remove":
            self.prune(journal.goal.declared, ())
        else:
            self.deployments.keep_state(journal.after)
        if not self._recorded(journal.operation):
            self._note(_EVENTS[journal.action], journal, {})
        if journal.action == "remove":
            self.deployments.remove(name)
        else:
            self.deployments.end_journal(name)

    def _recorded(self, operation: str) -> bool:
        return any(
            entry.detail.get("operation") == operation and entry.event in _EVENTS.values()
            for entry in self.site.ledger.read()
        )

    def _note(self, event: str, journal: Journal, more: Mapping[str, object]) -> None:
        goal, former = journal.goal, journal.before.current
        unsafe = [
            f"targets[{number}] ({target.kind})"
            for number, target in enumerate(goal.declared.targets)
            if target.without_tls
        ]
        self.site.record(
            event,
            {
                "environment": journal.after.environment,
                "operation": journal.operation,
                "action": journal.action,
                "release": goal.label,
                "manifest": goal.manifest,
                "former": former.label if former else None,
                **({"unsafe_http": unsafe} if unsafe else {}),
                **more,
            },
            self._clock(),
        )


def _returned(journal: Journal, targets: Sequence[Target]) -> list[str]:
    """Let what served before serve again at every target; why some refuse, in words that are not masked yet.

    Nothing is asked for before that: a secret may be long in coming, and meanwhile the wrong release serves.
    """
    failed = []
    for target, identity in reversed(list(zip(targets, journal.served, strict=True))):
        try:
            if target.current() != identity:
                target.activate(identity)
        except Exception as error:  # the others are returned all the same
            why = error.message if isinstance(error, SealiftError) else repr(error)
            failed.append(f"{target.place} should serve {identity or 'nothing'}: {why}")
    return failed
