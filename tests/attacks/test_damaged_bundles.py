"""A bundle that was damaged, cut off, lengthened or put together otherwise is refused, and the site is untouched."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from forge import CHUNKS, Forge, archive, compress, folder, sha256
from worlds import Isolated

from installer.records.site import Site
from sealift.container import BLOCK, Reader, header, padding
from sealift.errors import SealiftError, TrustError
from sealift.opening import authenticate, check_packs, listings, packs_of
from sealift.progress import Silent
from sealift.trust import Trust
from tests.tufmaker import NOW

Refuses = Callable[..., SealiftError]
Members = list[tuple[str, bytes]]


@dataclass(frozen=True, kw_only=True)
class Region:
    """Consecutive bytes of a bundle."""

    name: str
    start: int
    end: int


@pytest.fixture
def trust(forge: Forge) -> Trust:
    """What a new site trusts."""
    return Trust(roots=(forge.root,))


def verdict(path: Path, trust: Trust) -> SealiftError | None:
    """Why a bundle is refused, by all the checks that an import makes; None where it is not."""
    try:
        with Reader(path) as bundle:
            opened = authenticate(bundle, trust, reference=NOW)
            for content in opened.contents:
                for _ in listings(bundle, content):
                    pass
            check_packs(bundle, packs_of(opened), workers=1, progress=Silent())
    except SealiftError as error:
        return error
    return None


def regions(path: Path) -> list[Region]:
    """Every byte of a bundle, by what it is."""
    with Reader(path) as bundle:
        members, size = bundle.members, bundle.size
    found = []
    for member in members:
        end = member.offset + member.size
        found.append(Region(name=f"header of {member.name}", start=member.offset - BLOCK, end=member.offset))
        found.append(Region(name=member.name, start=member.offset, end=end))
        found.append(Region(name=f"padding of {member.name}", start=end, end=end + len(padding(member.size))))
    found.append(Region(name="end", start=found[-1].end, end=size))
    return found


def in_vain(content: bytes) -> range:
    """Bytes of a root that the site holds which say nothing: its signatures there, since the site's own copy counts."""
    found = re.search(rb'"signatures":\[.*?\]', content)
    assert found
    return range(found.start(), found.end())


def test_a_flipped_bit_in_every_region_is_refused(forge: Forge, good: Path, tmp_path: Path, trust: Trust) -> None:
    """76: only the hint, and the signatures of a root that the site has already, may change: neither is believed."""
    path = tmp_path / "flipped.sealift"
    path.write_bytes(good.read_bytes())
    flips = 0
    passed: set[str] = set()
    for region in regions(good):
        harmless = range(0)
        if region.name == "SEALIFT.json":
            harmless = range(region.end - region.start)
        elif region.name == "metadata/1.root.json":
            harmless = in_vain(forge.root)
        with path.open("r+b") as file:
            for position in range(region.start, region.end):
                byte = good_byte(good, position)
                os.pwrite(file.fileno(), bytes([byte ^ 1 << position % 8]), position)
                error = verdict(path, trust)
                os.pwrite(file.fileno(), bytes([byte]), position)
                flips += 1
                if error is None:
                    passed.add(region.name)
                    assert position - region.start in harmless, (region.name, position - region.start)
                else:
                    assert error.exit_code in (4, 5, 6), (region.name, repr(error))
    assert flips == good.stat().st_size
    assert passed == {"SEALIFT.json", "metadata/1.root.json"}


def good_byte(path: Path, position: int) -> int:
    """One byte of a file."""
    with path.open("rb") as file:
        return os.pread(file.fileno(), 1, position)[0]


def test_a_changed_hint_is_harmless(forge: Forge, isolated: Isolated, tmp_path: Path) -> None:
    """35: what a bundle says of itself outside the signed metadata is never read."""

    def lie(members: Members) -> Members:
        return [("SEALIFT.json", b'{"format":9,"releases":["other@9"]}'), *members[1:]]

    isolated.admit(forge.bundle(tmp_path / "lie", {"members": lie}))
    assert [each.label for each in isolated.site.state.admitted] == ["shop@1.0.0"]


@pytest.mark.parametrize("kind", ["metadata", "manifest", "tree", "index", "pack"])
def test_a_flipped_bit_leaves_the_site_as_it_was(kind: str, forge: Forge, tmp_path: Path, refuses: Refuses) -> None:
    """76: through the whole import, in the last member of each kind."""
    path = forge.bundle(tmp_path / "flipped", version=2)
    with Reader(path) as bundle:
        member = bundle.of(kind)[-1]
    with path.open("r+b") as file:
        byte = good_byte(path, member.offset + member.size // 2)
        os.pwrite(file.fileno(), bytes([byte ^ 4]), member.offset + member.size // 2)
    refuses(path, *((6, "rest of the bundle") if kind == "metadata" else (5, "digest")), kept=kind == "pack")


def cuts(path: Path) -> set[int]:
    """Lengths at which to cut a bundle: at and inside each header, content and padding, and in the end."""
    found = {0, 1}
    for region in regions(path):
        found |= {region.start, (region.start + region.end) // 2, region.end - 1}
    return {cut for cut in found if 0 <= cut < path.stat().st_size}


def test_a_cut_anywhere_is_refused(good: Path, tmp_path: Path, trust: Trust) -> None:
    """73: at every boundary and inside every header, content and padding; the hint says what happened."""
    content = good.read_bytes()
    path = tmp_path / "cut.sealift"
    for cut in cuts(good):
        path.write_bytes(content[:cut])
        error = verdict(path, trust)
        assert error
        assert error.exit_code == 4, cut
        assert "cut off" in error.message or "does not end" in error.message, error.message
        assert ("copy it again" if cut < BLOCK else "copy the whole file again") in (error.hint or "")


@pytest.mark.parametrize(
    ("change", "exit_code", "said"),
    [
        pytest.param(lambda whole: whole[: len(whole) // 2], 4, "cut off", id="half of it"),
        pytest.param(lambda whole: whole[:-1], 4, "cut off|does not end", id="its last byte is missing"),
        pytest.param(lambda whole: whole[:-BLOCK], 4, "cut off", id="one end block is missing"),
        pytest.param(lambda whole: b"", 4, "no sealift bundle", id="nothing"),
        pytest.param(lambda whole: b"\0" * 4096, 4, "does not end where a bundle ends", id="zeros"),
        pytest.param(lambda whole: whole + b"x", 4, "does not end where a bundle ends", id="70 one byte more"),
        pytest.param(lambda whole: whole + bytes(BLOCK), 4, "does not end", id="70 a third end block"),
        pytest.param(lambda whole: whole + whole, 4, "does not end", id="74 the bundle twice"),
        pytest.param(lambda whole: b"\x1f\x8b\x08" + whole, 4, "no sealift bundle", id="a gzip file"),
        pytest.param(lambda whole: os.urandom(4096), 4, "no sealift bundle|no bundle has", id="noise"),
    ],
)
def test_another_length_is_refused(
    change: Callable[[bytes], bytes], exit_code: int, said: str, good: Path, tmp_path: Path, refuses: Refuses
) -> None:
    """73: truncation and bytes behind the end, through the whole import."""
    path = tmp_path / "changed.sealift"
    path.write_bytes(change(good.read_bytes()))
    refuses(path, exit_code, said)


def without(prefix: str) -> Callable[[Members], Members]:
    """Leaves out the members whose names begin so."""
    return lambda members: [member for member in members if not member[0].startswith(prefix)]


def doubled(prefix: str) -> Callable[[Members], Members]:
    """Repeats the members whose names begin so, each beside itself."""
    return lambda members: [
        each for member in members for each in ([member] * (2 if member[0].startswith(prefix) else 1))
    ]


def renamed(prefix: str, name: str) -> Callable[[Members], Members]:
    """Gives another name to the members whose names begin so."""
    return lambda members: [(name if old.startswith(prefix) else old, content) for old, content in members]


def added(name: str, content: bytes = b"x", *, before: str = "") -> Callable[[Members], Members]:
    """Adds a member: behind all others, or before those whose names begin so."""

    def change(members: Members) -> Members:
        place = next((n for n, (each, _) in enumerate(members) if before and each.startswith(before)), len(members))
        return [*members[:place], (name, content), *members[place:]]

    return change


ZEROS = "0" * 64


@pytest.mark.parametrize(
    ("change", "exit_code", "said"),
    [
        pytest.param(without("SEALIFT"), 4, "out of order", id="74 no hint"),
        pytest.param(without("metadata/timestamp"), 4, "no metadata/timestamp.json", id="74 no timestamp"),
        pytest.param(without("metadata/2.snapshot"), 4, "no metadata/2.snapshot.json", id="74 no snapshot"),
        pytest.param(without("metadata/2.targets"), 4, "no metadata/2.targets.json", id="74 no targets"),
        pytest.param(without("metadata/"), 4, "no metadata/timestamp.json", id="74 no metadata"),
        pytest.param(without("manifests/"), 6, "does not vouch for this bundle", id="74 no manifests"),
        pytest.param(lambda m: [*m[:6], *m[7:]], 4, "lacks its member manifests/", id="74 no release manifest"),
        pytest.param(without("trees/"), 4, "lacks its member trees/", id="74 no tree"),
        pytest.param(without("index/"), 4, "lacks its member index/", id="74 no index"),
        pytest.param(without("packs/"), 4, "lacks its member packs/", id="74 no pack"),
        pytest.param(lambda m: m[:1], 4, "no metadata/timestamp.json", id="74 nothing but the hint"),
        pytest.param(lambda m: [], 4, "does not end", id="74 no member at all"),
        *(
            pytest.param(doubled(prefix), 4, "comes twice", id=f"62 74 {prefix} twice")
            for prefix in (
                "SEALIFT",
                "metadata/1.root",
                "metadata/timestamp",
                "manifests/",
                "trees/",
                "index/",
                "packs/",
            )
        ),
        pytest.param(lambda m: [*m[:-3], m[-1], m[-2], m[-3]], 4, "out of order", id="74 packs before trees"),
        pytest.param(lambda m: m[::-1], 4, "out of order", id="74 in reverse"),
        pytest.param(lambda m: [m[1], m[0], *m[2:]], 4, "out of order", id="74 the hint second"),
        pytest.param(renamed("packs/", f"packs/{ZEROS}.zst"), 4, "lacks its member packs/", id="74 a pack renamed"),
        pytest.param(renamed("trees/", f"trees/{ZEROS}.zst"), 4, "lacks its member trees/", id="74 a tree renamed"),
        pytest.param(renamed("metadata/2.snap", "metadata/3.snapshot.json"), 4, "no metadata/2.snapshot", id="74 22"),
        pytest.param(renamed("metadata/2.targets", "metadata/evil.json"), 4, "no metadata/2.targets", id="31 74"),
        pytest.param(added(f"packs/{ZEROS}.zst"), 4, "nothing signed asks for", id="an extra pack"),
        pytest.param(added(f"trees/{ZEROS}.zst", before="index/"), 4, "nothing signed asks for", id="an extra tree"),
        pytest.param(added(f"index/{ZEROS}.zst", before="packs/"), 4, "nothing signed asks for", id="an extra index"),
        pytest.param(
            added(f"manifests/{ZEROS}.json", before="trees/"), 4, "nothing signed asks for", id="an extra manifest"
        ),
        pytest.param(added("README"), 4, "no bundle has", id="an extra file"),
        pytest.param(added("../../etc/passwd"), 4, "no bundle has", id="52 a name that climbs"),
        pytest.param(added("/etc/passwd"), 4, "no bundle has", id="52 an absolute name"),
        pytest.param(added(f"packs/../packs/{ZEROS}.zst"), 4, "no bundle has", id="52 a name with dots inside"),
        pytest.param(added(f"packs/{'A' * 64}.zst"), 4, "no bundle has", id="58 upper case hexadecimal"),
        pytest.param(added("packs/x\x1b[2J.zst"), 4, "no bundle has", id="51 a terminal escape in a name"),
        pytest.param(added(f"packs/{ZEROS}.zst", b""), 4, "0 bytes; the limit", id="an empty member"),
        pytest.param(added("metadata/z.json", bytes((8 << 20) + 1), before="manif"), 4, "the limit is", id="oversized"),
        pytest.param(
            lambda m: [(n, c + b" " if n.startswith("trees/") else c) for n, c in m],
            5,
            "bytes, and its",
            id="70 longer",
        ),
        pytest.param(
            lambda m: [(n, c[:-1] if n.startswith("packs/") else c) for n, c in m], 5, "bytes, and its", id="73 shorter"
        ),
        pytest.param(
            lambda m: [(n, b"y" * len(c) if n.startswith("index/") else c) for n, c in m], 5, "digest", id="76 another"
        ),
    ],
)
def test_other_members_are_refused(
    change: Callable[[Members], Members], exit_code: int, said: str, forge: Forge, tmp_path: Path, refuses: Refuses
) -> None:
    """62, 74: members that are missing, doubled, reordered, renamed, oversized or too many."""
    refuses(forge.bundle(tmp_path / "changed.sealift", {"members": change}, version=2), exit_code, said)


def block(name: bytes = b"packs/" + ZEROS.encode() + b".zst", size: bytes = b"00000000001\0", **fields: bytes) -> bytes:
    """A tar header with a valid checksum, whose fields may be anything."""
    layout = [
        (name, 100),
        (fields.get("mode", b"0000644\0"), 8),
        (fields.get("uid", b"0000000\0"), 8),
        (fields.get("gid", b"0000000\0"), 8),
        (size, 12),
        (fields.get("mtime", b"00000000000\0"), 12),
        (b" " * 8, 8),
        (fields.get("kind", b"0"), 1),
        (fields.get("target", b""), 100),
        (fields.get("magic", b"ustar\x0000"), 8),
        (fields.get("owner", b""), 32),
        (b"", 32),
        (fields.get("device", b"0000000\0"), 8),
        (b"0000000\0", 8),
        (fields.get("prefix", b""), 155),
    ]
    made = b"".join(content.ljust(length, b"\0") for content, length in layout).ljust(BLOCK, b"\0")
    return made[:148] + b"%06o\0 " % sum(made) + made[156:]


CANONICAL = "not in canonical form|damaged at byte"


@pytest.mark.parametrize(
    ("inserted", "said"),
    [
        pytest.param(block(kind=b"1", target=b"/etc/passwd", size=b"00000000000\0"), CANONICAL, id="54 a hard link"),
        pytest.param(block(kind=b"2", target=b"/etc/passwd", size=b"00000000000\0"), CANONICAL, id="53 a symlink"),
        pytest.param(block(kind=b"3", device=b"0000001\0"), CANONICAL, id="55 a character device"),
        pytest.param(block(kind=b"4"), CANONICAL, id="55 a block device"),
        pytest.param(block(kind=b"5", size=b"00000000000\0"), CANONICAL, id="a folder"),
        pytest.param(block(name=b"packs/", kind=b"5", size=b"00000000000\0"), "no bundle has", id="a folder's name"),
        pytest.param(block(kind=b"6"), CANONICAL, id="55 a FIFO"),
        pytest.param(block(kind=b"7"), CANONICAL, id="a contiguous file"),
        pytest.param(block(kind=b"\0"), CANONICAL, id="an old regular file"),
        pytest.param(block(kind=b"x", size=b"00000000022\0") + b"18 size=99999999\n", CANONICAL, id="65 a PAX header"),
        pytest.param(block(kind=b"g"), CANONICAL, id="65 a global PAX header"),
        pytest.param(block(name=b"././@LongLink", kind=b"L"), "no bundle has", id="65 a GNU long name"),
        pytest.param(block(kind=b"K"), CANONICAL, id="65 a GNU long link"),
        pytest.param(block(kind=b"S"), CANONICAL, id="63 a GNU sparse file"),
        pytest.param(block(kind=b"M"), CANONICAL, id="74 a GNU volume"),
        pytest.param(block(magic=b"ustar  \0"), CANONICAL, id="65 GNU's magic"),
        pytest.param(block(magic=b""), CANONICAL, id="an old tar without magic"),
        pytest.param(block(size=b"\x80" + b"\0" * 10 + b"\1"), CANONICAL, id="65 a size in base 256"),
        pytest.param(block(size=b"\xff" * 12), CANONICAL, id="65 a negative size in base 256"),
        pytest.param(block(size=b"-0000000001\0"), CANONICAL, id="65 a negative size"),
        pytest.param(block(size=b"+0000000001\0"), CANONICAL, id="65 a size with a sign"),
        pytest.param(block(size=b"0_000000001\0"), CANONICAL, id="65 a size with an underscore"),
        pytest.param(block(size=b"0o000000001\0"), CANONICAL, id="65 a size with a prefix"),
        pytest.param(block(size=b"          1\0"), CANONICAL, id="65 a size with blanks"),
        pytest.param(block(size=b"000000000010"), CANONICAL, id="65 a size of twelve digits"),
        pytest.param(block(size=b"77777777777\0"), "limit", id="65 77 a size of 8 GiB"),
        pytest.param(block(size=b"07777777777\0"), "the limit|cut off", id="65 77 a size of a GiB"),
        pytest.param(block(mode=b"0004755\0"), CANONICAL, id="56 a setuid mode"),
        pytest.param(block(uid=b"0001750\0"), CANONICAL, id="66 a user"),
        pytest.param(block(gid=b"7777777\0"), CANONICAL, id="66 an extreme group"),
        pytest.param(block(mtime=b"-0000000001\0"), CANONICAL, id="66 a time before 1970"),
        pytest.param(block(owner=b"root"), CANONICAL, id="66 a user's name"),
        pytest.param(block(prefix=b"../../tmp"), CANONICAL, id="52 a prefix of the name"),
        pytest.param(block(name=b"packs/\xff.zst"), "damaged at byte", id="a name that is not ASCII"),
        pytest.param(block(name=b"packs/a\0b.zst"), "no bundle has", id="a name with NUL inside"),
        pytest.param(block()[:148] + b"0000000\0" + block()[156:], CANONICAL, id="a wrong checksum"),
    ],
)
def test_other_headers_are_refused(inserted: bytes, said: str, forge: Forge, tmp_path: Path, refuses: Refuses) -> None:
    """53, 54, 55, 56, 65, 66: a reader that took links, devices or size overrides would see another archive."""
    whole = archive(forge.members(version=2))
    inserted += b"x" * (BLOCK if len(inserted) == BLOCK else 0)
    path = tmp_path / "inserted.sealift"
    path.write_bytes(whole[:-1024] + inserted.ljust(2 * BLOCK, b"\0") + bytes(1024))
    refuses(path, 4, said)


def test_bytes_behind_a_content_are_refused(forge: Forge, tmp_path: Path, refuses: Refuses) -> None:
    """76: the padding of the last block is zeros."""
    name, content = forge.members(version=2)[0]
    rest = archive(forge.members(version=2)[1:])
    path = tmp_path / "padded.sealift"
    path.write_bytes(header(name, len(content), 0) + content.ljust(BLOCK, b"x") + rest)
    refuses(path, 4, "bytes stand behind the content of SEALIFT.json")


def test_too_many_members_of_a_kind_are_refused(tmp_path: Path, trust: Trust) -> None:
    """64: the number of members is bounded, in time and memory, before anything is read."""
    path = tmp_path / "many.sealift"
    path.write_bytes(archive([("SEALIFT.json", b"{}"), *((f"metadata/{n}.root.json", b"{}") for n in range(1, 2060))]))
    error = verdict(path, trust)
    assert error
    assert error.exit_code == 4
    assert "one too many" in error.message


@pytest.mark.parametrize(
    ("make", "exit_code", "said"),
    [
        pytest.param(lambda path: path.mkdir(), 4, "not a regular file", id="a folder"),
        pytest.param(lambda path: os.mkfifo(path), 4, "not a regular file", id="89 a FIFO"),
        pytest.param(lambda path: path.symlink_to("/dev/zero"), 4, "not a regular file", id="89 a link to a device"),
        pytest.param(lambda path: path.symlink_to("nowhere"), 8, "no such file", id="89 a link to nothing"),
        pytest.param(lambda path: None, 8, "no such file", id="nothing"),
    ],
)
def test_what_is_no_file_is_refused(
    make: Callable[[Path], object], exit_code: int, said: str, tmp_path: Path, refuses: Refuses
) -> None:
    """89: at once, without waiting for a writer."""
    make(tmp_path / "bundle.sealift")
    refuses(tmp_path / "bundle.sealift", exit_code, said)


def test_a_stranger_signed_it(tmp_path: Path, refuses: Refuses) -> None:
    """A bundle of another depot is not signed by the keys that this site trusts."""
    error = refuses(Forge().bundle(tmp_path / "stranger"), 6, "is not the root 1 of this site")
    assert "fingerprint" in (error.hint or "")


def test_a_stranger_signed_it_under_the_sites_own_root(forge: Forge, tmp_path: Path, refuses: Refuses) -> None:
    """The site's own root in front of a stranger's metadata does not help."""
    path = Forge().bundle(tmp_path / "stranger", roots={1: forge.root})
    refuses(path, 6, "timestamp.json is not signed by the keys that this site trusts")


@pytest.mark.parametrize(
    ("layer", "exit_code", "said"),
    [
        ("packs/", 4, "lacks its member packs/"),
        ("index/", 4, "lacks its member index/"),
        ("trees/", 4, "lacks its member trees/"),
        ("manifests/", 6, "does not vouch for this bundle"),
        ("metadata/2.targets", 6, "is not the targets that the rest of the bundle was signed with"),
        ("metadata/2.snapshot", 6, "is not the snapshot that the rest of the bundle was signed with"),
        ("metadata/timestamp", 6, "is not the snapshot that the rest of the bundle was signed with"),
    ],
)
def test_a_mix_of_two_bundles_is_refused(
    layer: str, exit_code: int, said: str, forge: Forge, tmp_path: Path, refuses: Refuses
) -> None:
    """22, 75: valid metadata of one, and members of another that is just as valid."""
    theirs = [member for member in forge.members(OTHER, version=2, release="2.0.0") if member[0].startswith(layer)]

    def mix(ours: Members) -> Members:
        place = next(number for number, (name, _) in enumerate(ours) if name.startswith(layer))
        kept = [member for member in ours if not member[0].startswith(layer)]
        return [*kept[:place], *theirs, *kept[place:]]

    refuses(forge.bundle(tmp_path / "mixed", {"members": mix}, version=2), exit_code, said)


OTHER = {
    "entries": lambda lines: [*lines, folder("zz")],
    "frames": lambda _: [compress(b"".join(CHUNKS[:2])), compress(CHUNKS[2])],
    "lines": lambda lines: [
        {**lines[0], "size": len(CHUNKS[0] + CHUNKS[1]), "chunks": [[0, 2]]},
        {**lines[1], "size": len(CHUNKS[2]), "chunks": [[2, 1]]},
    ],
}
"""What makes every member of a bundle another one."""


def test_the_other_bundle_is_as_good(forge: Forge, isolated: Isolated, tmp_path: Path) -> None:
    """The bundle that the mixes take from would be admitted as a whole."""
    isolated.admit(forge.bundle(tmp_path / "other", OTHER, version=2, release="2.0.0"))


def test_an_older_bundle_after_a_newer_one_is_refused(forge: Forge, isolated: Isolated, tmp_path: Path) -> None:
    """19: the message names both versions, and a newer bundle is admitted as before."""
    isolated.admit(forge.bundle(tmp_path / "new", OTHER, version=5, release="2.0.0"))
    before = isolated.fingerprint_of_everything()
    with pytest.raises(TrustError, match=r"older than one .* \(timestamp 4, the site has 5\)"):
        isolated.admit(forge.bundle(tmp_path / "old", version=4))
    assert isolated.fingerprint_of_everything() == before
    assert list(isolated.site.ledger.read())[-1].event == "refused"
    isolated.admit(forge.bundle(tmp_path / "newer", version=6))


@pytest.mark.parametrize("relabelled", ["timestamp.json", "4.snapshot.json", "4.targets.json"])
def test_an_older_bundle_relabelled_as_newer_is_refused(
    relabelled: str, forge: Forge, isolated: Isolated, tmp_path: Path
) -> None:
    """35: a version that was raised by hand is signed by nobody, and a new name alone says nothing."""

    def raise_version(metadata: dict[str, bytes]) -> dict[str, bytes]:
        content = metadata.pop(relabelled).replace(b'"version":4}', b'"version":6}')
        return {**metadata, relabelled.replace("4", "6"): content}

    isolated.admit(forge.bundle(tmp_path / "new", OTHER, version=5, release="2.0.0"))
    before = isolated.fingerprint_of_everything()
    with pytest.raises(SealiftError) as caught:
        isolated.admit(forge.bundle(tmp_path / "relabelled", {"metadata": raise_version}, version=4))
    assert caught.value.exit_code in (4, 6)
    assert isolated.fingerprint_of_everything() == before
    assert list(isolated.site.ledger.read())[-1].event == "refused"


def test_an_expired_bundle_is_refused(forge: Forge, tmp_path: Path, refuses: Refuses) -> None:
    """20: the message has both dates, and the hint asks for a fresh export."""
    path = forge.bundle(tmp_path / "expired", version=2, expires="2026-11-01T00:00:00Z")
    error = refuses(path, 6, "the bundle's timestamp expired on 2026-11-01, and it is 2026-11-22 here")
    assert "fresh export" in (error.hint or "")


def test_a_gap_in_the_root_chain_is_refused(forge: Forge, tmp_path: Path, refuses: Refuses) -> None:
    """23: where TUF's client would stop its walk in silence."""
    roots = {1: forge.root, 3: forge.depot.root(3)}
    path = forge.bundle(tmp_path / "gap", version=2, roots=roots, root_version=3)
    refuses(path, 6, "root 2 is missing between it and this site's 1")


def test_a_root_chain_that_ends_too_early_is_refused(forge: Forge, tmp_path: Path, refuses: Refuses) -> None:
    """23: the bundle manifest names the root that signs for it, so that a chain cut at its end is noticed."""
    path = forge.bundle(tmp_path / "short", version=2, root_version=2)
    refuses(path, 6, "signed under root 2, and its root chain leads to 1")


def test_a_root_by_a_stranger_is_refused(forge: Forge, tmp_path: Path, refuses: Refuses) -> None:
    """10: a new root needs the old root's keys."""
    stranger = Forge()
    path = stranger.bundle(tmp_path / "taken", roots={1: forge.root, 2: stranger.depot.root(2)}, root_version=2)
    refuses(path, 6, "2.root.json is not signed by the keys that this site trusts")


@pytest.mark.parametrize(
    ("version", "exit_code"),
    [(2**53, 0), (2**53 + 1, 4), (2**63, 4), (2**64, 4)],
    ids=["the largest integer of JSON", "one more", "21 2^63", "21 2^64"],
)
def test_a_fast_forward_is_bounded(
    version: int, exit_code: int, forge: Forge, isolated: Isolated, tmp_path: Path
) -> None:
    """21: versions end where JSON's integers do."""
    path = forge.bundle(tmp_path / "fast", version=version)
    if exit_code == 0:
        isolated.admit(path)
        return
    with pytest.raises(SealiftError) as caught:
        isolated.admit(path)
    assert caught.value.exit_code == exit_code


def test_a_wrong_fingerprint_enrols_nothing(forge: Forge, tmp_path: Path) -> None:
    """The fingerprint decides before the root is parsed, and no folder is left."""
    with pytest.raises(TrustError, match="another fingerprint than the one given"):
        Site.create(tmp_path / "new", forge.root, sha256(b"another root"), NOW)
    assert not (tmp_path / "new").exists()
