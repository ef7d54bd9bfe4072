"""Registries that lie, break off, dawdle and lead astray: each is refused or outlasted, and nothing is half there."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from images import INDEX, MANIFEST, Sample, Value, digest_of, encoded, sample
from liars import Exchange, Liar, lying
from registries import PASSWORD, USER

from bundler.network import connections
from bundler.source import Found, Workshop
from bundler.sources import oci
from installer.network import wire
from sealift.errors import IntegrityError, MalformedError, SealiftError, SourceError
from sealift.oci import session as sessions
from sealift.oci.address import parse
from sealift.oci.transport import Broken, Transport
from sealift.patience import Patience
from sealift.progress import Silent
from sealift.wire.wire import Wire

OPENERS = {"bundler": connections.OPENER, "installer": wire.OPENER}
SIZE = 1_200_000


@pytest.fixture(autouse=True)
def _home(quiet_home: Path) -> Path:
    return quiet_home


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What would have been waited."""
    waited: list[float] = []
    quick = Patience(attempts=3, read=0.5, connect=2.0, sleep=waited.append)
    monkeypatch.setattr("sealift.patience.Patience", lambda: quick)
    return waited


@pytest.fixture
def made() -> Sample:
    """An image with its signature."""
    return sample(size=SIZE)


@pytest.fixture
def liar(made: Sample) -> Iterator[Liar]:
    """A registry that is honest as long as it is not told otherwise."""
    with lying(made.pile, {"1.0": made.root, made.signature_tag: made.signature}) as server:
        yield server


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """An empty cache."""
    return Workshop(base=tmp_path, cache=tmp_path / "cache", progress=Silent())


def collect(liar: Liar, workshop: Workshop, **more: Any) -> list[Found]:
    """All that is found of `shop/web:1.0`, locked just now."""
    want = {"image": f"{liar.host}/shop/web:1.0", "unsafe_http": True, **more}
    return list(oci.collect({**want, **oci.pin(want, workshop)}, workshop))


def refused(liar: Liar, workshop: Workshop, kind: type[SealiftError], match: str, **more: Any) -> None:
    """Collecting fails in this way, in one good sentence, and the cache holds nothing with a false name."""
    with pytest.raises(kind, match=match) as raised:
        collect(liar, workshop, **more)
    assert not raised.value.message.endswith(".")
    for path in workshop.cache.iterdir():
        assert (
            path.suffix in (".part", ".validator")
            or path.name == "lock"
            or digest_of(path.read_bytes())[7:] == path.name
        )


def large(made: Sample) -> str:
    """The digest of a layer of several pieces."""
    return next(digest for digest, content in made.pile.blobs.items() if len(content) > SIZE)


def test_an_honest_registry(liar: Liar, workshop: Workshop) -> None:
    """What follows is refused for what it does, not for what it is."""
    assert len(collect(liar, workshop)) > 10


def test_a_blob_with_another_digest(liar: Liar, made: Sample, workshop: Workshop) -> None:
    """A layer of the right length with other bytes is an integrity error."""
    content = made.pile.blobs[large(made)]
    liar.twist(f"blobs/{large(made)}", lambda exchange: exchange.say(200, bytes(len(content))))
    refused(liar, workshop, IntegrityError, "does not match its digest")


def test_a_manifest_with_another_digest(liar: Liar, made: Sample, workshop: Workshop) -> None:
    """A manifest that is asked for by its digest is what it names."""
    inner = json.loads(made.pile.blobs[made.root["digest"]])["manifests"][0]["digest"]
    liar.twist(
        f"manifests/{inner}",
        lambda exchange: exchange.say(200, made.pile.blobs[made.root["digest"]], Content_Type=INDEX),
    )
    refused(liar, workshop, IntegrityError, "sends other bytes")


def test_a_tag_whose_digest_is_a_lie(liar: Liar, made: Sample, workshop: Workshop) -> None:
    """The header says another digest than the bytes have."""
    body = made.pile.blobs[made.root["digest"]]
    liar.twist(
        "manifests/1.0$",
        lambda exchange: exchange.say(200, body, Content_Type=INDEX, Docker_Content_Digest=digest_of(b"x")),
    )
    refused(liar, workshop, IntegrityError, "sends other bytes")


def test_a_body_that_is_too_long(liar: Liar, made: Sample, workshop: Workshop) -> None:
    """No more is read than the descriptor says."""
    content = made.pile.blobs[large(made)]
    liar.twist(f"blobs/{large(made)}", lambda exchange: exchange.say(200, content + bytes(4 << 20)))
    refused(liar, workshop, SourceError, "sends more than")


def test_a_body_without_end(liar: Liar, workshop: Workshop) -> None:
    """An endless manifest is given up at its limit."""

    def endless(exchange: Exchange) -> bool:
        exchange.send_response(200)
        exchange.send_header("Content-Type", MANIFEST)
        exchange.end_headers()
        exchange.close_connection = True
        try:
            while True:
                exchange.wfile.write(bytes(1 << 20))
        except OSError:
            return True

    liar.twist("manifests/1.0$", endless)
    refused(liar, workshop, SourceError, "sends more than the 4194304 bytes")


def test_a_reset_in_the_middle_is_resumed(liar: Liar, made: Sample, workshop: Workshop) -> None:
    """What has arrived is not fetched again: the next attempt asks for the rest."""
    content, asked = made.pile.blobs[large(made)], []

    def breaking(exchange: Exchange) -> bool:
        start = exchange.headers.get("Range")
        asked.append(start)
        if start is None:
            exchange.say(200, content[: SIZE // 2], length=len(content))
            return exchange.reset()
        first = int(start.removeprefix("bytes=").removesuffix("-"))
        spoken = f"bytes {first}-{len(content) - 1}/{len(content)}"
        return exchange.say(206, content[first:], Content_Range=spoken)

    liar.twist(f"blobs/{large(made)}", breaking)
    assert collect(liar, workshop)
    assert asked[0] is None
    assert asked[1] is not None


def test_a_reset_without_end_is_an_error(liar: Liar, made: Sample, workshop: Workshop, waits: list[float]) -> None:
    """After so many attempts it is given up."""
    liar.twist(f"blobs/{large(made)}", lambda exchange: exchange.reset())
    refused(liar, workshop, SourceError, "after 3 attempts")
    assert len(waits) >= 2


def test_a_range_that_was_not_asked_for(liar: Liar, made: Sample, workshop: Workshop) -> None:
    """A resumption that starts elsewhere begins anew."""
    content = made.pile.blobs[large(made)]
    answers: list[str | None] = []

    def shifted(exchange: Exchange) -> bool:
        answers.append(exchange.headers.get("Range"))
        if len(answers) == 1:
            exchange.say(200, content[:500_000], length=len(content))
            return exchange.reset()
        if exchange.headers.get("Range"):
            return exchange.say(206, content[7:], Content_Range=f"bytes 7-{len(content) - 1}/{len(content)}")
        return exchange.say(200, content)

    liar.twist(f"blobs/{large(made)}", shifted)
    assert collect(liar, workshop)


def test_silence_is_given_up(liar: Liar, workshop: Workshop) -> None:
    """A server that takes the request and says nothing."""

    def silent(exchange: Exchange) -> bool:
        time.sleep(0.8)
        return exchange.reset()

    liar.twist("manifests/1.0$", silent)
    refused(liar, workshop, SourceError, "does not answer in time")


def test_a_trickle_is_given_up(liar: Liar, workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that never stops and never gets anywhere."""
    monkeypatch.setattr(sessions, "SLOW_SECONDS", 0.2)

    def trickling(exchange: Exchange) -> bool:
        exchange.send_response(200)
        exchange.send_header("Content-Length", "1000")
        exchange.end_headers()
        exchange.close_connection = True
        try:
            for _ in range(20):
                exchange.wfile.write(b"x")
                time.sleep(0.03)
        except OSError:
            pass
        return True

    liar.twist("manifests/1.0$", trickling)
    refused(liar, workshop, SourceError, "sends too slowly")


@pytest.mark.parametrize(
    ("location", "match"),
    [
        ("ftp://example.com/x", "not followed"),
        ("http://user:pass@example.com/x", "bears credentials"),
        ("file:///etc/passwd", "not followed"),
        ("http://[::1", "not followed"),
    ],
)
def test_a_redirect_to_nowhere_good(liar: Liar, made: Sample, workshop: Workshop, location: str, match: str) -> None:
    """Only http and https, without credentials."""
    liar.twist(f"blobs/{large(made)}", lambda exchange: exchange.say(307, Location=location))
    refused(liar, workshop, SourceError, match)


def test_a_redirect_without_end(liar: Liar, made: Sample, workshop: Workshop) -> None:
    """After five it is given up."""
    liar.twist(f"blobs/{large(made)}", lambda exchange: exchange.say(307, Location=exchange.path))
    refused(liar, workshop, SourceError, "redirects more than 5 times")


def test_a_redirect_bears_no_credentials(
    liar: Liar, made: Sample, workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """103: another host gets the request, and not the password."""
    import base64

    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    (tmp_path / "auth.json").write_text(json.dumps({"auths": {liar.host: {"auth": auth}}}))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    with lying(made.pile, {}) as elsewhere:
        content = made.pile.blobs[large(made)]
        elsewhere.twist("/signed", lambda exchange: exchange.say(200, content))

        def guarded(exchange: Exchange) -> bool:
            if exchange.headers.get("Authorization") != f"Basic {auth}":
                return exchange.say(401, WWW_Authenticate='Basic realm="x"')
            if large(made) in exchange.path:
                return exchange.say(307, Location=f"http://{elsewhere.host}/signed?key=secret")
            return False

        liar.twist("", guarded)
        assert collect(liar, workshop)
        assert [(path, authorization) for _, path, authorization in elsewhere.seen] == [("/signed?key=secret", None)]


@pytest.mark.parametrize(
    ("realm", "match"),
    [
        ("https://evil.example.com/token", "not akin to it"),
        ("https://127.0.0.1.evil.example/token", "not akin to it"),
        ("http://user@127.0.0.1/token", "bears credentials"),
        ("gopher://127.0.0.1/", "no http or https address"),
    ],
)
def test_a_token_service_elsewhere(liar: Liar, workshop: Workshop, realm: str, match: str) -> None:
    """103: no credential and no request goes to a host that a registry only names."""
    challenge = f'Bearer realm="{realm}",service="x"'
    liar.twist("", lambda exchange: exchange.say(401, WWW_Authenticate=challenge))
    refused(liar, workshop, SourceError, match)


def test_a_token_that_expires_in_the_middle(liar: Liar, made: Sample, workshop: Workshop) -> None:
    """A new one is asked for, and the work goes on."""
    given: list[str] = []
    served: list[str] = []

    def token(exchange: Exchange) -> bool:
        given.append(f"token-{len(given)}")
        return exchange.say(200, json.dumps({"token": given[-1]}).encode())

    def guarded(exchange: Exchange) -> bool:
        if exchange.headers.get("Authorization") != f"Bearer {given[-1] if given else ''}":
            return exchange.say(401, WWW_Authenticate=f'Bearer realm="http://{liar.host}/token",service="x"')
        served.append(exchange.path)
        if len(served) == 4:
            given.append("withdrawn")
        return False

    liar.twist("/token", token)
    liar.twist("/v2/", guarded)
    assert collect(liar, workshop)
    assert len(given) >= 3


def test_credentials_that_are_never_right(liar: Liar, workshop: Workshop) -> None:
    """A registry that refuses each token it gives is not asked without end."""
    liar.twist("/token", lambda exchange: exchange.say(200, b'{"token":"abc"}'))
    challenge = f'Bearer realm="http://{liar.host}/token",service="x"'
    liar.twist("/v2/", lambda exchange: exchange.say(401, WWW_Authenticate=challenge))
    refused(liar, workshop, SourceError, "wants credentials")
    assert len(liar.seen) < 20


@pytest.mark.parametrize("said", [b"no json", b'{"token":7}', b'{"token":"a b\\r\\nX: y"}', b"[]", b"{}"])
def test_a_token_that_is_none(liar: Liar, workshop: Workshop, said: bytes) -> None:
    """What a token service says is not put into a header unread."""
    liar.twist("/token", lambda exchange: exchange.say(200, said))
    challenge = f'Bearer realm="http://{liar.host}/token",service="x"'
    liar.twist("/v2/", lambda exchange: exchange.say(401, WWW_Authenticate=challenge))
    refused(liar, workshop, SourceError, "gives no token")


def manifest_of(liar: Liar, tree: Any, kind: str = MANIFEST) -> None:
    """Let the tag stand for this document."""
    content = tree if isinstance(tree, bytes) else encoded(tree)
    liar.twist("manifests/1.0$", lambda exchange: exchange.say(200, content, Content_Type=kind))


def descriptor(content: bytes = b"x", kind: str = "application/x", **more: Any) -> Value:
    """A descriptor of something."""
    return {"mediaType": kind, "digest": digest_of(content), "size": len(content), **more}


GOOD: Value = {"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(), "layers": []}
ODD: dict[str, tuple[Any, str, str]] = {
    "another media type": ({**GOOD, "mediaType": "application/x-odd"}, MANIFEST, "is sent as"),
    "an unknown media type": ({"schemaVersion": 2, "mediaType": "text/html"}, "text/html", "which is no manifest"),
    "an index sent as a manifest": ({**GOOD, "mediaType": INDEX}, MANIFEST, "is sent as"),
    "a manifest and an index at once": ({**GOOD, "manifests": []}, MANIFEST, "could be taken"),
    "an index with layers": (
        {"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "layers": []},
        INDEX,
        "could be",
    ),
    "schema 1": (
        {"schemaVersion": 1, "fsLayers": []},
        "application/vnd.docker.distribution.manifest.v1+json",
        "schema 1",
    ),
    "a key twice": (b'{"schemaVersion":2,"config":{},"config":{}}', MANIFEST, "twice"),
    "no json": (b"<html>", MANIFEST, "not valid json"),
    "nested too deep": (b'{"a":' * 40 + b"1" + b"}" * 40, MANIFEST, "nested"),
    "a negative size": ({**GOOD, "config": {**descriptor(), "size": -1}}, MANIFEST, "is not between"),
    "a huge size": ({**GOOD, "config": {**descriptor(), "size": 1 << 50}}, MANIFEST, "no valid size"),
    "a size that is no number": ({**GOOD, "config": {**descriptor(), "size": True}}, MANIFEST, "no valid size"),
    "a digest of another kind": (
        {**GOOD, "config": {**descriptor(), "digest": "sha512:" + "0" * 128}},
        MANIFEST,
        "sha-256",
    ),
    "a digest that climbs": ({**GOOD, "config": {**descriptor(), "digest": "sha256:../../x"}}, MANIFEST, "sha-256"),
    "no configuration": ({"schemaVersion": 2, "mediaType": MANIFEST, "layers": []}, MANIFEST, "no descriptor"),
    "a million layers": ({**GOOD, "layers": [descriptor()] * 3000}, MANIFEST, "are allowed"),
    "two sizes for one digest": ({**GOOD, "layers": [{**descriptor(), "size": 9}]}, MANIFEST, "named twice"),
    "a platform that is none": (
        {"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(kind=MANIFEST, platform={"os": "a/b"})]},
        INDEX,
        "no valid platform",
    ),
}


@pytest.mark.parametrize("name", sorted(ODD))
def test_an_odd_manifest(liar: Liar, workshop: Workshop, name: str) -> None:
    """36 and 39 among others: exit code 4, and nothing of it is fetched."""
    tree, kind, match = ODD[name]
    manifest_of(liar, tree, kind)
    refused(liar, workshop, MalformedError, match)


def test_an_index_that_contains_itself(liar: Liar, workshop: Workshop) -> None:
    """No digest can name what holds it: the registry must lie about the inner one."""
    inner = descriptor(b"never mind", INDEX)
    body = encoded({"schemaVersion": 2, "mediaType": INDEX, "manifests": [inner]})
    manifest_of(liar, body, INDEX)
    liar.twist(f"manifests/{inner['digest']}", lambda exchange: exchange.say(200, body, Content_Type=INDEX))
    refused(liar, workshop, IntegrityError, "sends other bytes")


def test_indexes_in_indexes_without_end(liar: Liar, made: Sample, workshop: Workshop) -> None:
    """After eight levels it is given up."""
    root = made.root
    for _ in range(9):
        root = made.pile.index(root)
    liar.tags["1.0"] = root["digest"]
    refused(liar, workshop, MalformedError, "deep")


def test_a_layer_with_a_foreign_address(liar: Liar, made: Sample, workshop: Workshop) -> None:
    """What `urls` names is never asked: a layer is had from the registry or not at all."""
    config = made.pile.blob(b"{}", "application/vnd.oci.image.config.v1+json")
    foreign = descriptor(b"foreign", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
    with lying(made.pile, {}) as elsewhere:
        layer = {**foreign, "urls": [f"http://{elsewhere.host}/layer"]}
        root = made.pile.manifest({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]})
        liar.tags["1.0"] = root["digest"]
        refused(liar, workshop, SourceError, "has no such thing")
        assert elsewhere.seen == []


def test_platforms_that_are_doubled(liar: Liar, made: Sample, workshop: Workshop) -> None:
    """Both are taken: which one a runtime chooses is not decided here."""
    root = made.pile.index(made.pile.image(91), made.pile.image(92))
    liar.tags["1.0"] = root["digest"]
    found = collect(liar, workshop, platforms=["linux/amd64"], referrers=False)
    children = json.loads(made.pile.blobs[root["digest"]])["manifests"]
    assert {f"blobs/sha256/{each['digest'][7:]}" for each in children} <= {entry.path for entry in found}


def test_a_referrer_of_something_else(liar: Liar, made: Sample, workshop: Workshop) -> None:
    """A list of referrers may not smuggle in what refers to nothing of this image."""
    stray = made.pile.about({"mediaType": MANIFEST, "digest": digest_of(b"y"), "size": 1}, "application/x", b"stray")
    listed = encoded({"schemaVersion": 2, "mediaType": INDEX, "manifests": [stray]})
    liar.twist(f"referrers/{made.root['digest']}", lambda exchange: exchange.say(200, listed, Content_Type=INDEX))
    refused(liar, workshop, MalformedError, "listed as a referrer")


def test_pages_of_referrers(liar: Liar, made: Sample, workshop: Workshop) -> None:
    """The list goes on where a link says so, at the same host alone, and not without end."""
    listed = encoded({"schemaVersion": 2, "mediaType": INDEX, "manifests": []})

    def paged(exchange: Exchange) -> bool:
        return exchange.say(200, listed, Content_Type=INDEX, Link=f'<{exchange.path}>; rel="next"')

    liar.twist("referrers/", paged)
    refused(liar, workshop, MalformedError, "more than 64 pages")


def test_the_next_page_is_elsewhere(liar: Liar, made: Sample, workshop: Workshop) -> None:
    """A link to another host is not followed."""
    listed = encoded({"schemaVersion": 2, "mediaType": INDEX, "manifests": []})
    link = '<https://evil.example.com/v2/x>; rel="next"'
    liar.twist("referrers/", lambda exchange: exchange.say(200, listed, Content_Type=INDEX, Link=link))
    refused(liar, workshop, MalformedError, "at another host")


def test_a_blob_that_is_shorter_than_its_descriptor_says(
    liar: Liar, made: Sample, workshop: Workshop, waits: list[float]
) -> None:
    """An answer that is whole by its own length is not asked for without end."""
    content = made.pile.blobs[large(made)]
    liar.twist(f"blobs/{large(made)}", lambda exchange: exchange.say(200, content[:1000]))
    refused(liar, workshop, SourceError, "after 3 attempts")


def test_a_token_without_end(liar: Liar, workshop: Workshop) -> None:
    """A token service is bounded like everybody else."""
    liar.twist("/token", lambda exchange: exchange.say(200, bytes(2 << 20)))
    challenge = f'Bearer realm="http://{liar.host}/token",service="x"'
    liar.twist("/v2/", lambda exchange: exchange.say(401, WWW_Authenticate=challenge))
    refused(liar, workshop, SourceError, "sends more than the 1048576 bytes")


def _dripping(exchange: Exchange, before: bytes, drop: bytes) -> bool:
    """Send something, and then a drop at a time, for longer than anybody waits; each resets a socket's own clock."""
    exchange.close_connection = True
    with contextlib.suppress(OSError):
        exchange.wfile.write(before)
        until = time.monotonic() + 3
        while time.monotonic() < until:
            exchange.wfile.write(drop)
            time.sleep(0.02)
    return True


DRIPS = {
    "a head": (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", b"X: y\r\n"),
}


def _read(line: Transport, address: str) -> None:
    with line.send("GET", parse(address), {}, None) as answer:
        while answer.read():
            pass


@pytest.mark.parametrize("side", sorted(OPENERS))
@pytest.mark.parametrize("name", sorted(DRIPS))
def test_what_drips_is_given_up(liar: Liar, side: str, name: str) -> None:
    """A head, interim answers or trailers without end keep neither side of the gap for longer than it waits."""
    before, drop = DRIPS[name]
    liar.twist("drip", lambda exchange: _dripping(exchange, before, drop))
    line = Wire(OPENERS[side], {}, Patience(read=0.3), connections=1)
    began = time.monotonic()
    with pytest.raises(Broken, match="in time"):
        _read(line, f"http://{liar.host}/drip")
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("side", sorted(OPENERS))
@pytest.mark.parametrize(
    ("before", "drop"),
    [(b"HTTP/1.1 200 ", b"x"), (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x")],
    ids=["a first line", "headers", "a header"],
)
def test_a_proxy_that_drips_is_given_up(
    liar: Liar, side: str, before: bytes, drop: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer to CONNECT without end keeps neither side of the gap for longer than it waits."""
    monkeypatch.setenv("https_proxy", f"http://{liar.host}")
    liar.twist("^CONNECT registry.example.com:443", lambda exchange: _dripping(exchange, before, drop))
    line = Wire(OPENERS[side], {}, Patience(connect=0.3, read=0.3), connections=1)
    began = time.monotonic()
    with pytest.raises(Broken, match="in time"):
        _read(line, "https://registry.example.com/")
    assert time.monotonic() - began < 2


def test_the_rest_of_an_answer_that_drips_is_not_waited_for(
    liar: Liar, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody reads ends the connection, and not the patience."""
    monkeypatch.setattr("sealift.wire.wire._REST_SECONDS", 0.1)
    head = b"HTTP/1.1 404 Not Found\r\nContent-Length: 60000\r\n\r\n"
    liar.twist("manifests/1.0$", lambda exchange: _dripping(exchange, head, b"x"))
    began = time.monotonic()
    refused(liar, workshop, SourceError, "has no such thing")
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("side", sorted(OPENERS))
def test_a_proxy_is_asked_in_place_of_the_registry(liar: Liar, side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry's name is for the proxy to resolve, and the proxy's password is for the proxy alone."""
    monkeypatch.setenv("http_proxy", f"http://user:word@{liar.host}")
    told: list[str | None] = []

    def relayed(exchange: Exchange) -> bool:
        told.append(exchange.headers.get("Proxy-Authorization"))
        exchange.path = exchange.path.removeprefix("http://registry.example.com")
        return False

    liar.twist("", relayed)
    line = Wire(OPENERS[side], {}, Patience(read=5), connections=1)
    _read(line, "http://registry.example.com/v2/shop/web/manifests/1.0")
    assert [path for _, path, _ in liar.seen] == ["http://registry.example.com/v2/shop/web/manifests/1.0"]
    assert [str(each).partition(" ")[0] for each in told] == ["Basic"]
    assert liar.seen[0][2] is None
