"""How content is coded against other content."""
