"""Differences and receipts as a person calls for them, on both sides of the gap."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from archives import Packed, edited, prose, zipped
from calls import Call
from worlds import Connected, program

from bundler.cli import PROGRAM as BUNDLE
from bundler.depots.depot import Depot
from installer.cli import PROGRAM as INSTALL
from keys.ceremony import init

OLD = {"index.html": b"<h1>shop</h1>\n" * 40, "noise": os.urandom(200_000)}
NEW = {"index.html": b"<h1>shop 2</h1>\n" * 40, "noise": OLD["noise"][:100_000] + b"new" + OLD["noise"][100_000:]}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Connected:
    """A depot of today without passphrases, with specs of two versions, in the current folder."""
    monkeypatch.chdir(tmp_path)
    made = init(
        tmp_path / "depot", root_keys=1, threshold=1, passphrase=None, now=datetime.now(UTC), unsafe_unencrypted=True
    )
    connected = Connected(root=tmp_path, depot=Depot(tmp_path / "depot"), fingerprint=made.fingerprint)
    connected.spec("1.0.0", OLD)
    connected.spec("1.1.0", NEW)
    return connected


@pytest.fixture
def bundle(here: Connected, capsys: pytest.CaptureFixture[str]) -> Call:
    """Calls `sealift-bundle`."""
    return Call(BUNDLE, capsys)


@pytest.fixture
def install(here: Connected, capsys: pytest.CaptureFixture[str]) -> Call:
    """Calls `sealift-install`."""
    return Call(INSTALL, capsys)


def test_a_week_by_receipt(here: Connected, bundle: Call, install: Call) -> None:
    """Enrol, import, receipt; make the site known; export for it; import: the way of the how-to, step by step."""
    export = ("--depot", "depot", "--unsafe-no-passphrase")
    assert bundle("export", "shop-1.0.0.yaml", *export, "--out", "one.sealift") == 0, bundle.err
    root = "depot/metadata/1.root.json"
    assert install("enroll", "--site", "plant-7", "--root", root, "--fingerprint", here.fingerprint) == 0
    assert "its own key, which signs its receipts" in install.out
    assert install("import", "--site", "plant-7", "one.sealift") == 0
    assert install("receipt", "--site", "plant-7", "--out", "p.receipt", "--json") == 0
    fingerprint = json.loads(install.out)["fingerprint"]
    assert bundle("export", "shop-1.1.0.yaml", *export, "--for", "p.receipt") == 6
    assert "does not know the key of plant-7" in bundle.err
    assert bundle("site", "p.receipt", "--depot", "depot") == 2
    assert bundle("site", "p.receipt", "--fingerprint", fingerprint, "--depot", "depot") == 0
    assert bundle("export", "shop-1.1.0.yaml", *export, "--for", "p.receipt", "--out", "two.sealift", "--json") == 0
    said = json.loads(bundle.out)["releases"][0]["difference"]
    assert said["base"] == ["shop@1.0.0"]
    assert said["size"] < 4000
    assert bundle("inspect", "two.sealift") == 0
    assert "a difference, for sites that hold shop@1.0.0" in bundle.out
    assert bundle("inspect", "two.sealift", "--files") == 2
    assert bundle("verify", "two.sealift", "--depot", "depot") == 0
    assert bundle("site", "--depot", "depot") == 0
    assert "shop@1.1.0" in bundle.out
    assert "since shop@1.0.0" in bundle.out
    assert install("import", "--site", "plant-7", "two.sealift") == 0, install.err
    assert install("list", "--site", "plant-7") == 0
    assert "1.1.0" in install.out


def test_a_fast_difference_is_larger_and_gives_the_same_release(here: Connected, bundle: Call, install: Call) -> None:
    """`--fast` subtracts no programs and looks into archives none the less, and `--level` makes what is smaller yet."""
    wheels = [[Packed(name=f"{name}.py", content=prose(name, 60_000)) for name in range(2)] for _ in range(2)]
    wheels[1][1] = Packed(name="1.py", content=edited(prose(1, 60_000)))
    here.spec("2.0.0", {"bin": program(1), "shop.whl": zipped(wheels[0])})
    here.spec("2.1.0", {"bin": program(1, moved=400), "shop.whl": zipped(wheels[1])})
    export = ("--depot", "depot", "--unsafe-no-passphrase", "--json")
    assert bundle("export", "shop-2.0.0.yaml", *export) == 0, bundle.err
    sizes: list[int] = []
    for option in (["--fast"], [], ["--level", "9"]):
        out = ("--out", f"{len(sizes)}.sealift")
        assert bundle("export", "shop-2.1.0.yaml", *export, "--since", "shop@2.0.0", *out, *option) == 0, bundle.err
        said = json.loads(bundle.out)["releases"][0]["difference"]
        assert said["inflated"]["archives"] == 1
        sizes.append(said["size"])
    assert sizes[0] > 1.5 * sizes[1]
    assert sizes[1] > sizes[2]
    root = "depot/metadata/1.root.json"
    assert install("enroll", "--site", "s", "--root", root, "--fingerprint", here.fingerprint) == 0
    assert install("import", "--site", "s", "shop-2.0.0.sealift") == 0
    assert install("import", "--site", "s", "0.sealift") == 0, install.err
    assert install("verify", "--site", "s", "--deep") == 0, install.err


def test_a_difference_to_what_a_site_lacks(here: Connected, bundle: Call, install: Call) -> None:
    """It is refused with exit code 8, the missing release, and the command that makes one that fits."""
    export = ("--depot", "depot", "--unsafe-no-passphrase")
    assert bundle("export", "shop-1.0.0.yaml", *export) == 0
    assert bundle("export", "shop-1.1.0.yaml", *export, "--since", "shop@1.0.0", "--out", "d.sealift") == 0
    assert "is a difference to shop@1.0.0" in bundle.out
    root = "depot/metadata/1.root.json"
    assert install("enroll", "--site", "s", "--root", root, "--fingerprint", here.fingerprint) == 0
    assert install("import", "--site", "s", "d.sealift") == 8
    assert "adds to shop@1.0.0, which this site does not hold" in install.err
    assert "sealift-bundle export shop@1.1.0 --depot DEPOT" in install.err


@pytest.mark.parametrize("since", ["shop", "shop@", "@1", "shop@9.9"])
def test_a_base_must_be_a_published_release(here: Connected, bundle: Call, since: str) -> None:
    """What `--since` names must be a release of the depot."""
    assert bundle("export", "shop-1.1.0.yaml", "--depot", "depot", "--unsafe-no-passphrase", "--since", since) == 2


def test_a_diff_says_what_a_change_costs(here: Connected, bundle: Call) -> None:
    """By file and by artifact, in bytes to carry."""
    for version in ("1.0.0", "1.1.0"):
        assert bundle("export", f"shop-{version}.yaml", "--depot", "depot", "--unsafe-no-passphrase") == 0
    assert bundle("diff", "shop@1.0.0", "shop@1.1.0", "--depot", "depot", "--cost", "--json") == 0
    costs = {change["path"]: change["cost"] for change in json.loads(bundle.out)["changes"]}
    assert set(costs) == {"index.html", "noise"}
    assert 0 < sum(costs.values()) < 2000
    assert json.loads(bundle.out)["difference"]["artifacts"]["web"] == sum(costs.values())
    assert bundle("diff", "shop-1.0.0.sealift", "shop-1.1.0.sealift", "--cost") == 2
    assert "found out from the content of a depot" in bundle.err


def test_a_dry_run_shows_the_choices(here: Connected, bundle: Call) -> None:
    """How large each way to carry it would be."""
    assert bundle("export", "shop-1.0.0.yaml", "--depot", "depot", "--unsafe-no-passphrase") == 0
    assert bundle("export", "shop-1.1.0.yaml", "--depot", "depot", "--dry-run") == 0
    assert "whole" in bundle.out
    assert "since shop@1.0.0" in bundle.out


@pytest.fixture
def wheels(here: Connected) -> Connected:
    """Specs of two versions with a wheel that changed by a few places."""
    content = prose(1, 50_000)
    for version, members in (("1.0.0", content), ("1.1.0", edited(content))):
        here.spec(version, {"a.whl": zipped([Packed(name="a.py", content=members)])})
    return here


def test_what_looking_inside_of_archives_gained_is_shown(wheels: Connected, bundle: Call) -> None:
    """By the export, its rehearsal, the inspection of the bundle and the cost of a change."""
    export = ("--depot", "depot", "--unsafe-no-passphrase")
    assert bundle("export", "shop-1.0.0.yaml", *export) == 0
    line = "1 archive inflated: "
    assert bundle("export", "shop-1.1.0.yaml", *export, "--dry-run") == 0
    assert line in bundle.out
    assert bundle("export", "shop-1.1.0.yaml", *export, "--since", "shop@1.0.0") == 0
    assert line in bundle.out
    assert bundle("inspect", "shop-1.1.0.sealift") == 0
    assert line in bundle.out
    assert bundle("diff", "shop@1.0.0", "shop@1.1.0", "--depot", "depot", "--cost") == 0
    assert line in bundle.out
    assert bundle("inspect", "shop-1.1.0.sealift", "--json") == 0
    inflated = json.loads(bundle.out)["releases"][0]["difference"]["inflated"]
    size = (wheels.root / "shop-1.1.0" / "a.whl").stat().st_size
    assert inflated["archives"] == 1
    assert inflated["bytes"] == size
    assert 0 < inflated["member_bytes"] < size
    assert 0 < inflated["carried_bytes"] < size / 20


def test_archives_are_carried_as_they_are_where_that_is_asked_for(wheels: Connected, bundle: Call) -> None:
    """For a site with another zlib: nothing in the bundle needs one."""
    export = ("--depot", "depot", "--unsafe-no-passphrase")
    assert bundle("export", "shop-1.0.0.yaml", *export) == 0
    assert bundle("export", "shop-1.1.0.yaml", *export, "--since", "shop@1.0.0", "--no-inflate", "--json") == 0
    said = json.loads(bundle.out)["releases"][0]["difference"]
    assert said["inflated"] == {"archives": 0, "bytes": 0, "member_bytes": 0, "carried_bytes": 0}
    assert said["size"] > 4000
    assert bundle("inspect", "shop-1.1.0.sealift") == 0
    assert "inflated" not in bundle.out
