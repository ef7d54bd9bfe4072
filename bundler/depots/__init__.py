"""Depots: what was published, what sites hold of it, and how it is read again."""
