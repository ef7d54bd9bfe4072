"""Helm charts in classic chart repositories."""
