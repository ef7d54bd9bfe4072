"""Progress drawn on a terminal, by tqdm, which is imported when there is one to draw on."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Literal, NoReturn

import click

if TYPE_CHECKING:
    from tqdm import tqdm


class Bar:
    """A `Progress` drawn on standard error by tqdm, with rate and time left.

    Draws nothing where standard error is no terminal. As a context manager it ends the phase that an exception
    cut short; inside a command the end of the command does so too.

    Args:
        quiet: draw nothing anywhere.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._drawn = not quiet and sys.stderr.isatty()
        self._bar: tqdm[NoReturn] | None = None
        if self._drawn and (context := click.get_current_context(silent=True)):
            context.call_on_close(self.finish)

    def start(self, label: str, total: int | None = None, *, unit: str = "B") -> None:
        """Begin a phase, and end the former one if it has not ended."""
        self.finish()
        if not self._drawn:
            return
        from tqdm import tqdm

        tqdm.monitor_interval = 0  # no thread: commands fork
        self._bar = tqdm(
            desc=label,
            total=total,
            unit=unit if unit == "B" else f" {unit}",
            unit_scale=True,
            file=sys.stderr,
            disable=None,
            dynamic_ncols=True,
        )

    def advance(self, amount: int) -> None:
        """Move the bar by `amount` units."""
        if self._bar is not None:
            self._bar.update(amount)

    def finish(self) -> None:
        """End the phase and leave its bar as it is."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self.finish()
        return False
