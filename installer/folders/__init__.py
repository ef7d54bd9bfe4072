"""Folders that a release is deployed to: written, switched, and looked at again."""
