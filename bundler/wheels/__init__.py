"""Python packages: lock files, indexes, and which file of a project fits where."""
