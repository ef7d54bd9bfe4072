"""What every source keeps to: one suite, run over each module in `bundler.sources`."""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib
import itertools
import json
import os
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from debian import Repository
from gitserver import repository
from images import Pile
from registries import need
from stores import Store
from threaded import threaded
from wheelhouse import wheel
from worlds import NOW, Connected

import bundler.sources
from bundler.depots.depot import Depot
from bundler.source import Found, Source, Workshop, problems_of, reaches, traces_of
from bundler.sources import bucket as bucket_source
from bundler.sources import deb as deb_source
from bundler.sources import git as git_source
from bundler.sources import helm as helm_source
from bundler.sources import npm as npm_source
from bundler.sources import oci as oci_source
from bundler.sources import path as path_source
from bundler.sources import pypi as pypi_source
from bundler.sources import release as release_source
from bundler.sources import url as url_source
from keys.ceremony import init
from sealift.errors import SourceError, UsageError
from sealift.names import check_link, check_path
from sealift.progress import Silent

ORIGIN = {"b/run": b"#!/bin/sh\n", "b/plain": b"content", "a": b"", "z": b"z" * 3000}


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A source with something to collect."""

    source: Source
    want: Mapping[str, Any]
    missing: Mapping[str, Any]
    """The same, of something that does not exist."""
    workshop: Workshop
    local: bool
    """Whether it reads this machine's files."""


def _path(origin: Path, _: str) -> tuple[Source, dict[str, Any], dict[str, Any]]:
    return path_source, {"path": origin.name, "exclude": ["a"]}, {"path": "nowhere"}


def _url(_: Path, server: str) -> tuple[Source, dict[str, Any], dict[str, Any]]:
    digest = hashlib.sha256(ORIGIN["b/plain"]).hexdigest()
    missing = {"url": f"{server}/nowhere", "sha256": digest}
    return url_source, {"url": f"{server}/b/plain", "sha256": digest, "executable": True}, missing


def _oci(origin: Path, _: str) -> tuple[Source, dict[str, Any], dict[str, Any]]:
    pile = Pile()
    pile.write(origin / "b" / "layout", {"1.0": pile.index(pile.image(1), pile.image(2, "arm64"))})
    known_as = {"as": "registry.example.com/shop/web:1.0"}
    return oci_source, {"image": "oci:origin/b/layout:1.0", **known_as}, {"image": "oci:nowhere:1.0", **known_as}


def _git(origin: Path, _: str) -> tuple[Source, dict[str, Any], dict[str, Any]]:
    made = repository(origin / "b" / "repository.git")
    run = ("100755", made.blob(ORIGIN["b/run"]))
    want = {"ref": "main", "commit": made.commit({"b": {"run": run, "plain": b"content"}, "a": b"", "z": b"z" * 3000})}
    return git_source, {"repository": "origin/b/repository.git", **want}, {"repository": "nowhere", **want}


def _deb(origin: Path, _: str) -> tuple[Source, dict[str, Any], dict[str, Any]]:
    made = Repository(origin.parent.parent / "archive", (origin.parent.parent / "gnupg").resolve())
    made.deb("app", Depends="lib")
    made.deb("lib")
    made.publish()
    keyring = str(made.home / "good.asc")
    repositories = [{"url": str(made.folder), "suites": ["stable"], "keyring": keyring}]
    want: dict[str, Any] = {"packages": ["app"], "architecture": "amd64", "repositories": repositories}
    workshop = Workshop(base=origin.parent, cache=origin.parent.parent / "pinning", progress=Silent())
    gone = {"debs": f"lib 1.0 all 5 {'0' * 64} file:/nowhere/lib.deb"}
    return deb_source, {**want, "debs": deb_source.pin(want, workshop)["debs"]}, {**want, **gone}


def _pypi(origin: Path, server: str) -> tuple[Source, dict[str, Any], dict[str, Any]]:
    name, content = wheel("plain")
    (origin / "simple" / "plain").mkdir(parents=True)
    (origin / name).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    (origin / "simple" / "plain" / "index.html").write_text(f'<a href="{server}/{name}#sha256={digest}">{name}</a>')
    (origin.parent / "requirements.txt").write_text(f"plain==1.0 --hash=sha256:{digest}\n")
    want: dict[str, Any] = {"lockfile": "requirements.txt", "python": ["3.11"], "platforms": ["manylinux_2_28_x86_64"]}
    want["index"] = [f"{server}/simple"]
    want["lockfile_sha256"] = hashlib.sha256((origin.parent / "requirements.txt").read_bytes()).hexdigest()
    line = f"{digest} {len(content)} {name} {server}"
    return pypi_source, {**want, "files": [f"{line}/{name}"]}, {**want, "files": [f"{line}/nowhere/{name}"]}


def _npm(origin: Path, server: str) -> tuple[Source, dict[str, Any], dict[str, Any]]:
    content = ORIGIN["z"]
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    entry = {"version": "1.0.0", "resolved": f"{server}/z", "integrity": f"sha512-{digest}"}
    lock = json.dumps({"lockfileVersion": 3, "packages": {"node_modules/@shop/it": entry}}).encode()
    (origin.parent / "package-lock.json").write_bytes(lock)
    want: dict[str, Any] = {"lockfile": "package-lock.json", "lockfile_sha256": hashlib.sha256(lock).hexdigest()}
    line = f"{hashlib.sha256(content).hexdigest()} {len(content)} @shop/it/it-1.0.0.tgz {server}"
    return npm_source, {**want, "files": [f"{line}/z"]}, {**want, "files": [f"{line}/nowhere"]}


def _release(origin: Path, _: str) -> tuple[Source, dict[str, Any], dict[str, Any]]:
    root = origin.parent.parent / "connected"
    root.mkdir()
    made = init(root / "depot", root_keys=1, threshold=1, passphrase=None, now=NOW, unsafe_unencrypted=True)
    connected = Connected(root=root, depot=Depot(root / "depot"), fingerprint=made.fingerprint)
    bundle = connected.bundle("1.0.0", ORIGIN)
    (sealed,) = connected.made[bundle.name].sealed
    want = {"release": "shop@1.0.0", "artifact": "web", "manifest": sealed.part.release.sha256, "kind": "files"}
    return release_source, want, {**want, "release": "shop@9.9.9"}


def _helm(origin: Path, server: str) -> tuple[Source, dict[str, Any], dict[str, Any]]:
    digest = hashlib.sha256(ORIGIN["z"]).hexdigest()
    entry = {"name": "it", "version": "1.0.0", "urls": ["z"], "digest": digest}
    (origin / "index.yaml").write_text(json.dumps({"apiVersion": "v1", "entries": {"it": [entry]}}))
    want: dict[str, Any] = {"repository": server, "chart": "it", "version": "1.0.0"}
    line = f"{digest} {len(ORIGIN['z'])} it-1.0.0.tgz {server}"
    return helm_source, {**want, "files": [f"{line}/z"]}, {**want, "files": [f"{line}/nowhere"]}


CASES: dict[str, Callable[[Path, str], tuple[Source, dict[str, Any], dict[str, Any]]]] = {
    "npm": _npm,
    "deb": _deb,
    "git": _git,
    "helm": _helm,
    "oci": _oci,
    "path": _path,
    "pypi": _pypi,
    "release": _release,
    "url": _url,
}
KINDS = sorted([*CASES, "bucket"])


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A folder that is collected, or served."""
    root = tmp_path / "base" / "origin"
    for name, content in ORIGIN.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (root / "b/run").chmod(0o755)
    (root / "link").symlink_to("b/run")
    return root


@pytest.fixture
def server(origin: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server of `origin`."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = functools.partial(_Quiet, directory=str(origin))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving, threaded(serving):
        yield f"http://127.0.0.1:{serving.server_port}"


@pytest.fixture(params=KINDS)
def case(
    request: pytest.FixtureRequest, origin: Path, server: str, tmp_path: Path, store_of: Callable[[str], Store]
) -> Case:
    """Each source in turn."""
    if request.param == "deb":
        need("apt-get")
        (tmp_path / "gnupg").symlink_to(request.getfixturevalue("gnupg"))
    depot = tmp_path / "connected" / "depot"
    workshop = Workshop(base=origin.parent, cache=tmp_path / "cache", progress=Silent(), depot=depot)
    if request.param == "bucket":
        source, want, missing = _stored(store_of("rgw"), workshop)
    else:
        source, want, missing = CASES[request.param](origin, server)
    local = request.param in ("git", "oci", "path")
    return Case(source=source, want=want, missing=missing, workshop=workshop, local=local)


def _stored(store: Store, workshop: Workshop) -> tuple[Source, dict[str, Any], dict[str, Any]]:
    for name, content in ORIGIN.items():
        store.write(name, content)
    want = {"bucket": f"{store.address}/", **store.settings, "exclude": ["a"], "executable": ["run"]}
    pins = bucket_source.pin(want, workshop)
    missing = {"bucket": f"{store.address}/nowhere", **store.settings, "sha256": "0" * 64}
    return bucket_source, {**want, **pins}, missing


def _same(entries: list[Found]) -> list[Found]:
    """The entries without what differs between two machines."""
    return [entry._replace(origin="", stamp=(0, 0)) for entry in entries]


def _positions(entries: list[Found]) -> list[list[bytes]]:
    return [[component.encode() for component in entry.path.split("/")] for entry in entries]


def test_every_source_has_a_case() -> None:
    """A new source cannot be forgotten here."""
    modules = {module.name for module in pkgutil.iter_modules(bundler.sources.__path__)}
    assert modules == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_it_offers_the_three_names(kind: str) -> None:
    """A source's module has what the protocol says."""
    module = importlib.import_module(f"bundler.sources.{kind}")
    assert isinstance(module.SCHEMA, Mapping)
    assert callable(module.collect)
    assert callable(module.pin)


def test_its_schema_accepts_what_it_collects(case: Case) -> None:
    """The schema is valid, and so are the keys of the case, but for what a lock alone says."""
    jsonschema.Draft202012Validator.check_schema(case.source.SCHEMA)
    said = {key: value for key, value in case.want.items() if key != "objects"}
    jsonschema.Draft202012Validator(case.source.SCHEMA).validate(said)


def test_its_schema_refuses_unknown_keys(case: Case) -> None:
    """A misspelt key is found before anything is collected."""
    assert not jsonschema.Draft202012Validator(case.source.SCHEMA).is_valid({**case.want, "unknown": 1})


def test_its_schema_describes_its_keys(case: Case) -> None:
    """An editor can say what each key means."""
    assert all(key["description"] for key in case.source.SCHEMA["properties"].values())


def test_its_schema_refuses_a_spec_without_its_keys(case: Case) -> None:
    """An artifact that says nothing is not collected."""
    assert not jsonschema.Draft202012Validator(case.source.SCHEMA).is_valid({})
    with pytest.raises(UsageError):
        list(case.source.collect({}, case.workshop))


def test_it_yields_entries(case: Case) -> None:
    """Something is found."""
    assert list(case.source.collect(case.want, case.workshop))


def test_it_yields_in_canonical_order(case: Case) -> None:
    """Depth first, siblings sorted by the bytes of their names, nothing twice."""
    positions = _positions(list(case.source.collect(case.want, case.workshop)))
    assert all(before < after for before, after in itertools.pairwise(positions))


def test_it_yields_a_folder_before_what_is_in_it(case: Case) -> None:
    """Every entry's folder was yielded as a folder."""
    folders = {""}
    for entry in case.source.collect(case.want, case.workshop):
        assert os.path.dirname(entry.path) in folders
        if entry.kind == "dir":
            folders.add(entry.path)


def test_it_yields_paths_that_a_tree_can_hold(case: Case) -> None:
    """Names and links pass the rules of the format."""
    for entry in case.source.collect(case.want, case.workshop):
        check_path(entry.path)
        if entry.kind == "link":
            check_link(entry.path, entry.target)


def test_it_says_where_to_read_files(case: Case) -> None:
    """A file's origin has the size and the stamp that were found; other entries have none."""
    for entry in case.source.collect(case.want, case.workshop):
        if entry.kind == "file":
            status = os.stat(entry.origin)
            assert (entry.size, entry.stamp) == (status.st_size, (status.st_ino, status.st_mtime_ns))
        else:
            assert (entry.size, entry.origin, entry.stamp, entry.executable) == (0, "", (0, 0), False)


def test_it_finds_the_same_twice(case: Case) -> None:
    """A second run yields the same entries."""
    first = list(case.source.collect(case.want, case.workshop))
    assert list(case.source.collect(case.want, case.workshop)) == first


def test_its_pins_can_be_written_down(case: Case) -> None:
    """Pins are simple values under keys that are not the lock's own, and the same each time."""
    pins = case.source.pin(case.want, case.workshop)
    for value in json.loads(json.dumps(dict(pins))).values():
        assert isinstance(value, (str, int, bool)) or (value and all(isinstance(each, str) for each in value))
    assert not {"source", "digest", "time"} & set(pins)
    assert case.source.pin(case.want, case.workshop) == pins


def test_it_says_where_things_come_from_without_credentials(case: Case) -> None:
    """What a source traces has a digest and a plain address, and needs no cache."""
    pins = case.source.pin(case.want, case.workshop)
    for trace in traces_of(case.source, {**case.want, **pins}):
        assert trace.name
        assert trace.digest
        assert not {"?", "#"} & set(trace.uri)
        assert "@" not in trace.uri.partition("//")[2].partition("/")[0]


def test_it_collects_the_same_when_pinned(case: Case) -> None:
    """The pins change nothing, and stand beside what the spec says."""
    pins = case.source.pin(case.want, case.workshop)
    assert {key: value for key, value in pins.items() if key in case.want} == {
        key: case.want[key] for key in pins if key in case.want
    }
    pinned = list(case.source.collect({**case.want, **pins}, case.workshop))
    assert _same(pinned) == _same(list(case.source.collect(case.want, case.workshop)))


def test_it_leaves_the_base_alone(case: Case) -> None:
    """Nothing is written where the spec is."""
    before = sorted((str(place), place.lstat().st_mtime_ns) for place in case.workshop.base.rglob("*"))
    list(case.source.collect(case.want, case.workshop))
    case.source.pin(case.want, case.workshop)
    assert sorted((str(place), place.lstat().st_mtime_ns) for place in case.workshop.base.rglob("*")) == before


def test_what_is_missing_is_an_error_of_the_source(case: Case) -> None:
    """Exit code 3, one lower-case message without a final period, and a hint."""
    with pytest.raises(SourceError) as raised:
        list(case.source.collect(case.missing, case.workshop))
    assert raised.value.hint
    assert not raised.value.message.endswith(".")
    assert raised.value.message[0].islower()


def test_it_finds_nothing_wrong_with_what_it_collects(case: Case) -> None:
    """What `lint` tells would stop a collection too."""
    assert problems_of(case.source, case.want, case.workshop.base, pinned=True) == []


@pytest.mark.parametrize("value", [None, 3, True, "", [], [3], [""], {}, {"a": 1}])
def test_it_lints_what_breaks_its_schema(case: Case, value: object) -> None:
    """Keys of another type are the schema's to tell; missing ones too."""
    wrong = dict.fromkeys(case.source.SCHEMA["properties"], value)
    assert problems_of(case.source, wrong, case.workshop.base, pinned=True) == []
    for problem in problems_of(case.source, {}, case.workshop.base, pinned=True):
        assert problem.missing
        assert problem.hint


def test_its_problems_stand_in_its_own_keys(case: Case) -> None:
    """Steps start at the source's part of the spec, and messages are lower case without a final period."""
    odd = {"path": "nowhere", "include": ["a//b"], "url": "ftp://example.org/f", "as": "a/b"}
    for problem in problems_of(case.source, odd, case.workshop.base, pinned=True):
        assert not problem.steps or problem.steps[0] in case.source.SCHEMA["properties"]
        assert not problem.message.endswith(".")


def test_it_reaches_only_what_it_collects(case: Case, origin: Path, tmp_path: Path) -> None:
    """A folder inside the origin is reached by a source of local files alone; one elsewhere by none."""
    assert reaches(case.source, case.want, case.workshop.base, origin / "b") is case.local
    assert reaches(case.source, case.want, case.workshop.base, tmp_path) is case.local
    assert not reaches(case.source, case.want, case.workshop.base, origin / "a")
    assert not reaches(case.source, case.want, case.workshop.base, tmp_path / "elsewhere")
