"""Superblocks, LVM, MD, boot areas, maps of used blocks, our own mark."""
