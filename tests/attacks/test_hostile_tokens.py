"""Recipes of tokens that are validly signed and say what they must not, and forms that no stream has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from archives import edited, prose
from killer import Side, killed
from layers import in_blocks, tarred
from spoiling import Lines, refused, spoil
from worlds import Connected, Isolated

from bundler.archives import framing
from installer.storage import rebuilding, remaking
from sealift.allowance import Allowance
from sealift.errors import IntegrityError, MalformedError
from sealift.recipe import Recipe
from sealift.tokens.alphabet import BLOCK, END

FILES = {f"{number}.py": prose(number, 20_000) for number in range(4)}
OLD = in_blocks(tarred(FILES))
NEW = in_blocks(tarred({name: edited(content) for name, content in FILES.items()}))
Line = dict[str, Any]
SPELLED, RECIPE, FRAME = 0, 1, 2


@pytest.fixture
def isolated(connected: Connected, enroll: Callable[[Connected, str], Isolated]) -> Isolated:
    """A site that trusts the depot of `connected`, and holds a layer."""
    site = enroll(connected, "site")
    site.admit(connected.bundle("1.0.0", {"0a": OLD}))
    return site


@pytest.fixture
def forged(
    connected: Connected, isolated: Isolated, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[Lines], object]], Path]:
    """Makes a difference with a newer layer as tokens, whose lines are changed before they are signed."""

    def make(change: Callable[[Lines], object]) -> Path:
        def changed(lines: Lines) -> Lines:
            assert [next(iter(line)) for line in lines] == ["tokens", "makes", "pack"]
            change(lines)
            return lines

        spoil(monkeypatch, index=changed)
        return connected.bundle("1.1.0", {"0a": NEW}, since=["shop@1.0.0"], small=True)

    return make


Forged = Callable[[Callable[[Lines], object]], Path]


def spelled(line: Line) -> list[int]:
    """The piece that is made of tokens."""
    return next(piece for piece in line["pieces"] if len(piece) == 3)


def former(line: Line) -> list[int]:
    """The old piece that is made of tokens."""
    return next(piece for piece in line["old"] if len(piece) == 4)


def test_an_honest_one_is_admitted(isolated: Isolated, forged: Forged) -> None:
    """Unspoilt, the same way of making a bundle gives one that is taken: what is refused below is the spoiling."""
    isolated.admit(forged(lambda lines: None))
    isolated.apply("1.1.0")
    assert (isolated.srv / "current" / "0a").read_bytes() == NEW


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda lines: spelled(lines[RECIPE]).__setitem__(0, 1 << 40), "more tokens than their bits can be"),
        (lambda lines: spelled(lines[RECIPE]).__setitem__(0, 16 * len(NEW)), "more tokens than their bits can be"),
        (lambda lines: former(lines[RECIPE]).__setitem__(3, 1 << 40), "more old tokens than their bits can be"),
        (lambda lines: former(lines[RECIPE]).__setitem__(2, 1), "old material of no known form"),
        (lambda lines: former(lines[RECIPE]).__setitem__(2, -1), "old material of no known form"),
        (lambda lines: former(lines[RECIPE]).__setitem__(3, 0), "old material of no known form"),
        (lambda lines: former(lines[RECIPE]).append(9), "old material of no known form"),
        (lambda lines: former(lines[RECIPE]).__setitem__(0, 1 << 30), "from where there is none"),
        (lambda lines: lines[RECIPE]["old"].extend([former(lines[RECIPE])] * 1000), "16 times as much old material"),
        (lambda lines: lines[SPELLED].update(tokens=2), "tokens that this reader does not know"),
        (lambda lines: lines[SPELLED].update(tokens=[]), "a line of a difference"),
        (lambda lines: lines[SPELLED].update(probe="0" * 64), "a line of a difference"),
        (lambda lines: lines.insert(0, dict(lines[SPELLED])), "names a rebuilder twice"),
        (lambda lines: lines.pop(SPELLED), "a piece of no known form"),
    ],
    ids=[
        "tokens without bound", "more than their bits", "old tokens without bound", "a setting that is not there",
        "a setting before the first", "no old tokens", "a longer piece", "another place", "again and again",
        "another alphabet", "no alphabet", "a probe", "said twice", "not said",
    ],
)  # fmt: skip
def test_a_recipe_of_tokens_without_bound(
    isolated: Isolated,
    forged: Forged,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Lines], object],
    match: str,
) -> None:
    """67, 77: what would be parsed or written without bound, or fits to nothing, is refused before it costs a thing."""
    bundle = forged(change)

    def costs(*_: object) -> None:
        pytest.fail("it cost something")

    monkeypatch.setattr(rebuilding, "remake", costs)
    monkeypatch.setattr(remaking, "OldMaterial", costs)
    refused(isolated, bundle, MalformedError, match)


def test_old_tokens_again_and_again() -> None:
    """67: what a site would have to parse is charged, so that a little content cannot cost it hours."""
    mib = 1 << 20
    old = tuple((0, 356_250, 1, 2_605_800) for _ in range(800))
    recipe = Recipe(makes=((0, 1),), frames=100, pieces=((128 * mib, mib, 0),), source=((0, 0, 1),), old=old)
    assert not Allowance(mib).grants(recipe.cost)


def test_tokens_of_another_way() -> None:
    """67: a setting of zlib or of a rebuilder makes no old tokens, and theirs is no bound for the others."""
    recipe = Recipe(makes=((0, 1),), frames=1, pieces=((2000, 1000, 0),), old=((0, 1000, 1, 2000),))
    recipe.check_form(2, (), {1})
    with pytest.raises(MalformedError, match="old material of no known form"):
        recipe.check_form(2, {1}, {0})


@pytest.mark.parametrize(("place", "change"), [(0, 1), (0, -1), (1, -3000)])
def test_old_tokens_that_are_not_there(isolated: Isolated, forged: Forged, place: int, change: int) -> None:
    """78: an old member that does not lie where the recipe says, or is no whole stream there, gives nothing."""

    def moved(lines: Lines) -> None:
        former(lines[RECIPE])[place] += change

    refused(isolated, forged(moved), IntegrityError, "a compressed member that a base does not have")


SPELT = {
    "no text": b"\xff" * 10,
    "no block": b"x" * 10,
    "a code that is not there": (chr(BLOCK + 3) + "\U0001f6a2").encode(),
    "blocks without end": (chr(BLOCK + 2) + chr(END)).encode() * 500,
    "other tokens": b"",
}


@pytest.mark.parametrize("kind", SPELT)
def test_a_form_that_no_stream_has(
    isolated: Isolated, forged: Forged, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """67, 69: what is no form, or that of another stream, is refused, and the site stays as it is."""
    honest = framing._material

    def other(*arguments: Any) -> Iterator[bytes]:
        content = b"".join(honest(*arguments))
        at = content.index(chr(BLOCK).encode()[:2]) if kind != "other tokens" else content.rindex(b"a")
        what = SPELT[kind] or b"b"
        yield content[:at] + what + content[at + len(what) :]

    monkeypatch.setattr(framing, "_material", other)
    refused(isolated, forged(lambda lines: None), IntegrityError, "travels as tokens|not what was signed")


@pytest.mark.parametrize("side", ["before", "after"])
def test_an_import_of_tokens_that_is_killed(isolated: Isolated, forged: Forged, side: Side) -> None:
    """79: whenever the machine stops, the site is as it was or has the release, and the same import completes it."""
    bundle = forged(lambda lines: None)
    number = 1
    while killed(lambda: isolated.admit(bundle), number, side):
        assert {each.version for each in isolated.site.state.admitted} in ({"1.0.0"}, {"1.0.0", "1.1.0"})
        number += 5
    isolated.admit(bundle)
    isolated.apply("1.1.0")
    assert (isolated.srv / "current" / "0a").read_bytes() == NEW
