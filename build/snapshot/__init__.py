"""The snapshot: a file that starts with an interpreter that is already up. See build/README.md."""
