"""Doubles of two services that keep keys: AWS KMS and HashiCorp Vault's transit engine.

Neither service can be installed for a test, and the one AWS KMS that can (`moto`) hashes the digests that it is given
once more. So each of these answers, over HTTP, the two documented requests that their clients send for
`securesystemslib`: a public key and a signature. They ask for credentials, and their keys sign in earnest.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from threaded import threaded

TOKEN = "a token"
ACCESS_KEY = "AKIDEXAMPLE"

Answer = tuple[int, dict[str, Any]]


@dataclass
class Vault:
    """Vault with one key, `root`."""

    url: str = ""
    versions: list[Ed25519PrivateKey] = field(default_factory=lambda: [Ed25519PrivateKey.generate() for _ in range(11)])
    """Of that key: as many as put `10` before `9` where they are sorted as text."""
    wrong: bool = False
    """Whether it signs with another version than the one that it is asked for."""

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> Answer:
        """The answer to a request."""
        if request.headers.get("X-Vault-Token") != TOKEN:
            return 403, {"errors": ["permission denied"]}
        if (request.command, request.path) == ("GET", "/v1/transit/keys/root"):
            public = [_text(each.public_key().public_bytes_raw()) for each in self.versions]
            keys = {str(number): {"name": "ed25519", "public_key": each} for number, each in enumerate(public, 1)}
            return 200, {"data": {"name": "root", "type": "ed25519", "keys": keys}}
        if (request.command, request.path) == ("POST", "/v1/transit/sign/root"):
            asked = json.loads(body)
            number = asked["key_version"]
            signature = self.versions[0 if self.wrong else number - 1].sign(base64.b64decode(asked["input"]))
            return 200, {"data": {"key_version": number, "signature": f"vault:v{number}:{_text(signature)}"}}
        return 404, {"errors": []}


@dataclass
class Aws:
    """AWS KMS with as many keys as were made."""

    url: str = ""
    keys: dict[str, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey] = field(default_factory=dict)

    def make(self, name: str, kind: str) -> str:
        """Make a key, or give a name to another one; its place."""
        curve = {"P256": ec.SECP256R1, "P384": ec.SECP384R1}.get(kind)
        self.keys[name] = ec.generate_private_key(curve()) if curve else rsa.generate_private_key(65537, 2048)
        return f"awskms:{name}"

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> Answer:
        """The answer to a request."""
        if f"Credential={ACCESS_KEY}/" not in request.headers.get("Authorization", ""):
            return 400, {"__type": "UnrecognizedClientException", "message": "The security token is invalid."}
        asked = json.loads(body)
        key = self.keys.get(asked["KeyId"])
        if key is None:
            return 400, {"__type": "NotFoundException", "message": f"{asked['KeyId']} is not found."}
        if isinstance(key, rsa.RSAPrivateKey):
            algorithms: dict[str, hashes.HashAlgorithm] = {"RSASSA_PSS_SHA_256": hashes.SHA256()}
        elif key.curve.name == "secp256r1":
            algorithms = {"ECDSA_SHA_256": hashes.SHA256()}
        else:
            algorithms = {"ECDSA_SHA_384": hashes.SHA384()}
        if request.headers.get("X-Amz-Target") == "TrentService.GetPublicKey":
            public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            return 200, {"KeyId": asked["KeyId"], "PublicKey": _text(public), "SigningAlgorithms": list(algorithms)}
        assert request.headers.get("X-Amz-Target") == "TrentService.Sign"
        assert asked["MessageType"] == "DIGEST"
        if asked["SigningAlgorithm"] not in algorithms or isinstance(key, rsa.RSAPrivateKey):
            return 400, {"__type": "InvalidKeyUsageException", "message": "not of this key"}
        digest = base64.b64decode(asked["Message"])
        signature = key.sign(digest, ec.ECDSA(Prehashed(algorithms[asked["SigningAlgorithm"]])))
        return 200, {"KeyId": asked["KeyId"], "Signature": _text(signature)}


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


@contextmanager
def served(answer: Callable[[BaseHTTPRequestHandler, bytes], Answer]) -> Iterator[str]:
    """A service that answers on a free port; its address."""

    class Exchange(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, said = answer(self, body)
            content = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Exchange) as server, threaded(server):
        yield f"http://127.0.0.1:{server.server_port}"
