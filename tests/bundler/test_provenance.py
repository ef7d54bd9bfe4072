"""Provenance: where each artifact came from, sealed with the release and shown at both ends."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from calls import Call
from served import Served
from worlds import NOW, Connected, Isolated

from bundler.locking import resolve
from bundler.sealing import Effort
from bundler.spec import load
from installer.auditing import audit
from installer.cli import PROGRAM as INSTALL
from installer.storage.store import Store
from sealift.container import Reader
from sealift.errors import IntegrityError, MalformedError
from sealift.manifest import encode, release
from sealift.progress import Silent
from sealift.provenance import Statement, document, parse

SMALL = {"a": b"a" * 100}


def spec_of(connected: Connected, served: Served) -> Path:
    """A spec with a folder and a locked file from a server, whose address bears a token in its query."""
    more = f"  tool: {{source: url, url: '{served.url}?token=s3cret', as: tool}}\n"
    spec = connected.spec("1.0.0", SMALL, more=more)
    effort = Effort(level=1, threads=1)
    resolve(load(spec), effort=effort, progress=Silent(), now=NOW, depot=connected.depot)
    return spec


def told(connected: Connected, bundle: Path) -> Statement:
    """The statement of the release in a bundle that was just exported."""
    (sealed,) = connected.made[bundle.name].sealed
    assert sealed.release.provenance
    return parse(connected.depot.path("manifests", sealed.release.provenance).read_bytes(), "it")


def test_a_release_says_where_its_artifacts_came_from(connected: Connected, served: Served) -> None:
    """An in-toto statement about each artifact, with the address and the digest of what was fetched, and its time."""
    bundle = connected.export(spec_of(connected, served))
    statement = told(connected, bundle)
    (sealed,) = connected.made[bundle.name].sealed
    trees = {artifact.name: artifact.digest for artifact in sealed.release.artifacts}
    assert {each.name: each.digest["sha256"] for each in statement.subject} == trees
    tool, web = statement.dependencies
    assert (tool.name, tool.digest) == ("tool", {"sha256": hashlib.sha256(served.body).hexdigest()})
    assert (tool.annotations.source, tool.annotations.locked) == ("url", "2026-05-01T12:00:00Z")
    assert (web.annotations.source, web.uri, web.digest) == ("path", "", {"sha256": trees["web"]})


def test_it_holds_no_query_of_an_address(connected: Connected, served: Served) -> None:
    """103: a token in an address crosses to no site."""
    statement = told(connected, connected.export(spec_of(connected, served)))
    assert statement.dependencies[0].uri == served.url
    assert b"s3cret" not in encode(statement)


def test_the_same_lock_gives_the_same_statement_in_another_depot(
    connected: Connected, served: Served, another: Callable[..., Connected]
) -> None:
    """The manifests of two depots are the same, byte for byte: no time but the lock's is in them."""
    spec, other = spec_of(connected, served), another("other")
    bundles = (connected.export(spec), other.export(spec))
    made = [
        each.made[bundle.name].sealed[0].part.release for each, bundle in zip((connected, other), bundles, strict=True)
    ]
    assert made[0] == made[1]


def test_a_site_holds_it_and_checks_it(connected: Connected, isolated: Isolated) -> None:
    """It crosses with the release, in a difference too, and `verify` names it where it is damaged."""
    connected.bundle("1.0.0", SMALL)
    isolated.admit(connected.root / "shop-1.0.0.sealift")
    isolated.admit(connected.bundle("1.1.0", {"a": b"b" * 100}, since=["shop@1.0.0"]))
    store = Store(isolated.site.store)
    for admitted in isolated.site.state.admitted:
        held = store.release(admitted.part.release)
        statement = store.provenance(held)
        assert statement
        assert statement.predicate.build_definition.external_parameters["version"] == admitted.version
    assert held.provenance
    store.manifest(held.provenance).write_bytes(b"{}")
    damaged = audit(isolated.site, deep=False, workers=1, progress=Silent()).damaged
    assert [each.path for each in damaged] == [store.manifest(held.provenance)]
    with pytest.raises(IntegrityError):
        store.provenance(held)


def test_both_ends_show_it(
    connected: Connected, isolated: Isolated, served: Served, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sealift-bundle inspect` and `sealift-install list` tell the same, as text and as JSON."""
    monkeypatch.setattr("bundler.cli.inspect.utc_now", lambda: NOW)
    bundle = connected.export(spec_of(connected, served))
    isolated.admit(bundle)
    statement = document(told(connected, bundle))
    site = Call(INSTALL, call.capsys)
    for program, words in ((call, ("inspect", bundle)), (site, ("list", "--site", isolated.folder))):
        assert program.document(*words, "--provenance")["releases"][0]["provenance"] == statement
        assert program(*words, "--provenance") == 0
        assert served.url in program.out
        assert "locked 2026-05-01T12:00:00Z" in program.out


def test_a_damaged_statement_refuses_the_bundle(connected: Connected, isolated: Isolated) -> None:
    """76: a bit that is flipped in it is noticed before anything is admitted."""
    bundle = connected.bundle("1.0.0", SMALL)
    (sealed,) = connected.made[bundle.name].sealed
    assert sealed.release.provenance
    with Reader(bundle) as opened:
        place = opened.find(f"manifests/{sealed.release.provenance.sha256}.json").offset
    content = bytearray(bundle.read_bytes())
    content[place] ^= 1
    bundle.write_bytes(content)
    with pytest.raises(IntegrityError):
        isolated.admit(bundle)
    assert not isolated.site.state.admitted


def test_a_release_without_it_keeps_its_bytes(connected: Connected) -> None:
    """What older exporters made is read as it is: the key is absent, not empty."""
    bundle = connected.bundle("1.0.0", SMALL)
    (sealed,) = connected.made[bundle.name].sealed
    old = msgspec.structs.replace(sealed.release, provenance=None)
    content = encode(old)
    assert b"provenance" not in content
    assert encode(release(content)) == content


def test_an_unknown_kind_of_artifact_is_refused(connected: Connected) -> None:
    """A site that does not know how to deploy an artifact does not admit it."""
    bundle = connected.bundle("1.0.0", SMALL)
    (sealed,) = connected.made[bundle.name].sealed
    content = encode(sealed.release).replace(b'"kind":"files"', b'"kind":"future"')
    with pytest.raises(MalformedError, match="the release manifest is malformed"):
        release(content)


def test_a_statement_with_an_unknown_key_is_none() -> None:
    """What shows it does not guess."""
    with pytest.raises(MalformedError):
        parse(b'{"_type":"https://in-toto.io/Statement/v1","more":1}', "it")
