"""What a site allows: versions, times, freezes, approvals."""
