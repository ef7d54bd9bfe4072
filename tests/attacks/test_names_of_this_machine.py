"""Hosts that a registry leads to, whose names resolve to this machine, its link, or a cloud's word to it alone."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from images import Sample, sample
from liars import Exchange, Liar, lying

import bundler.network.connections
import installer.network.wire
from bundler.source import Found, Workshop
from bundler.sources import oci
from sealift.errors import SourceError
from sealift.oci.address import Address, is_here
from sealift.oci.transport import Broken, Transport
from sealift.patience import Patience
from sealift.progress import Silent
from sealift.wire.wire import Wire

Opens = Callable[[], Transport]
_QUICK = Patience(attempts=2, read=2.0, connect=2.0, sleep=lambda _: None)
WIRES: dict[str, Opens] = {
    "bundler": lambda: Wire(bundler.network.connections.OPENER, os.environ, _QUICK, connections=1),
    "installer": lambda: installer.network.wire.wire(_QUICK, connections=1),
}
REFUSED = "its name resolves to this machine itself or its link: not followed"


@pytest.fixture(autouse=True)
def _home(quiet_home: Path) -> Path:
    return quiet_home


@pytest.fixture(autouse=True)
def _resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each name under example.com and example.net resolve to this machine, as its owner may have it do."""
    real = socket.getaddrinfo

    def resolved(host: str, *rest: Any, **more: Any) -> Any:
        return real("127.0.0.1" if host.endswith((".example.com", ".example.net")) else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)


@pytest.fixture
def made() -> Sample:
    """An image."""
    return sample(61)


@pytest.fixture
def liar(made: Sample) -> Iterator[Liar]:
    """A registry, called `reg.example.com` by who names it."""
    with lying(made.pile, {"1.0": made.root}) as server:
        yield server


@pytest.fixture
def service() -> Iterator[Liar]:
    """Something else that listens on this machine, and that nobody named."""
    with lying(sample(62).pile, {}) as server:
        server.twist("", lambda exchange: exchange.say(200, b'{"token":"abc"}'))
        yield server


def _collect(liar: Liar, folder: Path, **more: Any) -> list[Found]:
    workshop = Workshop(base=folder, cache=folder / "cache", progress=Silent())
    want = {"image": f"reg.example.com:{liar.server_port}/shop/web:1.0", "unsafe_http": True, **more}
    return list(oci.collect({**want, **oci.pin(want, workshop)}, workshop))


def test_a_registry_on_this_machine_that_is_named(liar: Liar, tmp_path: Path) -> None:
    """Who writes a name may mean this machine: what follows is refused for who led there."""
    assert _collect(liar, tmp_path)


def test_a_redirect_to_a_name_of_this_machine(liar: Liar, service: Liar, made: Sample, tmp_path: Path) -> None:
    """Not a byte is sent to it."""
    place = f"http://cdn.example.net:{service.server_port}/blob"
    liar.twist("blobs/", lambda exchange: exchange.say(307, Location=place))
    with pytest.raises(SourceError, match=REFUSED):
        _collect(liar, tmp_path)
    assert service.seen == []


def test_a_redirect_to_another_port_of_the_registry(liar: Liar, made: Sample, tmp_path: Path) -> None:
    """The host is the one that was named, so it is followed."""
    with lying(made.pile, {}) as beside:
        liar.twist(
            "blobs/",
            lambda exchange: exchange.say(307, Location=f"http://reg.example.com:{beside.server_port}{exchange.path}"),
        )
        assert _collect(liar, tmp_path)
        assert beside.seen


@pytest.mark.parametrize("named", [False, True])
def test_a_token_service_whose_name_is_of_this_machine(
    liar: Liar, service: Liar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    """103: it gets no credential and no request, though its domain is the registry's; one that is named does."""
    place = f"reg.example.com:{liar.server_port}"
    (tmp_path / "auth.json").write_text(json.dumps({"auths": {place: {"auth": "cm9ib3Q6cGFzcw=="}}}))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    realm = f"http://auth.example.com:{service.server_port}/token"

    def guarded(exchange: Exchange) -> bool:
        if exchange.headers.get("Authorization") == "Bearer abc":
            return False
        return exchange.say(401, WWW_Authenticate=f'Bearer realm="{realm}",service="x"')

    liar.twist("/v2/", guarded)
    if named:
        assert _collect(liar, tmp_path, token_host="auth.example.com")
        assert service.seen[0][2] == "Basic cm9ib3Q6cGFzcw=="
    else:
        with pytest.raises(SourceError, match=REFUSED):
            _collect(liar, tmp_path)
        assert service.seen == []


@pytest.mark.parametrize("side", list(WIRES))
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_both_lines_look_at_the_other_end(side: str, scheme: str, service: Liar) -> None:
    """Before TLS begins, too; where nobody led there, the request is sent."""
    wire = WIRES[side]()
    host = f"cdn.example.net:{service.server_port}"
    with (
        pytest.raises(Broken, match=REFUSED) as broken,
        wire.send("GET", Address(scheme=scheme, host=host, path="/", led=True), {}, None),
    ):
        pass
    assert broken.value.lasting
    assert service.seen == []
    with wire.send("GET", Address(scheme="http", host=host, path="/"), {}, None) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("number", "here"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", True),  # noqa: S104 an address to judge
        ("169.254.169.254", True),
        ("fe80::1%eth0", True),
        ("100.100.100.200", True),
        ("fd00:ec2::254", True),
        ("10.0.0.1", False),
        ("192.168.1.1", False),
        ("100.100.100.201", False),
        ("fd00::1", False),
        ("203.0.113.5", False),
    ],
)
def test_which_addresses_are_here(number: str, here: bool) -> None:
    """A site's own network is not: registries there keep their blobs beside them."""
    assert is_here(number) is here
