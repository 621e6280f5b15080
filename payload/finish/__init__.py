"""What turns a proven bit copy into a machine that boots: boot loader, network names, marker."""
