"""OpenPGP signatures, checked by `gpgv` against a keyring that somebody named.

Invariants: only keys of that keyring count; what `gpgv` calls good counts only where the key and the signature
have not expired and the key was not revoked; SHA-1 and older are no digests for a signature; one bad signature
spoils all. What was signed is read from what `gpgv` wrote, never from what surrounds it.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import resource
import shutil
from pathlib import Path

from sealift.durable import storing
from sealift.errors import SourceError, TrustError, UsageError
from sealift.names import visible
from sealift.reading import bounded, opened

from .programs import run

KEYRING_MAX = 8 << 20
"""Bytes of a keyring."""
SECONDS_MAX = 30
"""Seconds of processor time for one check: what is signed may be packed, and unpack without end."""
SLACK = 64 << 10
"""Bytes that may be written beyond the size of a signed document."""
_CLEAR = b"-----BEGIN PGP SIGNED MESSAGE-----"
_ARMOUR = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(?:[!-~]+: [^\n]*\n)*\s*\n([A-Za-z0-9+/=\s]+?)"
    rb"(?:^=[A-Za-z0-9+/]{4}\s*)?-----END PGP PUBLIC KEY BLOCK-----",
    re.MULTILINE,
)
_FLAWS = {
    "EXPKEYSIG": "the key that signed it has expired",
    "EXPSIG": "its signature has expired",
    "REVKEYSIG": "the key that signed it was revoked",
    "NO_PUBKEY": "it was signed by a key that is not in the keyring",
    "BADSIG": "its signature does not match",
}


def keyring(paths: list[Path], folder: Path) -> Path:
    """The keys of some files as one file that `gpgv` reads, in `folder`.

    Args:
        paths: keyrings, armoured or not.
        folder: a folder for what is needed while a signature is checked.

    Raises:
        UsageError: one cannot be read, or holds no key.
    """
    made = folder / "keyring.pgp"
    content = b"".join(_keys(path) for path in paths)
    with storing(made):
        made.write_bytes(content)
    return made


def _keys(path: Path) -> bytes:
    shown = visible(str(path))
    try:
        file = opened(path, follow=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"keyring {shown}: {reason}", hint="name a file of OpenPGP public keys") from error
    if file is None:
        raise UsageError(f"keyring {shown} is no regular file")
    with file:
        content = file.read(KEYRING_MAX + 1)
    if len(content) > KEYRING_MAX:
        raise UsageError(f"keyring {shown} is longer than {KEYRING_MAX} bytes")
    if content.lstrip().startswith(b"-----BEGIN PGP"):
        try:
            content = b"".join(base64.b64decode(b"".join(found.split())) for found in _ARMOUR.findall(content))
        except binascii.Error:
            content = b""
    if not content or content[0] & 0x80 == 0:
        raise UsageError(
            f"keyring {shown} holds no OpenPGP key", hint="write it with `gpg --export`, with --armor or without"
        )
    return content


def check_detached(content: Path, signature: Path, keys: Path, what: str) -> tuple[str, ...]:
    """The fingerprints of the keys whose signatures of `content` are good; at least one.

    Args:
        content: what was signed.
        signature: of it, alone.
        keys: what `keyring` made.
        what: what was signed, for the message.

    Raises:
        TrustError: none is good, or one is bad.
        SourceError: there is no `gpgv`, or it hangs.
    """
    return _judged(_run([str(signature), str(content)], keys, SLACK), what)


def check_clear(document: Path, keys: Path, signed: Path, what: str) -> tuple[str, ...]:
    """The same for a document with its signature around it; what was signed is written to `signed`.

    Raises:
        TrustError: no signature is good, or one is bad; what `signed` holds then must not be used.
        SourceError: there is no `gpgv`, or it hangs.
    """
    with storing(document):
        begin = bounded(document, len(_CLEAR), follow=True) or b""
        size = document.stat().st_size
    if not begin.startswith(_CLEAR):
        raise TrustError(f"{what} is no text with an OpenPGP signature around it", hint="sign it with gpg --clearsign")
    return _judged(_run(["--output", str(signed), str(document)], keys, size + SLACK), what)


def _run(arguments: list[str], keys: Path, written: int) -> str:
    """What `gpgv` says; nothing where it wanted more time, or to write more bytes than `written`."""
    program = shutil.which("gpgv")
    if program is None:
        raise SourceError("there is no gpgv to check a signature with", hint="install GnuPG's gpgv")
    command = [program, "--homedir", str(keys.parent), "--keyring", str(keys), "--status-fd", "1"]
    for weak in ("SHA1", "RIPEMD160"):
        command += ["--weak-digest", weak]
    variables = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
    limits = {resource.RLIMIT_FSIZE: written, resource.RLIMIT_CPU: SECONDS_MAX, resource.RLIMIT_CORE: 0}
    code, status, _ = run([*command, *arguments], variables, Path(), shown="gpgv", limits=limits)
    return "" if code < 0 else status.decode("utf-8", "replace")


def _judged(status: str, what: str) -> tuple[str, ...]:
    """The fingerprints of the keys that signed well, by what `gpgv` says (GnuPG's doc/DETAILS)."""
    good: list[str] = []
    flaws: list[str] = []
    for block in status.split("[GNUPG:] NEWSIG")[1:]:
        words = [line.split()[1:] for line in block.splitlines() if line.startswith("[GNUPG:] ") and line.split()[1:]]
        said = {each[0] for each in words}
        flaws += [each for each in _FLAWS if each in said]
        if "GOODSIG" in said and not said & (_FLAWS.keys() | {"ERRSIG"}):
            good += [each[-1] for each in words if each[0] == "VALIDSIG" and len(each) > 1]
    if not good or "BADSIG" in flaws:
        reason = _FLAWS[min(flaws, key=list(_FLAWS).index)] if flaws else "it bears no good signature"
        if "BADSIG" in flaws:
            reason = _FLAWS["BADSIG"]
        raise TrustError(
            f"{what} is not signed by a key of the keyring: {reason}",
            hint="check who should have signed it, and that the keyring is theirs and is not too old",
        )
    return tuple(dict.fromkeys(good))
