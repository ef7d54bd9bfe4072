"""A root of its own for apt: lists, cache, sources and what it takes for installed, apart from the machine's.

Of the machine's settings those stay that say how a server is reached (proxies, `auth.conf`, certificates) and which
keys sign; hooks are cleared, and what would let an unsigned or weakly signed repository pass is switched off. Nothing
is installed, and nothing of the machine changes.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from sealift.durable import storing
from sealift.errors import IntegrityError, SealiftError, SourceError, TrustError
from sealift.names import visible

from .. import openpgp
from ..programs import run
from .asking import Archive, Asked

HELPER = "/usr/lib/apt/apt-helper"
BATCH = 64
"""Packages that are fetched by one command."""
SLACK = 1 << 20
"""Bytes that may come beyond the sizes of the packages, before a fetch is given up."""
KEYS = ("/etc/apt/trusted.gpg.d", "/etc/apt/keyrings", "/usr/share/keyrings")
"""Where this machine's keys of repositories are."""
_URI = re.compile(r"'([^' ]+)' ([^ /]+) ([0-9]{1,18}) SHA256:([0-9a-f]{64})")
_HINTS = (
    (r"Unable to locate package|has no installation candidate|was not found", "check the names, suites and components"),
    (r"unmet dependencies|held broken|Unable to correct", "the repositories do not hold all that is needed: add one"),
    (r"Hash Sum mismatch|unexpected size", "the repository is changing or damaged: try again later"),
    (r"40[13] |407 ", "the server wants credentials: write them in apt's auth.conf"),
    (r"404 ", "check the address, the suites and the components"),
    (r"Could not resolve|Could not connect|Connection", "check the name and the network, and apt's proxy"),
)


class Item(NamedTuple):
    """A file that apt would fetch."""

    url: str
    name: str
    """The file's name as apt writes it, with `%3a` for `:`."""
    size: int
    sha256: str


class Root:
    """The root, in a folder that exists only as long as it is needed."""

    def __init__(self, folder: Path, asked: Asked, base: Path) -> None:
        """Write its configuration.

        Raises:
            SourceError: there is no apt.
            StoreError: the disk refuses.
        """
        self._get = shutil.which("apt-get") or ""
        if not self._get or not os.path.exists(HELPER):
            raise SourceError("there is no apt to ask with", hint="run this on Debian or one of its kind")
        self.folder = folder
        self._asked = asked
        self._base = base
        with storing(folder):
            for name in ("lists/partial", "archives/partial", "sources", "none", "keys"):
                (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / "status").write_bytes(asked.installed)
            (folder / "sources/spec.sources").write_text("\n".join(map(self._source, asked.archives)))
            (folder / "apt.conf").write_text(self._configuration())

    def _source(self, archive: Archive) -> str:
        lines = [
            "Types: deb",
            f"URIs: {archive.url}",
            f"Suites: {' '.join(archive.suites)}",
            *([f"Components: {' '.join(archive.components)}"] if archive.components else ()),
            f"Architectures: {self._asked.architecture}",
        ]
        if archive.keyring is not None:
            folder = self.folder / "keys" / str(self._asked.archives.index(archive))
            folder.mkdir()
            lines.append(f"Signed-By: {openpgp.keyring([self._base / archive.keyring], folder)}")
        return "\n".join(lines) + "\n"

    def _configuration(self) -> str:
        folder, architecture = self.folder, self._asked.architecture
        settings = {
            "Dir::State": folder,
            "Dir::State::lists": folder / "lists",
            "Dir::State::status": folder / "status",
            "Dir::State::extended_states": folder / "extended",
            "Dir::Cache": folder,
            "Dir::Cache::archives": folder / "archives",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": folder / "none",
            "APT::Architecture": architecture,
            "APT::Architectures::": architecture,
            "APT::Default-Release": "",
            "APT::Get::AllowUnauthenticated": "false",
            "APT::Install-Recommends": str(self._asked.recommends).lower(),
            "APT::Install-Suggests": "false",
            "APT::Sandbox::User": "root",
            "APT::Update::Error-Mode": "any",
            "Acquire::AllowDowngradeToInsecureRepositories": "false",
            "Acquire::AllowInsecureRepositories": "false",
            "Acquire::AllowWeakRepositories": "false",
            "Acquire::ForceHash": "SHA256",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "Acquire::https::Verify-Host": "true",
            "Acquire::https::Verify-Peer": "true",
        }
        if self._asked.archives:
            settings |= {"Dir::Etc::sourcelist": "/dev/null", "Dir::Etc::sourceparts": folder / "sources"}
        cleared: tuple[str, ...] = ("APT::Architectures", "APT::Update::Pre-Invoke", "APT::Update::Post-Invoke")
        cleared += ("APT::Update::Post-Invoke-Success", "APT::Solver", "APT::NeverAutoRemove", "Acquire::Languages")
        lines = [f"#clear {name};" for name in cleared]
        return "\n".join([*lines, *(f'{name} "{value}";' for name, value in settings.items())]) + "\n"

    def update(self) -> tuple[str, ...]:
        """Fetch the lists; who signed them.

        Raises:
            SourceError: a repository cannot be asked.
            TrustError: one is not signed by a key that was named, or is this machine's.
            IntegrityError: a list is not what was signed.
        """
        self._run([self._get, "-q", "update"])
        lists = self.folder / "lists"
        sources = self._run([self._get, "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"])
        wanted = set(sources.decode("utf-8", "replace").splitlines())
        signed = [*lists.glob("*_InRelease"), *lists.glob("*_Release.gpg")]
        if not wanted or len(signed) < len(wanted):
            raise TrustError("a repository has no signature", hint="apt must be told its key; none passes without one")
        keys = self._keys()
        found: set[str] = set()
        for path in signed:
            what = visible(path.name)
            if path.name.endswith(".gpg"):
                found |= set(openpgp.check_detached(path.with_suffix(""), path, keys, what))
            else:
                found |= set(openpgp.check_clear(path, keys, self.folder / "signed", what))
                (self.folder / "signed").unlink(missing_ok=True)
        return tuple(sorted(found))

    def _keys(self) -> Path:
        paths = [self._base / each.keyring for each in self._asked.archives if each.keyring]
        if not paths or len(paths) < len(self._asked.archives):
            for folder in KEYS:
                paths += sorted(path for path in Path(folder).glob("*") if path.suffix in (".gpg", ".asc", ".pgp"))
        return openpgp.keyring(paths, self.folder / "none")

    def closure(self) -> list[Item]:
        """What would have to be fetched for the packages, by apt's solver.

        Raises:
            SourceError: a package is not known, or what one needs is not there.
        """
        command = [self._get, "-q", "--yes", "--no-remove", "--print-uris", "install", "--", *self._asked.packages]
        said = self._run(command).decode("utf-8", "replace")
        found = []
        for line in said.splitlines():
            if line.startswith("'"):
                match = _URI.fullmatch(line.strip())
                if match is None:
                    raise SourceError(
                        f"apt names a package without a SHA-256: {visible(line)[:120]}",
                        hint="the repository's lists have no SHA256: ask who keeps it",
                    )
                found.append(Item(match[1], match[2], int(match[3]), match[4]))
        return found

    def fetch(self, items: Sequence[Item], to: Path, told: Callable[[int], None]) -> list[Path]:
        """Fetch files into the folder `to`, named by their digests; apt has compared these.

        Args:
            items: what is fetched.
            to: a folder.
            told: called with the bytes that came.

        Raises:
            SourceError, IntegrityError: one cannot be had, or is not what it should be; more comes than they have.
        """
        places = [to / item.sha256 for item in items]
        size = sum(item.size for item in items)
        came = 0

        def tick() -> int:
            nonlocal came
            now = sum(path.stat().st_size for path in to.glob("**/*") if path.is_file())
            if now > came:
                told(now - came)
                came = now
            if now > size + SLACK:
                raise SourceError(
                    f"apt was sent more than the {size} bytes of the packages",
                    hint="the repository is changing or damaged: try again later",
                )
            return came

        for start in range(0, len(items), BATCH):
            batch = items[start : start + BATCH]
            command = [HELPER, "-q", "download-file"]
            for item in batch:
                command += [item.url, str(to / item.sha256), f"SHA256:{item.sha256}"]
            self._run(command, tick)
        tick()
        return places

    def _run(self, command: Sequence[str], tick: Callable[[], int] | None = None) -> bytes:
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("APT_", "DEBIAN_"))}
        variables |= {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        variables.pop("LANGUAGE", None)
        program, *arguments = command
        configured = [program, f"-c={self.folder / 'apt.conf'}", *arguments]
        code, output, said = run(configured, variables, self.folder, shown="apt", tick=tick)
        if code:
            raise _failure(f"{said.decode('utf-8', 'replace')}\n{output[-4096:].decode('utf-8', 'replace')}")
        return output


def _failure(said: str) -> SealiftError:
    """What apt's own words mean."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("E: ")] or [line for line in lines if line.startswith("W: ")]
    needs = [line for line in lines if re.search(r" : (?:Depends|PreDepends|Conflicts|Breaks): ", line)]
    words = re.sub(r"^[EW]: ", "", errors[0]) if errors else "it failed"
    if needs:
        words = f"{needs[0]}"
    words = re.sub(r"//[^/@\s]*@", "//***@", " ".join(words.split())).rstrip(". ")
    hint = next((hint for pattern, hint in _HINTS if re.search(pattern, said)), "run the same command again")
    message = f"apt says: {visible(words)[:300]}"
    if re.search(r"GPG error|is not signed|NO_PUBKEY|BADSIG|EXPKEYSIG|not.*Release file|clearsigned file", said):
        return TrustError(message, hint="name the key that signs the repository as `keyring`, or trust it in apt")
    if re.search(r"Hash Sum mismatch|unexpected size|Hash.*mismatch", said):
        return IntegrityError(message, hint=hint)
    return SourceError(message, hint=hint)
