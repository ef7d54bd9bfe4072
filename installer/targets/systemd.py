"""Target `systemd`: units and drop-ins of a release, and the units of it that run.

    <room>/releases/<identity>/units/shop.service    staged, for the way back
    <room>/releases/<identity>/run.json              which of them are enabled and run
    <room>/current, <room>/switching                 what serves, and whether a switch is under way

A file in systemd's folder is ours if a staged release that served there has it with that content. Files are set,
systemd reloads, and what changed is started anew; whatever fails is an error, and the former units come back.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec

from sealift import hooks
from sealift.durable import make_folder, storing, sync_folder, write_file
from sealift.errors import DeployError, StoreError, UsageError
from sealift.names import visible
from sealift.reading import bounded

from ..folders.shelf import Shelf
from ..folders.switching import Switching
from ..storage.chosen import ARTIFACTS, FOLDER, Chosen, chosen
from ..storage.deployable import Deployable
from ..systemd import units
from ..systemd.systemctl import Systemctl
from ..target import Staged, Workplace

TIMEOUT = 120
SETTLE = 2
NO_FILE = b"\0"
"""What stands for a link or a folder: no content of a unit."""
_RUN = "run.json"
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "path": {
            "description": "systemd's folder for the units, as an absolute path; /etc/systemd/system where nothing is "
            "said.",
            "type": "string",
            "pattern": "^/[^\\u0000]*$",
            "maxLength": 3072,
            "default": "/etc/systemd/system",
        },
        "artifacts": ARTIFACTS,
        "folder": FOLDER,
        "run": {
            "description": "The units that are enabled and run, started in this order.",
            "type": "array",
            "maxItems": units.UNITS_MAX,
            "uniqueItems": True,
            "items": {**units.UNIT, "description": "A unit's name, such as shop.service or shop@8080.service."},
        },
        "restart": {
            "description": "Which of them are started anew: 'changed', those whose unit or drop-ins are others; "
            "'always', all of them at each switch. 'changed' where nothing is said.",
            "enum": ["changed", "always"],
            "default": "changed",
        },
        "settle": hooks.seconds("How long they are watched after they were started.", least=0, default=SETTLE),
        "timeout": hooks.seconds("For one call of systemctl, which waits until a unit is up.", default=TIMEOUT),
    },
    "required": ["run"],
    "additionalProperties": False,
}
_Files = dict[str, bytes]


class _Run(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of a release runs."""

    run: tuple[str, ...]
    restart: str
    filled: bool = False
    """Whether values filled files of it, whose content is not shown then."""


class Systemd:
    """The units of a release on this machine."""

    shared = True
    """Each environment has units of its own in systemd's folder, told apart by what it staged."""

    def __init__(self, settings: Mapping[str, Any], workplace: Workplace) -> None:
        self._units = Path(settings.get("path", "/etc/systemd/system"))
        self.place = f"systemd ({self._units})"
        self._settings = settings
        self._workplace = workplace
        self._shelf = Shelf(workplace.room("systemd", str(self._units)))
        self._switching = Switching(self._shelf)
        self._systemd = Systemctl(
            timeout=int(settings.get("timeout", TIMEOUT)), settle=int(settings.get("settle", SETTLE))
        )

    def current(self) -> str | None:
        """The release whose units were set last; of a switch that did not end, what it is about, marked as such.

        Raises:
            StoreError: the record at the site cannot be read.
        """
        return self._switching.current()

    def stage(self, deployable: Deployable, former: Deployable | None) -> Staged:
        """Keep the release's units at the site, and see whether they can be set.

        Raises:
            UsageError: the release has what is no unit, or a unit's name is somebody else's.
            DeployError: systemd does not answer.
            IntegrityError: the store is damaged.
            StoreError: the disk refuses.
        """
        taken = self._taken(deployable)
        identity = deployable.identity
        make_folder(self._shelf.root, mode=0o700)
        self._shelf.prepare()
        files = {path: b"".join(taken.pieces(path)) for path in taken.files}
        run = _Run(
            run=tuple(self._settings["run"]),
            restart=self._settings.get("restart", "changed"),
            filled=bool(deployable.filled),
        )
        folder = self._shelf.releases / identity
        if folder.is_dir() and self._staged(identity) == files:
            write_file(folder / _RUN, msgspec.json.encode(run))
        else:
            with self._shelf.making(identity) as temporary:
                for path, content in files.items():
                    make_folder((temporary / "units" / path).parent)
                    write_file(temporary / "units" / path, content)
                write_file(temporary / _RUN, msgspec.json.encode(run))
        self._refuse_foreign(self._staged(identity), self._owned())
        self._systemd.call("show", "--property=Version")
        return Staged(folder=None, written=taken.size)

    def _taken(self, deployable: Deployable) -> Chosen:
        taken = chosen(deployable, self._workplace.store, self._settings.get("artifacts"), self._settings.get("folder"))
        label = deployable.release.label
        if other := [path for path in (*taken.files, *taken.links) if path in taken.links or not units.fits(path)]:
            raise UsageError(
                f"{visible(other[0])} of {label} is no unit, and no drop-in (NAME.service.d/*.conf)",
                hint="choose the units by `artifacts` and `folder`",
            )
        if shared := [path for path in taken.files if units.is_shared(path)]:
            raise UsageError(
                f"{shared[0]} of {label} is for all units whose names begin alike, also for those of others",
                hint="give each unit a drop-in of its own",
            )
        if large := [path for path in taken.files if taken.file(path).size > units.SIZE_MAX]:
            raise UsageError(f"{large[0]} of {label} has more than {units.SIZE_MAX} bytes")
        return taken

    def _staged(self, identity: str) -> _Files:
        """The units of a staged release.

        Raises:
            StoreError: it is not staged, or cannot be read.
        """
        folder = self._shelf.releases / identity
        base = folder / "units"
        if not folder.is_dir():
            raise StoreError(f"{folder} is gone", hint="apply another version, and then this one again")
        with storing(base):
            names = sorted(str(path.relative_to(base)) for path in base.rglob("*") if path.is_file())
        return {name: bounded(base / name, units.SIZE_MAX) or b"" for name in names}

    def _run(self, identity: str | None) -> _Run:
        if identity is None:
            return _Run(run=(), restart="changed")
        path = self._shelf.releases / identity / _RUN
        try:
            return msgspec.json.decode(bounded(path, 1 << 20) or b"", type=_Run)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StoreError(
                f"{path} is missing or damaged", hint="apply another version, and then this one again"
            ) from error

    def _owned(self) -> dict[str, set[bytes]]:
        """What may stand in systemd's folder as ours: of the release that serves, and of a switch under way."""
        found = self._switching.under_way()
        releases = {found.leaving, found.to} if found else {self._shelf.current()}
        owned: dict[str, set[bytes]] = {}
        for identity in releases - {None}:
            assert identity is not None
            for name, content in self._staged(identity).items():
                owned.setdefault(name, set()).add(content)
        return owned

    def _there(self, name: str) -> bytes | None:
        """What systemd's folder has under a name: None where it has nothing."""
        path = self._units / name
        linked = path.is_symlink() or ("/" in name and path.parent.is_symlink())
        if linked or (path.exists() and not path.is_file()):
            return NO_FILE
        return bounded(path, units.SIZE_MAX)

    def _refuse_foreign(self, new: Collection[str], owned: Mapping[str, set[bytes]]) -> None:
        """Refuse names that others have, and files of ours that others have edited.

        Raises:
            DeployError: there is one.
        """
        for name in sorted({*new, *owned}):
            there = self._there(name)
            if there is not None and there not in owned.get(name, ()):
                raise DeployError(
                    f"{self._units / name} was {'edited' if name in owned else 'not written by sealift'}",
                    hint="move it away, and put what the site changes into a drop-in of its own",
                )
        bases = units.order([units.base_of(name) for name in sorted(new)])
        said = self._systemd.show([units.asked(unit) for unit in bases])
        for unit in bases:
            about = said.get(units.asked(unit), {})
            found = about.get("FragmentPath") or about.get("SourcePath")
            if (found or about.get("Perpetual") == "yes") and not self._is_ours(about, owned):
                raise DeployError(
                    f"there is a unit {unit} that sealift did not write{f': {found}' if found else ''}",
                    hint="rename the release's unit; what changes a unit of others is the site's own drop-in",
                )

    def _is_ours(self, about: Mapping[str, str], owned: Collection[str]) -> bool:
        """Whether systemd has read a unit from a file of ours, or from one that is no more in our folder."""
        folder, name = os.path.split(about.get("FragmentPath", ""))
        here = bool(folder) and os.path.realpath(folder) == os.path.realpath(self._units)
        return here and (name in owned or not os.path.lexists(self._units / name))

    def activate(self, identity: str | None) -> None:
        """Set the units of a staged release, or remove those that serve; start what changed, and watch it.

        Raises:
            DeployError: systemd finds a unit wrong, or one does not start or stay up.
            StoreError: the disk refuses.
        """
        broken = self._switching.under_way() is not None
        left = self._switching.leaving(identity)
        if identity is None and left is None and not broken:
            return
        owned = self._owned()
        new = self._staged(identity) if identity else {}
        self._refuse_foreign(new, owned)
        if identity:
            self._systemd.verify(self._shelf.releases / identity / "units", new, silent=self._run(identity).filled)
        before, after = self._run(left), self._run(identity)
        changed = [name for name in {*new, *owned} if broken or self._there(name) != new.get(name)]
        self._switching.begin(identity)
        gone = [unit for unit in before.run if unit not in after.run]
        gone += [name for name in owned.keys() - new.keys() if "/" not in name and "@." not in name]
        for unit in units.order(gone):
            if self._may_stop(unit, owned):
                self._systemd.call("disable", "--now", unit)
        self._set(new, owned)
        self._systemd.call("daemon-reload")
        for unit in after.run:
            self._systemd.call("enable", unit)
            due = broken or after.restart == "always" or units.concerns(unit, changed)
            self._systemd.start("restart" if due else "start", unit)
        self._systemd.watch(after.run)
        self._switching.end(identity)

    def _set(self, new: Mapping[str, bytes], owned: Collection[str]) -> None:
        """Write the files that differ, and remove those that are no more, with folders that are empty then."""
        for name, content in new.items():
            if self._there(name) != content:
                make_folder((self._units / name).parent)
                write_file(self._units / name, content)
        for name in sorted(set(owned) - new.keys()):
            path = self._units / name
            with storing(path):
                path.unlink(missing_ok=True)
                if "/" in name and path.parent.is_dir() and not any(path.parent.iterdir()):
                    path.parent.rmdir()
                sync_folder(self._units)

    def _may_stop(self, unit: str, owned: Collection[str]) -> bool:
        about = self._systemd.show([unit]).get(unit, {})
        return about.get("LoadState") == "loaded" and self._is_ours(about, owned)

    def check(self, deployable: Deployable, *, deep: bool) -> str | None:
        """Whether the units are set and run as they should; with `deep`, whether they are the release's own."""
        identity = deployable.identity
        serving = self.current()
        if serving != identity:
            return f"{self.place} has {serving or 'nothing'}, not {identity}"
        files = self._staged(identity)
        for name, content in files.items():
            if self._there(name) != content:
                return f"{self._units / name} is {'gone' if self._there(name) is None else 'edited'}"
        run = self._run(identity).run
        said = self._systemd.show(run)
        for unit in run:
            if problem := units.wrong(unit, said.get(unit, {})):
                return problem
            if said[unit].get("NeedDaemonReload") == "yes":
                return f"{unit} has changed on the disk since systemd read it"
        if deep:
            taken = self._taken(deployable)
            if {path: b"".join(taken.pieces(path)) for path in taken.files} != files:
                return f"what is kept in {self._shelf.releases / identity} is not the release's own"
        return None

    def prune(self, keep: Collection[str]) -> int:
        """Forget staged releases other than `keep` and the one that serves.

        Raises:
            StoreError: the disk refuses.
        """
        return self._shelf.prune(keep)


def target(settings: Mapping[str, Any], workplace: Workplace) -> Systemd:
    """The units that `settings` names."""
    return Systemd(settings, workplace)
