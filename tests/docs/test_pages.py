"""The commands that the documentation shows do what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from worlds import Connected

Shell = Callable[[str, Path], "subprocess.CompletedProcess[str]"]

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
TOOLS = ("tar", "jq", "openssl", "sha256sum", "zstd", "basenc")
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
FILES = {
    "index.html": b"<h1>shop</h1>\n" * 40,
    "assets/copy.html": b"<h1>shop</h1>\n" * 40,
    "assets/large.txt": b"".join(b"line %d of a large file\n" % number for number in range(120_000)),
    "empty": b"",
}


def blocks(page: str) -> str:
    """All ```sh blocks of a page, as one script."""
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE))


def anchor(heading: str) -> str:
    """The anchor that a forge gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def headings(page: Path) -> set[str]:
    """The anchors of a page."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return {anchor(line) for line in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


@pytest.fixture
def bench(connected: Connected, tmp_path: Path) -> Path:
    """A folder with a real bundle, valid today, and the fingerprint of its root."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"missing: {', '.join(missing)}")
    connected.now = datetime.now(UTC) - timedelta(minutes=1)
    folder = tmp_path / "bench"
    folder.mkdir()
    bundle = connected.bundle("1.0.0", FILES)
    shutil.copyfile(bundle, folder / "shop-1.0.0.sealift")
    (folder / "fingerprint.txt").write_text(connected.fingerprint + "\n")
    return folder


def flip(bundle: Path, part: str) -> None:
    """Change one byte in the middle of the last member of a part."""
    with tarfile.open(bundle) as archive:
        (*_, member) = (member for member in archive if member.name.startswith(part))
    with bundle.open("r+b") as file:
        file.seek(member.offset_data + member.size // 2)
        (byte,) = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))


def test_verify_by_hand_accepts_bundle(bench: Path, shell: Shell) -> None:
    """The page's commands find that a real bundle is in order, and take a file out of it."""
    ended = shell(blocks("how-to/verify-by-hand.md"), bench)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "every signature and digest holds" in ended.stdout
    assert (bench / "file").read_bytes() == FILES["index.html"]


def test_verify_by_hand_takes_out_large_file(bench: Path, shell: Shell) -> None:
    """A file of many pieces comes out whole."""
    script = blocks("how-to/verify-by-hand.md").replace("path=index.html", "path=assets/large.txt")
    ended = shell(script, bench)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert (bench / "file").read_bytes() == FILES["assets/large.txt"]


@pytest.mark.parametrize(
    "part", ["metadata/1.root", "metadata/timestamp", "metadata/2.", "manifests", "trees", "index", "packs"]
)
def test_verify_by_hand_refuses_changed_byte(bench: Path, shell: Shell, part: str) -> None:
    """One other byte in any part ends the page's shell with a failure."""
    flip(bench / "shop-1.0.0.sealift", part)
    ended = shell(blocks("how-to/verify-by-hand.md"), bench)
    assert ended.returncode != 0
    assert "every signature and digest holds" not in ended.stdout


def test_verify_by_hand_refuses_other_fingerprint(bench: Path, shell: Shell) -> None:
    """Another root than the one on paper is noticed."""
    (bench / "fingerprint.txt").write_text("0" * 64 + "\n")
    assert shell(blocks("how-to/verify-by-hand.md"), bench).returncode != 0


def test_verify_by_hand_refuses_further_member(bench: Path, shell: Shell) -> None:
    """A file that nothing signed names is noticed, though it is named as a bundle's files are."""
    extra = bench / "packs" / f"{'a' * 64}.zst"
    extra.parent.mkdir()
    extra.write_bytes(b"extra")
    with tarfile.open(bench / "shop-1.0.0.sealift", "a") as archive:
        archive.add(extra, f"packs/{extra.name}")
    ended = shell(blocks("how-to/verify-by-hand.md"), bench)
    assert ended.returncode != 0
    assert "every signature and digest holds" not in ended.stdout


def test_verify_by_hand_refuses_forged_signature(bench: Path, shell: Shell) -> None:
    """Metadata whose content was changed in a way that stays valid JSON fails at its signature."""
    bundle = bench / "shop-1.0.0.sealift"
    content = bundle.read_bytes()
    with tarfile.open(bundle) as archive:
        member = archive.getmember("metadata/timestamp.json")
    begin, end = member.offset_data, member.offset_data + member.size
    forged = re.sub(rb'"expires":"2', b'"expires":"3', content[begin:end])
    bundle.write_bytes(content[:begin] + forged + content[end:])
    ended = shell(blocks("how-to/verify-by-hand.md"), bench)
    assert ended.returncode != 0
    assert "timestamp.json: 0 good signatures" in ended.stdout


def test_tutorial_can_be_followed(tmp_path: Path, shell: Shell) -> None:
    """The first crossing works when its blocks are pasted one after the other."""
    home = tmp_path / "home"
    home.mkdir()
    ended = shell(blocks("tutorial/first-crossing.md"), home)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page names a file that is there, and a heading in it."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, fragment = link.partition("#")
        goal = (page.parent / name).resolve() if name else page
        if not goal.exists() or (fragment and goal.suffix == ".md" and fragment not in headings(goal)):
            broken.append(link)
    assert broken == []
