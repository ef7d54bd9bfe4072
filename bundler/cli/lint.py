"""`sealift-bundle lint`."""

from __future__ import annotations

from pathlib import Path

import click

from sealift.cli import command, count, emit, json_option, safe


@command(
    example="""
    sealift-bundle lint sealift.yaml
    sealift-bundle lint --schema > sealift.schema.json
    """
)
@click.argument("file", type=click.Path(path_type=Path), default="sealift.yaml", metavar="[SPEC]")
@click.option("--schema", "show_schema", is_flag=True, help="Print the JSON Schema of specs, for editors.")
@json_option
def lint(file: Path, show_schema: bool, as_json: bool) -> None:
    """Check a spec and show every problem in it, with file, line, column and path.

    The sources are asked as well: whether a folder is there, a pattern has a meaning, a digest is known. Nothing is
    fetched, and no content is read.
    """
    from ..spec import load, schema

    if show_schema:
        emit(schema(), True, "")
        return
    spec = load(file, lint=True)
    document = {
        "release": spec.name,
        "version": spec.version,
        "artifacts": [{"name": wanted.name, "source": wanted.source} for wanted in spec.artifacts],
    }
    held = ", ".join(f"{wanted.name} ({wanted.source})" for wanted in spec.artifacts)
    emit(
        document,
        as_json,
        f"{safe(str(file))} is valid: {spec.name}@{spec.version} with {count(len(spec.artifacts), 'artifact')}: {held}",
    )
