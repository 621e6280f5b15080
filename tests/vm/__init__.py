"""Whole machines in QEMU: the sample server, the rehearsal, the boot of every kind of medium."""
