"""The page about late bundles can be followed: three programs, half a year apart."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from registries import need

from tests.docs.conftest import ROOT, Shell

BEGIN = """
mkdir files media
echo shop > files/index.html
printf 'release: shop\\nversion: "1.0.0"\\nartifacts:\\n  web:\\n    source: path\\n    path: files\\n' > shop.yaml
sealift-keys init --depot depot
sealift-keys key w.pem --new --out w.json
sealift-keys rotate waiver --depot depot --add w.json --key depot/keys/root-1.pem
sealift-bundle export shop.yaml --depot depot --out shop-1.0.0.sealift
cp shop-1.0.0.sealift media/
sealift-install enroll --site site --name plant-7 --root depot/metadata/1.root.json \\
  --fingerprint "$(sha256sum depot/metadata/1.root.json | cut -d ' ' -f 1)"
"""


@pytest.mark.slow
def test_a_late_bundle_is_admitted_as_the_page_says(tmp_path: Path, shell: Shell) -> None:
    """Attack 20: 190 days later it is refused, waived, admitted by that waiver, and the ledger says whose and why."""
    need("faketime")
    assert (began := shell(BEGIN, tmp_path)).returncode == 0, began.stderr
    text = (ROOT / "docs/how-to/late-bundle.md").read_text()
    lines = [line.removeprefix("$ ").replace("/media/usb/", "media/") for line in re.findall(r"^\$ .*$", text, re.M)]
    waive, admit, history = (f"faketime -f +190d {line}" for line in lines)
    refused = shell(admit.split(" --waiver")[0], tmp_path)
    assert refused.returncode == 6
    assert "the bundle's timestamp expired on" in refused.stderr
    for line in (waive, "cp depot/waiver-*.json media/", admit):
        ended = shell(line, tmp_path)
        assert ended.returncode == 0, ended.stdout + ended.stderr
    (event,) = json.loads(shell(f"{history} --json", tmp_path).stdout)["entries"]
    keyid = json.loads((tmp_path / "w.json").read_text())["keyid"]
    assert event["detail"]["reason"] == "the ship was held back"
    assert event["detail"]["signers"] == [keyid]
    assert shell("faketime -f +190d sealift-install list --site site --json", tmp_path).stdout.count('"1.0.0"') == 1
