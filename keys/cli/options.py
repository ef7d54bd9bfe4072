"""Options that several commands of `sealift-keys` share, and what they mean. Imports click and nothing heavier."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..terminal import passphrase_options, terminal_source

if TYPE_CHECKING:
    from securesystemslib.signer import Key, Signer

    from ..public import Public

Function = TypeVar("Function", bound=Callable[..., Any])

SCHEME_NAMES = ("ed25519", "ecdsa-p256", "ecdsa-p384", "ml-dsa-65", "hybrid")
"""`keyfile.SCHEMES`, named here because importing that is slow; a test holds the two together."""


def depot_option(function: Function) -> Function:
    """Give a command `--depot`."""
    return click.option(
        "--depot", required=True, type=click.Path(path_type=Path), metavar="DIR", help="The depot to work on."
    )(function)


def scheme_option(function: Function) -> Function:
    """Give a command `--scheme`."""
    return click.option(
        "--scheme",
        type=click.Choice(SCHEME_NAMES),
        default=SCHEME_NAMES[0],
        show_default=True,
        help="What a key that is made here is; hybrid is Ed25519 with ML-DSA-65.",
    )(function)


def days_option(default: int, what: str) -> Callable[[Function], Function]:
    """Give a command `--days`."""

    def wrap(function: Function) -> Function:
        return click.option("--days", default=default, show_default=True, metavar="N", help=f"How long {what} lives.")(
            function
        )

    return wrap


def change_options(function: Function) -> Function:
    """Give a command what changes the keys of a role: `--add`, `--new`, `--scheme`, `--threshold`."""
    function = click.option("--threshold", type=int, metavar="N", help="How many of the role's keys must sign.")(
        function
    )
    function = scheme_option(function)
    function = click.option("--new", is_flag=True, help="Make a key in the depot's folder of keys, and add it.")(
        function
    )
    return click.option(
        "--add", multiple=True, metavar="KEY", help="A public key file, or the place of a key, to add; repeatable."
    )(function)


def signing_options(function: Function) -> Function:
    """Give a command `--key` and the passphrase options: the keys that sign at once."""
    function = passphrase_options(function)
    return click.option(
        "--key",
        "keys",
        multiple=True,
        metavar="KEY",
        help="A key that signs at once: a file, a URI such as hsm:2?label=root-a, or a public key file with its place;"
        " repeatable.",
    )(function)


class Opening:
    """Opens keys by what a person names them, with one source of passphrases and PINs."""

    def __init__(self, passphrase_file: Path | None, unsafe_no_passphrase: bool) -> None:
        self.unsafe_unencrypted = unsafe_no_passphrase
        self.source = terminal_source(passphrase_file)

    def signer(self, named: str) -> Signer:
        """The private key that `named` means.

        Raises:
            UsageError, MalformedError, TrustError, StoreError: it does not open.
        """
        from sealift.errors import UsageError

        from ..places import open_signer

        public = self._file(named)
        if public is None:
            return open_signer(named, None, self.source, unsafe_unencrypted=self.unsafe_unencrypted)
        if public.place is None:
            raise UsageError(
                f"{named} is a public key, and does not say where its private key lives",
                hint="name the private key's own file or URI",
            )
        return open_signer(public.place, public.key, self.source, unsafe_unencrypted=self.unsafe_unencrypted)

    def public(self, named: str) -> Public:
        """The public key that `named` means, and its place where that is known.

        Raises:
            UsageError, MalformedError, TrustError, StoreError: it cannot be read or does not open.
        """
        from ..places import FILE, path_of, scheme
        from ..public import Public

        if found := self._file(named):
            return found
        place = str(path_of(named).resolve()) if scheme(named) == FILE else named
        return Public(key=self.signer(named).public_key, place=place)

    def _file(self, named: str) -> Public | None:
        """What a public key file says; None where `named` is something else."""
        from sealift.reading import bounded

        from ..places import FILE, path_of, scheme
        from ..public import read

        if scheme(named) != FILE:
            return None
        begin = bounded(path_of(named), 64, follow=True)
        return read(path_of(named)) if begin is not None and begin.lstrip().startswith(b"{") else None


@contextmanager
def at_work(depot: Path) -> Iterator[None]:
    """Hold the depot's lock: whoever exports or publishes meanwhile waits or is told."""
    from sealift.durable import locked

    from .. import depot as depots

    depots.settings(depot)
    with locked(depot / depots.LOCK, what=str(depot), wait=10):
        yield


def new_key(depot: Path, name: str, scheme: str, *, passphrase_file: Path | None, unsafe_no_passphrase: bool) -> Public:
    """Make a key file in the depot's folder of keys: `<name>.pem`, or with a number where that is taken.

    Raises:
        UsageError, TrustError, StoreError: there is no passphrase, or the disk refused.
    """
    from .. import depot as depots
    from ..keyfile import generate
    from ..public import Public

    folder = depots.settings(depot).keys
    number = 1
    while (depot / folder / f"{name}-{number}.pem").exists():
        number += 1
    path = depot / folder / f"{name}-{number}.pem"
    passphrase = None if unsafe_no_passphrase else terminal_source(passphrase_file).new(str(path))
    signer = generate(path, passphrase=passphrase, scheme=scheme, unsafe_unencrypted=unsafe_no_passphrase)
    return Public(key=signer.public_key, place=f"{folder}/{path.name}")


def note_places(depot: Path, added: list[Public]) -> None:
    """Note where keys live, so that `export` finds those that this machine can use.

    Raises:
        UsageError, MalformedError, StoreError: as `depot.note`.
    """
    import msgspec

    from .. import depot as depots

    noted = depots.settings(depot).places
    known = {} if noted is msgspec.UNSET else dict(noted)
    found = {public.key.keyid: public.place for public in added if public.place is not None}
    if found.keys() - known.keys():
        depots.note(depot, places={**known, **found})


def ids(keys: tuple[Key, ...]) -> str:
    """Key ids as a person reads them."""
    return " ".join(key.keyid[:8] for key in keys)
