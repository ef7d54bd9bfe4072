"""An OpenPGP key of the site, in a GnuPG home that an engineer made: apt knows no other kind of signature.

`gpg` signs, and the signature is verified right after it was made. The key is not Sealift's: it signs nothing but
what this site's own machines read.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from sealift.durable import storing
from sealift.errors import DeployError, UsageError
from sealift.names import visible

from ..programs.commands import run

TIMEOUT = 60.0
"""Seconds for one signature: a token may want to be touched."""
KEY_MAX = 1 << 20
_FINGERPRINT = re.compile(r"^(?:sec|ssb):[^\n]*\n(?:[^\n]+\n)*?fpr:{9}([0-9A-F]{40,64}):", re.MULTILINE)


class Key:
    """A key in a GnuPG home."""

    def __init__(self, home: Path, identity: str) -> None:
        """Name it.

        Args:
            home: the GnuPG home.
            identity: a fingerprint.
        """
        self.identity = identity
        self._home = home

    def check(self) -> None:
        """Make sure that it is there, with its private half.

        Raises:
            UsageError: it is not.
        """
        command = self._command("--with-colons", "--fingerprint", "--list-secret-keys", "--", self.identity)
        outcome = run(command, timeout=TIMEOUT, folder=None, variables={})
        if outcome.problem or self.identity not in _FINGERPRINT.findall(outcome.output):
            raise UsageError(
                f"{self._home} has no private key {self.identity}",
                hint=f"make one, or name its whole fingerprint: gpg --homedir {self._home} --list-secret-keys",
            )

    def sign(self, release: bytes) -> bytes:
        """The document with a signature around it.

        Raises:
            DeployError: gpg does not sign, or what it signed does not verify.
        """
        with tempfile.TemporaryDirectory(prefix="sealift-") as made:
            folder = Path(made)
            with storing(folder):
                (folder / "Release").write_bytes(release)
            self._run(
                ["--digest-algo", "SHA512", "--local-user", f"{self.identity}!", "--output", str(folder / "InRelease")],
                ["--clearsign", str(folder / "Release")],
            )
            said = self._run(["--status-fd", "1"], ["--verify", str(folder / "InRelease")])
            if not re.search(rf"^\[GNUPG:\] VALIDSIG {self.identity} ", said, re.MULTILINE) or "GOODSIG" not in said:
                raise DeployError(f"what gpg signed with {self.identity} does not verify", hint="check the key")
            with storing(folder):
                return (folder / "InRelease").read_bytes()

    def public(self) -> bytes:
        """The public key, armoured.

        Raises:
            DeployError: gpg does not give it.
        """
        with tempfile.TemporaryDirectory(prefix="sealift-") as made:
            place = Path(made) / "key.asc"
            self._run(["--armor", "--output", str(place)], ["--export", self.identity])
            with storing(place):
                return place.read_bytes()[:KEY_MAX]

    def _command(self, *arguments: str) -> list[str]:
        program = shutil.which("gpg")
        if program is None:
            raise UsageError("there is no gpg to sign with", hint="install GnuPG")
        return [program, "--homedir", str(self._home), "--batch", "--no-tty", "--yes", *arguments]

    def _run(self, options: list[str], arguments: list[str]) -> str:
        outcome = run(self._command(*options, *arguments), timeout=TIMEOUT, folder=None, variables={})
        if outcome.problem:
            words = (outcome.output.strip().splitlines() or [""])[-1]
            raise DeployError(
                f"gpg {outcome.problem}: {visible(words)[:200]}",
                hint=f"check the key {self.identity} in {self._home}: has it expired, is there a passphrase?",
            )
        return outcome.output
