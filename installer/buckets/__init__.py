"""What a release becomes in a bucket: objects by their digests, a list of them, and a pointer; no socket here."""
