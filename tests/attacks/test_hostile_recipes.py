"""Recipes that are validly signed and say what they must not: each is refused before it costs anything."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from archives import Packed, edited, prose, zipped
from spoiling import Lines, refused, spoil
from worlds import Connected, Isolated

from installer.storage import rebuilding, remaking
from sealift import difference as differences
from sealift.difference import Patch
from sealift.errors import IntegrityError, MalformedError

OLD = [Packed(name=f"pkg/{number}.py", content=prose(number, 30_000)) for number in range(3)]
NEW = [Packed(name=each.name, content=edited(each.content)) for each in OLD]
Line = dict[str, Any]
SETTING, RECIPE, FRAME = 0, 1, 2


@pytest.fixture
def isolated(connected: Connected, enroll: Callable[[Connected, str], Isolated]) -> Isolated:
    """A site that trusts the depot of `connected`, and holds a wheel."""
    site = enroll(connected, "site")
    site.admit(connected.bundle("1.0.0", {"a.whl": zipped(OLD), "same": random.Random(1).randbytes(9000)}))
    return site


@pytest.fixture
def forged(
    connected: Connected, isolated: Isolated, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int, Callable[[Line], object]], Path]:
    """Makes a difference with a newer wheel, of which one line was changed before it was signed."""

    def make(which: int, change: Callable[[Line], object]) -> Path:
        def changed(lines: Lines) -> Lines:
            assert [next(iter(line)) for line in lines] == ["level", "makes", "pack"]
            change(lines[which])
            return lines

        spoil(monkeypatch, index=changed)
        files = {"a.whl": zipped(NEW), "same": random.Random(1).randbytes(9000)}
        return connected.bundle("1.1.0", files, since=["shop@1.0.0"])

    return make


Forged = Callable[[int, Callable[[Line], object]], Path]


def test_an_honest_one_is_admitted(isolated: Isolated, forged: Forged) -> None:
    """Unspoilt, the same way of making a bundle gives one that is taken: what is refused below is the spoiling."""
    isolated.admit(forged(RECIPE, lambda line: None))
    isolated.apply("1.1.0")
    assert (isolated.srv / "current" / "a.whl").read_bytes() == zipped(NEW)


@pytest.fixture
def costless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where anything is inflated, deflated or decompressed for a recipe."""

    def costs(*_: object) -> None:
        pytest.fail("it cost something")

    monkeypatch.setattr(rebuilding, "remake", costs)
    monkeypatch.setattr(remaking, "OldMaterial", costs)


def deflated(line: Line) -> int:
    """The position of the first member that is deflated again."""
    return next(number for number, piece in enumerate(line["pieces"]) if len(piece) == 3)


def piece(place: int, value: int) -> Callable[[Line], object]:
    """Change a number of the first member that is deflated again."""
    return lambda line: line["pieces"][deflated(line)].__setitem__(place, value)


def former(place: int, value: int) -> Callable[[Line], object]:
    """Change a number of the first old member that is inflated."""
    return lambda line: next(each for each in line["old"] if len(each) == 3).__setitem__(place, value)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (piece(0, 1 << 40), "deflates to less than one part in 128"),
        (piece(0, 10_000_000), "deflates to less than one part in 128"),
        (piece(1, 1 << 40), "do not hold its material|does not make the bytes of its chunks"),
        (lambda line: line["pieces"].extend([[1]] * (1 << 18)), "more pieces than a reader takes"),
        (former(2, 1 << 40), "inflates to more than 128 times as much"),
        (lambda line: line["old"].extend([line["old"][0]] * 100_000), "16 times as much old material"),
        (lambda line: line["old"].extend([[0, 1, 100]] * 20_000), "16 times as much old material"),
        (lambda line: line["makes"].extend([[0, 1]] * 1024), "more than 1024 runs"),
        (lambda line: line["source"].extend([[0, 0, 1]] * 1024), "more than 1024 runs"),
        (lambda line: line["makes"].insert(0, [-1, 1 << 50]), "does not make the bytes of its chunks, or drops"),
        (lambda line: line.update(source=[[0, 0, 1000]] * 1000), "refers to more than 262144 chunks"),
        (lambda line: line["old"].extend([[0, 1]] * 17_000), "refers to more of its bases"),
        (lambda line: line.update(frames=3), "more frames than its material needs"),
    ],
    ids=[
        "a member without bound", "a bomb", "a deflated form without bound", "pieces without bound",
        "an old member without bound", "the same again and again", "small members again and again",
        "runs of chunks", "runs of the source", "a hole without bound", "the base again and again",
        "places of the base", "frames of a few bytes",
    ],
)  # fmt: skip
@pytest.mark.usefixtures("costless")
def test_a_recipe_without_bound(
    isolated: Isolated, forged: Forged, change: Callable[[Line], object], match: str
) -> None:
    """67: what would inflate, deflate or read without bound is refused before it costs anything."""
    refused(isolated, forged(RECIPE, change), MalformedError, match)


@pytest.mark.usefixtures("costless")
def test_a_refused_recipe_with_many_frames(isolated: Isolated, forged: Forged, monkeypatch: pytest.MonkeyPatch) -> None:
    """67: a recipe that does not make its chunks is refused before one of its frames is looked at."""
    bundle = forged(RECIPE, lambda line: line.update(makes=[]))
    looked = iter(range(1))

    def once(line: bytes) -> Patch:
        assert next(looked, None) is not None, "the frames are looked at twice: for the form, and for the release"
        return decode(line)

    decode = differences._patch
    monkeypatch.setattr(differences, "_patch", once)
    refused(isolated, bundle, MalformedError, "does not make the bytes of its chunks")


def test_more_dropped_than_made(isolated: Isolated, forged: Forged) -> None:
    """67: a recipe cannot deflate for long and drop what comes out."""

    def change(line: Line) -> None:
        line["pieces"] = [[90_000_000], *line["pieces"]]
        line["makes"] = [[-1, 90_000_000], *line["makes"]]

    refused(isolated, forged(RECIPE, change), MalformedError, "do not hold its material|drops more than it makes")


@pytest.mark.parametrize(
    ("which", "change", "match"),
    [
        (RECIPE, lambda line: line["source"].__setitem__(0, [0, 0, 100_000]), "chunks that its base does not have"),
        (RECIPE, lambda line: line["source"].__setitem__(0, [1, 0, 1]), "chunks that its base does not have"),
        (RECIPE, lambda line: line["source"].__setitem__(0, [-1, 0, 1]), "chunks that its base does not have"),
        (RECIPE, lambda line: line["source"].__setitem__(0, [0, -1, 1]), "chunks that its base does not have"),
        (RECIPE, lambda line: line.pop("source"), "from where there is none"),
        (RECIPE, former(0, 1 << 30), "from where there is none"),
        (RECIPE, former(0, -5), "old material of no known form"),
        (RECIPE, former(1, 0), "old material of no known form"),
        (RECIPE, lambda line: line["old"].append([1]), "old material of no known form"),
        (RECIPE, lambda line: line["makes"].append([0, 1]), "do not exist or that come otherwise"),
        (RECIPE, lambda line: line["makes"].append([1 << 30, 1]), "do not exist or that come otherwise"),
        (RECIPE, lambda line: line["makes"].append([-2, 1]), "makes no chunks"),
        (RECIPE, lambda line: line.update(makes=[]), "does not make the bytes of its chunks"),
        (RECIPE, lambda line: line.update(frames=2), "lacks a frame|a line of a difference is malformed"),
        (RECIPE, lambda line: line.update(frames=0), "no frames"),
        (RECIPE, lambda line: line.update(pieces=[]), "no frames, or more pieces"),
        (RECIPE, lambda line: line["pieces"].append([1, 2]), "a piece of no known form"),
        (RECIPE, lambda line: line["pieces"].append([0]), "a piece of no known form"),
        (RECIPE, piece(2, 1), "a piece of no known form"),
        (RECIPE, piece(2, -1), "a piece of no known form"),
        (RECIPE, piece(1, 0), "a piece of no known form"),
        (FRAME, lambda line: line.update(window=[0, 1 << 30]), "a window of a recipe"),
        (FRAME, lambda line: line.update(window=[-8, 100]), "a window of a recipe"),
        (FRAME, lambda line: line.update(window=[0, 7]), "a window of a recipe"),
        (FRAME, lambda line: line.update(window=[0]), "a window of a recipe"),
        (FRAME, lambda line: line.update(chunks=[[0, 1]]), "no material is among them"),
        (FRAME, lambda line: line.update(reference=[[0, 0, 1]], window=line.pop("window")), "no material"),
        (FRAME, lambda line: line.update(size=line["size"] + 1), "do not hold its material"),
        (FRAME, lambda line: line.update(subtraction=[9, 9, 9, 9]) or line.pop("window"), "subtraction from nothing"),
        (FRAME, lambda line: line.update(subtraction=[1 << 40, 9, 9, 9], window=line.pop("window")), "subtraction"),
        (SETTING, lambda line: line.update(level=0), "a way that zlib does not know"),
        (SETTING, lambda line: line.update(level=10), "a way that zlib does not know"),
        (SETTING, lambda line: line.update(memory=10), "a way that zlib does not know"),
        (SETTING, lambda line: line.update(strategy=5), "a way that zlib does not know"),
        (SETTING, lambda line: line.update(window=31), "a way that zlib does not know"),
        (SETTING, lambda line: line.update(window=8), "a way that zlib does not know"),
        (SETTING, lambda line: line.update(probe="x"), "no sha-256 digest"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("costless")
def test_what_does_not_fit_together(
    isolated: Isolated, forged: Forged, which: int, change: Callable[[Line], object], match: str
) -> None:
    """77: places, sizes and numbers outside of what there is are refused before anything is read."""
    refused(isolated, forged(which, change), MalformedError, match)


def test_material_without_a_recipe(connected: Connected, isolated: Isolated, monkeypatch: pytest.MonkeyPatch) -> None:
    """77: a frame that holds no chunks belongs to a recipe."""
    spoil(monkeypatch, index=lambda lines: lines[FRAME:])
    bundle = connected.bundle("1.1.0", {"a.whl": zipped(NEW)}, since=["shop@1.0.0"])
    refused(isolated, bundle, MalformedError, "is of no recipe and has no chunks")


@pytest.mark.parametrize("change", [piece(0, 29_990), piece(1, 9000)], ids=["content", "deflated"])
def test_sizes_of_a_member_that_are_not_its_own(
    isolated: Isolated, forged: Forged, change: Callable[[Line], object]
) -> None:
    """69: a member that does not come out as large as the recipe says is refused."""
    refused(isolated, forged(RECIPE, change), MalformedError, "do not hold its material|does not make the bytes")


def test_another_place_in_the_old_file(isolated: Isolated, forged: Forged) -> None:
    """78: an old member that does not start where the recipe says gives nothing that counts."""
    refused(isolated, forged(RECIPE, former(0, 50)), IntegrityError, "a compressed member that a base does not have")


def test_an_old_member_that_is_shorter(isolated: Isolated, forged: Forged) -> None:
    """78: an old member of which there is less than the recipe says is refused."""
    bundle = forged(RECIPE, former(2, 30_001))
    refused(isolated, bundle, IntegrityError, "a compressed member that a base does not have|not what was signed")


@pytest.mark.parametrize("change", [{"level": 9}, {"memory": 9}, {"strategy": 1}])
def test_another_way_to_deflate(isolated: Isolated, forged: Forged, change: dict[str, int]) -> None:
    """A zlib that deflates otherwise than the one that the export proved with is found out by its probe."""
    refused(isolated, forged(SETTING, lambda line: line.update(change)), IntegrityError, "only another zlib")


def test_a_zlib_whose_probe_agrees_and_whose_members_do_not(
    isolated: Isolated, forged: Forged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes out is checked against the signed digests, whatever the probe said."""
    from sealift.deflating import Way, probe

    change = {"level": 1, "probe": probe(Way(1, 8, 0, 15))}
    bundle = forged(SETTING, lambda line: line.update(change))
    refused(isolated, bundle, IntegrityError, "zlib deflates otherwise here|not what was signed")
