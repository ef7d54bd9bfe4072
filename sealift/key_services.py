"""Key services: the clients of AWS, Azure, Google and Vault, which are loaded when a key of theirs is used.

`securesystemslib` imports whichever of them it finds, and so would every command, at both ends: that takes longer than
the rest of a start, and one of them asks for a socket. A name that stands for None among the modules cannot be
imported (PEP 328's rule, kept by importlib), and `securesystemslib` takes that for a client which is not installed.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import cast

CLIENTS = {
    "awskms": ("boto3", "_aws_signer"),
    "azurekms": ("azure", "_azure_signer"),
    "gcpkms": ("google.cloud", "_gcp_signer"),
    "hv": ("hvac", "_vault_signer"),
}
"""By the scheme of a key's URI: the client, and the module of `securesystemslib.signer` that needs it."""


def keep_out() -> None:
    """Let no client be imported that is not yet."""
    modules = cast("dict[str, ModuleType | None]", sys.modules)
    for client, _ in CLIENTS.values():
        modules.setdefault(client, None)


def let_in(scheme: str) -> None:
    """Let the client of a scheme be imported, by the signer that needs it; nothing is done for other schemes."""
    from securesystemslib.signer import SIGNER_FOR_URI_SCHEME

    client, name = CLIENTS.get(scheme, ("", ""))
    if client in sys.modules and cast("ModuleType | None", sys.modules[client]) is None:
        del sys.modules[client]
        module = importlib.reload(importlib.import_module(f"securesystemslib.signer.{name}"))
        SIGNER_FOR_URI_SCHEME[scheme] = getattr(module, SIGNER_FOR_URI_SCHEME[scheme].__name__)
