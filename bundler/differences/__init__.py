"""Differences: what of a release a site lacks, and what of its old content that is compressed against."""
