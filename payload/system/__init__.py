"""The only code that touches this machine: processes, disks, links, mounts, power."""
