"""The provenance file of a chart: which key signed for which content of it.

It is a document with an OpenPGP signature around it: the chart's own `Chart.yaml`, then the digests of its files. It is
verified before it is parsed, and what is parsed is what the verifier says was signed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sealift.errors import IntegrityError, MalformedError
from sealift.names import visible
from sealift.reading import bounded

from ..openpgp import check_clear, keyring
from ..scratch import scratch

PROVENANCE_MAX = 1 << 20
"""Bytes of a provenance file at most."""
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def signers(document: Path, keys: list[Path], *, file: str, sha256: str, chart: str, version: str) -> tuple[str, ...]:
    """The fingerprints of the keys that signed for a chart.

    Args:
        document: the provenance file.
        keys: the files of public keys that count.
        file: the chart's file name.
        sha256: the digest of its content.
        chart: its name.
        version: its version.

    Raises:
        TrustError: no key of these signed it.
        IntegrityError: what was signed is another content.
        MalformedError: what was signed is no provenance of a chart, or of another one.
        UsageError: the keys cannot be read.
        SourceError: there is no `gpgv`.
    """
    what = f"the provenance of {visible(file)}"
    with scratch() as folder:
        signed = folder / "signed"
        found = check_clear(document, keyring(keys, folder), signed, what)
        content = bounded(signed, PROVENANCE_MAX) or b""
    if len(content) > PROVENANCE_MAX:
        raise MalformedError(f"{what} is longer than {PROVENANCE_MAX} bytes")
    metadata, files = _parts(content, what)
    if (metadata.get("name"), str(metadata.get("version"))) != (chart, version):
        raise MalformedError(f"{what} was signed for another chart or version")
    said = files.get(file)
    if said != f"sha256:{sha256}":
        raise IntegrityError(
            f"{visible(file)} is not what was signed: expected {visible(str(said))[:23]}…, found sha256:{sha256[:16]}…",
            hint="the repository changed the chart under the same name, or serves another one",
        )
    return found


def _parts(content: bytes, what: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The chart's metadata and the digests of its files."""
    head, marker, rest = content.replace(b"\r\n", b"\n").partition(b"\n...\n")
    try:
        metadata = yaml.load(head, Loader=_LOADER)  # noqa: S506 - it is the safe one
        files = yaml.load(rest, Loader=_LOADER)  # noqa: S506 - it is the safe one
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"{what} is no YAML") from error
    listed = files.get("files") if isinstance(files, dict) else None
    if not marker or not isinstance(metadata, dict) or not isinstance(listed, dict):
        raise MalformedError(f"{what} does not name a chart and the digests of its files")
    return metadata, listed
