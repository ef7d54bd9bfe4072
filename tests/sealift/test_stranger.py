"""A second implementation of the format's reading side agrees with Sealift about every bundle."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import stranger
from forge import Forge, Spoils
from forge import sha256 as digest_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strange import for_sites, spaced
from teams import Team
from worlds import NOW, Connected, sample

from sealift.container import BLOCK, Reader
from sealift.errors import SealiftError
from sealift.opening import authenticate, check_packs, listings
from sealift.progress import Silent
from sealift.trust import anchor
from tests import tufmaker

GOLDEN = Path(__file__).parents[1] / "golden"
TODAY = datetime(2026, 6, 1, tzinfo=UTC)
FINGERPRINT: str = json.loads((GOLDEN / "golden.json").read_text(encoding="utf-8"))["fingerprint"]


def snapshot(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Every entry below `folder`: what it is, and its content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = ("link", os.fsencode(os.readlink(path)))
        elif path.is_dir():
            found[name] = ("dir", b"")
        else:
            found[name] = ("executable" if path.stat().st_mode & 0o111 else "file", path.read_bytes())
    return found


def sealift_accepts(bundle: Path) -> bool:
    """Whether Sealift takes a bundle that is signed under the golden root."""
    trust = anchor((GOLDEN / "root.json").read_bytes(), FINGERPRINT, reference=TODAY)
    try:
        with Reader(bundle) as reader:
            for content in authenticate(reader, trust, reference=TODAY).contents:
                list(listings(reader, content))
                check_packs(reader, content.part.packs, workers=1, progress=Silent())
    except SealiftError:
        return False
    return True


def stranger_accepts(bundle: Path, out: Path) -> bool:
    """Whether the stranger takes it."""
    try:
        stranger.extract(bundle, FINGERPRINT, TODAY, out)
    except stranger.REFUSALS:
        return False
    finally:
        shutil.rmtree(out, ignore_errors=True)
    return True


def test_the_stranger_gets_the_source_folder_back(connected: Connected, tmp_path: Path) -> None:
    """What the exporter sealed comes out byte for byte: content, execute bits, links and empty folders."""
    spec = connected.spec("1.0.0", sample())
    source = connected.root / "shop-1.0.0"
    (source / "hollow").mkdir()
    (source / "current").symlink_to("assets/app.js")
    bundle = connected.export(spec)
    assert stranger.extract(bundle, connected.fingerprint, NOW, tmp_path / "out") == ["shop@1.0.0"]
    assert snapshot(tmp_path / "out" / "shop@1.0.0" / "web") == snapshot(source)


def test_the_stranger_opens_a_bundle_of_two_releases(connected: Connected, tmp_path: Path) -> None:
    """Releases that share all their content cross in one bundle, each whole."""
    specs = [connected.spec("1.0.0", sample()), connected.spec("1.0.1", sample())]
    bundle = connected.export(specs)
    assert stranger.extract(bundle, connected.fingerprint, NOW, tmp_path) == ["shop@1.0.0", "shop@1.0.1"]
    for version in ("1.0.0", "1.0.1"):
        assert snapshot(tmp_path / f"shop@{version}" / "web") == snapshot(connected.root / f"shop-{version}")


def test_the_stranger_needs_the_right_fingerprint(connected: Connected, tmp_path: Path) -> None:
    """A bundle says nothing to a reader that does not know its root."""
    bundle = connected.bundle("1.0.0", {"a": b"a"})
    with pytest.raises(stranger.RefusedError, match="stranger"):
        stranger.extract(bundle, "0" * 64, NOW, tmp_path)


def test_the_stranger_opens_a_release_without_content(connected: Connected, tmp_path: Path) -> None:
    """A release of empty files has an index without frames and no packs."""
    bundle = connected.bundle("1.0.0", {"empty": b"", "more/empty": b""})
    stranger.extract(bundle, connected.fingerprint, NOW, tmp_path)
    assert snapshot(tmp_path / "shop@1.0.0" / "web") == snapshot(connected.root / "shop-1.0.0")


NAMES = (
    st.text(
        st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"], exclude_characters="/\\"),
        min_size=1,
        max_size=12,
    )
    .map(stranger.fold)
    .filter(lambda name: name not in (".", "..") and stranger.fold(name) == name)
)
FILES = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=3).map("/".join),
    st.one_of(st.binary(max_size=200), st.integers(1, 300_000).map(lambda size: bytes(size))),
    min_size=1,
    max_size=12,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=FILES)
def test_any_tree_comes_back(
    connected: Connected, tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    """Whatever files there are, the stranger gets the same ones back that the exporter was given."""
    folders = {str(parent) for name in files for parent in Path(name).parents}
    files = {name: content for name, content in files.items() if name not in folders}
    version = f"1.{len(connected.made)}"
    bundle = connected.bundle(version, files)
    out = tmp_path_factory.mktemp("out")
    stranger.extract(bundle, connected.fingerprint, NOW, out)
    assert snapshot(out / f"shop@{version}" / "web") == snapshot(connected.root / f"shop-{version}")


def regions() -> list[tuple[str, int]]:
    """A place in every region of the golden bundle: each member's header, start, middle, end and padding."""
    found = []
    with Reader(GOLDEN / "shop-1.1.0.sealift") as bundle:
        for member in bundle.members:
            name = member.name.partition("/")[0] if member.kind not in ("hint", "metadata") else member.name
            places = {"name": -BLOCK, "size": -BLOCK + 130, "rest": -100, "start": 0, "middle": member.size // 2}
            places |= {"end": member.size - 1} | ({"padding": member.size} if member.size % BLOCK else {})
            found += [(f"{name}-{where}", member.offset + place) for where, place in places.items()]
        found += [("end-first", bundle.size - 2 * BLOCK), ("end-last", bundle.size - 1)]
    return found


@pytest.mark.parametrize("bit", [0, 6])
def test_both_readers_refuse_a_flipped_bit_in_every_region(tmp_path: Path, bit: int) -> None:
    """Attack 76: no bit outside of the hint can be flipped without notice, whoever reads."""
    original = (GOLDEN / "shop-1.1.0.sealift").read_bytes()
    taken = []
    for name, place in regions():
        damaged = bytearray(original)
        damaged[place] ^= 1 << bit
        bundle = tmp_path / "damaged.sealift"
        bundle.write_bytes(damaged)
        assert sealift_accepts(bundle) == stranger_accepts(bundle, tmp_path / "out"), name
        if sealift_accepts(bundle):
            taken.append(name)
    assert set(taken) <= {"SEALIFT.json-start", "SEALIFT.json-middle", "SEALIFT.json-end"}


def test_both_readers_refuse_a_truncated_bundle(tmp_path: Path) -> None:
    """A bundle that was cut off at the end of any member, or anywhere in its last blocks, is refused."""
    original = (GOLDEN / "shop-1.1.0.sealift").read_bytes()
    with Reader(GOLDEN / "shop-1.1.0.sealift") as bundle:
        ends = [member.offset - BLOCK for member in bundle.members] + [
            bundle.size - cut for cut in (1, 512, 1024, 1025)
        ]
    for end in ends:
        (tmp_path / "short.sealift").write_bytes(original[:end])
        assert not sealift_accepts(tmp_path / "short.sealift")
        assert not stranger_accepts(tmp_path / "short.sealift", tmp_path / "out")


def test_both_readers_refuse_bytes_after_the_end(tmp_path: Path) -> None:
    """Attack 70: nothing follows the last block, not even zeros."""
    for more in (b"\0" * 512, b"x"):
        (tmp_path / "long.sealift").write_bytes((GOLDEN / "shop-1.0.0.sealift").read_bytes() + more)
        assert not sealift_accepts(tmp_path / "long.sealift")
        assert not stranger_accepts(tmp_path / "long.sealift", tmp_path / "out")


@pytest.mark.parametrize("named", ["audience", "team"])
def test_a_stranger_reads_what_is_new_in_a_bundle(named: str, tmp_path: Path) -> None:
    """Audiences and teams are specified as they are read: a release of a team comes out like any other."""
    forge = Forge()
    spoils = for_sites("plant-7") if named == "audience" else spaced(forge, Team())
    bundle = forge.bundle(tmp_path / "b", spoils)
    labels = stranger.extract(bundle, digest_of(forge.root), tufmaker.NOW, tmp_path / "out")
    assert labels == (["shop@1.0.0"] if named == "audience" else ["team-a/shop@1.0.0"])


@pytest.mark.parametrize(
    "spoils",
    [
        lambda forge: for_sites("b", "a"),
        lambda forge: for_sites(),
        lambda forge: spaced(forge, Team(), signer_of=Team()),
        lambda forge: spaced(forge, Team(), name="team-b/shop"),
        lambda forge: spaced(forge, Team(name="targets")),
    ],
    ids=["order", "nobody", "another key", "another team", "a role"],
)
def test_a_stranger_refuses_what_is_not_a_teams_or_a_sites(spoils: Callable[[Forge], Spoils], tmp_path: Path) -> None:
    """32, 34: what Sealift refuses of teams and audiences, the specification refuses."""
    forge = Forge()
    bundle = forge.bundle(tmp_path / "b", spoils(forge))
    with pytest.raises(stranger.REFUSALS):
        stranger.extract(bundle, digest_of(forge.root), tufmaker.NOW, tmp_path / "out")
