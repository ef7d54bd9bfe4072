"""Units of systemd, and how systemd is asked for them."""
