"""A simulated Azure: wireserver and Instance Metadata Service in one program, with faults by scenario. Standard library only, usable alone."""
