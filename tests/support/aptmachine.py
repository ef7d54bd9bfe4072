"""A machine for apt: a root folder with apt's settings and dpkg's state, where packages are really installed."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from enclave import without_network


class Machine:
    """A machine with a root of its own, whose apt knows one repository."""

    def __init__(self, folder: Path, source: str, keyring: Path) -> None:
        self.root = folder / "machine"
        for name in (
            "etc/apt/apt.conf.d",
            "etc/apt/preferences.d",
            "var/lib/apt/lists/partial",
            "var/lib/dpkg/updates",
        ):
            (self.root / name).mkdir(parents=True)
        for name in ("var/cache/apt/archives/partial", "var/lib/dpkg/info", "var/log/apt", "etc/apt/sources.list.d"):
            (self.root / name).mkdir(parents=True)
        (self.root / "var/lib/dpkg/status").touch()
        (self.root / "etc/apt/site.asc").write_bytes(keyring.read_bytes())
        (self.root / "etc/apt/sources.list.d/site.sources").write_text(
            f"Types: deb\nURIs: {source}\nSuites: stable\nComponents: main\nSigned-By: {self.root}/etc/apt/site.asc\n"
        )
        settings = {
            "Dir": self.root,
            "Dir::State::status": self.root / "var/lib/dpkg/status",
            "Dir::Bin::dpkg": "/usr/bin/dpkg",
            "Dir::Bin::methods": "/usr/lib/apt/methods",
            "APT::Architecture": "amd64",
            "APT::Architectures::": "amd64",
            "APT::Get::Assume-Yes": "true",
            "APT::Sandbox::User": "root",
            "APT::Update::Error-Mode": "any",
            "Acquire::Languages": "none",
            "Acquire::Retries": "0",
            "DPkg::Use-Pty": "false",
        }
        options = " ".join(f'"{each}";' for each in (f"--root={self.root}", "--force-unsafe-io", "--log=/dev/null"))
        lines = [*(f'{name} "{value}";' for name, value in settings.items()), f"DPkg::Options {{ {options} }};", ""]
        (self.root / "apt.conf").write_text("\n".join(lines))

    def apt(self, *words: str) -> list[str]:
        """A command of its apt."""
        return ["env", f"APT_CONFIG={self.root}/apt.conf", "apt-get", "-q", *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run it with no network at all."""
        return subprocess.run(
            [*without_network(), *self.apt(*words)],
            env={"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
        )

    def installed(self) -> set[str]:
        """What is installed."""
        status = (self.root / "var/lib/dpkg/status").read_text()
        stanzas = [each for each in status.split("\n\n") if "Status: install ok installed" in each]
        return {f"{each.split()[1]} {re.findall('^Version: (.*)', each, re.M)[0]}" for each in stanzas}
