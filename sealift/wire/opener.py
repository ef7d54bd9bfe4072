"""What opens connections: by the environment's proxy and certificates, verified."""

from __future__ import annotations

import base64
import os
import ssl
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import LocationValueError, ProxySchemeUnknown
from urllib3.util import parse_url

from ..errors import SealiftError
from ..names import visible
from .connections import ANYWHERE


@dataclass(frozen=True, kw_only=True)
class Opener:
    """Opens connections for one side of the gap."""

    authorities: tuple[str, ...]
    """Environment variables that name the certificates to trust in place of the system's; the first that is set
    counts."""
    failure: type[SealiftError]
    """What is raised where the environment cannot be followed."""

    def pools(self, url: str, *, context: ssl.SSLContext | None = None, connections: int = 1) -> urllib3.PoolManager:
        """What opens connections for `url`, and keeps them.

        Args:
            url: an http or https address.
            context: what verifies the server of an https address, in place of what the environment says.
            connections: how many are kept for further requests.

        Raises:
            SealiftError: `failure`: the environment names no valid proxy or certificates.
        """
        parsed = parse_url(url)
        if parsed.scheme == "https":
            context = context or self.context()
        proxies = getproxies()
        proxy = proxies.get(parsed.scheme or "") or proxies.get("all")
        made: urllib3.PoolManager
        if not proxy or proxy_bypass(parsed.netloc or ""):
            made = urllib3.PoolManager(ssl_context=context, maxsize=connections)
        else:
            made = self._proxied(parsed.scheme, proxy, context, connections)
        made.pool_classes_by_scheme = ANYWHERE
        return made

    def _proxied(
        self, scheme: str | None, proxy: str, context: ssl.SSLContext | None, connections: int
    ) -> urllib3.ProxyManager:
        try:
            to = parse_url(proxy if "://" in proxy else f"http://{proxy}")
            if not to.host:
                raise LocationValueError("no host")
            said = base64.b64encode(unquote_to_bytes(to.auth)).decode() if to.auth else None
            return urllib3.ProxyManager(
                to._replace(auth=None).url,
                proxy_headers={"proxy-authorization": f"Basic {said}"} if said else None,
                ssl_context=context,
                maxsize=connections,
                proxy_ssl_context=self.context() if to.scheme == "https" else None,
            )
        except (LocationValueError, ProxySchemeUnknown) as error:
            raise self.failure(
                f"the proxy of the environment for {scheme} is no http or https address",
                hint="write HTTP_PROXY and HTTPS_PROXY as http://host:port, or name the host in NO_PROXY",
            ) from error

    def context(self) -> ssl.SSLContext:
        """A context that verifies, by the certificates that `authorities` name or by the system's.

        Raises:
            SealiftError: `failure`: they cannot be read.
        """
        for name in self.authorities:
            if not (place := os.environ.get(name)):
                continue
            try:
                if os.path.isdir(place):
                    return ssl.create_default_context(capath=place)
                return ssl.create_default_context(cafile=place)
            except OSError as error:
                raise self.failure(
                    f"{name}: {visible(place)} cannot be read as certificates", hint="name a file of PEM certificates"
                ) from error
        return ssl.create_default_context()
