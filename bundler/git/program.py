"""The `git` command, run so that neither a repository nor this machine's configuration decides what it does.

Of the operator's configuration only what says how a server is reached is carried over: credential helpers,
proxies, certificates, other addresses for servers, and how ssh is started. Hooks, filters, templates, aliases
and defaults are not, nor what would switch off TLS. Nobody is asked for a password: a helper knows it, or git fails.

How a program is bounded and ended: `bundler.programs`.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from sealift.durable import storing
from sealift.errors import SourceError
from sealift.names import visible

from ..network.connections import CA_VARIABLES
from ..programs import run
from .address import Address

ALLOC_MAX = "2g"
"""What git may allocate for one object: a pack of a few kilobytes may say one of any size."""
_KEPT = {
    "GIT_ASKPASS",
    "GIT_HTTP_PROXY_AUTHMETHOD",
    "GIT_PROXY_SSL_CAINFO",
    "GIT_PROXY_SSL_CERT",
    "GIT_PROXY_SSL_KEY",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_SSH_VARIANT",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "GIT_SSL_CERT",
    "GIT_SSL_KEY",
}
"""What of the environment's GIT_… says how a server is reached."""
_CARRIED = re.compile(r"(?:credential|http|url)\..+|core\.(?:askpass|sshcommand|gitproxy)|ssh\.variant", re.DOTALL)
_LEFT = re.compile(r"http\.(?:.*\.)?(?:sslverify|followredirects|savecookies)", re.DOTALL)
_CA = re.compile(r"http\.(?:.*\.)?sslca(?:info|path)", re.DOTALL)
_BEFORE = {"http.lowSpeedLimit": "1", "http.lowSpeedTime": "60"}
_ALWAYS = {
    "core.bigFileThreshold": "4m",
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.packedGitLimit": "64m",
    "core.packedGitWindowSize": "16m",
    "core.warnAmbiguousRefs": "false",
    "fetch.fsckObjects": "true",
    "fetch.negotiationAlgorithm": "noop",
    "fetch.recurseSubmodules": "false",
    "fetch.unpackLimit": "1",
    "fetch.writeCommitGraph": "false",
    "gc.auto": "0",
    "http.followRedirects": "initial",
    "http.sslVerify": "true",
    "maintenance.auto": "false",
    "protocol.version": "2",
    "submodule.recurse": "false",
}
_HINTS = (
    (
        r"could not read (?:Username|Password)|Authentication failed|returned error: 40[13]|terminal prompts disabled",
        "the server wants credentials: set up a credential helper of git, or ~/.netrc, for the user of this command",
    ),
    (r"Permission denied|Host key verification failed|Could not resolve hostname", "try `ssh` to that host first"),
    (r"not our ref|unadvertised object", "the repository does not give that commit: was it taken away?"),
    (r"not found|does not appear to be a git repository|does not exist", "check `repository`, and who may read it"),
    (r"No such file or directory", "check `repository`: unless it is absolute, it starts from the folder of the spec"),
    (r"dubious ownership", "run as the owner of that repository, or fetch it by https or ssh"),
    (r"certificate|SSL", "if the server's authority is your own, name its certificate in SEALIFT_CA_FILE"),
    (r"fsck error|fsck", "git finds that the repository is damaged or hostile: ask who keeps it"),
)


class Git:
    """A bare repository in which objects are gathered, and how git is run for it."""

    def __init__(self, folder: Path, *, form: str) -> None:
        """Know the repository; `prepare` makes it.

        Args:
            folder: where it is.
            form: `sha1` or `sha256`, how its objects are named.

        Raises:
            SourceError: there is no git.
        """
        program = shutil.which("git")
        if program is None:
            raise SourceError("there is no git to fetch with", hint="install git 2.32 or later")
        self.program = program
        self.folder = folder
        self._form = form

    def prepare(self) -> None:
        """Make the repository where it is missing, and clear what a killed command left.

        Raises:
            SourceError: git cannot.
            StoreError: the disk refuses.
        """
        if not (self.folder / "HEAD").is_file():
            with storing(self.folder):
                shutil.rmtree(self.folder, ignore_errors=True)
                self.folder.mkdir(parents=True)
            form = f"--object-format={self._form}"
            self.run(["init", "--quiet", "--bare", "--template=", "--initial-branch=main", form, str(self.folder)])
        with storing(self.folder):
            for left in [*self.folder.glob("*.lock"), *self.folder.glob("objects/pack/tmp_*")]:
                left.unlink(missing_ok=True)

    def environment(self, address: Address | None = None) -> dict[str, str]:
        """What git finds in its environment where it talks to `address`, or to nobody."""
        settings = [*_ALWAYS.items()]
        if address is not None:
            trusted = _authorities()
            own = [pair for pair in self._carried() if not (CA_VARIABLES[0] in os.environ and _CA.fullmatch(pair[0]))]
            settings = [*_BEFORE.items(), *trusted, *own, *settings]
        variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name in _KEPT}
        variables.pop("LANGUAGE", None)
        if CA_VARIABLES[0] in variables:
            variables = {name: value for name, value in variables.items() if not name.startswith("GIT_SSL_CA")}
        variables |= {
            "LC_ALL": "C",
            "GIT_ALLOC_LIMIT": ALLOC_MAX,
            "GIT_ALLOW_PROTOCOL": address.protocol if address else "none",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_DIR": str(self.folder),
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_COUNT": str(len(settings)),
        }
        for number, (key, value) in enumerate(settings):
            variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        return variables

    def _carried(self) -> list[tuple[str, str]]:
        """What the operator's own configuration says about reaching servers, in its order."""
        own = {"GIT_DIR": str(self.folder), "LC_ALL": "C"}
        variables = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("GIT_") or name.startswith("GIT_CONFIG")
        }
        listed = self._bounded([self.program, "config", "--list", "--includes", "-z"], {**variables, **own})
        found = []
        for line in listed.decode("utf-8", "surrogateescape").split("\0"):
            key, newline, value = line.partition("\n")
            if _CARRIED.fullmatch(key) and not _LEFT.fullmatch(key):
                found.append((key, value if newline else "true"))
        return found

    def run(
        self, arguments: Sequence[str], *, address: Address | None = None, tick: Callable[[], int] | None = None
    ) -> bytes:
        """What git says.

        Args:
            arguments: for git.
            address: whom it talks to; nobody if None.
            tick: asked now and then; a number that grows says that there is progress.

        Raises:
            SourceError: it fails, stalls or says too much; the message is its own last words.
        """
        command = [self.program, *arguments]
        return self._bounded(command, self.environment(address), address.shown if address else "git", tick)

    def _bounded(
        self,
        command: list[str],
        variables: dict[str, str],
        shown: str = "git",
        tick: Callable[[], int] | None = None,
    ) -> bytes:
        code, output, said = run(command, variables, self.folder, shown=shown, tick=tick)
        if code:
            raise _failure(shown, said.decode("utf-8", "replace"))
        return output


def _failure(shown: str, said: str) -> SourceError:
    """What git's own words mean."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    fatal = [line for line in lines if re.match(r"(?:fatal|error|remote|ssh|ERROR)\b", line)] or lines[-1:]
    words = re.sub(r"//[^/@\s]*@", "//***@", fatal[0] if fatal else "it failed")
    words = re.sub(r"^(?:(?:fatal|error|remote|ERROR):\s*)+", "", words).rstrip(".: ")
    hint = next((hint for pattern, hint in _HINTS if re.search(pattern, said)), "run the same command again")
    return SourceError(f"{shown}: git says: {visible(words)[:300]}", hint=hint)


def _authorities() -> list[tuple[str, str]]:
    """The certificates to trust, by the variables that every fetch looks at; git's own win over all but ours."""
    for name in CA_VARIABLES:
        if place := os.environ.get(name):
            return [("http.sslCAPath" if os.path.isdir(place) else "http.sslCAInfo", place)]
    return []
