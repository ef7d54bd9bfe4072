"""Target `kubernetes`: the manifests of a release in a cluster, by `kubectl` and server-side apply.

    <room>/releases/<identity>/objects.json   what is applied, for the way back
    <room>/current, <room>/switching          what serves, and whether a switch is under way

Each object bears a label of this target. One that is there without it is somebody else's: it is neither changed nor
deleted. What the former release has and the new one lacks is deleted last, when the new one has been rolled out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from sealift import hooks
from sealift.digest import sha256
from sealift.durable import make_folder, write_file
from sealift.errors import DeployError, StoreError, UsageError
from sealift.reading import bounded

from ..cluster import kube
from ..cluster.kube import CONNECTION, Object
from ..cluster.kubectl import OWNER, Kubectl, owner_of
from ..folders.shelf import Shelf
from ..folders.switching import Switching
from ..storage.chosen import ARTIFACTS, FOLDER, chosen
from ..storage.deployable import Deployable
from ..target import Staged, Workplace

TIMEOUT = 300
BYTES_MAX = 32 << 20
"""Of all manifests of a release."""
FILE = "objects.json"
_NAME = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_SLOTTED = r"(?:[a-z0-9]|\{slot\})(?:(?:[a-z0-9-]|\{slot\})*(?:[a-z0-9]|\{slot\}))?"
"""The same, in which the name of a slot is still to come."""
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "namespace": {
            "description": "The namespace of objects that name none.",
            "type": "string",
            "maxLength": 63,
            "pattern": f"^{_SLOTTED}$",
        },
        "artifacts": ARTIFACTS,
        "folder": FOLDER,
        "name": {
            "description": "What this target is called, where several have objects in one namespace: slots, for one.",
            "type": "string",
            "maxLength": 63,
            "pattern": f"^{_SLOTTED}$",
        },
        **CONNECTION,
        "conflicts": {
            "description": "What is done where others have set fields that the release sets: 'refuse' deploys "
            "nothing, 'overwrite' takes them. 'refuse' where nothing is said.",
            "enum": ["refuse", "overwrite"],
            "default": "refuse",
        },
        "timeout": hooks.seconds("For a rollout, and for one call of kubectl.", default=TIMEOUT),
    },
    "required": ["namespace"],
    "additionalProperties": False,
}


class Kubernetes:
    """The objects of a release in a cluster."""

    shared = True
    """Each environment has objects of its own in a namespace, told apart by their label."""

    def __init__(self, settings: Mapping[str, Any], workplace: Workplace) -> None:
        for key in ("namespace", "name"):
            if key in settings and not re.fullmatch(_NAME, settings[key]):
                raise UsageError(
                    f"the {key} {settings[key]!r} of a target kubernetes is none",
                    hint="up to 63 lower-case letters, digits and '-'; {slot} is for a strategy with slots",
                )
        where = [settings.get("kubeconfig"), settings.get("context"), settings["namespace"], settings.get("name")]
        self.place = f"kubernetes ({', '.join(each for each in where if each)})"
        self._settings = settings
        self._workplace = workplace
        self._shelf = Shelf(workplace.room("kubernetes", self.place))
        self._switching = Switching(self._shelf)
        self._owner = sha256(f"{workplace.environment} {self.place}".encode())[:32]
        self._force = settings.get("conflicts", "refuse") == "overwrite"
        self._kubectl = Kubectl(settings, os.environ, timeout=int(settings.get("timeout", TIMEOUT)))

    def current(self) -> str | None:
        """The release that was rolled out last; of a switch that did not end, what it is about, marked as such.

        Raises:
            StoreError: the record at the site cannot be read.
        """
        return self._switching.current()

    def stage(self, deployable: Deployable, former: Deployable | None) -> Staged:
        """Keep the release's objects, and let the cluster say whether they could be applied.

        Raises:
            UsageError: a manifest is none.
            DeployError: the cluster refuses or cannot be reached, or an object is somebody else's.
            IntegrityError: the store is damaged.
            StoreError: the disk refuses.
        """
        content = self._content(deployable)
        make_folder(self._shelf.root, mode=0o700)
        self._shelf.prepare()
        file = self._file(deployable.identity)
        if bounded(file, 2 * BYTES_MAX) != content:
            with self._shelf.making(deployable.identity) as folder:
                write_file(folder / FILE, content, mode=0o600)
        live = self._refuse_foreign(file)
        first = {about for about in self._objects(deployable.identity) if about.kind in kube.FIRST}
        if first <= set(live):
            self._kubectl.apply(file, force=self._force, dry=True)
        return Staged(folder=None, written=len(content))

    def _file(self, identity: str) -> Path:
        return self._shelf.releases / identity / FILE

    def _content(self, deployable: Deployable) -> bytes:
        """The release's objects with our label, always the same bytes for the same release."""
        taken = chosen(deployable, self._workplace.store, self._settings.get("artifacts"), self._settings.get("folder"))
        paths = [path for path in taken.files if kube.is_manifest(path)]
        if sum(taken.file(path).size for path in paths) > BYTES_MAX:
            raise UsageError(
                f"{deployable.release.label} has more than {BYTES_MAX} bytes of manifests",
                hint="choose less by `artifacts` and `folder`",
            )
        items: list[dict[str, Any]] = []
        seen: dict[Object, str] = {}
        for path in paths:
            for tree in kube.documents(b"".join(taken.pieces(path)), path):
                about = kube.object_of(tree, path)
                if about in seen:
                    raise UsageError(f"{seen[about]} and {path} both have the {about}", hint="mend the release")
                seen[about] = path
                labels = tree["metadata"].get("labels") or {}
                items.append({**tree, "metadata": {**tree["metadata"], "labels": {**labels, OWNER: self._owner}}})
        if not items:
            raise UsageError(
                f"{deployable.release.label} has no manifest there", hint="correct `artifacts` or `folder`"
            )
        tree = {"apiVersion": "v1", "kind": "List", "items": sorted(items, key=kube.rank)}
        return msgspec.json.encode(tree, order="deterministic")

    def _objects(self, identity: str | None) -> list[Object]:
        """What a staged release has.

        Raises:
            StoreError: it is not staged.
        """
        if identity is None:
            return []
        content = bounded(self._file(identity), 2 * BYTES_MAX)
        try:
            items = msgspec.json.decode(content or b"")["items"]
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
            raise StoreError(
                f"{self._file(identity)} is missing or damaged", hint="apply another version, and then this one again"
            ) from error
        return [kube.object_of(each, str(self._file(identity))) for each in items]

    def _refuse_foreign(self, file: Path) -> dict[Object, dict[str, Any]]:
        """Refuse objects that are there and not ours; return those that are.

        Raises:
            DeployError: there is one.
        """
        live = self._kubectl.live(file)
        for about, each in sorted(live.items(), key=lambda item: item[0]):
            if owner_of(each) != self._owner:
                raise DeployError(
                    f"the {about} is there, and was not made by this target",
                    hint="delete it, or give the release's object another name",
                )
        return live

    def activate(self, identity: str | None) -> None:
        """Apply the objects of a staged release, wait for their rollout, and delete what it no longer has.

        Raises:
            DeployError: the cluster refuses, or a rollout does not end well.
            StoreError: the release is not staged, or the disk refuses.
        """
        found = self._switching.under_way()
        releases = {found.leaving, found.to} if found else {self._shelf.current()}
        old = {about for each in releases for about in self._objects(each)}
        new = self._objects(identity)
        if identity is None and not old and found is None:
            return
        if identity:
            self._refuse_foreign(self._file(identity))
        self._switching.begin(identity)
        if identity:
            self._kubectl.apply(self._file(identity), force=self._force)
            for about in new:
                if about.kind in kube.WORKLOADS:
                    self._kubectl.rolled_out(about)
        for about in sorted(old - set(new), key=lambda each: (each.kind == "Namespace", each)):
            live = self._kubectl.one(about)
            if live is not None and owner_of(live) == self._owner:
                self._kubectl.delete(about)
        self._switching.end(identity)

    def check(self, deployable: Deployable, *, deep: bool) -> str | None:
        """Whether all objects are there and rolled out; with `deep`, whether they are as the release says."""
        identity = deployable.identity
        serving = self.current()
        if serving != identity:
            return f"{self.place} has {serving or 'nothing'}, not {identity}"
        file = self._file(identity)
        live = self._kubectl.live(file)
        for about in self._objects(identity):
            spaces = (about.namespace,) if about.namespace else ("", self._settings["namespace"])
            names = [replace(about, namespace=space) for space in spaces]
            each = next((live[name] for name in names if name in live), None)
            if each is None:
                return f"the {about} is gone"
            if owner_of(each) != self._owner:
                return f"the {about} is another one than was deployed"
            if problem := kube.unready(each):
                return f"the {about} {problem}"
        if deep and (self._content(deployable) != bounded(file, 2 * BYTES_MAX) or self._kubectl.differs(file)):
            return f"objects in {self.place} are not as {deployable.release.label} has them; kubectl diff -f {file}"
        return None

    def prune(self, keep: Collection[str]) -> int:
        """Forget staged releases other than `keep` and the one that serves.

        Raises:
            StoreError: the disk refuses.
        """
        return self._shelf.prune(keep)


def target(settings: Mapping[str, Any], workplace: Workplace) -> Kubernetes:
    """The objects in the cluster that `settings` names."""
    return Kubernetes(settings, workplace)
