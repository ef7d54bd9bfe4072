"""An upload of a blob: begun, sent, resumed where the registry knows what has arrived, and ended by its digest."""

from __future__ import annotations

import contextlib
import re

from .address import Address, NoAddress, quoted
from .model import Descriptor
from .session import Again, Session
from .transport import Answer, Body

SMALL = 1 << 20
"""Bytes of a blob up to which it is sent in one request; a larger one can be resumed."""
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,18})")


class Upload:
    """A blob on its way; what an attempt got across, the next one goes on from."""

    def __init__(self, session: Session, scope: str, where: Address, what: str) -> None:
        self._session = session
        self._scope = scope
        self._where = where
        self._what = what
        self._place: Address | None = None
        """Where the rest is to go; None before it begins."""

    def attempt(self, blob: Descriptor, body: Body) -> None:
        """Bring the blob across, or its rest."""
        sent = self._arrived() if self._place is not None else 0
        place = self._place or self._begin()
        self._place = place
        if body.length <= SMALL and not sent:
            self._end(place, blob, body)
            return
        if sent < body.length:
            headers = {"Content-Type": "application/octet-stream"}
            if sent:
                headers["Content-Range"] = f"{sent}-{body.length - 1}"
            with self._ask("PATCH", place, headers, body, sent) as answer:
                if answer.status not in (202, 204):
                    raise self._refused(answer.status)
                place = self._place = self._next(place, answer)
        self._end(place, blob, None)

    def _ask(
        self, method: str, place: Address, headers: dict[str, str], body: Body | None = None, start: int = 0
    ) -> contextlib.AbstractContextManager[Answer]:
        return self._session.ask(method, place, scope=self._scope, headers=headers, body=body, start=start)

    def _begin(self) -> Address:
        with self._ask("POST", self._where, {"Content-Length": "0"}) as answer:
            if answer.status != 202:
                raise self._refused(answer.status)
            return self._next(self._where, answer)

    def _arrived(self) -> int:
        """Bytes that the registry has of it; an upload that it no longer knows is begun anew."""
        assert self._place is not None
        place, self._place = self._place, None
        with self._ask("GET", place, {}) as answer:
            if answer.status != 204:
                return 0
            found = _RANGE.fullmatch(answer.header("range") or "")
            if not found or found[1] == "0":
                return 0
            self._place = self._next(place, answer)
            return int(found[1]) + 1

    def _end(self, place: Address, blob: Descriptor, body: Body | None) -> None:
        headers = {"Content-Type": "application/octet-stream"} if body else {"Content-Length": "0"}
        with self._ask("PUT", place.with_query(f"digest={quoted(blob.digest)}"), headers, body) as answer:
            if answer.status not in (201, 204):
                raise self._refused(answer.status)

    def _refused(self, status: int) -> Exception:
        """An upload that was lost is begun anew; all else is final."""
        error = self._session.refused(status, self._what)
        if status in (404, 416):
            self._place = None
            return Again(error)
        return error

    def _next(self, here: Address, answer: Answer) -> Address:
        location = answer.header("location")
        if not location:
            return here
        try:
            there = here.join(location)
        except NoAddress as error:
            raise self._session.terms.failure(
                f"{self._what}: the registry sends the upload to an address that is not followed: {error}"
            ) from error
        base = self._session.base
        if (there.name, there.scheme) != (base.name, base.scheme) and (
            there.scheme != "https" or (there.local and not base.local)
        ):
            raise self._session.terms.failure(
                f"{self._what}: the registry sends the upload to {there.shown}: not followed"
            )
        return self._session.led(there)
