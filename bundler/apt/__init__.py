"""Apt: closures of Debian packages, found by apt's own solver and fetched by its own methods, in a root of its own."""
