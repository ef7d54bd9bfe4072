"""The security team's side: signing keys, roots and signed metadata."""
