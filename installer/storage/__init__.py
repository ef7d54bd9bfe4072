"""What a site holds: packs, listings and manifests, and how content is read, rebuilt and packed anew."""
