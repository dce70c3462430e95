"""Makes the static file: toolchain, CPython, freezer, verification. Nothing in here is frozen."""
