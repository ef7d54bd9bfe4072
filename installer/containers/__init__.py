"""Containers and pods on this machine: what of a release runs there, and how it is started, watched and removed."""
