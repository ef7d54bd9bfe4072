"""A team's release from its spec to a site: the export waits for the team, and goes through once it has signed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from office import rule
from securesystemslib.signer import CryptoSigner
from worlds import Connected, Isolated

from keys.pending import held
from keys.publishing import delegate, publish_request
from keys.repository import online_signer
from sealift.errors import PolicyError


def test_a_teams_release_crosses_once_the_team_has_signed(
    connected: Connected, enroll: Callable[[Connected, str], Isolated]
) -> None:
    """No bundle before, whoever exports; the same export after, and the site holds the release."""
    depot = connected.depot.folder
    signer_for = online_signer(depot, lambda _: b"", unsafe_unencrypted=True)
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
