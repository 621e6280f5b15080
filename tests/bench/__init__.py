"""What a copy costs on this machine, side by side with the tools people would use else."""
