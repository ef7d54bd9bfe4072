"""Looking up what the indexes have of each version that a requirements file pins, several projects at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from packaging.utils import NormalizedName

from sealift.at_once import at_once
from sealift.patience import Patience
from sealift.progress import Progress

from ..network.line import CONNECTIONS, Line
from .choosing import fitting, no_file
from .requirements import Pinned, Requirements
from .settings import indexes
from .simple import Link, links


def look_up(
    requirements: Requirements, given: tuple[str, ...], line: Line, progress: Progress
) -> Callable[[Pinned], Sequence[Link]]:
    """Find the files of all that is pinned; what comes out says those of one version.

    The indexes are asked in order, and the first one that has a file with a pinned digest is the last one asked: which
    of them it is makes no difference to what is taken.

    Args:
        requirements: what is pinned.
        given: the indexes that the spec names.
        line: the connections.
        progress: told how many projects were looked up.

    Raises:
        UsageError: a configuration cannot be read.
        SourceError: an index cannot be asked, or none has a file that is pinned.
        MalformedError: an answer is no page of an index.
    """
    places = indexes(os.environ, given=given, in_file=requirements.indexes)
    patience = Patience()
    pages: dict[tuple[NormalizedName, object], list[Link]] = {}

    def one(pinned: Pinned) -> None:
        for place in places:
            found = fitting(pinned, links(place, pinned.project, line, patience) or ())
            if found:
                pages[pinned.project, pinned.version] = found
                progress.advance(1)
                return
        raise no_file(pinned.project, pinned.version)

    distinct = {(pinned.project, pinned.version): pinned for pinned in requirements.pinned}
    progress.start("look up Python packages", len(distinct), unit="")
    at_once(one, tuple(distinct.values()), workers=CONNECTIONS)
    progress.finish()
    return lambda pinned: pages[pinned.project, pinned.version]
