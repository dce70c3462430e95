"""Builds the static file: toolchain, CPython, freezer, verification. None of this is frozen."""
