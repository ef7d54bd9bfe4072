"""A team's release from its spec to a site: the export waits for the team, and goes through once it has signed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from office import rule
from securesystemslib.signer import CryptoSigner
from told import Told
from worlds import Connected, Isolated

from bundler.depots import sites
from installer.receipting import receipt
from keys.pending import held
from keys.publishing import delegate, dismiss, publish_request
from keys.repository import online_signer
from sealift.errors import PolicyError, TrustError, UsageError
from sealift.receipt import Statement


def test_a_teams_release_crosses_once_the_team_has_signed(
    connected: Connected, enroll: Callable[[Connected, str], Isolated]
) -> None:
    """No bundle before, whoever exports; the same export after, and the site holds the release."""
    depot = connected.depot.folder
    signer_for = online_signer(depot, Told(), unsafe_unencrypted=True)
    holders = [CryptoSigner.generate_ed25519(), CryptoSigner.generate_ed25519()]
    delegate(depot, "team-a", rule(holders, 2), signer_for=signer_for, now=connected.now)
    folder = connected.root / "files"
    folder.mkdir()
    (folder / "index.html").write_text("shop")
    spec = connected.root / "spec.yaml"
    spec.write_text('release: team-a/shop\nversion: "1.0.0"\nartifacts:\n  web:\n    source: path\n    path: files\n')
    out = connected.root / "team.sealift"
    with pytest.raises(PolicyError, match="team-a must sign its releases first: 2 more"):
        connected.export(spec, out)
    assert not out.exists()
    (request,) = held(depot)
    for holder in holders:
        request = request.sign(holder)
    publish_request(depot, request, signer_for=signer_for, now=connected.now)
    imported = enroll(connected, "site").admit(connected.export(spec, out))
    assert imported.new == ("team-a/shop@1.0.0",)


def test_a_teams_next_release_crosses_as_a_difference_by_receipt(
    connected: Connected, enroll: Callable[[Connected, str], Isolated]
) -> None:
    """A receipt names the team's release, and the difference to it is admitted as any other."""
    depot = connected.depot.folder
    signer_for = online_signer(depot, Told(), unsafe_unencrypted=True)
    holder = CryptoSigner.generate_ed25519()
    delegate(depot, "team-a", rule([holder], 1), signer_for=signer_for, now=connected.now)
    site = enroll(connected, "site")

    def cross(version: str, content: str, receipts: Sequence[Statement] = ()) -> Path:
        spec = connected.spec(version, {"index.html": content.encode()})
        spec.write_text(spec.read_text().replace("release: shop", "release: team-a/shop"))
        out = connected.root / f"{version}.sealift"
        with pytest.raises(PolicyError):
            connected.export(spec, out, receipts=receipts)
        (request,) = held(depot)
        publish_request(depot, request.sign(holder), signer_for=signer_for, now=connected.now)
        return connected.export(spec, out, receipts=receipts)

    old = "".join(f"line {number}\n" for number in range(50_000))
    site.admit(cross("1.0.0", old))
    statement, _ = receipt(site.site, connected.now)
    sites.introduce(connected.depot, statement, statement.fingerprint)
    bundle = cross("1.1.0", old + "one more\n", receipts=[statement])
    assert bundle.stat().st_size < len(old) // 10
    assert site.admit(bundle).new == ("team-a/shop@1.1.0",)


def test_what_a_site_has_of_a_team_that_left_goes_on(
    connected: Connected, enroll: Callable[[Connected, str], Isolated]
) -> None:
    """It is deployed and rolled back to as before; no export carries it, and no new site takes it."""
    depot = connected.depot.folder
    signer_for = online_signer(depot, Told(), unsafe_unencrypted=True)
    holder = CryptoSigner.generate_ed25519()
    delegate(depot, "team-a", rule([holder], 1), signer_for=signer_for, now=connected.now)
    site = enroll(connected, "site")
    for version in ("1.0.0", "1.1.0"):
        spec = connected.spec(version, {"index.html": version.encode()})
        spec.write_text(spec.read_text().replace("release: shop", "release: team-a/shop"))
        out = connected.root / f"{version}.sealift"
        with pytest.raises(PolicyError):
            connected.export(spec, out)
        (request,) = held(depot)
        publish_request(depot, request.sign(holder), signer_for=signer_for, now=connected.now)
        site.admit(connected.export(spec, out))
    site.deploy("1.1.0", f"{{kind: directory, path: {site.srv}}}", release="team-a/shop")
    dismiss(depot, "team-a", signer_for=signer_for, now=connected.now)
    site.admit(connected.bundle("9.0.0", {"other.txt": b"other"}, release="plain"))
    site.deploy("1.0.0", f"{{kind: directory, path: {site.srv}}}", release="team-a/shop")
    assert (site.srv / "current" / "index.html").read_text() == "1.0.0"
    with pytest.raises(UsageError, match="team-a was dismissed"):
        connected.export(spec, connected.root / "again.sealift")
    new = enroll(connected, "new")
    new.admit(connected.export(connected.root / "plain-9.0.0.yaml", connected.root / "new.sealift"))
    with pytest.raises(TrustError):
        new.admit(connected.root / "1.1.0.sealift")
