"""Hooks are the same values in a schema and as types."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sealift.hooks import NONE, Hook, Hooks, convert, schema
from sealift.schema import problems

words = st.sampled_from(["", "a", "/bin/true", "a\0b", "a\0", "\n", "é", "x" * 4096, "x" * 4097])
hook = st.fixed_dictionaries(
    {"run": st.lists(words, max_size=3) | st.none()},
    optional={"timeout": st.sampled_from([0, 1, 60, 60.0, 1.5, 86_400, 86_401, "1", None, True])},
)
moments = st.dictionaries(
    st.sampled_from(["before-switch", "after-switch", "before_switch"]), st.lists(hook, max_size=2)
)


@given(moments)
@example({"before-switch": [{"run": ["a"], "timeout": 60.0}]})
def test_the_types_accept_what_the_schema_accepts(value: Any) -> None:
    """A manifest cannot hold what a spec could not say."""
    try:
        convert(value)
        accepted = True
    except msgspec.ValidationError:
        accepted = False
    assert accepted == (problems(value, schema(absolute=False)) == [])


def test_hooks_have_their_names_and_defaults() -> None:
    """The keys in JSON are those of the documents."""
    hooks = convert({"before-switch": [{"run": ["web/bin/migrate", "--now"]}]})
    assert hooks == Hooks(before_switch=(Hook(run=("web/bin/migrate", "--now"), timeout=60),))
    assert msgspec.json.encode(hooks, order="sorted") == (
        b'{"after-switch":[],"before-switch":[{"run":["web/bin/migrate","--now"],"timeout":60}]}'
    )


def test_no_hooks_are_one_value() -> None:
    """A manifest's default is recognised by identity."""
    assert convert({"after-switch": []}) is NONE


@pytest.mark.parametrize(("program", "fine"), [("/bin/true", True), ("true", False), ("./true", False), ("", False)])
def test_a_site_names_its_programs_absolutely(program: str, fine: bool) -> None:
    """Attack 100: no search path decides what an environment runs."""
    assert (problems({"after-switch": [{"run": [program]}]}, schema(absolute=True)) == []) is fine
