"""Lets a process be killed at what the target `registry` changes: at its disk, and at the registry by a request."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

from killer import CALLS, Fuse

from installer.targets.registry import RegistryTarget
from sealift.oci.address import Address
from sealift.wire import wire


def arm_target(fuse: Fuse) -> None:
    """Let every change count that the target makes while it stages and switches, in the process that calls this."""
    _arm(fuse, "stage", "activate")


def arm_switch(fuse: Fuse) -> None:
    """The same for what it makes while it switches, alone."""
    _arm(fuse, "activate")


def _arm(fuse: Fuse, *methods: str) -> None:
    busy = [False]
    send = wire.Wire.send

    def at_work(method: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any) -> Any:
            busy[0] = True
            try:
                return method(*args)
            finally:
                busy[0] = False

        return wrapper

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return (fuse.around(call) if busy[0] else call)(*args, **kwargs)

        return wrapper

    @contextlib.contextmanager
    def sent(self: wire.Wire, method: str, address: Address, *rest: Any) -> Iterator[wire.WireAnswer]:
        with contextlib.ExitStack() as stack:
            with fuse.call() if busy[0] and method not in ("GET", "HEAD") else contextlib.nullcontext():
                answer = stack.enter_context(send(self, method, address, *rest))
            yield answer

    for name in methods:
        setattr(RegistryTarget, name, at_work(getattr(RegistryTarget, name)))
    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    setattr(wire.Wire, "send", sent)  # noqa: B010 mypy refuses the assignment
