"""Works that begin in the same instant, each in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from sealift.errors import StoreError, TrustError


def at_once(works: Sequence[Callable[[], object]]) -> list[int]:
    """Run each in a process of its own, begun together; their exit codes."""
    children = []
    reader, writer = os.pipe()
    for work in works:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.close(writer)
                os.read(reader, 1)
                work()
                code = 0
            except (StoreError, TrustError) as error:
                code = error.exit_code
            finally:
                os._exit(code)
        children.append(child)
    os.close(writer)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    os.close(reader)
    return codes
