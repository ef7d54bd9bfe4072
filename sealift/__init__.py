"""The format, the store and the trust that every Sealift program shares.

Imports nothing of `bundler`, `installer` or `keys`, and opens no socket.
"""

__version__ = "0.2.0"
FORMAT = 1
"""The bundle format that this build reads and writes (docs/reference/format.md)."""
