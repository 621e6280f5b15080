"""The network names and addresses of a copy, moved onto its own cards."""
