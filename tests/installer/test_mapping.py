"""Where images go at a site's registry, what others are told of it, and what tags are due."""

from __future__ import annotations

import tomllib

import pytest

from installer.folders.switching import Switch
from installer.images.mapping import Mapped, Rule, containerd_hosts, containers_conf, repository_of
from installer.images.tags import Tags, due
from sealift.errors import UsageError
from sealift.oci import names

DIGEST, OTHER = "sha256:" + 64 * "a", "sha256:" + 64 * "b"


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("registry.example.com/shop/web:1", "mirror/web"),
        ("registry.example.com/shop/deep/er:1", "mirror/deep/er"),
        ("registry.example.com/one:1", "single"),
        ("registry.example.com/one/more:1", "rest/one/more"),
        ("debian:12", "hub/library/debian"),
        ("other.example.com/x/y:1", "x/y"),
    ],
)
def test_the_first_rule_that_fits(name: str, repository: str) -> None:
    """A star stands for what follows; without a rule the path stays."""
    rules = [
        Rule(source="registry.example.com/shop/*", to="mirror/*"),
        Rule(source="registry.example.com/one", to="single"),
        Rule(source="registry.example.com/*", to="rest/*"),
        Rule(source="docker.io/*", to="hub/*"),
    ]
    assert repository_of(names.parse(name), rules) == repository


@pytest.mark.parametrize("to", ["UPPER/*", "/*", "a//*", "*/", "../*"])
def test_a_rule_that_makes_no_name(to: str) -> None:
    """52: it is refused, and the name is shown."""
    with pytest.raises(UsageError, match="no name of a repository"):
        repository_of(names.parse("registry.example.com/web:1"), [Rule(source="registry.example.com/*", to=to)])


def _mapped(name: str, repository: str) -> Mapped:
    return Mapped(name=names.parse(name), digest=DIGEST, repository=repository)


def test_containerd_is_told_what_it_can_do() -> None:
    """Nothing or something before the path; a registry that is mapped otherwise is left out."""
    told = containerd_hosts(
        "reg.site:5000",
        [
            _mapped("a.example.com/x:1", "x"),
            _mapped("b.example.com/x:1", "mirror/b/x"),
            _mapped("b.example.com/y/z:1", "mirror/b/y/z"),
            _mapped("c.example.com/x:1", "elsewhere"),
            _mapped("d.example.com/x:1", "x"),
            _mapped("d.example.com/y:1", "mirror/y"),
            _mapped("debian:12", "library/debian"),
        ],
        http=False,
    )
    assert set(told) == {"a.example.com", "b.example.com", "docker.io"}
    plain, below = (tomllib.loads(told[host].decode()) for host in ("a.example.com", "b.example.com"))
    assert plain["server"] == "https://a.example.com"
    assert plain["host"] == {"https://reg.site:5000": {"capabilities": ["pull", "resolve"]}}
    expected = {"capabilities": ["pull", "resolve"], "override_path": True}
    assert below["host"] == {"https://reg.site:5000/v2/mirror/b": expected}
    assert tomllib.loads(told["docker.io"].decode())["server"] == "https://registry-1.docker.io"


def test_podman_is_told_each_repository() -> None:
    """Once, whatever tags it has."""
    mapped = [_mapped("a.example.com/x:1", "m"), _mapped("a.example.com/x:2", "m"), _mapped("a.example.com/y:1", "n")]
    tables = tomllib.loads(containers_conf("reg.site", mapped, http=True).decode())["registry"]
    assert [(each["prefix"], each["mirror"]) for each in tables] == [
        ("a.example.com/x", [{"location": "reg.site/m", "insecure": True}]),
        ("a.example.com/y", [{"location": "reg.site/n", "insecure": True}]),
    ]


def _tags(base: str | None, after: dict[str, str], before: dict[str, str | None]) -> Tags:
    return Tags(format=1, base=base, after=after, before=before)


def test_tags_of_an_upgrade_and_of_the_way_back() -> None:
    """Back at the release that was before, a tag that only the newer one has is what it was before, if it was."""
    old = _tags(None, {"x:stable": DIGEST}, {"x:stable": None})
    new = _tags("1", {"x:stable": OTHER, "x:2": OTHER, "x:3": OTHER}, {"x:stable": DIGEST, "x:2": None, "x:3": DIGEST})
    assert due(new, old, identity="2") == {"x:stable": OTHER, "x:2": OTHER, "x:3": OTHER}
    assert due(old, new, identity="1") == {"x:stable": DIGEST, "x:3": DIGEST}
    assert due(None, old, identity=None) == {"x:stable": None}


@pytest.mark.parametrize(
    ("switch", "identity", "left"),
    [
        (Switch(leaving="1", to="2"), "1", "2"),
        (Switch(leaving="2", to="1"), "1", "2"),
        (Switch(leaving=None, to="1"), None, "1"),
        (Switch(leaving="1", to=None), None, "1"),
    ],
)
def test_which_release_a_broken_switch_leaves(switch: Switch, identity: str | None, left: str | None) -> None:
    """The tags that may stand are those of where it led, unless it is led there again."""
    assert switch.left(identity) == left
