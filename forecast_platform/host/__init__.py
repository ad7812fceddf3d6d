"""The machine and the process: folders, secrets, interrupts, child processes."""
