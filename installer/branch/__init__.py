"""A branch of a git repository of the site: what Sealift has in it, what is staged for it, and the next commit."""
