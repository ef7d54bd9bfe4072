"""What a root says beyond TUF binds like all else in it: attacks 16, 17 and 18."""

from __future__ import annotations

import pytest
from termed import TermedDepot

from sealift.digest import sha256
from sealift.errors import MalformedError, TrustError
from sealift.root_terms import FIELD, Purpose, Terms, terms
from sealift.trust import Trust, anchor, refresh
from tests.tufmaker import NOW, Depot, Tree, key_id, seal, signer


def _anchored(root: bytes, purpose: Purpose = "production") -> Trust:
    return anchor(root, sha256(root), reference=NOW, purpose=purpose)


def _with(tree: Tree, depot: Depot) -> bytes:
    return seal(depot.root_tree() | {FIELD: tree}, depot.keys["root"])


def test_a_root_without_the_field_is_for_production() -> None:
    """Every root made before the field was is for production, and lets nobody waive."""
    assert terms(Depot().root_tree()) == Terms(purpose="production", waiver=None)


def test_a_development_root_is_no_anchor_of_a_production_site() -> None:
    """16: keys that lie about on a developer's machine never become a real site's root."""
    root = TermedDepot(purpose="development").root()
    with pytest.raises(TrustError, match="the root is for development, and this site is to be one for production"):
        _anchored(root)
    assert _anchored(root, "development").roots == (root,)


@pytest.mark.parametrize("purpose", [None, "production"])
def test_a_production_root_is_no_anchor_of_a_development_site(purpose: Purpose | None) -> None:
    """16: neither is a real root enrolled where development keys are expected."""
    root = TermedDepot(purpose=purpose).root()
    with pytest.raises(TrustError, match="the root is for production, and this site is to be one for development"):
        _anchored(root, "development")


@pytest.mark.parametrize("purposes", [(None, "development"), ("development", None), ("development", "production")])
def test_a_root_chain_keeps_its_purpose(purposes: tuple[Purpose | None, Purpose | None]) -> None:
    """16: not even a full quorum makes a production chain one for development, or the other way round."""
    before = TermedDepot(purpose=purposes[0])
    after = TermedDepot(keys=before.keys, purpose=purposes[1])
    trust = _anchored(before.root(), purposes[0] or "production")
    with pytest.raises(TrustError, match=r"2\.root\.json is a root for .*, and the one before it is for"):
        refresh(trust, after.offer(roots={2: after.root(2)}), reference=NOW)


@pytest.mark.parametrize(
    ("tree", "match"),
    [
        ({"purpose": "test"}, "invalid enum value"),
        ({"purpose": "production", "more": 1}, "unknown field `more`"),
        ({"waiver": {"keyids": []}}, "missing required field `threshold`"),
        ({"waiver": {"keyids": ["AB"], "threshold": 1}}, "expected `str` matching"),
        ({"waiver": {"keyids": [], "threshold": True}}, "got `bool`"),
        ([], "got `array`"),
        (None, "got `null`"),
    ],
    ids=str,
)
def test_terms_without_their_form_are_refused(tree: Tree, match: str) -> None:
    """What the field may hold is fixed."""
    with pytest.raises(MalformedError, match=match):
        _anchored(_with(tree, Depot()))


@pytest.mark.parametrize("purpose", ["production", "development"])
def test_what_was_walked_says_what_it_is_for(purpose: Purpose) -> None:
    """Whoever shows a bundle can say that it is for development."""
    depot = TermedDepot(purpose=purpose)
    trust = _anchored(depot.root(), purpose)
    assert refresh(trust, depot.offer(), reference=NOW).purpose == purpose
    root = depot.root()
    assert anchor(root, sha256(root), reference=NOW, purpose=None).roots == (root,)


def test_a_waiver_role_obeys_the_rules_of_roles() -> None:
    """18: known, distinct keys, and a threshold that they can meet."""
    depot = Depot()
    (only,) = [key_id(key) for key in depot.keys["targets"]]
    for keyids, threshold, match in (
        ([only], 0, "asks for 0 of 1 keys for the role waiver"),
        ([only], 2, "asks for 2 of 1 keys for the role waiver"),
        ([], 1, "asks for 1 of 0 keys for the role waiver"),
        ([only, only], 2, "counts a key id twice for the role waiver"),
        ([key_id(signer())], 1, "names a key for the role waiver that it does not hold"),
    ):
        with pytest.raises(TrustError, match=match):
            _anchored(_with({"waiver": {"keyids": keyids, "threshold": threshold}}, depot))
