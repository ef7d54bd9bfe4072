"""Programs of the site: run within bounds, and spoken to."""
