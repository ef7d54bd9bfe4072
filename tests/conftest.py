"""Fixtures that tests of several areas share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from boxes import Boxes, boxes
from gitserver import GitServer, git_server
from gnupg import gnupg_home
from hypothesis import settings
from machine import Machine, machine
from molds import Molded, Molds
from registries import Running, registry
from stores import Store, missing, shared
from worlds import NOW, Connected, Isolated

import installer.folders.writing
from bundler.depots.depot import Depot
from installer.records.site import Site
from keys.ceremony import init
from sealift.digest import sha256

settings.register_profile("sealift", deadline=None)
settings.load_profile("sealift")

_LOOKED_AT = {
    "CONTAINERS_REGISTRIES_CONF",
    "DOCKER_CONFIG",
    "REGISTRY_AUTH_FILE",
    "REQUESTS_CA_BUNDLE",
    "SEALIFT_CA_FILE",
    "SSL_CERT_FILE",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
}
"""Variables that say where credentials, certificates and configurations of registries are."""

StoreOf = Callable[[str], Store]


@pytest.fixture(scope="session", autouse=True)
def disk_that_is_not_waited_for() -> Iterator[None]:
    """`fsync` and `syncfs` look at their descriptor and wait for nothing: no test pulls the plug of its machine.

    That they are called, when, and what follows where they fail is tested all the same: the calls are what counts.
    """

    def synced(descriptor: int) -> None:
        os.fstat(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", synced)
        patch.setattr(
            installer.folders.writing, "sync_file_system", lambda folder: os.close(os.open(folder, os.O_DIRECTORY))
        )
        yield


@pytest.fixture(scope="session")
def molds(tmp_path_factory: pytest.TempPathFactory) -> Molds:
    """What tests begin with."""
    return Molds(tmp_path_factory.mktemp("molds"))


@pytest.fixture
def connected(tmp_path: Path, molds: Molds) -> Connected:
    """A depot with unencrypted keys, valid from `NOW`; they are the same in all tests of a session."""
    root = tmp_path / "connected"
    root.mkdir()

    def make() -> None:
        init(root / "depot", root_keys=1, threshold=1, passphrase=None, now=NOW, unsafe_unencrypted=True)

    molds.fill("depot", root, make)
    made = Connected(root=root, depot=Depot(root / "depot"), fingerprint="")
    made.fingerprint = sha256(made.first_root.read_bytes())
    return made


@pytest.fixture
def enroll(tmp_path: Path) -> Callable[[Connected, str], Isolated]:
    """Makes sites that trust a depot's root."""

    def make(connected: Connected, name: str = "site") -> Isolated:
        root = tmp_path / f"isolated-{name}"
        root.mkdir()
        Site.create(root / name, connected.first_root.read_bytes(), connected.fingerprint, NOW)
        return Isolated(root=root, folder=root / name, srv=root / "srv")

    return make


@pytest.fixture
def isolated(connected: Connected, enroll: Callable[[Connected, str], Isolated]) -> Isolated:
    """A site that trusts the depot of `connected`."""
    return enroll(connected, "site")


@pytest.fixture
def molded(connected: Connected, isolated: Isolated, molds: Molds) -> Molded:
    """Gives `connected` and `isolated` what they are to hold, made once in a session for each name."""
    return lambda name, make: molds.fill_both(name, connected, isolated, make)


@pytest.fixture(scope="session")
def plain_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A registry that asks nobody who they are; tests use repositories of their own."""
    with registry(tmp_path_factory.mktemp("plain-registry")) as running:
        yield running


@pytest.fixture(scope="session")
def tls_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A registry with TLS, for those with a password."""
    with registry(tmp_path_factory.mktemp("tls-registry"), "tls") as running:
        yield running


@pytest.fixture(scope="session")
def token_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A registry that wants bearer tokens."""
    with registry(tmp_path_factory.mktemp("token-registry"), "token") as running:
        yield running


@pytest.fixture(scope="session")
def https_git(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    """A git server with TLS, for those with a password; tests make repositories of their own."""
    with git_server(tmp_path_factory.mktemp("https-git")) as server:
        yield server


@pytest.fixture(scope="session")
def running_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine that systemd runs; it sees the folders of tests where they are."""
    with machine(tmp_path_factory.mktemp("machine"), tmp_path_factory.getbasetemp()) as found:
        yield found


@pytest.fixture
def systemd(running_machine: Machine) -> Iterator[Machine]:
    """The same without a unit, and with its programs before all others."""
    running_machine.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("installer.programs.commands.PATH", f"{running_machine.programs}:{os.environ['PATH']}")
        yield running_machine
    running_machine.clear()


@pytest.fixture(scope="session")
def own_podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boxes]:
    """A podman with a store of its own."""
    with boxes(tmp_path_factory.mktemp("podman")) as found:
        yield found


@pytest.fixture
def podman(own_podman: Boxes) -> Iterator[Boxes]:
    """The same with nothing in it, found by whatever runs podman."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in own_podman.environment.items():
            if name != "HOME":
                patch.setenv(name, value)
        yield own_podman
    own_podman.clear()


@pytest.fixture(scope="session")
def gnupg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A GnuPG home with keys."""
    with gnupg_home(tmp_path_factory.mktemp("gnupg")) as home:
        yield home


@pytest.fixture
def quiet_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without credentials and configurations, and no proxy; what this machine has is not looked at."""
    home = tmp_path / "home"
    home.mkdir()
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in _LOOKED_AT:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture
def store_of(quiet_home: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> StoreOf:
    """Gives a prefix of the session's store of a kind, with its credentials in the environment."""
    base = tmp_path_factory.getbasetemp()
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def give(kind: str) -> Store:
        if lacking := missing(kind):
            if os.environ.get("SEALIFT_REQUIRE_ALL"):
                pytest.fail(f"{lacking[0]} is missing: run `make tools`")
            pytest.skip(f"{lacking[0]} is missing: run `make tools`")
        for name in list(os.environ):
            if name.startswith(("AWS_", "AZURE_", "OSS_", "ALIBABA_CLOUD_")):
                monkeypatch.delenv(name)
        store = shared(kind, folder)
        for name, value in store.environment.items():
            monkeypatch.setenv(name, value)
        return store

    return give
