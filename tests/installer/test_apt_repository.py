"""The target `apt-repository`: real `apt-get` installs from what it deploys, and refuses what was changed."""

from __future__ import annotations

import gzip
import io
import lzma
import re
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from aptmachine import AptMachine
from debian import ar, deb, tar
from enclave import URL, enclave, plain_server
from gnupg import fingerprint
from registries import need
from worlds import NOW, Connected, Isolated

from bundler.locking import resolve
from bundler.sealing import Effort
from bundler.spec import load
from sealift.errors import MalformedError, SealiftError, UsageError
from sealift.progress import Silent

APP: Mapping[str, bytes] = {
    "app_2.0_all.deb": deb("app", "1:2.0", Depends="lib (>= 1.5)"),
    "lib_1.5-1_amd64.deb": deb("lib", "1.5-1", "amd64"),
}


@pytest.fixture(autouse=True)
def _apt() -> None:
    need("apt-get")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The folder of the repository."""
    return tmp_path / "debs"


@pytest.fixture
def settings(place: Path, gnupg: Path) -> str:
    """What an environment says of it."""
    return f"{{kind: apt-repository, path: {place}, gnupg: {gnupg}, key: {fingerprint(gnupg)}}}"


def admit(
    connected: Connected, site: Isolated, version: str, files: Mapping[str, bytes], release: str = "shop"
) -> None:
    """Bring a release of packages to a site."""
    site.admit(connected.packages(version, dict(files), kind="debs", release=release))


@pytest.fixture
def deployed(connected: Connected, isolated: Isolated, place: Path, settings: str) -> Path:
    """The folder of a deployed repository."""
    admit(connected, isolated, "1.0", APP)
    isolated.deploy("1.0", settings)
    return place


def test_apt_installs_from_a_disk(deployed: Path, gnupg: Path, tmp_path: Path) -> None:
    """Attack 104: with what a package needs, its signature checked, and no network to be had."""
    machine = AptMachine(tmp_path, f"file:{deployed}/current", gnupg / "good.asc")
    assert machine.run("update").returncode == 0
    done = machine.run("install", "app")
    assert done.returncode == 0, done.stderr
    assert machine.installed() == {"app 1:2.0", "lib 1.5-1"}
    assert (machine.root / "usr/share/app").read_text() == "1:2.0"


def test_apt_installs_from_any_server(deployed: Path, gnupg: Path, tmp_path: Path) -> None:
    """Attack 104: a plain web server and nothing else; the lists are asked for by their digests."""
    machine = AptMachine(tmp_path, URL, gnupg / "good.asc")
    commands = [machine.apt("update"), machine.apt("install", "app")]
    done = enclave(plain_server(deployed / "current"), *commands, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert machine.installed() == {"app 1:2.0", "lib 1.5-1"}


def test_apt_refuses_another_key(deployed: Path, gnupg: Path, tmp_path: Path) -> None:
    """Attack 1: only the site's own key signs for it."""
    machine = AptMachine(tmp_path, f"file:{deployed}/current", gnupg / "other.asc")
    assert machine.run("update").returncode != 0


@pytest.mark.parametrize("name", ["InRelease", "Packages", "deb"])
def test_apt_refuses_what_was_changed(deployed: Path, gnupg: Path, tmp_path: Path, name: str) -> None:
    """Attack 76: a flipped byte in what is signed, in a list, or in a package."""
    machine = AptMachine(tmp_path, f"file:{deployed}/current", gnupg / "good.asc")
    changed = [
        path
        for path in (deployed / "current").resolve().rglob("*")
        if {"InRelease": path.name, "Packages": path.parent.name, "deb": path.suffix}[name]
        in ("InRelease", "SHA256", "binary-all", ".deb")
        and path.is_file()
    ]
    assert changed
    for path in changed:
        path.write_bytes(
            path.read_bytes().replace(b"Origin: sealift", b"Origin: sealifd") + b"?" * (name != "InRelease")
        )
    if name == "deb":
        assert machine.run("update").returncode == 0
        done = machine.run("install", "app")
    else:
        done = machine.run("update")
    assert done.returncode != 0, done.stdout
    assert machine.installed() == set()


def test_a_rollback_takes_its_own_packages_out(
    connected: Connected, isolated: Isolated, place: Path, settings: str, gnupg: Path, tmp_path: Path
) -> None:
    """What another environment has there stays, and apt sees each step, also back to an older state."""
    admit(connected, isolated, "1.0", APP)
    admit(connected, isolated, "1.1", {**APP, "extra_1.0_all.deb": deb("extra")})
    admit(connected, isolated, "1.0", {"tool_1.0_all.deb": deb("tool")}, release="tools")
    machine = AptMachine(tmp_path, f"file:{place}/current", gnupg / "good.asc")

    def known() -> set[str]:
        assert machine.run("update").returncode == 0
        done = machine.run("indextargets", "--format", "$(FILENAME)", "Created-By: Packages")
        assert done.returncode == 0
        names = subprocess.run(
            ["env", f"APT_CONFIG={machine.root}/apt.conf", "apt-cache", "pkgnames"], capture_output=True, text=True
        )
        return set(names.stdout.split())

    isolated.deploy("1.0", settings)
    isolated.deploy("1.0", settings, release="tools", environment="tools")
    assert known() >= {"app", "lib", "tool"}
    isolated.deploy("1.1", settings)
    assert known() >= {"app", "lib", "tool", "extra"}
    isolated.installation.rollback("plant-7")
    assert "extra" not in known()
    assert known() >= {"app", "lib", "tool"}
    assert machine.run("install", "tool", "app").returncode == 0


def test_the_lists_before_stay_for_a_moment(
    connected: Connected, isolated: Isolated, place: Path, settings: str
) -> None:
    """A client that read `InRelease` right before the switch still finds what it names."""
    admit(connected, isolated, "1.0", APP)
    admit(connected, isolated, "1.1", {**APP, "extra_1.0_all.deb": deb("extra")})
    isolated.deploy("1.0", settings)
    release = (place / "current/dists/stable/InRelease").read_text()
    named = re.findall(r"^ ([0-9a-f]{64}) +[0-9]+ (\S+)/Packages", release, re.MULTILINE)
    isolated.deploy("1.1", settings)
    assert len(named) == 4
    for digest, folder in named:
        assert (place / "current/dists/stable" / folder / "by-hash/SHA256" / digest).is_file()


def test_what_stands_in_the_lists(deployed: Path) -> None:
    """The control file's fields, and ours; packages for all machines in a list of their own."""
    base = deployed / "current/dists/stable/main"
    listed = (base / "binary-all/Packages").read_text()
    assert gzip.decompress((base / "binary-all/Packages.gz").read_bytes()).decode() == listed
    assert "Package: app\nVersion: 1:2.0\n" in listed
    assert "\n With a second line.\nFilename: pool/app/1/app_2.0_all.deb\n" in listed
    assert "Package: lib\n" in (base / "binary-amd64/Packages").read_text()
    assert (deployed / "current/key.asc").read_text().startswith("-----BEGIN PGP PUBLIC KEY BLOCK-----")


def test_a_key_that_is_not_there_stops_before_anything_changes(
    connected: Connected, isolated: Isolated, place: Path, gnupg: Path
) -> None:
    """Nothing is made."""
    admit(connected, isolated, "1.0", APP)
    with pytest.raises(UsageError, match="no private key"):
        isolated.deploy("1.0", f"{{kind: apt-repository, path: {place}, gnupg: {gnupg}, key: {'A' * 40}}}")
    assert not place.exists()


def test_a_key_that_does_not_sign_leaves_what_served(
    connected: Connected, isolated: Isolated, place: Path, settings: str, gnupg: Path, tmp_path: Path
) -> None:
    """An expired key is an error at the switch, and the former index serves."""
    admit(connected, isolated, "1.0", APP)
    admit(connected, isolated, "1.1", {**APP, "extra_1.0_all.deb": deb("extra")})
    isolated.deploy("1.0", settings)
    before = (place / "current/dists/stable/InRelease").read_bytes()
    old = f"{{kind: apt-repository, path: {place}, gnupg: {gnupg}, key: {fingerprint(gnupg, 'old')}}}"
    with pytest.raises(SealiftError):
        isolated.deploy("1.1", old)
    assert (place / "current/dists/stable/InRelease").read_bytes() == before


@pytest.mark.parametrize(
    "files",
    [
        {"app_1.0_all.deb": b"no package"},
        {"app_1.0_all.deb": deb("other")},
        {"app_1.0_amd64.deb": deb("app")},
        {"sub/app_1.0_all.deb": deb("app")},
        {"app_1.0_all.deb": deb("app", Homepage="x\nPackage: evil")},
        {"app_1.0_all.deb": deb("app", Homepage="x\n\nPackage: evil")},
        {"app_1.0_all.deb": deb("app")[:100]},
        {"app_1.0_all.deb": ar({"debian-binary": b"2.0\n", "control.tar": tar({"./control": b"Package: app\n"})})},
        {"app_1.0_all.deb": ar({"debian-binary": b"2.0\n", "control.tar": b"\0" * 1024, "data.tar": b""})},
        {"..app_1.0_all.deb": deb("..app")},
    ],
)
def test_what_is_no_package_is_refused(
    connected: Connected, isolated: Isolated, settings: str, place: Path, files: dict[str, bytes]
) -> None:
    """Attacks 35, 52 and 62: packages that are none, that say another name, or that write into the lists."""
    admit(connected, isolated, "1.0", files)
    with pytest.raises(MalformedError):
        isolated.deploy("1.0", settings)
    assert not (place / "current").exists()


def escaping(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> bytes:
    """A package that holds an entry of this name."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("./usr"))
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        archive.addfile(info)
    control = b"Package: app\nVersion: 1.0\nArchitecture: all\n"
    members = {"debian-binary": b"2.0\n", "control.tar": tar({"./control": control})}
    return ar({**members, "data.tar.xz": lzma.compress(made.getvalue())})


@pytest.mark.parametrize(
    "content",
    [
        escaping("../../etc/cron.d/x"),
        escaping("./usr/" + "long/" * 60 + "../" * 70 + "etc/passwd"),
        escaping("/etc/passwd"),
        escaping("./x", tarfile.LNKTYPE, "../../etc/shadow"),
        escaping("./x", b"V"),
        escaping("./usr/x")[:-100],
    ],
)
def test_a_package_that_escapes_its_folder_is_refused(
    connected: Connected, isolated: Isolated, settings: str, place: Path, content: bytes
) -> None:
    """Attacks 52 and 54: climbing and absolute names and hard links, also long ones."""
    admit(connected, isolated, "1.0", {"app_1.0_all.deb": content})
    with pytest.raises(MalformedError):
        isolated.deploy("1.0", settings)
    assert not (place / "current").exists()


def test_a_control_file_that_is_a_bomb_is_refused(connected: Connected, isolated: Isolated, settings: str) -> None:
    """Attack 67: a few kilobytes that stand for a gigabyte."""
    bomb = gzip.compress(tar({"./control": b"Package: app\n" + b"x" * (70 << 20)}), 9)
    content = ar({"debian-binary": b"2.0\n", "control.tar.gz": bomb, "data.tar": b""})
    admit(connected, isolated, "1.0", {"app_1.0_all.deb": content})
    with pytest.raises(MalformedError, match="longer than"):
        isolated.deploy("1.0", settings)


@pytest.mark.parametrize("compression", ["xz", "zst", ""])
def test_packages_of_every_compression_are_read(
    connected: Connected, isolated: Isolated, settings: str, place: Path, tmp_path: Path, compression: str
) -> None:
    """Dpkg's own builder made them."""
    root = tmp_path / "build"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(
        "Package: real\nVersion: 1.0\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: x\n"
    )
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is missing")
    kind = {"": "none", "zst": "zstd"}.get(compression, compression)
    made = tmp_path / "real.deb"
    done = subprocess.run(["dpkg-deb", "--root-owner-group", f"-Z{kind}", "--build", root, made], capture_output=True)
    if done.returncode and kind == "zstd":
        pytest.skip("this dpkg-deb knows no zstd")
    admit(connected, isolated, "1.0", {"real_1.0_all.deb": made.read_bytes()})
    isolated.deploy("1.0", settings)
    assert (place / "current/pool/real/real_1.0_all.deb").read_bytes() == made.read_bytes()


@pytest.mark.slow
def test_a_closure_of_real_packages_crosses(
    connected: Connected, isolated: Isolated, settings: str, place: Path, gnupg: Path, tmp_path: Path, quiet_home: Path
) -> None:
    """By name from this machine's apt, sealed, admitted, deployed, and found whole by the site's, without a network."""
    spec = connected.root / "jq.yaml"
    spec.write_text(
        "release: shop\nversion: '1.0'\nartifacts:\n  debs:\n    source: deb\n    packages: [jq]\n"
        "    architecture: amd64\n"
    )
    resolve(load(spec), effort=Effort(level=3, threads=2), progress=Silent(), depot=connected.depot, now=NOW)
    isolated.admit(connected.export(spec))
    isolated.deploy("1.0", settings)
    machine = AptMachine(tmp_path, f"file:{place}/current", gnupg / "good.asc")
    assert machine.run("update").returncode == 0
    done = machine.run("install", "--print-uris", "jq")
    assert done.returncode == 0, done.stderr
    assert {"jq", "libjq1", "libc6"} <= {
        line.split()[1].split("_")[0] for line in done.stdout.splitlines() if ".deb" in line
    }
    assert machine.run("install", "--download-only", "jq").returncode == 0


def test_another_key_signs_from_the_next_apply_on(
    deployed: Path, isolated: Isolated, settings: str, gnupg: Path, tmp_path: Path
) -> None:
    """A changed key is a change of the environment, also where the release stays."""
    isolated.deploy("1.0", settings.replace(fingerprint(gnupg), fingerprint(gnupg, "other")))
    assert AptMachine(tmp_path, f"file:{deployed}/current", gnupg / "other.asc").run("update").returncode == 0
    assert isolated.problem(deep=True) is None
