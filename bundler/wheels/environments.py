"""Environments: the Pythons and platforms that packages are collected for, as tags and as values of markers.

A platform is written as its most demanding tag, such as `manylinux_2_28_x86_64`; every tag that an installer there
accepts comes from it, the best first (the specification *platform compatibility tags*).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from packaging.markers import Environment as Marks
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms

from sealift.errors import UsageError
from sealift.names import visible

_LINUX = re.compile(r"(manylinux|musllinux)_([12])_([0-9]{1,3})_([a-z0-9_]{1,16})")
_MAC = re.compile(r"macosx_([0-9]{2})_([0-9]{1,2})_([a-z0-9_]{1,16})")
_OLDEST = {"x86_64": 5, "i686": 5}
"""The oldest glibc 2.x that tags know; 17 elsewhere (PEP 513, 571, 599, 600)."""
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_WINDOWS = {"win32": "x86", "win_amd64": "AMD64", "win_arm64": "ARM64"}


class System(NamedTuple):
    """What markers say of a platform."""

    sys_platform: str
    platform_system: str
    os_name: str
    machine: str


@dataclass(frozen=True, kw_only=True)
class Environment:
    """One Python on one platform."""

    python: str
    platform: str

    @property
    def shown(self) -> str:
        """In words."""
        return f"Python {self.python} on {self.platform}"

    @property
    def full_version(self) -> str:
        """The Python's version in three parts; the first of its minor version where the spec does not say."""
        version = self.python.rstrip("t")
        return version if version.count(".") == 2 else f"{version}.0"

    def tags(self) -> list[Tag]:
        """Every tag of a wheel that can be installed, the best first."""
        major, minor = (int(part) for part in self.full_version.split(".")[:2])
        threaded = "t" if self.python.endswith("t") else ""
        interpreter = f"cp{major}{minor}"
        platforms = list(_platforms(self.platform))
        return [
            *cpython_tags((major, minor), [f"{interpreter}{threaded}"], platforms),
            *compatible_tags((major, minor), interpreter, platforms),
        ]

    def marks(self) -> Marks:
        """What markers are evaluated with; nothing of this machine."""
        system = _system(self.platform)
        return {
            "implementation_name": "cpython",
            "implementation_version": self.full_version,
            "os_name": system.os_name,
            "platform_machine": system.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": system.platform_system,
            "platform_version": "",
            "python_full_version": self.full_version,
            "python_version": ".".join(self.full_version.split(".")[:2]),
            "sys_platform": system.sys_platform,
        }


def environments(pythons: tuple[str, ...], platforms: tuple[str, ...]) -> list[Environment]:
    """Every Python on every platform."""
    return [Environment(python=python, platform=platform) for python in pythons for platform in platforms]


def _platforms(platform: str) -> Iterator[str]:
    """The tags that `platform` accepts, the most demanding first."""
    if found := _LINUX.fullmatch(platform):
        family, major, newest, machine = found[1], int(found[2]), int(found[3]), found[4]
        oldest = 0 if family == "musllinux" else _OLDEST.get(machine, 17)
        for minor in range(newest, oldest - 1, -1):
            yield f"{family}_{major}_{minor}_{machine}"
            if family == "manylinux" and minor in _LEGACY:
                yield f"{_LEGACY[minor]}_{machine}"
        yield f"linux_{machine}"
    elif found := _MAC.fullmatch(platform):
        yield from mac_platforms((int(found[1]), int(found[2])), found[3])
    elif platform in _WINDOWS:
        yield platform
    else:
        raise UsageError(
            f"{visible(platform)!r} is no platform",
            hint="write its tag, such as manylinux_2_28_x86_64, musllinux_1_2_aarch64, macosx_11_0_arm64 or win_amd64",
        )


def _system(platform: str) -> System:
    if found := _LINUX.fullmatch(platform):
        return System("linux", "Linux", "posix", found[4])
    if found := _MAC.fullmatch(platform):
        return System("darwin", "Darwin", "posix", found[3])
    return System("win32", "Windows", "nt", _WINDOWS[platform])
