"""The demo: two releases of a real package cross a gap on this machine, with the real programs.

    .venv/bin/python tests/demo/demo.py

It shows every command as one types it, and checks each claim that it makes: it ends with 1 where one does not hold.
Everything happens in build/demo; the packages stay in build/demo/wheels, so that a second run needs no network.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from folders import digest, files
from narrator import ClaimError, Narrator, Place
from packages import FORMER, LATER, PackageError, ensure, unpack

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("sealift-keys", "sealift-bundle", "sealift-install")
PATCHED = f"{LATER.version}+site.1"
REFUSED = {"metadata": 6, "manifests": 5, "trees": 5, "index": 5, "packs": 5}
"""The exit code where one byte in a member's content is another one: the format's rules come before digests."""


class Demo:
    """The story, chapter by chapter."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        run = folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        self.connected = Place(name="connected", folder=run / "connected")
        self.isolated = Place(name="site", folder=run / "isolated")
        self.stick = run / "stick"
        for made in (self.connected.folder, self.isolated.folder, self.stick):
            made.mkdir(parents=True)
        self.narrator = Narrator(programs, {"SEALIFT_PASSPHRASE": secrets.token_urlsafe(24)})
        self.figures: list[tuple[str, str, str]] = []

    def tell(self) -> None:
        """Tell all of it.

        Raises:
            ClaimError: something is not as it should be.
            PackageError: the content cannot be fetched.
        """
        begun = time.monotonic()
        self.narrator.title("Sealift: two releases of a real package cross an air gap on this machine")
        self.narrator.say(
            "The folder 'connected' is the side with a network, 'isolated' is the site behind the gap, and 'stick' is "
            f"what is carried between them. All of them are in {self._shown(self.connected.folder.parent)}, and "
            "nothing else on this machine is touched."
        )
        self.content()
        fingerprint = self.keys()
        self.seal_first()
        self.site(fingerprint)
        with self.server() as address:
            self.deploy_first(address)
            self.upgrade(address)
            self.roll_back(address)
            self.refuse(address)
        self.prove()
        self.end(time.monotonic() - begun)

    def content(self) -> None:
        """Two versions of a real package."""
        n = self.narrator
        n.chapter("Something to carry")
        n.say(f"Two published versions of Django, {FORMER.version} and {LATER.version}, stand for what a build made.")
        for package in (FORMER, LATER):
            wheel, fetched = ensure(package, self.folder / "wheels")
            tree = self.connected.folder / f"django-{package.version}"
            unpack(wheel, tree)
            held = files(tree)
            size = sum((tree / path).lstat().st_size for path in held)
            how = "fetched with pip" if fetched else "fetched by an earlier run"
            n.claim(len(held) > 3000, f"{tree.name}: {len(held):,} files, {_size(size)}, {how}, sha-256 as pinned")

    def keys(self) -> str:
        """The security team's keys; return the root's fingerprint."""
        n = self.narrator
        n.chapter("The security team makes keys (connected side, once)")
        n.say(
            "A root key that goes offline, and an online key that signs releases; both are encrypted with a "
            "passphrase, here from the environment variable SEALIFT_PASSPHRASE."
        )
        n.run(self.connected, "sealift-keys", "init", "--depot", "depot")
        pem = (self.connected.folder / "depot/keys/online.pem").read_text()
        n.claim(pem.startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "the keys lie on the disk encrypted")
        described = self._json(self.connected, "sealift-keys", "show", "--depot", "depot")
        return str(described["fingerprint"])

    def seal_first(self) -> None:
        """The first release, sealed and checked."""
        n = self.narrator
        n.chapter(f"The operator seals Django {FORMER.version} (connected side)")
        n.say("A spec says what the release is made of.")
        self._spec(FORMER.version)
        n.run(self.connected, "cat", "sealift.yaml")
        n.run(self.connected, "sealift-bundle", "lint", "sealift.yaml")
        n.say("Export reads the files, packs and signs them, and writes one bundle.")
        self._export(FORMER.version)
        n.say("Before anybody walks: the check that the site will make.")
        n.run(self.connected, "sealift-bundle", "verify", f"django-{FORMER.version}.sealift", "--depot", "depot")
        n.say("A bundle is a plain tar; standard tools open it (docs/how-to/verify-by-hand.md shows how).")
        n.run(self.connected, "tar", "-tf", f"django-{FORMER.version}.sealift")

    def site(self, fingerprint: str) -> None:
        """The site begins."""
        n = self.narrator
        n.chapter("The site begins (isolated side, once)")
        n.say("The root of trust comes with the first bundle; its fingerprint comes another way, on paper.")
        n.run(self.connected, "cp", "depot/metadata/1.root.json", "../stick/")
        n.say("A root with another fingerprint is refused:")
        wrong = "0" * 8 + fingerprint[8:]
        root = ("--root", "../stick/1.root.json")
        n.run(self.isolated, "sealift-install", "enroll", "--site", "site", *root, "--fingerprint", wrong, code=6)
        n.claim(not (self.isolated.folder / "site").exists(), "refused with exit code 6, and no site was made")
        n.say("With the right one the site is enrolled:")
        n.run(self.isolated, "sealift-install", "enroll", "--site", "site", *root, "--fingerprint", fingerprint)

    def deploy_first(self, address: str) -> None:
        """The first deployment."""
        n = self.narrator
        n.chapter(f"Django {FORMER.version} crosses, and is deployed (isolated side)")
        n.say("Import checks every signature and every digest, and takes all of the bundle or nothing.")
        self._carry(FORMER.version)
        self._import(FORMER.version)
        n.say("The environment says what this site runs, where, and how to tell that it works.")
        self._environment(FORMER.version, address)
        n.run(self.isolated, "cat", "environment.yaml")
        n.say("Plan shows what would happen, and changes nothing.")
        before = digest(self.isolated.folder)
        n.run(self.isolated, "sealift-install", "plan", "--site", "site", "environment.yaml")
        n.claim(digest(self.isolated.folder) == before, "plan changed no byte of the site")
        n.say("Apply writes the release beside what serves, switches by renaming one link, and asks the server.")
        self._apply(FORMER.version)
        self._serves(FORMER.version, address)

    def upgrade(self, address: str) -> None:
        """The second release."""
        n = self.narrator
        n.chapter(f"The upgrade to Django {LATER.version}")
        n.say("The same spec with the new version is a new release.")
        self._spec(LATER.version)
        self._export(LATER.version)
        n.say("What changed between the two, from the bundles alone:")
        bundles = [f"django-{package.version}.sealift" for package in (FORMER, LATER)]
        n.run(self.connected, "sealift-bundle", "diff", *bundles, "--depot", "depot", "--summary")
        self._carry(LATER.version)
        self._import(LATER.version)
        n.say("The environment file gets the new version, and is planned and applied again.")
        self._environment(LATER.version, address)
        n.run(self.isolated, "sealift-install", "plan", "--site", "site", "environment.yaml")
        self._apply(LATER.version)
        self._serves(LATER.version, address)

    def roll_back(self, address: str) -> None:
        """The former release again."""
        n = self.narrator
        n.chapter("The way back")
        n.say(f"Django {FORMER.version} is still there, so the way back needs no stick.")
        said = n.run(self.isolated, "sealift-install", "rollback", "--site", "site", "plant-7")
        self.figures.append(("rollback", f"to {FORMER.version}", f"{said.seconds:.2f} s"))
        self._serves(FORMER.version, address)

    def refuse(self, address: str) -> None:
        """One byte, anywhere."""
        n = self.narrator
        n.chapter("One byte is changed on the way")
        n.say(f"A third release, {PATCHED}: the operator patched one file. Its bundle is damaged on the stick.")
        tree = self.connected.folder / f"django-{LATER.version}"
        with (tree / "django/__init__.py").open("a") as file:
            file.write("# patched for this site\n")
        self._spec(PATCHED, tree.name)
        self._export(PATCHED)
        good = self._carry(PATCHED)
        damaged = self.stick / "damaged.sealift"
        before, store, lines = self._kept(), self._store(), self._ledger()
        places = _places(good)
        name, offset = places["packs"]
        _flip(good, damaged, offset)
        n.say(f"Byte {offset:,} of {good.stat().st_size:,} is another one, in the middle of the packed files:")
        n.run(self.isolated, "sealift-install", "import", "--site", "site", "../stick/damaged.sealift", code=5)
        n.claim(
            self._kept() == before, "refused with exit code 5; trust, releases and what is deployed are as they were"
        )
        n.claim(store.items() <= self._store().items(), "every file of the store is as it was")
        n.claim(self._ledger() == lines + 1, "the ledger has one line more: the refusal")
        n.say("The same for one byte in each other part of the bundle:")
        rows = [("byte in", "exit code", "why")]
        for part, code in REFUSED.items():
            if part == "packs":
                continue
            name, offset = places[part]
            _flip(good, damaged, offset)
            command = ("sealift-install", "import", "--site", "site", "--json", "../stick/damaged.sealift")
            said = n.run(self.isolated, *command, code=code, shown=False)
            short = f"{name[:30]}…" if len(name) > 31 else name
            why = str(json.loads(said.output)["error"]["message"]).partition(":")[0]
            rows.append((short, str(said.code), re.sub(r"[0-9a-f]{40,}", lambda found: f"{found[0][:12]}…", why)))
        n.table(rows)
        same = self._kept() == before and store.items() <= self._store().items()
        n.claim(same, "each was refused, and the site is as it was")
        n.say("The undamaged copy of the same bundle is admitted:")
        self._import(PATCHED)
        self._serves(FORMER.version, address)

    def prove(self) -> None:
        """What the site can show afterwards."""
        n = self.narrator
        n.chapter("What the site can prove afterwards")
        n.say("The ledger has a line for each admission, refusal, deployment and rollback, each bound to the former.")
        n.run(self.isolated, "sealift-install", "history", "--site", "site")
        n.say("Verify re-checks the whole store and the ledger's chain.")
        n.run(self.isolated, "sealift-install", "verify", "--site", "site")
        n.run(self.isolated, "sealift-install", "status", "--site", "site")

    def end(self, seconds: float) -> None:
        """The figures, and where to go next."""
        n = self.narrator
        n.chapter("In short")
        print()
        n.table([("what", "of", "result"), *self.figures])
        n.say(f"All {n.claims} claims above were checked while they were made; the whole took {seconds:.1f} s.")
        n.say("Where to go next:")
        n.table(
            [
                ("docs/tutorial/first-crossing.md", "do the same by hand, with a folder of your own"),
                ("docs/how-to/verify-by-hand.md", "check a bundle with tar, jq, openssl, sha256sum and zstd alone"),
                ("docs/explanation/trust.md", "what is authenticated when, and why it is built so"),
                ("docs/explanation/performance.md", "speed, size and memory beside other tools (make bench)"),
            ]
        )

    @contextlib.contextmanager
    def server(self) -> Iterator[str]:
        """A web server at the site that serves whatever `current` is; yields its address."""
        command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"]
        command.append(str(self.isolated.folder / "srv/current"))
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
            try:
                assert server.stdout is not None
                port = server.stdout.readline().split(" port ")[1].split()[0]
                yield f"http://127.0.0.1:{port}"
            finally:
                server.terminate()

    def _spec(self, version: str, tree: str | None = None) -> None:
        (self.connected.folder / "sealift.yaml").write_text(
            f"release: django\nversion: {version}\nartifacts:\n  web:\n    source: path\n"
            f"    path: {tree or f'django-{version}'}\n"
        )

    def _environment(self, version: str, address: str) -> None:
        (self.isolated.folder / "environment.yaml").write_text(
            f"environment: plant-7\nrelease: django\nversion: {version}\ntargets:\n  - kind: directory\n"
            f"    path: {self.isolated.folder / 'srv'}\nhealth:\n  - http: {address}/django/__init__.py\n"
            "policy: none\n"
        )

    def _export(self, version: str) -> None:
        bundle = f"django-{version}.sealift"
        command = ("sealift-bundle", "export", "sealift.yaml", "--depot", "depot", "--out", bundle)
        said = self.narrator.run(self.connected, *command)
        listed = self._json(self.connected, "sealift-bundle", "list", "--depot", "depot")
        (held,) = (each for each in listed["releases"] if each["version"] == version)
        size = (self.connected.folder / bundle).stat().st_size
        text = (
            f"{held['files']:,} files, {_size(held['bytes'])} -> {_size(size)} ({size / held['bytes']:.0%}) "
            f"in {_rate(held['bytes'], said.seconds)}"
        )
        self.narrator.claim(size < held["bytes"], f"what crosses: {text}")
        self.figures.append(("export", version, text))

    def _carry(self, version: str) -> Path:
        bundle = f"django-{version}.sealift"
        self.narrator.run(self.connected, "cp", bundle, "../stick/")
        return self.stick / bundle

    def _import(self, version: str) -> None:
        bundle = f"../stick/django-{version}.sealift"
        said = self.narrator.run(self.isolated, "sealift-install", "import", "--site", "site", bundle)
        size = (self.stick / f"django-{version}.sealift").stat().st_size
        self.narrator.claim(
            f"admitted django@{version}" in said.output,
            f"verified and in the store: {_size(size)} in {_rate(size, said.seconds)}",
        )
        self.figures.append(("import", version, f"{_size(size)} verified and stored in {_rate(size, said.seconds)}"))

    def _apply(self, version: str) -> None:
        said = self.narrator.run(self.isolated, "sealift-install", "apply", "--site", "site", "environment.yaml")
        listed = self._json(self.isolated, "sealift-install", "list", "--site", "site")
        (held,) = (each for each in listed["releases"] if each["version"] == version)
        text = f"{held['files']:,} files, {_size(held['bytes'])} in {_rate(held['bytes'], said.seconds)}"
        self.narrator.claim(held["environments"] == ["plant-7"], f"deployed: {text}")
        self.figures.append(("apply", version, text))

    def _serves(self, version: str, address: str) -> None:
        """Check that a version is what the site serves, byte for byte, and over HTTP."""
        n = self.narrator
        n.run(self.isolated, "readlink", "srv/current")
        built = files(self.connected.folder / f"django-{version}")
        same = files(self.isolated.folder / "srv/current") == built
        n.claim(same, f"current holds Django {version}: {len(built):,} files, byte for byte what was exported")
        with urllib.request.urlopen(f"{address}/django/__init__.py", timeout=10) as answer:  # noqa: S310 - our own server
            text = answer.read().decode()
        expected = f"VERSION = ({', '.join(version.split('.'))}, "
        n.claim(expected in text, f"the web server at the site answers with Django {version}")

    def _kept(self) -> str:
        """One digest of what a refusal must leave as it was: trust, releases, environments, and what is deployed.

        The ledger grows, and the marks remember how far. The store may grow as well: what arrived whole of a
        refused bundle waits there for the next try, and belongs to no release until then.
        """
        return digest(self.isolated.folder, without={"ledger.jsonl", "marks.json", *self._store()})

    def _store(self) -> dict[str, str]:
        """The files of the store, by name."""
        return {Path(path).name: found for path, found in files(self.isolated.folder / "site/store").items()}

    def _ledger(self) -> int:
        return (self.isolated.folder / "site/ledger.jsonl").read_bytes().count(b"\n")

    def _json(self, place: Place, *command: str) -> dict[str, Any]:
        said = self.narrator.run(place, *command, "--json", shown=False)
        document: dict[str, Any] = json.loads(said.output)
        return document

    def _shown(self, path: Path) -> str:
        return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def _places(bundle: Path) -> dict[str, tuple[str, int]]:
    """For each part of a bundle a member, and a byte in the middle of its content."""
    with tarfile.open(bundle) as archive:
        members = {member.name: (member.offset_data, member.size) for member in archive}
    chosen = {}
    for part in REFUSED:
        (*_, name) = (name for name in members if name.startswith(f"{part}/"))
        offset, size = members[name]
        chosen[part] = (name, offset + size // 2)
    return chosen


def _flip(good: Path, damaged: Path, offset: int) -> None:
    """Write a copy of a bundle in which one byte is another one."""
    shutil.copyfile(good, damaged)
    with damaged.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def _size(amount: int) -> str:
    return f"{amount / 1e6:.1f} MB"


def _rate(amount: int, seconds: float) -> str:
    return f"{seconds:.2f} s ({amount / 1e6 / seconds:.0f} MB/s)"


def _programs(given: Path | None) -> Path | None:
    """The folder of the programs: the one that is named, this Python's own, or the first on PATH."""
    found = shutil.which(PROGRAMS[0])
    candidates = [given] if given else [Path(sys.executable).parent, *([Path(found).parent] if found else [])]
    return next((each for each in candidates if all(os.access(each / name, os.X_OK) for name in PROGRAMS)), None)


def main() -> int:
    """Tell the story; return the exit code."""
    parser = argparse.ArgumentParser(description="Two releases of a real package cross a gap on this machine.")
    parser.add_argument("--folder", type=Path, default=ROOT / "build/demo", help="where everything happens")
    parser.add_argument("--bin", type=Path, help="the folder of the three programs")
    options = parser.parse_args()
    programs = _programs(options.bin)
    if programs is None:
        print("error: the programs are not installed\nhint: run make demo", file=sys.stderr)
        return 1
    try:
        Demo(options.folder.resolve(), programs.resolve()).tell()
    except (ClaimError, PackageError) as error:
        sys.stdout.flush()
        kind = "this does not hold" if isinstance(error, ClaimError) else "no content"
        print(f"error: {kind}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
