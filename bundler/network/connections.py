"""How the connected side opens connections."""

from __future__ import annotations

from sealift.errors import SourceError
from sealift.wire.opener import Opener

CA_VARIABLES = ("SEALIFT_CA_FILE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
"""Environment variables that name the certificates to trust in place of the system's; the first that is set counts."""
OPENER = Opener(authorities=CA_VARIABLES, failure=SourceError)
"""What opens them: by the environment's proxy and certificates, verified."""
