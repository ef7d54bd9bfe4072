"""The connected side: from a spec to a signed bundle."""
