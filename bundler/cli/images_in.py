"""`sealift-bundle images-in`."""

from __future__ import annotations

import re
from pathlib import Path

import click

from sealift.cli import command, count, emit, json_option, safe, table

LACKING = 3
"""The exit code where the release lacks an image: as where a source could not be collected."""


@command(
    example="""
    sealift-bundle images-in deploy/ charts/shop-1.2.3.tgz
    sealift-bundle images-in deploy/ --spec sealift.yaml
    helm template charts/shop > rendered.yaml && sealift-bundle images-in rendered.yaml --spec sealift.yaml
    """
)
@click.argument("places", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE|FOLDER|CHART...")
@click.option(
    "--spec",
    type=click.Path(path_type=Path),
    metavar="SPEC",
    help="The spec of the release that should hold them; the exit code is 3 where it lacks one.",
)
@json_option
def images_in(places: tuple[Path, ...], spec: Path | None, as_json: bool) -> None:
    """Find the images that Kubernetes manifests and Helm charts name, and what a release lacks of them.

    Nothing is rendered and nobody is asked: what a template computes is shown as unknown. Give the output of
    `helm template` to know it.
    """
    from ..images.mentions import mentions
    from ..lacking import held, holder
    from ..sealing import lock_of
    from ..spec import load

    loaded = load(spec) if spec else None
    images = held(loaded, lock_of(loaded)) if loaded else []
    rows, listed, lacking, unknown = [], [], set(), 0
    for mention in mentions(list(places)):
        name = mention.name.text if mention.name else None
        artifact = holder(mention, images)
        if name is None:
            state, unknown = "unknown", unknown + 1
        elif loaded is None:
            state = ""
        elif artifact is None:
            state = "missing"
            lacking.add(name)
        else:
            state = artifact
        rows.append((name or mention.text, state, mention.where))
        listed.append({"image": name, "text": mention.text, "where": mention.where, "artifact": artifact})
    document = {"images": listed, "missing": sorted(lacking) if loaded else None, "unknown": unknown}
    said = [table(rows), ""] if rows else []
    named = len({each["image"] for each in listed if each["image"]})
    said.append(f"{count(named, 'image')} named" + (f", {unknown} computed by templates" if unknown else ""))
    if lacking:
        said += ["", "the release lacks these: add them to the spec", "", *(_snippet(name) for name in sorted(lacking))]
    emit(document, as_json, "\n".join(said))
    if lacking:
        click.get_current_context().exit(LACKING)


def _snippet(name: str) -> str:
    """The lines of a spec that hold an image."""
    last = re.sub(r"[@:].*", "", name.rpartition("/")[2])
    artifact = re.sub(r"[^a-z0-9._-]+", "-", last.lower()).strip("-._") or "image"
    return f"  {artifact}:\n    source: oci\n    image: {safe(name)}"
