"""The source `bucket` against real stores: what is pinned is what comes, and what changed is told."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from relays import Relayed, chain, relaying
from s3 import shared_access, signed
from stores import ACCOUNT, ACCOUNT_KEY, BUCKET, Store, peak
from worlds import NOW

from bundler import lock as locks
from bundler.locking import resolve
from bundler.sealing import Effort
from bundler.source import Workshop
from bundler.sources import bucket
from bundler.spec import load
from sealift.errors import IntegrityError, SourceError, UsageError
from sealift.progress import Silent

StoreOf = Callable[[str], Store]
FILES = {"app/run": b"#!/bin/sh\n", "index.html": b"<h1>shop</h1>", "empty": b"", "notes.txt": b"not taken"}
LARGE = b"".join(b"%d\n" % number for number in range(1_500_000))


def _workshop(folder: Path, name: str = "cache") -> Workshop:
    return Workshop(base=folder, cache=folder / name, progress=Silent())


def _want(store: Store, key: str = "/", **more: Any) -> dict[str, Any]:
    return {"bucket": store.address + key, **store.settings, **more}


def _contents(want: Mapping[str, Any], workshop: Workshop) -> dict[str, bytes]:
    return {each.path: Path(each.origin).read_bytes() for each in bucket.collect(want, workshop) if each.kind == "file"}


def _pinned(want: Mapping[str, Any], workshop: Workshop) -> dict[str, Any]:
    return {**want, **bucket.pin(want, workshop)}


def _filled(store: Store, files: Mapping[str, bytes] = FILES) -> Store:
    for name, content in files.items():
        store.write(name, content)
    return store


@pytest.mark.parametrize("kind", ["rgw", "azurite"])
def test_what_is_pinned_is_collected(store_of: StoreOf, tmp_path: Path, kind: str) -> None:
    """A prefix with patterns: what they take, and which files may be executed; what is added later is not taken."""
    store = _filled(store_of(kind))
    want = _want(store, exclude=["*.txt"], executable=["app/*"])
    pinned = _pinned(want, _workshop(tmp_path))
    store.write("later", b"later")
    found = list(bucket.collect(pinned, _workshop(tmp_path, "another")))
    assert [(each.path, each.kind, each.executable) for each in found] == [
        ("app", "dir", False),
        ("app/run", "file", True),
        ("empty", "file", False),
        ("index.html", "file", False),
    ]
    assert _contents(pinned, _workshop(tmp_path)) == {name: FILES[name] for name in ("app/run", "empty", "index.html")}


def test_a_lock_names_every_object_and_no_secret(store_of: StoreOf, tmp_path: Path) -> None:
    """A line has the digest, the size, the version, the tag and the key; credentials are in no file."""
    store = _filled(store_of("rgw"))
    path = tmp_path / "sealift.yaml"
    path.write_text(
        f'release: shop\nversion: "1.0"\nartifacts:\n  web:\n    source: bucket\n    bucket: {store.address}/\n'
        f"    endpoint: {store.endpoint}\n    unsafe_http: true\n"
    )
    written, lock = resolve(load(path), effort=Effort(level=3, threads=1), progress=Silent(), now=NOW)
    lines = lock.artifacts["web"].pins["objects"]
    assert isinstance(lines, list)
    digest = hashlib.sha256(FILES["app/run"]).hexdigest()
    tag = hashlib.md5(FILES["app/run"]).hexdigest()  # noqa: S324 what the store calls it
    assert lines[0] == f"{digest} 10 - {tag} {store.prefix}/app/run"
    assert [line.rpartition("/")[2] for line in lines] == ["run", "empty", "index.html", "notes.txt"]
    assert locks.read(written) == lock
    assert not any(secret in written.read_text() for secret in store.environment.values() if len(secret) > 2)


def test_nothing_is_asked_where_the_cache_has_all(
    store_of: StoreOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second export from the same lock fetches nothing: the store may be away, and its credentials too."""
    store = _filled(store_of("rgw"))
    pinned = _pinned(_want(store), _workshop(tmp_path))
    for name in store.environment:
        monkeypatch.delenv(name)
    assert _contents({**pinned, "endpoint": "http://127.0.0.1:9"}, _workshop(tmp_path)) == FILES


@pytest.mark.parametrize("kind", ["rgw", "azurite"])
@pytest.mark.parametrize("content", [b"#!/bin/xx\n", b"longer than before"])
def test_an_object_that_changed_under_its_name_is_refused(
    store_of: StoreOf, tmp_path: Path, kind: str, content: bytes
) -> None:
    """88: neither another content of the same length nor another length is taken."""
    store = _filled(store_of(kind))
    pinned = _pinned(_want(store), _workshop(tmp_path))
    store.write("app/run", content)
    with pytest.raises(IntegrityError, match="app/run") as raised:
        _contents(pinned, _workshop(tmp_path, "another"))
    assert "lock" in (raised.value.hint or "")


def test_a_bucket_with_versions_gives_what_was_pinned(store_of: StoreOf, tmp_path: Path) -> None:
    """Where the bucket keeps versions, an object that was changed is had as it was when it was locked."""
    store = store_of("rgw")
    user, secret = store.environment["AWS_ACCESS_KEY_ID"], store.environment["AWS_SECRET_ACCESS_KEY"]
    name, space = f"v{store.prefix}", "http://s3.amazonaws.com/doc/2006-03-01/"
    on = f"<VersioningConfiguration xmlns='{space}'><Status>Enabled</Status></VersioningConfiguration>".encode()
    base = f"{store.endpoint}/{name}"
    for url, body in ((base, b""), (f"{base}?versioning", on), (f"{base}/app", b"first")):
        assert signed("PUT", url, user, secret, body)[0] == 200
    pinned = _pinned({"bucket": f"s3://{name}/app", **store.settings}, _workshop(tmp_path))
    assert signed("PUT", f"{base}/app", user, secret, b"other")[0] == 200
    assert _contents(pinned, _workshop(tmp_path, "another")) == {"app": b"first"}


def test_what_arrived_is_not_fetched_again(store_of: StoreOf, tmp_path: Path) -> None:
    """An object of which a part arrived is asked for its rest alone, under the tag that the part had."""
    store = _filled(store_of("rgw"), {"large": LARGE})
    pinned = _pinned(_want(store, "/large"), _workshop(tmp_path))
    digest = hashlib.sha256(LARGE).hexdigest()
    tag = pinned["objects"][0].split(" ")[3]
    cache = tmp_path / "another"
    cache.mkdir()
    (cache / f"{digest}.part").write_bytes(LARGE[:4_000_000])
    (cache / f"{digest}.validator").write_text(f'"{tag}"')
    with relaying(store.endpoint) as relay:
        behind = {**pinned, "endpoint": f"http://{relay.host}"}
        assert _contents(behind, _workshop(tmp_path, "another")) == {"large": LARGE}
        (asked,) = [headers for request, headers in relay.seen if request.startswith("GET")]
    assert asked["range"] == "bytes=4000000-"


def test_a_part_of_something_else_is_not_believed(store_of: StoreOf, tmp_path: Path) -> None:
    """A part that does not lead to the digest is thrown away, and the object fetched whole."""
    store = _filled(store_of("rgw"), {"large": LARGE})
    pinned = _pinned(_want(store, "/large"), _workshop(tmp_path))
    digest = hashlib.sha256(LARGE).hexdigest()
    cache = tmp_path / "another"
    cache.mkdir()
    (cache / f"{digest}.part").write_bytes(b"x" * 1000)
    (cache / f"{digest}.validator").write_text(f'"{pinned["objects"][0].split(" ")[3]}"')
    assert _contents(pinned, _workshop(tmp_path, "another")) == {"large": LARGE}


def test_an_object_that_breaks_off_is_never_taken(store_of: StoreOf, tmp_path: Path) -> None:
    """A store that sends less than it said ends in an error, and the cache holds no file of it."""
    store = _filled(store_of("rgw"))
    pinned = _pinned(_want(store, "/index.html"), _workshop(tmp_path))

    def twist(request: Relayed) -> bool:
        status, headers, body = request.forward()
        return request.answer(status, headers, body[:1])

    with relaying(store.endpoint) as relay:
        relay.twist = twist
        with pytest.raises(SourceError):
            _contents({**pinned, "endpoint": f"http://{relay.host}"}, _workshop(tmp_path, "another"))
    assert not [path for path in (tmp_path / "another").iterdir() if len(path.name) == 64]
    assert _contents(pinned, _workshop(tmp_path, "another")) == {"index.html": FILES["index.html"]}


@pytest.mark.parametrize("where", ["/{path}", "http://127.0.0.1:9{path}"])
def test_a_redirect_leads_nowhere(store_of: StoreOf, tmp_path: Path, where: str) -> None:
    """A store that redirects without end, or to where nobody answers, ends in an error, and soon."""
    store = _filled(store_of("rgw"))
    pinned = _pinned(_want(store, "/index.html"), _workshop(tmp_path))

    def twist(request: Relayed) -> bool:
        location = where.replace("{path}", request.path.removeprefix("/" if where.startswith("/") else ""))
        return request.answer(307, {"Location": location}, b"")

    with relaying(store.endpoint) as relay:
        relay.twist = twist
        with pytest.raises(SourceError):
            _contents({**pinned, "endpoint": f"http://{relay.host}"}, _workshop(tmp_path, "another"))
        assert len(relay.seen) < 60


def test_several_objects_come_at_once(store_of: StoreOf, tmp_path: Path) -> None:
    """Eight requests are on their way at a time."""
    store = _filled(store_of("rgw"), {f"{number}": b"%d" % number for number in range(16)})
    pinned = _pinned(_want(store), _workshop(tmp_path))
    together = threading.Barrier(8)

    def twist(request: Relayed) -> bool:
        together.wait(30)
        return False

    with relaying(store.endpoint) as relay:
        relay.twist = twist
        behind = {**pinned, "endpoint": f"http://{relay.host}"}
        assert len(_contents(behind, _workshop(tmp_path, "another"))) == 16


def test_equal_contents_are_fetched_once(store_of: StoreOf, tmp_path: Path) -> None:
    """Objects of one content are one file in the cache, however many ask for it at once."""
    store = _filled(store_of("rgw"), {f"{number}": LARGE[:3_000_000] for number in range(8)})
    pinned = _pinned(_want(store), _workshop(tmp_path))
    with relaying(store.endpoint) as relay:
        found = _contents({**pinned, "endpoint": f"http://{relay.host}"}, _workshop(tmp_path, "another"))
        assert len(relay.asked("GET")) == 1
    assert found == {f"{number}": LARGE[:3_000_000] for number in range(8)}


def test_folders_that_a_console_made_are_no_files(store_of: StoreOf, tmp_path: Path) -> None:
    """An empty object whose key ends in a slash stands for a folder."""
    store = _filled(store_of("rgw"))
    user, secret = store.environment["AWS_ACCESS_KEY_ID"], store.environment["AWS_SECRET_ACCESS_KEY"]
    for name in ("app/", "alone/"):
        assert signed("PUT", f"{store.endpoint}/{BUCKET}/{store.prefix}/{name}", user, secret)[0] == 200
    assert _contents(_pinned(_want(store), _workshop(tmp_path)), _workshop(tmp_path)) == FILES


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a//b",), "a key that cannot be carried"),
        (("a", "a/b"), "others lie below it"),
        (("Read.me", "read.me"), "letter case"),
        (("back\\slash",), "no valid name"),
    ],
)
def test_keys_that_no_tree_can_hold_are_refused(
    store_of: StoreOf, tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    """58, 61: a key with an empty component, two that are one name, an object that is a folder too."""
    store = store_of("rgw")
    user, secret = store.environment["AWS_ACCESS_KEY_ID"], store.environment["AWS_SECRET_ACCESS_KEY"]
    for name in names:
        url = f"{store.endpoint}/{BUCKET}/{store.prefix}/{name}".replace("\\", "%5C")
        assert signed("PUT", url, user, secret, b"x")[0] == 200
    with pytest.raises(SourceError, match=message):
        _pinned(_want(store), _workshop(tmp_path))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("s3://key:secret@builds/app", "may hold a secret"),
        ("az://builds/app?sv=2024&sig=secret", "may hold a secret"),
        ("https://builds.example.com/app", "no address of a bucket"),
        ("s3://Builds/app", "no address of a bucket"),
        ("s3://builds/../app", "no key that can be carried"),
        ("s3://builds/a//b", "no key that can be carried"),
    ],
)
def test_addresses_that_are_none_are_refused(tmp_path: Path, address: str, message: str) -> None:
    """103: no spec names a bucket with a secret in the address, and no message repeats one."""
    with pytest.raises(UsageError, match=message) as raised:
        list(bucket.collect({"bucket": address}, _workshop(tmp_path)))
    assert "secret@" not in raised.value.message
    assert "sig=" not in raised.value.message
    assert bucket.lint({"bucket": address}, tmp_path, pinned=False)


@pytest.mark.parametrize(
    "objects", ["", "nonsense", f"{'0' * 64} 1 - - elsewhere/x", f"{'0' * 64} 1 - - {{prefix}}/../x", "\n"]
)
def test_a_lock_that_says_something_else_is_refused(tmp_path: Path, objects: str) -> None:
    """A lock of another bucket's objects, or a damaged one, collects nothing."""
    want = {"bucket": "s3://builds/here/", "objects": [objects.replace("{prefix}", "here")]}
    with pytest.raises(UsageError):
        list(bucket.collect(want, _workshop(tmp_path)))


@pytest.mark.parametrize(
    "more", [{"sha256": "0" * 64}, {"as": "name"}, {"virtual_host": True}, {"account": "Name"}, {"include": []}]
)
def test_keys_that_do_not_fit_together_are_refused(tmp_path: Path, more: dict[str, Any]) -> None:
    """What belongs to one object, or to another cloud, is not ignored."""
    with pytest.raises(UsageError):
        list(bucket.collect({"bucket": "az://builds/here/", **more, "objects": ["x"]}, _workshop(tmp_path)))


def test_no_message_holds_a_secret(store_of: StoreOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """103: what the store says of refused credentials is not repeated."""
    store = _filled(store_of("rgw"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    with pytest.raises(SourceError, match="refuses the credentials") as raised:
        _pinned(_want(store), _workshop(tmp_path))
    told = json.dumps([raised.value.message, raised.value.hint, str(raised.value.__cause__)])
    assert "Signature" not in told
    assert "wrong-secret" not in told


def test_a_store_that_is_away_is_told(store_of: StoreOf, tmp_path: Path) -> None:
    """No connection is an error of its own, with what to check."""
    store = replace(store_of("rgw"), endpoint="http://127.0.0.1:9")
    with pytest.raises(SourceError, match="no connection to the store"):
        _pinned(_want(store, "/x"), _workshop(tmp_path))


def test_a_store_of_the_sites_own_authority_is_trusted_by_name(
    store_of: StoreOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate of nobody's is refused; one that `SEALIFT_CA_FILE` names is not."""
    store = _filled(store_of("rgw"))
    authority, pair = chain(tmp_path)
    with relaying(store.endpoint, pair) as relay:
        want = {"bucket": f"{store.address}/app/run", "endpoint": f"https://{relay.host}"}
        with pytest.raises(SourceError, match="certificate is not trusted"):
            _pinned(want, _workshop(tmp_path))
        monkeypatch.setenv("SEALIFT_CA_FILE", str(authority))
        assert _contents(_pinned(want, _workshop(tmp_path)), _workshop(tmp_path)) == {"run": FILES["app/run"]}


@pytest.mark.parametrize("form", ["signature", "string"])
def test_azures_other_credentials_are_enough(
    store_of: StoreOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """A shared access signature, or a connection string that also says the account and the endpoint."""
    store = _filled(store_of("azurite"))
    monkeypatch.delenv("AZURE_STORAGE_KEY")
    if form == "signature":
        monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", shared_access(ACCOUNT, ACCOUNT_KEY))
        want = _want(store, "/app/run")
    else:
        monkeypatch.delenv("AZURE_STORAGE_ACCOUNT")
        said = f"AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};BlobEndpoint={store.endpoint};"
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", said)
        want = {"bucket": f"{store.address}/app/run", "unsafe_http": True}
    assert _contents(_pinned(want, _workshop(tmp_path)), _workshop(tmp_path)) == {"run": FILES["app/run"]}


def test_who_asks_without_credentials_sends_none(store_of: StoreOf, tmp_path: Path) -> None:
    """103: `anonymous` sends nothing of what the environment holds, and says that it was refused."""
    store = _filled(store_of("rgw"))
    with relaying(store.endpoint) as relay:
        want = {**_want(store, "/app/run", anonymous=True), "endpoint": f"http://{relay.host}"}
        with pytest.raises(SourceError, match="refuses the credentials"):
            _pinned(want, _workshop(tmp_path))
        assert relay.seen
        assert not [headers for _, headers in relay.seen if "authorization" in {name.lower() for name in headers}]


FETCHED = """
import sys
from bundler.source import Workshop
from bundler.sources import bucket
from sealift.progress import Silent
folder = Path(sys.argv[3])
workshop = Workshop(base=folder, cache=folder / "cache", progress=Silent())
bucket.pin({"bucket": sys.argv[1], "endpoint": sys.argv[2], "unsafe_http": True}, workshop)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_an_object(store_of: StoreOf, tmp_path: Path) -> None:
    """An object of 192 MiB is fetched in less than 128 MB, Python and all libraries included."""
    store = store_of("rgw")
    store.write("large", bytes(192 << 20))
    script = "from pathlib import Path\n" + FETCHED
    assert peak(script, f"{store.address}/large", store.endpoint, str(tmp_path)) < 128_000_000
    assert (tmp_path / "cache" / hashlib.sha256(bytes(192 << 20)).hexdigest()).stat().st_size == 192 << 20


def test_ctrl_c_keeps_what_arrived(store_of: StoreOf, tmp_path: Path) -> None:
    """A fetch that is interrupted ends soon, in the middle of an object, and the next one asks for the rest."""
    store = _filled(store_of("rgw"), {"large": LARGE})
    pinned = _pinned(_want(store, "/large"), _workshop(tmp_path))
    cache = tmp_path / "another"
    part = cache / f"{hashlib.sha256(LARGE).hexdigest()}.part"

    def dawdle(request: Relayed) -> bool:
        status, headers, body = request.forward()
        request.answer(status, {**headers, "Content-Length": str(len(body))}, body[: 4 << 20])
        while not (part.exists() and part.stat().st_size):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        for start in range(4 << 20, len(body), 1 << 18):
            time.sleep(0.3)
            request.wfile.write(body[start : start + (1 << 18)])
        return True

    with relaying(store.endpoint) as relay:
        relay.twist = dawdle
        with pytest.raises(KeyboardInterrupt):
            _contents({**pinned, "endpoint": f"http://{relay.host}"}, _workshop(tmp_path, "another"))
    assert 0 < part.stat().st_size < len(LARGE)
    assert _contents(pinned, _workshop(tmp_path, "another")) == {"large": LARGE}


def test_what_is_not_installed_is_named(store_of: StoreOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library the error says which extra brings it."""
    store = store_of("rgw")
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(UsageError) as raised:
        _pinned(_want(store, "/x"), _workshop(tmp_path))
    assert "sealift[bucket]" in (raised.value.hint or "")
