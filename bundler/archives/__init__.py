"""Archives that are looked into, so that their members cross inflated."""
