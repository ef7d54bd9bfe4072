"""Kinds: what can be added to Sealift by one file, or by another distribution's entry point.

A module of the package is a kind that bears the module's name, with `-` for `_`; names are listed without
importing anything. No entry point may take a name that is taken.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib.machinery import PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, cast

from .errors import UsageError
from .names import visible

if TYPE_CHECKING:
    from importlib import metadata

_FILE = "entry_points.txt"
_KIND = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")


class Kinds(Mapping[str, ModuleType]):
    """Kinds by name, in sorted order; each is imported when it is asked for."""

    def __init__(self, loaders: Mapping[str, Callable[[], ModuleType]]) -> None:
        self._loaders = dict(sorted(loaders.items()))

    def __getitem__(self, kind: str) -> ModuleType:
        return self._loaders[kind]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaders)

    def __len__(self) -> int:
        return len(self._loaders)

    def __contains__(self, kind: object) -> bool:
        return kind in self._loaders


@cache
def kinds(package: str, group: str) -> Kinds:
    """The kinds that `package` holds, and those of the entry-point `group`, as found when first asked.

    A module is no kind if its name begins with `_` or stands in the package's `NOT_KINDS: frozenset[str]`.

    Raises:
        UsageError: an installed entry point bears no valid name, or one that is taken; or, when it is
            asked for, cannot be imported.
    """
    home = importlib.import_module(package)
    others: frozenset[str] = getattr(home, "NOT_KINDS", frozenset())
    loaders: dict[str, Callable[[], ModuleType]] = {}
    owners: dict[str, str] = {}
    for module in pkgutil.iter_modules(home.__path__):
        if not module.name.startswith("_") and module.name not in others:
            kind = module.name.replace("_", "-")
            loaders[kind] = _importer(f"{package}.{module.name}")
            owners[kind] = "sealift itself"
    for entry in sorted(_entry_points(group), key=lambda entry: (entry.name, entry.value)):
        owner = f"{entry.dist.name!r}" if entry.dist else f"{visible(entry.value)!r}"
        name = visible(entry.name)
        hint = f"uninstall {owner}, or ask its maker to name it otherwise"
        if not _KIND.fullmatch(entry.name):
            raise UsageError(f"the entry point {name!r} of {owner} in the group {group} is no valid kind", hint=hint)
        if entry.name in loaders:
            raise UsageError(f"the kind {name!r} of {owner} is taken by {owners[entry.name]}", hint=hint)
        loaders[entry.name] = _entry(entry, owner)
        owners[entry.name] = owner
    return Kinds(loaders)


def _entry_points(group: str) -> Iterable[metadata.EntryPoint]:
    """The entry points of a group.

    What knows them takes as long to load as much of a command: it is asked where a file of them names the group, or
    where they may lie elsewhere than in files.
    """
    if not any(_may_name(folder, f"[{group}]".encode()) for folder in sys.path) and not _others():
        return ()
    from importlib import metadata

    return metadata.entry_points(group=group)


def _may_name(folder: str, section: bytes) -> bool:
    """Whether a folder of modules may have an entry point of a group; so it may where that cannot be seen."""
    if folder.endswith(".egg"):
        return True
    try:
        with os.scandir(folder or ".") as entries:
            found = [entry.path for entry in entries if entry.name.endswith((".dist-info", ".egg-info"))]
    except FileNotFoundError:
        return False
    except OSError:
        return True
    for place in found:
        try:
            with open(f"{place}/{_FILE}", "rb") as file:
                if section in file.read():
                    return True
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            return True
    return False


def _others() -> bool:
    """Whether something besides Python's own search by path finds distributions."""
    return any(hasattr(finder, "find_distributions") for finder in sys.meta_path if finder is not PathFinder)


def _importer(name: str) -> Callable[[], ModuleType]:
    return lambda: importlib.import_module(name)


def _entry(entry: metadata.EntryPoint, owner: str) -> Callable[[], ModuleType]:
    def load() -> ModuleType:
        try:
            return cast(ModuleType, entry.load())
        except (ImportError, AttributeError) as error:
            raise UsageError(
                f"the kind {entry.name!r} of {owner} cannot be imported: {error}", hint=f"reinstall {owner}"
            ) from error

    return load
