"""Returning: an operation's journal, and what undoes or finishes what it tells of.

Every step that changes something is in the journal before it is taken. What fails or is killed before
the commit is returned to the former release, by this run or by the next; what was committed is finished.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from sealift.errors import DeployError, SealiftError, StoreError, StrandedError, UsageError

from .deployments import Journal, Phase, State
from .masking import Masks
from .outlook import Outlook
from .target import Prunable, Target

_EVENTS = {"apply": "deployed", "rollback": "rolled-back", "remove": "undeployed"}
_AGAIN = {
    "apply": "apply again",
    "rollback": "roll back again, or apply another version",
    "remove": "remove it again",
}


def masks_of(journal: Journal, known: Mapping[str, str] | None = None) -> Masks:
    """The masks of what an operation deploys and of what served before, with the secrets that were filled in."""
    former = journal.before.current
    return Masks(journal.goal.declared if known is None else None, former.declared if former else None, known=known)


def masks_in(state: State) -> Masks:
    """The masks of what serves, and of what served before: targets may still have what that filled in."""
    return Masks(*(each.declared for each in (state.current, state.previous) if each))


class Returning(Outlook):
    """A site's environments, and the operation that is under way in one."""

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
                    masks = masks_of(journal)
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
        with masks_of(journal).upon(), contextlib.suppress(UsageError):  # nothing is asked for what nobody is told
            return all(target.current() == wanted for target in self.targets(journal.goal.declared))
        return False

    def prune(self, state: State, keep: Collection[str]) -> int:
        """Remove what is staged at the targets of what serves, but these identities and that; how many those were.

        Raises:
            StoreError: a disk refuses.
            DeployError: a target does.
        """
        if state.current is None:
            return 0
        targets = self.targets(state.current.declared)
        with masks_in(state).upon():
            return sum(target.prune(keep) for target in targets if isinstance(target, Prunable))

    def _advance(self, journal: Journal, phase: Phase) -> Journal:
        journal = msgspec.structs.replace(journal, phase=phase)
        self.deployments.keep_journal(journal)
        return journal

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
            self.prune(journal.before, ())
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
