"""Health: whether what was deployed works, asked by commands and by HTTP until it does or patience ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from .environments.environment import Check, CommandCheck
from .programs import commands


def unhealthy(
    checks: tuple[Check, ...], *, variables: Mapping[str, str], sleep: Callable[[float], None] = time.sleep
) -> str | None:
    """The first check that does not pass, and why; None where all pass.

    Args:
        checks: in the order in which they are asked; each has its own patience.
        variables: what a command's environment holds.
        sleep: waits a number of seconds.
    """
    for check in checks:
        problem = None
        for attempt in range(check.retries + 1):
            if attempt:
                sleep(check.interval)
            problem = _ask(check, variables)
            if problem is None:
                break
        if problem is not None:
            return problem
    return None


def _ask(check: Check, variables: Mapping[str, str]) -> str | None:
    if isinstance(check, CommandCheck):
        outcome = commands.run(check.command, timeout=check.timeout, folder=None, variables=variables)
        if outcome.problem is None:
            return None
        last = outcome.output.strip().rpartition("\n")[2]
        return f"health check {check.command[0]} {outcome.problem}{': ' + last if last else ''}"
    from .network.probe import probe

    problem = probe(check.url, status=check.status, timeout=check.timeout)
    return f"health check {check.url} {problem}" if problem else None
