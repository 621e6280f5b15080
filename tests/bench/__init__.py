"""What a copy costs, measured on this machine."""
