"""Where images come from: a registry, an OCI layout as a folder or a tar, or a docker archive."""
