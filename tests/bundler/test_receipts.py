"""Receipts, from the site that signs one to the bundle that is made for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from worlds import NOW, Connected, Isolated, sample

from bundler.depots import sites
from installer.receipting import receipt
from installer.records.identity import KEY
from installer.storage.store import Store
from sealift.errors import MalformedError, TrustError, UsageError
from sealift.receipt import Statement, read

Enroll = Callable[[Connected, str], Isolated]


def known(connected: Connected, isolated: Isolated) -> Statement:
    """A receipt of the site, which the depot knows from now on."""
    statement, _ = receipt(isolated.site, NOW)
    with connected.depot.lock():
        sites.introduce(connected.depot, statement, statement.fingerprint)
    return statement


def second(files: dict[str, bytes]) -> dict[str, bytes]:
    """The next version of some files."""
    return {**files, "index.html": b"<h1>shop 2</h1>\n" * 40}


def test_a_receipt_says_what_the_site_holds_and_runs(connected: Connected, isolated: Isolated) -> None:
    """It names the releases by digest, what each environment runs, and whose site it is."""
    isolated.admit(connected.bundle("1.0.0"))
    isolated.apply("1.0.0")
    statement, content = receipt(isolated.site, NOW)
    assert read(content, "it") == statement
    assert [f"{each.name}@{each.version}" for each in statement.releases] == ["shop@1.0.0"]
    assert statement.releases[0] == isolated.site.state.admitted[0].part.release
    assert (statement.environments[0].environment, statement.environments[0].version) == ("plant-7", "1.0.0")
    assert statement.root == connected.fingerprint
    assert (isolated.folder / KEY).stat().st_mode & 0o777 == 0o600


def test_the_key_stays(isolated: Isolated) -> None:
    """Every receipt of a site is signed by the same key."""
    assert receipt(isolated.site, NOW)[0].key == receipt(isolated.site, NOW)[0].key


def test_a_key_that_others_may_read_is_refused(isolated: Isolated) -> None:
    """A site does not sign with a key that is no secret."""
    receipt(isolated.site, NOW)
    (isolated.folder / KEY).chmod(0o644)
    with pytest.raises(TrustError, match="others may read the key"):
        receipt(isolated.site, NOW)


def test_a_release_whose_packs_are_gone_is_not_in_it(connected: Connected, isolated: Isolated) -> None:
    """What a difference could not be read against is not said to be held."""
    isolated.admit(connected.bundle("1.0.0"))
    Store(isolated.site.store).pack(isolated.site.state.admitted[0].part.packs[0]).unlink()
    assert receipt(isolated.site, NOW)[0].releases == ()


def test_a_bundle_for_a_receipt_leaves_out_what_the_site_holds(connected: Connected, isolated: Isolated) -> None:
    """An export for a site carries the difference to its newest release, and the site takes it."""
    isolated.admit(connected.bundle("1.0.0"))
    bundle = connected.bundle("1.1.0", second(sample()), receipts=[known(connected, isolated)])
    assert bundle.stat().st_size < 40_000
    isolated.admit(bundle)
    isolated.apply("1.1.0")


def test_a_bundle_for_two_sites_fits_both(connected: Connected, isolated: Isolated, enroll: Enroll) -> None:
    """Of several receipts, what all of the sites hold is left out."""
    other = enroll(connected, "other")
    first = connected.bundle("1.0.0")
    isolated.admit(first)
    other.admit(first)
    isolated.admit(connected.bundle("1.0.1", second(sample())))
    receipts = [known(connected, isolated), known(connected, other)]
    bundle = connected.bundle("1.1.0", second(second(sample(2))), receipts=receipts)
    assert [each.version for each in connected.made[bundle.name].carried[0].part.base] == ["1.0.0"]
    for site in (isolated, other):
        site.admit(bundle)
        site.apply("1.1.0")


def test_sites_with_nothing_in_common_get_a_whole_bundle(connected: Connected, isolated: Isolated) -> None:
    """A site that holds nothing yet gets the release whole."""
    connected.bundle("1.0.0")
    bundle = connected.bundle("1.1.0", second(sample()), receipts=[known(connected, isolated)])
    assert connected.made[bundle.name].carried[0].difference is None
    isolated.admit(bundle)


def test_what_the_sites_hold_is_not_carried_again(connected: Connected, isolated: Isolated) -> None:
    """An export of a release that all of the sites hold is refused, and says so."""
    isolated.admit(connected.bundle("1.0.0"))
    with pytest.raises(UsageError, match=r"hold shop@1\.0\.0 already"):
        connected.export(connected.root / "shop-1.0.0.yaml", receipts=[known(connected, isolated)])


def test_the_depot_remembers_what_it_sent(connected: Connected, isolated: Isolated) -> None:
    """What was made for a site stands in its file, with what it was a difference to."""
    isolated.admit(connected.bundle("1.0.0"))
    bundle = connected.bundle("1.1.0", second(sample()), receipts=[known(connected, isolated)])
    (site,) = sites.all_known(connected.depot)
    assert [(each.releases, each.base, each.bundle) for each in site.sent] == [
        (("shop@1.1.0",), ("shop@1.0.0",), connected.made[bundle.name].identity)
    ]
    assert site.sent[0].size == bundle.stat().st_size


def test_a_receipt_of_an_unknown_key_is_refused(connected: Connected, isolated: Isolated) -> None:
    """Nothing is left out by the word of somebody whom the depot does not know."""
    isolated.admit(connected.bundle("1.0.0"))
    with pytest.raises(TrustError, match="does not know the key"):
        connected.bundle("1.1.0", second(sample()), receipts=[receipt(isolated.site, NOW)[0]])


def test_the_fingerprint_must_be_that_of_the_key(connected: Connected, isolated: Isolated) -> None:
    """A site is not made known by another key's fingerprint."""
    with pytest.raises(TrustError, match="was signed by another key"), connected.depot.lock():
        sites.introduce(connected.depot, receipt(isolated.site, NOW)[0], "0" * 64)
    assert sites.all_known(connected.depot) == ()


def test_a_receipt_of_another_depots_site_is_refused(
    connected: Connected, isolated: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """34: the content of a site that trusts another root says nothing about this depot's."""
    statement = known(connected, isolated)
    with pytest.raises(TrustError, match="from a site of another depot"):
        sites.accept(connected.depot, statement, "0" * 64)


@pytest.mark.parametrize("change", [b'"site":"sitf"', b'"generation":9'])
def test_a_changed_receipt_is_refused(isolated: Isolated, tmp_path: Path, change: bytes) -> None:
    """1: a receipt in which anything was changed does not verify."""
    content = receipt(isolated.site, NOW)[1]
    former = b'"site":"site"' if b"site" in change else b'"generation":1'
    assert former in content
    path = tmp_path / "it.receipt"
    path.write_bytes(content.replace(former, change))
    with pytest.raises(TrustError, match="does not hold"):
        sites.read(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b'{"signed":{},"signed":{}}', b'{"signed":{"format":2},"signature":""}', b" " * 100],
    ids=["empty", "nothing", "twice", "format 2", "blank"],
)
def test_what_is_no_receipt_is_malformed(tmp_path: Path, content: bytes) -> None:
    """36: a file that is no receipt in its one form is refused."""
    path = tmp_path / "it.receipt"
    path.write_bytes(content)
    with pytest.raises(MalformedError):
        sites.read(path)


def test_white_space_is_refused(isolated: Isolated, tmp_path: Path) -> None:
    """A receipt has one form: what surrounds it is refused, though its signature would hold."""
    path = tmp_path / "it.receipt"
    path.write_bytes(receipt(isolated.site, NOW)[1] + b"\n")
    with pytest.raises(MalformedError, match="canonical"):
        sites.read(path)
