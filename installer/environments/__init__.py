"""What an environment declares: its file, the values that it fills in, its secrets."""
