"""`sealift-bundle init`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from sealift.cli import command, emit, json_option, safe
from sealift.durable import storing
from sealift.errors import UsageError

_SPEC = """\
# What crosses the gap. Check it with: sealift-bundle lint {file}
# Every key is described in docs/reference/spec.md; the JSON Schema is printed by sealift-bundle lint --schema.
release: {name}
version: {version}
artifacts:
  {artifact}:
    source: path
    path: {path}
    # exclude: ["**/*.map"]
"""


@command(
    example="""
    sealift-bundle init --release shop --path dist
    sealift-bundle lint sealift.yaml
    """
)
@click.argument("file", type=click.Path(path_type=Path), default="sealift.yaml", metavar="[FILE]")
@click.option("--release", "name", default="my-release", show_default=True, help="The release's name.")
@click.option("--version", default="1.0.0", show_default=True, help="The release's version.")
@click.option("--path", default="dist", show_default=True, help="The folder to seal, relative to the spec.")
@json_option
def init(file: Path, name: str, version: str, path: str, as_json: bool) -> None:
    """Write a first spec to start from. Nothing is overwritten."""
    import msgspec

    from sealift.names import check_spaced, check_version

    check_spaced(name)
    check_version(version)
    quoted = msgspec.json.encode(version).decode()
    content = _SPEC.format(
        file=file, name=name, version=quoted, artifact="files", path=msgspec.json.encode(path).decode()
    )
    with storing(file):
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            raise UsageError(f"{file} is there already", hint="name another file, or edit that one") from None
        with open(descriptor, "w", encoding="utf-8") as spec:
            spec.write(content)
    emit({"spec": str(file)}, as_json, f"wrote {safe(str(file))}; now check it: sealift-bundle lint {safe(str(file))}")
