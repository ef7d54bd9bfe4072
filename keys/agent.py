"""A client of the SSH agent protocol (draft-miller-ssh-agent), for keys that an agent keeps to itself.

`ssh-agent` speaks it, and so does `gpg-agent` for the keys of GnuPG, those on OpenPGP cards included. An agent signs
whatever bytes it is given, with plain Ed25519 or ECDSA, so its signatures are as good in metadata as any other key's.
Two requests are all that is used: which keys there are, and a signature.

A message is a length of four bytes, a type of one, and fields. Every length is checked against what came before it
is believed, and a reply must be used up by its fields.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sealift.errors import MalformedError, TrustError
from sealift.names import visible

if TYPE_CHECKING:
    from securesystemslib.signer import SSlibKey

MESSAGE_MAX = 256 * 1024
"""Bytes of the longest message that OpenSSH's agent takes or sends."""
GPG_MAX = 60_000
"""Bytes of a message that GnuPG's agent takes; a little less than what it was measured to take."""
KEYS_MAX = 2048
"""Keys that an agent may list."""
PATIENCE = 300.0
"""Seconds that an agent may take for an answer: it may wait for a person, a card and a PIN."""

_FAILURE, _LIST, _LISTED, _SIGN, _SIGNED = 5, 11, 12, 13, 14
_CURVES = {b"ecdsa-sha2-nistp256": b"nistp256", b"ecdsa-sha2-nistp384": b"nistp384"}
_ED25519 = b"ssh-ed25519"


@dataclass(frozen=True, kw_only=True)
class Held:
    """A key that an agent has."""

    blob: bytes
    """The public key, as SSH writes it."""

    @property
    def fingerprint(self) -> str:
        """What `ssh-add -l` calls it: `SHA256:` and the digest in base64 without padding."""
        digest = base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")
        return f"SHA256:{digest}"

    @property
    def public(self) -> SSlibKey | None:
        """The public key as metadata holds it; None where it is of a kind that is not accepted.

        Raises:
            MalformedError: it has not the form of one.
        """
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from securesystemslib.signer import SSlibKey

        fields = _Fields(self.blob)
        kind = fields.string()
        if kind != _ED25519 and kind not in _CURVES:
            return None
        try:
            if kind == _ED25519:
                return SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(fields.last()))
            if fields.string() != _CURVES[kind]:
                raise MalformedError("the agent lists a key whose curve is not its type's")
            curve = ec.SECP256R1() if kind.endswith(b"256") else ec.SECP384R1()
            return SSlibKey.from_crypto(ec.EllipticCurvePublicKey.from_encoded_point(curve, fields.last()))
        except ValueError as error:
            raise MalformedError(f"the agent lists a key that is none: {self.fingerprint}") from error


class Agent:
    """The agent that listens at a socket. Each request has a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def held(self) -> tuple[Held, ...]:
        """The keys that it has, as it lists them.

        Raises:
            MalformedError: its answer is none.
            TrustError: it cannot be reached, or refuses.
        """
        fields = self._ask(bytes([_LIST]), _LISTED, "list its keys")
        number = fields.number()
        if number > KEYS_MAX:
            raise MalformedError(f"the agent lists {number} keys, more than the {KEYS_MAX} that are allowed")
        found = []
        for _ in range(number):
            found.append(Held(blob=fields.string()))
            fields.string()  # a comment, which nothing here depends on
        fields.end()
        return tuple(found)

    def sign(self, held: Held, message: bytes) -> bytes:
        """The signature of `held` over `message`, in the form that TUF has: raw for Ed25519, DER for ECDSA.

        Raises:
            MalformedError: its answer is none.
            TrustError: the message is too long, the agent cannot be reached, or it refuses.
        """
        from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

        request = bytes([_SIGN]) + _string(held.blob) + _string(message) + struct.pack(">I", 0)
        if len(request) > MESSAGE_MAX:
            raise TrustError(
                f"an agent signs {MESSAGE_MAX} bytes at most, and this are {len(message)}",
                hint="let a key of another place sign what grows with each release",
            )
        answer = _Fields(self._ask(request, _SIGNED, "sign").last())
        kind, signature = answer.string(), _Fields(answer.last())
        if kind != _Fields(held.blob).string():
            raise MalformedError(f"the agent signed as {visible(kind.decode('utf-8', 'replace'))[:40]!r}")
        if kind == _ED25519:
            return signature.rest()
        r, s = signature.positive(), signature.positive()
        signature.end()
        return encode_dss_signature(r, s)

    def _ask(self, request: bytes, wanted: int, what: str) -> _Fields:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
                line.settimeout(PATIENCE)
                line.connect(str(self._path))
                line.sendall(struct.pack(">I", len(request)) + request)
                (length,) = struct.unpack(">I", _exactly(line, 4))
                if not 1 <= length <= MESSAGE_MAX:
                    raise MalformedError(f"the agent announces {length} bytes, and {MESSAGE_MAX} are allowed")
                answer = _exactly(line, length)
        except OSError as error:
            long = f"it has {len(request)} bytes: gpg-agent takes {GPG_MAX} at most, and ssh-agent {MESSAGE_MAX}"
            raise TrustError(
                f"the agent at {visible(str(self._path))[:200]} does not answer: {error.strerror or error}",
                hint=long
                if len(request) > GPG_MAX
                else "SSH_AUTH_SOCK names its socket; for gpg-agent: gpgconf --list-dirs agent-ssh-socket",
            ) from error
        if answer[0] == _FAILURE:
            raise TrustError(
                f"the agent refused to {what}",
                hint="it may lack a card, a PIN or a confirmation, or be locked: try `ssh-add -T` with this key",
            )
        if answer[0] != wanted:
            raise MalformedError(f"the agent answered with a message of type {answer[0]}, and not {wanted}")
        return _Fields(answer[1:])


class _Fields:
    """The fields of a message, taken off one after the other."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def _take(self, length: int) -> bytes:
        if length > len(self._content) - self._at:
            raise MalformedError("the agent's answer is cut off")
        self._at += length
        return self._content[self._at - length : self._at]

    def number(self) -> int:
        return int(struct.unpack(">I", self._take(4))[0])

    def string(self) -> bytes:
        return self._take(self.number())

    def last(self) -> bytes:
        """The string that the message ends with."""
        found = self.string()
        self.end()
        return found

    def positive(self) -> int:
        """A number above zero, in as many bytes as a signature can have."""
        digits = self.string()
        value = int.from_bytes(digits, "big") if len(digits) <= 49 and not (digits and digits[0] & 0x80) else 0
        if value < 1:
            raise MalformedError("the agent's signature is none")
        return value

    def rest(self) -> bytes:
        return self._take(len(self._content) - self._at)

    def end(self) -> None:
        if self._at != len(self._content):
            raise MalformedError("the agent's answer has something behind its end")


def _string(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def _exactly(line: socket.socket, length: int) -> bytes:
    """The next `length` bytes.

    Raises:
        MalformedError: the agent ended before them.
    """
    found = bytearray()
    while len(found) < length:
        if not (more := line.recv(length - len(found))):
            raise MalformedError("the agent broke off its answer")
        found += more
    return bytes(found)
