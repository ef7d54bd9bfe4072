"""The source `deb`: real repositories by this machine's own apt, and hostile ones that a test makes."""

from __future__ import annotations

import functools
import gzip
import io
import json
import os
from collections.abc import Iterator, Mapping
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from calls import Call
from debian import Repository, ar, deb, tar
from registries import need
from threaded import threaded
from worlds import Connected

from bundler.source import Found, Workshop, problems_of, traces_of
from bundler.sources import deb as source
from sealift import debian_paths
from sealift.errors import IntegrityError, MalformedError, SealiftError, SourceError, TrustError, UsageError
from sealift.progress import Silent

UNSAFE = "--unsafe-no-passphrase"


@pytest.fixture(autouse=True)
def _home(quiet_home: Path) -> Path:
    need("apt-get")
    return quiet_home


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """An empty cache."""
    return Workshop(base=tmp_path, cache=tmp_path / "cache", progress=Silent())


@pytest.fixture
def made(tmp_path: Path, gnupg: Path) -> Repository:
    """A repository that holds `app`, which needs `lib`, which needs `base`; not published."""
    repository = Repository(tmp_path / "archive", gnupg)
    repository.deb("app", "1:2.0", Depends="lib (>= 1)", Recommends="extra")
    repository.deb("lib", "1.5-1", "amd64", Depends="base")
    repository.deb("base")
    repository.deb("extra")
    repository.deb("aside")
    return repository


def want(gnupg: Path, *packages: str, **more: Any) -> dict[str, Any]:
    """What a spec says."""
    repositories = [{"url": "archive", "suites": ["stable"], "keyring": str(gnupg / "good.asc")}]
    return {"packages": list(packages or ("app",)), "architecture": "amd64", "repositories": repositories, **more}


def collect(asked: Mapping[str, Any], workshop: Workshop) -> list[str]:
    """The names of what is found, locked just now."""
    return [found.path for found in source.collect({**asked, **source.pin(asked, workshop)}, workshop)]


def refused(asked: Mapping[str, Any], workshop: Workshop, kind: type[SealiftError], match: str) -> None:
    """Locking or collecting fails in this way, in one good sentence with a hint."""
    with pytest.raises(kind, match=match) as raised:
        collect(asked, workshop)
    assert raised.value.hint
    assert not raised.value.message.endswith(".")


def test_it_takes_a_closure(made: Repository, gnupg: Path, workshop: Workshop) -> None:
    """All that a package needs comes along, under names without epochs, and nothing else."""
    made.publish()
    assert collect(want(gnupg), workshop) == ["app_2.0_all.deb", "base_1.0_all.deb", "lib_1.5-1_amd64.deb"]
    assert "extra_1.0_all.deb" in collect(want(gnupg, recommends=True), workshop)


def test_it_takes_names_from_a_list(made: Repository, gnupg: Path, workshop: Workshop, tmp_path: Path) -> None:
    """One on a line, with comments; a version may be named."""
    made.deb("aside", "3.0")
    made.publish()
    (tmp_path / "names").write_text("# ours\naside=1.0  # the old one\n\n")
    assert collect(want(gnupg, "base", list="names"), workshop) == ["aside_1.0_all.deb", "base_1.0_all.deb"]
    (tmp_path / "names").write_text("aside-\n")
    refused(want(gnupg, list="names"), workshop, UsageError, "no name of a package")


def test_what_is_installed_is_left_out(made: Repository, gnupg: Path, workshop: Workshop, tmp_path: Path) -> None:
    """A base image's own status file says it."""
    made.publish()
    status = (
        "Package: base\nStatus: install ok installed\nVersion: 1.0\nArchitecture: all\nMaintainer: A\nDescription: x\n"
    )
    (tmp_path / "status").write_text(status)
    assert collect(want(gnupg, installed="status"), workshop) == ["app_2.0_all.deb", "lib_1.5-1_amd64.deb"]
    refused(want(gnupg, "base", installed="status"), workshop, SourceError, "nothing to collect")
    (tmp_path / "status").write_text("base 1.0\n")
    refused(want(gnupg, installed="status"), workshop, UsageError, "no status file")


def test_a_lock_holds_against_a_repository_that_moves(made: Repository, gnupg: Path, workshop: Workshop) -> None:
    """A newer version changes nothing; nobody is asked what is needed."""
    made.publish()
    pins = source.pin(want(gnupg), workshop)
    made.deb("lib", "1.6-1", "amd64", Depends="base, aside")
    made.publish()
    asked = {**want(gnupg), **pins}
    assert [each.path for each in source.collect(asked, workshop)][2] == "lib_1.5-1_amd64.deb"
    assert source.pin(want(gnupg), workshop) != pins


def test_a_package_that_went_is_named(made: Repository, gnupg: Path, workshop: Workshop) -> None:
    """A locked package that the repository no longer has, or has with other content."""
    made.publish()
    asked = {**want(gnupg), **source.pin(want(gnupg), workshop)}
    place = made.folder / "pool/lib_1.5-1_amd64.deb"
    content = place.read_bytes()
    place.write_bytes(deb("lib", "1.5-1", "amd64", Depends="base", Homepage="https://example.org"))
    with pytest.raises(IntegrityError, match=r"lib_1\.5-1_amd64\.deb is not what was locked"):
        list(source.collect(asked, workshop))
    place.unlink()
    with pytest.raises(SourceError, match="no longer where it was"):
        list(source.collect(asked, workshop))
    place.write_bytes(content)
    assert list(source.collect(asked, workshop))


def test_nothing_is_fetched_twice(made: Repository, gnupg: Path, workshop: Workshop) -> None:
    """What is in the cache, or the one beside it, is not asked for."""
    made.publish()
    asked = {**want(gnupg), **source.pin(want(gnupg), workshop)}
    first = list(source.collect(asked, workshop))
    for path in (made.folder / "pool").iterdir():
        path.unlink()
    assert list(source.collect(asked, workshop)) == first
    spared = Workshop(base=workshop.base, cache=workshop.base / "new", spare=workshop.cache, progress=Silent())
    assert list(source.collect(asked, spared)) == first


def test_a_spec_that_asks_for_more_than_its_lock_is_refused(made: Repository, gnupg: Path, workshop: Workshop) -> None:
    """A lock does not answer another question."""
    made.publish()
    pins = source.pin(want(gnupg), workshop)
    with pytest.raises(UsageError, match="asks for other packages"):
        list(source.collect({**want(gnupg, "app", "aside"), **pins}, workshop))
    with pytest.raises(SourceError, match="no lock says"):
        list(source.collect(want(gnupg), workshop))


def test_a_lock_that_was_tampered_with_is_refused(made: Repository, gnupg: Path, workshop: Workshop) -> None:
    """What `debs` says is read as strictly as what comes from outside."""
    made.publish()
    pins = source.pin(want(gnupg), workshop)
    for wrong in (
        "base 1.0 all 5 xyz http://x/",
        "../x 1.0 all 5 " + "0" * 64 + " http://x/",
        "a",
        "-o 1 all 5 " + "0" * 64 + " x",
    ):
        with pytest.raises(UsageError, match="not as it was written"):
            list(source.collect({**want(gnupg), **pins, "debs": wrong}, workshop))


def test_it_says_who_signed(made: Repository, gnupg: Path, workshop: Workshop) -> None:
    """The lock holds the fingerprint of the key, and the traces say it of each package."""
    made.publish()
    pins = source.pin(want(gnupg), workshop)
    assert len(str(pins["signers"])) == 40
    found = list(traces_of(source, {**want(gnupg), **pins}))
    assert {each.signers for each in found} == {(pins["signers"],)}
    assert all(each.digest["sha256"] for each in found)


@pytest.mark.parametrize("key", [None, "other"])
def test_a_repository_without_its_signature_is_refused(
    made: Repository, gnupg: Path, workshop: Workshop, key: str | None
) -> None:
    """Attack 1: unsigned, or signed by a key that was not named."""
    made.publish(key)
    refused(want(gnupg), workshop, TrustError, "apt says")


def test_a_key_that_expired_signs_nothing(made: Repository, gnupg: Path, workshop: Workshop) -> None:
    """Attack 9: a signature that was good once."""
    made.publish("old", "--faked-system-time", "20200101T010000")
    asked = want(gnupg)
    asked["repositories"][0]["keyring"] = str(gnupg / "old.asc")
    refused(asked, workshop, TrustError, "apt says")


def test_a_list_that_was_changed_is_refused(made: Repository, gnupg: Path, workshop: Workshop) -> None:
    """Attack 76: a flipped byte behind the signature."""
    made.publish()
    place = made.folder / "dists/stable/main/binary-amd64/Packages"
    place.write_bytes(place.read_bytes().replace(b"Version: 1.5-1", b"Version: 1.5-2"))
    refused(want(gnupg), workshop, IntegrityError, "apt says")


@pytest.mark.parametrize("cut", [-1, 100, 0])
def test_a_package_that_breaks_off_is_refused(made: Repository, gnupg: Path, workshop: Workshop, cut: int) -> None:
    """Attack 73: shorter than the list says."""
    made.publish()
    place = made.folder / "pool/lib_1.5-1_amd64.deb"
    place.write_bytes(place.read_bytes()[:cut])
    refused(want(gnupg), workshop, IntegrityError, "not what was locked")
    assert not [path for path in workshop.cache.glob("*") if path.suffix == ".deb"]


def test_a_dependency_that_is_missing_is_named(made: Repository, gnupg: Path, workshop: Workshop) -> None:
    """The sentence says who needs what."""
    made.deb("lost", Depends="nowhere (>= 3)")
    made.publish()
    refused(want(gnupg, "lost"), workshop, SourceError, "nowhere")
    refused(want(gnupg, "unknown"), workshop, SourceError, "unknown")


def test_a_cycle_of_dependencies_ends(made: Repository, gnupg: Path, workshop: Workshop) -> None:
    """Attack 33: packages that need each other come together."""
    made.deb("hen", Depends="egg")
    made.deb("egg", Depends="hen")
    made.publish()
    assert collect(want(gnupg, "hen"), workshop) == ["egg_1.0_all.deb", "hen_1.0_all.deb"]


def test_packages_that_exclude_each_other_are_refused(made: Repository, gnupg: Path, workshop: Workshop) -> None:
    """Nothing is left out silently."""
    made.deb("rival", Conflicts="base")
    made.publish()
    refused(want(gnupg, "app", "rival"), workshop, SourceError, "apt says")


def test_a_name_is_no_pattern(made: Repository, gnupg: Path, workshop: Workshop) -> None:
    """Apt takes a name with a dot for a regular expression where no package bears it."""
    made.publish()
    refused(want(gnupg, "a.ide"), workshop, SourceError, r"a\.ide")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no package",
        ar({"debian-binary": b"2.0\n"}),
        ar({"debian-binary": b"2.0\n", "control.tar.gz": b"\x1f\x8b"}),
    ],
)
def test_what_is_no_package_is_refused(made: Repository, gnupg: Path, workshop: Workshop, content: bytes) -> None:
    """A validly listed file of another form."""
    made.add(content, "odd")
    made.publish()
    with pytest.raises((MalformedError, SourceError)):
        collect(want(gnupg, "odd"), workshop)


def test_a_package_under_another_name_is_refused(made: Repository, gnupg: Path, workshop: Workshop) -> None:
    """Attack 35: an older or another package under a name that is listed."""
    made.add(deb("app", "0.9"), "new", "2.0")
    made.publish()
    refused(want(gnupg, "new"), workshop, MalformedError, "not what the repository's list says")


def test_a_list_leads_to_no_other_place(made: Repository, gnupg: Path, workshop: Workshop, tmp_path: Path) -> None:
    """Attack 52: the path in a list decides no name of ours."""
    place = made.add(deb("sly"), "sly", Filename="../outside/sly.deb")
    (tmp_path / "outside").mkdir()
    place.rename(tmp_path / "outside/sly.deb")
    made.publish()
    assert collect(want(gnupg, "sly"), workshop) == ["sly_1.0_all.deb"]
    assert {path.name for path in tmp_path.iterdir()} <= {"archive", "cache", "home", "outside"}


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def served(made: Repository) -> Iterator[str]:
    """The address of a server of the repository."""
    handler = functools.partial(_Quiet, directory=str(made.folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, threaded(server):
        yield f"http://127.0.0.1:{server.server_port}"


def test_a_server_that_sends_without_end_is_left(
    made: Repository, served: str, gnupg: Path, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes beyond the size of the packages does not fill the disk."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made.publish()
    asked = want(gnupg)
    asked["repositories"][0]["url"] = served
    asked |= source.pin(asked, workshop)
    with (made.folder / "pool/lib_1.5-1_amd64.deb").open("r+b") as file:
        file.truncate(1 << 30)
    with pytest.raises(SourceError, match="sent more than"):
        list(source.collect(asked, workshop))


def test_it_comes_from_a_server(
    made: Repository, served: str, gnupg: Path, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By apt's own methods, with what the server changes meanwhile noticed."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made.publish()
    asked = want(gnupg)
    asked["repositories"][0]["url"] = served
    asked |= source.pin(asked, workshop)
    found: list[Found] = list(source.collect(asked, workshop))
    assert [each.path for each in found] == ["app_2.0_all.deb", "base_1.0_all.deb", "lib_1.5-1_amd64.deb"]
    other = Workshop(base=workshop.base, cache=workshop.base / "new", progress=Silent())
    (made.folder / "pool/base_1.0_all.deb").write_bytes(deb("base", Homepage="x"))
    with pytest.raises(IntegrityError):
        list(source.collect(asked, other))
    (made.folder / "pool/base_1.0_all.deb").unlink()
    with pytest.raises(SourceError):
        list(source.collect(asked, other))


@pytest.mark.parametrize(
    "url", ["https://user:pass@example.com/debian", "ftp://example.com/debian", "ssh://x/y", "file:///srv"]
)
def test_an_address_that_is_not_asked_is_refused(workshop: Workshop, gnupg: Path, url: str) -> None:
    """No credentials, and no method of apt's that a spec should not start."""
    asked = want(gnupg)
    asked["repositories"][0]["url"] = url
    refused(asked, workshop, UsageError, "address|credentials")
    problems = problems_of(source, asked, workshop.base, pinned=False)
    assert [each.steps for each in problems] == [("repositories", 0, "url")]
    assert "pass@" not in problems[0].message


@pytest.mark.slow
def test_a_small_closure_comes_by_the_machines_own_apt(workshop: Workshop, connected: Connected, call: Call) -> None:
    """By name, signed and pinned; a second export of the same lock is the same and fetches nothing."""
    if not os.path.isdir("/var/lib/apt/lists/partial"):
        pytest.skip("this machine's apt has no sources")
    spec = connected.root / "sealift.yaml"
    spec.write_text(
        "release: shop\nversion: 1.0.0\nartifacts:\n  debs:\n    source: deb\n    packages: [jq]\n"
        "    architecture: amd64\n"
    )
    depot = str(connected.depot.folder)
    assert call("lock", str(spec), "--depot", depot) == 0, call.err
    lock = json.loads(spec.with_suffix(".lock").read_text())["artifacts"]["debs"]
    names = [line.split()[0] for line in lock["debs"].splitlines()]
    assert {"jq", "libjq1", "libc6"} <= set(names)
    assert lock["signers"]
    bundle = connected.root / "b.sealift"
    assert call("export", str(spec), "--depot", depot, "--out", str(bundle), UNSAFE) == 0, call.err
    assert call("lock", "--check", str(spec), "--depot", depot) == 0, call.err


@pytest.mark.parametrize("size", [1 << 20, 1 << 22])
def test_a_package_that_unpacks_into_far_too_much_is_refused(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """67: reading its paths takes time by what it unpacks into, which is bounded by what it is."""
    monkeypatch.setattr(debian_paths, "UNPACKED_MIN", 2 << 20)
    data = gzip.compress(tar({"./zeros": bytes(size)}))
    file = io.BytesIO(ar({"data.tar.gz": data}).removeprefix(b"!<arch>\n"))
    if size < debian_paths.UNPACKED_MIN:
        debian_paths.check_paths(file, "it")
    else:
        with pytest.raises(MalformedError, match="unpacks into far too much"):
            debian_paths.check_paths(file, "it")
