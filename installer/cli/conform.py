"""`sealift-install conform`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from sealift.cli import command, emit, json_option, safe
from sealift.errors import DeployError, UsageError


@command(
    example="""
    sealift-install conform /usr/local/bin/publish /srv/trial
    sealift-install conform --json -- /usr/local/bin/publish --place /srv/trial
    """
)
@click.argument("program")
@click.argument("arguments", nargs=-1)
@click.option(
    "--timeout",
    type=click.IntRange(1, 86_400),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="For one operation, before the program is killed.",
)
@json_option
def conform(program: str, arguments: tuple[str, ...], timeout: int, as_json: bool) -> int:
    """Try whether a program of yours can be a target of the kind command.

    It is run as in a deployment, with two small releases in a temporary folder: point it at a place for trials.
    """
    from .. import conforming

    if not program.startswith("/"):
        raise UsageError(f"{safe(program)} is no absolute path", hint="write the whole path, as in an environment")
    with tempfile.TemporaryDirectory(prefix="sealift-conform-") as folder:
        found = list(conforming.conform([program, *arguments], Path(folder), timeout=timeout))
    wrong = [demand for demand in found if demand.problem]
    document = {
        "conforms": not wrong,
        "demands": [{"name": demand.name, "problem": demand.problem} for demand in found],
    }
    lines = [f"{'no ' if demand.problem else 'yes'} {demand.name}" for demand in found]
    lines += [f"{demand.name}: {safe(demand.problem or '')}" for demand in wrong]
    lines.append("the program does not conform" if wrong else "the program conforms")
    emit(document, as_json, "\n".join(lines))
    return DeployError.exit_code if wrong else 0
