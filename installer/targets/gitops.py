"""Target `gitops`: the files of a release in a branch of a git repository of the site, which Flux or Argo CD follows.

Each activation is one commit on top of the branch, pushed without force; so is a return. The commit holds the
footprint (`installer.branch.footprint`), which says what in the branch is ours; all else in it is left as it is. What
serves is what the branch says, so a kill at any instant leaves the one release or the other.

    <room>/git, refs/sealift/staged/<…>    the files of each staged release, for the way back
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from sealift.errors import DeployError, UsageError
from sealift.names import visible

from ..branch import footprint, pins, staging
from ..branch.change import change, edits, some
from ..branch.footprint import Footprint, Pin
from ..branch.message import message
from ..branch.repository import Repository, Spot
from ..images.images import root_of
from ..storage.chosen import ARTIFACTS, FOLDER, PATH, Chosen, chosen
from ..storage.deployable import Deployable
from ..target import Staged, Workplace

TRIES = 5
"""How often a push that somebody else was faster than is made anew."""
BYTES_MAX = 256 << 20
"""Of all files of a release."""
AUTHOR = "Sealift <sealift@localhost>"
_PLACEHOLDER = re.compile(r"\{([a-z]+)(?::([^{}]*))?\}")
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "repository": {
            "description": "The repository: an https:// or ssh:// address, user@host:path, or a folder's absolute "
            "path; without a password.",
            "type": "string",
            "maxLength": 2048,
            "pattern": r"^(https?://[A-Za-z0-9._-]+(:[0-9]{1,5})?/[!-~]+"
            r"|ssh://([A-Za-z0-9_][A-Za-z0-9._-]*@)?[A-Za-z0-9][A-Za-z0-9._-]*(:[0-9]{1,5})?/[!-~]+"
            r"|[A-Za-z0-9_][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9._-]*:[!-~]+|/[^\u0000-\u001f\u007f]+)$",
        },
        "branch": {
            "description": "The branch, which must be there unless the repository is empty; 'main' where nothing is "
            "said.",
            "type": "string",
            "maxLength": 200,
            "pattern": r"^(?!.*(\.\.|//|/\.|\.lock(/|$)|[./]$))[A-Za-z0-9_][A-Za-z0-9._/+-]*$",
            "default": "main",
        },
        "path": {**PATH, "description": "The folder in it that the files go to."},
        "artifacts": ARTIFACTS,
        "folder": FOLDER,
        "edited": {
            "description": "What is done where people edited what Sealift wrote: 'refuse' deploys nothing, "
            "'overwrite' sets it back; their edit stays in the history. 'refuse' where nothing is said.",
            "enum": ["refuse", "overwrite"],
            "default": "refuse",
        },
        "pins": {
            "description": "Values in YAML files of people that are set, and nothing else in those files.",
            "type": "array",
            "maxItems": 256,
            "items": {
                "description": "One value.",
                "type": "object",
                "properties": {
                    "file": {**PATH, "description": "The file, by its path in the repository."},
                    "at": {
                        "description": "Where in it: keys, and indices from 0.",
                        "type": "array",
                        "minItems": 1,
                        "maxItems": 32,
                        "items": {"description": "A key or an index.", "type": ["string", "integer"], "minimum": 0},
                    },
                    "to": {
                        "description": "What it is set to: text with {release}, {version}, {manifest} (its digest) "
                        "and {digest:ARTIFACT} (an image's).",
                        "type": "string",
                        "maxLength": 4096,
                        "pattern": r"^[^\u0000-\u001f\u007f]*$",
                    },
                },
                "required": ["file", "at", "to"],
                "additionalProperties": False,
            },
        },
        "author": {
            "description": "Who the commits are by, as 'Name <mail>'; Sealift where nothing is said.",
            "type": "string",
            "maxLength": 256,
            "pattern": r"^[^<>\u0000-\u001f\u007f]+ <[^<>\s\u0000-\u001f\u007f]+>$",
            "default": AUTHOR,
        },
        "unsafe_http": {
            "description": "Whether the repository may be spoken with over http://; false where nothing is said.",
            "type": "boolean",
            "default": False,
        },
    },
    "required": ["repository", "path"],
    "additionalProperties": False,
}


class GitOps:
    """A folder in a branch."""

    def __init__(self, settings: Mapping[str, Any], workplace: Workplace) -> None:
        url = settings["repository"]
        if url.startswith("http://") and not settings.get("unsafe_http", False):
            raise UsageError(f"{url} is no https:// address", hint="use one, or say `unsafe_http: true`")
        self._branch: str = settings.get("branch", "main")
        self._path: str = settings["path"]
        self.place = f"{url} ({self._branch}: {self._path})"
        self._settings = settings
        self._workplace = workplace
        self._repository = Repository(workplace.room("gitops", self.place), url, os.environ)
        name, _, mail = settings.get("author", AUTHOR).rpartition(" <")
        self._author = (name, mail.removesuffix(">"))
        _refuse_reserved([self._path, *(pin["file"] for pin in settings.get("pins", ()))])

    def current(self) -> str | None:
        """The release that the branch says.

        Raises:
            UsageError: the footprint there is damaged.
            DeployError: the repository cannot be reached.
        """
        with self._repository.entered():
            found = self._footprint(self._repository.fetch(self._branch))
        return found.identity if found else None

    def _footprint(self, commit: str | None) -> Footprint | None:
        return footprint.read(self._repository, commit, self._workplace.environment, self._path)

    def stage(self, deployable: Deployable, former: Deployable | None) -> Staged:
        """Keep the release's files in the repository of our own, and see whether they can be committed.

        Raises:
            UsageError: an artifact is unknown, or a path cannot be in git.
            IntegrityError: the store is damaged.
            DeployError: the repository cannot be reached, or people have edited what would be changed.
        """
        taken = self._taken(deployable)
        _refuse_reserved([*taken.files, *taken.links])
        if taken.size > BYTES_MAX:
            raise UsageError(
                f"{deployable.release.label} has {taken.size} bytes for {self.place}, more than {BYTES_MAX}",
                hint="choose less by `artifacts` and `folder`: a git repository is for manifests",
            )
        wanted = Footprint(
            environment=self._workplace.environment,
            release=deployable.release.name,
            version=deployable.release.version,
            manifest=deployable.part.release.sha256,
            identity=deployable.identity,
            files={},
            pins=tuple(self._pins(deployable)),
        )
        with self._repository.entered():
            staging.stage(self._repository, wanted, taken, self._workplace.progress)
            self._made(self._repository.fetch(self._branch), deployable.identity)
        return Staged(folder=None, written=taken.size)

    def _taken(self, deployable: Deployable) -> Chosen:
        return chosen(deployable, self._workplace.store, self._settings.get("artifacts"), self._settings.get("folder"))

    def _pins(self, deployable: Deployable) -> Iterator[Pin]:
        seen = set()
        for pin in self._settings.get("pins", ()):
            made = Pin(
                file=pin["file"],
                at=tuple(pin["at"]),
                value=_PLACEHOLDER.sub(lambda found: self._filled(found, deployable), pin["to"]),
            )
            if made.where in seen or f"{made.file}/".startswith(f"{self._path}/"):
                raise UsageError(
                    f"the pin of {made.file} at {pins.shown(made.at)} stands twice, or is about a file of the release",
                    hint="correct `pins`: they are for files that people write, outside of `path`",
                )
            seen.add(made.where)
            yield made

    def _filled(self, found: re.Match[str], deployable: Deployable) -> str:
        release = deployable.release
        known = {"release": release.name, "version": release.version, "manifest": deployable.part.release.sha256}
        if found[1] == "digest" and found[2]:
            return root_of(deployable, self._workplace.store, found[2])
        if found[1] not in known or found[2] is not None:
            raise UsageError(
                f"the pin {visible(found[0])} means nothing",
                hint="use {release}, {version}, {manifest} or {digest:ARTIFACT}",
            )
        return known[found[1]]

    def activate(self, identity: str | None) -> None:
        """Commit a staged release on top of the branch, or the way back to nothing, and push it.

        Raises:
            DeployError: the repository refuses, or people have edited what would be changed; the branch is as it was.
            StoreError: the release is not staged, or the disk refuses.
        """
        with self._repository.entered():
            for _ in range(TRIES):
                head = self._repository.fetch(self._branch)
                made = self._made(head, identity)
                if made is None:
                    return
                refusal = self._repository.push(made, self._branch)
                if refusal is None:
                    return
                if self._repository.fetch(self._branch) == head:
                    raise DeployError(
                        f"{self.place} takes no push: {refusal}",
                        hint="let the user who runs this push to that branch",
                    )
        raise DeployError(f"{self.place} was changed by others {TRIES} times while this was pushed", hint="apply again")

    def _made(self, head: str | None, identity: str | None) -> str | None:
        """The commit that lets a release serve; None where the branch says so already.

        Raises:
            DeployError: something that is not ours is in the way, or was edited.
        """
        before = self._footprint(head)
        goal = staging.staged(self._repository, identity, self._path) if identity else None
        due = change(self._repository, head, self._path, before, goal)
        if due.edited and self._settings.get("edited", "refuse") == "refuse":
            raise DeployError(
                f"people have edited {some(due.edited)} in {self.place}",
                hint="carry the edit into the next release and revert it there, or say `edited: overwrite`",
            )
        spots = dict(due.spots)
        own = footprint.place_of(self._workplace.environment, self._path)
        if goal:
            content = footprint.encode(msgspec.structs.replace(goal, pins=due.pins))
            spots[own] = Spot(mode="100644", id=self._repository.blob(content))
        elif before:
            spots[own] = None
        else:
            return None
        tree = self._repository.tree(head, spots)
        if head and tree == self._repository.tree_of(head):
            return None
        said = message(before, goal, environment=self._workplace.environment, operation=self._workplace.operation)
        return self._repository.commit(tree, head, said, self._author)

    def check(self, deployable: Deployable, *, deep: bool) -> str | None:
        """Whether the branch says the release, unedited; with `deep`, whether its files are those of the release."""
        with self._repository.entered():
            head = self._repository.fetch(self._branch)
            found = self._footprint(head)
            if head is None or found is None or found.identity != deployable.identity:
                return f"{self.place} has {found.identity if found else 'nothing'}, not {deployable.identity}"
            if wrong := edits(self._repository, head, self._path, found):
                return f"people have edited {some(wrong)} in {self.place}"
        if deep:
            own = {f"{self._path}/{name}": text for name, text in staging.spots(self._taken(deployable)).items()}
            wrong = sorted(name for name in own.keys() | found.files.keys() if own.get(name) != found.files.get(name))
            if wrong:
                return f"{some(wrong)} in {self.place} is not what the release has; apply it again"
        return None

    def prune(self, keep: Collection[str]) -> int:
        """Forget staged releases other than `keep` and the one that serves; the branch keeps its history.

        Raises:
            DeployError: the repository cannot be reached.
            StoreError: the disk refuses.
        """
        with self._repository.entered():
            serving = self._footprint(self._repository.fetch(self._branch))
            return staging.prune(self._repository, {*keep, *([serving.identity] if serving else ())})


def _refuse_reserved(paths: Iterable[str]) -> None:
    """Refuse names that mean something to git, or to us.

    Raises:
        UsageError: there is one.
    """
    for path in paths:
        first, *_ = parts = path.split("/")
        if first == footprint.HOME or any(part.lower().startswith((".git", "git~")) for part in parts):
            raise UsageError(
                f"{visible(path)} is a name that git or sealift keeps for itself",
                hint="choose what is taken by `artifacts` and `folder`, or name another `path` in the environment",
            )


def target(settings: Mapping[str, Any], workplace: Workplace) -> GitOps:
    """The folder in a branch that `settings` names."""
    return GitOps(settings, workplace)
