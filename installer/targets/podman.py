"""Target `podman`: containers and pods of a release on this machine.

    <room>/releases/<identity>/release.json, pods/shop.yaml   what of a release runs, for the way back
    <room>/layouts/<digest>/                                  its images, where no registry has them
    <room>/current, <room>/switching                          what serves, and whether a switch is under way

An image is the one for this machine's platform, pulled by its digest and run by its ID. What is the same in both
releases runs on; the rest is removed and started. Whatever fails is an error, and the former ones come back.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from sealift import hooks
from sealift.digest import sha256
from sealift.durable import TEMPORARY, make_folder, storing, sync_folder
from sealift.errors import UsageError
from sealift.names import RELEASE
from sealift.oci.names import hex_of

from ..cluster import kube
from ..containers.native import Native, native, write
from ..containers.podman import Podman, layout
from ..containers.records import Records
from ..containers.running import Container, Image, Pods, Runner, Running
from ..folders.shelf import Shelf
from ..folders.switching import Switching
from ..images import mapping
from ..images.images import images
from ..images.mapping import Rule
from ..storage.chosen import ARTIFACTS, FOLDER, chosen
from ..storage.deployable import Deployable
from ..target import Staged, Workplace
from .registry import SCHEMA as REGISTRY

TIMEOUT = 300
SETTLE = 2
LAYOUTS = "layouts"
_NAME = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]*$", "maxLength": 128}
_WORD = {"description": "One argument.", "type": "string", "maxLength": 4096, "pattern": r"^[^\u0000]*$"}
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "name": {
            **_NAME,
            "description": "What this target is called: it tells its containers from those of other targets.",
        },
        "containers": {
            "description": "The containers, started in this order.",
            "type": "array",
            "maxItems": 64,
            "items": {
                "description": "One container.",
                "type": "object",
                "properties": {
                    "name": {**_NAME, "description": "What it is called."},
                    "artifact": {
                        "description": "The artifact whose image it runs.",
                        "type": "string",
                        "pattern": f"^(?:{RELEASE.pattern})$",
                    },
                    "options": {
                        "description": "Options of podman run, such as --publish=8080:80.",
                        "type": "array",
                        "maxItems": 256,
                        "items": {**_WORD, "pattern": r"^--?[a-zA-Z][^\u0000]*$"},
                    },
                    "command": {
                        "description": "What it runs instead of what the image says.",
                        "type": "array",
                        "maxItems": 256,
                        "items": _WORD,
                    },
                },
                "required": ["name", "artifact"],
                "additionalProperties": False,
            },
        },
        "pods": {
            "description": "Manifests of the release that podman kube play runs, in the order of their names.",
            "type": "object",
            "properties": {"artifacts": ARTIFACTS, "folder": FOLDER},
            "required": ["artifacts"],
            "additionalProperties": False,
        },
        "registry": {
            **REGISTRY["properties"]["registry"],
            "description": "The site's registry, where the target registry has put the images; without it they are "
            "taken from the release itself.",
        },
        "map": REGISTRY["properties"]["map"],
        "unsafe_http": REGISTRY["properties"]["unsafe_http"],
        "settle": hooks.seconds("How long all are watched after they were started.", least=0, default=SETTLE),
        "timeout": hooks.seconds("For one call of podman.", default=TIMEOUT),
    },
    "required": ["name"],
    "additionalProperties": False,
}


class PodmanTarget:
    """Containers and pods on this machine."""

    def __init__(self, settings: Mapping[str, Any], workplace: Workplace) -> None:
        names = [each["name"] for each in settings.get("containers", ())]
        if len(names) != len(set(names)) or not (names or "pods" in settings):
            raise UsageError(
                "the target podman has nothing to run, or two containers of one name",
                hint="say `containers`, each with a name of its own, or `pods`",
            )
        self.place = f"podman ({settings['name']})"
        self._settings = settings
        self._workplace = workplace
        self._shelf = Shelf(workplace.room("podman", self.place))
        self._switching = Switching(self._shelf)
        self._records = Records(self._shelf)
        self._settle = int(settings.get("settle", SETTLE))
        self._timeout = int(settings.get("timeout", TIMEOUT))
        owner = sha256(f"{workplace.environment} {self.place}".encode())[:32]
        self._runner = Runner(Podman(os.environ, timeout=self._timeout), owner)

    def current(self) -> str | None:
        """The release that was started last; of a switch that did not end, what it is about, marked as such.

        Raises:
            StoreError: the record at the site cannot be read.
        """
        return self._switching.current()

    def stage(self, deployable: Deployable, former: Deployable | None) -> Staged:
        """Bring the release's images to this machine, and keep what of it runs.

        Raises:
            UsageError: an artifact has no image for this machine, or a manifest cannot be run.
            DeployError: podman fails, or a name is somebody else's.
            IntegrityError: the store is damaged.
            StoreError: the disk refuses.
        """
        make_folder(self._shelf.root, mode=0o700)
        self._shelf.prepare()
        written = 0
        natives = self._natives(deployable)
        if "registry" not in self._settings:
            for found in natives.values():
                written += self._lay_out(found)
        files = self._files(deployable)
        running = self._running(natives, files)
        self._records.keep(deployable.identity, running, files)
        self._runner.refuse_foreign(running, [each for each, _ in self._old()], self._records.images())
        for image in running.images:
            self._runner.bring(image)
        return Staged(folder=None, written=written)

    def _natives(self, deployable: Deployable) -> dict[str, Native]:
        """The images that are needed, by artifact: with pods, all of the release."""
        wanted = {each["artifact"] for each in self._settings.get("containers", ())}
        found = {
            image.artifact: native(image)
            for image in images(deployable, self._workplace.store)
            if "pods" in self._settings or image.artifact in wanted
        }
        if lacking := sorted(wanted - found.keys()):
            raise UsageError(
                f"{deployable.release.label} has no image {lacking[0]!r}",
                hint="correct `containers` in the environment",
            )
        return found

    def _lay_out(self, found: Native) -> int:
        """Keep a layout of an image; return the bytes that were written."""
        folder = self._layout(found)
        if folder.is_dir():
            return 0
        temporary = folder.with_name(f"{TEMPORARY}{folder.name}")
        shutil.rmtree(temporary, ignore_errors=True)
        size = write(found, temporary)
        with storing(folder):
            os.rename(temporary, folder)
            sync_folder(folder.parent)
        self._workplace.progress.advance(size)
        return size

    def _layout(self, found: Native) -> Path:
        return self._shelf.root / LAYOUTS / hex_of(found.digest)

    def _files(self, deployable: Deployable) -> dict[str, bytes]:
        """The manifests of pods."""
        if "pods" not in self._settings:
            return {}
        pods = self._settings["pods"]
        taken = chosen(deployable, self._workplace.store, pods["artifacts"], pods.get("folder"))
        found = {}
        for path in taken.files:
            if kube.is_manifest(path):
                if taken.file(path).size > kube.SIZE_MAX:
                    raise UsageError(f"{path} has more than {kube.SIZE_MAX} bytes")
                found[path] = b"".join(taken.pieces(path))
        if not found:
            raise UsageError(
                f"{deployable.release.label} has no manifest of pods there", hint="correct `pods` in the environment"
            )
        return found

    def _running(self, natives: Mapping[str, Native], files: Mapping[str, bytes]) -> Running:
        kept = tuple(self._image(found) for _, found in sorted(natives.items()))
        together = sha256("".join(image.id for image in kept).encode())
        return Running(
            images=kept,
            containers=tuple(
                Container(
                    name=each["name"],
                    image=natives[each["artifact"]].id,
                    options=tuple(each.get("options", ())),
                    command=tuple(each.get("command", ())),
                )
                for each in self._settings.get("containers", ())
            ),
            pods=tuple(
                Pods(file=path, names=_pods(content, path), definition=sha256(together.encode() + content)[:32])
                for path, content in files.items()
            ),
        )

    def _image(self, found: Native) -> Image:
        host = self._settings.get("registry")
        if host is None:
            return Image(name=found.name.text, id=found.id, place=layout(self._layout(found)))
        rules = [Rule(source=rule["from"], to=rule["to"]) for rule in self._settings.get("map", ())]
        place = f"docker://{host}/{mapping.repository_of(found.name, rules)}@{found.digest}"
        insecure = self._settings.get("unsafe_http", False)
        return Image(name=found.name.text, id=found.id, place=place, insecure=insecure)

    def _old(self) -> list[tuple[Running, Path]]:
        """What may run as ours: of the release that serves, and of a switch under way."""
        found = self._switching.under_way()
        releases = dict.fromkeys([found.to, found.leaving] if found else [self._shelf.current()])
        return [self._records.kept(identity) for identity in releases if identity]

    def activate(self, identity: str | None) -> None:
        """Let a staged release run, or nothing, and watch it.

        Raises:
            DeployError: podman fails, or something does not stay up, or is not healthy.
            StoreError: the release is not staged, or the disk refuses.
        """
        broken = self._switching.under_way() is not None
        old = self._old()
        if identity is None and not old and not broken:
            return
        running, folder = self._records.kept(identity)
        self._runner.refuse_foreign(running, [each for each, _ in old], self._records.images())
        for image in running.images:
            self._runner.bring(image)
        self._switching.begin(identity)
        self._runner.replace(old, running, folder, anew=broken)
        self._runner.watch(running, settle=self._settle, patience=self._timeout)
        self._switching.end(identity)

    def check(self, deployable: Deployable, *, deep: bool) -> str | None:
        """Whether all runs that should, as it was started; with `deep`, whether that is what the release says."""
        identity = deployable.identity
        serving = self.current()
        if serving != identity:
            return f"{self.place} has {serving or 'nothing'}, not {identity}"
        running, _ = self._records.kept(identity)
        if problem := self._runner.problem(running):
            return problem
        if deep and self._running(self._natives(deployable), self._files(deployable)) != running:
            return f"what was started is no longer what {deployable.release.label} and the environment say"
        return None

    def prune(self, keep: Collection[str]) -> int:
        """Forget staged releases other than `keep` and the one that serves, and layouts that none needs.

        Images in podman's own store stay: others may use them (`podman image prune`).

        Raises:
            StoreError: the disk refuses.
        """
        removed = self._shelf.prune(keep)
        layouts, releases = self._shelf.root / LAYOUTS, self._shelf.releases
        if layouts.is_dir():
            with storing(layouts):
                kept = [self._records.kept(name)[0] for name in os.listdir(releases) if (releases / name).is_dir()]
                needed = {image.place for running in kept for image in running.images}
                for folder in sorted(layouts.iterdir()):
                    if layout(folder) not in needed:
                        shutil.rmtree(folder)
        return removed


def _pods(content: bytes, path: str) -> tuple[str, ...]:
    """The pods that podman makes of a manifest.

    Raises:
        UsageError: it has an object that podman does not play.
    """
    names = []
    for tree in kube.documents(content, path):
        found = kube.object_of(tree, path)
        if found.kind == "Pod":
            names.append(found.name)
        elif found.kind == "Deployment":
            names.append(f"{found.name}-pod")
        elif found.kind not in ("ConfigMap", "Secret", "PersistentVolumeClaim"):
            raise UsageError(
                f"{path} has a {found.kind}, which podman does not play", hint="choose by `artifacts` and `folder`"
            )
    return tuple(names)


def target(settings: Mapping[str, Any], workplace: Workplace) -> PodmanTarget:
    """The containers and pods that `settings` names."""
    return PodmanTarget(settings, workplace)
