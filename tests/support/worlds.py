"""The two sides of the gap, small and quick, for tests: a depot with its key, and an enrolled site."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

from images import Sample
from told import Told

import bundler.sources.path
from bundler.depots.depot import Depot
from bundler.depots.published import Reference
from bundler.exporting import Exported, Times, export
from bundler.sealing import Effort
from bundler.spec import load as load_spec
from installer.admitting import Imported, admit
from installer.applying import Installation, Outcome
from installer.deployments import Deployed
from installer.environments.environment import load as load_environment
from installer.records.site import Site
from keys.repository import online_signer
from sealift.progress import Silent
from sealift.receipt import Statement

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def write_tree(folder: Path, files: dict[str, bytes]) -> Path:
    """Make `folder` hold exactly these files."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def sample(seed: int = 1) -> dict[str, bytes]:
    """A small tree with everything that packing tells apart."""
    chance = random.Random(seed)
    noise = chance.randbytes(3 << 20)
    return {
        "index.html": b"<h1>shop</h1>\n" * 40,
        "assets/app.js": b"function f() { return 42 }\n" * 500,
        "assets/copy.js": b"function f() { return 42 }\n" * 500,
        "assets/noise.bin": noise,
        "assets/large.txt": b"".join(b"line %d of a large file\n" % number for number in range(120_000)),
        "empty": b"",
        f"release-{seed}.txt": f"release {seed}\n".encode(),
        "bin/check": b"#!/bin/sh\nexit 0\n",
    }


def program(seed: int, *, functions: int = 3000, moved: int = 0, at: int = 700) -> bytes:
    """Functions with calls to each other, as in an executable; from the one `at` they lie `moved` bytes later."""
    chance, more = random.Random(seed), random.Random(-seed)
    places = [96 * number + (moved if number > at else 0) for number in range(functions)]
    parts = []
    for number, place in enumerate(places):
        for call in chance.choices(places, k=4):
            parts.append(chance.randbytes(12) + (call - place).to_bytes(8, "little", signed=True))
        parts.append(bytes(16) + (more.randbytes(moved) if number == at else b""))
    return b"".join(parts)


@dataclass
class Connected:
    """The connected side: a depot, and folders to export from."""

    root: Path
    depot: Depot
    fingerprint: str
    now: datetime = NOW
    made: dict[str, Exported] = field(default_factory=dict)

    @property
    def first_root(self) -> Path:
        """The root metadata that a site enrols with."""
        return self.depot.folder / "metadata" / "1.root.json"

    def spec(
        self, version: str, files: dict[str, bytes] | None = None, *, release: str = "shop", more: str = ""
    ) -> Path:
        """Write a spec with one artifact `web` of these files; return its path."""
        folder = self.root / f"{release}-{version}"
        if files is not None:
            write_tree(folder, files)
            check = folder / "bin" / "check"
            if check.exists():
                check.chmod(0o755)
        path = self.root / f"{release}-{version}.yaml"
        path.write_text(
            f'release: {release}\nversion: "{version}"\nartifacts:\n  web:\n    source: path\n'
            f"    path: {folder.name}\n{more}"
        )
        return path

    def images(self, version: str, *samples: Sample, name: str = "registry.example.com/shop/web") -> Path:
        """Write a spec of the release `shop` with these images, tagged with the version; return its path."""
        text = f'release: shop\nversion: "{version}"\nartifacts:\n'
        for number, made in enumerate(samples):
            folder = self.root / f"layout-{version}-{number}"
            if not folder.exists():
                made.pile.write(folder, {"it": made.root, made.signature_tag: made.signature, "": made.sbom})
            called = f"{name}{number or ''}:{version}"
            text += f"  image-{number}:\n    source: oci\n    image: oci:{folder.name}:it\n    as: {called}\n"
        path = self.root / f"images-{version}.yaml"
        path.write_text(text)
        return path

    def packages(self, version: str, files: dict[str, bytes], *, kind: str = "wheels", release: str = "shop") -> Path:
        """Export one release of these packages, as one artifact of a kind; return the bundle."""
        with mock.patch.object(bundler.sources.path, "KIND", kind, create=True):
            return self.export(self.spec(version, files, release=release))

    def export(
        self,
        specs: Path | Sequence[Path],
        out: Path | None = None,
        *,
        level: int = 3,
        threads: int = 2,
        audience: Sequence[str] = (),
        since: Sequence[str] = (),
        receipts: Sequence[Statement] = (),
        inflate: bool = True,
        small: bool = False,
    ) -> Path:
        """Export specs as one bundle, as a difference to `name@version` or for receipts; return its path."""
        several = [specs] if isinstance(specs, Path) else list(specs)
        loaded = [load_spec(path) for path in several]
        path = out or self.root / f"{loaded[0].name}-{loaded[0].version}.sealift"
        made = export(
            loaded,
            self.depot,
            path,
            effort=Effort(level=level, threads=threads, inflate=inflate, small=small),
            signer_for=online_signer(self.depot.folder, Told(), unsafe_unencrypted=True),
            times=Times(now=self.now, published=self.now, epoch=0),
            progress=Silent(),
            audience=audience,
            since=[
                Reference(name=name, version=version) for name, _, version in (each.partition("@") for each in since)
            ],
            receipts=receipts,
        )
        self.made[path.name] = made
        return path

    def bundle(
        self,
        version: str,
        files: dict[str, bytes] | None = None,
        *,
        release: str = "shop",
        more: str = "",
        since: Sequence[str] = (),
        receipts: Sequence[Statement] = (),
        inflate: bool = True,
        small: bool = False,
    ) -> Path:
        """Export one release of these files (`sample(1)` by default); return the bundle."""
        spec = self.spec(version, sample() if files is None else files, release=release, more=more)
        return self.export(spec, since=since, receipts=receipts, inflate=inflate, small=small)


@dataclass
class Isolated:
    """The isolated side: an enrolled site and a place to deploy to."""

    root: Path
    folder: Path
    srv: Path
    now: datetime = NOW

    @property
    def site(self) -> Site:
        """The site, opened anew."""
        return Site.open(self.folder)

    @property
    def installation(self) -> Installation:
        """Its environments, opened anew."""
        return Installation(self.site, workers=2, progress=Silent(), clock=lambda: self.now)

    def admit(self, bundle: Path, *, waiver: bytes | None = None) -> Imported:
        """Import a bundle."""
        return admit(self.site, bundle, now=self.now, workers=2, progress=Silent(), waiver=waiver)

    def bring(self, connected: Connected, releases: Mapping[str, dict[str, bytes]]) -> None:
        """Import releases `shop` of these files by their versions, each in a bundle of its own."""
        for version, files in releases.items():
            self.admit(connected.bundle(version, files))

    def environment(self, version: str, *, release: str = "shop", more: str = "", target: str = "") -> Path:
        """Write an environment that deploys a version to `srv`; return its path."""
        path = self.root / "environment.yaml"
        path.write_text(
            f'environment: plant-7\nrelease: {release}\nversion: "{version}"\ntargets:\n  - kind: directory\n'
            f"    path: {self.srv}\n{target}policy: none\n{more}"
        )
        return path

    def deploy(
        self, version: str, target: str, *, environment: str = "plant-7", release: str = "shop", more: str = ""
    ) -> Outcome:
        """Apply an environment whose one target is the YAML `target`, in braces."""
        path = self.root / "environment.yaml"
        path.write_text(
            f'environment: {environment}\nrelease: {release}\nversion: "{version}"\ntargets:\n  - {target}\n'
            f"policy: none\n{more}"
        )
        return self.installation.apply(load_environment(path))

    def apply(self, version: str, *, more: str = "", target: str = "") -> None:
        """Apply an environment that deploys a version."""
        self.installation.apply(load_environment(self.environment(version, more=more, target=target)))

    @property
    def serving(self) -> Deployed:
        """What the environment runs."""
        found = self.installation.deployments.state("plant-7").current
        assert found is not None
        return found

    def problems(self, *, deep: bool = False) -> list[str | None]:
        """What is wrong at each of its targets."""
        return [problem for _, problem in self.installation.inspect(self.serving, deep=deep)]

    def problem(self, *, deep: bool = False) -> str | None:
        """What is wrong at its only target."""
        (found,) = self.problems(deep=deep)
        return found

    def fingerprint_of_everything(self) -> str:
        """A digest of the site's state, its marks, the store and what is deployed; the ledger does not count."""
        running = hashlib.sha256()
        for base in (self.folder, self.srv):
            for path in sorted(base.rglob("*")) if base.exists() else []:
                if path.name in ("ledger.jsonl", "lock", "marks.json"):
                    continue
                running.update(f"{path.relative_to(base)} {path.lstat().st_mode:o}\n".encode())
                if path.is_symlink():
                    running.update(str(path.readlink()).encode())
                elif path.is_file():
                    running.update(path.read_bytes())
        return running.hexdigest()
