"""Differences that are validly signed and say what they must not: each is refused, and the site is as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from spoiling import Lines, first, refused, spoil
from worlds import Connected, Isolated, program, sample

from sealift.difference import KIND, Patch, checked
from sealift.errors import IntegrityError, MalformedError, StoreError
from sealift.listing import Blob, packed
from sealift.manifest import Part
from sealift.recipe import Recipe


@pytest.fixture
def isolated(connected: Connected, enroll: Callable[[Connected, str], Isolated]) -> Isolated:
    """A site that trusts the depot of `connected`."""
    return enroll(connected, "site")


@pytest.fixture
def base(connected: Connected, isolated: Isolated) -> dict[str, bytes]:
    """The files of 1.0.0, which the site holds."""
    files = {**sample(1), "program": program(1, functions=7000)}
    isolated.admit(connected.bundle("1.0.0", files))
    return files


@pytest.fixture
def forged(connected: Connected, base: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes a difference that was spoilt before it was signed."""

    def make(**changes: Any) -> Path:
        files = dict(base)
        files["assets/app.js"] = files["assets/app.js"].replace(b"42", b"43", 5)
        files["index.html"] = b"<h1>shop 2</h1>\n" * 40
        files["program"] = program(1, functions=7000, moved=400)
        spoil(monkeypatch, **changes)
        return connected.bundle("1.1.0", files, since=["shop@1.0.0"])

    return make


def test_an_honest_one_is_admitted(isolated: Isolated, forged: Callable[..., Path]) -> None:
    """Unspoilt, the same way of making a bundle gives one that is taken: what is refused below is the spoiling."""
    isolated.admit(forged())
    isolated.apply("1.1.0")


@pytest.mark.parametrize(
    "reference",
    [[[0, 0, 100_000]], [[1, 0, 1]], [[0, -1, 1]], [[0, 0, 0]], [[-1, 0, 1]], [[0, 3, -2]]],
    ids=["beyond", "other base", "negative", "none", "negative base", "negative count"],
)
def test_a_reference_to_what_no_base_has(
    isolated: Isolated, forged: Callable[..., Path], reference: list[list[int]]
) -> None:
    """77: a reference outside of the bases is refused before anything is read."""
    bundle = forged(index=first(lambda line: line.update(reference=reference)))
    refused(isolated, bundle, MalformedError, "refers to chunks that its base does not have")


def test_a_reference_without_bound(isolated: Isolated, forged: Callable[..., Path]) -> None:
    """67: a reference that would be larger than a window is refused before anything is decompressed."""
    bundle = forged(index=first(lambda line: line.update(reference=[[0, 0, 4]] * 1000)))
    refused(isolated, bundle, MalformedError, "refers to more than 8388608 bytes")


def test_a_reference_of_too_many_runs(isolated: Isolated, forged: Callable[..., Path]) -> None:
    """67: the runs of a reference are bounded."""
    bundle = forged(index=first(lambda line: line.update(reference=[[0, 0, 1]] * 1025)))
    refused(isolated, bundle, MalformedError, "refers to more than 1024 runs")


def test_a_wrong_reference(isolated: Isolated, forged: Callable[..., Path]) -> None:
    """72: a reference to other content than the frame was made with gives nothing that counts."""
    bundle = forged(index=first(lambda line: line.update(reference=[[0, 1, 1]])))
    refused(isolated, bundle, IntegrityError, "is not what was signed|cannot be decompressed|does not hold")


def test_no_reference(isolated: Isolated, forged: Callable[..., Path]) -> None:
    """72: a frame that needs a reference and says none is refused."""
    bundle = forged(index=first(lambda line: line.pop("reference")))
    refused(isolated, bundle, IntegrityError, "cannot be decompressed|is not what was signed|does not hold")


def test_overlapping_frames(isolated: Isolated, forged: Callable[..., Path]) -> None:
    """77: frames of a difference that overlap are refused, like those of an index."""
    bundle = forged(index=lambda lines: [*lines, lines[-1]])
    refused(isolated, bundle, MalformedError, "overlaps another or leaves a gap")


def test_a_chunk_that_is_left_out_and_held_nowhere(isolated: Isolated, forged: Callable[..., Path]) -> None:
    """78: a difference that leaves out what no base holds is refused."""
    bundle = forged(index=lambda lines: [])
    refused(isolated, bundle, MalformedError, "does not cover every chunk")


def test_a_chunk_that_a_base_holds(isolated: Isolated, forged: Callable[..., Path]) -> None:
    """77: a frame cannot bring other content for a chunk that the site holds."""

    def held(line: dict[str, Any]) -> None:
        line["chunks"] = [[0, 3]]

    bundle = forged(index=first(held))
    refused(isolated, bundle, MalformedError, "do not exist or that another holds")


def test_a_hole(isolated: Isolated, forged: Callable[..., Path]) -> None:
    """77: the holes of a site's own index cannot come from outside."""
    bundle = forged(index=first(lambda line: line.update(chunks=[[-1, line["size"]]])))
    refused(isolated, bundle, MalformedError, "do not exist or that another holds")


@pytest.mark.parametrize(
    "lines",
    [
        [{"base": 0, "artifact": "web"}, {"keep": 10_000_000}],
        [{"base": 0, "artifact": "web"}, {"skip": 10_000_000}],
        [{"base": 0, "artifact": "web"}, {"keep": 0}],
        [{"base": 0, "artifact": "web"}, {"keep": -1}],
        [{"base": 0, "artifact": "nothing"}, {"keep": 1}],
        [{"base": 7, "artifact": "web"}, {"keep": 1}],
        [{"base": -1, "artifact": "web"}, {"keep": 1}],
        [{"keep": 1}],
        [{"base": 0, "artifact": "web"}, {"base": 0, "artifact": "web"}],
    ],
    ids=["keep", "skip", "zero", "negative", "artifact", "base", "negative base", "no base", "two bases"],
)
def test_a_tree_that_does_not_fit_to_its_base(isolated: Isolated, forged: Callable[..., Path], lines: Lines) -> None:
    """78: a tree difference that asks for what its base does not have is refused."""
    refused(isolated, forged(tree=lambda _: lines), MalformedError, "tree difference")


def test_a_tree_without_bound(isolated: Isolated, forged: Callable[..., Path]) -> None:
    """67: a tree difference stops where more comes out than the signed manifest says."""
    entry = {"path": "a" * 200, "type": "file", "mode": "0644"}
    bundle = forged(tree=lambda lines: [lines[0], *([entry] * 1000)])
    refused(isolated, bundle, IntegrityError, "larger tree than the signed manifest says")


def test_another_tree(isolated: Isolated, forged: Callable[..., Path]) -> None:
    """78: a tree that is not the one of the signed release manifest is refused."""
    bundle = forged(tree=lambda lines: lines[:-1])
    refused(isolated, bundle, IntegrityError, "is not the signed one")


def test_a_base_with_another_manifest(isolated: Isolated, forged: Callable[..., Path]) -> None:
    """78: a difference to a release of the same name with other content, as another site has it, is refused."""

    def other(part: Part) -> Part:
        return msgspec.structs.replace(part, base=(msgspec.structs.replace(part.base[0], sha256="0" * 64),))

    refused(isolated, forged(part=other), StoreError, "which this site does not hold")


@pytest.mark.parametrize(
    "change",
    [
        lambda part: msgspec.structs.replace(part, trees=part.trees * 2),
        lambda part: msgspec.structs.replace(part, base=part.base * 2),
        lambda part: msgspec.structs.replace(part, base=(part.release,)),
        lambda part: msgspec.structs.replace(part, base=()),
    ],
    ids=["two trees", "a base twice", "itself", "no base"],
)
def test_a_part_that_contradicts_itself(
    isolated: Isolated, forged: Callable[..., Path], change: Callable[[Part], Part]
) -> None:
    """78: bases and trees must fit to each other and to the release."""
    refused(isolated, forged(part=change), MalformedError, "difference")


def subtracted(change: Callable[[dict[str, Any]], None]) -> Callable[[Lines], Lines]:
    """Change the line of the frame that is a subtraction."""

    def changed(lines: Lines) -> Lines:
        change(next(line for line in lines if "subtraction" in line))
        return lines

    return changed


@pytest.mark.parametrize(
    "sizes",
    [[1, 1 << 40, 1, 1], [1 << 21, 1, 1, 1], [1, 1, 2, 1], [1, 1, 1, 1 << 40], [1, 1, 1], [0, 0, 0, 1], [1, -1, -1, 1]],
    ids=["gaps", "instructions", "values", "literals", "three", "no instructions", "negative"],
)
def test_a_subtraction_without_bound(isolated: Isolated, forged: Callable[..., Path], sizes: list[int]) -> None:
    """67: streams that may be longer than what comes of them are refused before anything is decompressed."""
    bundle = forged(index=subtracted(lambda line: line.update(subtraction=sizes)))
    refused(isolated, bundle, MalformedError, "subtraction")


def test_a_subtraction_from_nothing(isolated: Isolated, forged: Callable[..., Path]) -> None:
    """77: a subtraction has a reference."""
    bundle = forged(index=subtracted(lambda line: line.pop("reference")))
    refused(isolated, bundle, MalformedError, "refers to less than 8 bytes")


def test_a_subtraction_from_other_content(isolated: Isolated, forged: Callable[..., Path]) -> None:
    """72: a subtraction from another reference than it was made with gives nothing that counts."""
    bundle = forged(index=subtracted(lambda line: line.update(reference=[[0, 0, 1]])))
    refused(isolated, bundle, IntegrityError, "takes what is not there|cannot be decompressed|is not what was signed")


def test_streams_of_a_subtraction_of_other_sizes(isolated: Isolated, forged: Callable[..., Path]) -> None:
    """69: each stream gives exactly the bytes that were signed."""

    def change(line: dict[str, Any]) -> None:
        instructions, gaps, values, literals = line["subtraction"]
        line["subtraction"] = [instructions, gaps - 1, values - 1, literals]

    refused(isolated, forged(index=subtracted(change)), IntegrityError, "does not hold what the signed")


def test_a_subtraction_that_says_it_is_none(isolated: Isolated, forged: Callable[..., Path]) -> None:
    """70: its streams are no frame of content."""
    bundle = forged(index=subtracted(lambda line: line.pop("subtraction")))
    refused(isolated, bundle, IntegrityError, "does not hold what the signed|cannot be decompressed")


MIB = 1 << 20


def bare(size: int, chunks: tuple[tuple[int, int], ...] = (), **more: Any) -> Patch:
    """A frame that takes one byte."""
    return Patch(pack=0, offset=0, length=1, size=size, sha256="0" * 64, chunks=chunks, **more)


def referring(number: int, reference: tuple[tuple[int, int, int], ...]) -> list[Patch]:
    """The line of a frame with one chunk of one byte."""
    return [bare(1, ((number, 1),), reference=reference)]


def windows(number: int) -> list[Recipe | Patch]:
    """The lines of a recipe with frames of one byte that have large windows."""
    size = MIB // 2
    frames = [bare(each, window=(0, 8 * MIB)) for each in (size - 8, *[1] * 8)]
    pieces, old = ((size,),), ((0, 8 * MIB),)
    return [Recipe(makes=((number, 1),), frames=9, pieces=pieces, source=((0, 0, 1),), old=old), *frames]


@pytest.mark.parametrize(
    ("most", "size", "lines"),
    [
        (31, 1, lambda number: referring(number, ((0, 0, 1),))),
        (16, 1, lambda number: referring(number, ((0, 1, 1),) * 1000)),
        (4, MIB // 2, windows),
    ],
    ids=["large references", "scattered references", "large windows"],
)
def test_small_frames_that_refer_to_much(most: int, size: int, lines: Callable[[int], list[Any]]) -> None:
    """67: what a difference refers to is a multiple of what it brings; what is a little less is taken."""

    def read(count: int) -> None:
        said = [line for number in range(count) for line in lines(number)]
        end = 0
        for position, line in enumerate(said):
            if isinstance(line, Patch):
                said[position] = msgspec.structs.replace(line, offset=end)
                end += 1
        file, blob, _ = packed(KIND, map(msgspec.json.encode, said))
        pack = Blob(sha256="0" * 64, length=end)
        assert len(list(checked(file, blob, [pack], [size] * count, bytearray(count), [[8 * MIB, 8]]))) == count

    read(most)
    with pytest.raises(MalformedError, match="refers to more of its bases than what it brings allows"):
        read(most + 1)
