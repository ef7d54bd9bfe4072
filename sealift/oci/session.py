"""A session with one registry: who asks, where an answer is to be had, and what a failure means.

Invariants:
- Credentials go to the registry's own host, or to the host of a token service that is akin to it, and nowhere else:
  a redirect to another host bears none.
- No step leads from https to http, nor from a registry elsewhere to this machine itself, be it by a literal or by
  what a name resolves to.
- Every body is bounded by its caller, and one that comes too slowly is given up.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from .. import __version__
from ..errors import SealiftError
from ..names import visible
from ..patience import Patience
from . import address as addresses
from .address import Address, NoAddress, quoted
from .challenge import Challenge, challenges
from .credentials import Credential
from .transport import Answer, Body, Broken, Content, Transport

REDIRECTS = 5
TOKEN_MAX = 1 << 20
"""Bytes of a token service's answer."""
SLOW_SECONDS, SLOW_RATE = 60.0, 1024.0
"""A body that has come for so long at fewer bytes a second is given up."""
CLIENT = f"sealift/{__version__}"
T = TypeVar("T")


class Again(Exception):
    """An attempt failed, and another may not.

    Args:
        error: what to raise when there is none left.
        after: seconds that the server asked to wait.
        further: whether the attempt came further than the one before, so that they are counted anew.
    """

    def __init__(self, error: SealiftError, after: float | None = None, *, further: bool = False) -> None:
        super().__init__(error.message)
        self.error = error
        self.after = after
        self.further = further


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How a registry is spoken with."""

    failure: type[SealiftError]
    """What is raised where it refuses, cannot be reached or cannot be understood."""
    credential: Callable[[], Credential | None] = lambda: None
    """Asked for once, when the registry wants to know who asks."""
    token_host: str | None = None
    """A further host whose token service may be given the credential."""
    patience: Patience = field(default_factory=Patience)


class Session:
    """Requests to one registry. It may be used by several threads at once."""

    def __init__(self, base: Address, transport: Transport, terms: Terms) -> None:
        self.base = base
        self.terms = terms
        self._transport = transport
        self._lock = threading.Lock()
        self._authorization: dict[str, str] = {}
        """The header's value by scope; under the empty scope for all."""
        self._credential: Credential | None = None
        self._asked = False

    def persist(self, attempt: Callable[[], T]) -> T:
        """Do `attempt` until it is done or the patience is spent.

        Raises:
            SealiftError: it is spent.
        """
        patience, count = self.terms.patience, 0
        while True:
            count += 1
            try:
                return attempt()
            except Again as again:
                if again.further:
                    count = 1
                if count >= patience.attempts:
                    error = again.error
                    raise type(error)(f"{error.message}, after {count} attempts", hint=error.hint) from again
                if wait := patience.before(count, again.after):
                    patience.sleep(wait)

    @contextlib.contextmanager
    def ask(
        self,
        method: str,
        where: Address,
        *,
        scope: str,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        start: int = 0,
    ) -> Iterator[Answer]:
        """The answer to one request: authorized, and redirected where that is allowed; its body unread.

        Args:
            method: of HTTP.
            where: an address of the registry.
            scope: what is asked for, as token services have it.
            headers: further ones.
            body: what is sent; once more after a challenge.
            start: the byte of `body` to begin with.

        Raises:
            Again: there was no answer, or one that may be another later.
            SealiftError: the registry refuses to say who it takes credentials from, or leads astray.
        """
        here, challenged, redirects = where, 0, 0
        while True:
            sent = {"User-Agent": CLIENT, "Accept-Encoding": "identity", **(headers or {})}
            if body is not None:
                sent["Content-Length"] = str(body.length - start)
            own = here.host == self.base.host and here.scheme == self.base.scheme
            given = self._authorization.get(scope) or self._authorization.get("") if own else None
            if given:
                sent["Authorization"] = given
            with self._sent(method, here, sent, body.pieces(start) if body is not None else None) as answer:
                status, location = answer.status, answer.header("location")
                if status == 401 and own and challenged < 2:
                    header = answer.header("www-authenticate") or ""
                elif status in (301, 302, 303, 307, 308) and location and method in ("GET", "HEAD"):
                    header = ""
                else:
                    yield answer
                    return
            if header or status == 401:
                challenged += 1
                self._authorize(here, header, scope, refused=given)
            else:
                redirects += 1
                if redirects > REDIRECTS:
                    raise self.terms.failure(f"{where.shown} redirects more than {REDIRECTS} times")
                here = self._redirected(here, location or "")

    @contextlib.contextmanager
    def _sent(
        self, method: str, where: Address, headers: Mapping[str, str], body: Iterator[bytes | memoryview] | None
    ) -> Iterator[Answer]:
        try:
            with self._transport.send(method, where, headers, body) as answer:
                if answer.status == 429 or answer.status >= 500:
                    raise Again(
                        self.terms.failure(
                            f"{where.shown}: the registry answers {answer.status}", hint="try again later"
                        ),
                        _seconds(answer.header("retry-after")),
                    )
                yield answer
        except Broken as broken:
            raise self.broken(broken, where) from broken

    def broken(self, broken: Broken, where: Address) -> Again | SealiftError:
        """What a failure of the line means."""
        error = self.terms.failure(f"{where.shown}: {broken.reason}", hint=broken.hint)
        return error if broken.lasting else Again(error)

    def pieces(self, answer: Answer, where: Address, limit: int) -> Iterator[bytes]:
        """The body of an answer, piece by piece.

        Args:
            answer: its body unread.
            where: what it is of, for the message.
            limit: bytes that it may have.

        Raises:
            Again: it comes too slowly.
            SealiftError: it is longer.
        """
        clock, length = self.terms.patience.clock, 0
        begun = clock()
        while piece := answer.read():
            length += len(piece)
            if length > limit:
                raise self.terms.failure(
                    f"{where.shown}: the registry sends more than the {limit} bytes that are due",
                    hint="it is damaged or hostile: ask the one who keeps it",
                )
            yield piece
            if (past := clock() - begun) > SLOW_SECONDS and length < past * SLOW_RATE:
                raise Again(self.terms.failure(f"{where.shown}: the registry sends too slowly"))

    def refused(self, status: int, what: str) -> SealiftError:
        """What a status means that no one waits for."""
        hints = {
            401: f"log in (podman login {self.base.host}), or name the file of credentials in REGISTRY_AUTH_FILE",
            403: "this user may not do that there: check the name, and the rights of the user",
            404: "check the name: the registry has nothing of that kind, or hides it from this user",
        }
        words = {401: "wants credentials, or other ones", 403: "does not allow that", 404: "has no such thing"}
        return self.terms.failure(
            f"{what}: {self.base.host} {words.get(status, f'answers {status}')}", hint=hints.get(status)
        )

    def _redirected(self, here: Address, location: str) -> Address:
        try:
            there = here.join(location)
        except NoAddress as error:
            raise self.terms.failure(f"{here.shown} redirects to an address that is not followed: {error}") from error
        if here.scheme == "https" and there.scheme != "https":
            raise self.terms.failure(f"{here.shown} redirects to {there.shown}, from https to http: not followed")
        if there.local and not self.base.local:
            raise self.terms.failure(
                f"{here.shown} redirects to {there.shown}, which is this machine itself: not followed"
            )
        return self.led(there)

    def led(self, there: Address) -> Address:
        """An address that an answer named, marked if it is another host's."""
        return replace(there, led=there.name != self.base.name and not self.base.local)

    def _authorize(self, here: Address, header: str, scope: str, *, refused: str | None) -> None:
        """Make an authorization for `scope` by what the registry challenges with."""
        with self._lock:
            if refused is not None and self._authorization.get(scope) not in (None, refused):
                return  # another thread has a new one already
            if not self._asked:
                self._credential, self._asked = self.terms.credential(), True
            credential = self._credential
            found = {challenge.scheme: challenge for challenge in reversed(challenges(header))}
            if "bearer" in found:
                self._authorization[scope] = f"Bearer {self._token(found['bearer'], scope, credential)}"
                return
            if "basic" in found and credential is not None and credential.user:
                given = f"Basic {b64encode(f'{credential.user}:{credential.secret}'.encode()).decode()}"
                if given != refused:
                    self._authorization[""] = given
                    return
        raise self.refused(401, here.shown)

    def _token(self, challenge: Challenge, scope: str, credential: Credential | None) -> str:
        """A token for `scope` from the service that the challenge names (distribution's token specification)."""
        realm = self._realm(challenge.parameters.get("realm", ""))
        service = challenge.parameters.get("service")
        query = [f"scope={quoted(part)}" for part in scope.split(" ")]
        if service:
            query.insert(0, f"service={quoted(service)}")
        headers = {"User-Agent": CLIENT, "Accept": "application/json", "Accept-Encoding": "identity"}
        body = None
        if credential is not None and credential.token:
            form = [*query[:1], f"scope={quoted(scope)}", f"client_id={quoted('sealift')}", "grant_type=refresh_token"]
            form = [*dict.fromkeys(form), f"refresh_token={quoted(credential.token)}"]
            body = Content("&".join(form).encode())
            headers |= {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(body.length)}
        else:
            realm = realm.with_query("&".join(query))
            if credential is not None:
                basic = b64encode(f"{credential.user}:{credential.secret}".encode()).decode()
                headers["Authorization"] = f"Basic {basic}"

        def attempt() -> Any:
            with self._sent("POST" if body else "GET", realm, headers, body.pieces() if body else None) as answer:
                if answer.status in (401, 403):
                    raise self.refused(401, f"the token service {realm.shown}")
                if answer.status != 200:
                    raise self.terms.failure(f"the token service {realm.shown} answers {answer.status}")
                return b"".join(self.pieces(answer, realm, TOKEN_MAX))

        try:
            said = json.loads(self.persist(attempt))
            token = said.get("token") or said.get("access_token")
        except (ValueError, AttributeError, RecursionError):
            token = None
        if not isinstance(token, str) or not re.fullmatch(r"[!-~]{1,65536}", token):
            raise self.terms.failure(f"the token service {realm.shown} gives no token")
        return token

    def _realm(self, text: str) -> Address:
        """The address of a token service, if it may be trusted with the credential."""
        try:
            realm = addresses.parse(text)
        except NoAddress as error:
            raise self.terms.failure(f"{self.base.host} names no token service that may be asked: {error}") from error
        parent = self.base.name.partition(".")[2]
        akin = realm.name == self.base.name or realm.name == self.terms.token_host
        akin = akin or (
            "." in parent and not parent.replace(".", "").isdigit() and f".{realm.name}".endswith(f".{parent}")
        )
        if not akin:
            raise self.terms.failure(
                f"{self.base.host} sends to the token service {visible(realm.host)}, which is not akin to it",
                hint=f"if that is right, name it: token_host: {visible(realm.name)}",
            )
        if realm.scheme != "https" and self.base.scheme == "https":
            raise self.terms.failure(f"{self.base.host} sends to a token service without TLS")
        return realm if realm.name == self.terms.token_host else self.led(realm)


def _seconds(asked: str | None) -> float | None:
    """Seconds to wait by a Retry-After header; its other form, a date, is left to the patience."""
    return float(asked) if asked and re.fullmatch(r"[0-9]{1,9}", asked) else None
