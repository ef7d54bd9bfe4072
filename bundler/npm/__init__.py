"""npm packages: lock files, and the registries that npm is configured for."""
