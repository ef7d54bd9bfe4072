"""What of a release runs as containers and pods, and letting just that run.

A container is ours by a label. A pod cannot be labelled without changing the release's manifest, so a pod is ours by
its name, and only if the release that serves has it. What is the same before and after runs on.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from pathlib import Path

import msgspec

from sealift.digest import sha256
from sealift.errors import DeployError
from sealift.names import visible

from .podman import DEFINITION, OWNER, Podman, Seen


class Image(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An image of a release."""

    name: str
    """With its tag."""
    id: str
    """What podman calls it."""
    place: str
    """Where it is pulled from."""
    insecure: bool = False


class Container(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A container of a release."""

    name: str
    image: str
    """Its ID."""
    options: tuple[str, ...] = ()
    command: tuple[str, ...] = ()

    @property
    def definition(self) -> str:
        """Another one for anything that is different."""
        return sha256(msgspec.json.encode(self))[:32]


class Pods(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A manifest of a release, and the pods that podman makes of it."""

    file: str
    names: tuple[str, ...]
    definition: str
    """Another one for another content, or other images."""


class Running(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of a release runs."""

    images: tuple[Image, ...] = ()
    containers: tuple[Container, ...] = ()
    pods: tuple[Pods, ...] = ()


NOTHING = Running()


class Runner:
    """Lets things run, for one owner."""

    def __init__(self, podman: Podman, owner: str) -> None:
        self._podman = podman
        self._owner = owner

    def bring(self, image: Image) -> None:
        """Pull an image that is not there.

        Raises:
            DeployError: it cannot be had.
        """
        if not self._podman.has_image(image.id):
            self._podman.pull(image.place, image.id, insecure=image.insecure)

    def refuse_foreign(self, new: Running, old: Iterable[Running], staged: Collection[str]) -> None:
        """Refuse names that others have: containers and pods share them, and pods know images by theirs.

        Args:
            new: what is to run.
            old: what may run as ours.
            staged: the IDs of the images of our releases, whose names may be given to others.

        Raises:
            DeployError: there is one.
        """
        ours = {name for each in old for pods in each.pods for name in pods.names}
        containers, pods = self._podman.containers(), self._podman.pods()
        for name in [each.name for each in new.containers] + [name for each in new.pods for name in each.names]:
            if name in containers and containers[name].owner != self._owner:
                raise _foreign("container", name)
            if name in pods and name not in ours:
                raise _foreign("pod", name)
        tags = self._podman.tags() if new.pods else {}
        for image in new.images:
            if tags.get(image.name, image.id) not in {image.id, *staged}:
                raise DeployError(
                    f"{image.name} is the name of another image in podman, which sealift did not bring",
                    hint=f"podman untag it where nothing needs it: {image.name}",
                )

    def replace(self, old: Collection[tuple[Running, Path]], new: Running, folder: Path, *, anew: bool) -> None:
        """Remove what ran, and start what is to run; with `anew`, all of it.

        Args:
            old: what may run, each with the folder of its manifests.
            new: what is to run.
            folder: of its manifests.
            anew: whether what is the same is started anew as well.

        Raises:
            DeployError: podman fails.
        """
        seen, states = self._podman.containers(), self._podman.pods()
        stay: set[str] = set()
        if not anew:
            stay = {each.name for each in new.containers if self._wrong(each, seen.get(each.name)) is None}
            before = {pods.definition for running, _ in old for pods in running.pods}
            stay |= {
                pods.definition
                for pods in new.pods
                if pods.definition in before and all(states.get(name) == "running" for name in pods.names)
            }
        for running, manifests in old:
            for pods in running.pods:
                if pods.definition not in stay and any(name in states for name in pods.names):
                    self._podman.ask("kube", "down", str(manifests / pods.file))
                    states = self._podman.pods()
            for container in running.containers:
                there = seen.get(container.name)
                if container.name not in stay and there and there.owner == self._owner:
                    self._podman.ask("rm", "--force", "--ignore", "--time=10", container.name)
        for image in new.images if new.pods else ():
            self._podman.ask("tag", image.id, image.name)
        for container in new.containers:
            if container.name not in stay:
                self._start(container)
        for pods in new.pods:
            if pods.definition not in stay:
                self._podman.ask("kube", "play", "--quiet", str(folder / pods.file))

    def _wrong(self, container: Container, seen: Seen | None) -> str | None:
        """In which way a container does not run as it should."""
        if seen is None:
            return "is gone"
        if seen.owner != self._owner or seen.definition != container.definition:
            return "is another one than was deployed"
        if seen.state != "running":
            return f"is {seen.state}" + (f", exit code {seen.code}" if seen.state == "exited" else "")
        return None

    def _start(self, container: Container) -> None:
        labels = {OWNER: self._owner, DEFINITION: container.definition}
        words = [f"--label={label}={value}" for label, value in labels.items()]
        name = f"--name={container.name}"
        self._podman.ask(
            "run", "--detach", "--pull=never", name, *container.options, *words, container.image, *container.command
        )

    def watch(self, running: Running, *, settle: float, patience: float) -> None:
        """Look at all until they have settled, and until those with a health check are healthy.

        Args:
            running: what should run.
            settle: seconds.
            patience: seconds that a health check may need until it passes.

        Raises:
            DeployError: one does not run, or does not become healthy.
        """
        began = time.monotonic()
        while True:
            if problem := self.problem(running):
                raise DeployError(problem)
            if time.monotonic() - began >= settle:
                break
            time.sleep(min(0.25, settle))
        for container in running.containers:
            checked = self._podman.has_health_check(container.name)
            while checked and not self._podman.succeeds("healthcheck", "run", container.name):
                if problem := self.problem(running):
                    raise DeployError(problem)
                if time.monotonic() - began >= max(settle, patience):
                    raise DeployError(f"container {container.name} is not healthy{self._words(container.name)}")
                time.sleep(0.5)

    def problem(self, running: Running) -> str | None:
        """What does not run as it should, in one sentence; None where all does.

        Raises:
            DeployError: podman fails.
        """
        seen = self._podman.containers() if running.containers else {}
        for container in running.containers:
            if wrong := self._wrong(container, seen.get(container.name)):
                words = self._words(container.name) if container.name in seen else ""
                return f"container {container.name} {wrong}{words}"
        states = self._podman.pods() if running.pods else {}
        for name in [name for pods in running.pods for name in pods.names]:
            if states.get(name) != "running":
                return f"pod {name} is {states.get(name, 'gone')}"
        return None

    def _words(self, name: str) -> str:
        """The end of what a container wrote."""
        try:
            lines = self._podman.ask("logs", "--tail=3", name).decode("utf-8", "replace").strip().splitlines()
        except DeployError:
            return ""
        return f": {visible('; '.join(lines))[-300:]}" if lines else ""


def _foreign(kind: str, name: str) -> DeployError:
    return DeployError(
        f"there is a {kind} {name} that sealift did not start",
        hint="remove it, or choose another name in the environment",
    )
