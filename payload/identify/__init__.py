"""Who am I? Disks, firmware, cards, the installed system, our marker; and the role that follows."""
