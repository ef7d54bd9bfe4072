"""Source `git`: the files of one commit of a git repository, without its history.

The commit is fetched alone, by its id, and its files are taken from it byte for byte. Submodules and files of LFS
are never taken or left out by oversight, and signatures are checked where the spec asks for it.

Invariant: nothing is collected whose commit neither the spec nor its lock says.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from sealift.document import Problem
from sealift.durable import locked, make_folder
from sealift.errors import IntegrityError, MalformedError, SourceError, TrustError, UsageError
from sealift.names import check_path, visible

from ..source import Found, Trace, Workshop

if TYPE_CHECKING:
    from ..git.address import Address
    from ..git.gathering import Gathering
    from ..git.walking import Place

REPOSITORY_MAX = 4096
ID = "^([0-9a-f]{40}|[0-9a-f]{64})$"
REF = "^[A-Za-z0-9_][A-Za-z0-9._/+@=-]*$"
_FILE = {"type": "string", "minLength": 1, "maxLength": 4096, "pattern": "^[^\\u0000]*$"}
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "repository": {
            "type": "string",
            "minLength": 1,
            "maxLength": REPOSITORY_MAX,
            "description": "https://…, ssh://…, user@host:path, or the path of a repository on this machine; without "
            "a password.",
        },
        "ref": {
            "type": "string",
            "minLength": 1,
            "maxLength": 255,
            "pattern": REF,
            "description": "A branch, a tag, a whole name such as refs/tags/v1, or the id of a commit.",
        },
        "commit": {
            "type": "string",
            "pattern": ID,
            "description": "The commit's id, whole; `sealift-bundle lock` finds it out if left out.",
        },
        "folder": {
            "type": "string",
            "minLength": 1,
            "maxLength": 3072,
            "description": "The folder of the repository that is taken; all of it if left out.",
        },
        "submodules": {
            "type": "boolean",
            "description": "Whether submodules are taken in or left out; a tree that has any is refused if left out.",
        },
        "lfs": {
            "enum": ["refuse", "pointers"],
            "description": "Whether pointers of git LFS are refused or carried as they are; refused if left out.",
        },
        "verify": {
            "type": "object",
            "properties": {
                "keyring": {**_FILE, "description": "A file of OpenPGP public keys that may sign."},
                "allowed_signers": {
                    **_FILE,
                    "description": "A file of SSH keys that may sign, as ssh-keygen reads it.",
                },
            },
            "additionalProperties": False,
            "minProperties": 1,
            "description": "Who must have signed: the tag where `ref` is a signed or annotated one, else the commit.",
        },
        "unsafe_http": {
            "type": "boolean",
            "description": "Whether the repository is asked without TLS; false if left out.",
        },
    },
    "required": ["repository", "ref"],
    "additionalProperties": False,
}

_PIN = "run `sealift-bundle lock`, or write the commit's id in the spec as `commit`"


class _Verify(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    keyring: Annotated[str, msgspec.Meta(min_length=1, max_length=4096, pattern="^[^\x00]*\\Z")] | None = None
    allowed_signers: Annotated[str, msgspec.Meta(min_length=1, max_length=4096, pattern="^[^\x00]*\\Z")] | None = None


class _Want(msgspec.Struct, frozen=True, kw_only=True):
    repository: Annotated[str, msgspec.Meta(min_length=1, max_length=REPOSITORY_MAX)]
    ref: Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=REF[:-1] + "\\Z")]
    commit: Annotated[str, msgspec.Meta(pattern=ID[:-1] + "\\Z")] | None = None
    tag: Annotated[str, msgspec.Meta(pattern=ID[:-1] + "\\Z")] | None = None
    """The tag object that `ref` stood for; only a lock says it."""
    signers: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    """Who signed it, where `verify` asked; only a lock says it."""
    folder: Annotated[str, msgspec.Meta(min_length=1, max_length=3072)] | None = None
    submodules: bool | None = None
    lfs: Literal["refuse", "pointers"] = "refuse"
    verify: _Verify | None = None
    unsafe_http: bool = False

    @property
    def pinned(self) -> str | None:
        """The commit's id, where it is said."""
        return self.commit or (self.ref if re.fullmatch(ID, self.ref) else None)


def collect(want: Mapping[str, Any], workshop: Workshop) -> Iterator[Found]:
    """Yield the entries of the commit's tree, fetched unless the workshop's cache holds it.

    Raises:
        UsageError: a key has the wrong form.
        SourceError: no commit is known, it cannot be fetched, or an entry cannot be carried: the first is named.
        TrustError: it is not signed as `verify` wants.
        MalformedError: an object of git has not the form that it should have.
        StoreError: the cache cannot be written.
    """
    asked = _parse(want)
    address = _address(asked, workshop.base)
    pinned = asked.pinned
    if pinned is None:
        raise SourceError(f"{address.shown} has no commit", hint=_PIN)
    from ..git.objects import Damaged

    make_folder(workshop.cache)
    with locked(workshop.cache / "lock", what=f"the cache {workshop.cache}"):
        gathering = _gathering(workshop, pinned)
        try:
            entries = _entries(asked, address, pinned, gathering, workshop)
        except Damaged:
            gathering.forget()
            try:
                entries = _entries(asked, address, pinned, gathering, workshop)
            except Damaged as error:
                raise IntegrityError(
                    f"{address.shown}: {error}", hint="ask who keeps the repository whether it is damaged"
                ) from error
    yield from entries


def pin(want: Mapping[str, Any], workshop: Workshop) -> Mapping[str, Any]:
    """The commit's id as `commit`, that of an annotated tag as `tag`, and who signed it as `signers`.

    Raises:
        UsageError: a key has the wrong form.
        SourceError: the repository cannot be asked, or has no such name.
        TrustError: it is not signed as `verify` wants.
        StoreError: the cache cannot be written.
    """
    asked = _parse(want)
    address = _address(asked, workshop.base)
    make_folder(workshop.cache)
    with locked(workshop.cache / "lock", what=f"the cache {workshop.cache}"):
        if asked.pinned is not None:
            pins = {"commit": asked.pinned}
        else:
            resolved = _gathering(workshop, "0" * 40).resolve(address, asked.ref)
            pins = {"commit": resolved.commit} | ({"tag": resolved.tag} if resolved.tag else {})
        if asked.verify is not None:
            sure = msgspec.structs.replace(asked, tag=pins.get("tag"))
            with _opened(sure, address, pins["commit"], _gathering(workshop, pins["commit"])) as (place, _):
                pins["signers"] = ", ".join(_signers(sure, asked.verify, place, workshop.base))
    return pins


def traces(want: Mapping[str, Any]) -> Iterable[Trace]:
    """The commit, its repository and who signed it.

    Raises:
        UsageError: a key has the wrong form.
    """
    asked = _parse(want)
    address = _address(asked, Path("/"))
    signed = "signature of the " + ("tag" if asked.tag else "commit") if asked.signers else ""
    return [
        Trace(
            name=asked.ref,
            uri="" if address.protocol == "file" else address.url,
            digest={"gitCommit": asked.pinned} if asked.pinned else {},
            signature=signed,
            signers=tuple(asked.signers.split(", ")) if asked.signers else (),
        )
    ]


def lint(want: Mapping[str, Any], base: Path, *, pinned: bool) -> list[Problem]:
    """What is wrong with the address, the reference and the folder, and whether files are there; nobody is asked."""
    from ..git.address import parse

    found = []
    text, ref, folder = want.get("repository"), want.get("ref"), want.get("folder")
    if isinstance(text, str) and 0 < len(text) <= REPOSITORY_MAX:
        try:
            address = parse(text, base, unsafe_http=want.get("unsafe_http") is True)
            if address.protocol == "file" and not os.path.isdir(address.url):
                raise UsageError(f"{visible(text)!r}: no such folder", hint="check `repository`")
        except UsageError as error:
            found.append(Problem(steps=("repository",), message=error.message, hint=error.hint))
    if isinstance(ref, str) and re.fullmatch(REF, ref):
        try:
            _check_ref(ref, want.get("commit"))
        except UsageError as error:
            found.append(Problem(steps=("ref",), message=error.message, hint=error.hint))
        if pinned and "commit" not in want and not re.fullmatch(ID, ref):
            message = "neither `commit` nor a lock says the commit's id"
            found.append(Problem(steps=(), message=message, hint=_PIN, missing=True))
    if isinstance(folder, str) and folder:
        try:
            check_path(folder)
        except MalformedError as error:
            found.append(Problem(steps=("folder",), message=error.message, hint="write a path inside the repository"))
    verify = want.get("verify")
    for key in ("keyring", "allowed_signers"):
        place = verify.get(key) if isinstance(verify, dict) else None
        if isinstance(place, str) and place and "\0" not in place and not (base / place).is_file():
            problem = f"{visible(place)!r}: no such file"
            found.append(Problem(steps=("verify", key), message=problem, hint=f"check `{key}`"))
    return found


def reaches(want: Mapping[str, Any], base: Path, place: Path) -> bool:
    """Whether the repository is a folder of this machine that holds `place`, or lies in it.

    Raises:
        UsageError: a key has the wrong form.
    """
    address = _address(_parse(want), base)
    if address.protocol != "file":
        return False
    root, real = Path(os.path.realpath(address.url)), Path(os.path.realpath(place))
    return root == real or real in root.parents


def _parse(want: Mapping[str, Any]) -> _Want:
    try:
        asked = msgspec.convert(want, _Want)
        if asked.folder is not None:
            check_path(asked.folder)
        _check_ref(asked.ref, asked.commit)
    except msgspec.ValidationError as error:
        raise UsageError(f"source git: {visible(str(error))}") from error
    except MalformedError as error:
        raise UsageError(f"source git: {error.message}", hint="write a path inside the repository") from error
    if asked.verify is not None and asked.verify == _Verify():
        raise UsageError("source git: `verify` names nobody", hint="name `keyring`, `allowed_signers` or both")
    return asked


def _check_ref(ref: str, commit: object) -> None:
    if ".." in ref or "//" in ref or "@{" in ref or "/." in ref or ref.endswith((".", "/", ".lock")):
        raise UsageError(f"{visible(ref)!r} is no name of a branch or a tag")
    if re.fullmatch(ID, ref) and commit not in (None, ref):
        raise UsageError("`ref` is the id of another commit than `commit`")


def _address(asked: _Want, base: Path) -> Address:
    from ..git.address import parse

    return parse(asked.repository, base, unsafe_http=asked.unsafe_http)


def _gathering(workshop: Workshop, name: str) -> Gathering:
    from ..git.gathering import Gathering, form_of

    return Gathering(workshop.cache, workshop.spare, form_of(name), workshop.progress)


@contextlib.contextmanager
def _opened(
    asked: _Want, address: Address, commit: str, gathering: Gathering
) -> Iterator[tuple[Place, Callable[[Address, str, int], Place]]]:
    """The commit, fetched where it is not here, and what opens others likewise."""
    from ..git.objects import Objects
    from ..git.walking import Place

    running: dict[Path, Objects] = {}
    with contextlib.ExitStack() as stack:

        def enter(where: Address, wanted: str, nested: int, name: str | None = None) -> Place:
            git = gathering.gather(where, name or wanted)
            if git.folder not in running:
                running[git.folder] = stack.enter_context(Objects(git))
            return Place(running[git.folder], where, wanted, nested)

        yield enter(address, commit, 0, asked.tag if asked.verify else None), enter


def _entries(asked: _Want, address: Address, commit: str, gathering: Gathering, workshop: Workshop) -> list[Found]:
    from ..git.modules import modules
    from ..git.walking import Asked, Walk

    with _opened(asked, address, commit, gathering) as (place, enter):
        if asked.verify is not None:
            _signers(asked, asked.verify, place, workshop.base)
        walk = Walk(
            asked=Asked(asked.folder or "", asked.submodules, asked.lfs == "pointers"),
            cache=workshop.cache,
            spare=workshop.spare,
            enter=enter,
            modules=modules,
        )
        return walk.walk(place)


def _signers(asked: _Want, verify: _Verify, place: Place, base: Path) -> tuple[str, ...]:
    """Who signed the tag, or the commit where there is none."""
    from ..git.signing import OBJECT_MAX, signers
    from ..scratch import scratch

    if asked.tag is None:
        content, what = place.objects.read(place.commit, "commit", OBJECT_MAX), f"commit {place.commit[:12]}"
    else:
        content, what = place.objects.read(asked.tag, "tag", OBJECT_MAX), f"tag {asked.ref.removeprefix('refs/tags/')}"
        head = content.partition(b"\n\n")[0].split(b"\n")
        name = asked.ref.removeprefix("refs/tags/").encode()
        if head[:3] != [b"object " + place.commit.encode(), b"type commit", b"tag " + name]:
            raise TrustError(
                f"{place.address.shown}: the tag object behind {what} says another name, or another commit",
                hint="somebody put one tag in the place of another: ask who keeps the repository",
            )
    with scratch() as folder:
        return signers(content, what, msgspec.to_builtins(verify), base, folder)
