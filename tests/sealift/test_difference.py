"""The format of differences: frames with a reference, and trees as the lines that change."""

from __future__ import annotations

import random

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from bundler.coding.coding import against
from sealift import manifest as manifests
from sealift.difference import unseal
from sealift.errors import IntegrityError, MalformedError
from sealift.listing import Blob, ListingBlob, packed
from sealift.manifest import Bundle, Part, ReleaseBlob
from sealift.tree import Entry, position
from sealift.tree_difference import KIND, From, edits, tree_lines

PATHS = st.sampled_from(["a", "a/b", "b", "c", "d e", "z/0", "é"])
TREES = st.dictionaries(PATHS, st.integers(0, 2), max_size=7)


def entries(tree: dict[str, int]) -> list[Entry]:
    """Entries in canonical order; what lies where does not matter here."""
    return [
        Entry(path, "file", "0644", size) for path, size in sorted(tree.items(), key=lambda each: position(each[0]))
    ]


@given(old=TREES, new=TREES)
def test_edits_give_the_new_tree(old: dict[str, int], new: dict[str, int]) -> None:
    """What `edits` says of two trees makes the lines of the second of those of the first."""
    before, after = ([msgspec.json.encode(each) for each in entries(tree)] for tree in (old, new))
    content = (msgspec.json.encode(line) for line in (From(0, "web"), *edits(iter(entries(old)), iter(entries(new)))))
    file, blob, _ = packed(KIND, content)
    taken = tree_lines(file, blob, lambda base, name: iter(before), 10_000)
    assert [line for some in taken for line in some.lines] == after


def test_unchanged_lines_cost_nothing() -> None:
    """A long tree in which one line changes is three lines."""
    old = [Entry(f"{number:05}", "file", "0644", 1) for number in range(10_000)]
    new = [*old[:500], Entry("00500", "file", "0644", 2), *old[501:]]
    assert len(list(edits(iter(old), iter(new)))) == 4


@given(reference=st.binary(min_size=8, max_size=5000), new=st.binary(max_size=50), at=st.integers(0, 5000))
def test_a_frame_with_a_reference_is_decoded_by_a_raw_dictionary(reference: bytes, new: bytes, at: int) -> None:
    """What one library compresses with a prefix, the other decodes with the same bytes as a raw content dictionary."""
    content = reference[:at] + new + reference[at:] + b"."
    assert unseal(against(content, reference, 3), len(content), reference) == content


def test_it_needs_the_reference() -> None:
    """Another reference gives other content or an error, never the right content by chance."""
    reference = random.Random(1).randbytes(10_000)
    frame = against(reference + b"!", reference, 3)
    assert len(frame) < 64
    for wrong in (reference[1:] + b".", b"", bytes(len(reference))):
        try:
            assert unseal(frame, len(reference) + 1, wrong) != reference + b"!"
        except IntegrityError:
            continue


@pytest.mark.parametrize("size", [0, 10, 10_242])
def test_a_wrong_size_is_refused(size: int) -> None:
    """The size comes from the signed listing, and nothing else comes out."""
    reference = bytes(range(256)) * 40
    with pytest.raises(IntegrityError, match="does not hold what the signed difference says"):
        unseal(against(reference + b"!", reference, 3), size, reference)


def test_a_large_window_is_refused() -> None:
    """A frame that asks for a larger window than a reader grants is refused with a reference as well."""
    parameters = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=True, write_checksum=False)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj(size=9 << 20)
    frame = stream.compress(bytes(9 << 20)) + stream.flush()
    with pytest.raises(IntegrityError, match="window"):
        unseal(frame, 9 << 20, b"reference")


def test_a_tree_difference_is_bounded() -> None:
    """It stops at the size that the signed manifest gives, before the next line."""
    file, blob, _ = packed(KIND, [msgspec.json.encode(Entry("a" * 100, "file", "0644"))] * 3)
    found = tree_lines(file, blob, lambda base, name: iter(()), 200)
    assert next(found)
    with pytest.raises(IntegrityError, match="larger tree"):
        next(found)


def test_a_manifest_has_bases_and_trees_or_neither() -> None:
    """A part with a base and no trees, or with trees and no base, is malformed."""
    digest = "0" * 64
    listing = ListingBlob(sha256=digest, length=1, size=1)
    said = ReleaseBlob(name="shop", version="2", sha256=digest, length=1)
    base = ReleaseBlob(name="shop", version="1", sha256=digest, length=1)

    def content(part: Part) -> bytes:
        return manifests.encode(Bundle(format=1, type="bundle", root_version=1, parts=(part,)))

    whole = Part(release=said, index=listing, packs=(Blob(sha256=digest, length=1),))
    assert b"base" not in content(whole)
    both = msgspec.structs.replace(whole, base=(base,), trees=(listing,))
    assert manifests.bundle(content(both)).parts == (both,)
    for wrong in (msgspec.structs.replace(both, trees=()), msgspec.structs.replace(both, base=())):
        with pytest.raises(MalformedError, match="difference"):
            manifests.bundle(content(wrong))
