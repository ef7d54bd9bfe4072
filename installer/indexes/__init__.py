"""Indexes that several environments share: packages of a kind, from which a site's own tools install.

- `record`: what a release contributes.
- `pool`: the content of packages, each a file named by its digest.
- `side`: one of the two folders of which the other is served.
- `shared`: the index itself, a target.
- what an index of a kind looks like: `wheels` and `simple` for Python, `tarball` and `packument` for npm.
"""
