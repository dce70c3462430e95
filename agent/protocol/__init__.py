"""Wire formats, as pure functions: bytes in, values out. No socket, file or clock."""
