"""Where the declaration of an environment comes from, and a copy of one with changes.

One source governs an environment at a time: a file at the site, a file of a signed release, or a copy of another
environment. The site remembers which.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sealift import document
from sealift.document import Document
from sealift.errors import UsageError
from sealift.names import check_release, label_in, visible

from .deployments import Deployments
from .environments.environment import FILE, Environment, accept, load
from .records.site import Site
from .storage.content import Contents
from .storage.deployable import Deployable
from .storage.store import Store

_STEP = re.compile(r"([^.\[\]]+)|\[([0-9]{1,4})\]")


def told(source: str | None) -> str:
    """What governs an environment, in words."""
    kind, _, rest = (source or FILE).partition(":")
    if kind == "release":
        name, _, path = rest.partition(":")
        return f"the file {path} of the release {name}"
    if kind == "copy":
        return f"a copy of environment {rest}"
    return "a file at this site"


def declared(given: str, site: Site) -> Environment:
    """The environment that the file `given` declares, or a file of an admitted release, `name@version:path`.

    Raises:
        UsageError: it does not validate, or there is no such file or release.
        IntegrityError: the store is damaged.
    """
    label, colon, path = given.partition(":")
    named = label_in(label) if colon and not os.path.exists(given) else None
    if named is None:
        return load(Path(given))
    admitted = site.state.release(*named)
    if admitted is None:
        raise UsageError(f"{label} is not at this site", hint="import a bundle that holds it: sealift-install import")
    store = Store(site.store)
    deployable = Deployable(release=store.held(admitted.part), part=admitted.part)
    place = deployable.release.place(path)
    contents = Contents(deployable, store, {place[0].name} if place else ())
    if place is None or place[1] not in contents.files[place[0].name]:
        raise UsageError(
            f"{label} has no file {visible(path)}",
            hint="with several artifacts, the path begins with an artifact's name",
        )
    content = contents.read(place[0].name, place[1], document.SIZE_MAX)
    return accept(document.parse_content(visible(given), content), Path(given), f"release:{named[0]}:{path}")


def copied(
    deployments: Deployments, original: str, name: str, changes: Sequence[str], expires: datetime | None = None
) -> Environment:
    """An environment that declares what another one does, with changes.

    Args:
        deployments: what the site's environments run.
        original: the name of the other one.
        name: what the copy is called.
        changes: each `path=value`, such as `version=1.4.2`, `values.host=a` or `targets[0].path=/srv/b`.
        expires: when it should be removed; None where it is to stay.

    Raises:
        UsageError: the other one runs nothing, a change has no place, or the result does not validate.
    """
    current = deployments.state(original).current
    if current is None:
        raise UsageError(f"there is no environment {original}", hint="see which there are: sealift-install env list")
    check_release(name)
    value: dict[str, Any] = copy.deepcopy(current.environment)
    other = value["environment"]
    value["environment"] = name
    for change in changes:
        _set(value, change)
    made = Document(name=f"the copy {name}", value=value, values={}, keys={}, written={})
    return replace(accept(made, Path(f"the copy {name}"), f"copy:{other}"), expires=expires)


def _set(value: Any, change: str) -> None:
    path, equals, text = change.partition("=")
    steps = [int(number) if number else key for key, number in _STEP.findall(path)]
    wrong = UsageError(
        f"--set {visible(change)[:120]!r} names no place in the environment",
        hint="write PATH=VALUE, such as version=1.4.2, values.host=a or targets[0].path=/srv/b",
    )
    if not equals or not steps or _written(steps) != path:
        raise wrong
    for step in steps[:-1]:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError) as error:
            raise wrong from error
    last = steps[-1]
    if isinstance(value, list) and isinstance(last, int) and last < len(value):
        former = value[last]
    elif isinstance(value, dict) and isinstance(last, str):
        former = value.get(last)
    else:
        raise wrong
    value[last] = text if isinstance(former, str) else _parsed(text, change)


def _written(steps: Sequence[str | int]) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return text.removeprefix(".")


def _parsed(text: str, change: str) -> Any:
    """What `text` means in YAML; where a string stood before, it is the string that it is."""
    found = document.parse_content(f"--set {visible(change)[:120]}", text.encode())
    if found.faults:
        raise found.refusal(found.faults)
    return found.value
