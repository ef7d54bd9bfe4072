"""What a site remembers: its trust and admitted releases, its ledger, its key."""
