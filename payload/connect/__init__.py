"""Who is there? Links up, addresses, mDNS, and a peer that holds the same site key."""
