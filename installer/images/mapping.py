"""Mapping: what an image is called at the site's registry, by rules, and the files that tell others of it.

The first rule that fits decides. In `from` a `*` at the end stands for all that follows, and in `to` for the same.
Without a rule that fits, a repository keeps its path and loses its registry. All of it is pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sealift.errors import UsageError
from sealift.names import visible
from sealift.oci.names import DOCKER, DOCKER_HOST, Name, is_repository


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule."""

    source: str
    """`registry.example.com/shop/*`, or one repository."""
    to: str
    """`mirror/*`, or one repository."""


def repository_of(name: Name, rules: Sequence[Rule]) -> str:
    """The repository at the site's registry for the one that `name` is in.

    Raises:
        UsageError: a rule makes a name of it that no repository may bear.
    """
    found = name.repository
    for rule in rules:
        stem, star, _ = rule.source.partition("*")
        if name.place == rule.source or (star and name.place.startswith(stem)):
            found = rule.to.replace("*", name.place[len(stem) :]) if star else rule.to
            break
    if not is_repository(found):
        raise UsageError(
            f"{name.place} would be called {visible(found)[:120]!r} at the site, which is no name of a repository",
            hint="mend `map` in the environment",
        )
    return found


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """An image and its place at the site's registry."""

    name: Name
    """Where it is from; with its tag, where it has one."""
    digest: str
    repository: str


def image_map(registry: str, mapped: Iterable[Mapped]) -> bytes:
    """The image map: for each image what it was called and what it is called now, for whoever rewrites manifests."""
    listed = [
        {
            "name": each.name.text,
            "digest": each.digest,
            "site": f"{registry}/{each.repository}{':' + each.name.tag if each.name.tag else ''}",
            "pinned": f"{registry}/{each.repository}@{each.digest}",
        }
        for each in mapped
    ]
    return json.dumps({"format": 1, "registry": registry, "images": listed}, indent=2).encode() + b"\n"


def containers_conf(registry: str, mapped: Iterable[Mapped], *, http: bool) -> bytes:
    """The mirrors for podman and CRI-O, as a file of `registries.conf.d`: one for each repository."""
    places = {each.name.place: each.repository for each in mapped}
    lines = ["# Written by sealift-install: the images of this release are at the site's registry."]
    for place, repository in sorted(places.items()):
        lines += ["", "[[registry]]", f'prefix = "{place}"', f'location = "{place}"', "", "[[registry.mirror]]"]
        lines += [f'location = "{registry}/{repository}"'] + (["insecure = true"] if http else [])
    return "\n".join(lines).encode() + b"\n"


def containerd_hosts(registry: str, mapped: Iterable[Mapped], *, http: bool) -> dict[str, bytes]:
    """The mirrors for containerd: the content of `certs.d/<registry>/hosts.toml`, by the registry that is mirrored.

    containerd can put something before a repository's path and change nothing of it. A registry whose repositories
    are mapped otherwise has no file: their manifests are to be rewritten by the image map.
    """
    prefixes: dict[str, set[str | None]] = {}
    for each in mapped:
        prefixes.setdefault(each.name.registry, set()).add(_prefix(each))
    found = {}
    for host, ways in sorted(prefixes.items()):
        if len(ways) != 1 or (prefix := next(iter(ways))) is None:
            continue
        server = f"https://{DOCKER_HOST if host == DOCKER else host}"
        base = f"{'http' if http else 'https'}://{registry}{'/v2/' + prefix if prefix else ''}"
        lines = [
            "# Written by sealift-install: the images of this release are at the site's registry.",
            f'server = "{server}"',
            "",
            f'[host."{base}"]',
            '  capabilities = ["pull", "resolve"]',
            *(["  override_path = true"] if prefix else []),
        ]
        found[host] = "\n".join(lines).encode() + b"\n"
    return found


def _prefix(each: Mapped) -> str | None:
    """What stands before the repository's own path at the site; None where its path is another."""
    if each.repository == each.name.repository:
        return ""
    head = each.repository.removesuffix(f"/{each.name.repository}")
    return head if head != each.repository else None
