"""Connections to servers: by the environment's proxy and certificates, verified."""

from __future__ import annotations

import os
import ssl
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import LocationValueError, ProxySchemeUnknown
from urllib3.util import make_headers, parse_url

from sealift.errors import SourceError
from sealift.names import visible

CA_VARIABLES = ("SEALIFT_CA_FILE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
"""Environment variables that name the certificates to trust in place of the system's; the first that is set counts."""


def manager(url: str, *, context: ssl.SSLContext | None = None, connections: int = 1) -> urllib3.PoolManager:
    """What opens connections for `url`: by the environment's proxy and certificates.

    Args:
        url: an http or https address.
        context: what verifies the server of an https address, in place of what the environment says.
        connections: how many are kept for further requests.

    Raises:
        SourceError: the environment names no valid proxy or certificates.
    """
    parsed = parse_url(url)
    if parsed.scheme == "https":
        context = context or tls_context()
    proxies = getproxies()
    proxy = proxies.get(parsed.scheme or "") or proxies.get("all")
    if not proxy or proxy_bypass(parsed.netloc or ""):
        return urllib3.PoolManager(ssl_context=context, maxsize=connections)
    try:
        to = parse_url(proxy if "://" in proxy else f"http://{proxy}")
        if not to.host:
            raise LocationValueError("no host")
        return urllib3.ProxyManager(
            to._replace(auth=None).url,
            proxy_headers=make_headers(proxy_basic_auth=unquote(to.auth)) if to.auth else None,
            ssl_context=context,
            maxsize=connections,
            proxy_ssl_context=tls_context() if to.scheme == "https" else None,
        )
    except (LocationValueError, ProxySchemeUnknown) as error:
        raise SourceError(
            f"the proxy of the environment for {parsed.scheme} is no http or https address",
            hint="write HTTP_PROXY and HTTPS_PROXY as http://host:port",
        ) from error


def tls_context() -> ssl.SSLContext:
    """A context that verifies, by the certificates that `CA_VARIABLES` name or by the system's."""
    for name in CA_VARIABLES:
        if not (place := os.environ.get(name)):
            continue
        try:
            if os.path.isdir(place):
                return ssl.create_default_context(capath=place)
            return ssl.create_default_context(cafile=place)
        except OSError as error:
            raise SourceError(
                f"{name}: {visible(place)} cannot be read as certificates", hint="name a file of PEM certificates"
            ) from error
    return ssl.create_default_context()
