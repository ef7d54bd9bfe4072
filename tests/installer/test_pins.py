"""Single values in YAML files of people: set in place, and not a byte beside them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from installer.branch import pins
from sealift.errors import DeployError

FILE = """\
# who changed this last: ask the night shift
images:            # näyttö ✓
  - name: web      # the shop
    newTag: "1.0"  # pinned
  - {name: db, newTag: 1.0}
spec: {image: 'registry.site.local/shop/web@sha256:00', replicas: 2}
script: |
  newTag: "1.0"
"""
TAG = ("images", 0, "newTag")


@pytest.mark.parametrize(
    ("at", "value", "before", "after"),
    [
        (TAG, "1.1", '"1.0"  # pinned', '"1.1"  # pinned'),
        (("images", 1, "newTag"), "1.1", "newTag: 1.0}", 'newTag: "1.1"}'),
        (("images", 1, "newTag"), "1.1.0", "newTag: 1.0}", "newTag: 1.1.0}"),
        (("images", 1, "name"), "no", "{name: db", '{name: "no"'),
        (("images", 1, "name"), "a, b: #c", "{name: db", '{name: "a, b: #c"'),
        (("spec", "image"), "it's", "'registry.site.local/shop/web@sha256:00'", "'it''s'"),
        (("spec", "replicas"), "r/web@sha256:0f", "replicas: 2}", "replicas: r/web@sha256:0f}"),
    ],
)
def test_one_value_is_set(at: tuple[str | int, ...], value: str, before: str, after: str) -> None:
    """In the quotes that are there, or in such as keep it a string; all else is the same byte for byte."""
    made = pins.pinned(FILE.encode(), at, "kustomization.yaml", value)
    assert FILE.count(before) == 1
    assert made.decode() == FILE.replace(before, after)
    assert pins.value_at(made, at, "kustomization.yaml") == value


def test_a_value_is_given_back_as_it_was_written() -> None:
    """With its own quotes, whatever stands there now."""
    written = pins.written_at(FILE.encode(), TAG, "f")
    made = pins.pinned(FILE.encode(), TAG, "f", "2\n")
    assert pins.restored(made, TAG, "f", written) == FILE.encode()


def test_one_of_several_documents() -> None:
    """The document that has the value is found."""
    content = b"kind: Service\n---\nkind: Deployment\nspec:\n    tag: a # b\n"
    made = pins.pinned(content, ("spec", "tag"), "f", "c")
    assert made == content.replace(b"tag: a", b'tag: "c"')


@pytest.mark.parametrize(
    ("content", "at"),
    [
        ("a: 1\n", ("b",)),
        ("a: [1]\n", ("a", 1)),
        ("a: {b: 1}\n", ("a",)),
        ("a: |\n  text\n", ("a",)),
        ("a: &x 1\nb: *x\n", ("b",)),
        ("a: &x 1\nb: *x\n", ("a",)),
        ("a: !!str 1\n", ("a",)),
        ("a: 1\na: 2\n", ("a",)),
        ("a: 1\n---\na: 2\n", ("a",)),
        ("a:\n", ("a",)),
        ("a: [\n", ("a",)),
        ("a: '\x00'\n", ("a",)),
        ("\ufeffa: 1\n", ("a",)),
        ("[" * 100 + "]" * 100, ("a",)),
        ("- x\n" * 60_000, (0,)),
        ("a: " + "b" * (1 << 20), ("a",)),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_cannot_be_set_alone_is_refused(content: str, at: tuple[str | int, ...]) -> None:
    """46: no value, several, one that others share, and files that are too much."""
    with pytest.raises(DeployError):
        pins.pinned(content.encode(), at, "f", "x")


@given(
    value=st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20),
    at=st.sampled_from([TAG, ("images", 1, "newTag"), ("spec", "image"), ("spec", "replicas")]),
)
def test_any_text_is_set_and_nothing_else(value: str, at: tuple[str | int, ...]) -> None:
    """Whatever the text is, it is read again as it was meant, or refused."""
    try:
        made = pins.pinned(FILE.encode(), at, "f", value)
    except DeployError:
        assert any(not char.isprintable() for char in value), value
        return
    assert pins.value_at(made, at, "f") == value
    assert made.count(b"\n") == FILE.count("\n")
