"""Differences at the site: what becomes of them, what is refused, and that nothing depends on what they were."""

from __future__ import annotations

import importlib.util
import itertools
import random
from pathlib import Path

import images
import pytest
from archives import Packed, zipped
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from worlds import Connected, Isolated, program, sample

from installer.auditing import audit
from installer.collecting import collect
from installer.environments.environment import load
from installer.storage import rebuilding
from installer.storage.store import Store
from sealift import addition
from sealift.addition import Addition
from sealift.errors import IntegrityError, StoreError
from sealift.index import HOLE
from sealift.progress import Silent


def changed() -> dict[str, bytes]:
    """The sample with a change in a small file, in a large one, a new, a renamed and a removed one."""
    files = sample(1)
    del files["assets/copy.js"]
    large = files["assets/large.txt"]
    files["assets/large.txt"] = large[:900_000] + b"a line that is new\n" + large[900_000:]
    files["assets/app.js"] = files["assets/app.js"].replace(b"42", b"43", 5)
    files["assets/new.bin"] = random.Random(7).randbytes(40_000)
    files["release-2.txt"] = b"release 2\n"
    return files


def tree_of(folder: Path) -> dict[str, bytes]:
    """What lies below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def difference(connected: Connected, isolated: Isolated) -> Path:
    """A bundle with what 1.1.0 adds to 1.0.0, which the site holds."""
    isolated.admit(connected.bundle("1.0.0"))
    return connected.bundle("1.1.0", changed(), since=["shop@1.0.0"])


def test_a_difference_is_deployed_like_the_whole_release(isolated: Isolated, difference: Path) -> None:
    """What comes out of a difference are the files that went in, byte for byte."""
    isolated.admit(difference)
    isolated.apply("1.1.0")
    assert tree_of(isolated.srv / "current") == changed()


def test_it_is_small(connected: Connected, difference: Path) -> None:
    """A difference of a few lines carries these and the one new file, not the 3 MiB that stay."""
    assert difference.stat().st_size < 40_000 + 40_000
    assert (connected.root / "shop-1.0.0.sealift").stat().st_size > 3 << 20


def test_only_what_is_new_is_written(isolated: Isolated, difference: Path) -> None:
    """An import of a difference leaves the packs that are there as they are, and adds few bytes."""
    packs = isolated.site.store / "packs"
    before = {path.name: path.stat().st_mtime_ns for path in packs.iterdir()}
    done = isolated.admit(difference)
    after = {path.name: path.stat().st_mtime_ns for path in packs.iterdir()}
    assert before.items() <= after.items()
    assert done.written < 1 << 20


def test_a_deep_audit_reads_every_chunk_of_it(isolated: Isolated, difference: Path) -> None:
    """What was rebuilt, and what was taken over from the base, is whole by digest of every chunk."""
    isolated.admit(difference)
    assert audit(isolated.site, deep=True, workers=2, progress=Silent()).sound


def test_programs_are_rebuilt_with_numpy_where_they_are_many(
    connected: Connected, isolated: Isolated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a difference adds to many bytes, numpy does, and what comes out are the files that went in."""
    used = []

    def with_numpy() -> Addition | None:
        used.append(True)
        return real()

    real = addition.with_numpy
    monkeypatch.setattr(addition, "WORTH", 1)
    monkeypatch.setattr(rebuilding, "WORTH", 1)
    monkeypatch.setattr(addition, "with_numpy", with_numpy)
    isolated.admit(connected.bundle("1.0.0", {"program": program(1)}))
    after = {"program": program(1, moved=400)}
    isolated.admit(connected.bundle("1.1.0", after, since=["shop@1.0.0"]))
    isolated.apply("1.1.0")
    assert used
    assert tree_of(isolated.srv / "current") == after


def test_the_base_may_leave(isolated: Isolated, difference: Path) -> None:
    """After the base was collected as garbage, what was a difference to it is still deployed and audited."""
    isolated.admit(difference)
    collected = collect(isolated.site, isolated.installation, keep=1, dry_run=False, clock=lambda: isolated.now)
    assert collected.releases == ("shop@1.0.0",)
    assert audit(isolated.site, deep=True, workers=2, progress=Silent()).sound
    isolated.apply("1.1.0")
    assert tree_of(isolated.srv / "current") == changed()


def test_importing_it_again_changes_nothing(isolated: Isolated, difference: Path) -> None:
    """A second import finds everything there, also when the base has left meanwhile."""
    isolated.admit(difference)
    collect(isolated.site, isolated.installation, keep=1, dry_run=False, clock=lambda: isolated.now)
    before = isolated.fingerprint_of_everything()
    done = isolated.admit(difference)
    assert (done.new, done.written) == ((), 0)
    assert isolated.fingerprint_of_everything() == before


def test_a_damaged_pack_is_rebuilt_by_the_same_import(isolated: Isolated, difference: Path) -> None:
    """A pack that was rebuilt and then damaged comes out the same again."""
    isolated.admit(difference)
    part = next(each for each in isolated.site.state.admitted if each.version == "1.1.0").part
    damaged = Store(isolated.site.store).pack(part.packs[-1])
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    isolated.admit(difference)
    assert damaged.read_bytes() == content


def test_a_whole_bundle_takes_the_place_of_a_difference(
    connected: Connected, isolated: Isolated, difference: Path
) -> None:
    """A whole bundle of a release that came as a difference is admitted, and the release lies in its packs then."""
    isolated.admit(difference)
    whole = connected.export(connected.root / "shop-1.1.0.yaml", connected.root / "whole.sealift")
    done = isolated.admit(whole)
    assert done.new == ()
    assert done.written > 3 << 20
    isolated.apply("1.1.0")
    assert tree_of(isolated.srv / "current") == changed()


def test_without_its_base_it_is_refused_before_anything_is_written(connected: Connected, isolated: Isolated) -> None:
    """A site that lacks the base says which release it lacks and what to ask for, and is as it was."""
    connected.bundle("1.0.0")
    isolated.admit(connected.bundle("0.9.0", {"old": b"old"}))
    difference = connected.bundle("1.1.0", changed(), since=["shop@1.0.0"])
    before = isolated.fingerprint_of_everything()
    with pytest.raises(StoreError, match=r"adds to shop@1\.0\.0, which this site does not hold") as refused:
        isolated.admit(difference)
    assert "export shop@1.1.0" in (refused.value.hint or "")
    assert "--since shop@0.9.0" in (refused.value.hint or "")
    assert isolated.fingerprint_of_everything() == before


def test_a_damaged_base_is_found(isolated: Isolated, difference: Path) -> None:
    """A base whose pack the disk damaged is no reference: the import names the pack, and the site is as it was."""
    part = isolated.site.state.admitted[0].part
    for pack in part.packs:
        path = Store(isolated.site.store).pack(pack)
        path.write_bytes(bytes(path.stat().st_size))
    before = isolated.fingerprint_of_everything()
    with pytest.raises(IntegrityError, match="is missing or damaged, and a difference refers to it"):
        isolated.admit(difference)
    assert isolated.fingerprint_of_everything() == before


def test_a_difference_of_nothing_is_only_a_tree(connected: Connected, isolated: Isolated) -> None:
    """A release that only loses a file travels without packs."""
    files = sample(1)
    isolated.admit(connected.bundle("1.0.0", files))
    del files["index.html"]
    bundle = connected.bundle("1.1.0", files, since=["shop@1.0.0"])
    assert connected.made[bundle.name].carried[0].part.packs == ()
    isolated.admit(bundle)
    isolated.apply("1.1.0")
    assert tree_of(isolated.srv / "current") == files


def test_two_bases_serve_together(connected: Connected, isolated: Isolated) -> None:
    """What either of two bases holds is left out."""
    isolated.admit(connected.bundle("1.0.0", {"a": b"a" * 5000, "same": b"s"}))
    isolated.admit(connected.bundle("2.0.0", {"b": b"b" * 5000, "same": b"s"}))
    files = {"a": b"a" * 5000, "b": b"b" * 5000, "c": b"c"}
    bundle = connected.bundle("3.0.0", files, since=["shop@2.0.0", "shop@1.0.0"])
    assert connected.made[bundle.name].carried[0].difference
    isolated.admit(bundle)
    isolated.apply("3.0.0")
    assert tree_of(isolated.srv / "current") == files


CONTENTS = st.one_of(
    st.binary(max_size=40),
    st.builds(lambda seed, size: random.Random(seed).randbytes(size), st.integers(0, 3), st.integers(1, 5000)),
    st.builds(
        lambda seed, at, new: _spliced(random.Random(seed).randbytes(1_300_000), at, new),
        st.integers(0, 1),
        st.integers(0, 1_300_000),
        st.binary(max_size=9),
    ),
)
TREES = st.dictionaries(st.sampled_from(["a", "b1", "b2", "d/e", "d/f.10", "d/f.11", "z"]), CONTENTS, min_size=1)


def _spliced(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at:]


COUNT = itertools.count()


@pytest.mark.slow
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chain=st.lists(TREES, min_size=2, max_size=4))
def test_any_chain_of_differences_gives_the_files_back(
    connected: Connected, isolated: Isolated, chain: list[dict[str, bytes]]
) -> None:
    """Trees of any kind, each carried as a difference to the one before, come out byte for byte."""
    name = f"r{next(COUNT)}"
    isolated.admit(connected.bundle("0", chain[0], release=name))
    for number, files in enumerate(chain[1:], start=1):
        isolated.admit(connected.bundle(f"{number}", files, release=name, since=[f"{name}@{number - 1}"]))
        collect(isolated.site, isolated.installation, keep=1, dry_run=False, clock=lambda: isolated.now)
        isolated.installation.apply(load(isolated.environment(f"{number}", release=name)))
        assert tree_of(isolated.srv / "current") == files
    assert audit(isolated.site, deep=True, workers=2, progress=Silent()).sound


REAL = st.lists(st.sampled_from(["click", "msgspec", "tuf", "jinja2", "certifi", "yaml"]), min_size=1, max_size=2)


def packages(names: list[str]) -> dict[str, bytes]:
    """The files of installed packages in one folder, sources, programs and archives, so that one hides another's."""
    files: dict[str, bytes] = {}
    for name in names:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        files |= tree_of(Path(spec.origin).parent)
        files[f"{name}.zip"] = zipped([Packed(name=path, content=files[path]) for path in sorted(files)])
    return files


@pytest.mark.slow
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chain=st.lists(REAL, min_size=2, max_size=3))
def test_any_chain_of_differences_gives_real_packages_back(
    connected: Connected, isolated: Isolated, chain: list[list[str]]
) -> None:
    """From one set of packages to another and on, with what is renamed, replaced and gone, byte for byte."""
    name = f"p{next(COUNT)}"
    isolated.admit(connected.bundle("0", packages(chain[0]), release=name))
    for number, names in enumerate(chain[1:], start=1):
        files = packages(names)
        isolated.admit(connected.bundle(f"{number}", files, release=name, since=[f"{name}@{number - 1}"]))
        collect(isolated.site, isolated.installation, keep=1, dry_run=False, clock=lambda: isolated.now)
        isolated.installation.apply(load(isolated.environment(f"{number}", release=name)))
        assert tree_of(isolated.srv / "current") == files
    assert audit(isolated.site, deep=True, workers=2, progress=Silent()).sound


def test_images_that_came_as_a_difference_are_deployed_whole(
    connected: Connected, isolated: Isolated, tmp_path: Path
) -> None:
    """Where a frame of the base holds more than the new image, what is between its blobs is passed over."""
    isolated.admit(connected.export(connected.images("1.0", images.sample(1))))
    isolated.admit(connected.export(connected.images("1.1", images.sample(2)), since=["shop@1.0"]))
    part = isolated.site.state.admitted[1].part
    assert any(HOLE in dict(frame.chunks) for frame in Store(isolated.site.store).frames(part.index))
    isolated.deploy("1.1", f"{{kind: oci-layout, path: {tmp_path / 'srv'}}}")
    assert isolated.problem(deep=True) is None
