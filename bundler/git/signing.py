"""Who signed a commit or a tag: OpenPGP by `gpgv`, SSH by `ssh-keygen`, against keys that the spec names.

A commit bears its signature in a header, a tag at its end; what was signed is the object without it. An object
that bears two is refused: git and another reader could take different ones.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from sealift.durable import storing
from sealift.errors import SourceError, TrustError, UsageError
from sealift.names import visible

from .. import openpgp

OBJECT_MAX = 1 << 20
"""Bytes of a commit or a tag."""
_BEGIN = re.compile(rb"^-----BEGIN (PGP SIGNATURE|PGP MESSAGE|SSH SIGNATURE|SIGNED MESSAGE)-----$", re.MULTILINE)
_SECONDS_MAX = 60
"""Seconds for one check of an SSH signature."""
_UNSIGNED = "sign it, or leave out `verify`"


def signers(content: bytes, what: str, verify: Mapping[str, str], base: Path, folder: Path) -> tuple[str, ...]:
    """Who signed a commit or a tag well: fingerprints of OpenPGP keys, or a principal and the SSH key's fingerprint.

    Args:
        content: the object; its digest was checked.
        what: `commit …` or `tag …`, for messages.
        verify: `keyring`, `allowed_signers` or both, as paths.
        base: the folder that these start from.
        folder: a folder for what is needed meanwhile.

    Raises:
        TrustError: nobody whom `verify` names did.
        UsageError: a file that it names cannot be used.
        SourceError: a program is missing.
    """
    payload, signature = _split(content, what)
    paths = folder / "payload", folder / "signature"
    with storing(folder):
        paths[0].write_bytes(payload)
        paths[1].write_bytes(signature)
    kind = _BEGIN.match(signature)
    if kind and kind[1] == b"SSH SIGNATURE":
        if "allowed_signers" not in verify:
            raise TrustError(f"{what} is signed by an SSH key", hint="name `allowed_signers` in `verify`")
        return _ssh(paths[0], paths[1], base / verify["allowed_signers"], what)
    if kind and kind[1] == b"PGP SIGNATURE":
        if "keyring" not in verify:
            raise TrustError(f"{what} is signed by an OpenPGP key", hint="name a `keyring` in `verify`")
        keys = openpgp.keyring([base / verify["keyring"]], folder)
        return openpgp.check_detached(paths[0], paths[1], keys, what)
    raise TrustError(f"{what} bears a signature of a kind that is not checked", hint=_UNSIGNED)


def _split(content: bytes, what: str) -> tuple[bytes, bytes]:
    """What was signed, and the signature."""
    if what.startswith("commit"):
        head, blank, message = content.partition(b"\n\n")
        kept: list[bytes] = []
        signature: list[bytes] = []
        taking, count = False, 0
        for line in head.split(b"\n"):
            if line.startswith((b"gpgsig ", b"gpgsig-sha256 ")):
                taking, count = True, count + 1
                signature.append(line.partition(b" ")[2])
            elif taking and line.startswith(b" "):
                signature.append(line[1:])
            else:
                taking = False
                kept.append(line)
        if count > 1:
            raise TrustError(f"{what} bears {count} signatures", hint="one is wanted")
        if count:
            return b"\n".join(kept) + blank + message, b"\n".join(signature) + b"\n"
    else:
        begun = list(_BEGIN.finditer(content))
        if len(begun) > 1:
            raise TrustError(f"{what} bears {len(begun)} signatures", hint="one is wanted")
        if begun:
            return content[: begun[0].start()], content[begun[0].start() :]
    raise TrustError(f"{what} is not signed", hint=_UNSIGNED)


def _ssh(payload: Path, signature: Path, allowed: Path, what: str) -> tuple[str, ...]:
    program = shutil.which("ssh-keygen")
    if program is None:
        raise SourceError("there is no ssh-keygen to check a signature with", hint="install OpenSSH's client")
    if not allowed.is_file():
        raise UsageError(
            f"allowed_signers {visible(str(allowed))}: no such file", hint="see ALLOWED SIGNERS in ssh-keygen(1)"
        )
    asked = [program, "-Y", "find-principals", "-s", str(signature), "-f", str(allowed)]
    for principal in _said(asked, payload).splitlines()[:16]:
        command = [program, "-Y", "verify", "-n", "git", "-f", str(allowed), "-I", principal, "-s", str(signature)]
        good = re.match(r'Good "git" signature for .* with \S+ key (SHA256:\S+)', _said(command, payload))
        if good:
            return (f"{visible(principal)} {good[1]}",)
    raise TrustError(
        f"{what} is not signed by anybody whom allowed_signers names",
        hint="check who should have signed it, and whether the key is still valid there",
    )


def _said(command: Sequence[str], payload: Path) -> str:
    with payload.open("rb") as content:
        try:
            done = subprocess.run(
                list(command),
                stdin=content,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
                timeout=_SECONDS_MAX,
            )
        except subprocess.TimeoutExpired as error:
            raise SourceError(f"ssh-keygen said nothing for {_SECONDS_MAX:g} seconds") from error
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""
