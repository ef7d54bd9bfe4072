"""Strategies: how traffic moves to a new release. One module here, or one entry point, is one kind.

A strategy module offers two names:

- `SCHEMA`: the JSON Schema of the keys that an environment gives a strategy of this kind.
- `compose(settings, wanted, make, workplace)`: the kinds and the targets that stand for those that are declared.

A declared target whose settings mention `{slot}` is there once for each slot; any other is there once, as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..environments.environment import TargetWanted
from ..target import Target

NOT_KINDS = frozenset({"slotted"})
"""Modules here that are no kind of strategy."""
Make = Callable[[TargetWanted], Target]
"""Makes the target that is declared."""
Composed = Sequence[tuple[str, Target]]
"""Targets in the order in which they are deployed to, each with its kind."""
