"""Target `registry`: the site's registry gets what it lacks of a release's images, every digest unchanged.

Staging brings blobs and manifests there by their digests, which nobody sees. The switch sets the tags. A registry
cannot set several at once, so a mark on the shelf (`installer.folders.shelf`) says that a switch is under way: until it
is over, no release counts as the one that serves, and the next command finishes it or goes back.

    /srv/images/current/images.json                      the image map
    /srv/images/current/containerd/<registry>/hosts.toml  the mirrors for containerd
    /srv/images/current/registries.conf.d/sealift.conf    the mirrors for podman and CRI-O
    /srv/images/current/tags.json                        what tags stood for before, for the way back
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from sealift.at_once import at_once
from sealift.durable import make_folder, write_file
from sealift.errors import DeployError, UsageError
from sealift.oci.address import Address
from sealift.oci.credentials import credential
from sealift.oci.names import DOCKER, DOCKER_HOST, NAME_MAX, Name
from sealift.oci.registry import Registry
from sealift.oci.session import Session, Terms
from sealift.oci.transport import Transport
from sealift.patience import Patience

from ..folders.shelf import CURRENT, Shelf
from ..folders.switching import Switching
from ..images import mapping, tags
from ..images.images import images
from ..images.mapping import Mapped, Rule
from ..images.pushing import Placed, Push, problem
from ..images.tags import Tags
from ..storage.chosen import IMAGES
from ..storage.deployable import Deployable
from ..target import Staged, Workplace

WORKERS = 4
"""Requests at once."""
_NAME = {"type": "string", "minLength": 1, "maxLength": NAME_MAX}
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "registry": {
            "description": "The site's registry: its host, with its port where it has one of its own.",
            "type": "string",
            "pattern": "^[A-Za-z0-9.-]+(:[0-9]{1,5})?$",
            "maxLength": 255,
        },
        "path": {
            "description": "A folder for the image map and the mirror configuration, as an absolute path.",
            "type": "string",
            "pattern": "^/[^\\u0000]*$",
            "maxLength": 3072,
        },
        "map": {
            "description": "Where repositories go: the first entry that fits decides. What fits none keeps its path.",
            "type": "array",
            "maxItems": 256,
            "items": {
                "description": "One rule.",
                "type": "object",
                "properties": {
                    "from": {
                        **_NAME,
                        "pattern": r"^[^*]+\*?$|^\*$",
                        "description": "REGISTRY/REPOSITORY; a * at the end stands for all that follows.",
                    },
                    "to": {
                        **_NAME,
                        "pattern": r"^[^*]*\*?$",
                        "description": "The repository at the site's registry; * is what it stood for.",
                    },
                },
                "required": ["from", "to"],
                "additionalProperties": False,
            },
        },
        "artifacts": IMAGES,
        "token_host": {
            "description": "The host of the registry's token service, where it is neither its own nor akin to it.",
            "type": "string",
            "minLength": 1,
            "maxLength": 255,
        },
        "unsafe_http": {
            "description": "Whether the registry is asked without TLS; false where nothing is said.",
            "type": "boolean",
            "default": False,
        },
    },
    "required": ["registry", "path"],
    "additionalProperties": False,
}


class RegistryTarget:
    """A registry, and a shelf for what is told of it."""

    def __init__(self, settings: Mapping[str, Any], workplace: Workplace, transport: Callable[[], Transport]) -> None:
        self._host: str = settings["registry"]
        self.place = f"{self._host} ({settings['path']})"
        self._shelf = Shelf(Path(settings["path"]))
        self._switching = Switching(self._shelf)
        self._rules = [Rule(source=rule["from"], to=rule["to"]) for rule in settings.get("map", ())]
        self._artifacts: Collection[str] | None = settings.get("artifacts")
        self._http: bool = settings.get("unsafe_http", False)
        self._token_host: str | None = settings.get("token_host")
        self._workplace = workplace
        self._transport = transport
        self._registries: dict[str, Registry] = {}
        self._session: Session | None = None

    def _open(self, repository: str) -> Registry:
        """A repository of the registry."""
        registry = self._registries.get(repository)
        if registry is None:
            registry = self._registries[repository] = Registry(self._spoken_with(repository), repository, push=True)
        return registry

    def _spoken_with(self, repository: str) -> Session:
        if self._session is None:
            host = DOCKER_HOST if self._host == DOCKER else self._host
            name = Name(registry=self._host, repository=repository)
            terms = Terms(
                failure=DeployError,
                credential=lambda: credential(name, os.environ),
                token_host=self._token_host,
                patience=Patience(),
            )
            base = Address(scheme="http" if self._http else "https", host=host.lower(), path="/")
            self._session = Session(base, self._transport(), terms)
        return self._session

    def current(self) -> str | None:
        """The release whose tags were set last; of a switch that did not end, what it is about, marked as such.

        Raises:
            UsageError: something else stands on the shelf.
            StoreError: the shelf cannot be read.
        """
        return self._switching.current()

    def stage(self, deployable: Deployable, former: Deployable | None) -> Staged:
        """Bring what the registry lacks, and write what is told of it.

        Raises:
            UsageError: the release holds no image, or not the one that is to be deployed, or two images would have
                one name.
            DeployError: the registry refuses or cannot be reached.
            IntegrityError: the store is damaged, or the registry makes something else of what it is sent.
            StoreError: the disk refuses.
        """
        placed, mapped = self._placed(deployable)
        identity = deployable.identity
        again = self._shelf.current() == identity
        push = Push(self._open, workers=WORKERS, progress=self._workplace.progress, thorough=again)
        pushed = push.run(placed)
        self._shelf.prepare()
        folder = self._shelf.releases / identity
        if not again:
            after = {f"{repository}:{tag}": digest for (repository, tag), digest in sorted(pushed.tags.items())}
            said = Tags(format=1, base=self._shelf.current(), after=after, before=self._stand(after))
            with self._shelf.making(identity) as temporary:
                self._tell(temporary, mapped)
                tags.write(temporary, said)
        return Staged(folder=folder, written=pushed.sent, reused=pushed.there)

    def _placed(self, deployable: Deployable) -> tuple[list[Placed], list[Mapped]]:
        placed: list[Placed] = []
        mapped: list[Mapped] = []
        names: dict[tuple[str, str], tuple[str, str]] = {}
        for image in images(deployable.taking(self._artifacts), self._workplace.store):
            for root in image.roots:
                assert root.name is not None
                repository = mapping.repository_of(root.name, self._rules)
                mapped.append(Mapped(name=root.name, digest=root.descriptor.digest, repository=repository))
                if root.tag:
                    known = (root.descriptor.digest, root.name.place)
                    other = names.setdefault((repository, root.tag), known)
                    if other[0] != known[0]:
                        raise UsageError(
                            f"{other[1]} and {known[1]} would both be {self._host}/{repository}:{root.tag}",
                            hint="tell them apart by `map` in the environment",
                        )
            placed.append(Placed(image=image, repository=mapped[-1].repository))
        return placed, mapped

    def _stand(self, keys: Collection[str]) -> dict[str, str | None]:
        """What tags stand for now."""
        found: dict[str, str | None] = {}

        def one(key: str) -> None:
            repository, tag = tags.split(key)
            found[key] = self._open(repository).digest_of(tag)

        at_once(one, tuple(keys), workers=WORKERS)
        return dict(sorted(found.items()))

    def _tell(self, folder: Path, mapped: list[Mapped]) -> None:
        own = [each for each in mapped if not (each.name.tag or "").startswith("sha256-")]
        write_file(folder / "images.json", mapping.image_map(self._host, own))
        make_folder(folder / "registries.conf.d")
        conf = mapping.containers_conf(self._host, mapped, http=self._http)
        write_file(folder / "registries.conf.d" / "sealift.conf", conf)
        for host, content in mapping.containerd_hosts(self._host, mapped, http=self._http).items():
            make_folder(folder / "containerd" / host)
            write_file(folder / "containerd" / host / "hosts.toml", content)

    def activate(self, identity: str | None) -> None:
        """Set the tags of a staged release, or give back those of the one that serves; then turn the link.

        Raises:
            DeployError: the registry refuses or cannot be reached; some tags may be set, and the mark stays.
            StoreError: the disk refuses.
        """
        left = self._switching.leaving(identity)
        after = tags.read(self._shelf.releases / identity) if identity else None
        now = tags.read(self._shelf.releases / left) if left else None
        self._switching.begin(identity)
        due = tags.due(after, now, identity=identity)
        at_once(lambda item: self._set(*item), tuple(due.items()), workers=WORKERS)
        self._switching.end(identity)

    def _set(self, key: str, digest: str | None) -> None:
        repository, tag = tags.split(key)
        registry = self._open(repository)
        if digest is None:
            registry.delete_tag(tag)
        elif registry.digest_of(tag) != digest:
            found = registry.require(digest)
            registry.put_manifest(tag, found.descriptor, found.content)

    def check(self, deployable: Deployable, *, deep: bool) -> str | None:
        """Whether every tag stands for what it should; with `deep`, whether the registry has all that they lead to."""
        identity = deployable.identity
        serving = self.current()
        if serving != identity:
            return f"{self._shelf.root / CURRENT} leads to {serving or 'nothing'}, not to {identity}"
        said = tags.read(self._shelf.releases / identity)
        for key, digest in self._stand(said.after).items():
            if digest != said.after[key]:
                there = f"{digest[:19]}…" if digest else "nothing"
                return f"{self._host}/{key} stands for {there}, not for {said.after[key][:19]}…"
        if deep:
            return problem(self._open, self._placed(deployable)[0], workers=WORKERS)
        return None

    def prune(self, keep: Collection[str]) -> int:
        """Remove what is told of releases other than `keep` and the one that serves; the registry keeps what it has.

        Raises:
            StoreError: the disk refuses.
        """
        return self._shelf.prune(keep)


def target(settings: Mapping[str, Any], workplace: Workplace) -> RegistryTarget:
    """The registry that `settings` names; its line is opened when something is asked."""

    def transport() -> Transport:
        try:
            from ..network.wire import wire
        except ModuleNotFoundError as error:
            raise UsageError(
                f"the target registry needs the package {error.name}, which is not installed",
                hint="install sealift with its extra: sealift[registry]",
            ) from error
        return wire(Patience(), connections=WORKERS)

    return RegistryTarget(settings, workplace, transport)
