"""Filling: what an environment's values and secrets make of a release's templates.

Values are checked against the schema that the release ships, and templates are filled, in a process of its own that
is bounded in time and memory. Each template is filled twice: first with a mask in place of each secret, then with the
secrets. Messages and differences come from the masked filling alone, so that nothing of a secret is ever shown.

The variant, which is part of what the filled release is called at a target, is an HMAC over the filled files. Its key
is the site's own, so that nobody can find a secret by trying.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sealift import strict_json
from sealift.document import Problem
from sealift.durable import storing, write_file
from sealift.errors import IntegrityError, MalformedError, TrustError, UsageError
from sealift.manifest import Release, Values
from sealift.names import visible
from sealift.reading import bounded
from sealift.schema import problems
from sealift.template import RESERVED, TEMPLATE_MAX, UnfitError, fill, language

from ..storage.content import Contents
from ..storage.deployable import Deployable
from ..storage.store import Store
from .confined import confined
from .environment import Environment
from .secret import resolve

KEY = "variant.key"
"""The file in the site's folder with the key of variants: 32 random bytes, of mode 0600."""
KEY_SIZE = 32
VARIANT = 12
"""Hexadecimal digits of a variant."""
SECONDS = 20
"""How long the schema and all templates of a release may take."""
MEMORY = 512 << 20
"""Bytes of memory that this may take."""
TOTAL_MAX = 64 << 20
"""Bytes of all filled files of a release."""

Files = Mapping[tuple[str, str], bytes]
"""Filled files by artifact and path."""


@dataclass(frozen=True, kw_only=True)
class Filling:
    """What values made of a release's templates."""

    files: Files = field(default_factory=dict, repr=False)
    masked: Files = field(default_factory=dict, repr=False)
    """The same with a mask in place of each secret: what may be shown."""
    variant: str = ""
    """What tells it from the same release with other values or secrets; empty where there are no templates."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The secrets by their names."""


NOTHING = Filling()


def key(site: Path, *, make: bool) -> bytes:
    """The key of variants of a site.

    Args:
        site: the site's folder.
        make: whether to keep a new one where there is none, the site's lock being held. Without, a key that nobody
            ever had is returned then: it gives variants that no target has.

    Raises:
        TrustError: the file is no such key, or others may read it.
        StoreError: the disk refuses.
    """
    path = site / KEY
    content = bounded(path, KEY_SIZE)
    if content is None:
        content = secrets.token_bytes(KEY_SIZE)
        if make:
            write_file(path, content, mode=0o600)
        return content
    with storing(path):
        if os.stat(path).st_mode & 0o077:
            raise TrustError(f"others may read {path}", hint=f"chmod 600 {path}")
    if len(content) != KEY_SIZE:
        raise TrustError(
            f"{path} is damaged", hint="restore it from a backup; or remove it, and what has values is deployed anew"
        )
    return content


def filled(environment: Environment, deployable: Deployable, store: Store, key: bytes) -> Filling:
    """Fill an environment's values and secrets into a release.

    Args:
        environment: what is declared.
        deployable: the release, as it is sealed.
        store: where its content lies.
        key: the site's key of variants.

    Raises:
        UsageError: values or secrets do not fit the release; every problem is told, with its place.
        IntegrityError: the store is damaged.
    """
    release = deployable.release
    if release.values is None:
        _check_unasked(environment, release)
        return NOTHING
    schema, templates = _read(deployable, release.values, store)
    found, missing = resolve(environment.secrets)
    answer = _answered(environment, release, schema, templates, found)
    wrong = [Problem(steps=("secrets", name), message=why) for name, why in missing.items()] + answer.problems
    lines = environment.document.refusal(wrong).message.splitlines() if wrong else []
    lines += [f"{release.label} {visible(path)}:{line}: {why}" for path, line, why in answer.unfit]
    if lines:
        raise UsageError("\n".join(lines))
    places = {path: _place(release, path) for path in templates}
    files = {places[path]: content for path, content in answer.files.items()}
    return Filling(
        files=files,
        masked={places[path]: content for path, content in answer.masked.items()},
        variant=_variant(files, key),
        secrets=found,
    )


def masked(environment: Environment, deployable: Deployable, store: Store) -> Files:
    """As `filled`, with a mask in place of each secret, and without looking for any; for what was deployed before.

    Raises:
        UsageError: it cannot be filled any more.
        IntegrityError: the store is damaged.
    """
    release = deployable.release
    if release.values is None:
        return {}
    schema, templates = _read(deployable, release.values, store)
    answer = _answered(environment, release, schema, templates, None)
    return {_place(release, path): content for path, content in answer.masked.items()}


def _answered(
    environment: Environment,
    release: Release,
    schema: Mapping[str, Any],
    templates: Mapping[str, str],
    found: Mapping[str, str] | None,
) -> _Answer:
    language()
    said = {"release": release.name, "version": release.version, "environment": environment.name}
    masks = {name: f"<secret {name}>" for name in environment.secrets}
    return confined(
        lambda: _work(environment.values, schema, templates, said, masks, found),
        f"the templates of {release.label}",
        seconds=SECONDS,
        memory=MEMORY,
    )


def _check_unasked(environment: Environment, release: Release) -> None:
    """Refuse values and secrets for a release that has no use for them."""
    unasked = [
        Problem(steps=(name,), message=f"{release.label} has no templates that {name} could be filled in", at_key=True)
        for name, given in (("values", environment.values), ("secrets", environment.secrets))
        if given
    ]
    if unasked:
        raise environment.document.refusal(unasked)


def _read(deployable: Deployable, values: Values, store: Store) -> tuple[dict[str, Any], dict[str, str]]:
    """The schema, and the text of each template by its path of the release."""
    places = {path: _place(deployable.release, path) for path in (values.schema, *values.templates)}
    contents = Contents(deployable, store, {artifact for artifact, _ in places.values()})
    read = {path: contents.read(*places[path], TEMPLATE_MAX) for path in places}
    try:
        schema = json.loads(read[values.schema])
        templates = {path: read[path].decode() for path in values.templates}
    except (ValueError, RecursionError) as error:
        raise _unfit(deployable.release) from error
    if not isinstance(schema, dict):
        raise _unfit(deployable.release)
    return schema, templates


def _unfit(release: Release) -> IntegrityError:
    return IntegrityError(
        f"{release.label} has a template that is no text, or no schema", hint="it was made by a faulty program"
    )


def _place(release: Release, path: str) -> tuple[str, str]:
    found = release.place(path)
    if found is None:
        raise _unfit(release)
    return found[0].name, found[1]


def _variant(files: Files, key: bytes) -> str:
    lines = sorted([*place, hashlib.sha256(content).hexdigest()] for place, content in files.items())
    return hmac.new(key, strict_json.canonical({"files": lines}), hashlib.sha256).hexdigest()[:VARIANT]


@dataclass(kw_only=True)
class _Answer:
    """What the confined process found."""

    problems: list[Problem] = field(default_factory=list)
    """With the values."""
    unfit: list[tuple[str, int, str]] = field(default_factory=list)
    """Path, line and reason of each template that cannot be filled."""
    files: dict[str, bytes] = field(default_factory=dict)
    masked: dict[str, bytes] = field(default_factory=dict)


def _work(
    values: Mapping[str, Any],
    schema: Mapping[str, Any],
    templates: Mapping[str, str],
    said: Mapping[str, str],
    masks: Mapping[str, str],
    found: Mapping[str, str] | None,
) -> _Answer:
    answer = _Answer()
    try:
        answer.problems += [_below("values", problem) for problem in problems(values, schema)]
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise MalformedError(f"{said['release']}@{said['version']} has a schema that cannot be checked") from error
    answer.problems += [
        Problem(steps=("values", name), message="the name is taken: templates have it beside the values", at_key=True)
        for name in RESERVED
        if name in values
    ]
    if answer.problems:
        return answer
    known = {**with_defaults(values, schema), "sealift": dict(said)}
    size = 0
    for path, text in templates.items():
        try:
            answer.masked[path] = fill(text, {**known, "secrets": dict(masks)})
            if found is not None and masks.keys() == found.keys():
                answer.files[path] = _unmasked(text, {**known, "secrets": dict(found)})
                size += len(answer.files[path])
        except UnfitError as error:
            answer.unfit.append((path, error.line, error.message))
        if size > TOTAL_MAX:
            answer.unfit.append((path, 1, f"all filled files together have more than {TOTAL_MAX} bytes"))
            return answer
    return answer


def _unmasked(text: str, known: Mapping[str, Any]) -> bytes:
    try:
        return fill(text, known)
    except UnfitError as error:
        raise UnfitError(error.line, "it can be filled with masks, but not with these secrets") from None


def _below(step: str, problem: Problem) -> Problem:
    return Problem(
        steps=(step, *problem.steps),
        message=problem.message,
        hint=problem.hint,
        at_key=problem.at_key,
        missing=problem.missing,
    )


def with_defaults(values: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with the `default` of each property of `schema` that is missing, at every depth."""
    whole = dict(values)
    for name, part in schema.get("properties", {}).items():
        if name not in whole and "default" in part:
            whole[name] = part["default"]
        if isinstance(whole.get(name), dict):
            whole[name] = with_defaults(whole[name], part)
    return whole
