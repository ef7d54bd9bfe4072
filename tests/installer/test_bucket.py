"""The target `bucket` against real stores: Ceph's gateway, Azurite, and Swift where a store is poor."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
import valued
from relays import Relayed, killed_at_each_write, relaying
from s3 import signed
from stores import BUCKET, Store, peak
from worlds import Connected, Isolated

from installer.environments import environment
from installer.targets.bucket import BucketTarget
from sealift.errors import DeployError, UsageError

StoreOf = Callable[[str], Store]
FILES = {"index.html": b"<h1>shop</h1>", "app/run": b"#!/bin/sh\n", "app/same": b"<h1>shop</h1>", "empty": b""}
LARGE = b"".join(b"%d\n" % number for number in range(3_000_000))
"""More than goes up at once, so it goes up in parts."""


def _admit(connected: Connected, isolated: Isolated, version: str, files: dict[str, bytes]) -> None:
    isolated.admit(connected.bundle(version, files))


def _target(isolated: Isolated) -> BucketTarget:
    declared = environment.load(isolated.root / "environment.yaml")
    (target,) = isolated.installation.targets(declared)
    assert isinstance(target, BucketTarget)
    return target


def _name(content: bytes) -> str:
    return f"objects/sha256/{hashlib.sha256(content).hexdigest()}"


def _kind(store: Store) -> str:
    return f"{{kind: bucket, {store.yaml}}}"


@pytest.mark.parametrize("kind", ["rgw", "azurite"])
def test_a_stranger_can_read_it(connected: Connected, isolated: Isolated, store_of: StoreOf, kind: str) -> None:
    """From the pointer over the list to each object, by digests alone; equal contents are one object."""
    store = store_of(kind)
    _admit(connected, isolated, "1.0", FILES | {"large.txt": LARGE})
    isolated.deploy("1.0", _kind(store))
    pointer = json.loads(store.content("current.json"))
    listed = store.content(pointer["index"])
    assert hashlib.sha256(listed).hexdigest() == pointer["sha256"]
    tree = json.loads(listed)
    assert (tree["release"], tree["version"], tree["identity"]) == ("shop", "1.0", pointer["identity"])
    assert {path: store.content(file["object"]) for path, file in tree["files"].items()} == FILES | {"large.txt": LARGE}
    assert all(file["object"] == f"objects/sha256/{file['sha256']}" for file in tree["files"].values())
    assert len([key for key in store.held() if key.startswith("objects/")]) == 4


def test_only_what_lacks_is_sent(connected: Connected, isolated: Isolated, store_of: StoreOf) -> None:
    """An upgrade sends what is new; a second apply sends nothing, and reads the pointer and its list alone."""
    store = store_of("rgw")
    with relaying(store.endpoint) as relay:
        behind = replace(store, endpoint=f"http://{relay.host}")
        _admit(connected, isolated, "1.0", FILES)
        _admit(connected, isolated, "1.1", FILES | {"new.txt": b"new"})
        isolated.deploy("1.0", _kind(behind))
        relay.seen.clear()
        assert isolated.deploy("1.1", _kind(behind)).written == 3
        assert relay.asked("PUT .*/objects/") == [f"PUT /{BUCKET}/{store.prefix}/{_name(b'new')}"]
        assert not relay.asked("GET .*/objects/")
        relay.seen.clear()
        assert not isolated.deploy("1.1", _kind(behind)).changed
        assert not relay.asked("(PUT|POST|DELETE) ")
        assert not relay.asked("GET .*/objects/")
        assert relay.asked("GET .*/current.json")


def test_what_is_there_unknown_is_read_before_it_counts(
    connected: Connected, isolated: Isolated, store_of: StoreOf
) -> None:
    """An object that somebody else put under a digest's name is not believed, but put right."""
    store = store_of("rgw")
    content = FILES["index.html"]
    store.write(_name(content), b"x" * len(content))
    store.write(_name(FILES["app/run"]), FILES["app/run"])
    _admit(connected, isolated, "1.0", FILES)
    outcome = isolated.deploy("1.0", _kind(store))
    assert store.content(_name(content)) == content
    assert outcome.reused == len(FILES["app/run"])
    assert isolated.problem(deep=True) is None


def test_what_was_changed_is_put_right_by_an_apply(connected: Connected, isolated: Isolated, store_of: StoreOf) -> None:
    """`status --deep` names a changed object; going away and back puts it right."""
    store = store_of("azurite")
    _admit(connected, isolated, "1.0", FILES)
    _admit(connected, isolated, "1.1", {"index.html": b"other"})
    isolated.deploy("1.0", _kind(store))
    store.write(_name(FILES["app/run"]), b"#!/bin/xx\n")
    assert "app/run" in (isolated.problem(deep=True) or "")
    isolated.deploy("1.1", _kind(store))
    isolated.deploy("1.0", _kind(store))
    assert isolated.problem(deep=True) is None


@pytest.mark.parametrize("kind", ["rgw", "azurite"])
def test_pruning_leaves_what_others_need(
    connected: Connected, isolated: Isolated, store_of: StoreOf, kind: str
) -> None:
    """Objects that a kept release lists stay, and so does what is not ours."""
    store = store_of(kind)
    _admit(connected, isolated, "1.0", FILES)
    _admit(connected, isolated, "1.1", {"index.html": FILES["index.html"], "new.txt": b"new"})
    isolated.deploy("1.0", _kind(store))
    isolated.deploy("1.1", _kind(store))
    store.write("objects/sha256/notes.txt", b"mine")
    assert _target(isolated).prune(()) == 1
    assert isolated.problem(deep=True) is None
    kept = {key for key in store.held() if key.startswith("objects/")}
    assert kept == {_name(FILES["index.html"]), _name(b"new"), "objects/sha256/notes.txt"}
    assert _target(isolated).prune(()) == 0


def test_a_list_that_cannot_be_read_stops_the_pruning(
    connected: Connected, isolated: Isolated, store_of: StoreOf
) -> None:
    """Where it cannot be told what is needed, nothing is removed."""
    store = store_of("rgw")
    _admit(connected, isolated, "1.0", FILES)
    _admit(connected, isolated, "1.1", {"new.txt": b"new"})
    isolated.deploy("1.0", _kind(store))
    isolated.deploy("1.1", _kind(store))
    store.write("releases/other.json", b"{}")
    before = store.held()
    with pytest.raises(DeployError):
        _target(isolated).prune(())
    assert store.held() == before


def test_a_rival_is_noticed(connected: Connected, isolated: Isolated, store_of: StoreOf) -> None:
    """Where the store can write under a condition, a pointer that changed meanwhile is not overwritten."""
    store = store_of("azurite")
    _admit(connected, isolated, "1.0", FILES)
    _admit(connected, isolated, "1.1", {"new.txt": b"new"})
    isolated.deploy("1.0", _kind(store))
    rival = json.dumps({**json.loads(store.content("current.json")), "identity": "9.9-0123456789ab"}).encode()
    done = threading.Event()

    def twist(request: Relayed) -> bool:
        if request.command == "PUT" and "current.json" in request.path and not done.is_set():
            done.set()
            store.write("current.json", rival)
        return False

    with relaying(store.endpoint) as relay:
        relay.twist = twist
        behind = replace(store, endpoint=store.endpoint.replace(relay.store, relay.host))
        target = BucketTarget(
            {"bucket": store.address, **behind.settings},
            _target(isolated)._workplace,
        )
        with pytest.raises(DeployError, match="somebody else"):
            target._pointer.put(rival.replace(b"9.9", b"9.8"))
    assert store.content("current.json") == rival


@pytest.mark.slow
def test_a_store_without_conditions_is_good_enough(connected: Connected, isolated: Isolated, store_of: StoreOf) -> None:
    """Swift answers 501 to a write under a condition; the pointer is put all the same, to and fro."""
    store = store_of("swift")
    _admit(connected, isolated, "1.0", FILES)
    _admit(connected, isolated, "1.1", {"a.txt": b"a"})
    with relaying(store.endpoint) as relay:
        behind = replace(store, endpoint=f"http://{relay.host}")
        isolated.deploy("1.0", _kind(behind))
        tried = [headers for request, headers in relay.seen if request.startswith("PUT") and "current" in request]
        conditions = [{name for name in headers if name.lower().startswith("if-")} for headers in tried]
        assert conditions == [{"if-none-match"}, set()]
        isolated.deploy("1.1", _kind(behind))
        isolated.installation.rollback("plant-7")
        assert isolated.problem(deep=True) is None
        assert _target(isolated).prune(()) == 1
        assert isolated.problem(deep=True) is None


def test_the_bucket_may_stand_in_the_name_of_the_host(
    connected: Connected, isolated: Isolated, store_of: StoreOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`oss://` asks a host whose name begins with the bucket's, with its own variables; no condition is needed.

    The store is Ceph's gateway behind a relay that refuses what OSS does: it is no OSS.
    """
    store = store_of("rgw")
    for ours, theirs in (
        ("OSS_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"),
        ("OSS_ACCESS_KEY_SECRET", "AWS_SECRET_ACCESS_KEY"),
    ):
        monkeypatch.setenv(ours, os.environ[theirs])
        monkeypatch.delenv(theirs)
    _admit(connected, isolated, "1.0", FILES)
    _admit(connected, isolated, "1.1", {"a.txt": b"a"})

    def poor(request: Relayed) -> bool:
        wanted = {name.lower() for name in request.headers}
        conditional = request.command == "PUT" and wanted & {"if-match", "if-none-match"}
        return bool(conditional or "?delete" in request.path) and request.answer(501, {}, b"")

    with relaying(store.endpoint) as relay, monkeypatch.context() as patched:
        relay.twist = poor
        patched.setenv("http_proxy", f"http://{relay.host}")
        settings = f"bucket: 'oss://{BUCKET}/{store.prefix}', endpoint: 'http://store.test', unsafe_http: true"
        for version in ("1.0", "1.1"):
            isolated.deploy(version, f"{{kind: bucket, {settings}}}")
        isolated.installation.rollback("plant-7")
        assert _target(isolated).prune(()) == 1
        assert {request.split("/")[2] for request, _ in relay.seen} == {f"{BUCKET}.store.test"}
        assert isolated.problem(deep=True) is None
    assert "current.json" in store.held()


def test_values_fill_what_is_brought(connected: Connected, isolated: Isolated, store_of: StoreOf) -> None:
    """A template's content is what the values make of it, other values are another list, and the rest is shared."""
    store = store_of("rgw")
    isolated.admit(valued.bundle(connected))
    target = f"  - {_kind(store)}\n"
    for host in ("one.example", "two.example"):
        path = isolated.environment("1.0.0", target=target, more=f"values: {{host: {host}}}\n")
        isolated.installation.apply(environment.load(path))
    lists = [json.loads(store.content(key)) for key in store.held() if key.startswith("releases/")]
    filled = [store.content(each["files"]["config/app.yaml"]["object"]) for each in lists]
    assert {content.splitlines()[0] for content in filled} == {b"host: one.example", b"host: two.example"}
    assert len([key for key in store.held() if key.startswith("objects/")]) == 4
    assert isolated.problems(deep=True) == [None, None]


def test_some_artifacts_alone_are_brought(connected: Connected, isolated: Isolated, store_of: StoreOf) -> None:
    """What belongs elsewhere is not sent, and one artifact alone has no folder; a name of none is refused."""
    store = store_of("rgw")
    spec = connected.spec("1.0", FILES, more="  docs:\n    source: path\n    path: docs\n")
    (connected.root / "docs").mkdir()
    (connected.root / "docs/page.txt").write_text("page")
    isolated.admit(connected.export(spec))
    with pytest.raises(UsageError, match="no artifact 'other'"):
        isolated.deploy("1.0", f"{{kind: bucket, {store.yaml}, artifacts: [other]}}")
    isolated.deploy("1.0", f"{{kind: bucket, {store.yaml}, artifacts: [docs]}}")
    listed = json.loads(store.content(json.loads(store.content("current.json"))["index"]))
    assert set(listed["files"]) == {"page.txt"}
    assert [key for key in store.held() if key.startswith("objects/")] == [_name(b"page")]
    assert isolated.problem(deep=True) is None


def test_an_upload_that_failed_goes_on(connected: Connected, isolated: Isolated, store_of: StoreOf) -> None:
    """What arrived before the store failed is not sent again, and nothing of the release was to be seen."""
    store = store_of("rgw")
    _admit(connected, isolated, "1.0", FILES)

    def twist(request: Relayed) -> bool:
        return request.command == "PUT" and "/releases/" in request.path and request.answer(403, {}, b"")

    with relaying(store.endpoint) as relay:
        behind = replace(store, endpoint=f"http://{relay.host}")
        relay.twist = twist
        with pytest.raises(DeployError, match="refuses the credentials"):
            isolated.deploy("1.0", _kind(behind))
        assert "current.json" not in store.held()
        relay.twist = None
        relay.seen.clear()
        isolated.deploy("1.0", _kind(behind))
        assert not relay.asked("(PUT|GET) .*/objects/")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong-secret"}, "refuses the credentials"),
        ({"AWS_ACCESS_KEY_ID": ""}, "only one is there"),
    ],
)
def test_credentials_that_are_refused_are_not_told(
    connected: Connected,
    isolated: Isolated,
    store_of: StoreOf,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, str],
    message: str,
) -> None:
    """103: the error says what is wrong, and holds no secret."""
    store = store_of("rgw")
    _admit(connected, isolated, "1.0", FILES)
    for name, value in change.items():
        monkeypatch.setenv(name, value)
    with pytest.raises((DeployError, UsageError), match=message) as raised:
        isolated.deploy("1.0", _kind(store))
    told = f"{raised.value.message} {raised.value.hint}"
    assert "wrong-secret" not in told
    assert store.environment["AWS_SECRET_ACCESS_KEY"] not in told


def test_no_such_bucket_is_told(connected: Connected, isolated: Isolated, store_of: StoreOf) -> None:
    """A misspelt bucket is another error than an object that is not there."""
    store = store_of("rgw")
    _admit(connected, isolated, "1.0", FILES)
    with pytest.raises(DeployError, match="there is no such bucket"):
        isolated.deploy("1.0", _kind(store).replace(f"s3://{BUCKET}/", "s3://elsewhere/"))


def test_what_is_not_installed_is_named(
    connected: Connected, isolated: Isolated, store_of: StoreOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the library the error says which extra brings it."""
    store = store_of("rgw")
    _admit(connected, isolated, "1.0", FILES)
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(UsageError) as raised:
        isolated.deploy("1.0", _kind(store))
    assert "sealift[bucket]" in (raised.value.hint or "")


SENT = """
import os, sys
import obstore, obstore.exceptions, obstore.store
from sealift.bucket.address import read
from sealift.bucket.objects import Objects
from sealift.errors import DeployError
bucket, key = read(sys.argv[1], {"endpoint": sys.argv[2], "unsafe_http": True})
pieces = (bytes(1 << 20) for _ in range(192))
Objects(obstore, bucket, os.environ, DeployError).upload(key, pieces, 192 << 20)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_an_object(store_of: StoreOf) -> None:
    """An object of 192 MiB is sent in less than 128 MB, Python and all libraries included."""
    store = store_of("rgw")
    assert peak(SENT, f"{store.address}/large", store.endpoint) < 128_000_000
    assert hashlib.sha256(store.content("large")).digest() == hashlib.sha256(bytes(192 << 20)).digest()
    store.remove("large")


@pytest.mark.slow
@pytest.mark.parametrize("side", ["before", "after"])
def test_a_kill_at_any_write_leaves_the_old_or_the_new(
    connected: Connected, isolated: Isolated, store_of: StoreOf, side: str
) -> None:
    """79, 95: killed at each request that changes the bucket, the next command finds one release whole, and goes on."""
    store = store_of("rgw")
    _admit(connected, isolated, "1.0", FILES)
    _admit(connected, isolated, "1.1", {"a.txt": b"a", "index.html": FILES["index.html"]})
    with relaying(store.endpoint) as relay:
        behind = _kind(replace(store, endpoint=f"http://{relay.host}"))
        isolated.deploy("1.0", behind)
        old = _target(isolated).current()

        def check() -> None:
            isolated.deploy("1.0", behind)
            assert _target(isolated).current() == old
            assert isolated.problem(deep=True) is None
            _target(isolated).prune(())

        assert killed_at_each_write(relay, isolated, "1.1", behind, side, check) >= 3


def test_a_bucket_that_keeps_versions_is_served_too(
    connected: Connected, isolated: Isolated, store_of: StoreOf
) -> None:
    """Where objects have versions, the pointer's former one stays in the bucket's own history."""
    store = store_of("rgw")
    user, secret = store.environment["AWS_ACCESS_KEY_ID"], store.environment["AWS_SECRET_ACCESS_KEY"]
    name = f"v{store.prefix}"
    space = "http://s3.amazonaws.com/doc/2006-03-01/"
    on = f"<VersioningConfiguration xmlns='{space}'><Status>Enabled</Status></VersioningConfiguration>".encode()
    assert signed("PUT", f"{store.endpoint}/{name}", user, secret)[0] == 200
    assert signed("PUT", f"{store.endpoint}/{name}?versioning", user, secret, on)[0] == 200
    settings = _kind(store).replace(f"s3://{BUCKET}/{store.prefix}", f"s3://{name}")
    _admit(connected, isolated, "1.0", FILES)
    _admit(connected, isolated, "1.1", {"a.txt": b"a"})
    isolated.deploy("1.0", settings)
    isolated.deploy("1.1", settings)
    isolated.installation.rollback("plant-7")
    assert isolated.problem(deep=True) is None
