"""Two slots, of which one serves while the other is made ready: what blue/green and canary deployments stand on.

To whoever applies, the slots are one target. Staging writes a release into the slot that gets no traffic. Activating
lets it run there, asks whether it is well, and moves the traffic. The slot that served before is kept as it is, so a
return moves the traffic alone.

What the slots hold is remembered in the target's room (`Record`), written before the traffic moves and after it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from sealift.durable import make_folder, write_file
from sealift.errors import DeployError, StoreError, UsageError
from sealift.hooks import Hook
from sealift.reading import bounded

from .balancers import Balancer, Count
from .environments.environment import Check
from .health import unhealthy
from .programs import commands
from .storage.deployable import Deployable
from .target import Prunable, Repairable, Shared, Staged, Target, owned_place

FILE = "slots.json"
SIZE_MAX = 64 << 10
_UNSETTLED = "a change of the traffic whose end is not known"


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A place where a release can run beside another."""

    name: str
    address: str
    """Where it answers: host and port."""
    targets: tuple[Target, ...]
    start: Hook | None
    """Lets what was activated run, whatever ran there before."""
    health: tuple[Check, ...]

    def variables(self) -> dict[str, str]:
        """What a program's environment says of it."""
        return {"SEALIFT_SLOT": self.name, "SEALIFT_ADDRESS": self.address}


@dataclass(frozen=True, kw_only=True)
class Step:
    """A share of the traffic for the new release, and how long it is watched there."""

    share: int
    """Percent."""
    seconds: int


@dataclass(frozen=True, kw_only=True)
class Course:
    """How the traffic moves to a new release."""

    steps: tuple[Step, ...] = ()
    """Before all of it."""
    hold: int | None = None
    """The share, in percent, at which the new release stays; None for all."""
    errors: float | None = None
    """Failed requests of the new release that are borne at each step, in percent; None where they do not count."""

    @property
    def goal(self) -> int:
        """The share that the new release has in the end."""
        return 100 if self.hold is None else self.hold


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is remembered of the slots."""

    format: int = 1
    staged: dict[str, str] = {}
    """The release that each slot was made ready for."""
    started: dict[str, str] = {}
    """The release that runs in each slot."""
    leading: str | None = None
    """The slot that the traffic was last moved to."""
    was: dict[str, dict[str, int]] = {}
    """How the traffic was shared out when a release was made ready, by the words that `current` had for it."""


class Slots:
    """Two slots behind a proxy, as one target."""

    def __init__(
        self,
        slots: Sequence[Slot],
        balancer: Balancer,
        course: Course,
        room: Path,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        names = " and ".join(slot.name for slot in slots)
        self.place, self.owns = f"{names} behind {balancer.place}", f"{names} behind {balancer.owns}"
        self._slots = {slot.name: slot for slot in slots}
        self._balancer = balancer
        self._course = course
        self._room = room
        self._sleep = sleep
        self._led: set[str] = set()
        """Releases that this process made ready, and that therefore go the whole course."""

    @property
    def places(self) -> set[str]:
        """Where the targets of its slots are that have their place to themselves."""
        targets = [target for slot in self._slots.values() for target in slot.targets]
        return {owned_place(target) for target in targets if not isinstance(target, Shared)}

    def current(self) -> str | None:
        """The release that all traffic goes to, or the share at which it is to be held; words where neither holds.

        Raises:
            UsageError: something else than Sealift's own stands at a slot or at the proxy.
            DeployError: the proxy cannot be asked.
        """
        shares = self._balancer.shares()
        if shares is None:
            return _UNSETTLED
        record = self._record()
        held = {name: self._held(self._slots[name], record) for name, share in shares.items() if share}
        for name, identity in held.items():
            if shares[name] == 100 or (shares[name] == self._course.goal and name == record.leading):
                return identity
        if not any(held.values()):
            return None
        return " and ".join(f"{held[name] or 'nothing'} ({shares[name]} %)" for name in sorted(held))

    def _held(self, slot: Slot, record: Record) -> str | None:
        """What a slot holds and runs."""
        serving = {target.current() for target in slot.targets}
        if len(serving) > 1:
            return " and ".join(sorted(each or "nothing" for each in serving))
        (identity,) = serving
        if identity is not None and slot.start and record.started.get(slot.name) != identity:
            return f"{identity}, not started"
        return identity

    def stage(self, deployable: Deployable, former: Deployable | None) -> Staged:
        """Write a release into the slot that gets no traffic, or find it in one.

        Raises:
            UsageError: both slots get traffic, and neither holds the release.
            IntegrityError: the store is damaged.
            StoreError: the disk refuses.
        """
        identity, record = deployable.identity, self._record()
        shares = self._balancer.shares() or {}
        name = self._slot_of(identity, record, shares)
        if name is None:
            idle = [name for name, slot in self._slots.items() if not shares.get(name) or not self._held(slot, record)]
            if not idle:
                raise UsageError(
                    f"both slots {' and '.join(self._slots)} get traffic, so there is no room for another release",
                    hint="end the canary first: apply its release without `hold`, or roll back",
                )
            name = next((each for each in idle if each != record.leading), idle[0])
        slot = self._slots[name]
        fresh = self._held(slot, record) != identity
        words = self.current()
        was = {words: dict(shares)} if words is not None and " " in words and any(shares.values()) else {}
        staged = [target.stage(deployable, former) for target in slot.targets]
        self._keep(msgspec.structs.replace(record, staged={**record.staged, name: identity}, was=was))
        if fresh or (name == record.leading and shares.get(name) != 100):
            self._led.add(identity)
        return Staged(
            folder=next((each.folder for each in staged if each.folder), None),
            written=sum(each.written for each in staged),
            reused=sum(each.reused for each in staged),
        )

    def repair(self, deployable: Deployable) -> Staged:
        """Repair what the slot of a release holds, whether it has traffic or not.

        Raises:
            IntegrityError: the store is damaged.
            StoreError: the disk refuses, or no slot was made ready for it.
        """
        record = self._record()
        name = self._slot_of(deployable.identity, record, self._balancer.shares() or {})
        if name is None:
            return self.stage(deployable, None)
        staged = [
            target.repair(deployable) if isinstance(target, Repairable) else target.stage(deployable, None)
            for target in self._slots[name].targets
        ]
        return Staged(
            folder=next((each.folder for each in staged if each.folder), None),
            written=sum(each.written for each in staged),
            reused=sum(each.reused for each in staged),
        )

    def _slot_of(self, identity: str, record: Record, shares: Mapping[str, int]) -> str | None:
        """The slot that was made ready for a release; of two, the one with more traffic."""
        names = [name for name, staged in record.staged.items() if staged == identity and name in self._slots]
        return max(names, key=lambda name: shares.get(name, 0), default=None)

    def activate(self, identity: str | None) -> None:
        """Let a release run in its slot and move the traffic there: step by step if it is new, at once if it returns.

        Raises:
            DeployError: it does not start, is not well, fails at a step, or the proxy refuses.
            StoreError: the disk refuses, or no slot was made ready for it.
        """
        if identity is None:
            self._balancer.share_out(dict.fromkeys(self._slots, 0))
            for slot in self._slots.values():
                for target in slot.targets:
                    target.activate(None)
            self._keep(Record())
            return
        shares = self._balancer.shares() or {}
        name = self._slot_of(identity, self._record(), shares)
        if name is None and identity in (was := self._record().was):
            self._balancer.share_out({slot: was[identity].get(slot, 0) for slot in self._slots})
            return
        if name is None and identity == _UNSETTLED and (leading := self._record().leading) in self._slots:
            self._balancer.share_out({**dict.fromkeys(self._slots, 0), str(leading): 100})
            return
        if name is None:
            raise StoreError(f"no slot was made ready for {identity}", hint="apply it again")
        self._run(self._slots[name], identity)
        led = identity in self._led
        record = msgspec.structs.replace(self._record(), leading=name)
        self._keep(record)
        others = [each for each in self._slots if each != name and shares.get(each)]
        other = next((each for each in others if self._held(self._slots[each], record)), None)
        if other is None or not led:
            self._move(name, 100, None)
            return
        for step in self._course.steps:
            if shares.get(name, 0) < step.share < self._course.goal:
                self._move(name, step.share, other)
                self._watch(self._slots[name], step)
        self._move(name, self._course.goal, other)

    def _move(self, name: str, share: int, other: str | None) -> None:
        shares = dict.fromkeys(self._slots, 0)
        if other is not None:
            shares[other] = 100 - share
        self._balancer.share_out(shares | {name: share})

    def _run(self, slot: Slot, identity: str) -> None:
        """Let a release run in a slot, and ask whether it is well; one that ran there before and is not starts anew."""
        there = self._held(slot, self._record()) == identity
        if there and self._problem(slot) is None:
            return
        for target in slot.targets:
            if target.current() != identity:
                target.activate(identity)
        if slot.start:
            self._start(slot, slot.start, identity)
        if problem := self._problem(slot):
            raise DeployError(f"slot {slot.name}: {problem}")

    def _start(self, slot: Slot, start: Hook, identity: str) -> None:
        outcome = commands.run(start.run, timeout=start.timeout, folder=None, variables=slot.variables())
        if outcome.problem:
            last = outcome.output.strip().rpartition("\n")[2]
            raise DeployError(
                f"slot {slot.name}: {start.run[0]} {outcome.problem}{': ' + last if last else ''}",
            )
        record = self._record()
        self._keep(msgspec.structs.replace(record, started={**record.started, slot.name: identity}))

    def _problem(self, slot: Slot) -> str | None:
        return unhealthy(slot.health, variables=slot.variables(), sleep=self._sleep)

    def _watch(self, slot: Slot, step: Step) -> None:
        """Ask for the time of a step whether the new release is well there."""
        before = self._count(slot)
        for second in range(step.seconds + 1):
            if second:
                self._sleep(1)
            problem = self._problem(slot) or self._too_many(slot, before)
            if problem:
                raise DeployError(f"the canary in slot {slot.name} failed at {step.share} % of the traffic: {problem}")

    def _count(self, slot: Slot) -> Count:
        counts = self._balancer.counts() if self._course.errors is not None else None
        return counts[slot.name] if counts else Count(requests=0, failed=0)

    def _too_many(self, slot: Slot, before: Count) -> str | None:
        if self._course.errors is None:
            return None
        now = self._count(slot)
        requests, failed = now.requests - before.requests, now.failed - before.failed
        if failed > 0 and failed * 100 > self._course.errors * max(requests, 1):
            return f"{failed} of {requests} requests failed, and {self._course.errors:g} % are borne"
        return None

    def check(self, deployable: Deployable, *, deep: bool) -> str | None:
        """Whether the traffic goes to the release, and its slot holds it."""
        serving = self.current()
        if serving != deployable.identity:
            return f"{self.place}: {serving or 'nothing'} serves, not {deployable.identity}"
        name = self._slot_of(deployable.identity, self._record(), self._balancer.shares() or {})
        if name is None:
            return f"{self.place}: no slot was made ready for {deployable.identity}"
        problems = (target.check(deployable, deep=deep) for target in self._slots[name].targets)
        return next((f"slot {name}: {problem}" for problem in problems if problem), None)

    def prune(self, keep: Collection[str]) -> int:
        """Remove what the slots keep beside these releases and the one that each holds.

        Raises:
            StoreError: the disk refuses.
        """
        targets = (target for slot in self._slots.values() for target in slot.targets)
        return sum(target.prune(keep) for target in targets if isinstance(target, Prunable))

    def _record(self) -> Record:
        content = bounded(self._room / FILE, SIZE_MAX)
        if content is None:
            return Record()
        try:
            return msgspec.json.decode(content, type=Record)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StoreError(
                f"{self._room / FILE} is damaged", hint="remove it, then apply again: both slots are written anew"
            ) from error

    def _keep(self, record: Record) -> None:
        make_folder(self._room, mode=0o700)
        write_file(self._room / FILE, msgspec.json.encode(record, order="sorted"), mode=0o600)
