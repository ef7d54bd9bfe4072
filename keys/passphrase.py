"""Where a passphrase or a PIN comes from: a private file, else the environment, else a person at a terminal.

The two never stand in for each other: a token locks itself after a few wrong PINs, and the passphrase of a key file
is one. Reads no global state: the program hands in the file, the environment and the prompt.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sealift.errors import UsageError

from .reading import read_bounded

VARIABLE = "SEALIFT_PASSPHRASE"
PIN = "SEALIFT_PIN"
PIN_FILE = "SEALIFT_PIN_FILE"
SHORTEST = 8
"""Characters of the shortest passphrase that a new key gets."""
LONGEST = 1000
"""Bytes of the longest one: `openssl` reads no more than 1,023."""


@dataclass(frozen=True, kw_only=True)
class PassphraseSource:
    """The three places that a passphrase may come from, in the order in which they are asked; and a PIN."""

    file: Path | None
    """Its first line is the passphrase; nobody else may be able to read it."""
    environ: Mapping[str, str]
    """The environment, where `SEALIFT_PASSPHRASE`, `SEALIFT_PIN` and `SEALIFT_PIN_FILE` may be."""
    prompt: Callable[[str], str] | None
    """Asks a person, without echo; None where standard input is no terminal."""

    def existing(self, what: str) -> bytes:
        """The passphrase that unlocks `what`.

        Raises:
            UsageError: there is nobody to ask, or it is empty or over-long.
            TrustError: others may read the passphrase file.
            StoreError: the passphrase file cannot be read.
        """
        given = self._given()
        return self._ask(f"passphrase for {what}: ") if given is None else given

    def new(self, what: str) -> bytes:
        """The passphrase for `what`, which is about to be made; a person is asked twice.

        Raises:
            UsageError: as `existing`, or it is too short, or the two answers differ.
            TrustError: others may read the passphrase file.
            StoreError: the passphrase file cannot be read.
        """
        chosen = self._given()
        asked = chosen is None
        if chosen is None:
            chosen = self._ask(f"new passphrase for {what}: ")
        if len(chosen.decode("utf-8", "replace")) < SHORTEST:
            raise UsageError(
                f"the passphrase is shorter than {SHORTEST} characters",
                hint="use several words: whoever finds the key file can try as many as he likes",
            )
        if asked and self._ask("the same passphrase again: ") != chosen:
            raise UsageError("the two passphrases differ", hint="nothing was made: run the command again")
        return chosen

    def pin(self, what: str) -> bytes:
        """The PIN of `what`: in the file that `SEALIFT_PIN_FILE` names, else `SEALIFT_PIN`, else a person's.

        Raises:
            UsageError: there is nobody to ask, or it is empty or over-long.
            TrustError: others may read the file.
            StoreError: the file cannot be read.
        """
        if PIN_FILE in self.environ:
            return _first_line(Path(self.environ[PIN_FILE]))
        if PIN in self.environ:
            return _checked(os.fsencode(self.environ[PIN]), PIN)
        return self._ask(f"{what}: ", "PIN", f"set {PIN}, or {PIN_FILE}; a passphrase is never tried as a PIN")

    def _given(self) -> bytes | None:
        if self.file is not None:
            return _first_line(self.file)
        if VARIABLE in self.environ:
            return _checked(os.fsencode(self.environ[VARIABLE]), VARIABLE)
        return None

    def _ask(
        self, question: str, what: str = "passphrase", hint: str = f"give --passphrase-file FILE, or set {VARIABLE}"
    ) -> bytes:
        if self.prompt is None:
            raise UsageError(f"a {what} is needed, and standard input is no terminal to ask for it", hint=hint)
        return _checked(self.prompt(question).encode("utf-8", "surrogateescape"), f"the {what}")


def _first_line(path: Path) -> bytes:
    line = read_bounded(path, limit=64 * 1024, private=True).split(b"\n", 1)[0]
    return _checked(line.removesuffix(b"\r"), f"the first line of {path}")


def _checked(secret: bytes, where: str) -> bytes:
    if not secret:
        raise UsageError(f"{where} is empty", hint=f"a passphrase has at least {SHORTEST} characters, and a PIN some")
    if len(secret) > LONGEST:
        raise UsageError(f"{where} is longer than {LONGEST} bytes", hint="use a shorter one")
    return secret
