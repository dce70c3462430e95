"""A simulated Azure: wireserver and Instance Metadata Service, with faults by scenario.

Standard library only.
"""
