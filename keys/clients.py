"""Which versions of Sealift the sites run, as far as the depot knows, and which keys those can read.

A site that meets a kind of key that it does not know can follow no further root: it would have to be enrolled anew.
So a kind that is younger than the first version is used only once every site is known to read it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from securesystemslib.signer import Key

from sealift.errors import PolicyError, UsageError
from sealift.names import check_release, visible
from sealift.public_keys import SINCE

FIRST = "0.1.0"
"""The first version: what it reads, every site reads."""

_VERSION = re.compile(r"[0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4}")


def parse(said: Iterable[str]) -> dict[str, str]:
    """The versions in texts such as `plant-7=0.2.0`.

    Raises:
        UsageError: one is not of that form.
        MalformedError: a name is none that a site may have.
    """
    found = {}
    for text in said:
        name, equals, version = text.partition("=")
        if not equals or not _VERSION.fullmatch(version):
            raise UsageError(f"{visible(text)[:80]!r} names no site and version", hint="write plant-7=0.2.0")
        found[check_release(name)] = version
    return found


def refuse_unreadable(before: Iterable[Key], after: Iterable[Key], clients: Mapping[str, str], *, fresh: bool) -> None:
    """Refuse kinds of keys that an enrolled client could not read.

    Args:
        before: the keys that are in use.
        after: the keys that are to be in use.
        clients: the version of each site.
        fresh: whether this is a first root, which no client has enrolled with yet.

    Raises:
        PolicyError: a site is too old, or no site's version is known.
    """
    used = {(key.keytype, key.scheme) for key in before}
    for key in after:
        kind = (key.keytype, key.scheme)
        since = SINCE[kind]
        late = sorted(name for name, version in clients.items() if _number(version) < _number(since))
        if late:
            raise PolicyError(
                f"{', '.join(f'{name} ({clients[name]})' for name in late[:5])} could not read a key of the kind "
                f"{key.scheme}, which sealift reads since {since}",
                hint="bring these sites to a newer sealift first, then note it: "
                f"sealift-keys clients {late[0]}={since}",
            )
        if not clients and not fresh and kind not in used and since != FIRST:
            raise PolicyError(
                f"no site's version is known, and sealift reads keys of the kind {key.scheme} only since {since}",
                hint=f"note what every enrolled site runs: sealift-keys clients plant-7={since}",
            )


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
