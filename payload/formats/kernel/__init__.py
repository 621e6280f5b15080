"""Kernels and their modules, initramfs images, the names a kernel gives to disks."""
