"""OpenPGP keys for tests, in a GnuPG home of their own."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from registries import need


@contextlib.contextmanager
def gnupg_home(folder: Path) -> Iterator[Path]:
    """A GnuPG home with the keys `good`, `other` and `old`, which has expired; their keyrings lie beside them."""
    need("gpgv")
    folder.chmod(0o700)
    home = ["--homedir", str(folder), "--batch"]
    past = ["--faked-system-time", "20200101T000000"]
    for name, expires, faked in (("good", "0", []), ("other", "0", []), ("old", "1d", past)):
        command = [need("gpg"), *home, "--passphrase", "", *faked, "--quick-generate-key", f"{name}@example.org"]
        subprocess.run([*command, "ed25519", "sign", expires], check=True, stderr=subprocess.DEVNULL)
        for suffix, armour in ((".pgp", []), (".asc", ["--armor"])):
            command = ["gpg", *home, *armour, "--output", str(folder / f"{name}{suffix}"), "--export"]
            subprocess.run([*command, f"{name}@example.org"], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["gpgconf", "--homedir", str(folder), "--kill", "all"], check=False)


def clear_signed(home: Path, content: bytes, key: str = "good", *faked: str) -> bytes:
    """A document with a signature around it."""
    command = ["gpg", "--homedir", str(home), "--batch", *faked, "--local-user", f"{key}@example.org", "--clearsign"]
    return subprocess.run(command, input=content, stdout=subprocess.PIPE, check=True).stdout


def fingerprint(home: Path, key: str = "good") -> str:
    """The fingerprint of a key."""
    command = ["gpg", "--homedir", str(home), "--batch", "--with-colons", "--fingerprint", f"{key}@example.org"]
    said = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode()
    return next(line.split(":")[9] for line in said.splitlines() if line.startswith("fpr:"))
