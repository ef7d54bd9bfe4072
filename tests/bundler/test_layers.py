"""Layers of images in differences: inflated where receipts prove a program that rebuilds them, else as they are."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from archives import edited, prose
from calls import Call
from layers import compressed, tarred
from worlds import NOW, Connected, Isolated

from bundler.archives.archives import units
from bundler.archives.inflations import Counted
from bundler.archives.proving import Programs, Prover
from bundler.cli import PROGRAM as BUNDLE
from bundler.depots import sites
from bundler.depots.depot import Depot
from bundler.depots.published import Reference
from bundler.differences.patching import Difference
from bundler.rehearsing import rehearse
from bundler.sealing import Effort
from installer.auditing import audit
from installer.cli import PROGRAM as INSTALL
from installer.receipting import receipt
from keys.ceremony import init
from sealift.errors import StoreError
from sealift.progress import Silent
from sealift.rebuilder import Rebuilder
from sealift.receipt import Proof, Statement
from sealift.stretch import Stretch

FILES = {f"usr/lib/{number}.py": prose(number, 130_000).replace(b" 7", b"\n7") for number in range(10)}
NEWER = {
    name: edited(content) if number % 3 == 0 else content for number, (name, content) in enumerate(FILES.items())
} | {"usr/lib/05-new.py": prose(99, 9000)}


@pytest.fixture(scope="session")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[bytes, bytes]]:
    """Gives a layer and its next version, as a program compresses them."""
    made: dict[str, tuple[bytes, bytes]] = {}

    def make(by: str) -> tuple[bytes, bytes]:
        if by not in made:
            folder = tmp_path_factory.mktemp(by)
            newer = dict(sorted(NEWER.items()))
            made[by] = compressed(by, tarred(FILES), folder / "1"), compressed(by, tarred(newer), folder / "2")
        return made[by]

    return make


Blobs = Callable[[str], tuple[bytes, bytes]]


def introduced(connected: Connected, isolated: Isolated) -> Statement:
    """A receipt of the site, which the depot knows."""
    statement, _ = receipt(isolated.site, NOW)
    with connected.depot.lock():
        sites.introduce(connected.depot, statement, statement.fingerprint)
    return statement


def made_by(connected: Connected, bundle: Path) -> Difference:
    """What the export says of the difference in a bundle."""
    made = connected.made[bundle.name].carried[0].difference
    assert made is not None
    return made


@pytest.mark.parametrize("by", ["skopeo", "umoci"])
def test_a_layer_crosses_inflated_where_a_receipt_proves_the_program(
    connected: Connected, isolated: Isolated, blobs: Blobs, by: str
) -> None:
    """It costs what changed in the members of its tar, and comes out bit for bit; the store is as after any import."""
    old, new = blobs(by)
    isolated.admit(connected.bundle("1.0.0", {"blobs/sha256/0a": old}))
    bundle = connected.bundle("1.1.0", {"blobs/sha256/0b": new}, receipts=[introduced(connected, isolated)])
    inside = made_by(connected, bundle).inside
    assert inside.rebuilt == {by: Counted(archives=1, size=len(new))}
    assert inside.missed == {}
    assert inside.carried < len(new) / 40
    isolated.admit(bundle)
    isolated.apply("1.1.0")
    assert (isolated.srv / "current/blobs/sha256/0b").read_bytes() == new
    assert audit(isolated.site, deep=True, workers=2, progress=Silent()).sound
    assert not list(isolated.folder.rglob(".tmp-*"))


def changed(statement: Statement, by: str) -> Statement:
    """The receipt of a site whose program compresses otherwise."""
    proofs = [Proof(name=each.name, probe="0" * 64 if each.name == by else each.probe) for each in statement.rebuilders]
    return msgspec.structs.replace(statement, rebuilders=tuple(proofs))


def lacking(statement: Statement, by: str) -> Statement:
    """The receipt of a site that has no such program."""
    return msgspec.structs.replace(
        statement, rebuilders=tuple(each for each in statement.rebuilders if each.name != by)
    )


@pytest.mark.parametrize("differs", [changed, lacking])
def test_a_layer_crosses_as_it_is_where_one_of_the_receipts_does_not_prove_it(
    connected: Connected, isolated: Isolated, blobs: Blobs, differs: Callable[[Statement, str], Statement]
) -> None:
    """A program that one site has otherwise, or not at all, is not relied on; the export says what made the layer."""
    old, new = blobs("umoci")
    isolated.admit(connected.bundle("1.0.0", {"0a": old}))
    statement = introduced(connected, isolated)
    receipts = [statement, differs(statement, "umoci")]
    bundle = connected.bundle("1.1.0", {"0b": new}, receipts=receipts)
    inside = made_by(connected, bundle).inside
    assert (inside.archives, inside.rebuilt) == (0, {})
    assert inside.missed == {"umoci": Counted(archives=1, size=len(new))}
    isolated.admit(bundle)
    isolated.apply("1.1.0")
    assert (isolated.srv / "current/0b").read_bytes() == new


def ended(body: bytes) -> bool:
    """Whether a deflate stream says that it ends."""
    inflating = zlib.decompressobj(-15)
    inflating.decompress(body)
    return inflating.eof


def half(layer: bytes, folder: Path) -> bytes:
    """A layer of which umoci compresses the first two megabytes, and zlib the rest."""
    body = compressed("umoci", layer[: 2 << 20], folder)[10:-8]
    while ended(body):
        body = body[: body.rindex(b"\0\0\xff\xff", 0, -1) + 4]
    rest = zlib.compressobj(6, zlib.DEFLATED, -15)
    tail = rest.compress(layer[2 << 20 :]) + rest.flush()
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + body + tail + struct.pack("<2L", zlib.crc32(layer), len(layer))


def test_a_layer_that_a_program_gives_by_half_crosses_as_it_is(
    connected: Connected, isolated: Isolated, tmp_path: Path
) -> None:
    """What begins as a program's layer and goes on otherwise is found out by rebuilding all of it."""
    layer = tarred({f"{number}.py": prose(number, 900_000).replace(b" 7", b"\n7") for number in range(3)})
    old, new = half(layer, tmp_path / "1"), half(edited(layer), tmp_path / "2")
    assert gzip.decompress(new) == edited(layer)
    isolated.admit(connected.bundle("1.0.0", {"0a": old}))
    bundle = connected.bundle("1.1.0", {"0a": new}, receipts=[introduced(connected, isolated)])
    assert made_by(connected, bundle).inside.archives == 0
    isolated.admit(bundle)
    isolated.apply("1.1.0")
    assert (isolated.srv / "current/0a").read_bytes() == new


def test_no_program_is_run_for_what_begins_otherwise(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gzip file with a name, a time or another system in its header is none of a rebuilder's; that costs nothing."""
    _, new = blobs("umoci")
    assert _begins_tried(new, monkeypatch)
    for place, byte in ((3, b"\x08"), (4, b"\x01"), (8, b"\x02"), (9, b"\x03")):
        assert not _begins_tried(new[:place] + byte + new[place + 1 :], monkeypatch)


def test_a_layer_that_scratch_has_no_room_for_travels_as_it_is(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export without rebuilders needs no room for a tar, and fails for none with them."""
    _, new = blobs("umoci")

    def full(*_: object) -> Iterator[bytes]:
        raise StoreError("no space left on device")

    monkeypatch.setattr(Rebuilder, "deflate", full)
    file = Stretch(_Whole(new), [(0, 0)], [len(new)])
    prover = Prover(file, Programs((Rebuilder("umoci"),)))
    assert [prover.way(unit) for unit in units(file) or ()] == [None]


def _begins_tried(content: bytes, monkeypatch: pytest.MonkeyPatch) -> bool:
    tried = []
    monkeypatch.setattr(Prover, "_begins", lambda *_: tried.append(1))
    file = Stretch(_Whole(content), [(0, 0)], [len(content)])
    prover = Prover(file, Programs((Rebuilder("umoci"),)))
    assert [prover.way(unit) for unit in units(file) or ()] in ([None], [])
    return bool(tried)


class _Whole:
    """One chunk in memory."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, which: int, number: int, /) -> memoryview:
        return memoryview(self.content)


def test_a_site_whose_zlib_is_another_gets_archives_as_they_are(
    connected: Connected, isolated: Isolated, blobs: Blobs
) -> None:
    """Its receipt says so, and nobody has to ask for --no-inflate."""
    old, new = blobs("umoci")
    isolated.admit(connected.bundle("1.0.0", {"0a": old}))
    receipts = [changed(introduced(connected, isolated), "zlib")]
    bundle = connected.bundle("1.1.0", {"0b": new}, receipts=receipts)
    inside = made_by(connected, bundle).inside
    assert (inside.archives, inside.missed) == (0, {})
    assert not connected.made[bundle.name].inflates


def test_a_rehearsal_says_what_a_program_at_the_site_would_save(
    connected: Connected, isolated: Isolated, blobs: Blobs
) -> None:
    """Without a receipt, both ways are made: as the layer would cross, and as it would with the program."""
    old, new = blobs("skopeo")
    connected.bundle("1.0.0", {"0a": old})
    connected.bundle("1.1.0", {"0b": new})
    (found,) = rehearse(
        [Reference(name="shop", version="1.1.0")],
        connected.depot,
        connected.root / "out",
        effort=Effort(level=3, threads=2),
        progress=Silent(),
        since=[Reference(name="shop", version="1.0.0")],
    )
    whole, plain, proved = found.choices
    assert (whole.needs, plain.needs, proved.needs) == ((), (), ("skopeo",))
    assert proved.size < plain.size / 10


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blobs: Blobs) -> Connected:
    """A depot of today without passphrases, with specs of two versions of a layer, in the current folder."""
    monkeypatch.chdir(tmp_path)
    made = init(
        tmp_path / "depot", root_keys=1, threshold=1, passphrase=None, now=datetime.now(UTC), unsafe_unencrypted=True
    )
    connected = Connected(root=tmp_path, depot=Depot(tmp_path / "depot"), fingerprint=made.fingerprint)
    for version, blob in zip(("1.0.0", "1.1.0"), blobs("umoci"), strict=True):
        connected.spec(version, {"0a": blob})
    return connected


OPTIONS = ("--depot", "depot", "--unsafe-no-passphrase")


def test_a_layer_that_no_receipt_proves_is_shown(
    here: Connected, capsys: pytest.CaptureFixture[str], blobs: Blobs
) -> None:
    """The export says what made it, in plain words and in JSON, and its rehearsal what that would save."""
    bundle = Call(BUNDLE, capsys)
    assert bundle("export", "shop-1.0.0.yaml", *OPTIONS) == 0
    assert bundle("export", "shop-1.1.0.yaml", *OPTIONS, "--since", "shop@1.0.0", "--dry-run") == 0
    assert "since shop@1.0.0, if the receipts of the sites prove umoci" in bundle.out
    assert bundle("export", "shop-1.1.0.yaml", *OPTIONS, "--since", "shop@1.0.0") == 0
    assert "cross as they are: umoci here made such files, but no receipt says" in bundle.out
    assert bundle("export", "shop@1.1.0", *OPTIONS, "--since", "shop@1.0.0", "--json") == 0
    said = json.loads(bundle.out)["releases"][0]["difference"]
    assert said["unproved_rebuilders"] == {"umoci": {"archives": 1, "bytes": len(blobs("umoci")[1])}}
    assert said["rebuilders"] == {}


def test_what_a_bundle_needs_at_the_site_is_shown(here: Connected, capsys: pytest.CaptureFixture[str]) -> None:
    """The receipt says what compresses there; the export and an inspection, what will."""
    bundle, install = Call(BUNDLE, capsys), Call(INSTALL, capsys)
    root = ("--root", "depot/metadata/1.root.json", "--fingerprint", here.fingerprint)
    assert bundle("export", "shop-1.0.0.yaml", *OPTIONS) == 0
    assert install("enroll", "--site", "site", *root) == 0
    assert install("import", "--site", "site", "shop-1.0.0.sealift") == 0
    assert install("receipt", "--site", "site", "--out", "r.receipt") == 0
    assert "it compresses with " in install.out
    assert "umoci, zlib" in install.out
    key = install.out.split()[-1]
    assert bundle("site", "r.receipt", "--fingerprint", key, "--depot", "depot") == 0
    assert bundle("export", "shop-1.1.0.yaml", *OPTIONS, "--for", "r.receipt") == 0
    assert "umoci at the site compresses 1 layer of them again" in bundle.out
    assert bundle("inspect", "shop-1.1.0.sealift", "--depot", "depot") == 0
    assert "umoci at the site compresses 1 layer of them again" in bundle.out
    assert install("import", "--site", "site", "shop-1.1.0.sealift") == 0
