"""`sealift-bundle inspect`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealift.cli import command, count, emit, json_option, safe, size, table, utc_now

from .inflated import inside_document, inside_lines
from .options import anchor_options

if TYPE_CHECKING:
    from sealift.provenance import Statement
    from sealift.tree import Entry

    from ..archives.inflations import Inflations
    from ..depots.holding import Holding


@command(
    example="""
    sealift-bundle inspect shop-1.0.0.sealift
    sealift-bundle inspect shop@1.0.0 --depot depot --files --provenance
    """
)
@click.argument("what", metavar="BUNDLE|NAME@VERSION")
@anchor_options
@click.option("--files", "with_files", is_flag=True, help="List every file.")
@click.option("--provenance", "with_provenance", is_flag=True, help="Show where each artifact came from.")
@json_option
def inspect(
    what: str,
    depot: Path | None,
    root: Path | None,
    fingerprint: str | None,
    with_files: bool,
    with_provenance: bool,
    as_json: bool,
) -> None:
    """Show what a bundle or a published release holds.

    Signatures are checked before anything is shown. Where neither --root, --fingerprint nor --depot says
    whose they must be, they are checked against the root inside the bundle, and its fingerprint is shown.
    """
    from sealift.digest import sha256

    from ..depots.holding import Anchor, holdings, in_bundle, open_bundle

    shown = _Shown(files=with_files, provenance=with_provenance)
    anchor, now = Anchor(root=root, fingerprint=fingerprint, depot=depot), utc_now()
    if not os.path.exists(what):
        with holdings(what, anchor, now) as held:
            emit(
                {"releases": [_document(each, shown) for each in held]},
                as_json,
                "\n\n".join(_text(each, shown) for each in held),
            )
        return
    with open_bundle(Path(what), anchor, now) as (bundle, opened):
        held = in_bundle(bundle, opened)
        first = sha256(opened.refreshed.trust.roots[0])
        document = {
            "bundle": what,
            "id": opened.identity,
            "size": bundle.size,
            "root_fingerprint": first,
            "root_version": opened.refreshed.root_version,
            "timestamp_version": opened.refreshed.timestamp_version,
            "expires": f"{opened.refreshed.expires:%Y-%m-%dT%H:%M:%SZ}",
            "purpose": opened.refreshed.purpose,
            "audience": list(opened.manifest.audience),
            "anchored": anchor.given,
            "releases": [_document(each, shown) for each in held],
        }
        whose = "the root that you named" if anchor.given else "the root inside the bundle: compare its fingerprint"
        head = [
            f"bundle {safe(what)}: {size(bundle.size)}, id {opened.identity[:16]}…",
            f"signed under root {opened.refreshed.root_version}, timestamp {opened.refreshed.timestamp_version}, "
            f"to be admitted until {opened.refreshed.expires:%Y-%m-%d}",
            f"signatures checked against {whose}",
            *([f"for the sites {', '.join(opened.manifest.audience)} alone"] if opened.manifest.audience else []),
            *(["signed under a root for development"] if opened.refreshed.purpose == "development" else []),
            f"root fingerprint {first}",
            "",
        ]
        emit(document, as_json, "\n".join(head) + "\n\n".join(_text(each, shown) for each in held))


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """What is shown beside the artifacts."""

    files: bool
    provenance: bool


def _document(held: Holding, shown: _Shown) -> dict[str, Any]:
    from sealift import provenance

    statement = _statement(held) if shown.provenance else None
    artifacts = []
    for artifact in held.release.artifacts:
        said: dict[str, Any] = {
            "name": artifact.name,
            "kind": artifact.kind,
            "digest": artifact.digest,
            "files": artifact.files,
            "bytes": artifact.bytes,
        }
        if shown.files:
            said["entries"] = [_entry(entry) for entry in held.entries(artifact)]
        artifacts.append(said)
    return {
        "name": held.release.name,
        "version": held.release.version,
        "manifest": held.part.release.sha256,
        "published": held.published,
        "artifacts": artifacts,
        **_difference(held)[0],
        "packs": [{"sha256": pack.sha256, "length": pack.length} for pack in held.part.packs],
        "hooks": {
            "before-switch": [list(hook.run) for hook in held.release.hooks.before_switch],
            "after-switch": [list(hook.run) for hook in held.release.hooks.after_switch],
        },
        **_values(held),
        **({"provenance": statement and provenance.document(statement)} if shown.provenance else {}),
    }


def _values(held: Holding) -> dict[str, Any]:
    """What a site fills in; nothing where the release has no templates."""
    values = held.release.values
    return {"values": {"schema": values.schema, "templates": list(values.templates)}} if values else {}


def _statement(held: Holding) -> Statement | None:
    from sealift import provenance

    content = held.provenance()
    return None if content is None else provenance.parse(content, f"the provenance of {held.release.label}")


def _difference(held: Holding) -> tuple[dict[str, Any], Inflations]:
    """What a difference leaves out and refers to, and what of it travels inflated; nothing of a whole release."""
    from sealift.difference import Inflated
    from sealift.rebuilder import Rebuilder
    from sealift.tokens.writing import Tokens

    from ..archives.inflations import Inflations

    inside = Inflations()
    if not held.part.base:
        return {}, inside
    fresh = referring = 0
    references = [0] * len(held.part.base)
    for each in held.brought():
        if isinstance(each, Inflated):
            size, runs = each.recipe.size, each.recipe.source
            members = [(each.ways[piece[2]], piece[1]) for piece in each.recipe.pieces if len(piece) == 3]
            rebuilders = [way.name for way in {way for way, _ in members} if isinstance(way, Rebuilder)]
            tokens = sum(deflated for way, deflated in members if isinstance(way, Tokens))
            carried = sum(patch.length for patch in each.patches)
            inside = inside.plus(size, each.recipe.deflated, carried, rebuilders, tokens)
        else:
            size, runs = each.size, each.reference
        fresh += size
        referring += size if runs else 0
        for base, _, number in runs:
            if 0 <= base < len(references):
                references[base] += number
    document = {
        "difference": {
            "base": [
                {"name": base.name, "version": base.version, "manifest": base.sha256, "chunks_referred_to": number}
                for base, number in zip(held.part.base, references, strict=True)
            ],
            "left_out_bytes": max(0, sum(artifact.bytes for artifact in held.release.artifacts) - fresh),
            "new_bytes": fresh,
            "referring_bytes": referring,
            **inside_document(inside),
        }
    }
    return document, inside


def _entry(entry: Entry) -> dict[str, object]:
    said: dict[str, object] = {"path": entry.path, "type": entry.type}
    if entry.type == "file":
        said |= {"mode": entry.mode, "size": entry.size}
    elif entry.type == "link":
        said["target"] = entry.target
    return said


def _text(held: Holding, shown: _Shown) -> str:
    artifacts = [
        (
            artifact.name,
            artifact.kind,
            f"{artifact.files:,}",
            size(artifact.bytes),
            f"sha256:{artifact.digest[:16]}…",
        )
        for artifact in held.release.artifacts
    ]
    packed = sum(pack.length for pack in held.part.packs)
    lines = [
        f"release {held.release.label}, published {held.published}",
        f"content packed to {size(packed)} in {count(len(held.part.packs), 'pack')}",
        table(artifacts, header=("artifact", "kind", "files", "size", "digest"), right=(2, 3)),
    ]
    document, inside = _difference(held)
    if left := document.get("difference"):
        bases = [
            f"{base['name']}@{base['version']} ({count(base['chunks_referred_to'], 'reference')})"
            for base in left["base"]
        ]
        lines += [
            f"a difference, for sites that hold {', '.join(bases)}",
            f"leaves out {size(left['left_out_bytes'])} of {size(left['left_out_bytes'] + left['new_bytes'])}; "
            f"{size(left['referring_bytes'])} of the new content is compressed against what the site holds",
        ]
        lines += inside_lines(inside)
    for moment, hooks in (("before", held.release.hooks.before_switch), ("after", held.release.hooks.after_switch)):
        lines += [f"hook {moment} the switch: {safe(' '.join(hook.run))}" for hook in hooks]
    if values := held.release.values:
        lines.append(f"filled at the site: {count(len(values.templates), 'template')}, by {safe(values.schema)}")
        lines += [f"  {safe(path)}" for path in values.templates if shown.files]
    if shown.files:
        for artifact in held.release.artifacts:
            lines += ["", f"{artifact.name}:", table([_row(entry) for entry in held.entries(artifact)], right=(1,))]
    if shown.provenance:
        from sealift import provenance

        lines += ["", provenance.text(_statement(held))]
    return "\n".join(lines)


def _row(entry: Entry) -> tuple[str, str, str]:
    if entry.type == "file":
        return entry.mode, size(entry.size), safe(entry.path)
    if entry.type == "link":
        return "link", "", safe(f"{entry.path} -> {entry.target}")
    return "dir", "", safe(entry.path + "/")
