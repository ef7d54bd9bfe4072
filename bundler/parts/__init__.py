"""A release as it is written: trees, packs, and the index of them."""
