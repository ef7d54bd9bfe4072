"""Archives that nothing rebuilds: as tokens where that is asked for, and otherwise as they are, which is said."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest
from archives import Packed, edited, prose, zipped
from calls import Call
from layers import in_blocks, tarred
from worlds import Connected, Isolated

from bundler import exporting
from bundler.archives.forms import Forms, Places
from bundler.archives.inflations import Counted
from bundler.cli import PROGRAM as BUNDLE
from bundler.depots.depot import Depot
from bundler.differences.patching import Difference
from bundler.reliance import Reliance
from installer.auditing import audit
from installer.cli import PROGRAM as INSTALL
from keys.ceremony import init
from sealift.progress import Silent
from sealift.stretch import Stretch

FILES = {f"usr/lib/{number}.py": prose(number, 60_000) for number in range(6)}
OLD = in_blocks(tarred(FILES))
NEW = in_blocks(tarred({name: edited(content) for name, content in FILES.items()}))


def made_by(connected: Connected, bundle: Path) -> Difference:
    """What the export says of the difference in a bundle."""
    made = connected.made[bundle.name].carried[0].difference
    assert made is not None
    return made


def test_a_layer_that_nothing_rebuilds_crosses_as_tokens(connected: Connected, isolated: Isolated) -> None:
    """It costs what changed in it, and comes out bit for bit; the store is as after any import."""
    isolated.admit(connected.bundle("1.0.0", {"0a": OLD}))
    bundle = connected.bundle("1.1.0", {"0b": NEW}, since=["shop@1.0.0"], small=True)
    inside = made_by(connected, bundle).inside
    assert inside.tokens == Counted(archives=1, size=len(NEW) - 18)
    assert inside.left == Counted()
    assert inside.carried < len(NEW) / 5
    isolated.admit(bundle)
    isolated.apply("1.1.0")
    assert (isolated.srv / "current/0b").read_bytes() == NEW
    assert audit(isolated.site, deep=True, workers=2, progress=Silent()).sound
    assert not list(isolated.folder.rglob(".tmp-*"))


def test_the_chain_goes_on(connected: Connected, isolated: Isolated) -> None:
    """What came as tokens is old material of the next difference, and a file that was whole before."""
    versions = [OLD, NEW, in_blocks(tarred({name: edited(content, 5) for name, content in FILES.items()}), 70_000)]
    isolated.admit(connected.bundle("1.0.0", {"0a": versions[0]}))
    for number, content in enumerate(versions[1:], 1):
        bundle = connected.bundle(f"1.{number}.0", {"0a": content}, since=[f"shop@1.{number - 1}.0"], small=True)
        assert made_by(connected, bundle).inside.tokens.archives == 1
        isolated.admit(bundle)
    isolated.apply("1.2.0")
    assert (isolated.srv / "current/0a").read_bytes() == versions[-1]


def test_no_archive_becomes_larger_by_it(connected: Connected) -> None:
    """What is all new travels as it is, though a member of its name was there before, and is not spoken of again."""
    kept, new, other = prose(1, 300_000), prose(50, 400_000), prose(90, 400_000)
    old = zipped([Packed(name="z", content=kept), Packed(name="x", content=other, memory=7)])
    now = zipped([Packed(name="z", content=edited(kept)), Packed(name="x", content=new, memory=7)])
    connected.bundle("1.0.0", {"a.zip": old})
    without, small = (
        made_by(connected, connected.bundle(version, {"a.zip": now}, since=["shop@1.0.0"], small=small))
        for version, small in (("1.1.0", False), ("1.2.0", True))
    )
    assert without.inside.left.archives == 1
    assert small.inside.tokens == small.inside.left == Counted()
    assert small.inside.archives == 1
    assert small.size <= without.size


def test_archives_that_begin_alike_do_not_meet(connected: Connected, isolated: Isolated) -> None:
    """Each is made in a file of its own, though their first chunk is the same one."""
    common = Packed(name="lib.bin", content=random.Random(3).randbytes(1_400_000), deflated=False)

    def jar(number: int, *, new: bool) -> bytes:
        contents = [prose(10 * number + each, 60_000) for each in range(3)]
        changed = [edited(content) if new else content for content in contents]
        return zipped([common, *(Packed(name=f"{at}.py", content=content) for at, content in enumerate(changed))])

    isolated.admit(connected.bundle("1.0.0", {f"{each}.jar": jar(each, new=False) for each in (1, 2)}))
    files = {f"{each}.jar": jar(each, new=True) for each in (1, 2)}
    bundle = connected.bundle("1.1.0", files, since=["shop@1.0.0"])
    assert made_by(connected, bundle).inside.archives == 2
    isolated.admit(bundle)
    isolated.apply("1.1.0")
    assert all((isolated.srv / "current" / name).read_bytes() == content for name, content in files.items())


def test_it_needs_no_zlib_at_the_site(connected: Connected, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the sites' zlib gives other bytes, members travel as tokens that zlib would rebuild here."""
    monkeypatch.setattr(exporting, "reliance", lambda _: Reliance(zlib=False))
    connected.bundle("1.0.0", {"a": OLD})
    made = made_by(connected, connected.bundle("1.1.0", {"a": NEW}, since=["shop@1.0.0"], small=True))
    assert made.inside.tokens.archives == 1


def test_it_is_as_it_is_where_nobody_asked(connected: Connected) -> None:
    """Without being asked, the export counts what it leaves, and takes nothing apart."""
    connected.bundle("1.0.0", {"0a": OLD})
    inside = made_by(connected, connected.bundle("1.1.0", {"0b": NEW}, since=["shop@1.0.0"])).inside
    assert (inside.archives, inside.tokens) == (0, Counted())
    assert inside.left == Counted(archives=1, size=len(NEW) - 18)


def test_what_a_tar_holds_is_found_where_it_moved(connected: Connected) -> None:
    """Behind a file that is new and large, the others are compressed against their own old versions."""
    files = {f"usr/lib/{number}.py": prose(number, 200_000) for number in range(8)}
    noise = random.Random(1).randbytes(1_600_000)
    connected.bundle("1.0.0", {"0a": in_blocks(tarred(files))})
    bundle = connected.bundle(
        "1.1.0", {"0b": in_blocks(tarred({"usr/first": noise, **files}))}, since=["shop@1.0.0"], small=True
    )
    assert made_by(connected, bundle).inside.carried < len(noise) * 1.06 + 40_000


class Whole:
    """One chunk in memory."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, which: int, number: int, /) -> memoryview:
        return memoryview(self.content)


def test_places_in_a_form_are_about_where_the_content_is(tmp_path: Path) -> None:
    """A place of the content leads to the tokens that are there, give or take a block, however it compresses."""
    first, second = random.Random(1).randbytes(400_000), prose(1, 600_000)
    layer, half = in_blocks(first + second), in_blocks(first)
    file = Stretch(Whole(layer), [(0, 0)], [len(layer)])
    with Forms(tmp_path) as forms:
        form = forms.proved(file, 10, len(layer) - 18)
        begins = forms.of(Stretch(Whole(half), [(0, 0)], [len(half)]), 10, len(half) - 18)
        assert form is not None
        assert begins is not None
        places = Places(form, file, 10, len(layer) - 18)
        assert b"".join(places.content(len(first + second))) == first + second
    assert places.of(0) == 0
    assert abs(places.of(len(first)) - begins.size) < 60_000
    assert places.of(len(first + second)) == form.size
    assert places.size(10, 0) == 1


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Connected:
    """A depot of today without passphrases, with specs of two versions of a layer, in the current folder."""
    monkeypatch.chdir(tmp_path)
    made = init(
        tmp_path / "depot", root_keys=1, threshold=1, passphrase=None, now=datetime.now(UTC), unsafe_unencrypted=True
    )
    connected = Connected(root=tmp_path, depot=Depot(tmp_path / "depot"), fingerprint=made.fingerprint)
    for version, blob in (("1.0.0", OLD), ("1.1.0", NEW)):
        connected.spec(version, {"0a": blob})
    return connected


OPTIONS = ("--depot", "depot", "--unsafe-no-passphrase")


def test_the_commands_say_what_is_taken_apart(here: Connected, capsys: pytest.CaptureFixture[str]) -> None:
    """The export says what `--small` would take apart, and what it did; so do its rehearsal and an inspection."""
    bundle, install = Call(BUNDLE, capsys), Call(INSTALL, capsys)
    since = ("--since", "shop@1.0.0")
    left = "cross as they are, since nothing here rebuilds them; export --small takes them apart"
    assert bundle("export", "shop-1.0.0.yaml", *OPTIONS) == 0
    assert bundle("export", "shop-1.1.0.yaml", *OPTIONS, *since, "--dry-run") == 0
    assert f"shop@1.1.0 since shop@1.0.0: 1 archive ({len(NEW) / 1000:.1f} kB of members) {left}" in bundle.out
    assert bundle("export", "shop-1.1.0.yaml", *OPTIONS, *since, "--dry-run", "--small") == 0
    assert "1 archive inflated" in bundle.out
    assert left not in bundle.out
    assert bundle("export", "shop-1.1.0.yaml", *OPTIONS, *since) == 0
    assert left in bundle.out
    assert bundle("export", "shop@1.1.0", *OPTIONS, *since, "--small", "--json") == 0
    said = json.loads(bundle.out)["releases"][0]["difference"]
    assert said["tokens"] == {"archives": 1, "bytes": len(NEW) - 18}
    assert said["left"] == {"archives": 0, "bytes": 0}
    assert bundle("inspect", "shop-1.1.0.sealift", "--depot", "depot") == 0
    assert "1 archive of them as tokens" in bundle.out
    assert install("enroll", "--site", "site", "--root", "depot/metadata/1.root.json", "--fingerprint",
                   here.fingerprint) == 0  # fmt: skip
    assert install("import", "--site", "site", "shop-1.0.0.sealift") == 0
    assert install("import", "--site", "site", "shop-1.1.0.sealift") == 0


@pytest.mark.parametrize("other", ["--fast", "--no-inflate"])
def test_small_with_its_contrary(here: Connected, capsys: pytest.CaptureFixture[str], other: str) -> None:
    """What saves time, or leaves archives whole, does not go with what takes them apart."""
    bundle = Call(BUNDLE, capsys)
    assert bundle("export", "shop-1.1.0.yaml", *OPTIONS, "--small", other) == 2
    assert "--small takes archives apart" in bundle.err
