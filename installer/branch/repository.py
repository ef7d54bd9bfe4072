"""A git repository of the site, seen through a bare one of our own that holds what was fetched and what is staged.

Commits are made without a work tree, so nothing is filtered, and no hook of a template runs. Only one command at a
time works in the folder; the lock is held by git itself too, so that a git that outlives its killed parent is waited
for, and what locks it left are then nobody's.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sealift.durable import TEMPORARY, locked, make_folder, storing
from sealift.errors import DeployError, StoreError
from sealift.names import visible

from ..programs import commands

ANSWER_MAX = 64 << 20
"""Bytes of what git may answer."""
TIMEOUT = 600
"""Seconds for one command."""
WAIT = 60.0
"""Seconds to wait for another command in the same folder."""
_OBJECT = re.compile(r"[0-9a-f]{40}")
_FETCHED = "refs/sealift/fetched"
_KEPT = re.compile(
    r"GIT_(?:ASKPASS|SSH|SSH_COMMAND|SSH_VARIANT|SSL_.*|HTTP_.*|PROXY_.*|CONFIG_(?:GLOBAL|SYSTEM|NOSYSTEM|COUNT|KEY_\d+|"
    r"VALUE_\d+))|SSH_AUTH_SOCK|SSH_ASKPASS|SSH_ASKPASS_REQUIRE|XDG_CONFIG_HOME|XDG_RUNTIME_DIR|SSL_CERT_(?:FILE|DIR)|"
    r"(?i:https?|all|no)_proxy"
)
"""The variables of ours that git gets: by these a site says how it logs in, whom it trusts and through what."""
_SETTINGS = (
    "core.fsync=committed,reference",
    "core.hooksPath=/dev/null",
    "gc.autoDetach=false",
    "http.lowSpeedLimit=1",
    "http.lowSpeedTime=60",
    "maintenance.autoDetach=false",
    "protocol.ext.allow=never",
)


@dataclass(frozen=True, kw_only=True)
class Spot:
    """An entry of a commit."""

    mode: str
    id: str
    """Of its blob."""

    @property
    def text(self) -> str:
        """Both, as they are kept."""
        return f"{self.mode} {self.id}"


class Repository:
    """A bare repository in `folder`, and the one at `url` that it speaks with."""

    def __init__(self, folder: Path, url: str, environment: Mapping[str, str]) -> None:
        """Touch nothing yet.

        Args:
            folder: our own; it is made when it is entered.
            url: whose it is.
            environment: where git's own variables are taken from.
        """
        self.folder = folder
        self.url = url
        self._variables = {name: value for name, value in environment.items() if _KEPT.fullmatch(name)}
        self._variables |= {"GIT_TERMINAL_PROMPT": "0", "GIT_DIR": str(folder / "git"), "LC_ALL": "C.UTF-8"}
        self._lock: int | None = None

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Make the folder where it is missing, and hold it.

        Raises:
            StoreError: another command has it, or the disk refuses.
        """
        if self._lock is not None:
            yield
            return
        make_folder(self.folder, mode=0o700)
        with locked(self.folder / "lock", what=str(self.folder), wait=WAIT) as self._lock:
            try:
                self._tidy()
                yield
            finally:
                self._lock = None

    def _tidy(self) -> None:
        """Begin the repository, or remove what a killed git left in it."""
        place = self.folder / "git"
        if not (place / "HEAD").is_file():
            self.git("init", "--quiet", "--bare", "--template=", "--initial-branch=sealift", failure=StoreError)
        with storing(self.folder):
            for left in [*place.rglob("*.lock"), *self.folder.glob(f"{TEMPORARY}*")]:
                left.unlink()

    def git(
        self,
        *words: str,
        content: Iterable[bytes] = (),
        variables: Mapping[str, str] | None = None,
        failure: type[DeployError | StoreError] = DeployError,
    ) -> bytes:
        """What a git command answers.

        Args:
            words: the command and its arguments.
            content: what it reads as its standard input.
            variables: what it gets beside those of a site.
            failure: what it is when it fails.

        Raises:
            DeployError, StoreError: it failed; with its own last words.
        """
        outcome = self._run(words, content, variables)
        if outcome.problem:
            raise failure(
                f"git {words[0]} for {self.url} {outcome.problem}{_said(outcome)}", hint=_hint(outcome.output)
            )
        return outcome.answer

    def _run(
        self, words: tuple[str, ...], content: Iterable[bytes] = (), variables: Mapping[str, str] | None = None
    ) -> commands.Outcome:
        settings = [word for setting in _SETTINGS for word in ("-c", setting)]
        with contextlib.ExitStack() as stack:
            asked = None
            with storing(self.folder):
                for piece in content:
                    asked = asked or stack.enter_context(tempfile.TemporaryFile(dir=self.folder))
                    asked.write(piece)
                if asked:
                    asked.seek(0)
            return commands.run(
                ["git", *settings, *words],
                timeout=TIMEOUT,
                folder=self.folder,
                variables={**self._variables, **(variables or {})},
                asked=asked,
                answer_max=ANSWER_MAX,
                holding=() if self._lock is None else (self._lock,),
            )

    def fetch(self, branch: str) -> str | None:
        """The commit that the branch stands for there, fetched; None in a repository that is empty.

        Raises:
            DeployError: it cannot be reached, or has other branches and not this one.
        """
        wanted = f"refs/heads/{branch}"
        head = self._heads(wanted).get(wanted)
        if head is None:
            if self._heads():
                raise DeployError(
                    f"{self.url} has no branch {branch}", hint="make it there, or correct `branch` in the environment"
                )
            return None
        if self._run(("cat-file", "-e", f"{head}^{{tree}}")).problem:
            words = ("--quiet", "--no-tags", "--no-write-fetch-head", "--depth=1", self.url, f"+{wanted}:{_FETCHED}")
            self.git("fetch", *words)
            return self.git("rev-parse", "--verify", _FETCHED).decode().strip()
        return head

    def _heads(self, *patterns: str) -> dict[str, str]:
        """The commits there by their whole names; git takes a name that only ends like a pattern as well."""
        listed = self.git("ls-remote", "--heads", self.url, *patterns).decode("utf-8", "replace")
        found = [line.partition("\t") for line in listed.splitlines()]
        if not all(_OBJECT.fullmatch(identity) for identity, _, _ in found):
            raise DeployError(f"{self.url} does not answer as a git repository does")
        return {name: identity for identity, _, name in found}

    def push(self, commit: str, branch: str) -> str | None:
        """Let the branch there stand for a commit, if that rewrites nothing; else say in git's words why not.

        Raises:
            DeployError: git takes the name of another branch there for this one's too.
        """
        outcome = self._run(("push", "--porcelain", "--no-verify", self.url, f"{commit}:refs/heads/{branch}"))
        if outcome.problem is None:
            return None
        if f"dst refspec refs/heads/{branch} matches more than one" in outcome.output:
            raise DeployError(
                f"{self.url} has another branch whose name ends with refs/heads/{branch}, and git pushes to neither",
                hint="rename or remove it: `git ls-remote --heads` lists them",
            )
        told = [
            line.split("\t")[-1] for line in outcome.answer.decode("utf-8", "replace").splitlines() if line[:1] == "!"
        ]
        told += [line for line in outcome.output.splitlines() if line.startswith(("remote:", "fatal:"))]
        return visible("; ".join(line.strip() for line in told))[:400] or outcome.problem

    def listed(self, tree: str, path: str = "") -> dict[str, Spot]:
        """The entries below a path of a tree or a commit, by their whole paths."""
        answer = self.git("ls-tree", "-r", "-z", "--full-tree", tree, *(["--", path] if path else []))
        found = {}
        for line in answer.split(b"\0")[:-1]:
            about, _, name = line.partition(b"\t")
            mode, _, identity = about.decode().split(" ")
            found[os.fsdecode(name)] = Spot(mode=mode, id=identity)
        return found

    def files_above(self, tree: str, path: str) -> list[str]:
        """What is no folder, though `path` would be in it, or is it."""
        parts = path.split("/")
        names = ["/".join(parts[: length + 1]) for length in range(len(parts))]
        listed = self.git("ls-tree", "-z", "--full-tree", tree, "--", *names).split(b"\0")[:-1]
        files = [os.fsdecode(line.partition(b"\t")[2]) for line in listed if not line.startswith(b"040000 ")]
        return [name for name in files if name in names]

    def read(self, tree: str, path: str, limit: int) -> bytes | None:
        """The content of a file in a commit; None where there is no such file.

        Raises:
            DeployError: it has more than `limit` bytes.
        """
        spot = self.listed(tree, path).get(path)
        if spot is None or not spot.mode.startswith("100"):
            return None
        if int(self.git("cat-file", "-s", spot.id)) > limit:
            raise DeployError(f"{visible(path)} in {self.url} has more than {limit} bytes")
        return self.git("cat-file", "blob", spot.id)

    def blob(self, content: bytes) -> str:
        """The id of a file's content, which is there then."""
        return self.git("hash-object", "-w", "--stdin", "--no-filters", content=[content]).decode().strip()

    def tree(self, base: str | None, changes: Mapping[str, Spot | None]) -> str:
        """The tree that a commit's becomes when these paths are set, or removed.

        Raises:
            DeployError: something else has a path's folder.
        """
        index = {"GIT_INDEX_FILE": str(self.folder / f"{TEMPORARY}index")}
        gone = [path for path, spot in changes.items() if spot is None]
        lines = [f"0 {'0' * 40}\t{path}\0" for path in gone]
        lines += [f"{spot.text}\t{path}\0" for path, spot in changes.items() if spot is not None]
        try:
            self.git("read-tree", base or "--empty", variables=index)
            self.git("update-index", "-z", "--index-info", content=map(os.fsencode, lines), variables=index)
            return self.git("write-tree", variables=index).decode().strip()
        finally:
            with storing(self.folder):
                Path(index["GIT_INDEX_FILE"]).unlink(missing_ok=True)

    def tree_of(self, commit: str) -> str:
        """The tree of a commit."""
        return self.git("rev-parse", "--verify", f"{commit}^{{tree}}").decode().strip()

    def commit(self, tree: str, parent: str | None, message: str, author: tuple[str, str]) -> str:
        """A commit of a tree."""
        name, mail = author
        variables = {
            f"GIT_{role}_{key}": value
            for role in ("AUTHOR", "COMMITTER")
            for key, value in (("NAME", name), ("EMAIL", mail))
        }
        parents = ["-p", parent] if parent else []
        words = ("commit-tree", "--no-gpg-sign", tree, *parents)
        return self.git(*words, content=[message.encode()], variables=variables).decode().strip()


def _said(outcome: commands.Outcome) -> str:
    lines = [line for line in outcome.output.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("fatal:", "error:", "remote:", "ssh:"))] or lines[-1:]
    return f": {visible(told[0].strip())[:300]}" if told else ""


def _hint(output: str) -> str:
    if "Authentication failed" in output or "could not read Username" in output or "Permission denied" in output:
        return "let git log in there as the user who runs this: a credential helper, or a key for ssh"
    if "Host key verification failed" in output:
        return "put the server's key into that user's known_hosts"
    if "certificate" in output:
        return "name the certificate of the site's authority in git's http.sslCAInfo"
    return "run the same git command as the same user, and mend what it says"
