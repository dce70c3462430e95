"""The boot lab: real kernels and real init systems, in QEMU, on a simulated Azure.

`cloud.Cloud` is a network of its own with the platform in it, `machine.Machine` one VM on it,
`guests.GUESTS` the systems that can be booted, `checks` what their boots prove. `scripts/boot` is
the command for people. Takes root, and Debian, whose packages the guests are made of.
"""


class LabError(Exception):
    """Something in the lab does not work; `str(error)` says what, and what was seen."""
