"""The line to the site's registry."""

from __future__ import annotations

import os

from sealift.errors import UsageError
from sealift.patience import Patience
from sealift.wire.opener import Opener
from sealift.wire.wire import Wire

OPENER = Opener(authorities=("SEALIFT_CA_FILE", "SSL_CERT_FILE"), failure=UsageError)


def wire(patience: Patience, *, connections: int) -> Wire:
    """A line that is opened when something is asked.

    Args:
        patience: how long to wait.
        connections: how many are kept for each host.
    """
    return Wire(OPENER, os.environ, patience, connections=connections)
