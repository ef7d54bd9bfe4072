"""Addresses on the web, as far as a registry's answers hold them: absolute or relative, http or https."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace

from ..names import visible
from .names import is_host

LENGTH_MAX = 8192
_ABSOLUTE = re.compile(r"(https?)://([^/?#]*)([^#]*)", re.IGNORECASE)
_METADATA = frozenset(map(ipaddress.ip_address, ("100.100.100.200", "fd00:ec2::254")))
"""Where clouds tell a machine its own credentials, besides addresses of the link."""
_LITERAL = re.compile(r"\[?([0-9a-fA-F.:]+)\]?")


class NoAddress(ValueError):
    """A text is no address that may be followed."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a request goes."""

    scheme: str
    """`http` or `https`."""
    host: str
    """With its port, where it is not the scheme's own; lower-case."""
    path: str
    """With the query; begins with `/`."""
    led: bool = False
    """Whether another host led here: then it lies elsewhere than on this machine, whatever its name resolves to."""

    @property
    def text(self) -> str:
        """The whole address."""
        return f"{self.scheme}://{self.host}{self.path}"

    @property
    def shown(self) -> str:
        """The address without its query, which may hold a signature; safe to print."""
        path, mark, _ = self.path.partition("?")
        return visible(f"{self.scheme}://{self.host}{path}{'?…' if mark else ''}")[:300]

    @property
    def name(self) -> str:
        """The host without its port."""
        return self.host if self.host.endswith("]") else re.sub(r":[0-9]+\Z", "", self.host)

    @property
    def local(self) -> bool:
        """Whether it names this very machine or its link, as a literal: nothing that another host should lead to."""
        name = self.name
        if name == "localhost" or name.endswith(".localhost"):
            return True
        found = _LITERAL.fullmatch(name)
        try:
            address = ipaddress.ip_address(found[1]) if found else None
        except ValueError:
            return name.isdigit()
        return address is not None and is_here(str(address))

    def join(self, location: str) -> Address:
        """The address that `location`, absolute or relative to this one, stands for (RFC 3986, without dot segments).

        Raises:
            NoAddress: it is none that may be followed.
        """
        if "://" in location.partition("?")[0]:
            return parse(location)
        if location.startswith("//"):
            return parse(f"{self.scheme}:{location}")
        if location.startswith("/"):
            return parse(f"{self.scheme}://{self.host}{location}")
        path = self.path.partition("?")[0]
        base = path if location.startswith("?") else path.rpartition("/")[0] + "/"
        return parse(f"{self.scheme}://{self.host}{base}{location}")

    def with_query(self, query: str) -> Address:
        """This address with one more part of the query."""
        return replace(self, path=f"{self.path}{'&' if '?' in self.path else '?'}{query}")


def is_here(number: str) -> bool:
    """Whether an IP address is this very machine's, its link's, or that of what a cloud tells it alone."""
    address = ipaddress.ip_address(number.partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_link_local or address.is_unspecified or address in _METADATA


def parse(text: str) -> Address:
    """The absolute address that `text` is.

    Raises:
        NoAddress: it is no http or https address, or bears credentials.
    """
    if len(text) > LENGTH_MAX or re.search(r"[\x00-\x20\x7f-\uffff\\]", text):
        raise NoAddress("it is too long, or holds a character that no address has")
    found = _ABSOLUTE.match(text)
    if not found:
        raise NoAddress("it is no http or https address")
    scheme, host, path = found[1].lower(), found[2].lower(), found[3]
    if "@" in host:
        raise NoAddress("it bears credentials")
    if not is_host(host):
        raise NoAddress("its host is none")
    default = ":443" if scheme == "https" else ":80"
    return Address(scheme=scheme, host=host.removesuffix(default), path=path if path.startswith("/") else f"/{path}")


def quoted(text: str) -> str:
    """`text` as a part of a query (RFC 3986: all but unreserved characters as percent-encoded UTF-8)."""
    return "".join(
        character
        if re.fullmatch(r"[A-Za-z0-9._~-]", character)
        else "".join(f"%{byte:02X}" for byte in character.encode())
        for character in text
    )
