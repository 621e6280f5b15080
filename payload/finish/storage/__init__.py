"""The names of disks in a copy, and an initramfs that has drivers for them."""
