"""Container images of a release, and what they are called at a site's registry."""
