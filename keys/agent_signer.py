"""Signing with a key that an agent has, see `keys.agent`.

    ssh-agent:SHA256:…                   the key that `ssh-add -l` lists so, in the agent that SSH_AUTH_SOCK names
    ssh-agent:SHA256:…?socket=/run/…     the same, in the agent that listens there

The fingerprint may be left out where the public key is known: that names the key as well.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from securesystemslib.signer import Key, SecretsHandler, Signature, Signer, SSlibKey

from sealift.errors import TrustError, UsageError
from sealift.names import visible

from .agent import Agent, Held

SCHEME = "ssh-agent"
VARIABLE = "SSH_AUTH_SOCK"

_PLACE = re.compile(rf"{SCHEME}:(SHA256:[A-Za-z0-9+/]{{43}})?(?:\?socket=(/.+))?", re.DOTALL)


class AgentSigner(Signer):
    """A key that an agent has."""

    def __init__(self, agent: Agent, held: Held, public: SSlibKey) -> None:
        self._agent, self._held, self._public = agent, held, public

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: SecretsHandler | None = None
    ) -> AgentSigner:
        """The key `public_key` at a place. No secret is asked for: that is the agent's own affair.

        Raises:
            UsageError: the place has not the form of one, or no agent is named.
            MalformedError: the agent's answer is none.
            TrustError: the agent cannot be reached, or has not this key.
        """
        return cls._found(priv_key_uri, public_key)

    @classmethod
    def import_(cls, place: str) -> Key:
        """The public key at `place`, which names it by its fingerprint.

        Raises:
            UsageError, MalformedError, TrustError: as `from_priv_key_uri`, or it is of a kind that is not accepted.
        """
        return cls._found(place, None).public_key

    @classmethod
    def _found(cls, place: str, public: Key | None) -> AgentSigner:
        parsed = _PLACE.fullmatch(place)
        if parsed is None or (public is None and parsed[1] is None):
            raise UsageError(
                f"{visible(place)[:200]} names no key of an agent",
                hint="name it as `ssh-add -l` lists it: ssh-agent:SHA256:…",
            )
        where = parsed[2] or os.environ.get(VARIABLE)
        if not where:
            raise UsageError(
                f"no agent is named: {VARIABLE} is not set",
                hint="for gpg-agent: export SSH_AUTH_SOCK=$(gpgconf --list-dirs agent-ssh-socket)",
            )
        agent = Agent(Path(where))
        for held in agent.held():
            if parsed[1] not in (None, held.fingerprint):
                continue
            found = held.public
            if found is not None and public in (None, found):
                return cls(agent, held, found)
            if parsed[1] is not None:
                raise TrustError(
                    f"{held.fingerprint} in the agent is "
                    + ("a key of a kind that is not accepted" if found is None else f"not the key {_id(public)}"),
                    hint="use Ed25519, or ECDSA on P-256 or P-384; no RSA, no FIDO" if found is None else None,
                )
        raise TrustError(
            f"the agent has no key {parsed[1] or _id(public)}",
            hint="`ssh-add -l` lists what it has; gpg-agent offers a card's keys, and those that its sshcontrol names",
        )

    @property
    def public_key(self) -> SSlibKey:
        """Its public key."""
        return self._public

    def sign(self, payload: bytes) -> Signature:
        """The agent's signature over `payload`.

        Raises:
            MalformedError, TrustError: as `Agent.sign`.
        """
        return Signature(self._public.keyid, self._agent.sign(self._held, payload).hex())


def _id(public: Key | None) -> str:
    return public.keyid[:8] if public else ""
