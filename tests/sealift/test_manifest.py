"""Manifests: one form, and only what the format lists."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sealift import hooks, manifest
from sealift.errors import MalformedError
from sealift.listing import CONTENT_MAX, Blob, ListingBlob
from sealift.manifest import Artifact, Bundle, Part, Release, ReleaseBlob, encode

DIGEST = "ab" * 32
LISTING = ListingBlob(sha256=DIGEST, length=10, size=20)


def artifact(name: str = "web") -> Artifact:
    """An artifact."""
    return Artifact(name=name, kind="files", digest=DIGEST, tree=LISTING, files=1, bytes=2)


RELEASE = Release(format=1, type="release", name="shop", version="1.0.0", artifacts=(artifact("api"), artifact()))
PART = Part(
    release=ReleaseBlob(name="shop", version="1.0.0", sha256=DIGEST, length=9),
    index=LISTING,
    packs=(Blob(sha256=DIGEST, length=7),),
)
BUNDLE = Bundle(format=1, type="bundle", root_version=1, parts=(PART,))


def plain(value: object) -> bytes:
    """Canonical JSON by another library."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def changed(content: bytes, path: str, value: Any) -> bytes:
    """Canonical JSON with one value replaced, added, or (for `...`) taken away."""
    tree = json.loads(content)
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place = tree
    for step in steps:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return plain(tree)


def test_a_release_manifest_is_canonical_json() -> None:
    """Keys are sorted, nothing is spelled out that is not there, and it comes out as it went in."""
    content = encode(RELEASE)
    assert content == plain(json.loads(content))
    assert b"hooks" not in content
    assert manifest.release(content) == RELEASE


def test_a_bundle_manifest_is_canonical_json() -> None:
    """The bundle's id is the digest of the one form that its manifest has."""
    content = encode(BUNDLE)
    assert content == plain(json.loads(content))
    assert manifest.bundle(content) == BUNDLE


def test_hooks_are_part_of_a_release() -> None:
    """Hooks with every kind of character come out as they went in."""
    sealed = hooks.convert({"after-switch": [{"run": ["bin/check", 'ä "x"\n\x01\x7f']}]})
    release = Release(**{**{name: getattr(RELEASE, name) for name in RELEASE.__struct_fields__}, "hooks": sealed})
    content = encode(release)
    assert content == plain(json.loads(content))
    assert manifest.release(content) == release


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("format", 2),
        ("format", True),
        ("format", ...),
        ("type", "bundle"),
        ("name", "Shop"),
        ("name", ".."),
        ("version", "1/0"),
        ("version", ""),
        ("artifacts", []),
        ("artifacts.0.name", "web"),
        ("artifacts.0.name", "zzz"),
        ("artifacts.0.name", "a/b"),
        ("artifacts.0.kind", "cluster"),
        ("artifacts.0.digest", "x"),
        ("artifacts.0.files", -1),
        ("artifacts.0.bytes", -1),
        ("artifacts.0.bytes", 1.5),
        ("artifacts.0.tree.sha256", DIGEST.upper()),
        ("artifacts.0.tree.length", 0),
        ("artifacts.0.tree.length", (256 << 20) + 1),
        ("artifacts.0.tree.size", 0),
        ("artifacts.0.tree.size", (4 << 30) + 1),
        ("artifacts.0.tree.more", 1),
        ("artifacts.0.more", 1),
        ("more", 1),
        ("hooks", {}),
        ("hooks", {"after-switch": [], "before-switch": []}),
        ("hooks", {"after-switch": [{"run": ["/bin/true"]}], "before-switch": []}),
        ("hooks", {"after-switch": [{"run": [], "timeout": 60}], "before-switch": []}),
        ("hooks", {"after-switch": [{"run": [""], "timeout": 60}], "before-switch": []}),
        ("hooks", {"after-switch": [{"run": ["a\0"], "timeout": 60}], "before-switch": []}),
        ("hooks", {"after-switch": [{"run": ["a"], "timeout": 0}], "before-switch": []}),
    ],
)
def test_a_release_manifest_that_breaks_a_rule_is_refused(path: str, value: object) -> None:
    """A field that is missing, unknown, or out of its range is refused, though the digest were signed."""
    with pytest.raises(MalformedError):
        manifest.release(changed(encode(RELEASE), path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("format", 0),
        ("type", "release"),
        ("root_version", 0),
        ("parts", []),
        ("parts", [json.loads(encode(PART))] * 2),
        ("parts.0.release.name", "a b"),
        ("parts.0.release.version", "-"),
        ("parts.0.release.sha256", ""),
        ("parts.0.release.length", (16 << 20) + 1),
        ("parts.0.index.length", -1),
        ("parts.0.index.size", 1 << 63),
        ("parts.0.packs.0.length", 0),
        ("parts.0.packs.0.length", (1 << 30) + 1),
        ("parts.0.packs.0.sha256", "../" * 21 + "a"),
        ("parts.0.packs.0.size", 1),
        ("parts.0.packs", ...),
        ("more", None),
    ],
)
def test_a_bundle_manifest_that_breaks_a_rule_is_refused(path: str, value: object) -> None:
    """Attack 77: lengths are bounded and digests are digests, and nothing unknown stands beside them."""
    with pytest.raises(MalformedError):
        manifest.bundle(changed(encode(BUNDLE), path, value))


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content + b"\n",
        lambda content: b" " + content,
        lambda content: b"\xef\xbb\xbf" + content,
        lambda content: content.replace(b'"format":1', b'"format":1,"format":1'),
        lambda content: content.replace(b'"shop"', b'"\\u0073hop"'),
        lambda content: content.replace(b'"shop"', b'"sh\xffp"'),
        lambda content: content.replace(b'"format":1', b'"format":1.0'),
        lambda content: content.replace(b'"format":1', b'"format":1e0'),
        lambda content: content[:-1],
        lambda content: content + content,
        lambda content: b"[" * 100_000,
        lambda content: b"",
    ],
    ids=[
        "newline",
        "space",
        "bom",
        "doubled",
        "escape",
        "utf8",
        "float",
        "exponent",
        "cut",
        "twice",
        "nested",
        "empty",
    ],
)
def test_a_manifest_has_one_form(change: object) -> None:
    """Attack 36, 38, 39 and 42: whatever is written otherwise is refused, before two readers can differ."""
    assert callable(change)
    with pytest.raises(MalformedError):
        manifest.release(change(encode(RELEASE)))


def test_a_newer_format_is_named() -> None:
    """What an old program does not know is told apart from what is broken."""
    content = changed(changed(encode(RELEASE), "format", 9), "more", {})
    with pytest.raises(MalformedError, match="format 9") as caught:
        manifest.release(content)
    assert caught.value.hint == "install a newer sealift here"


def test_target_paths_are_those_of_the_format() -> None:
    """Where TUF metadata lists manifests."""
    assert manifest.target_of_release("shop", "1.0.0") == "releases/shop/1.0.0.json"
    assert manifest.target_of_bundle(DIGEST) == f"bundles/{DIGEST}.json"


def test_the_trees_of_a_release_are_bounded_together() -> None:
    """Many artifacts, each with a tree below the limit, cannot ask for more than one tree may."""
    half = ListingBlob(sha256=DIGEST, length=10, size=(CONTENT_MAX >> 1) + 1)
    two = tuple(
        Artifact(name=name, kind="files", digest=DIGEST, tree=half, files=1, bytes=2) for name in ("api", "web")
    )
    with pytest.raises(MalformedError, match="together"):
        manifest.release(encode(Release(format=1, type="release", name="shop", version="1.0.0", artifacts=two)))
