"""Addresses of git repositories: by https, by ssh, or a folder of this machine; nothing else is asked.

Git itself knows many more: `ext::` runs a program, `file://` reads any folder, `git://` and `http://` are not
authenticated. What a spec says is judged here, and so is what a repository says of its submodules.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from sealift.errors import UsageError
from sealift.names import visible

LENGTH_MAX = 4096
_USER = r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,63}"
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|\[[0-9a-fA-F:.]{2,45}\]"
_PATH = r"[^\x00-\x20\x7f\\-][^\x00-\x20\x7f\\]*"
_SSH = re.compile(rf"ssh://(?:{_USER}@)?(?:{_HOST})(?::[0-9]{{1,5}})?/[^\x00-\x20\x7f\\]+")
_SCP = re.compile(rf"(?:{_USER}@)?(?:{_HOST}):(?!/?/){_PATH}|(?:{_USER}@)?(?:{_HOST}):/{_PATH}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?://|:)")
_FORMS = "write https://…, ssh://…, user@host:path, or the path of a repository on this machine"


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a repository is."""

    url: str
    """What git is told: an address, or an absolute path."""
    protocol: Literal["https", "http", "ssh", "file"]

    @property
    def shown(self) -> str:
        """It, safe to print; none that is accepted bears a password."""
        return ("repository " if self.protocol == "file" else "") + visible(self.url)[:300]

    def beside(self, url: str) -> Address:
        """The address of a submodule whose repository `.gitmodules` calls `url`.

        Raises:
            UsageError: it is none that is asked, or one that a repository may not lead to.
        """
        if not url.startswith(("./", "../")):
            found = parse(url, Path("/"), unsafe_http=self.protocol == "http")
            if found.protocol == "file":
                raise UsageError(f"a submodule may not be the folder {visible(url)[:120]!r} of this machine")
            return found
        if self.protocol == "file":
            there, parent = os.path.normpath(os.path.join(self.url, url)), os.path.dirname(self.url).rstrip("/")
            if not there.startswith(f"{parent}/"):
                raise UsageError(f"the submodule {visible(url)[:120]!r} leads out of the folder of its repository")
            return Address(url=there, protocol="file")
        head, path = self._split()
        kept = [part for part in path.rstrip("/").split("/") if part]
        rest = url.split("/")
        while rest and rest[0] in (".", "..", ""):
            if rest.pop(0) == "..":
                if not kept:
                    raise UsageError(f"the submodule {visible(url)[:120]!r} leads out of the server's root")
                kept.pop()
        if not rest or ".." in rest:
            raise UsageError(f"the submodule {visible(url)[:120]!r} is no address of a repository")
        return parse(head + "/".join([*kept, *rest]), Path("/"), unsafe_http=self.protocol == "http")

    def _split(self) -> tuple[str, str]:
        """What stands before the path, its separator included, and the path."""
        if "://" in self.url:
            end = self.url.index("/", self.url.index("://") + 3) + 1
            return self.url[:end], self.url[end:]
        host, _, path = self.url.partition(":")
        return (f"{host}:/", path[1:]) if path.startswith("/") else (f"{host}:", path)


def parse(text: str, base: Path, *, unsafe_http: bool = False) -> Address:
    """The address that `text` stands for.

    Args:
        text: as a person writes it.
        base: the folder that a relative path starts from.
        unsafe_http: whether http without TLS may be asked.

    Raises:
        UsageError: it is none that is asked, or bears a password.
    """
    shown = visible(text)[:120]
    if re.search(r"[\x00-\x1f\x7f]", text) or not text or len(text) > LENGTH_MAX:
        raise UsageError(f"repository {shown!r} is no address", hint=_FORMS)
    if text.startswith(("https://", "http://")):
        return _web(text, unsafe_http=unsafe_http)
    if text.startswith("ssh://"):
        if not _SSH.fullmatch(text):
            raise UsageError(
                "the address by ssh does not have the form ssh://user@host:port/path",
                hint="write no password: ssh finds its key by itself",
            )
        return Address(url=text, protocol="ssh")
    if _SCHEME.match(text):
        raise UsageError(f"repository {shown!r} has a scheme that is not asked", hint=_FORMS)
    if ":" in text.partition("/")[0]:
        if not _SCP.fullmatch(text):
            raise UsageError(f"repository {shown!r} does not have the form user@host:path", hint=_FORMS)
        return Address(url=text, protocol="ssh")
    return Address(url=os.path.normpath(base.absolute() / text), protocol="file")


def _web(text: str, *, unsafe_http: bool) -> Address:
    from ..network.web import check_url, redacted

    check_url(text)
    split = urlsplit(text)
    if split.query or split.fragment:
        raise UsageError(f"repository {redacted(text)} has a query, which git does not send")
    if not split.path.strip("/"):
        raise UsageError(f"repository {redacted(text)} names a server and no repository", hint="write its path too")
    if split.scheme == "http":
        if not unsafe_http:
            raise UsageError(
                f"repository {redacted(text)} has no TLS",
                hint="use https; where that cannot be, write `unsafe_http: true`, and check a signature with `verify`",
            )
        return Address(url=text, protocol="http")
    return Address(url=text, protocol="https")
