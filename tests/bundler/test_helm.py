"""Source `helm`: a chart of a classic repository, and whose signature its provenance file bears."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from gnupg import clear_signed
from routes import Answer, Routes, serving
from worlds import NOW, Connected

from bundler.charts.index import versions
from bundler.locking import resolve
from bundler.sealing import Effort
from bundler.source import Workshop, problems_of
from bundler.sources import helm as source
from bundler.spec import load
from sealift.errors import IntegrityError, MalformedError, SealiftError, SourceError, TrustError, UsageError
from sealift.progress import Silent


def chart(version: str = "1.2.3") -> bytes:
    """A chart."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        body = f"apiVersion: v2\nname: shop\nversion: {version}\n".encode()
        entry = tarfile.TarInfo("shop/Chart.yaml")
        entry.size = len(body)
        archive.addfile(entry, io.BytesIO(body))
    return made.getvalue()


CHART = chart()
DIGEST = hashlib.sha256(CHART).hexdigest()
PROVENANCE = f"apiVersion: v2\nname: shop\nversion: 1.2.3\n\n...\nfiles:\n  shop-1.2.3.tgz: sha256:{DIGEST}\n"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Routes]:
    """A repository with one chart; nothing of this machine's own configuration counts."""
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HELM_REPOSITORY_CONFIG", str(tmp_path / "repositories.yaml"))
    with serving() as made:
        made.answers["/charts/files/shop-1.2.3.tgz"] = Answer(body=CHART)
        listing(made)
        yield made


def listing(server: Routes, **more: Any) -> None:
    """Let the index say this of the chart."""
    entry = {"name": "shop", "version": "1.2.3", "urls": ["files/shop-1.2.3.tgz"], "digest": DIGEST, **more}
    other = {"name": "other", "version": "1.2.3", "urls": ["x"]}
    index = {"apiVersion": "v1", "entries": {"other": [other], "shop": [{**entry, "version": "1.0.0"}, entry]}}
    server.answers["/charts/index.yaml"] = Answer(body=json.dumps(index).encode(), kind="text/yaml")


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    """Where a source works."""
    base = tmp_path / "base"
    base.mkdir()
    return Workshop(base=base, cache=tmp_path / "cache", progress=Silent())


def wants(server: Routes, **more: Any) -> dict[str, Any]:
    """The source's part of a spec."""
    return {"repository": f"{server.url}/charts", "chart": "shop", "version": "1.2.3", **more}


def taken(want: Mapping[str, Any], shop: Workshop) -> list[str]:
    """What is collected with what is pinned."""
    return [found.path for found in source.collect({**want, **source.pin(want, shop)}, shop)]


def test_it_takes_a_chart_by_its_digest(server: Routes, shop: Workshop) -> None:
    """Relative and absolute addresses, digests with an algorithm or without it, or none, which the lock then says."""
    assert taken(wants(server), shop) == ["shop-1.2.3.tgz"]
    listing(server, urls=[f"{server.url}/charts/files/shop-1.2.3.tgz"], digest=f"sha256:{DIGEST}")
    assert taken(wants(server), shop) == ["shop-1.2.3.tgz"]
    listing(server, digest=None)
    assert source.pin(wants(server), shop)["files"][0].startswith(DIGEST)


def test_another_content_than_the_index_says_is_refused(server: Routes, shop: Workshop) -> None:
    """A repository that changes a chart under the same name: exit 5."""
    server.answers["/charts/files/shop-1.2.3.tgz"] = Answer(body=b"other")
    with pytest.raises(IntegrityError):
        source.pin(wants(server), shop)


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"urls": ["oci://registry.example.com/shop"]}, "not followed"),
        ({"urls": ["file:///etc/passwd"]}, "not followed"),
        ({"urls": ["https://user:s3cret@example.org/x.tgz"]}, "not followed"),
        ({"urls": []}, "has no chart shop"),
        ({"version": "2"}, "has no chart shop"),
        ({"digest": "md5:00"}, "no SHA-256"),
    ],
)
def test_entries_that_lead_nowhere_are_refused(
    server: Routes, shop: Workshop, more: dict[str, Any], error: str
) -> None:
    """Other schemes, credentials, no address: exit 3, and no secret is shown."""
    listing(server, **more)
    with pytest.raises(SourceError, match=error) as raised:
        source.pin(wants(server), shop)
    assert "s3cret" not in raised.value.message


@pytest.mark.parametrize(
    "index",
    [
        b"",
        b"[]",
        b"{",
        b"a: 1",
        b"entries: {shop: 3}",
        b"entries: {shop: [3]}",
        b"entries: {shop: [{version: 1.2.3}]}",
        b"entries: {shop: [{version: 1.2.3, version: 1.2.3, urls: [x]}]}",
        b"a: &a [x]\nentries: {shop: *a}",
        b"entries: {shop: [" + b"[" * 40 + b"]" * 40 + b"]}",
        b"? {a: b}\n: c\nentries: {}",
    ],
)
def test_an_index_that_is_none_is_malformed(server: Routes, shop: Workshop, index: bytes) -> None:
    """46: no entries, no versions, keys that come twice, aliases, depth: exit 4."""
    server.answers["/charts/index.yaml"] = Answer(body=index)
    with pytest.raises(MalformedError):
        source.pin(wants(server), shop)


def test_aliases_of_other_charts_are_refused_unread() -> None:
    """46: an alias bomb is met as a stream of events, and none of it is built."""
    bomb = b"x: &a [lol]\ny: &b [*a, *a]\nentries: {shop: []}"
    with pytest.raises(MalformedError, match="alias"):
        versions(bomb, "shop", "it")


def test_deep_entries_of_other_charts_are_refused() -> None:
    """39: nesting costs the parser the square of its depth, wherever in the index it is."""
    with pytest.raises(MalformedError, match="nested more than 32 levels deep"):
        versions(b"entries: {other: " + b"[" * 33 + b"]" * 33 + b", shop: []}", "shop", "it")


def test_a_repository_without_an_index_is_missing(server: Routes, shop: Workshop) -> None:
    """Exit 3; the hint names the source for registries."""
    with pytest.raises(SourceError) as raised:
        source.pin({**wants(server), "repository": f"{server.url}/nowhere"}, shop)
    assert "oci" in (raised.value.hint or "")


def signed(server: Routes, shop: Workshop, gnupg: Path, text: str = PROVENANCE, key: str = "good") -> dict[str, Any]:
    """The want of a chart with a provenance file of this text, signed by a key, and the keyring of `good`."""
    faked = ("--faked-system-time", "20200101T120000") if key == "old" else ()
    document = clear_signed(gnupg, text.encode(), key, *faked)
    server.answers["/charts/files/shop-1.2.3.tgz.prov"] = Answer(body=document)
    trusted = "old" if key == "old" else "good"
    (shop.base / "keys.pgp").write_bytes((gnupg / f"{trusted}.pgp").read_bytes())
    return wants(server, keyring="keys.pgp")


def test_a_signed_chart_says_who_signed_it(server: Routes, shop: Workshop, gnupg: Path) -> None:
    """The provenance file comes along, and the signer is pinned and traced."""
    want = signed(server, shop, gnupg)
    pins = source.pin(want, shop)
    assert taken(want, shop) == ["shop-1.2.3.tgz", "shop-1.2.3.tgz.prov"]
    (signer,) = pins["signers"]
    assert len(signer) == 40
    (first, _) = source.traces({**want, **pins})
    assert (first.signers, first.digest) == ((signer,), {"sha256": DIGEST})


@pytest.mark.parametrize(
    ("text", "key", "error"),
    [
        (PROVENANCE, "other", TrustError),
        (PROVENANCE, "old", TrustError),
        (PROVENANCE.replace(DIGEST, "0" * 64), "good", IntegrityError),
        (PROVENANCE.replace("shop-1.2.3", "shop-1.2.4"), "good", IntegrityError),
        (PROVENANCE.replace("name: shop", "name: other"), "good", MalformedError),
        (PROVENANCE.replace("version: 1.2.3", "version: 1.2.2"), "good", MalformedError),
        (PROVENANCE.replace("...", "---"), "good", MalformedError),
        ("nothing\n", "good", MalformedError),
    ],
)
def test_what_was_not_signed_for_is_refused(
    server: Routes, shop: Workshop, gnupg: Path, text: str, key: str, error: type[SealiftError]
) -> None:
    """48, 49: another key, one that has expired, another content, another chart, no provenance at all."""
    with pytest.raises(error):
        source.pin(signed(server, shop, gnupg, text, key), shop)


def test_text_outside_of_the_signature_counts_for_nothing(server: Routes, shop: Workshop, gnupg: Path) -> None:
    """37: what surrounds a signed document is not read, and a changed one is refused."""
    want = signed(server, shop, gnupg, PROVENANCE.replace(DIGEST, "0" * 64))
    path = "/charts/files/shop-1.2.3.tgz.prov"
    body = server.answers[path].body
    server.answers[path] = Answer(body=PROVENANCE.encode() + body)
    with pytest.raises((IntegrityError, TrustError)):
        source.pin(want, shop)
    server.answers[path] = Answer(body=body.replace(b"0" * 64, DIGEST.encode()))
    with pytest.raises(TrustError):
        source.pin(want, shop)


def test_a_chart_without_a_provenance_file_is_refused_where_keys_are_named(server: Routes, shop: Workshop) -> None:
    """1: a stripped signature is no signature."""
    (shop.base / "keys.pgp").write_bytes(b"\x99")
    with pytest.raises(SourceError, match="404"):
        source.pin(wants(server, keyring="keys.pgp"), shop)


def test_a_keyring_in_the_spec_cannot_be_left_out_by_the_lock(server: Routes, shop: Workshop, gnupg: Path) -> None:
    """What was locked without a signature is not collected where one is asked for."""
    pins = source.pin(wants(server), shop)
    with pytest.raises(UsageError, match="not what the spec wants"):
        list(source.collect({**signed(server, shop, gnupg), **pins}, shop))


@pytest.mark.parametrize("where", ["helm", "netrc"])
def test_it_asks_as_helm_is_configured(server: Routes, shop: Workshop, tmp_path: Path, where: str) -> None:
    """Credentials of Helm's own configuration, for that repository, or of a netrc file; none in the lock."""
    said = "Basic " + base64.b64encode(b"user:s3cret").decode()
    for path, answer in list(server.answers.items()):
        server.answers[path] = Answer(body=answer.body, kind=answer.kind, authorization=said)
    if where == "helm":
        entry = {"name": "shop", "url": f"{server.url}/charts/", "username": "user", "password": "s3cret"}
        (tmp_path / "repositories.yaml").write_text(json.dumps({"repositories": [entry]}))
    else:
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password s3cret\n")
    assert "s3cret" not in str(source.pin(wants(server), shop))


@pytest.mark.parametrize(
    "more", [{"chart": ".."}, {"chart": "a/b"}, {"version": "../1"}, {"repository": "https://u:s3cret@example.org"}]
)
def test_names_that_climb_and_credentials_are_refused(server: Routes, shop: Workshop, more: dict[str, Any]) -> None:
    """52: a chart's name is no dot segment; credentials do not stand in a spec, and are not shown."""
    with pytest.raises(UsageError) as raised:
        source.pin({**wants(server), **more}, shop)
    assert "s3cret" not in raised.value.message
    problems = problems_of(source, {**wants(server), **more}, shop.base, pinned=False)
    assert problems or "repository" not in more


def test_a_second_export_fetches_nothing(server: Routes, connected: Connected) -> None:
    """What the depot's cache holds is not asked for again."""
    spec = connected.root / "shop.yaml"
    spec.write_text(
        "release: shop\nversion: '1.0'\nartifacts:\n  chart:\n    source: helm\n"
        f"    repository: {server.url}/charts\n    chart: shop\n    version: 1.2.3\n"
    )
    resolve(
        load(spec, pinned=False), effort=Effort(level=1, threads=1), progress=Silent(), now=NOW, depot=connected.depot
    )
    server.asked.clear()
    connected.export(spec)
    assert server.asked == []
