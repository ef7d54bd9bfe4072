"""Debian packages and repositories, made by hand, so that they can also be wrong."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gnupg import clear_signed


def tar(files: Mapping[str, bytes]) -> bytes:
    """A tar of some files; a name that ends in a slash is a folder's."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if name.endswith("/"):
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


def ar(members: Mapping[str, bytes]) -> bytes:
    """An `ar` archive."""
    made = b"!<arch>\n"
    for name, content in members.items():
        made += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content
        made += b"\n" * (len(content) % 2)
    return made


def deb(name: str, version: str = "1.0", architecture: str = "all", **fields: str) -> bytes:
    """A package that holds one file; an underscore in a field's name stands for `-`."""
    more = {key.replace("_", "-"): value for key, value in fields.items()}
    says = {"Package": name, "Version": version, "Architecture": architecture, "Maintainer": "A <a@example.org>"}
    says |= {**more, "Description": f"the package {name}\n With a second line."}
    control = "".join(f"{key}: {value}\n" for key, value in says.items()).encode()
    data = gzip.compress(
        tar({"./": b"", "./usr/": b"", "./usr/share/": b"", f"./usr/share/{name}": version.encode()}), mtime=0
    )
    return ar(
        {
            "debian-binary": b"2.0\n",
            "control.tar.gz": gzip.compress(tar({"./control": control}), mtime=0),
            "data.tar.gz": data,
        }
    )


@dataclass
class Repository:
    """A repository in a folder, with one suite `stable` and one component `main`."""

    folder: Path
    home: Path
    """The GnuPG home that signs it."""
    stanzas: list[str] = field(default_factory=list)

    def add(self, content: bytes, name: str, version: str = "1.0", architecture: str = "all", **fields: str) -> Path:
        """Put a package into the pool and list it; `fields` are what the list says of it besides."""
        path = f"pool/{name}_{version.rpartition(':')[2]}_{architecture}.deb"
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        says = {
            "Package": name,
            "Version": version,
            "Architecture": architecture,
            "Filename": path,
            "Size": str(len(content)),
            "SHA256": hashlib.sha256(content).hexdigest(),
            **{key.replace("_", "-"): value for key, value in fields.items()},
        }
        self.stanzas.append("".join(f"{key}: {value}\n" for key, value in says.items()))
        return place

    def deb(self, name: str, version: str = "1.0", architecture: str = "all", **fields: str) -> Path:
        """Put a good package into the pool and list it."""
        return self.add(deb(name, version, architecture, **fields), name, version, architecture, **fields)

    def publish(self, key: str | None = "good", *faked: str) -> None:
        """Write the lists and sign them; with None, without a signature."""
        packages = "\n".join(self.stanzas).encode()
        place = self.folder / "dists/stable/main/binary-amd64/Packages"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(packages)
        release = (
            "Origin: Test\nSuite: stable\nCodename: stable\nDate: Thu, 01 Jan 2026 00:00:00 UTC\n"
            "Architectures: amd64 all\nComponents: main\nSHA256:\n"
            f" {hashlib.sha256(packages).hexdigest()} {len(packages)} main/binary-amd64/Packages\n"
        ).encode()
        (self.folder / "dists/stable/InRelease").unlink(missing_ok=True)
        (self.folder / "dists/stable/Release").write_bytes(release)
        if key is not None:
            (self.folder / "dists/stable/InRelease").write_bytes(clear_signed(self.home, release, key, *faked))
