"""Names, addresses, challenges, credentials and configurations of registries: what is read, and what is refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealift.errors import DeployError, IntegrityError, MalformedError, SourceError, UsageError
from sealift.oci import address, layout, names
from sealift.oci.address import Address, NoAddress
from sealift.oci.challenge import challenges
from sealift.oci.credentials import Credential, credential
from sealift.oci.hosts import Endpoint, endpoints
from sealift.oci.layout import Root
from sealift.oci.model import OCI_INDEX, OCI_MANIFEST, Descriptor, descriptor_of, media_type_of
from sealift.oci.names import Name
from sealift.oci.registry import Registry
from sealift.oci.session import Session, Terms
from sealift.oci.transport import Broken, Content
from sealift.patience import Patience

DIGEST = "sha256:" + 64 * "a"
WEB = Name(registry="registry.example.com", repository="shop/web", tag="1.0")


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("debian", "docker.io/library/debian:latest"),
        ("debian:12", "docker.io/library/debian:12"),
        ("bitnami/redis", "docker.io/bitnami/redis:latest"),
        ("index.docker.io/library/debian", "docker.io/library/debian:latest"),
        ("localhost/web:1", "localhost/web:1"),
        ("host:5000/web", "host:5000/web:latest"),
        ("[::1]:5000/web", "[::1]:5000/web:latest"),
        ("registry.example.com/a/b_c/d--e:v1.0_x", "registry.example.com/a/b_c/d--e:v1.0_x"),
        (f"registry.example.com/web@{DIGEST}", f"registry.example.com/web@{DIGEST}"),
        (f"registry.example.com/web:1@{DIGEST}", f"registry.example.com/web:1@{DIGEST}"),
    ],
)
def test_names(text: str, whole: str) -> None:
    """Short names are Docker's; what is whole stays as it is."""
    assert names.parse(text).text == whole


@pytest.mark.parametrize(
    "text",
    [
        *("", "/", "a//b", "A/b", "reg.example.com/", "reg.example.com/../x", "web@sha256:1", "web@md5:1", "web:a b"),
        *("reg.example.com/web:", "reg.example.com/.web", "reg.example.com:port/web", "web:-1", "x" * 2000),
        "user@reg.example.com/web",
    ],
)
def test_names_that_are_none(text: str) -> None:
    """52 among others: nothing that a path or an address could be made to climb by."""
    with pytest.raises(MalformedError):
        names.parse(text)


@given(st.text(max_size=80))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    """A name that is read is written as it was read."""
    try:
        name = names.parse(text)
    except MalformedError:
        return
    assert names.parse(name.text) == name


@pytest.mark.parametrize(
    ("location", "there"),
    [
        ("/v2/x?y", "https://reg.example.com/v2/x?y"),
        ("upload?z=1", "https://reg.example.com/a/upload?z=1"),
        ("?z=1", "https://reg.example.com/a/b?z=1"),
        ("//other.example.com/x", "https://other.example.com/x"),
        ("HTTPS://Other.Example.com:443/x#f", "https://other.example.com/x"),
        ("http://other.example.com:8080", "http://other.example.com:8080/"),
    ],
)
def test_where_a_location_leads(location: str, there: str) -> None:
    """Absolute or relative, in one form."""
    assert address.parse("https://reg.example.com/a/b?c").join(location).text == there


@pytest.mark.parametrize(
    "text",
    ["ftp://x/y", "https://", "https://u:p@x/", "https://x y/", "https://x\\y/", "https://x/\r\nA: b", "javascript:1"],
)
def test_addresses_that_are_not_followed(text: str) -> None:
    """No other scheme, no credentials, no line breaks."""
    with pytest.raises(NoAddress):
        address.parse(text)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost:5000", True),
        ("a.localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9:80", True),
        ("169.254.169.254", True),
        ("[::1]:5000", True),
        ("[::ffff:127.0.0.1]", True),
        ("0.0.0." + "0", True),
        ("2130706433", True),
        ("10.0.0.1", False),
        ("registry.example.com", False),
    ],
)
def test_what_is_this_machine_itself(host: str, local: bool) -> None:
    """Whatever notation leads to it."""
    assert Address(scheme="http", host=host, path="/").local is local


def test_challenges() -> None:
    """Several in one header, quoted and not."""
    header = 'Bearer realm="https://auth.example.com/t?a,b",service="reg \\"x\\"", scope="a:b:c" , Basic realm=plain'
    bearer, basic = challenges(header)
    assert bearer.parameters == {"realm": "https://auth.example.com/t?a,b", "service": 'reg "x"', "scope": "a:b:c"}
    assert (basic.scheme, basic.parameters) == ("basic", {"realm": "plain"})


@given(st.text(max_size=200))
def test_any_header_is_read(header: str) -> None:
    """Nothing that a server sends as a challenge is an error by itself."""
    assert all(each.scheme for each in challenges(header))


def _auth(user: str, secret: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{secret}".encode()).decode()}


def test_the_longest_entry_counts(tmp_path: Path) -> None:
    """A repository's own credential comes before its registry's."""
    auths = {"registry.example.com": _auth("all", "1"), "registry.example.com/shop": _auth("shop", "2")}
    (tmp_path / "auth.json").write_text(json.dumps({"auths": auths}))
    found = credential(WEB, {"REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")})
    assert found is not None
    assert (found.user, found.secret) == ("shop", "2")
    assert "2" not in repr(found)


def test_dockers_own_names(tmp_path: Path) -> None:
    """What `docker login` writes for Docker's registry is found."""
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"https://index.docker.io/v1/": _auth("me", "x")}}))
    found = credential(names.parse("debian"), {"DOCKER_CONFIG": str(tmp_path)})
    assert found is not None
    assert found.user == "me"


def test_nobody_has_a_credential(tmp_path: Path) -> None:
    """That is no error: many registries ask for none."""
    assert credential(WEB, {"HOME": str(tmp_path)}) is None


@pytest.mark.parametrize("content", ["", "[]", '{"auths": 7}', '{"auths": {"registry.example.com": {"auth": "?"}}}'])
def test_files_of_credentials_that_are_none(tmp_path: Path, content: str) -> None:
    """Exit code 2, with the file's name."""
    (tmp_path / "auth.json").write_text(content)
    with pytest.raises(UsageError, match=r"auth\.json"):
        credential(WEB, {"REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")})


@pytest.mark.parametrize("helper", ["../evil", "no-such-helper", ""])
def test_helpers_that_are_none(tmp_path: Path, helper: str) -> None:
    """Only a program `docker-credential-NAME` of the path is started."""
    (tmp_path / "config.json").write_text(json.dumps({"credHelpers": {"registry.example.com": helper}}))
    with pytest.raises(UsageError):
        credential(WEB, {"DOCKER_CONFIG": str(tmp_path), "PATH": str(tmp_path)})


def _conf(tmp_path: Path, text: str) -> dict[str, str]:
    (tmp_path / "registries.conf").write_text(text)
    return {"CONTAINERS_REGISTRIES_CONF": str(tmp_path / "registries.conf")}


def test_mirrors_come_first(tmp_path: Path) -> None:
    """The longest prefix decides, and the rest of the repository's path is kept."""
    text = """
        [[registry]]
        prefix = "registry.example.com"
        location = "other.example.com"
        [[registry]]
        prefix = "registry.example.com/shop"
        location = "registry.example.com/shop"
        [[registry.mirror]]
        location = "mirror.example.com:5000/cache/shop"
        insecure = true
    """
    assert endpoints(WEB, _conf(tmp_path, text)) == [
        Endpoint(host="mirror.example.com:5000", repository="cache/shop/web", http=True),
        Endpoint(host="registry.example.com", repository="shop/web", http=False),
    ]


def test_a_registry_that_is_blocked(tmp_path: Path) -> None:
    """It is not asked."""
    with pytest.raises(UsageError, match="blocked"):
        endpoints(WEB, _conf(tmp_path, '[[registry]]\nprefix = "registry.example.com"\nblocked = true\n'))


@pytest.mark.parametrize(
    "text", ["registry = 7", "[[registry", '[[registry]]\nprefix="registry.example.com"\nlocation="a b"']
)
def test_configurations_that_are_none(tmp_path: Path, text: str) -> None:
    """Exit code 2."""
    with pytest.raises(UsageError):
        endpoints(WEB, _conf(tmp_path, text))


def test_dockers_registry_answers_elsewhere(tmp_path: Path) -> None:
    """`docker.io` is a name and no host."""
    assert endpoints(names.parse("debian"), {"HOME": str(tmp_path)})[0].host == "registry-1.docker.io"


def test_an_index_of_a_layout_is_canonical() -> None:
    """The same roots in another order give the same bytes, and are read back."""
    roots = [
        Root(descriptor=Descriptor(media_type=OCI_MANIFEST, digest=DIGEST, size=3), name=WEB, tag=None),
        Root(descriptor=Descriptor(media_type=OCI_INDEX, digest=DIGEST, size=3), name=WEB, tag="1.0"),
    ]
    content = layout.encode(roots)
    assert content == layout.encode(roots[::-1])
    assert layout.encode(layout.read(content, "index.json")) == content
    assert {root.name.text for root in layout.read(content, "index.json") if root.name} == {
        "registry.example.com/shop/web:1.0",
        f"registry.example.com/shop/web@{DIGEST}",
    }


@pytest.mark.parametrize("content", [b"{}", b'{"schemaVersion":2}', b'{"schemaVersion":2,"manifests":[{}]}', b"[]"])
def test_indexes_of_layouts_that_are_none(content: bytes) -> None:
    """Exit code 4."""
    with pytest.raises(MalformedError):
        layout.read(content, "index.json")


@pytest.mark.parametrize("version", [b'{"imageLayoutVersion":"2.0.0"}', b"{}", b'{"imageLayoutVersion":1}'])
def test_layouts_of_another_version(version: bytes) -> None:
    """What is not understood is refused."""
    with pytest.raises(MalformedError):
        layout.check_mark(version, "oci-layout")


def test_a_manifest_without_a_media_type() -> None:
    """Its shape tells what it is, where nobody says."""
    assert media_type_of(b'{"schemaVersion":2,"layers":[]}', None, "it") == OCI_MANIFEST
    assert media_type_of(b'{"schemaVersion":2,"manifests":[]}', "text/plain", "it") == OCI_INDEX


@pytest.mark.parametrize("value", [None, [], {}, {"mediaType": "", "digest": DIGEST, "size": 1}, {"digest": DIGEST}])
def test_descriptors_that_are_none(value: object) -> None:
    """Each field is there and has its form."""
    with pytest.raises(MalformedError):
        descriptor_of(value, "it")


class Memory:
    """A registry in memory that takes one upload, breaks its line once, and knows what has arrived."""

    def __init__(self, breaks_at: int, *, forgets: bool = False) -> None:
        self.content = b""
        self.breaks_at = breaks_at
        self.forgets = forgets
        self.sent = 0
        self.seen: list[tuple[str, str | None]] = []

    @contextmanager
    def send(
        self, method: str, where: Address, headers: Mapping[str, str], body: Iterator[bytes | memoryview] | None
    ) -> Iterator[Reply]:
        self.seen.append((method, headers.get("Content-Range")))
        if method == "POST":
            self.content = b""
            yield Reply(202, location="/upload/1")
        elif method == "GET":
            last = f"0-{len(self.content) - 1}"
            yield Reply(404) if self.forgets else Reply(204, range=last, location="/upload/2")
        elif method == "PATCH":
            for piece in body or ():
                self.content += piece
                self.sent += len(piece)
                if self.breaks_at and len(self.content) >= self.breaks_at:
                    self.breaks_at = 0
                    raise Broken("the connection broke off")
            yield Reply(202, location="/upload/3")
        else:
            yield Reply(201)


class Reply:
    def __init__(self, status: int, **headers: str) -> None:
        self.status = status
        self._headers = headers

    def header(self, name: str) -> str | None:
        return self._headers.get(name)

    def read(self) -> bytes:
        return b""


class _Pieces(Content):
    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._whole = content

    def pieces(self, start: int = 0) -> Iterator[bytes | memoryview]:
        for at in range(start, self.length, 100_000):
            yield self._whole[at : at + 100_000]


def _registry(memory: Memory, known: Credential | None = None) -> Registry:
    terms = Terms(failure=DeployError, credential=lambda: known, patience=Patience(sleep=lambda _: None))
    return Registry(Session(Address(scheme="https", host="reg.example.com", path="/"), memory, terms), "web", push=True)


@pytest.mark.parametrize("forgets", [False, True])
def test_an_upload_goes_on_where_it_broke_off(forgets: bool) -> None:
    """What has arrived is not sent again; where the registry forgot it, all of it is."""
    content = bytes(range(256)) * 10_000
    memory = Memory(1_500_000, forgets=forgets)
    blob = Descriptor(media_type="x", digest=DIGEST, size=len(content))
    _registry(memory).upload(blob, _Pieces(content))
    assert memory.content == content
    assert memory.sent == len(content) + (1_500_000 if forgets else 0)
    if not forgets:
        assert ("PATCH", f"1500000-{len(content) - 1}") in memory.seen


class Guarded(Memory):
    """One whose first body meets a credential that has expired meanwhile."""

    @contextmanager
    def send(
        self, method: str, where: Address, headers: Mapping[str, str], body: Iterator[bytes | memoryview] | None
    ) -> Iterator[Reply]:
        if method == "PATCH" and not self.forgets:
            self.forgets = True
            self.sent = sum(len(piece) for piece in islice(body or (), 3))
            yield Reply(401, **{"www-authenticate": 'Basic realm="x"'})
        else:
            with super().send(method, where, headers, body) as reply:
                yield reply


def test_a_body_is_sent_from_its_beginning_after_a_401() -> None:
    """A credential that expired in the middle of an upload costs the body once more, and no byte of it is lost."""
    content = bytes(range(256)) * 10_000
    memory = Guarded(0)
    blob = Descriptor(media_type="x", digest=DIGEST, size=len(content))
    _registry(memory, Credential(user="robot", secret="pass")).upload(blob, _Pieces(content))
    assert memory.content == content
    assert memory.sent == 300_000 + len(content)


@pytest.mark.parametrize(
    ("location", "led"),
    [("/upload/1", False), ("https://blobs.example.net/1", True), ("https://reg.example.com:8443/1", False)],
)
def test_an_upload_that_is_led_to_another_host(location: str, led: bool) -> None:
    """The address bears a mark, by which the line refuses to send to this machine."""
    asked: list[tuple[str, bool]] = []

    class Leading(Memory):
        @contextmanager
        def send(
            self, method: str, where: Address, headers: Mapping[str, str], body: Iterator[bytes | memoryview] | None
        ) -> Iterator[Reply]:
            asked.append((method, where.led))
            yield Reply(202, location=location) if method == "POST" else Reply(201)

    _registry(Leading(0)).upload(Descriptor(media_type="x", digest=DIGEST, size=3), Content(b"abc"))
    assert asked == [("POST", False), ("PUT", led)]


def test_a_blob_of_another_size() -> None:
    """A registry that holds it shorter than it is has a damaged storage."""

    class Short(Memory):
        @contextmanager
        def send(
            self, method: str, where: Address, headers: Mapping[str, str], body: Iterator[bytes | memoryview] | None
        ) -> Iterator[Reply]:
            yield Reply(200, **{"content-length": "2"})

    with pytest.raises(IntegrityError):
        _registry(Short(0)).has_blob(Descriptor(media_type="x", digest=DIGEST, size=3))


@pytest.mark.parametrize(
    ("host", "realm", "akin"),
    [
        ("registry-1.docker.io", "https://auth.docker.io/token", True),
        ("registry.gitlab.com", "https://gitlab.com/jwt/auth", True),
        ("ghcr.io", "https://ghcr.io/token", True),
        ("ghcr.io", "https://evil.io/token", False),
        ("registry.example.com", "https://example.com.evil.net/token", False),
        ("registry.example.com", "https://notexample.com/token", False),
        ("registry.example.com", "http://auth.example.com/token", False),
        ("10.0.0.1:5000", "https://10.9.0.1/token", False),
        ("10.0.0.1:5000", "https://10.0.0.1:5001/token", True),
    ],
)
def test_which_token_services_are_akin(host: str, realm: str, akin: bool) -> None:
    """103: the same host, or one under the same domain, by TLS."""
    session = Session(Address(scheme="https", host=host, path="/"), Memory(0), Terms(failure=SourceError))
    if akin:
        assert session._realm(realm).text == realm
    else:
        with pytest.raises(SourceError):
            session._realm(realm)


def test_a_token_service_that_is_named() -> None:
    """An operator may say that another host is right."""
    terms = Terms(failure=SourceError, token_host="auth.other.net")
    session = Session(Address(scheme="https", host="reg.example.com", path="/"), Memory(0), terms)
    assert session._realm("https://auth.other.net/t").host == "auth.other.net"
