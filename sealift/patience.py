"""Patience: how long a client waits for a server, how often it tries again, and when it gives up."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

RETRY_AFTER_MAX = 60.0
"""Seconds that a server may ask to wait."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait, and for what; the clock and what waits, so that a test need not."""

    attempts: int = 5
    base: float = 1.0
    """Seconds before the second attempt; each further one waits twice as long."""
    ceiling: float = 30.0
    """Seconds before any attempt at most, unless the server asks for more."""
    connect: float = 20.0
    read: float = 60.0
    """Seconds without a byte."""
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.time
    jitter: Callable[[], float] = random.random
    """A number from 0 to 1 that spreads the waits, so that many clients do not return at once."""

    def before(self, attempt: int, asked: float | None) -> float:
        """Seconds to wait after `attempt` attempts failed; `asked` is what the server asked for."""
        if asked is not None:
            return min(max(asked, 0.0), RETRY_AFTER_MAX)
        return float(min(self.ceiling, self.base * 2 ** (attempt - 1)) * (0.5 + self.jitter() / 2))
