"""File formats of a Linux machine, as pure functions: text in, text out."""
