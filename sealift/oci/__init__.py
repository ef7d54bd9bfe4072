"""OCI images, charts and other artifacts: names, manifests, layouts, and a client for registries.

The formats are those of the OCI image and distribution specifications, version 1.1, and Docker's schema 2. Nothing
here opens a connection: a client is given a `transport.Transport`, which each side of the gap has its own of.
"""
